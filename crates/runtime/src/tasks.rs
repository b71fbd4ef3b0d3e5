use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Spawns tasks and joins them. A cheap clone.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    drain: CancellationToken,
    running: Arc<Mutex<BTreeMap<&'static str, usize>>>,
}

impl Tasks {
    /// No tasks yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The signal that tasks must end.
    #[must_use]
    pub fn drain(&self) -> Drain {
        Drain(self.drain.clone())
    }

    /// Spawns a task on the current runtime. `name` is what [`Tasks::shut_down`] calls it.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn spawn<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let running = Running::enter(name, self.running.clone());
        self.tracker.spawn(async move {
            task.await;
            drop(running);
        });
    }

    /// Tells all tasks to end and waits for them for at most `deadline`. Returns the names of those still
    /// running then; they end with the runtime.
    pub async fn shut_down(&self, deadline: Duration) -> Vec<&'static str> {
        self.drain.cancel();
        self.tracker.close();
        if tokio::time::timeout(deadline, self.tracker.wait()).await.is_ok() {
            return Vec::new();
        }
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.iter().filter(|(_, count)| **count > 0).map(|(name, _)| *name).collect()
    }
}

/// Counts a task as running while it lives, also when it panics or is dropped.
struct Running {
    name: &'static str,
    running: Arc<Mutex<BTreeMap<&'static str, usize>>>,
}

impl Running {
    fn enter(name: &'static str, running: Arc<Mutex<BTreeMap<&'static str, usize>>>) -> Self {
        *running.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_default() += 1;
        Self { name, running }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = running.get_mut(self.name) {
            *count -= 1;
        }
    }
}

/// The signal that work must come to an end. A cheap clone.
#[derive(Clone, Debug)]
pub struct Drain(CancellationToken);

impl Drain {
    /// Resolves when the drain has begun.
    pub async fn begun(&self) {
        self.0.cancelled().await;
    }

    /// True once the drain has begun.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.0.is_cancelled()
    }

    /// A drain that begins with this one or when [`Drain::begin`] is called on it.
    #[must_use]
    pub fn child(&self) -> Drain {
        Drain(self.0.child_token())
    }

    /// A drain of its own.
    #[must_use]
    pub fn new() -> Drain {
        Drain(CancellationToken::new())
    }

    /// Begins the drain.
    pub fn begin(&self) {
        self.0.cancel();
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self::new()
    }
}
