use std::fmt;

use model::{Catalog, Check, CheckId, CheckStatus, Instance, Timestamp};

/// The one state of an instance, merged from all that is known about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// The state.
    pub state: VerdictState,
    /// What speaks for it: every check that is not passing, worst first; empty when all pass.
    pub reasons: Vec<Reason>,
}

/// State of an instance, from best to worst.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum VerdictState {
    /// All checks pass (or there are none).
    Passing,
    /// Used, with its warning weight.
    Warning,
    /// Not used.
    Critical,
    /// Not used, because an operator said so.
    Maintenance,
}

impl VerdictState {
    /// The word for it; Consul's aggregated status has the same four.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            VerdictState::Passing => "passing",
            VerdictState::Warning => "warning",
            VerdictState::Critical => "critical",
            VerdictState::Maintenance => "maintenance",
        }
    }

    /// May new requests be sent to it?
    #[must_use]
    pub fn is_usable(self) -> bool {
        self <= VerdictState::Warning
    }
}

impl fmt::Display for VerdictState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One check that speaks against an instance.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reason {
    /// What it amounts to.
    pub state: VerdictState,
    /// The check.
    pub check: CheckId,
    /// True when the check is the node's, not the instance's own.
    pub is_of_node: bool,
    /// Output or, for maintenance, the operator's reason.
    pub text: String,
    /// Since when.
    pub since: Timestamp,
}

/// The state of an instance: the worst of its own checks and of its node's.
#[must_use]
pub fn verdict(catalog: &Catalog, instance: &Instance) -> Verdict {
    verdict_by(catalog, instance, |_| true)
}

/// The same as if nothing counted that proxies see of it.
#[must_use]
pub fn verdict_without_sightings(catalog: &Catalog, instance: &Instance) -> Verdict {
    verdict_by(catalog, instance, |it| !it.is_sightings())
}

fn verdict_by(catalog: &Catalog, instance: &Instance, counts: impl Fn(&Check) -> bool) -> Verdict {
    let node = instance.node.folded();
    let of_node = catalog.checks_of_instance(&node, &model::ServiceId::default());
    let own = catalog.checks_of_instance(&node, &instance.id);
    let checks = of_node.chain(own).filter(|it| counts(it));
    let mut reasons: Vec<Reason> = checks.filter_map(|check| reason(check)).collect();
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.state));
    let state = reasons.first().map_or(VerdictState::Passing, |worst| worst.state);
    Verdict { state, reasons }
}

/// What the state of an instance would be if nothing counted that proxies see of it.
pub(crate) fn state_without_sightings(catalog: &Catalog, instance: &Instance) -> VerdictState {
    let node = instance.node.folded();
    let of_node = catalog.checks_of_instance(&node, &model::ServiceId::default());
    let own = catalog.checks_of_instance(&node, &instance.id);
    aggregate(of_node.chain(own).map(|it| &it.value).filter(|it| !it.is_sightings()))
}

/// The worst state that a set of checks amounts to; passing when there is none.
#[must_use]
pub fn aggregate<'a>(checks: impl IntoIterator<Item = &'a Check>) -> VerdictState {
    checks.into_iter().map(state_of).max().unwrap_or(VerdictState::Passing)
}

fn state_of(check: &Check) -> VerdictState {
    if check.is_maintenance() {
        return VerdictState::Maintenance;
    }
    match check.status {
        CheckStatus::Passing => VerdictState::Passing,
        CheckStatus::Warning => VerdictState::Warning,
        CheckStatus::Critical => VerdictState::Critical,
    }
}

fn reason(check: &Check) -> Option<Reason> {
    let state = state_of(check);
    let text = if state == VerdictState::Maintenance { &check.notes } else { &check.output };
    (state > VerdictState::Passing).then(|| Reason {
        state,
        check: check.id.clone(),
        is_of_node: check.service_id.is_empty(),
        text: text.clone(),
        since: check.since,
    })
}
