//! Logs for clients that follow them over HTTP (`agent/monitor`), at a level of their own.
//!
//! Whoever set up logging hands events in with [`publish`], after [`wants`] has said that somebody follows. Nothing is kept
//! for clients that come later, and what a slow one does not take in is lost to it, with a line that says so.

use std::fmt::Write;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tracing::Level;

/// Lines that wait for a client: at 200 bytes each, 100 KB.
const LINES_MAX: usize = 512;
/// Clients at once.
const FOLLOWERS_MAX: usize = 64;

/// One client.
struct Follower {
    level: u8,
    is_json: bool,
    lines: mpsc::Sender<Bytes>,
    lost: AtomicU64,
}

static FOLLOWERS: Mutex<Vec<Follower>> = Mutex::new(Vec::new());
/// The most that any client wants: 0 is nothing, 1 errors, 5 all.
static MOST: AtomicU8 = AtomicU8::new(0);

fn number(level: Level) -> u8 {
    match level {
        Level::ERROR => 1,
        Level::WARN => 2,
        Level::INFO => 3,
        Level::DEBUG => 4,
        Level::TRACE => 5,
    }
}

/// Somebody follows events of this level.
#[must_use]
pub fn wants(level: Level) -> bool {
    number(level) <= MOST.load(Ordering::Relaxed)
}

/// The most detailed level that somebody follows.
#[must_use]
pub fn most_wanted() -> Option<Level> {
    match MOST.load(Ordering::Relaxed) {
        0 => None,
        1 => Some(Level::ERROR),
        2 => Some(Level::WARN),
        3 => Some(Level::INFO),
        4 => Some(Level::DEBUG),
        _ => Some(Level::TRACE),
    }
}

/// One event, as it is told.
#[derive(Debug)]
pub struct Event<'a> {
    /// How grave it is.
    pub level: Level,
    /// The part of the program that it is from.
    pub target: &'a str,
    /// What happened.
    pub message: &'a str,
    /// More about it: names and values.
    pub fields: &'a [(&'static str, String)],
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
}

/// Hands an event to all clients that follow its level.
pub fn publish(event: &Event<'_>) {
    let mut followers = FOLLOWERS.lock();
    let before = followers.len();
    followers.retain(|it| number(event.level) > it.level || it.tell(event));
    if followers.len() < before {
        settle(&followers);
    }
}

impl Follower {
    /// False when the client is gone.
    fn tell(&self, event: &Event<'_>) -> bool {
        let mut line = if self.is_json { as_json(event) } else { as_text(event) };
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 && !self.is_json {
            line = format!(
                "[WARN]  monitor: {lost} lines were lost, for they were not taken in\n{line}"
            );
        }
        match self.lines.try_send(Bytes::from(line)) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.lost.fetch_add(lost + 1, Ordering::Relaxed);
                true
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    }
}

fn as_text(event: &Event<'_>) -> String {
    let time = api::rfc3339(model::Timestamp(event.at_ms));
    let level = format!("[{}]", event.level);
    let mut line = format!("{time} {level:<7} {}: {}", event.target, one_line(event.message));
    for (at, (name, value)) in event.fields.iter().enumerate() {
        let between = if at == 0 { ": " } else { " " };
        let _ = write!(line, "{between}{name}={}", one_line(value));
    }
    line.push('\n');
    line
}

/// A text with a line break would look like two events.
fn one_line(text: &str) -> String {
    text.replace('\n', "\\n").replace('\r', "\\r")
}

fn as_json(event: &Event<'_>) -> String {
    let mut object = serde_json::Map::new();
    let mut put = |name: &str, value: String| {
        object.insert(name.to_owned(), serde_json::Value::String(value));
    };
    put("@level", event.level.as_str().to_lowercase());
    put("@message", event.message.to_owned());
    put("@module", event.target.to_owned());
    put("@timestamp", api::rfc3339(model::Timestamp(event.at_ms)));
    for (name, value) in event.fields {
        put(name, value.clone());
    }
    format!("{}\n", serde_json::Value::Object(object))
}

/// Why nobody more can follow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{FOLLOWERS_MAX} clients follow the log already; end one of them first")]
pub struct TooMany;

/// Follows events of `level` and graver ones.
///
/// # Errors
/// When there are too many clients.
pub fn follow(level: Level, is_json: bool) -> Result<mpsc::Receiver<Bytes>, TooMany> {
    let (lines, receiver) = mpsc::channel(LINES_MAX);
    let mut followers = FOLLOWERS.lock();
    followers.retain(|it| !it.lines.is_closed());
    if followers.len() >= FOLLOWERS_MAX {
        return Err(TooMany);
    }
    followers.push(Follower { level: number(level), is_json, lines, lost: AtomicU64::new(0) });
    settle(&followers);
    Ok(receiver)
}

/// Has those who log ask anew what is wanted.
fn settle(followers: &[Follower]) {
    let most = followers.iter().map(|it| it.level).max().unwrap_or_default();
    if MOST.swap(most, Ordering::Relaxed) != most {
        tracing::callsite::rebuild_interest_cache();
    }
}

/// A level by Consul's name of it.
#[must_use]
pub fn level_of(name: &str) -> Option<Level> {
    match name.to_lowercase().as_str() {
        "trace" => Some(Level::TRACE),
        "debug" => Some(Level::DEBUG),
        "info" | "" => Some(Level::INFO),
        "warn" | "warning" => Some(Level::WARN),
        "err" | "error" => Some(Level::ERROR),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_what_it_asked_for_and_graver_and_hears_of_what_it_lost() {
        let mut lines = follow(Level::INFO, false).unwrap();
        let mut json = follow(Level::ERROR, true).unwrap();
        let event = |level, message| {
            publish(&Event {
                level,
                target: "control",
                message,
                fields: &[("node", "n1".into())],
                at_ms: 1000,
            });
        };
        event(Level::DEBUG, "no");
        event(Level::WARN, "yes");
        event(Level::ERROR, "both");
        let first = lines.try_recv().unwrap();
        assert_eq!(first, "1970-01-01T00:00:01Z [WARN]  control: yes: node=n1\n");
        let object: serde_json::Value = serde_json::from_slice(&json.try_recv().unwrap()).unwrap();
        assert_eq!((&object["@level"], &object["@message"]), (&"error".into(), &"both".into()));
        assert!(wants(Level::INFO));
        for _ in 0..LINES_MAX + 10 {
            event(Level::INFO, "flood");
        }
        let mut taken = 0;
        while lines.try_recv().is_ok() {
            taken += 1;
        }
        assert_eq!(taken, LINES_MAX);
        event(Level::INFO, "after");
        let line = lines.try_recv().unwrap();
        let line = String::from_utf8_lossy(&line).into_owned();
        assert!(line.contains("[WARN]  monitor: 11 lines were lost"), "{line}");
        drop((lines, json));
        event(Level::INFO, "nobody");
    }
}
