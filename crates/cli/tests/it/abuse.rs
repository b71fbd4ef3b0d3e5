//! 100,000 connections that break the rules in every way, a client that keeps to them, and the memory afterwards.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::support::{HANG, eventually, leno, request};

const CONNECTIONS: usize = 100_000;
/// Fills what is kept for later use, so that only a leak grows after it.
const WARM_UP: usize = 20_000;
const THREADS: usize = 4;

/// A proxy in a process of its own.
struct Proxy {
    process: Child,
    listener: SocketAddr,
    admin: SocketAddr,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Proxy {
    fn start(folder: &std::path::Path, endpoint: SocketAddr) -> Self {
        let file = folder.join("proxy.yaml");
        fs::write(&file, config(endpoint)).expect("the folder is writable");
        let mut command = leno();
        command.args(["proxy", "--concurrency", "2", "-c"]).arg(&file);
        let mut process = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary was built with the tests");
        let stderr = process.stderr.take().expect("it is piped");
        let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
        let mut log = Vec::new();
        while !log.last().is_some_and(|it: &String| it.contains("INFO ready")) {
            log.push(lines.next().unwrap_or_else(|| panic!("it ended: {log:?}")));
        }
        // Whatever it says from now on must not fill the pipe.
        thread::spawn(move || lines.for_each(drop));
        let address = |what: &str| {
            let line = log.iter().find(|it| it.contains(what)).expect("it says where it is");
            line.split([' ', '/']).find_map(|word| word.parse().ok()).expect("an address")
        };
        let (listener, admin) = (address("INFO listener  "), address("INFO proxy admin"));
        Self { process, listener, admin }
    }

    fn stat(&self, name: &str) -> u64 {
        let answer = request(self.admin, &[("Host", "admin")], "GET", "/stats", b"");
        let line = answer.body.lines().find_map(|it| it.strip_prefix(&format!("{name}: ")));
        line.and_then(|it| it.parse().ok()).unwrap_or_else(|| panic!("no {name}"))
    }

    /// Kilobytes that are resident, once every connection has ended: all, and what is not code or constants of the
    /// program, which come and go as they are used.
    fn resident(&self) -> (u64, u64) {
        eventually("all connections have ended", || self.stat("http.in.downstream_cx_active") <= 1);
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()));
        let status = status.expect("the process lives");
        let of = |name: &str| -> u64 {
            let line = status.lines().find_map(|it| it.strip_prefix(name)).expect("a line");
            line.trim().trim_end_matches(" kB").parse().expect("a number")
        };
        (of("VmRSS:"), of("RssAnon:"))
    }
}

fn config(endpoint: SocketAddr) -> String {
    let port = endpoint.port();
    format!(
        r#"
admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}}}
static_resources:
  listeners:
  - name: in
    address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: in
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {{prefix: "/"}}
                route: {{cluster: web}}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
  clusters:
  - name: web
    type: STATIC
    load_assignment:
      cluster_name: web
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}
"#
    )
}

/// An endpoint that answers every request that has no body, until its connection ends.
fn endpoint() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || answer(stream));
        }
    });
    address
}

fn answer(mut stream: TcpStream) {
    let mut read = Vec::new();
    let mut part = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut part) {
        read.extend_from_slice(&part[..length]);
        while let Some(end) = read.windows(4).position(|it| it == b"\r\n\r\n") {
            read.drain(..end + 4);
            if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").is_err() {
                return;
            }
        }
        // Bodies are not read to their end: nobody here sends a whole one.
        if read.len() > 64 * 1024 {
            return;
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("it is short").to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A header block for `GET /`: the static table's entries and a literal `:authority`.
const GET: &[u8] = &[0x82, 0x86, 0x84, 0x41, 3, b'w', b'e', b'b'];

/// The ways to break the rules; each connection says one of them, and leaves without waiting for an answer or after it.
fn abuses() -> Vec<(Vec<u8>, bool)> {
    let preface = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &frame(4, 0, 0, &[])].concat();
    let with = |frames: Vec<Vec<u8>>| [preface.clone(), frames.concat()].concat();
    let resets: Vec<Vec<u8>> = (0..100)
        .flat_map(|nth| [frame(1, 5, 2 * nth + 1, GET), frame(3, 0, 2 * nth + 1, &[0, 0, 0, 8])])
        .collect();
    let mut continuations = vec![frame(1, 1, 1, GET)];
    continuations.extend((0..200).map(|_| frame(9, 0, 1, &[0, 1, b'x', 1, b'y'])));
    let text = |it: &str| it.as_bytes().to_vec();
    let large = format!("GET / HTTP/1.1\r\nhost: web\r\nx: {}\r\n\r\n", "y".repeat(100_000));
    vec![
        (Vec::new(), false),
        (text("GET / HTTP/1.1\r\nhost: w"), false),
        (text("GET / HTTP/1.1\r\nhost: web\r\n\r\n"), false),
        (text("\x16\x03\x01\x02\x00\x01\x00"), true),
        (
            text(
                "POST / HTTP/1.1\r\nhost: web\r\ncontent-length: 6\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            ),
            true,
        ),
        (text(&large), true),
        (text("POST / HTTP/1.1\r\nhost: web\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"), true),
        (text("POST / HTTP/1.1\r\nhost: web\r\ncontent-length: 100000\r\n\r\nhalf"), false),
        (text("GET / HTTP/1.1\r\nhost: web\r\n\r\n").repeat(10), false),
        (with(vec![frame(0x7f, 0xff, 0xff, &[1; 100])]), false),
        (with(resets), true),
        (with(continuations), true),
        (with(vec![frame(1, 5, 1, GET)]), false),
        (with(vec![frame(1, 4, 1, GET), frame(0, 0, 1, b"half")]), false),
        (with(vec![frame(8, 0, 0, &[0x7f, 0xff, 0xff, 0xff])]), true),
        (with(vec![frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]), frame(1, 5, 1, GET)]), false),
    ]
}

fn abuse(address: SocketAddr, connections: usize) {
    let abuses = Arc::new(abuses());
    let next = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let (abuses, next) = (abuses.clone(), next.clone());
            thread::spawn(move || {
                loop {
                    let nth = next.fetch_add(1, Ordering::Relaxed);
                    if nth >= connections {
                        return;
                    }
                    let (bytes, waits) = &abuses[nth % abuses.len()];
                    let mut stream = TcpStream::connect(address).expect("it accepts");
                    // It may have closed already; that is its right.
                    let _ = stream.write_all(bytes);
                    if *waits {
                        let _ = stream.set_read_timeout(Some(HANG));
                        let _ = stream.read(&mut [0; 512]);
                    }
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|it| it.join().expect("a thread ends"));
}

/// Asks again and again until told to stop; gives how often. Any answer but the right one is a failure.
fn well_behaved(address: SocketAddr, stop: Arc<AtomicBool>) -> usize {
    let mut stream = TcpStream::connect(address).expect("it accepts");
    stream.set_read_timeout(Some(HANG)).expect("a timeout can be set");
    let mut answered = 0;
    while !stop.load(Ordering::Relaxed) {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: web\r\n\r\n").expect("it is taken");
        let mut read = Vec::new();
        let mut part = [0; 4096];
        while !read.ends_with(b"\r\n\r\nok") {
            let length = stream.read(&mut part).expect("an answer");
            assert_ne!(length, 0, "closed after {answered} answers");
            read.extend_from_slice(&part[..length]);
        }
        assert!(read.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&read));
        answered += 1;
    }
    answered
}

#[test]
fn abused_connections_leave_nothing_behind_and_harm_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let proxy = Proxy::start(folder.path(), endpoint());
    abuse(proxy.listener, WARM_UP);
    let before = proxy.resident();
    let stop = Arc::new(AtomicBool::new(false));
    let client = {
        let (address, stop) = (proxy.listener, stop.clone());
        thread::spawn(move || well_behaved(address, stop))
    };
    abuse(proxy.listener, CONNECTIONS);
    stop.store(true, Ordering::Relaxed);
    let answered = client.join().expect("no request of the well-behaved client fails");
    assert!(answered > 100, "{answered}");
    let after = proxy.resident();
    let growth = after.1.saturating_sub(before.1);
    assert!(growth <= before.0 / 10, "{before:?} kB became {after:?} kB");
}
