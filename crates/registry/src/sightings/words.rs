use super::{Moment, SightingKind};

impl SightingKind {
    /// What a proxy saw, for people.
    pub(super) fn words(self) -> &'static str {
        match self {
            SightingKind::ConnectFailed => "connection refused or unreachable",
            SightingKind::ConnectTimedOut => "connection timed out",
            SightingKind::BrokenBeforeResponse => "connection broke before a response",
            SightingKind::ConsecutiveErrors => "server errors in a row",
            SightingKind::GatewayFailures => "gateway errors (502, 503, 504) in a row",
            SightingKind::SuccessRate => "success rate far below the others'",
            SightingKind::FailurePercentage => "share of failures over the limit",
            SightingKind::Recovered => "recovered",
        }
    }
}

/// `proxy edge-1: connection timed out, 3 times, last at 12:03:01.250`.
pub(super) fn seen_by(proxy: &str, kind: SightingKind, count: u32, last: Moment) -> String {
    let words = kind.words();
    let at = last.wall.time_of_day();
    match count {
        1 => format!("proxy {proxy}: {words}, at {at}"),
        _ => format!("proxy {proxy}: {words}, {count} times, last at {at}"),
    }
}

pub(super) fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default().trim()
}
