//! What operators ask for.

use std::sync::Arc;

use model::Timestamp;
use model::workload::PortChoice;
use recovery::Command as Change;

use super::copy::Stage;
use super::kept::Running;
use super::{Ask, Keeper, Order, spec_of};

/// Most copies of a workload, as its document has it.
const REPLICAS_MAX: u32 = 1000;

impl Keeper {
    pub(super) async fn follow(&mut self, order: Order) {
        let done = self.follow_now(&order).await;
        // Whoever is answered sees what came of it in the reports.
        self.look().await;
        // It may be gone.
        let _ = order.reply.send(done);
    }

    async fn follow_now(&mut self, order: &Order) -> Result<(), String> {
        let now = Timestamp(runtime::unix_ms());
        let Some(mut running) = self.all.remove(&order.name) else {
            return self.obey_for_rollout(order, now).await;
        };
        let done = self.obey(order, &mut running, now);
        let stored = match done {
            Ok(()) if self.persist(&order.name, &mut running, now).await => Ok(()),
            Ok(()) => Err("it cannot be stored, and so it may not be done".to_owned()),
            Err(refusal) => Err(refusal),
        };
        self.all.insert(order.name.clone(), running);
        stored
    }

    pub(super) fn obey(
        &self,
        order: &Order,
        running: &mut Running,
        now: Timestamp,
    ) -> Result<(), String> {
        if running.kept.job.is_some() {
            return self.obey_for_job(order, running, now);
        }
        let refused = |refusal: recovery::Refusal| refusal.to_string();
        let is_stopped = running.kept.stopped.is_some();
        running.is_dirty = true;
        let kept = &mut running.kept;
        let change = match order.ask {
            Ask::Start => {
                // Those that are held are stopped, so that others take their places.
                for handle in running.copies.values() {
                    if matches!(handle.state().stage, Stage::Held | Stage::Left) {
                        handle.stop();
                    }
                }
                kept.stopped = None;
                kept.note("an operator started it".into());
                return Ok(());
            }
            Ask::Stop => {
                if !is_stopped {
                    let mut leaving = kept.workload.clone();
                    leaving.handle_command(Change::Remove, now).map_err(refused)?;
                    kept.stopped = Some(leaving);
                    kept.note("an operator stopped it".into());
                }
                return Ok(());
            }
            _ if is_stopped => {
                return Err(format!("{} is stopped; start it first", order.name));
            }
            Ask::Restart => return self.restart(order, running, now),
            Ask::Retry => return self.retry(order, running, now),
            Ask::Scale(replicas) => {
                if !(1..=REPLICAS_MAX).contains(&replicas) {
                    return Err(format!("there may be 1 to {REPLICAS_MAX} copies"));
                }
                let port = kept.told.as_ref().map(|it| it.port);
                if let Some(PortChoice::Fixed(port)) = port.filter(|_| replicas > 1) {
                    return Err(format!("copies cannot share the port {port}; use port: Auto"));
                }
                kept.workload.handle_command(Change::Scale { replicas }, now).map_err(refused)?;
                kept.replicas = Some(replicas);
                return Ok(());
            }
            Ask::Pause => Change::Pause,
            Ask::Resume => Change::Resume,
            Ask::Promote => Change::Promote,
            Ask::Undo if kept.workload.stable().is_some() && !running.obstacles.is_empty() => {
                // What the document asks for now has never begun; what serves is not what is to be undone.
                running.obstacles.clear();
                let catalog = self.around.mesh.catalog();
                let document = catalog.document(&order.name.document());
                running.kept.told = document.and_then(|it| spec_of(it)).cloned();
                running.kept.note("an operator undid a version that could not be started".into());
                return Ok(());
            }
            Ask::Undo => Change::Undo,
        };
        running.kept.workload.handle_command(change, now).map_err(refused)
    }

    /// What serves is started anew, and not what was taken back.
    fn restart(&self, order: &Order, running: &mut Running, now: Timestamp) -> Result<(), String> {
        let kept = &mut running.kept;
        let stable = kept.workload.stable().or(kept.workload.target());
        let known = stable.and_then(|it| Some((kept.specs.get(&it.id)?, &it.spec)));
        let Some((spec, numbers)) = known else {
            return Err(format!("{} has not been started yet", order.name));
        };
        let (spec, replicas) = (Arc::clone(spec), numbers.replicas);
        kept.restarts += 1;
        let done = self.begin(&spec, replicas, running, now);
        if done.is_err() {
            running.kept.restarts -= 1;
        }
        done
    }

    /// The document is followed as if it had just come.
    fn retry(&self, order: &Order, running: &mut Running, now: Timestamp) -> Result<(), String> {
        let catalog = self.around.mesh.catalog();
        let Some(spec) = catalog.document(&order.name.document()).and_then(|it| spec_of(it)) else {
            return Err(format!("there is no document of {}", order.name));
        };
        if let Some(target) = running.kept.workload.target() {
            return Err(format!("a rollout to version {} is under way", target.version));
        }
        let fingerprint = running.kept.fingerprint(spec);
        let serves = running.kept.workload.stable().is_some_and(|it| it.fingerprint == fingerprint);
        if serves && running.kept.workload.held().is_some() {
            return self.restart(order, running, now);
        }
        if serves {
            return Err("what its document asks for serves already".to_owned());
        }
        running.kept.told = None;
        running.looked_ms = 0;
        running.kept.note("an operator has its document tried again".into());
        Ok(())
    }
}
