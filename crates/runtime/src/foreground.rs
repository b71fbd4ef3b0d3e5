use std::io::{self, IsTerminal};
use std::os::fd::OwnedFd;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::io::AsyncWriteExt;
use tokio::io::unix::AsyncFd;
use tokio::process::Command;
use tokio::signal::unix::{Signal as Listener, SignalKind, signal};

use crate::child::{end, end_of};
use crate::{ChildError, ChildSpec, Exit, fork};

/// What a child in the foreground reads from its standard input.
#[derive(Clone, Debug)]
pub enum Input {
    /// Nothing.
    Nothing,
    /// What this process would read.
    Ours,
    /// These bytes.
    Bytes(Vec<u8>),
}

/// A child process that writes where this process writes. It has a process group of its own, unless it reads from a
/// terminal, which the group in the foreground alone may do. What is left of the group gets SIGKILL when the process has
/// ended or this is dropped, the process also when its parent dies.
#[derive(Debug)]
pub struct Foreground {
    process: tokio::process::Child,
    pid: u32,
    has_group: bool,
    end: Option<AsyncFd<OwnedFd>>,
}

impl Foreground {
    /// Starts the process. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(spec: &ChildSpec, input: Input) -> Result<Self, ChildError> {
        let has_group = !matches!(input, Input::Ours) || !io::stdin().is_terminal();
        let mut command = Command::new(&spec.program);
        command.args(&spec.arguments).envs(&spec.environment).kill_on_drop(true);
        command.stdin(match input {
            Input::Nothing => Stdio::null(),
            Input::Ours => Stdio::inherit(),
            Input::Bytes(_) => Stdio::piped(),
        });
        if has_group {
            command.process_group(0);
        }
        let failed =
            |source| ChildError::Start { program: spec.program.display().to_string(), source };
        let mut process = fork::spawn(command).map_err(failed)?;
        let pid = process.id().expect("a child that was not waited for has a pid");
        if let (Input::Bytes(bytes), Some(mut stdin)) = (input, process.stdin.take()) {
            // It may end without having read them all.
            tokio::spawn(async move { stdin.write_all(&bytes).await });
        }
        Ok(Self { process, pid, has_group, end: end_of(pid) })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits for its end. Cancel-safe.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub async fn end(&mut self) -> Result<Exit, ChildError> {
        end(&mut self.process, self.pid, self.end.as_ref()).await
    }

    /// Asks it, and its group, to end, with SIGTERM.
    pub fn terminate(&self) {
        self.send(Signal::TERM);
    }

    /// Kills it, and its group.
    pub fn kill(&self) {
        self.send(Signal::KILL);
    }

    /// Passes a signal on.
    pub fn pass(&self, signal: PassedSignal) {
        self.send(match signal {
            PassedSignal::Hangup => Signal::HUP,
            PassedSignal::User1 => Signal::USR1,
            PassedSignal::User2 => Signal::USR2,
        });
    }

    fn send(&self, signal: Signal) {
        // Once it was reaped, its number may be somebody else's.
        if self.process.id().is_none() {
            return;
        }
        if let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) {
            // It may have ended already; then there is nobody left to tell.
            let _ = match self.has_group {
                true => kill_process_group(pid, signal),
                false => kill_process(pid, signal),
            };
        }
    }
}

impl Drop for Foreground {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A signal that a child in the foreground gets instead of this process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PassedSignal {
    /// SIGHUP.
    Hangup,
    /// SIGUSR1.
    User1,
    /// SIGUSR2.
    User2,
}

/// The signals that are passed on to a child in the foreground.
#[derive(Debug)]
pub struct PassedSignals([Listener; 3]);

impl PassedSignals {
    /// Takes the signals: from now on they do not end this process.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn listen() -> io::Result<Self> {
        let hangup = signal(SignalKind::hangup())?;
        let user1 = signal(SignalKind::user_defined1())?;
        let user2 = signal(SignalKind::user_defined2())?;
        Ok(Self([hangup, user1, user2]))
    }

    /// The next one. Cancel-safe.
    pub async fn next(&mut self) -> PassedSignal {
        let [hangup, user1, user2] = &mut self.0;
        tokio::select! {
            _ = hangup.recv() => PassedSignal::Hangup,
            _ = user1.recv() => PassedSignal::User1,
            _ = user2.recv() => PassedSignal::User2,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn shell(script: &str, input: Input) -> Foreground {
        let spec = ChildSpec {
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            ..ChildSpec::default()
        };
        Foreground::start(&spec, input).expect("there is a shell")
    }

    #[tokio::test]
    async fn it_reads_what_it_is_given() {
        let mut child =
            shell("read line; test \"$line\" = hello", Input::Bytes(b"hello\n".to_vec()));
        assert_eq!(child.end().await.unwrap(), Exit::Code(0));
        let mut child = shell("read line", Input::Nothing);
        assert_eq!(child.end().await.unwrap(), Exit::Code(1), "there is no line");
        // It ends before it has read all.
        let mut child = shell("exit 3", Input::Bytes(vec![0; 1 << 20]));
        assert_eq!(child.end().await.unwrap(), Exit::Code(3));
    }

    #[tokio::test]
    async fn a_signal_goes_to_its_whole_group() {
        // The shell ends once the signal has ended the program that it waits for.
        let mut child = shell("trap 'exit 7' TERM; sleep 1000 & wait", Input::Nothing);
        let end = loop {
            child.terminate();
            let end = tokio::time::timeout(Duration::from_millis(10), child.end()).await;
            if let Ok(end) = end {
                break end.unwrap();
            }
        };
        // A signal that comes before the trap is set ends the shell by itself.
        assert!(matches!(end, Exit::Code(7) | Exit::Signal(15)), "{end}");
    }
}
