use api::WriteOutcome;
use model::{NodeName, Timestamp};
use registry::{Command, REAPER_PERIOD, Reaper};
use runtime::Drain;
use tokio::time::{Instant, sleep};

use super::truth::Truth;

/// Removes instances of `node` that were critical for longer than their checks allow, until the
/// drain begins.
pub(super) async fn run<T: Truth>(truth: T, node: NodeName, drain: Drain) {
    let mut reaper = Reaper::default();
    loop {
        let due = {
            let catalog = truth.catalog();
            let folded = node.folded();
            let checks = catalog.checks_of_node(&folded).map(|check| &check.value);
            reaper.look(checks, Instant::now().into_std(), Timestamp(runtime::unix_ms()))
        };
        for id in due {
            let outcome =
                truth.run(Command::DeregisterService { node: node.clone(), id: id.clone() }).await;
            match outcome {
                WriteOutcome::Done(..) => {
                    tracing::info!(service = %id, "removed: critical for too long");
                }
                WriteOutcome::Rejected(reason) => {
                    tracing::debug!(service = %id, %reason, "the service was gone before");
                }
                WriteOutcome::Failed(reason) => {
                    tracing::warn!(service = %id, reason, "cannot remove a critical service");
                }
            }
        }
        tokio::select! {
            () = drain.begun() => return,
            () = sleep(REAPER_PERIOD) => {}
        }
    }
}
