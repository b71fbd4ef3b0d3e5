use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals by which somebody asks this process to end.
#[derive(Debug)]
pub struct Termination {
    interrupt: Signal,
    terminate: Signal,
}

/// SIGHUP, by which service managers ask for a reload.
#[derive(Debug)]
pub struct Hangup(Signal);

impl Hangup {
    /// Takes the signal: from now on it does not end the process.
    ///
    /// # Errors
    /// When the handler cannot be installed.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn listen() -> io::Result<Self> {
        signal(SignalKind::hangup()).map(Self)
    }

    /// The next one. Cancel-safe.
    pub async fn next(&mut self) {
        self.0.recv().await;
    }
}

/// SIGUSR1, by which who has moved log files away asks for them to be opened anew.
#[derive(Debug)]
pub struct LogRotation(Signal);

impl LogRotation {
    /// Takes the signal: from now on it does not end the process.
    ///
    /// # Errors
    /// When the handler cannot be installed.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn listen() -> io::Result<Self> {
        signal(SignalKind::user_defined1()).map(Self)
    }

    /// The next one. Cancel-safe.
    pub async fn next(&mut self) {
        self.0.recv().await;
    }
}

/// One such signal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TerminationSignal {
    /// SIGINT, Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

impl Termination {
    /// Takes the signals: from now on they do not end the process by themselves. Signals that come before
    /// [`Termination::next`] is called are not lost.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn listen() -> io::Result<Self> {
        let (interrupt, terminate) = (SignalKind::interrupt(), SignalKind::terminate());
        Ok(Self { interrupt: signal(interrupt)?, terminate: signal(terminate)? })
    }

    /// The next signal. Cancel-safe.
    pub async fn next(&mut self) -> TerminationSignal {
        tokio::select! {
            _ = self.interrupt.recv() => TerminationSignal::Interrupt,
            _ = self.terminate.recv() => TerminationSignal::Terminate,
        }
    }
}

impl TerminationSignal {
    /// `SIGINT` or `SIGTERM`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            TerminationSignal::Interrupt => "SIGINT",
            TerminationSignal::Terminate => "SIGTERM",
        }
    }

    /// The exit code of a process that was ended by it before its work was done, as shells count: 128 + number.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            TerminationSignal::Interrupt => 130,
            TerminationSignal::Terminate => 143,
        }
    }
}
