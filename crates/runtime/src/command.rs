use std::io;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::process::Command;
use tokio::time::{Instant, timeout_at};

use crate::{ChildError, ChildSpec, Exit, fork};

/// Longer limits mean "never" and would only overflow clocks.
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);
/// Bytes read at once: the output of most checks is shorter.
const READ_BYTES: usize = 4096;

/// What became of a command that was run to its end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommandOutput {
    /// How it ended; `None` when its time was over and its process group was killed.
    pub exit: Option<Exit>,
    /// The last bytes of its standard output and standard error, in the order in which they were
    /// written.
    pub tail: Vec<u8>,
    /// Bytes that it wrote in all.
    pub written: u64,
}

/// Runs a command to its end in a process group of its own, with no input, and keeps the last
/// `tail_bytes_max` bytes of its output. It has ended when the process and everybody that holds its
/// output has; after `timeout` (at most a day) the whole group is killed, as it is when the future
/// is dropped.
///
/// # Errors
/// When it cannot be started or waited for.
pub async fn run_command(
    spec: &ChildSpec,
    timeout: Duration,
    tail_bytes_max: usize,
) -> Result<CommandOutput, ChildError> {
    let deadline = Instant::now() + timeout.min(TIMEOUT_MAX);
    let (mut process, mut output) = start(spec).map_err(|source| ChildError::Start {
        program: spec.program.display().to_string(),
        source,
    })?;
    let pid = process.id().expect("a child that was not waited for has a pid");
    // The output is read to its end before the process is waited for: until then its pid, and so
    // the number of its group, cannot be given to anybody else.
    let mut group = GroupKill(i32::try_from(pid).ok().and_then(Pid::from_raw));
    let mut tail = Tail { bytes: Vec::new(), bytes_max: tail_bytes_max, written: 0 };
    let whole = timeout_at(deadline, async {
        tail.read_to_end(&mut output).await;
        process.wait().await
    });
    let failed = |source| ChildError::Wait { pid, source };
    let exit = if let Ok(exit) = whole.await {
        group.disarm();
        Some(Exit::from(exit.map_err(failed)?))
    } else {
        group.kill();
        process.wait().await.map_err(failed)?;
        None
    };
    Ok(CommandOutput { exit, written: tail.written, tail: tail.into_bytes() })
}

fn start(spec: &ChildSpec) -> io::Result<(tokio::process::Child, pipe::Receiver)> {
    // One pipe for both outputs keeps their order.
    let (reader, writer) = io::pipe()?;
    let mut command = Command::new(&spec.program);
    command
        .args(&spec.arguments)
        .envs(&spec.environment)
        .stdin(Stdio::null())
        .stdout(Stdio::from(writer.try_clone()?))
        .stderr(Stdio::from(writer))
        .process_group(0)
        .kill_on_drop(true);
    let output = pipe::Receiver::from_owned_fd(reader.into())?;
    // The command, and with it our copies of the writing end, are dropped there, so the reader sees
    // the end.
    fork::spawn(command).map(|process| (process, output))
}

/// Kills a process group when it is dropped, unless it was disarmed.
struct GroupKill(Option<Pid>);

impl GroupKill {
    fn disarm(&mut self) {
        self.0 = None;
    }

    fn kill(&mut self) {
        if let Some(pid) = self.0.take() {
            // The group may be gone already; then there is nobody left to kill.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

impl Drop for GroupKill {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The last bytes of a stream; holds at most twice `bytes_max` plus one read.
struct Tail {
    bytes: Vec<u8>,
    bytes_max: usize,
    written: u64,
}

impl Tail {
    async fn read_to_end(&mut self, source: &mut pipe::Receiver) {
        let mut buffer = [0; READ_BYTES];
        // An error means that nobody can write any more.
        while let Ok(read @ 1..) = source.read(&mut buffer).await {
            self.written += read as u64;
            self.bytes.extend_from_slice(&buffer[..read]);
            if self.bytes.len() > self.bytes_max.saturating_mul(2) {
                self.cut();
            }
        }
    }

    fn cut(&mut self) {
        let surplus = self.bytes.len().saturating_sub(self.bytes_max);
        self.bytes.drain(..surplus);
    }

    fn into_bytes(mut self) -> Vec<u8> {
        self.cut();
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> ChildSpec {
        ChildSpec {
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            ..ChildSpec::default()
        }
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn output_keeps_the_order_of_both_streams() {
        let done = run_command(&shell("echo a; echo b >&2; echo c; exit 3"), LONG, 100).await;
        let expected =
            CommandOutput { exit: Some(Exit::Code(3)), tail: b"a\nb\nc\n".to_vec(), written: 6 };
        assert_eq!(done.unwrap(), expected);
    }

    #[tokio::test]
    async fn only_the_last_bytes_are_kept() {
        let script = "i=0; while [ $i -lt 5000 ]; do echo line$i; i=$((i+1)); done";
        let done = run_command(&shell(script), LONG, 9).await.unwrap();
        assert_eq!((done.tail.as_slice(), done.written), (&b"line4999\n"[..], 43_890));
    }

    #[tokio::test]
    async fn a_timeout_kills_the_whole_group() {
        // A grandchild holds the writing end of a pipe of ours: the pipe ends when it is dead.
        let path = std::env::temp_dir().join(format!("leno-group-kill-{}", std::process::id()));
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, mode).unwrap();
        let mut pipe = pipe::OpenOptions::new().open_receiver(&path).unwrap();
        let script = format!("(echo here >&3; exec sleep 1000) 3>{} & wait", path.display());
        let done = run_command(&shell(&script), Duration::from_secs(1), 100).await.unwrap();
        assert_eq!(done.exit, None);
        let mut said = String::new();
        let ended = timeout_at(Instant::now() + LONG, pipe.read_to_string(&mut said)).await;
        std::fs::remove_file(&path).unwrap();
        assert!(ended.is_ok(), "the grandchild still runs");
        assert_eq!(said, "here\n");
    }

    #[tokio::test]
    async fn a_program_that_does_not_exist_cannot_be_started() {
        let spec = ChildSpec { program: "/no/such/program".into(), ..ChildSpec::default() };
        let error = run_command(&spec, LONG, 100).await.unwrap_err();
        assert_eq!(error.to_string(), "cannot start /no/such/program");
    }
}
