//! An agent in a process of its own, and a few ways to talk to it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Nothing here takes nearly as long; a test that gets here hangs.
pub(crate) const HANG: Duration = Duration::from_secs(60);

/// The binary under test.
pub(crate) fn leno() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leno"));
    command
        .stdin(Stdio::null())
        .env_remove("LENO_HTTP_ADDR")
        .env_remove("CONSUL_HTTP_ADDR")
        .env_remove("LENO_HTTP_TOKEN")
        .env_remove("CONSUL_HTTP_TOKEN")
        // `--dev` does not care.
        .env("LENO_DATA_DIR", "/nowhere/at/all")
        .env_remove("LENO_LOG");
    command
}

/// A running agent; killed and reaped when it is dropped.
pub(crate) struct Agent {
    process: Child,
    lines: mpsc::Receiver<String>,
    /// What it has logged so far.
    pub(crate) log: Vec<String>,
    pub(crate) http: SocketAddr,
    pub(crate) dns: Option<SocketAddr>,
    pub(crate) ingress: Option<SocketAddr>,
    pub(crate) mesh: Option<SocketAddr>,
    pub(crate) admin: Option<SocketAddr>,
}

impl Agent {
    /// An agent in memory, all ports chosen by the system.
    pub(crate) fn dev(arguments: &[&str]) -> Self {
        Self::start(&[&["--dev"], arguments].concat())
    }

    /// An agent that keeps its data in `folder`.
    pub(crate) fn durable(folder: &Path) -> Self {
        Self::start(&["--data-dir", folder.to_str().expect("a readable path")])
    }

    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::try_start(arguments).unwrap_or_else(|log| panic!("the agent did not start:\n{log}"))
    }

    /// The log, if it ended before it was ready.
    pub(crate) fn try_start(arguments: &[&str]) -> Result<Self, String> {
        Self::try_start_by(leno(), arguments)
    }

    /// The same by a command that has more in its environment.
    pub(crate) fn try_start_by(mut command: Command, arguments: &[&str]) -> Result<Self, String> {
        let any = "127.0.0.1:0";
        command.args(["agent", "--node", "test", "--workers", "2"]);
        for flag in ["--http", "--dns", "--ingress", "--outbound", "--proxy-admin"] {
            if !arguments.contains(&flag) {
                command.args([flag, any]);
            }
        }
        if !arguments.contains(&"--ingress-tls") {
            command.args(["--ingress-tls", any]);
        }
        let mut process = command
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary was built with the tests");
        let lines = lines_of(&mut process);
        let mut agent = Self {
            process,
            lines,
            log: Vec::new(),
            http: SocketAddr::from(([0, 0, 0, 0], 0)),
            dns: None,
            ingress: None,
            mesh: None,
            admin: None,
        };
        if !agent.read_log_until("ready") {
            return Err(agent.log.join("\n"));
        }
        agent.http = agent.address("HTTP API").expect("the agent says where its API is");
        agent.dns = agent.address("DNS");
        agent.ingress = agent.address("ingress ");
        agent.mesh = agent.address("mesh");
        agent.admin = agent.address("proxy admin");
        Ok(agent)
    }

    /// Reads the log until a line contains `text`; false when the process ended first.
    pub(crate) fn read_log_until(&mut self, text: &str) -> bool {
        let began = Instant::now();
        loop {
            match self.lines.recv_timeout(HANG.saturating_sub(began.elapsed())) {
                Ok(line) => {
                    let found = line.contains(text);
                    self.log.push(line);
                    if found {
                        return true;
                    }
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => return false,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    panic!("{text:?} is not in the log:\n{}", self.log.join("\n"))
                }
            }
        }
    }

    fn address(&self, what: &str) -> Option<SocketAddr> {
        let said = format!("INFO {what}");
        let line = self.log.iter().find(|line| line.contains(&said))?;
        line.split([' ', '/']).find_map(|word| word.parse().ok())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Kills it as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Sends it a signal: `INT` or `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let sent =
            Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status();
        assert!(sent.expect("there is a kill").success());
    }

    /// Its exit code, once it has ended.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        let mut code = None;
        eventually("the agent ends", || {
            let ended = self.process.try_wait().expect("it can be waited for");
            ended.inspect(|status| code = status.code()).is_some()
        });
        code
    }

    /// One request to the HTTP API.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &str) -> Answer {
        request(self.http, &[("Host", "agent")], method, path, body.as_bytes())
    }

    /// `leno` with this agent's address.
    pub(crate) fn cli(&self, arguments: &[&str]) -> Output {
        let output = leno().args(arguments).env("LENO_HTTP_ADDR", self.http.to_string()).output();
        output.expect("the binary runs")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The lines of a process's standard error, as they come.
pub(crate) fn lines_of(process: &mut Child) -> mpsc::Receiver<String> {
    let stderr = process.stderr.take().expect("it is piped");
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    lines
}

/// An HTTP answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }
}

/// One HTTP/1.1 request on a connection of its own; whatever is unclear about the answer is a failure of the test.
pub(crate) fn request(
    address: SocketAddr,
    headers: &[(&str, &str)],
    method: &str,
    path: &str,
    body: &[u8],
) -> Answer {
    let answer = try_request(address, headers, method, path, body);
    answer.expect("the address accepts connections, and answers")
}

/// The same; `None` when there is nobody, or who goes away meanwhile.
pub(crate) fn try_request(
    address: SocketAddr,
    headers: &[(&str, &str)],
    method: &str,
    path: &str,
    body: &[u8],
) -> Option<Answer> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(HANG)).expect("a timeout can be set");
    stream.write_all(format!("{head}\r\n").as_bytes()).ok()?;
    // A server that refuses the body may close before it has read all of it.
    let _ = stream.write_all(body);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    (!answer.is_empty()).then(|| parse(&answer))
}

fn parse(answer: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(answer).into_owned();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { panic!("no answer: {text:?}") };
    let status = head.split(' ').nth(1).and_then(|it| it.parse().ok());
    let is_chunked = head.to_lowercase().contains("transfer-encoding: chunked");
    let body = if is_chunked { unchunked(body) } else { body.to_owned() };
    Answer { status: status.expect("a status line"), head: head.to_owned(), body }
}

/// The payload of a chunked body, trailers left out.
fn unchunked(mut rest: &str) -> String {
    let mut body = String::new();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).expect("a chunk size");
        if size == 0 {
            break;
        }
        body.push_str(&after[..size]);
        rest = &after[size + 2..];
    }
    body
}

/// Runs `step` until it is true.
pub(crate) fn eventually(what: &str, mut step: impl FnMut() -> bool) {
    let began = Instant::now();
    while !step() {
        assert!(began.elapsed() < HANG, "not within {} s: {what}", HANG.as_secs());
        std::thread::yield_now();
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository")
}

/// A real client that `cargo xtask peers` set up; `None`, with a note, when it is not there. With
/// `LENO_REQUIRE_PEERS=1` its absence is a failure.
pub(crate) fn peer(path: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("LENO_PEERS").map(PathBuf::from);
    let folder = folder.unwrap_or_else(|| root().join("target/peers"));
    let peer = folder.join(path);
    if peer.exists() {
        return Some(peer);
    }
    let required = std::env::var("LENO_REQUIRE_PEERS").is_ok_and(|it| it == "1");
    assert!(!required, "{} is missing: run `cargo xtask peers`", peer.display());
    println!("left out: {} is not set up (`cargo xtask peers` does)", peer.display());
    None
}
