use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader, Interest};
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::fork;

#[cfg(test)]
mod tests;

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

/// One line that a child wrote, without its end; a line of more than 8 KiB comes in pieces.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OutputLine {
    /// True for standard error.
    pub is_stderr: bool,
    /// The text; bytes that are not UTF-8 are replaced.
    pub text: String,
}

/// Lines waiting to be read; when it is full the child's writes block, as a pipe's do.
const LINES_WAITING_MAX: usize = 256;
/// Longer lines come in pieces: 8 KiB is the pipe buffer's guarantee times two, and no log line that people read.
const LINE_BYTES_MAX: u64 = 8192;
/// How long the last lines of a child that has ended may take to come.
const LAST_LINES_TIMEOUT: Duration = Duration::from_millis(100);

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

/// Something that a child did.
#[derive(Debug)]
pub enum ChildEvent {
    /// It wrote a line.
    Line(OutputLine),
    /// It ended.
    Ended(Result<Exit, ChildError>),
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

/// A running child process in a process group of its own. The group gets SIGKILL when the process has ended or this
/// is dropped, the process when its parent dies.
#[derive(Debug)]
pub struct Child {
    process: tokio::process::Child,
    pid: u32,
    /// Readable when the process has ended, which is before it is reaped; `None` on a kernel without (before 5.3).
    end: Option<AsyncFd<OwnedFd>>,
    lines: mpsc::Receiver<OutputLine>,
    /// How it ended, and until when its last lines are waited for.
    ended: Option<(Exit, Instant)>,
}

impl Child {
    /// Starts the process. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(spec: &ChildSpec) -> Result<Self, ChildError> {
        let mut command = Command::new(&spec.program);
        command
            .args(&spec.arguments)
            .envs(&spec.environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let failed =
            |source| ChildError::Start { program: spec.program.display().to_string(), source };
        let mut process = fork::spawn(command).map_err(failed)?;
        let pid = process.id().expect("a child that was not waited for has a pid");
        let (sender, lines) = mpsc::channel(LINES_WAITING_MAX);
        if let Some(stdout) = process.stdout.take() {
            tokio::spawn(read_lines(stdout, false, sender.clone()));
        }
        if let Some(stderr) = process.stderr.take() {
            tokio::spawn(read_lines(stderr, true, sender));
        }
        Ok(Self { process, pid, end: end_of(pid), lines, ended: None })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The next line that it wrote, or its end. Cancel-safe. Its last lines come before the end.
    pub async fn next_event(&mut self) -> ChildEvent {
        let (exit, until) = match self.ended {
            Some(ended) => ended,
            None => tokio::select! {
                biased;
                exit = end(&mut self.process, self.pid, self.end.as_ref()) => match exit {
                    Ok(exit) => *self.ended.insert((exit, Instant::now() + LAST_LINES_TIMEOUT)),
                    Err(error) => return ChildEvent::Ended(Err(error)),
                },
                Some(line) = self.lines.recv() => return ChildEvent::Line(line),
            },
        };
        // The pipes end at once, unless somebody outside of the group holds them.
        match timeout_at(until, self.lines.recv()).await {
            Ok(Some(line)) => ChildEvent::Line(line),
            Ok(None) | Err(_) => ChildEvent::Ended(Ok(exit)),
        }
    }

    /// Asks its process group to end, with SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Kills its process group.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    fn signal(&self, signal: Signal) {
        if self.process.id().is_some() {
            signal_group(self.pid, signal);
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
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

async fn read_lines(
    source: impl AsyncRead + Unpin,
    is_stderr: bool,
    sender: mpsc::Sender<OutputLine>,
) {
    let mut reader = BufReader::new(source);
    let mut line = Vec::new();
    loop {
        line.clear();
        // A line without an end is handed on in pieces, so that it cannot fill the memory.
        let mut piece = (&mut reader).take(LINE_BYTES_MAX);
        match piece.read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                while line.last().is_some_and(|b| matches!(b, b'\n' | b'\r')) {
                    line.pop();
                }
                let text = String::from_utf8_lossy(&line).into_owned();
                if sender.send(OutputLine { is_stderr, text }).await.is_err() {
                    return;
                }
            }
        }
    }
}
