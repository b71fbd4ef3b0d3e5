//! Limits of workloads: by groups of processes (cgroup v2) as far as this agent can have them, else by limits of each process
//! (`setrlimit`); and what of them is not enforced as its document has it.

use std::time::Duration;

use model::workload::Limits;
use model::{Diagnostic, Place, ServiceId, Severity};
use runtime::{ControlGroup, ControlGroups, Controller, GroupLimits};

const REMEDY: &str = "run the agent in a cgroup of its own with the controllers cpu, memory and pids (systemd: Delegate=yes), or \
     start the program through a tool that sets limits of a group, such as systemd-run --scope";
/// The group that an agent moves into where it has its own.
const OWN_LEAF: &str = "agent";
/// Begins the names of the groups of copies.
const PREFIX: &str = "leno-";
/// Digits of the node's id in the names of groups, so that agents of one place do not meet.
const ID_DIGITS: usize = 8;
/// Groups of other agents that hold no process so long after they were made were left by one that was killed.
const LEFT_AFTER: Duration = Duration::from_secs(60);

/// What enforces limits on this agent.
#[derive(Debug)]
pub struct Enforcement {
    /// Where groups can be made, or why nowhere.
    groups: Result<ControlGroups, String>,
    /// Begins the names of those of this agent.
    prefix: String,
}

impl Enforcement {
    /// Finds out what can be had here; `node_id` is that of the agent's node.
    #[must_use]
    pub fn prepare(node_id: &str) -> Self {
        let groups = ControlGroups::prepare(OWN_LEAF);
        let digits: String =
            node_id.chars().filter(char::is_ascii_alphanumeric).take(ID_DIGITS).collect();
        Self { groups, prefix: format!("{PREFIX}{digits}-") }
    }

    /// Removes groups that agents which are gone have left.
    pub(super) fn remove_left(&self) {
        if let Ok(groups) = &self.groups {
            groups.remove_empty(&self.prefix, Duration::ZERO);
            groups.remove_empty(PREFIX, LEFT_AFTER);
        }
    }

    /// The group for a copy that is about to be started; `None` when nothing that a group can limit is asked for, or none can be
    /// made at all, which is said of the whole workload.
    ///
    /// # Errors
    /// Why this one could not be made.
    pub(super) fn group_for(
        &self,
        copy: &ServiceId,
        limits: &Limits,
    ) -> Result<Option<ControlGroup>, String> {
        let Limits { memory_bytes, cpu_millis, processes, .. } = *limits;
        let asked = GroupLimits { memory_bytes, cpu_millis, processes };
        match &self.groups {
            Ok(groups) if asked != GroupLimits::default() => {
                groups.make(&self.name_of(copy), &asked).map(Some)
            }
            Ok(_) | Err(_) => Ok(None),
        }
    }

    /// The group that an earlier life of the agent has made for a copy.
    pub(super) fn group_of(&self, copy: &ServiceId) -> Option<ControlGroup> {
        self.groups.as_ref().ok()?.find(&self.name_of(copy))
    }

    fn name_of(&self, copy: &ServiceId) -> String {
        format!("{}{}", self.prefix, copy.as_str())
    }

    /// Why groups here do not have it; `None` when they do.
    fn lacks(&self, controller: Controller) -> Option<&str> {
        match &self.groups {
            Ok(groups) => groups.lacks(controller),
            Err(reason) => Some(reason),
        }
    }

    /// Each limit that holds otherwise than it is written, or not at all; empty when all hold.
    pub(crate) fn unenforced(&self, limits: &Limits) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        let mut add = |is_asked: bool, controller, severity, name: &str, message: &str| {
            let Some(reason) = self.lacks(controller).filter(|_| is_asked) else { return };
            found.push(Diagnostic {
                severity,
                place: Place::default(),
                field: format!("spec.resources.{name}"),
                message: format!("{message}: {reason}"),
                remedy: REMEDY.to_owned(),
            });
        };
        let message = "is not enforced, for only a cgroup can limit processor time";
        add(limits.cpu_millis.is_some(), Controller::Cpu, Severity::Ignored, "cpu", message);
        let message = "limits what each process of a copy may write to (RLIMIT_DATA), not all of them together";
        let is_asked = limits.memory_bytes.is_some();
        add(is_asked, Controller::Memory, Severity::Approximated, "memory", message);
        let message = "counts all processes of the user that a copy runs as (RLIMIT_NPROC), and does not bind root";
        let is_asked = limits.processes.is_some();
        add(is_asked, Controller::Pids, Severity::Approximated, "processes", message);
        found
    }
}

/// What is said of a copy before how it ended, when processes of its group were killed for its limit of memory.
pub(super) fn told_out_of_memory(limits: &Limits, is_killed: bool) -> String {
    let limit = limits.memory_bytes.map(manifests::bytes_text).unwrap_or_default();
    let who = if is_killed { "killed" } else { "processes of it were killed" };
    format!("{who} for its memory limit of {limit}: ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_enforced_here_is_named_with_the_reason() {
        let none = Enforcement { groups: Err("there is no cgroup v2".into()), prefix: "a-".into() };
        let exact = Limits { open_files: Some(64), core_bytes: Some(0), ..Limits::default() };
        assert_eq!(none.unenforced(&exact), []);
        let limits = Limits {
            cpu_millis: Some(500),
            memory_bytes: Some(1 << 20),
            processes: Some(5),
            ..exact
        };
        let found = none.unenforced(&limits);
        let fields: Vec<_> = found.iter().map(|it| (&*it.field, it.severity)).collect();
        let expected = [
            ("spec.resources.cpu", Severity::Ignored),
            ("spec.resources.memory", Severity::Approximated),
            ("spec.resources.processes", Severity::Approximated),
        ];
        assert_eq!(fields, expected);
        assert!(
            found.iter().all(|it| it.message.ends_with(": there is no cgroup v2")),
            "{found:?}"
        );
        assert_eq!(none.group_for(&"web-1-0".into(), &limits), Ok(None));
    }

    #[test]
    fn what_is_said_of_the_memory_has_the_limit_as_documents_do() {
        let limits = Limits { memory_bytes: Some(512 << 20), ..Limits::default() };
        assert_eq!(told_out_of_memory(&limits, true), "killed for its memory limit of 512Mi: ");
        let told = told_out_of_memory(&limits, false);
        assert!(told.starts_with("processes of it were killed for"), "{told}");
    }
}
