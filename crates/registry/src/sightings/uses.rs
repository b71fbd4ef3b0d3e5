use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Which proxies send requests to which endpoints, by what they have counted. At most an entry for each endpoint of each
/// proxy that follows, as long as it does.
#[derive(Debug, Default)]
pub(super) struct Uses {
    by_proxy: BTreeMap<String, BTreeMap<String, Use>>,
}

#[derive(Clone, Copy, Debug)]
struct Use {
    successes: u64,
    failures: u64,
    used: Option<Instant>,
    vouched: Option<Instant>,
}

/// A proxy that uses an endpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct User {
    pub proxy: String,
    /// When it saw it answer well, and nothing else, last.
    pub vouched: Option<Instant>,
}

impl Uses {
    pub(super) fn sample(
        &mut self,
        counts: impl IntoIterator<Item = (String, BTreeMap<String, (u64, u64)>)>,
        now: Instant,
    ) {
        let mut before = std::mem::take(&mut self.by_proxy);
        for (proxy, counts) in counts {
            let known = before.remove(&proxy).unwrap_or_default();
            let counted = counts.into_iter().map(|(endpoint, (successes, failures))| {
                let next = match known.get(&endpoint) {
                    Some(use_) => use_.next(successes, failures, now),
                    // Nobody knows when that was.
                    None => Use { successes, failures, used: None, vouched: None },
                };
                (endpoint, next)
            });
            self.by_proxy.insert(proxy, counted.collect());
        }
    }

    /// Those that have sent requests to it within `lately`.
    pub(super) fn of(&self, endpoint: &str, now: Instant, lately: Duration) -> Vec<User> {
        let users = self.by_proxy.iter().filter_map(|(proxy, endpoints)| {
            let it = endpoints.get(endpoint)?;
            let is_late = now.saturating_duration_since(it.used?) > lately;
            (!is_late).then(|| User { proxy: proxy.clone(), vouched: it.vouched })
        });
        users.collect()
    }
}

impl Use {
    fn next(self, successes: u64, failures: u64, now: Instant) -> Self {
        // A proxy that began anew counts from 0; what it has counted since is news.
        let is_new = successes != self.successes || failures != self.failures;
        let is_well = successes > self.successes && failures == self.failures;
        Self {
            successes,
            failures,
            used: if is_new { Some(now) } else { self.used },
            vouched: if is_well { Some(now) } else { self.vouched },
        }
    }
}
