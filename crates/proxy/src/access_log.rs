//! The access log, in Envoy's default format.
//!
//! A line is formatted into a buffer of the calling thread and appended to a bounded shared one; a
//! thread of its own writes that to its target. When the target is slower than the traffic, lines
//! are dropped and counted: a request never waits for a disk.

use std::cell::RefCell;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::{Condvar, Mutex};
use traffic::ResponseFlags;

/// Most bytes that wait to be written: some 4,000 lines of 250 bytes, a few milliseconds of full
/// load.
const WAITING_BYTES_MAX: usize = 1 << 20;

/// One answered request.
#[derive(Clone, Copy, Debug)]
pub struct AccessRecord<'a> {
    /// When the request came, in milliseconds since the Unix epoch.
    pub start_unix_ms: u64,
    /// Method.
    pub method: &'a str,
    /// Path with the query, as the client sent it.
    pub path: &'a str,
    /// `HTTP/1.1`, `HTTP/2`.
    pub protocol: &'a str,
    /// Status code; 0 if the client left before there was one.
    pub status: u16,
    /// Response flags.
    pub flags: ResponseFlags,
    /// Bytes of the request's body.
    pub bytes_received: u64,
    /// Bytes of the response's body.
    pub bytes_sent: u64,
    /// From the request to the end of the response.
    pub duration: Duration,
    /// `x-envoy-upstream-service-time`, in milliseconds.
    pub upstream_service_time_ms: Option<u64>,
    /// `x-forwarded-for`.
    pub forwarded_for: Option<&'a [u8]>,
    /// `user-agent`.
    pub user_agent: Option<&'a [u8]>,
    /// `x-request-id`.
    pub request_id: Option<&'a [u8]>,
    /// `:authority` or `host`.
    pub authority: Option<&'a [u8]>,
    /// Endpoint that answered.
    pub upstream_host: Option<SocketAddr>,
}

/// Envoy's default line, with its line feed. What the client chose is escaped: it cannot end a field or a line.
impl fmt::Display for AccessRecord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AccessRecord { method, path, protocol, status, flags, .. } = self;
        let AccessRecord { bytes_received, bytes_sent, .. } = self;
        write_time(f, self.start_unix_ms)?;
        let (method, path) = (Escaped(method.as_bytes()), Escaped(path.as_bytes()));
        write!(
            f,
            " \"{method} {path} {protocol}\" {status} {flags} {bytes_received} {bytes_sent}"
        )?;
        write!(f, " {} ", self.duration.as_millis())?;
        match self.upstream_service_time_ms {
            Some(time_ms) => write!(f, "{time_ms}")?,
            None => f.write_str("-")?,
        }
        for value in [self.forwarded_for, self.user_agent, self.request_id, self.authority] {
            write!(f, " \"{}\"", Escaped(value.unwrap_or(b"-")))?;
        }
        match self.upstream_host {
            Some(address) => writeln!(f, " \"{address}\""),
            None => writeln!(f, " \"-\""),
        }
    }
}

/// Text of a client's, with quotes, backslashes, control characters and all that is not ASCII as `\xHH`.
struct Escaped<'a>(&'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
        for chunk in self.0.chunk_by(|a, b| is_plain(*a) && is_plain(*b)) {
            match std::str::from_utf8(chunk) {
                Ok(text) if is_plain(chunk[0]) => f.write_str(text)?,
                // What is not plain is alone in its chunk.
                Ok(_) | Err(_) => write!(f, "\\x{:02x}", chunk[0])?,
            }
        }
        Ok(())
    }
}

/// `[%Y-%m-%dT%H:%M:%S.mmmZ]`.
fn write_time(f: &mut fmt::Formatter<'_>, unix_ms: u64) -> fmt::Result {
    let time = i64::try_from(unix_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    write!(f, "[{:.3}]", time.unwrap_or(Timestamp::UNIX_EPOCH))
}

/// Where an access log goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// Standard output.
    Stdout,
    /// A file, appended to.
    File(PathBuf),
}

impl Target {
    /// `/dev/stdout` and `-` are standard output, anything else is a path.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text {
            "-" | "/dev/stdout" => Target::Stdout,
            path => Target::File(PathBuf::from(path)),
        }
    }
}

/// An access log, or none. A cheap clone; what was written is flushed when the last one is dropped.
#[derive(Clone, Debug, Default)]
pub struct AccessLog(Option<Arc<Writer>>);

impl AccessLog {
    /// Writes nothing.
    #[must_use]
    pub fn off() -> Self {
        Self(None)
    }

    /// Opens the target and starts the thread that writes to it.
    ///
    /// # Errors
    /// When the file cannot be opened or the thread cannot be started.
    pub fn open(target: &Target) -> io::Result<Self> {
        match target {
            Target::Stdout => Self::to(io::stdout()),
            Target::File(path) => {
                let file: File = OpenOptions::new().create(true).append(true).open(path)?;
                Self::to(file)
            }
        }
    }

    fn to(target: impl Write + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || of_thread.write_to(target))?;
        Ok(Self(Some(Arc::new(Writer { shared, thread: Some(thread) }))))
    }

    /// Whether lines go anywhere: if not, a record need not be made.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Writes a line. Takes about a microsecond and never waits for the target.
    pub fn write(&self, record: &AccessRecord<'_>) {
        thread_local! {
            static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        let Some(writer) = &self.0 else { return };
        LINE.with_borrow_mut(|line| {
            line.clear();
            write!(line, "{record}").expect("writing to a Vec does not fail");
            writer.shared.append(line);
        });
    }

    /// Lines that were dropped, because the target was too slow or failed.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.0.as_ref().map_or(0, |writer| writer.shared.dropped.load(Relaxed))
    }
}

#[derive(Debug)]
struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.waiting.lock().closed = true;
        self.shared.arrived.notify_one();
        if let Some(thread) = self.thread.take() {
            // The thread does not panic; if it did, there is nothing left to flush.
            let _ = thread.join();
        }
    }
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Whole lines.
    lines: Vec<u8>,
    closed: bool,
}

impl Shared {
    fn append(&self, line: &[u8]) {
        let mut waiting = self.waiting.lock();
        if waiting.lines.len() + line.len() > WAITING_BYTES_MAX {
            drop(waiting);
            self.dropped.fetch_add(1, Relaxed);
            return;
        }
        let was_empty = waiting.lines.is_empty();
        waiting.lines.extend_from_slice(line);
        drop(waiting);
        if was_empty {
            self.arrived.notify_one();
        }
    }

    /// Runs until the log is closed and all is written.
    fn write_to(&self, mut target: impl Write) {
        // Two buffers change places, so neither is ever allocated again.
        let mut lines = Vec::new();
        loop {
            let closed = {
                let mut waiting = self.waiting.lock();
                while waiting.lines.is_empty() && !waiting.closed {
                    self.arrived.wait(&mut waiting);
                }
                std::mem::swap(&mut waiting.lines, &mut lines);
                waiting.closed
            };
            if target.write_all(&lines).and_then(|()| target.flush()).is_err() {
                let count = lines.iter().filter(|byte| **byte == b'\n').count();
                self.dropped.fetch_add(count as u64, Relaxed);
            }
            // After a close nobody appends, so what was taken with it was the rest.
            if closed {
                return;
            }
            lines.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::Arc;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Duration;

    use parking_lot::Mutex;
    use traffic::{ResponseFlag, ResponseFlags};

    use super::{AccessLog, AccessRecord, Target, WAITING_BYTES_MAX};

    fn record() -> AccessRecord<'static> {
        AccessRecord {
            start_unix_ms: 1_795_356_123_045,
            method: "GET",
            path: "/a?b=1",
            protocol: "HTTP/1.1",
            status: 200,
            flags: ResponseFlags::NONE,
            bytes_received: 0,
            bytes_sent: 154,
            duration: Duration::from_micros(226_900),
            upstream_service_time_ms: Some(100),
            forwarded_for: Some(b"10.0.35.28"),
            user_agent: Some(b"curl/8"),
            request_id: Some(b"cc21d9b0"),
            authority: Some(b"web.mesh"),
            upstream_host: Some(([10, 0, 2, 1], 80).into()),
        }
    }

    #[test]
    fn a_line_is_envoys_default() {
        assert_eq!(
            record().to_string(),
            "[2026-11-22T14:02:03.045Z] \"GET /a?b=1 HTTP/1.1\" 200 - 0 154 226 100 \
             \"10.0.35.28\" \"curl/8\" \"cc21d9b0\" \"web.mesh\" \"10.0.2.1:80\"\n"
        );
    }

    #[test]
    fn a_client_cannot_forge_a_line() {
        let forged = AccessRecord {
            path: "/\"é",
            user_agent: Some(b"a\" 200 -\n[\\\x00\x1f\x7f\xff~"),
            ..record()
        };
        let line = forged.to_string();
        assert!(line.contains("\"GET /\\x22\\xc3\\xa9 HTTP/1.1\""), "{line}");
        assert!(line.contains("\"a\\x22 200 -\\x0a[\\x5c\\x00\\x1f\\x7f\\xff~\""), "{line}");
    }

    #[test]
    fn what_is_not_there_is_a_dash() {
        let flags = ResponseFlag::NoRouteFound.into();
        let empty = AccessRecord {
            start_unix_ms: 0,
            status: 404,
            flags,
            upstream_service_time_ms: None,
            forwarded_for: None,
            user_agent: None,
            request_id: None,
            authority: None,
            upstream_host: None,
            ..record()
        };
        assert_eq!(
            empty.to_string(),
            "[1970-01-01T00:00:00.000Z] \"GET /a?b=1 HTTP/1.1\" 404 NR 0 154 226 - \
             \"-\" \"-\" \"-\" \"-\" \"-\"\n"
        );
    }

    #[test]
    fn lines_are_in_the_file_when_the_log_is_dropped() {
        let path = std::env::temp_dir().join(format!("leno-access-{}.log", std::process::id()));
        let log = AccessLog::open(&Target::parse(path.to_str().unwrap())).unwrap();
        for _ in 0..100 {
            log.write(&record());
        }
        drop(log);
        let written = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(written, record().to_string().repeat(100));
    }

    /// Says when it is written to, and goes on when it is told to.
    struct Stuck {
        begun: Sender<()>,
        go_on: Receiver<()>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.begun.send(()).ok();
            self.go_on.recv().ok();
            self.written.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_slow_target_costs_lines_and_not_time() {
        let (begun_tx, begun) = channel();
        let (go_on, go_on_rx) = channel();
        let written = Arc::new(Mutex::new(Vec::new()));
        let stuck = Stuck { begun: begun_tx, go_on: go_on_rx, written: Arc::clone(&written) };
        let log = AccessLog::to(stuck).unwrap();
        log.write(&record());
        begun.recv().unwrap();
        let line = record().to_string().len();
        let fit = WAITING_BYTES_MAX / line;
        for _ in 0..fit + 3 {
            log.write(&record());
        }
        assert_eq!(log.dropped(), 3);
        drop(go_on);
        drop(log);
        assert_eq!(written.lock().len(), (fit + 1) * line);
    }
}
