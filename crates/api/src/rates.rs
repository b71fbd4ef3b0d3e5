use std::time::{Duration, Instant};

use http::{Method, Request};

/// How many seconds' worth of requests may come at once (Consul's burst).
const BURST: f64 = 10.0;

/// Rates of requests to the registry.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Rates {
    /// Requests beyond are refused; else they are only counted.
    pub enforce: bool,
    /// Reads a second; `None`: no limit.
    pub reads: Option<f64>,
    /// Writes a second; `None`: no limit.
    pub writes: Option<f64>,
}

/// What a request is to the rates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// It reads the registry.
    Read,
    /// It writes the registry.
    Write,
}

impl Operation {
    /// What a request is; `None` for one that is about this agent alone, which no rate limits.
    #[must_use]
    pub fn of<B>(request: &Request<B>) -> Option<Self> {
        let rest = request.uri().path().strip_prefix("/v1/")?;
        if ["agent/", "status/"].iter().any(|part| rest.starts_with(part)) {
            return None;
        }
        Some(if *request.method() == Method::GET { Operation::Read } else { Operation::Write })
    }

    /// What a client is told that is beyond the rate: status and text, as Consul's clients know them.
    #[must_use]
    pub fn refusal(self) -> (http::StatusCode, &'static str) {
        match self {
            Operation::Read => (
                http::StatusCode::TOO_MANY_REQUESTS,
                "rate limit exceeded, try again later or against a different server",
            ),
            Operation::Write => (
                http::StatusCode::SERVICE_UNAVAILABLE,
                "rate limit exceeded for operation that can only be performed by the leader, try \
                 again later",
            ),
        }
    }
}

/// A bucket that fills with so many tokens a second, up to ten seconds' worth; each request takes one.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    rate: f64,
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    fn take(&mut self, now: Instant) -> bool {
        let passed: Duration = now.saturating_duration_since(self.filled);
        self.filled = self.filled.max(now);
        let most = (self.rate * BURST).max(1.0);
        self.tokens = (self.tokens + passed.as_secs_f64() * self.rate).min(most);
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }
}

/// Says which requests are within the rates.
#[derive(Debug)]
pub struct RateGate {
    enforce: bool,
    reads: Option<Bucket>,
    writes: Option<Bucket>,
}

/// What becomes of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admission {
    /// It is within the rate.
    Within,
    /// It is beyond, and goes on.
    Beyond,
    /// It is beyond, and is refused.
    Refused,
}

impl RateGate {
    /// A gate whose buckets are full.
    #[must_use]
    pub fn new(rates: Rates, now: Instant) -> Self {
        let bucket = |rate: f64| Bucket { rate, tokens: f64::INFINITY, filled: now };
        Self {
            enforce: rates.enforce,
            reads: rates.reads.map(bucket),
            writes: rates.writes.map(bucket),
        }
    }

    /// Takes a request.
    pub fn admit(&mut self, operation: Operation, now: Instant) -> Admission {
        let bucket = match operation {
            Operation::Read => &mut self.reads,
            Operation::Write => &mut self.writes,
        };
        let is_within = bucket.as_mut().is_none_or(|it| it.take(now));
        match (is_within, self.enforce) {
            (true, _) => Admission::Within,
            (false, true) => Admission::Refused,
            (false, false) => Admission::Beyond,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_lets_a_burst_through_and_then_so_many_a_second() {
        #[allow(clippy::disallowed_methods, reason = "any instant will do")]
        let start = Instant::now();
        let rates = Rates { enforce: true, reads: Some(2.0), writes: None };
        let mut gate = RateGate::new(rates, start);
        let mut count = |at: Duration| {
            let admitted = |_: &u32| gate.admit(Operation::Read, start + at) == Admission::Within;
            (0..100).filter(admitted).count()
        };
        assert_eq!(count(Duration::ZERO), 20);
        assert_eq!(count(Duration::from_secs(1)), 2);
        assert_eq!(count(Duration::from_secs(1)), 0);
        assert_eq!(count(Duration::from_hours(1)), 20);
        assert_eq!(gate.admit(Operation::Write, start), Admission::Within);
        let mut lenient = RateGate::new(Rates { enforce: false, ..rates }, start);
        let last = (0..21).map(|_| lenient.admit(Operation::Read, start)).last();
        assert_eq!(last, Some(Admission::Beyond));
    }

    #[test]
    fn what_is_about_the_agent_alone_is_not_limited() {
        let of = |method: &str, path: &str| {
            Operation::of(&Request::builder().method(method).uri(path).body(()).unwrap())
        };
        assert_eq!(of("GET", "/v1/kv/a"), Some(Operation::Read));
        assert_eq!(of("PUT", "/v1/kv/a"), Some(Operation::Write));
        assert_eq!(of("PUT", "/v1/agent/service/register"), None);
        assert_eq!(of("GET", "/v1/status/leader"), None);
        assert_eq!(of("GET", "/metrics"), None);
    }
}
