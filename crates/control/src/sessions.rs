//! Ends the sessions that nobody renews.

use std::sync::Arc;
use std::time::{Duration, Instant};

use api::WriteOutcome;
use model::{SessionId, WatchKey};
use parking_lot::Mutex;
use registry::{Command, SessionKeeper};
use runtime::{Drain, Tasks};
use tokio::time::sleep;

use crate::mesh::Mesh;

/// How long a session that could not be ended is left alone.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The lives of sessions.
pub struct Sessions;

impl Sessions {
    /// Starts to end sessions whose time is over. Ends with the drain of `tasks`.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn start(mesh: Mesh, tasks: &Tasks) -> SessionsHandle {
        let kept = Kept { keeper: Mutex::default(), epoch: runtime::monotonic() };
        let handle = SessionsHandle { kept: Arc::new(kept), mesh };
        tasks.spawn("session keeper", handle.clone().run(tasks.drain()));
        handle
    }
}

struct Kept {
    keeper: Mutex<SessionKeeper>,
    epoch: Instant,
}

/// What others ask of the sessions. A cheap clone.
#[derive(Clone)]
pub struct SessionsHandle {
    kept: Arc<Kept>,
    mesh: Mesh,
}

impl SessionsHandle {
    /// The client of a session lives: its time begins anew. False when it is not there any more, or its time was over.
    #[must_use]
    pub fn renew(&self, id: &SessionId) -> bool {
        let catalog = self.mesh.catalog();
        let Some(session) = catalog.session(id) else { return false };
        self.kept.keeper.lock().renew(id, session.ttl, self.now())
    }

    fn now(&self) -> Duration {
        runtime::monotonic().saturating_duration_since(self.kept.epoch)
    }

    /// A renewal wakes nobody: it only makes an end later, which the loop finds out when the earlier time has come.
    async fn run(self, drain: Drain) {
        let mut sessions = self.mesh.watch(&[WatchKey::Sessions]);
        loop {
            let (ended, next) = {
                let mut keeper = self.kept.keeper.lock();
                keeper.follow(&self.mesh.catalog(), self.now());
                (keeper.take_ended(self.now()), keeper.next_end())
            };
            for id in &ended {
                self.end(id).await;
            }
            if !ended.is_empty() {
                continue;
            }
            let over = async {
                match next {
                    Some(at) => sleep(at.saturating_sub(self.now())).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = sessions.changed() => {}
                () = over => {}
                () = drain.begun() => return,
            }
        }
    }

    async fn end(&self, id: &SessionId) {
        match self.mesh.run(Command::EndSession(id.clone())).await {
            WriteOutcome::Done(..) => {
                tracing::info!(session = id.as_str(), "a session was not renewed in time")
            }
            WriteOutcome::Rejected(rejection) => {
                tracing::error!(session = id.as_str(), %rejection, "a session cannot be ended");
            }
            WriteOutcome::Failed(why) => {
                tracing::warn!(session = id.as_str(), why, "a session could not be ended yet");
                self.kept.keeper.lock().try_again(id, self.now() + RETRY_AFTER);
            }
        }
    }
}
