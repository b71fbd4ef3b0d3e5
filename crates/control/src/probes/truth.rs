use std::future::Future;
use std::sync::Arc;

use api::WriteOutcome;
use model::{Catalog, WatchKey};
use registry::Command;

use crate::mesh::{Mesh, Watcher};

/// What the probes need of the mesh.
pub(super) trait Truth: Clone + Send + Sync + 'static {
    /// Waits for changes.
    type Watch: Watch;

    /// All that is true now.
    fn catalog(&self) -> Arc<Catalog>;

    /// Makes a command true; resolves when [`Truth::catalog`] shows it.
    fn run(&self, command: Command) -> impl Future<Output = WriteOutcome> + Send;

    /// Changes of `keys` from here on.
    fn watch(&self, keys: &[WatchKey]) -> Self::Watch;
}

/// A wait for changes.
pub(super) trait Watch: Send {
    /// Resolves at the next change since the last call. Cancel-safe.
    fn changed(&mut self) -> impl Future<Output = ()> + Send;
}

impl Truth for Mesh {
    type Watch = Watcher;

    fn catalog(&self) -> Arc<Catalog> {
        Mesh::catalog(self)
    }

    fn run(&self, command: Command) -> impl Future<Output = WriteOutcome> + Send {
        Mesh::run(self, command)
    }

    fn watch(&self, keys: &[WatchKey]) -> Watcher {
        Mesh::watch(self, keys)
    }
}

impl Watch for Watcher {
    fn changed(&mut self) -> impl Future<Output = ()> + Send {
        Watcher::changed(self)
    }
}
