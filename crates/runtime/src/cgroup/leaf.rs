//! One group, from the first of its processes to the end of the last.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{members, write};
use crate::clock::monotonic;
use crate::process::ResourceLimits;

/// How long it may take until all processes of a group are gone that were killed; what hangs in the kernel stays.
const END_WAIT_MAX: Duration = Duration::from_secs(5);
/// Pause between two looks whether they are.
const END_PAUSE: Duration = Duration::from_millis(5);
/// Period of a limit of processor time, the kernel's own default, in microseconds.
const CPU_PERIOD_US: u64 = 100_000;
/// The longest period; for small limits, as the kernel takes no quota under 1000 µs.
const CPU_PERIOD_MAX_US: u64 = 1_000_000;

/// Limits of all processes of a group together; what is `None` is not limited.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct GroupLimits {
    /// Memory in bytes. They get no swap beside it, and when it is not enough they are killed together.
    pub memory_bytes: Option<u64>,
    /// Processor time in thousandths of a processor.
    pub cpu_millis: Option<u32>,
    /// Processes and threads.
    pub processes: Option<u32>,
}

/// A group of processes. It stays until it is ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ControlGroup {
    folder: PathBuf,
    limits_memory: bool,
    limits_processes: bool,
}

impl ControlGroup {
    /// Sets the limits of a new group; without them, it is removed again.
    pub(super) fn begin(folder: PathBuf, limits: &GroupLimits) -> Result<Self, String> {
        let group = Self {
            folder,
            limits_memory: limits.memory_bytes.is_some(),
            limits_processes: limits.processes.is_some(),
        };
        match group.set(limits) {
            Ok(()) => Ok(group),
            Err(reason) => {
                group.remove();
                Err(reason)
            }
        }
    }

    /// A group that is there, with what limits whoever made it has set.
    pub(super) fn found(folder: PathBuf) -> Self {
        Self { folder, limits_memory: false, limits_processes: false }
    }

    fn set(&self, limits: &GroupLimits) -> Result<(), String> {
        let set = |file: &str, value: &str| {
            let path = self.folder.join(file);
            write(&path, value).map_err(|error| {
                (error.kind(), format!("{value} cannot be written to {}: {error}", path.display()))
            })
        };
        // Kernels without swap, or before 4.19, do not have these.
        let set_if_there = |file: &str, value: &str| match set(file, value) {
            Err((io::ErrorKind::NotFound, _)) => Ok(()),
            done => done,
        };
        let set_all = || {
            if let Some(bytes) = limits.memory_bytes {
                set("memory.max", &bytes.to_string())?;
                // Swapping would put off the end, and take its time from everybody on the machine.
                set_if_there("memory.swap.max", "0")?;
                // What has lost one of its processes is neither well nor restarted.
                set_if_there("memory.oom.group", "1")?;
            }
            if let Some(millis) = limits.cpu_millis {
                set("cpu.max", &cpu_max(millis))?;
            }
            if let Some(processes) = limits.processes {
                set("pids.max", &processes.to_string())?;
            }
            Ok(())
        };
        set_all().map_err(|(_, text): (io::ErrorKind, String)| text)
    }

    /// What makes a new process enter; `None` when that is refused.
    pub(crate) fn entry(&self) -> Option<Entry> {
        let procs = File::options().write(true).open(self.folder.join("cgroup.procs")).ok()?;
        Some(Entry { procs, group: self.clone() })
    }

    /// Its folder, and whether it limits memory and processes, for another process of this program.
    pub(crate) fn to_parts(&self) -> (&Path, bool, bool) {
        (&self.folder, self.limits_memory, self.limits_processes)
    }

    pub(crate) fn from_parts(folder: PathBuf, limits_memory: bool, limits_processes: bool) -> Self {
        Self { folder, limits_memory, limits_processes }
    }

    /// What is still to be limited for each process in it.
    pub(crate) fn remaining(&self, limits: ResourceLimits) -> ResourceLimits {
        ResourceLimits {
            data: limits.data.filter(|_| !self.limits_memory),
            processes: limits.processes.filter(|_| !self.limits_processes),
            ..limits
        }
    }

    /// Whether a process is in it; also true of one that nothing is known of any more.
    pub(crate) fn holds(&self, pid: u32) -> bool {
        let Ok(text) = fs::read_to_string(format!("/proc/{pid}/cgroup")) else { return true };
        let path = text.lines().find_map(|it| it.strip_prefix("0::")).map(Path::new);
        // Its program may have made groups in it.
        let name = self.folder.file_name();
        path.is_none_or(|it| it.components().any(|it| Some(it.as_os_str()) == name))
    }

    /// Processes of it were killed because they wanted more memory than it may have.
    #[must_use]
    pub fn was_out_of_memory(&self) -> bool {
        let text = fs::read_to_string(self.folder.join("memory.events")).unwrap_or_default();
        let count = |name: &str| {
            let mut words = text.lines().filter_map(|it| it.split_once(' '));
            words.find(|it| it.0 == name).and_then(|it| it.1.trim().parse::<u64>().ok())
        };
        // Where the whole machine had none left, the limit of the group was not reached (`oom`).
        count("oom").is_some_and(|it| it > 0) && count("oom_kill").is_some_and(|it| it > 0)
    }

    /// Kills every process in it, wherever it has gone: to another process group, or to another session.
    pub fn kill(&self) {
        match write(&self.folder.join("cgroup.kill"), "1") {
            // A kernel before 5.14.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                for pid in members(&self.folder).unwrap_or_default() {
                    // It may have ended just now.
                    let _ = crate::kill(pid);
                }
            }
            // It is gone already, or there is no way.
            Ok(()) | Err(_) => {}
        }
    }

    /// Kills what is left in it, and removes it (within 5 s). Cancel-safe.
    pub async fn end(&self) {
        let deadline = monotonic() + END_WAIT_MAX;
        while let Err(error) = remove_tree(&self.folder) {
            if monotonic() >= deadline {
                tracing::warn!(group = %self.folder.display(), %error, "it cannot be removed");
                return;
            }
            self.kill();
            tokio::time::sleep(END_PAUSE).await;
        }
    }

    /// Removes it if it holds no process.
    pub(crate) fn remove(&self) {
        // What holds one is removed when that has ended.
        let _ = remove_tree(&self.folder);
    }
}

/// What makes a process that was just forked enter a group.
#[derive(Debug)]
pub(crate) struct Entry {
    procs: File,
    pub(crate) group: ControlGroup,
}

impl Entry {
    /// Has the calling process enter. Makes one system call, and is async-signal-safe.
    pub(crate) fn enter(&self) -> bool {
        // 0 is who writes it.
        rustix::io::write(&self.procs, b"0").is_ok()
    }
}

/// Removes a group, and those that its processes have made in it. What is gone is removed.
pub(super) fn remove_tree(folder: &Path) -> io::Result<()> {
    match fs::remove_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(_) => {}
        Ok(()) => return Ok(()),
    }
    for entry in fs::read_dir(folder)?.flatten() {
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(folder)
}

/// Quota and period in microseconds.
fn cpu_max(millis: u32) -> String {
    let period = if millis < 10 { CPU_PERIOD_MAX_US } else { CPU_PERIOD_US };
    format!("{} {period}", u64::from(millis) * period / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_never_smaller_than_the_kernel_takes() {
        for (millis, text) in
            [(1, "1000 1000000"), (9, "9000 1000000"), (10, "1000 100000"), (2500, "250000 100000")]
        {
            assert_eq!(cpu_max(millis), text);
        }
    }
}
