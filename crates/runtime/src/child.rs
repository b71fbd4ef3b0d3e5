use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;

use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// What to start.
#[derive(Clone, Debug, Default)]
pub struct ChildSpec {
    /// Program, looked up on `PATH` when it has no slash.
    pub program: PathBuf,
    /// Arguments.
    pub arguments: Vec<OsString>,
    /// Variables added to the environment of this process.
    pub environment: BTreeMap<String, String>,
}

/// How a child ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        match status.code() {
            Some(code) => Exit::Code(code),
            None => Exit::Signal(status.signal().unwrap_or(0)),
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "exit code {code}"),
            Exit::Signal(9) => f.write_str("SIGKILL"),
            Exit::Signal(15) => f.write_str("SIGTERM"),
            Exit::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// A child process could not be started or watched.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// The program could not be started.
    #[error("cannot start {program}")]
    Start {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// Its end could not be waited for.
    #[error("cannot wait for process {pid}")]
    Wait {
        /// The process.
        pid: u32,
        /// Why.
        source: io::Error,
    },
}

/// A file that is readable once the process has ended. It was not waited for yet, so the pid is its own.
#[allow(unsafe_code)]
pub(crate) fn end_of(pid: u32) -> Option<AsyncFd<OwnedFd>> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw)?;
    let file = pidfd_open(pid, PidfdFlags::NONBLOCK).ok()?;
    // SAFETY: an `OwnedFd` is open, and the same file, for as long as it lives.
    unsafe { AsyncFd::register_with_interest(file, Interest::READABLE) }.ok()
}

/// Waits for the end of a process, kills what it leaves behind in its group, and reaps it. Cancel-safe.
pub(crate) async fn end(
    process: &mut tokio::process::Child,
    pid: u32,
    end: Option<&AsyncFd<OwnedFd>>,
) -> Result<Exit, ChildError> {
    if let Some(end) = end
        && end.readable().await.is_ok()
        && process.id().is_some()
    {
        // Until it is reaped, no other group can have its number.
        signal_group(pid, Signal::KILL);
    }
    process.wait().await.map(Exit::from).map_err(|source| ChildError::Wait { pid, source })
}

fn signal_group(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // The group may be gone already; then there is nobody left to tell.
        let _ = kill_process_group(pid, signal);
    }
}

/// Sends SIGKILL to one process.
///
/// # Errors
/// When there is no such process, or it belongs to somebody else.
pub fn kill(pid: u32) -> io::Result<()> {
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let pid = raw.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    rustix::process::kill_process(pid, Signal::KILL).map_err(io::Error::from)
}
