//! Programs that run beside a test, and what they print.

use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use crate::support::{HANG, leno};

/// A port that nobody listened on a moment ago, for programs that cannot be told to choose one.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    listener.local_addr().expect("it is bound").port()
}

/// A running program; killed and reaped when it is dropped.
pub(crate) struct Program {
    process: Child,
    lines: mpsc::Receiver<String>,
    /// What it has printed, as far as it was read.
    said: Vec<String>,
}

impl Program {
    /// Starts it; what it prints and what it complains about are read as one.
    pub(crate) fn start(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("the program runs");
        let (sender, lines) = mpsc::channel();
        forward(process.stdout.take().expect("it is piped"), sender.clone());
        forward(process.stderr.take().expect("it is piped"), sender);
        Self { process, lines, said: Vec::new() }
    }

    /// Reads what it prints up to the line that contains `text`, and returns that line.
    pub(crate) fn says(&mut self, text: &str) -> String {
        let began = Instant::now();
        loop {
            match self.lines.recv_timeout(HANG.saturating_sub(began.elapsed())) {
                Ok(line) => {
                    self.said.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(_) => panic!("it never said {text:?}:\n{}", self.said.join("\n")),
            }
        }
    }

    /// All that it has printed so far; for the message of a failure.
    pub(crate) fn log(&mut self) -> String {
        self.said.extend(self.lines.try_iter());
        self.said.join("\n")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Reads to the end even if nobody listens, so that the program never waits for room in the pipe.
fn forward(source: impl Read + Send + 'static, sender: mpsc::Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(source).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
}

/// A `leno echo` that answers with its name, and its address.
pub(crate) fn echo(name: &str) -> (Program, SocketAddr) {
    echo_of_version(name, "v1")
}

/// A `leno echo` of a version.
pub(crate) fn echo_of_version(name: &str, version: &str) -> (Program, SocketAddr) {
    let arguments = ["--listen", "127.0.0.1:0", "--name", name, "--app-version", version];
    let mut program = Program::start(leno().arg("echo").args(arguments));
    let line = program.says(" on http://");
    let address = line.rsplit('/').next().and_then(|it| it.parse().ok());
    (program, address.expect("it says where it listens"))
}
