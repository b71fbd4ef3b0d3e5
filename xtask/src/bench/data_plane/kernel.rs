//! What the kernel tells of a process: CPU time and resident memory, over the process and its children.

use std::collections::BTreeSet;
use std::fs;
use std::io;

use anyhow::Context;

/// Length of a tick in `/proc/PID/stat`: the kernel's interface has 100 a second on every machine (`USER_HZ`).
const TICK_NS: u64 = 10_000_000;

/// CPU time, user and system, that a process and its children have used, in nanoseconds.
///
/// The scheduler's count of a thread is exact, but forgets threads that ended; `stat` remembers them, in ticks. The
/// larger of both is right within a tick.
pub(super) fn cpu_ns(pid: u32) -> anyhow::Result<u64> {
    let mut sum = 0;
    for pid in family(pid)? {
        let Some(stat) = read(&format!("/proc/{pid}/stat"))? else { continue };
        let ticks = parse_stat(&stat).context("cannot read /proc/PID/stat")?.ticks;
        sum += thread_ns(pid)?.max(ticks * TICK_NS);
    }
    Ok(sum)
}

/// Resident memory of a process and its children, in KiB. Pages that they share count for each.
pub(super) fn resident_kib(pid: u32) -> anyhow::Result<u64> {
    let mut sum = 0;
    for pid in family(pid)? {
        let Some(status) = read(&format!("/proc/{pid}/status"))? else { continue };
        // A process that just ended has no memory, and no such line.
        sum += parse_resident_kib(&status).unwrap_or(0);
    }
    Ok(sum)
}

fn thread_ns(pid: u32) -> anyhow::Result<u64> {
    let mut sum = 0;
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Ok(0) };
    for task in tasks {
        let Ok(task) = task else { continue };
        let path = task.path().join("schedstat").display().to_string();
        let Some(text) = read(&path)? else { continue };
        sum += parse_schedstat(&text).with_context(|| format!("cannot read {path}"))?;
    }
    Ok(sum)
}

/// The process and all that descend from it.
fn family(pid: u32) -> anyhow::Result<BTreeSet<u32>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").context("cannot read /proc")? {
        let name = entry?.file_name();
        let Some(child) = name.to_str().and_then(|it| it.parse::<u32>().ok()) else { continue };
        let Some(stat) = read(&format!("/proc/{child}/stat"))? else { continue };
        if let Some(stat) = parse_stat(&stat) {
            parents.push((child, stat.parent));
        }
    }
    let mut family = BTreeSet::from([pid]);
    loop {
        let before = family.len();
        for (child, parent) in &parents {
            if family.contains(parent) {
                family.insert(*child);
            }
        }
        if family.len() == before {
            return Ok(family);
        }
    }
}

/// A file of the kernel, or none if the process has ended.
fn read(path: &str) -> anyhow::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {
            Ok(None)
        }
        Err(error) => Err(error).with_context(|| format!("cannot read {path}")),
    }
}

#[derive(Debug, PartialEq)]
struct Stat {
    parent: u32,
    /// User and system time.
    ticks: u64,
}

/// Reads `/proc/PID/stat` (proc_pid_stat(5)). The name of the program, in parentheses, may itself hold any of its signs.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // The manual counts from 1, and two fields lie before: parent is its 4th, utime and stime its 14th and 15th.
    let user: u64 = fields.get(11)?.parse().ok()?;
    let system: u64 = fields.get(12)?.parse().ok()?;
    Some(Stat { parent: fields.get(1)?.parse().ok()?, ticks: user + system })
}

/// Nanoseconds on a CPU: the first of the three numbers in `schedstat`.
fn parse_schedstat(text: &str) -> Option<u64> {
    text.split_ascii_whitespace().next()?.parse().ok()
}

fn parse_resident_kib(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_also_when_the_name_is_hostile() {
        let text = "4242 (a) b (c) 1 2) S 17 4242 4242 0 -1 4194560 1200 0 3 0 250 125 0 0 20 0 9 0 81234 \
                    9000000 3000 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0\n";
        assert_eq!(parse_stat(text), Some(Stat { parent: 17, ticks: 375 }));
        assert_eq!(parse_stat("4242 (cut"), None);
        assert_eq!(parse_stat("4242 (cut) S 17 4242"), None);
    }

    #[test]
    fn the_scheduler_tells_nanoseconds() {
        assert_eq!(parse_schedstat("2163340501 8812077 1303\n"), Some(2_163_340_501));
        assert_eq!(parse_schedstat(""), None);
    }

    #[test]
    fn resident_memory_is_in_kib() {
        let status = "Name:\tenvoy\nVmPeak:\t 2171440 kB\nVmHWM:\t   69120 kB\nVmRSS:\t   65536 kB\nThreads:\t9\n";
        assert_eq!(parse_resident_kib(status), Some(65_536));
        assert_eq!(parse_resident_kib("Name:\tkthread\n"), None);
    }

    #[test]
    fn this_process_has_used_cpu_and_memory() {
        let pid = std::process::id();
        let mut sum = 0_u64;
        while cpu_ns(pid).expect("the kernel tells") == 0 {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(resident_kib(pid).expect("the kernel tells") > 100);
    }
}
