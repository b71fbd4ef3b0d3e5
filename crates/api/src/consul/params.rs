//! The query string, and the parameters that all reads share.

use std::time::Duration;

use http::HeaderMap;
use http::StatusCode;
use http::header::CACHE_CONTROL;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

use super::response::Reply;
use crate::Settings;
use model::go::{self, DurationError, quote};

/// A wait is prolonged by up to this part of itself, so that the clients of one change do not all come back at
/// once. Clients set their own timeouts by it: not more.
const JITTER_PART: u32 = 16;

/// What Go's `url.QueryEscape` escapes.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A parsed query string: pairs in the order given.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// `None` for what Go's `url.ParseQuery` refuses: a broken escape, or a semicolon.
    pub(crate) fn parse(raw: &str) -> Option<Self> {
        let mut pairs = Vec::new();
        for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
            if pair.contains(';') {
                return None;
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            pairs.push((unescape(name)?, unescape(value)?));
        }
        Some(Self(pairs))
    }

    /// The first value of `name`; `None` when it is not given.
    pub(super) fn first(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// The pairs sorted by name, as Go's `url.Values.Encode` writes them.
    pub(super) fn encode(&self) -> String {
        let mut pairs: Vec<&(String, String)> = self.0.iter().collect();
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        let escape =
            |text: &str| percent_encode(text.as_bytes(), ESCAPED).to_string().replace("%20", "+");
        let pairs = pairs.iter().map(|(name, value)| format!("{}={}", escape(name), escape(value)));
        pairs.collect::<Vec<_>>().join("&")
    }

    /// The first value of `name`; empty when it is not given.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.first(name).unwrap_or_default()
    }

    /// All values of `name`.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// True when `name` is given, with or without a value.
    pub(super) fn has(&self, name: &str) -> bool {
        self.first(name).is_some()
    }

    /// `node-meta=key:value`, repeatable; without a colon the value is empty.
    pub(super) fn node_meta(&self) -> Vec<(&str, &str)> {
        self.all("node-meta").map(|pair| pair.split_once(':').unwrap_or((pair, ""))).collect()
    }
}

fn unescape(text: &str) -> Option<String> {
    let text = text.replace('+', " ");
    has_whole_escapes(&text).then(|| percent_decode_str(&text).decode_utf8_lossy().into_owned())
}

/// True when every `%` is followed by two hexadecimal digits.
pub(super) fn has_whole_escapes(text: &str) -> bool {
    text.split('%').skip(1).all(|rest| {
        let digits = rest.as_bytes();
        digits.len() >= 2 && digits[..2].iter().all(u8::is_ascii_hexdigit)
    })
}

/// Go's `strconv.ParseBool`.
pub(super) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// How long a blocking read may wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Wait {
    /// In total, jitter not included.
    pub(super) timeout: Duration,
    /// Most that may be added.
    pub(super) jitter_max: Duration,
}

/// The parameters of an indexed read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ReadOptions {
    /// The index that the client has seen; 0 means that it does not want to wait.
    pub(super) index: u64,
    pub(super) wait: Wait,
    /// As `X-Consul-Effective-Consistency` reports it.
    pub(super) consistency: &'static str,
    pub(super) is_cached: bool,
}

impl ReadOptions {
    /// # Errors
    /// 400 with Consul's text for a parameter that cannot be read or that contradicts another.
    pub(super) fn parse(
        query: &Query,
        headers: &HeaderMap,
        settings: &Settings,
    ) -> Result<Self, Reply> {
        let bad = |text: &str| Reply::text(StatusCode::BAD_REQUEST, text);
        let wait = parse_wait(query, settings)?;
        let index = match query.text("index") {
            "" => 0,
            text => parse_index(text).ok_or_else(|| bad("Invalid index"))?,
        };
        let is_cached = query.has("cached");
        let is_consistent = query.has("consistent");
        let max_stale = match query.text("max_stale") {
            "" => Duration::ZERO,
            text => parse_duration(text)
                .ok_or_else(|| bad(&format!("Invalid max_stale value {}", quote(text))))?,
        };
        let is_stale = query.has("stale") || !max_stale.is_zero();
        if is_stale && is_consistent {
            return Err(bad("Cannot specify ?stale with ?consistent, conflicting semantics."));
        }
        if is_cached && is_consistent {
            return Err(bad("Cannot specify ?cached with ?consistent, conflicting semantics."));
        }
        if is_cached && !is_cache_control_valid(headers) {
            return Err(bad("Invalid Cache-Control header."));
        }
        let consistency = match (is_stale, is_consistent) {
            (true, _) => "stale",
            (false, true) => "consistent",
            (false, false) => "leader",
        };
        Ok(Self { index, wait, consistency, is_cached })
    }
}

/// Reads `wait`; absent, zero or negative means the default.
///
/// # Errors
/// 400 when it is no duration with a unit.
pub(super) fn parse_wait(query: &Query, settings: &Settings) -> Result<Wait, Reply> {
    let given = match query.text("wait") {
        "" => Duration::ZERO,
        text => parse_duration(text)
            .ok_or_else(|| Reply::text(StatusCode::BAD_REQUEST, "Invalid wait time"))?,
    };
    let timeout = if given.is_zero() { settings.wait_default } else { given };
    let timeout = timeout.min(settings.wait_max);
    Ok(Wait { timeout, jitter_max: timeout / JITTER_PART })
}

/// A negative duration is a duration to Go; where one is expected here it means "not given".
fn parse_duration(text: &str) -> Option<Duration> {
    match go::parse_duration(text) {
        Ok(duration) => Some(duration),
        Err(DurationError::Negative(_)) => Some(Duration::ZERO),
        Err(_) => None,
    }
}

/// Digits only: Rust's parser would also take a plus sign.
pub(super) fn parse_index(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// The ages are not used (our answers are never old), but a client that sends nonsense is told.
fn is_cache_control_valid(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CACHE_CONTROL) else { return true };
    let Ok(value) = value.to_str() else { return false };
    value.to_ascii_lowercase().split(',').all(|directive| match directive.trim().split_once('=') {
        Some(("max-age" | "stale-if-error", seconds)) => parse_index(seconds).is_some(),
        Some(_) | None => true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(query: &str) -> Result<ReadOptions, String> {
        let query = Query::parse(query).unwrap();
        ReadOptions::parse(&query, &HeaderMap::new(), &Settings::default())
            .map_err(|reply| String::from_utf8(reply.body().to_vec()).unwrap())
    }

    #[test]
    fn query_string_is_read_as_go_reads_it() {
        let query = Query::parse("a=1&a=2&&b&c=x+y%2Fz&d%20=").unwrap();
        assert_eq!(query.all("a").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!((query.first("b"), query.text("c")), (Some(""), "x y/z"));
        assert!(query.has("d ") && !query.has("e"));
        for broken in ["%zz", "a=%", "a=%2", "a=1;b=2"] {
            assert!(Query::parse(broken).is_none(), "{broken}");
        }
    }

    #[test]
    fn wait_is_bounded_and_has_a_default() {
        let seconds = |query: &str| options(query).unwrap().wait.timeout.as_secs();
        assert_eq!(seconds(""), 300);
        assert_eq!(seconds("wait=0s"), 300);
        assert_eq!(seconds("wait=-1s"), 300);
        assert_eq!(seconds("wait=1m30s"), 90);
        assert_eq!(seconds("wait=3h"), 600);
        assert_eq!(options("wait=16s").unwrap().wait.jitter_max, Duration::from_secs(1));
    }

    #[test]
    fn parameters_that_make_no_sense_are_refused() {
        for (query, text) in [
            ("wait=10", "Invalid wait time"),
            ("index=-1", "Invalid index"),
            ("index=%2B1", "Invalid index"),
            ("index=x", "Invalid index"),
            ("max_stale=x", "Invalid max_stale value \"x\""),
            ("max_stale=%07%01", r#"Invalid max_stale value "\a\x01""#),
            ("stale&consistent", "Cannot specify ?stale with ?consistent, conflicting semantics."),
            (
                "cached&consistent",
                "Cannot specify ?cached with ?consistent, conflicting semantics.",
            ),
        ] {
            assert_eq!(options(query).unwrap_err(), text, "{query}");
        }
    }

    #[test]
    fn consistency_is_reported_as_consul_names_it() {
        for (query, name) in [
            ("", "leader"),
            ("leader", "leader"),
            ("stale", "stale"),
            ("max_stale=10s", "stale"),
            ("consistent", "consistent"),
        ] {
            assert_eq!(options(query).unwrap().consistency, name, "{query}");
        }
    }

    #[test]
    fn cache_control_is_checked_for_cached_reads_only() {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_CONTROL, "max-age=x".parse().unwrap());
        assert!(ReadOptions::parse(&Query::default(), &headers, &Settings::default()).is_ok());
        let cached = Query::parse("cached").unwrap();
        assert!(ReadOptions::parse(&cached, &headers, &Settings::default()).is_err());
        headers.insert(CACHE_CONTROL, "max-age=10, must-revalidate".parse().unwrap());
        assert!(ReadOptions::parse(&cached, &headers, &Settings::default()).unwrap().is_cached);
    }
}
