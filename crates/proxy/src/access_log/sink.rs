//! The thread that writes lines to one target.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::Target;

/// Most bytes that wait to be written: some 4,000 lines of 250 bytes, a few milliseconds of full
/// load.
const WAITING_BYTES_MAX: usize = 1 << 20;
/// How often it is said at most that lines were dropped.
const SAID_EVERY: Duration = Duration::from_secs(10);

/// One target with the lines that wait for it. When it is dropped, what it has got is written.
#[derive(Debug)]
pub(crate) struct Sink {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
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
    /// What comes after so many of these bytes goes to the file that has the name then.
    reopen_at: Option<usize>,
    closed: bool,
}

impl Sink {
    /// Opens the target and starts the thread that writes to it.
    pub(super) fn open(target: &Target) -> io::Result<Self> {
        match target {
            Target::Stdout => Self::to(Output::stream(io::stdout())),
            Target::Stderr => Self::to(Output::stream(io::stderr())),
            Target::File(path) => Self::to(Output::file(path.clone())?),
        }
    }

    fn to(output: Output) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || of_thread.write_to(output))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Adds a line, with its line end. Never waits for the target.
    pub(super) fn append(&self, line: &[u8]) {
        let mut waiting = self.shared.waiting.lock();
        if waiting.lines.len() + line.len() > WAITING_BYTES_MAX {
            drop(waiting);
            self.shared.dropped.fetch_add(1, Relaxed);
            return;
        }
        let was_empty = waiting.lines.is_empty();
        waiting.lines.extend_from_slice(line);
        drop(waiting);
        if was_empty {
            self.shared.arrived.notify_one();
        }
    }

    /// What is appended from here on goes to the file that has the name then.
    pub(super) fn reopen(&self) {
        let mut waiting = self.shared.waiting.lock();
        waiting.reopen_at = Some(waiting.lines.len());
        drop(waiting);
        self.shared.arrived.notify_one();
    }

    /// Lines that were dropped, because the target was too slow or failed.
    pub(super) fn dropped(&self) -> u64 {
        self.shared.dropped.load(Relaxed)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.shared.waiting.lock().closed = true;
        self.shared.arrived.notify_one();
        if let Some(thread) = self.thread.take() {
            // The thread does not panic; if it did, there is nothing left to flush.
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// Runs until the sink is closed and all is written.
    fn write_to(&self, mut output: Output) {
        // Two buffers change places, so neither is ever allocated again.
        let mut lines = Vec::new();
        let mut report = Report { said: 0, said_at: None };
        loop {
            let (reopen_at, closed) = {
                let mut waiting = self.waiting.lock();
                while waiting.lines.is_empty() && waiting.reopen_at.is_none() && !waiting.closed {
                    self.arrived.wait(&mut waiting);
                }
                std::mem::swap(&mut waiting.lines, &mut lines);
                (waiting.reopen_at.take(), waiting.closed)
            };
            let (before, after) = lines.split_at(reopen_at.unwrap_or(0));
            self.write(&mut output, before);
            if reopen_at.is_some() {
                output.reopen();
            }
            self.write(&mut output, after);
            report.say(self.dropped.load(Relaxed), &output);
            // After a close nobody appends, so what was taken with it was the rest.
            if closed {
                return;
            }
            lines.clear();
        }
    }

    fn write(&self, output: &mut Output, lines: &[u8]) {
        if lines.is_empty() {
            return;
        }
        let writer = &mut output.writer;
        if writer.write_all(lines).and_then(|()| writer.flush()).is_err() {
            let count = lines.iter().filter(|byte| **byte == b'\n').count();
            self.dropped.fetch_add(count as u64, Relaxed);
        }
    }
}

struct Output {
    writer: Box<dyn Write + Send>,
    /// `None` for what has no name.
    path: Option<PathBuf>,
}

impl Output {
    fn stream(writer: impl Write + Send + 'static) -> Self {
        Self { writer: Box::new(writer), path: None }
    }

    fn file(path: PathBuf) -> io::Result<Self> {
        let writer = Box::new(open_file(&path)?);
        Ok(Self { writer, path: Some(path) })
    }

    /// Goes on with the file that it has when there is none to be had.
    fn reopen(&mut self) {
        let Some(path) = &self.path else { return };
        match open_file(path) {
            Ok(file) => self.writer = Box::new(file),
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "an access log cannot be opened anew");
            }
        }
    }
}

fn open_file(path: &std::path::Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// Says that lines were dropped, not too often.
struct Report {
    said: u64,
    said_at: Option<Instant>,
}

impl Report {
    fn say(&mut self, dropped: u64, output: &Output) {
        if dropped == self.said {
            return;
        }
        let now = runtime::monotonic();
        if self.said_at.is_some_and(|it| now.saturating_duration_since(it) < SAID_EVERY) {
            return;
        }
        let path = output.path.as_ref().map(|it| it.display().to_string());
        let lines = dropped - self.said;
        tracing::warn!(path, lines, "an access log is slower than the traffic; lines are lost");
        (self.said, self.said_at) = (dropped, Some(now));
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::Arc;
    use std::sync::mpsc::{Receiver, Sender, channel};

    use parking_lot::Mutex;

    use super::{Output, Sink, WAITING_BYTES_MAX};
    use crate::access_log::Target;

    const LINE: &[u8] = b"a line of some length\n";

    fn path(test: &str) -> std::path::PathBuf {
        std::env::temp_dir().join(format!("leno-access-{test}-{}.log", std::process::id()))
    }

    #[test]
    fn lines_are_in_the_file_when_the_log_is_dropped() {
        let path = path("lines");
        let sink = Sink::open(&Target::parse(path.to_str().unwrap())).unwrap();
        for _ in 0..100 {
            sink.append(LINE);
        }
        drop(sink);
        let written = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(written, LINE.repeat(100));
    }

    #[test]
    fn what_comes_after_a_reopening_is_in_the_new_file() {
        let (path, moved) = (path("reopen"), path("moved"));
        let sink = Sink::open(&Target::File(path.clone())).unwrap();
        sink.append(LINE);
        std::fs::rename(&path, &moved).unwrap();
        sink.append(LINE);
        sink.reopen();
        sink.append(b"new\n");
        drop(sink);
        let (before, after) = (std::fs::read(&moved).unwrap(), std::fs::read(&path).unwrap());
        std::fs::remove_file(&path).unwrap();
        std::fs::remove_file(&moved).unwrap();
        assert_eq!((before, after), (LINE.repeat(2), b"new\n".to_vec()));
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
        let sink = Sink::to(Output::stream(stuck)).unwrap();
        sink.append(LINE);
        begun.recv().unwrap();
        let fit = WAITING_BYTES_MAX / LINE.len();
        for _ in 0..fit + 3 {
            sink.append(LINE);
        }
        assert_eq!(sink.dropped(), 3);
        drop(go_on);
        drop(sink);
        assert_eq!(written.lock().len(), (fit + 1) * LINE.len());
    }
}
