//! Workloads that are run to their end: what is seen of their tries, and what is done.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::Timestamp;
use model::workload::{WorkloadKind, WorkloadSpec};
use recovery::{Attempt, AttemptEnd, CopyId, Job, JobAction, JobStanding, RunOutcome};
use runtime::{EndRecord, Exit, Recorded};

use super::kept::Running;
use super::name::WorkloadName;
use super::words::ran;
use super::{Ask, CopyHandle, Keeper, Order, Place, spec_of};

/// Lines, and bytes, of what a try wrote last that stand in the reason of its failure.
const LAST_LINES: usize = 3;
const LAST_BYTES_MAX: u64 = 1024;
/// How this program is called to stand between an agent and a job; by the kernel's name for it, so that it is the version of
/// the agent also when the file was replaced meanwhile.
const RECORDER: [&str; 2] = ["/proc/self/exe", "run-recorded"];

impl Keeper {
    /// Looks at a job, and does what is to be done.
    pub(super) async fn look_at_job(
        &mut self,
        name: &WorkloadName,
        spec: Option<&WorkloadSpec>,
        mut running: Running,
        now: Timestamp,
    ) {
        if running.kept.job.is_none() {
            let mut job = Job::new(now);
            let left = self.left.get(name).and_then(|it| it.last_key_value());
            left.into_iter().for_each(|it| job.number_after(it.0.release));
            running.kept.job = Some(job);
        }
        match spec {
            Some(spec) => self.follow_document(name, spec, &mut running, now).await,
            None => running.kept.job.iter_mut().for_each(Job::remove),
        }
        let seen = self.attempts(name, &running).await;
        let actions = running.kept.job.iter_mut().flat_map(|it| it.reconcile(&seen, now)).collect();
        let actions: Vec<JobAction> = actions;
        for action in &actions {
            if let JobAction::Finish(record) = action {
                let text = ran(record);
                match record.outcome {
                    RunOutcome::Failed { .. } | RunOutcome::TooLong { .. } => {
                        tracing::error!(workload = %name, "{text}");
                    }
                    RunOutcome::Completed | RunOutcome::Superseded(_) | RunOutcome::Removed => {
                        tracing::info!(workload = %name, "{text}");
                    }
                }
                running.kept.note(text);
                running.is_dirty = true;
            }
        }
        let is_over = spec.is_none() && seen.is_empty() && running.copies.is_empty();
        if is_over && self.remove_record(name).await {
            return;
        }
        self.note_processes(&mut running);
        if self.persist(name, &mut running, now).await {
            for action in actions {
                match action {
                    JobAction::Start(id) => self.start_copy(name, id, &mut running).await,
                    JobAction::Stop(id) => {
                        running.copies.get(&id).into_iter().for_each(CopyHandle::stop);
                    }
                    JobAction::Forget(id) => self.forget_copy(id, &mut running).await,
                    JobAction::Finish(_) => {}
                }
            }
        }
        self.tell(name, spec, running);
    }

    /// The tries that are looked after, and the one that is awaited, wherever it is.
    async fn attempts(&self, name: &WorkloadName, running: &Running) -> Vec<Attempt> {
        let attempt = |(id, handle): (&CopyId, &CopyHandle)| {
            let state = handle.state();
            Attempt { id: *id, end: state.end.filter(|_| state.stage.is_over()) }
        };
        let mut seen: Vec<Attempt> = running.copies.iter().map(attempt).collect();
        let awaited = running.kept.job.as_ref().and_then(Job::awaited);
        let Some(id) = awaited.filter(|id| !running.copies.contains_key(id)) else { return seen };
        let Some(spec) = running.kept.specs.get(&id.release) else { return seen };
        // An earlier life of the agent may have started it.
        if let Some(record) = record_of(&self.place, name, id, spec, running.kept.began_ms) {
            let log = attempt_file(&self.place, name, id, "log");
            let read = tokio::task::spawn_blocking(move || read_attempt(&record, &log)).await;
            seen.extend(read.ok().flatten().map(|end| Attempt { id, end }));
        }
        seen
    }

    pub(super) fn obey_for_job(
        &self,
        order: &Order,
        running: &mut Running,
        now: Timestamp,
    ) -> Result<(), String> {
        let catalog = self.around.mesh.catalog();
        let document = catalog.document(&order.name.document()).and_then(|it| spec_of(it));
        let is_followed = running.kept.told.as_ref() == document;
        running.is_dirty = true;
        let kept = &mut running.kept;
        let Some(job) = &mut kept.job else { return Ok(()) };
        let has_ended = matches!(job.standing(), JobStanding::Ended(_));
        let has_completed = job.standing() == JobStanding::Ended(&RunOutcome::Completed);
        let has_failed = match job.standing() {
            JobStanding::Ended(outcome) => *outcome != RunOutcome::Completed,
            JobStanding::New
            | JobStanding::Waiting(_)
            | JobStanding::Running
            | JobStanding::Ending
            | JobStanding::Stopped => false,
        };
        match order.ask {
            // What its document asks for may still be to come.
            Ask::Stop if has_ended && is_followed => {
                let how = if has_failed { "has failed" } else { "has completed" };
                Err(format!("{} {how}; nothing runs", order.name.short()))
            }
            Ask::Retry if has_completed && is_followed => {
                let name = order.name.short();
                Err(format!("{name} has completed already; `leno restart {name}` runs it again"))
            }
            Ask::Stop => {
                job.stop();
                kept.note("an operator stopped it".into());
                Ok(())
            }
            Ask::Start if !has_failed => {
                job.go_on();
                kept.note("an operator started it".into());
                Ok(())
            }
            Ask::Restart | Ask::Retry if job.is_stopped() => {
                Err(format!("{} is stopped; start it first", order.name))
            }
            Ask::Start | Ask::Restart | Ask::Retry => {
                job.go_on();
                let last = job.last_attempt().and_then(|it| kept.specs.get(&it.release));
                let Some(spec) = last.map(Arc::clone) else {
                    return Err(format!("{} has not been run yet", order.name));
                };
                kept.restarts += 1;
                kept.note("an operator has it run again".into());
                self.begin(&spec, 1, running, now)
            }
            Ask::Scale(_) => {
                Err(format!("{} is a job: it is run once, as one process", order.name))
            }
            Ask::Pause | Ask::Resume | Ask::Promote | Ask::Undo => {
                Err(format!("{} is a job: there is no rollout of it", order.name))
            }
        }
    }
}

/// It has run to its end as this document asks for it.
pub(super) fn has_completed(running: &Running, spec: &WorkloadSpec) -> bool {
    let completed = JobStanding::Ended(&RunOutcome::Completed);
    running.kept.told.as_ref() == Some(spec)
        && running.kept.job.as_ref().is_some_and(|it| it.standing() == completed)
}

/// The last run of a job came to a bad end.
pub(super) fn has_failed(running: &Running) -> bool {
    running.kept.job.as_ref().is_some_and(|it| match it.standing() {
        JobStanding::Ended(RunOutcome::Failed { .. } | RunOutcome::TooLong { .. }) => true,
        JobStanding::Ended(
            RunOutcome::Completed | RunOutcome::Superseded(_) | RunOutcome::Removed,
        )
        | JobStanding::New
        | JobStanding::Waiting(_)
        | JobStanding::Running
        | JobStanding::Ending
        | JobStanding::Stopped => false,
    })
}

/// A file of a try, beside the others of its namespace.
pub(super) fn attempt_file(place: &Place, name: &WorkloadName, id: CopyId, kind: &str) -> PathBuf {
    place.logs.join(&name.namespace).join(format!("{}.{kind}", name.instance(id)))
}

/// Where the end of a try is written down; `None` for what is no job.
pub(super) fn record_of(
    place: &Place,
    name: &WorkloadName,
    id: CopyId,
    spec: &WorkloadSpec,
    began_ms: u64,
) -> Option<EndRecord> {
    (spec.kind == WorkloadKind::Job).then(|| EndRecord {
        path: attempt_file(place, name, id, "end"),
        key: format!("{} {}/{} {id} {began_ms}", place.node_id, name.namespace, name.name),
        recorder: RECORDER.map(Into::into).to_vec(),
    })
}

/// How a try has ended; `None` when nobody has written that down.
pub(super) async fn end_of_attempt(record: &EndRecord, log: &Path) -> Option<AttemptEnd> {
    let (record, log) = (record.clone(), log.to_owned());
    let read = tokio::task::spawn_blocking(move || read_attempt(&record, &log)).await;
    read.ok().flatten().flatten()
}

/// `None` when it was never started, and `Some(None)` while it runs.
fn read_attempt(record: &EndRecord, log: &Path) -> Option<Option<AttemptEnd>> {
    let recorded = match record.read() {
        Ok(recorded) => recorded,
        Err(error) => {
            // It may have run, and must not run again unseen.
            let path = record.path.display();
            tracing::error!(%path, %error, "how a job ended cannot be read; it is not run again");
            return Some(None);
        }
    };
    match recorded {
        Recorded::Nothing => None,
        Recorded::Running => Some(None),
        Recorded::Ended(end) => {
            let is_well = end.exit == Some(Exit::Code(0));
            let said = if is_well { String::new() } else { last_words(log) };
            let text = if said.is_empty() { end.text } else { format!("{}; {said}", end.text) };
            Some(Some(AttemptEnd { is_well, is_interrupted: end.is_interrupted, text }))
        }
    }
}

/// What it wrote last, in one line.
fn last_words(log: &Path) -> String {
    let Ok((bytes, _)) = runtime::last_lines(log, LAST_LINES, LAST_BYTES_MAX) else {
        return String::new();
    };
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|it| !it.is_empty()).collect();
    if lines.is_empty() { String::new() } else { format!("its last lines: {}", lines.join(" | ")) }
}
