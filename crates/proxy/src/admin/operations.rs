//! What the admin surface changes.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::{Response, StatusCode};

use super::query::Query;
use super::{AdminView, plain};

/// How listeners are drained.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DrainListeners {
    /// They are closed now. Connections end when what is under way on them is done.
    AtOnce,
    /// `/ready` says `DRAINING` from now on, and when the drain time is over they are closed, if `stops`.
    Gracefully {
        /// False: they go on (`skip_exit`).
        stops: bool,
    },
}

/// Who does what is asked of the proxy as a whole.
pub trait Operator: fmt::Debug + Sync {
    /// Drains the listeners; false when the proxy has ended or is too busy to be told.
    fn drain_listeners(&self, how: DrainListeners) -> bool;
    /// Opens the files of the access logs anew.
    fn reopen_logs(&self);
    /// Ends the process; false when that is not for this proxy to decide.
    fn quit(&self) -> bool;
    /// What is logged; `None` when that is not for this proxy to decide.
    fn log_levels(&self) -> Option<&LogLevels>;
}

/// Ends the process.
#[derive(Clone)]
pub struct Quit(Arc<dyn Fn() + Send + Sync>);

impl Quit {
    /// `end` must return at once.
    pub fn new(end: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(end))
    }

    /// Ends it.
    pub fn now(&self) {
        (self.0)();
    }
}

impl fmt::Debug for Quit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Quit")
    }
}

/// Changes what is logged: with `None` gives the directives in force (`info,proxy=debug`), else takes new ones and gives
/// them, or says what is wrong with them.
type ChangeLevels = dyn Fn(Option<&str>) -> Result<String, String> + Send + Sync;

/// What is logged, and how to change that at run time.
#[derive(Clone)]
pub struct LogLevels(Arc<ChangeLevels>);

impl LogLevels {
    /// `change` gives the directives in force (`info,proxy=debug`), after it has taken those that it is given, or says
    /// what is wrong with them.
    pub fn new(
        change: impl Fn(Option<&str>) -> Result<String, String> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(change))
    }

    /// The directives in force.
    ///
    /// # Errors
    /// When nobody logs.
    pub fn current(&self) -> Result<String, String> {
        (self.0)(None)
    }

    /// Takes directives, and gives those in force.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn set(&self, directives: &str) -> Result<String, String> {
        (self.0)(Some(directives))
    }
}

impl fmt::Debug for LogLevels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogLevels")
    }
}

/// What changes something, and is asked for with `POST`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Operation {
    DrainListeners,
    FailHealthcheck,
    PassHealthcheck,
    Logging,
    Quit,
    ReopenLogs,
    ResetCounters,
    ModifyRuntime,
}

/// Paths of the operations, each with what it does.
pub(super) const OPERATIONS: [(&str, Operation, &str); 8] = [
    (
        "/drain_listeners",
        Operation::DrainListeners,
        "closes the listeners, with ?graceful after the drain time, with &skip_exit not then (POST)",
    ),
    ("/healthcheck/fail", Operation::FailHealthcheck, "makes /ready say 503 (POST)"),
    ("/healthcheck/ok", Operation::PassHealthcheck, "undoes /healthcheck/fail (POST)"),
    (
        "/logging",
        Operation::Logging,
        "shows and changes log levels (POST; ?level=debug, ?paths=proxy:debug,traffic:trace)",
    ),
    ("/quitquitquit", Operation::Quit, "ends the process (POST)"),
    ("/reopen_logs", Operation::ReopenLogs, "opens the access logs anew (POST)"),
    ("/reset_counters", Operation::ResetCounters, "lets all counters begin at 0 (POST)"),
    ("/runtime_modify", Operation::ModifyRuntime, "refused: there are no runtime values (POST)"),
];

pub(super) fn operate(
    operation: Operation,
    query: &Query,
    view: &AdminView<'_>,
) -> Response<Bytes> {
    match operation {
        Operation::FailHealthcheck => set_failed(view, true),
        Operation::PassHealthcheck => set_failed(view, false),
        Operation::DrainListeners => drain_listeners(query, view),
        Operation::Logging => logging(query, view),
        Operation::Quit => {
            if !view.operator.quit() {
                return not_here("who started this proxy ends it");
            }
            tracing::info!("the process ends, as the admin surface was asked");
            ok()
        }
        Operation::ReopenLogs => {
            view.operator.reopen_logs();
            ok()
        }
        Operation::ResetCounters => {
            view.stats.reset_counters(view.surroundings());
            ok()
        }
        Operation::ModifyRuntime => {
            let text = "No admin layer specified";
            plain(StatusCode::SERVICE_UNAVAILABLE, text.to_owned())
        }
    }
}

fn set_failed(view: &AdminView<'_>, is_failed: bool) -> Response<Bytes> {
    if view.is_failed.swap(is_failed, Ordering::Relaxed) != is_failed {
        tracing::info!(is_failed, "readiness was set by the admin surface");
    }
    ok()
}

fn drain_listeners(query: &Query, view: &AdminView<'_>) -> Response<Bytes> {
    if query.has("inboundonly") {
        return not_here("listeners have no direction; leave inboundonly out to drain all");
    }
    let (graceful, skip_exit) = (query.has("graceful"), query.has("skip_exit"));
    let how = match (graceful, skip_exit) {
        // Envoy's words.
        (false, true) => {
            let text = "skip_exit requires graceful\n";
            return plain(StatusCode::BAD_REQUEST, text.to_owned());
        }
        (false, false) => DrainListeners::AtOnce,
        (true, skip_exit) => DrainListeners::Gracefully { stops: !skip_exit },
    };
    if view.operator.drain_listeners(how) {
        ok()
    } else {
        let text = "the proxy cannot be told: it has ended, or has other things to do first\n";
        plain(StatusCode::SERVICE_UNAVAILABLE, text.to_owned())
    }
}

/// Envoy's `/logging`: `level` is for all, `paths` and any other parameter for one part each.
fn logging(query: &Query, view: &AdminView<'_>) -> Response<Bytes> {
    let Some(levels) = view.operator.log_levels() else {
        return not_here("who started this proxy decides what is logged");
    };
    let changed = match directives(query) {
        Ok(Change::None) => levels.current(),
        Ok(Change::All(level)) => levels.set(&level),
        Ok(Change::Parts(parts)) => levels.current().and_then(|current| {
            let all = parts.iter().fold(current, |all, (part, level)| with(&all, part, level));
            levels.set(&all)
        }),
        Err(why) => Err(why),
    };
    match changed {
        Ok(directives) => {
            let mut text = "active loggers:\n".to_owned();
            for directive in directives.split(',').filter(|it| !it.is_empty()) {
                let (part, level) = directive.rsplit_once('=').unwrap_or(("default", directive));
                text.push_str(&format!("  {part}: {level}\n"));
            }
            plain(StatusCode::OK, text)
        }
        Err(why) => {
            let usage = "usage: /logging?<name>=<level> (change single level)\n\
                         usage: /logging?paths=name1:level1,name2:level2,... (change multiple levels)\n\
                         usage: /logging?level=<level> (change all levels)\n";
            plain(StatusCode::BAD_REQUEST, format!("error: {why}\n{usage}"))
        }
    }
}

enum Change {
    None,
    All(String),
    Parts(Vec<(String, String)>),
}

fn directives(query: &Query) -> Result<Change, String> {
    let mut parts = Vec::new();
    for (name, value) in query.pairs() {
        match name {
            "level" => return Ok(Change::All(level(value)?.to_owned())),
            "paths" => {
                for pair in value.split(',').filter(|it| !it.is_empty()) {
                    let (part, wanted) =
                        pair.split_once(':').ok_or_else(|| format!("no level in {pair:?}"))?;
                    parts.push((part_name(part)?, level(wanted)?.to_owned()));
                }
            }
            part => parts.push((part_name(part)?, level(value)?.to_owned())),
        }
    }
    Ok(if parts.is_empty() { Change::None } else { Change::Parts(parts) })
}

/// Envoy's words, two of which are others here.
fn level(word: &str) -> Result<&str, String> {
    match word {
        "warning" => Ok("warn"),
        "critical" => Ok("error"),
        "trace" | "debug" | "info" | "warn" | "error" | "off" => Ok(word),
        _ => Err(format!("unknown level {word:?}")),
    }
}

/// What would mean something else in a directive is refused.
fn part_name(name: &str) -> Result<String, String> {
    let is_plain = |it: char| it.is_ascii_alphanumeric() || it == '_' || it == ':';
    match !name.is_empty() && name.chars().all(is_plain) {
        true => Ok(name.to_owned()),
        false => Err(format!("{name:?} is not the name of a part")),
    }
}

/// The directives with one for this part.
fn with(all: &str, part: &str, level: &str) -> String {
    let is_other = |it: &&str| it.rsplit_once('=').is_none_or(|(name, _)| name != part);
    let mut kept: Vec<&str> = all.split(',').filter(|it| !it.is_empty()).filter(is_other).collect();
    let own = format!("{part}={level}");
    kept.push(&own);
    kept.join(",")
}

fn ok() -> Response<Bytes> {
    plain(StatusCode::OK, "OK\n".to_owned())
}

fn not_here(why: &str) -> Response<Bytes> {
    plain(StatusCode::NOT_IMPLEMENTED, format!("not supported: {why}\n"))
}
