//! What of the limits of a workload is not enforced as its document has it: processes get limits of their own (`setrlimit`) and no
//! group of theirs (cgroup) has one.

use model::workload::Limits;
use model::{Diagnostic, Place, Severity};

const REMEDY: &str =
    "start the program through a tool that sets limits of a group, such as systemd-run --scope";

/// Each limit that holds otherwise than it is written, or not at all; empty when all hold.
pub(crate) fn unenforced(limits: &Limits) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let mut add = |severity, name: &str, message: &str| {
        found.push(Diagnostic {
            severity,
            place: Place::default(),
            field: format!("spec.resources.{name}"),
            message: message.to_owned(),
            remedy: REMEDY.to_owned(),
        });
    };
    if limits.cpu_millis.is_some() {
        let message =
            "is not enforced: processor time can only be limited by cgroups, which are not used";
        add(Severity::Ignored, "cpu", message);
    }
    if limits.memory_bytes.is_some() {
        let message = "limits what each process of a copy may write to (RLIMIT_DATA), not all of them together";
        add(Severity::Approximated, "memory", message);
    }
    if limits.processes.is_some() {
        let message = "counts all processes of the user that a copy runs as (RLIMIT_NPROC), and does not bind root";
        add(Severity::Approximated, "processes", message);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_limit_of_a_process_can_do_is_named() {
        let exact = Limits { open_files: Some(64), core_bytes: Some(0), ..Limits::default() };
        assert_eq!(unenforced(&exact), []);
        let limits = Limits {
            cpu_millis: Some(500),
            memory_bytes: Some(1 << 20),
            processes: Some(5),
            ..exact
        };
        let found = unenforced(&limits);
        let fields: Vec<_> = found.iter().map(|it| (&*it.field, it.severity)).collect();
        let expected = [
            ("spec.resources.cpu", Severity::Ignored),
            ("spec.resources.memory", Severity::Approximated),
            ("spec.resources.processes", Severity::Approximated),
        ];
        assert_eq!(fields, expected);
    }
}
