//! Counters of the proxies by release: what proxies say of single endpoints, which come and go, as numbers that only grow.

use std::collections::BTreeMap;
use std::sync::Arc;

use proxy_config::EndpointUse;
use recovery::{Counts, ReleaseId, ReleaseReport};

use crate::fleet::Uses;

/// What has been counted of one workload.
#[derive(Debug, Default)]
pub(super) struct Tally {
    last: BTreeMap<(String, String), EndpointUse>,
    totals: BTreeMap<String, BTreeMap<ReleaseId, Counts>>,
}

impl Tally {
    /// Takes in what the proxies say now. `release_of` tells the release of an endpoint, if it is one of this workload. Whose
    /// release comes later must have another before, lest what was counted until then counts for that.
    pub(super) fn take(
        &mut self,
        uses: &[(String, Arc<Uses>)],
        release_of: impl Fn(&str) -> Option<ReleaseId>,
    ) -> Vec<ReleaseReport> {
        let mut seen = BTreeMap::new();
        for (proxy, endpoints) in uses {
            for (endpoint, now) in endpoints.iter() {
                let Some(release) = release_of(endpoint) else { continue };
                let key = (proxy.clone(), endpoint.clone());
                let before = self.last.get(&key).filter(|before| has_grown(before, now));
                let added = difference(before, now);
                let total = self.totals.entry(proxy.clone()).or_default();
                total.entry(release).or_default().add(&added);
                seen.insert(key, now.clone());
            }
        }
        self.last = seen;
        self.totals.retain(|proxy, _| uses.iter().any(|it| it.0 == *proxy));
        let report = |(proxy, counts): (&String, &BTreeMap<ReleaseId, Counts>)| ReleaseReport {
            proxy: proxy.clone(),
            counts: counts.clone(),
        };
        self.totals.iter().map(report).collect()
    }
}

/// Counters that went back belong to an endpoint, or a proxy, that began anew.
fn has_grown(before: &EndpointUse, now: &EndpointUse) -> bool {
    now.successes >= before.successes && now.failures >= before.failures
}

fn difference(before: Option<&EndpointUse>, now: &EndpointUse) -> Counts {
    let none = EndpointUse::default();
    let before = before.unwrap_or(&none);
    let failures = now.failures.saturating_sub(before.failures);
    let successes = now.successes.saturating_sub(before.successes);
    let mut counts = Counts {
        // What proxies elsewhere say may be anything.
        requests: successes.saturating_add(failures),
        failures,
        latency_sum_us: now.duration_sum_us.saturating_sub(before.duration_sum_us),
        ..Counts::default()
    };
    for (idx, (added, count)) in counts.latency.iter_mut().zip(&now.durations).enumerate() {
        *added = count.saturating_sub(before.durations.get(idx).copied().unwrap_or(0));
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uses(proxy: &str, of: &[(&str, u64, u64)]) -> (String, Arc<Uses>) {
        let one = |(id, successes, failures): &(&str, u64, u64)| {
            let durations = vec![0, 0, *successes];
            let it = EndpointUse {
                successes: *successes,
                failures: *failures,
                durations,
                ..EndpointUse::default()
            };
            ((*id).to_owned(), it)
        };
        (proxy.to_owned(), Arc::new(of.iter().map(one).collect()))
    }

    #[test]
    fn totals_grow_while_endpoints_come_and_go() {
        let mut tally = Tally::default();
        let release_of = |id: &str| id.strip_prefix("n/web-")?.parse().ok().map(ReleaseId);
        let mut total = |of: &[(&str, u64, u64)]| {
            let reports = tally.take(&[uses("a", of)], release_of);
            reports[0]
                .counts
                .iter()
                .map(|(it, c)| (it.0, c.requests, c.failures))
                .collect::<Vec<_>>()
        };
        assert_eq!(total(&[("n/web-1", 10, 1), ("n/db-1", 5, 5)]), [(1, 11, 1)]);
        assert_eq!(total(&[("n/web-1", 15, 1), ("n/web-2", 3, 2)]), [(1, 16, 1), (2, 5, 2)]);
        assert_eq!(total(&[("n/web-2", 4, 2)]), [(1, 16, 1), (2, 6, 2)]);
        assert_eq!(total(&[("n/web-1", 2, 0), ("n/web-2", 1, 0)]), [(1, 18, 1), (2, 7, 2)]);
    }

    #[test]
    fn numbers_that_cannot_be_overflow_nothing() {
        let mut tally = Tally::default();
        let (most, release) = (u64::MAX, ReleaseId(1));
        for of in [[("n/1", most, most)], [("n/2", most, most)], [("n/1", most, 1)]] {
            let reports = tally.take(&[uses("a", &of)], |_| Some(release));
            assert_eq!(reports[0].counts[&release].requests, most);
        }
    }

    #[test]
    fn durations_stay_in_their_buckets() {
        let mut tally = Tally::default();
        let reports = tally.take(&[uses("a", &[("n/1", 4, 0)])], |_| Some(ReleaseId(1)));
        assert_eq!(reports[0].counts[&ReleaseId(1)].latency[..4], [0, 0, 4, 0]);
    }

    #[test]
    fn a_proxy_that_is_gone_is_not_heard_of() {
        let mut tally = Tally::default();
        tally.take(&[uses("a", &[("n/1", 4, 0)])], |_| Some(ReleaseId(1)));
        assert!(tally.take(&[], |_| Some(ReleaseId(1))).is_empty());
    }
}
