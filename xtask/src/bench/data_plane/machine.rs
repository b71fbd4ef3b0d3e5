//! The machine that it runs on: who gets which core, and how many files a process may open.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

use anyhow::bail;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Cores, as `taskset --cpu-list` takes them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Layout {
    /// The proxy's cores; none: wherever the kernel puts it.
    pub(super) proxy: Option<String>,
    /// Where the load generator runs.
    pub(super) load: Option<String>,
    /// Where the backend runs.
    pub(super) backend: Option<String>,
}

impl Layout {
    /// One worker on core 0, everything else on the other cores.
    pub(super) fn one_worker(cores: usize) -> anyhow::Result<Self> {
        if cores < 2 {
            bail!("it needs two cores: one for the proxy, one for backend and load");
        }
        let load = if cores > 2 { "2" } else { "1" };
        Ok(Self { proxy: Some("0".into()), load: Some(load.into()), backend: Some("1".into()) })
    }

    /// Two workers, on the same cores whether one or two run; nothing is pinned where that would leave no core for the
    /// load.
    pub(super) fn two_workers(cores: usize) -> Self {
        if !fits_two_workers(cores) {
            return Self { proxy: None, load: None, backend: None };
        }
        // The backend was pinned when it started; it keeps core 1, so the proxies take the ones behind.
        Self { proxy: Some("2,3".into()), load: Some("0".into()), backend: Some("1".into()) }
    }
}

/// Whether a second worker can show what it is worth.
pub(super) fn fits_two_workers(cores: usize) -> bool {
    cores >= 4
}

pub(super) fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// What it ran on; figures are compared only with others from the same run.
pub(super) fn describe() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("");
    let model = model.trim_start_matches([' ', '\t', ':']).trim();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{} cores, {model}, Linux {}", cores(), kernel.trim())
}

/// Raises the limit of open files as far as this user may, also for every child, and returns it.
pub(super) fn raise_file_limit() -> u64 {
    let wanted = fs::read_to_string("/proc/sys/fs/nr_open").ok();
    let wanted = wanted.and_then(|it| it.trim().parse().ok()).unwrap_or(1 << 20);
    let all = Rlimit { current: Some(wanted), maximum: Some(wanted) };
    if setrlimit(Resource::Nofile, all).is_err() {
        let maximum = getrlimit(Resource::Nofile).maximum;
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
    getrlimit(Resource::Nofile).current.unwrap_or(wanted)
}

/// A command on the given cores that ends when this process does.
pub(super) fn pinned(program: &Path, cores: Option<&str>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM"]);
    if let Some(cores) = cores {
        command.args(["taskset", "--cpu-list", cores]);
    }
    command.arg(program);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_never_shares_its_core_with_the_load() {
        for cores in 2..9 {
            let layout = Layout::one_worker(cores).expect("two cores are enough");
            assert_ne!(layout.proxy, layout.load);
            assert_ne!(layout.proxy, layout.backend);
        }
        assert!(Layout::one_worker(1).is_err());
    }

    #[test]
    fn two_workers_are_pinned_only_where_the_load_has_cores_of_its_own() {
        assert_eq!(Layout::two_workers(3).proxy, None);
        assert_eq!(Layout::two_workers(4).proxy.as_deref(), Some("2,3"));
    }
}
