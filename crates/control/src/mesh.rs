//! The one writer and the many readers of the catalog.

use std::sync::Arc;

use api::WriteOutcome;
use model::{Catalog, WatchKey};
use registry::Command;

/// Access to the truth. A cheap clone.
#[derive(Clone)]
pub struct Mesh {}

impl Mesh {
    /// All that is true now.
    #[must_use]
    pub fn catalog(&self) -> Arc<Catalog> {
        unimplemented!()
    }

    /// Makes a command true. Resolves when the change is durable and in [`Mesh::catalog`].
    pub async fn run(&self, _command: Command) -> WriteOutcome {
        unimplemented!()
    }

    /// Starts to wait for a change of any of `keys`; changes from here on are not missed.
    #[must_use]
    pub fn watch(&self, _keys: &[WatchKey]) -> Watcher {
        unimplemented!()
    }
}

/// A wait for changes.
pub struct Watcher {}

impl Watcher {
    /// Resolves at the next change since the last call (or since the watcher was made). Cancel-safe.
    pub async fn changed(&mut self) {
        unimplemented!()
    }
}
