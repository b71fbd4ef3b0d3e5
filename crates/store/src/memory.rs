//! The engine without a disk, for `--dev` and tests.

use std::sync::Arc;

use model::{Entry, LeaseId, Revision};

use crate::Store;
use crate::engine::{Engine, Failure, Medium};
use crate::state::{Batch, State};

/// A store that is gone when it is dropped.
#[must_use]
pub fn open_memory() -> Arc<dyn Store> {
    let state = State::new(Revision(0), LeaseId(0));
    let engine = Engine::start(Memory, state);
    Arc::new(engine.expect("a process that starts up can have one more thread"))
}

/// The state is all there is.
struct Memory;

impl Medium for Memory {
    type Held = Arc<[u8]>;

    fn write(&mut self, _: &Batch, _: &State<Self::Held>) -> Result<(), Failure> {
        Ok(())
    }

    fn entries(&self, state: &State<Self::Held>) -> Result<Vec<Entry>, Failure> {
        let entries = state.iter().map(|(key, it)| Entry {
            key: key.to_owned(),
            value: Arc::clone(&it.held),
            created: it.created,
            modified: it.modified,
        });
        Ok(entries.collect())
    }
}
