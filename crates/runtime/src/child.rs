use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::Command;
use tokio::sync::mpsc;

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

/// A running child process in a process group of its own. It gets SIGKILL when this process dies.
#[derive(Debug)]
pub struct Child {
    process: tokio::process::Child,
    pid: u32,
    lines: mpsc::Receiver<OutputLine>,
}

impl Child {
    /// Starts the process.
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
        die_with_parent(&mut command);
        let failed =
            |source| ChildError::Start { program: spec.program.display().to_string(), source };
        let mut process = command.spawn().map_err(failed)?;
        let pid = process.id().expect("a child that was not waited for has a pid");
        let (sender, lines) = mpsc::channel(LINES_WAITING_MAX);
        if let Some(stdout) = process.stdout.take() {
            tokio::spawn(read_lines(stdout, false, sender.clone()));
        }
        if let Some(stderr) = process.stderr.take() {
            tokio::spawn(read_lines(stderr, true, sender));
        }
        Ok(Self { process, pid, lines })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The next line that it wrote, or its end. Cancel-safe. Lines that were waiting come before the end.
    pub async fn next_event(&mut self) -> ChildEvent {
        let pid = self.pid;
        tokio::select! {
            biased;
            Some(line) = self.lines.recv() => ChildEvent::Line(line),
            ended = self.process.wait() => ChildEvent::Ended(
                ended.map(Exit::from).map_err(|source| ChildError::Wait { pid, source }),
            ),
        }
    }

    /// Waits for its end. Cancel-safe.
    ///
    /// # Errors
    /// When the system refuses to wait.
    pub async fn wait(&mut self) -> Result<Exit, ChildError> {
        let pid = self.pid;
        self.process.wait().await.map(Exit::from).map_err(|source| ChildError::Wait { pid, source })
    }

    /// Asks its process group to end with SIGTERM, waits at most `grace`, then kills it.
    ///
    /// # Errors
    /// When the system refuses to wait.
    pub async fn stop(&mut self, grace: Duration) -> Result<Exit, ChildError> {
        self.signal(Signal::TERM);
        if let Ok(exit) = tokio::time::timeout(grace, self.wait()).await {
            return exit;
        }
        self.signal(Signal::KILL);
        self.wait().await
    }

    /// Kills its process group.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    fn signal(&self, signal: Signal) {
        let Ok(raw) = i32::try_from(self.pid) else { return };
        if self.process.id().is_some()
            && let Some(pid) = Pid::from_raw(raw)
        {
            // The group may be gone already; then there is nobody left to tell.
            let _ = kill_process_group(pid, signal);
        }
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

#[allow(unsafe_code)]
pub(crate) fn die_with_parent(command: &mut Command) {
    // SAFETY: the closure runs between fork and exec and calls prctl only, which is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
                .map_err(io::Error::from)
        });
    }
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
