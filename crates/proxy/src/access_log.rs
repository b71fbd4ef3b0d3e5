//! Access logs: which requests are written about, in which form, and where to.
//!
//! A line is formatted into a buffer of the calling thread and appended to a bounded one of its sink; a thread of the
//! sink's own writes that out. When the target is slower than the traffic, lines are dropped, counted and said: a request
//! never waits for a disk.

mod chain;
mod facts;
mod sink;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use proxy_config::LogSink;

pub(crate) use chain::ChainLogs;
pub(crate) use facts::{Connection, ExchangeFacts, RequestHead, Unread};
pub(crate) use sink::Sink;

/// Where an access log goes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Target {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A file, appended to.
    File(PathBuf),
}

impl Target {
    /// `/dev/stdout` and `-` are standard output, `/dev/stderr` standard error, anything else is a path.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text {
            "-" | "/dev/stdout" => Target::Stdout,
            "/dev/stderr" => Target::Stderr,
            path => Target::File(PathBuf::from(path)),
        }
    }

    fn of(sink: &LogSink) -> Self {
        match sink {
            LogSink::Stdout => Target::Stdout,
            LogSink::Stderr => Target::Stderr,
            LogSink::File(path) => Target::parse(path),
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Target::Stdout => f.write_str("standard output"),
            Target::Stderr => f.write_str("standard error"),
            Target::File(path) => path.display().fmt(f),
        }
    }
}

/// The sinks of a proxy, each target once, whatever writes to it.
#[derive(Debug, Default)]
pub(crate) struct Sinks {
    /// Where every chain writes Envoy's default line, beside its own logs.
    default: Option<Target>,
    open: Mutex<BTreeMap<Target, Arc<Sink>>>,
}

impl Sinks {
    /// Opens the sink of the log that all chains write.
    pub(crate) fn new(default: Option<Target>) -> io::Result<Self> {
        let sinks = Self { default, open: Mutex::default() };
        if let Some(target) = &sinks.default {
            sinks.open(target)?;
        }
        Ok(sinks)
    }

    /// Opens a target, unless it is open.
    fn open(&self, target: &Target) -> io::Result<Arc<Sink>> {
        let mut open = self.open.lock();
        if let Some(sink) = open.get(target) {
            return Ok(sink.clone());
        }
        let sink = Arc::new(Sink::open(target)?);
        open.insert(target.clone(), sink.clone());
        Ok(sink)
    }

    /// Closes those that no configuration writes to any more. Waits until what they have got is written.
    pub(crate) fn close_unused(&self) {
        let mut unused = Vec::new();
        self.open.lock().retain(|target, sink| {
            let is_used = Arc::strong_count(sink) > 1 || self.default.as_ref() == Some(target);
            if !is_used {
                unused.push(sink.clone());
            }
            is_used
        });
        drop(unused);
    }

    /// Opens the files anew: what is appended from here on goes to the files that have their names then.
    pub(crate) fn reopen(&self) {
        self.open.lock().values().for_each(|it| it.reopen());
    }

    /// Lines that were dropped so far by the sinks that are open.
    pub(crate) fn dropped(&self) -> u64 {
        self.open.lock().values().map(|it| it.dropped()).sum()
    }
}
