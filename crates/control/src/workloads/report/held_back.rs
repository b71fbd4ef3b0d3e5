//! What keeps a workload from being what its document says: orders of operators, and releases that were taken back.

use model::workload::WorkloadSpec;
use recovery::{Outcome, Reason};

use super::super::kept::{Kept, Running};
use super::super::name::WorkloadName;

/// By what it is held back, and which command ends that; empty when nothing does, or when its document is still to be followed.
pub(super) fn of(name: &WorkloadName, spec: Option<&WorkloadSpec>, running: &Running) -> String {
    let Some(spec) = spec else { return String::new() };
    let (kept, name) = (&running.kept, name.short());
    if kept.is_stopped() {
        return format!("an operator's stop; `leno start {name}` starts it");
    }
    let is_followed = kept.told.as_ref() == Some(spec) && kept.workload.target().is_none();
    if !is_followed || kept.job.is_some() {
        return String::new();
    }
    let mut held_by = Vec::new();
    let serves = kept.workload.stable().and_then(|it| kept.specs.get(&it.id));
    if serves.is_some_and(|it| Kept::of_copies(it) != Kept::of_copies(spec)) {
        let (by, version) = (taken_back_by(kept, spec), &spec.version);
        held_by
            .push(format!("{by} of version {version}; `leno rollout retry {name}` tries it again"));
    }
    if let Some(replicas) = kept.replicas.filter(|it| *it != spec.replicas) {
        let wanted = spec.replicas;
        held_by.push(format!(
            "an operator's scale to {replicas}; `leno scale {name} {wanted}` is what its document says"
        ));
    }
    held_by.join("; and by ")
}

fn taken_back_by(kept: &Kept, spec: &WorkloadSpec) -> &'static str {
    let asked_for = kept.fingerprint(spec);
    // Restarts since then are counted behind the dot.
    let copies = |fingerprint: &str| fingerprint.rsplit_once('.').map(|it| it.0.to_owned());
    let is_it = |it: &&recovery::Record| copies(&it.release.fingerprint) == copies(&asked_for);
    match kept.workload.history().rev().find(is_it).map(|it| &it.outcome) {
        Some(Outcome::RolledBack(Reason::Undone) | Outcome::Promoted) | None => {
            "an operator's undo"
        }
        Some(Outcome::RolledBack(_) | Outcome::Held(_)) => "the rollback",
    }
}
