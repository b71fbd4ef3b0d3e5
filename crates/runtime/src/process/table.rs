//! The kernel's table of processes, `/proc`.

use std::fs;

use super::ProcessId;

/// A process with a certain variable in the environment that it was started with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MarkedProcess {
    /// Which one.
    pub id: ProcessId,
    /// Number of its process group.
    pub group: u32,
    /// Number of its parent.
    pub parent: u32,
    /// What the variable says.
    pub value: String,
}

/// The processes of this machine that have the variable `name` in the environment that they were started with, as far as
/// this process may see it. Those that have ended and wait to be reaped are left out.
#[must_use]
pub fn marked_processes(name: &str) -> Vec<MarkedProcess> {
    let Ok(all) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = all.flatten().filter_map(|it| it.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| marked(pid, name)).collect()
}

fn marked(pid: u32, name: &str) -> Option<MarkedProcess> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let value = environment.split(|it| *it == 0).find_map(|variable| {
        variable.strip_prefix(name.as_bytes())?.strip_prefix(b"=").map(String::from_utf8_lossy)
    })?;
    let stat = Stat::of(pid).filter(|it| !it.has_ended)?;
    let id = ProcessId { pid, started: stat.started };
    Some(MarkedProcess { id, group: stat.group, parent: stat.parent, value: value.into_owned() })
}

/// Whether a process is this one or has it among those that started it; false where that cannot be seen.
pub(crate) fn is_descendant(pid: u32, of: u32) -> bool {
    // Parents are no circle, but what is read one by one may look like one.
    const DEPTH_MAX: usize = 256;
    let parent = |it: &u32| Stat::of(*it).map(|it| it.parent).filter(|it| *it != 0);
    std::iter::successors(Some(pid), parent).take(DEPTH_MAX).any(|it| it == of)
}

/// When a process was started, in clock ticks since the machine was; `None` when there is none of that number, or it has
/// ended.
pub(super) fn start_of(pid: u32) -> Option<u64> {
    Stat::of(pid).filter(|it| !it.has_ended).map(|it| it.started)
}

/// Kills the members of a process group whose leader has ended. As long as there is one, no other process can get the
/// number; if there is a process of that number all the same, it is another's, and left alone with its group.
pub(super) fn kill_leftovers(group: u32) {
    if Stat::of(group).is_some_and(|it| !it.has_ended) {
        return;
    }
    let Ok(all) = fs::read_dir("/proc") else { return };
    let pids = all.flatten().filter_map(|it| it.file_name().to_str()?.parse().ok());
    for pid in pids.filter(|pid| Stat::of(*pid).is_some_and(|it| it.group == group)) {
        // It may have ended just now.
        let _ = crate::kill(pid);
    }
}

struct Stat {
    has_ended: bool,
    parent: u32,
    group: u32,
    started: u64,
}

impl Stat {
    fn of(pid: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Reads `/proc/PID/stat` (proc(5)): number, name in parentheses, which may have any character in it, state, parent,
    /// group; the start is the 22nd.
    fn parse(text: &str) -> Option<Self> {
        let (_, after_name) = text.rsplit_once(')')?;
        let mut words = after_name.split_ascii_whitespace();
        let state = words.next()?;
        let parent = words.next()?.parse().ok()?;
        let group = words.next()?.parse().ok()?;
        let started = words.nth(16)?.parse().ok()?;
        Some(Self { has_ended: matches!(state, "Z" | "X"), parent, group, started })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_is_no_trouble() {
        let text = "42 (a) b (c) S 7 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 123456 9 9";
        let stat = Stat::parse(text).unwrap();
        assert_eq!(
            (stat.parent, stat.group, stat.started, stat.has_ended),
            (7, 42, 123_456, false)
        );
        assert!(Stat::parse("42 (a) Z 7").is_none());
    }

    #[test]
    fn this_process_is_found_and_a_number_beyond_all_is_not() {
        assert!(start_of(std::process::id()).is_some());
        assert!(start_of(u32::MAX).is_none());
    }
}
