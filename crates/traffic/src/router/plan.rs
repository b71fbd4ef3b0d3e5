//! What a route does, made ready.

use std::collections::BTreeMap;

use http::HeaderName;
use proxy_config::{ClusterChoice, FilterSetting, Forward, HashInput, Route, RouteAction};

use crate::cors::CorsPolicy;
use crate::header_change::HeaderEdits;
use crate::matching::{Fields, Replacement};
use crate::redirect::Redirector;
use crate::rewrite::{HostRewriter, PathRewriter};

/// What a route does, made ready for requests.
#[derive(Debug, Default)]
pub struct RoutePlan {
    /// Where requests are sent; empty when they are not.
    pub clusters: ClusterSplit,
    /// What the path becomes when it is sent on.
    pub path: PathRewriter,
    /// What the host becomes when it is sent on.
    pub host: HostRewriter,
    /// Where the client is sent instead.
    pub redirect: Option<Redirector>,
    /// Changes of the request's head.
    pub request_headers: HeaderEdits,
    /// Changes of the response's head.
    pub response_headers: HeaderEdits,
    /// Rules for other origins.
    pub cors: FilterSetting<CorsPolicy>,
    /// For each hash policy, what is done to the header before it is hashed.
    pub hash_rewrites: Vec<Option<Replacement>>,
}

impl RoutePlan {
    /// Makes a route ready.
    ///
    /// # Errors
    /// Why it cannot do what it is to do; what is left out without that is appended to `problems`.
    pub(super) fn new(route: &Route, problems: &mut Vec<String>) -> Result<RoutePlan, String> {
        let mut plan = RoutePlan::default();
        let mut edits = |changes| {
            let (edits, refused) = HeaderEdits::new(changes);
            problems.extend(refused);
            edits
        };
        plan.request_headers = edits(&route.headers.request);
        plan.response_headers = edits(&route.headers.response);
        plan.cors = match &route.filters.cors {
            FilterSetting::Inherit => FilterSetting::Inherit,
            FilterSetting::Off => FilterSetting::Off,
            FilterSetting::On(cors) => {
                let (policy, refused) = CorsPolicy::new(cors);
                problems.extend(refused);
                FilterSetting::On(policy)
            }
        };
        match &route.action {
            RouteAction::Forward(forward) => plan.forward(route, forward, problems)?,
            RouteAction::Redirect(redirect) => {
                plan.redirect = Some(Redirector::new(redirect, &route.path)?);
            }
            RouteAction::Respond { status, .. } => {
                if !(200..=599).contains(status) {
                    return Err(format!("{status} is not a status that a route can answer"));
                }
            }
        }
        Ok(plan)
    }

    fn forward(
        &mut self,
        route: &Route,
        forward: &Forward,
        problems: &mut Vec<String>,
    ) -> Result<(), String> {
        self.path = PathRewriter::new(&forward.path, &route.path)?;
        self.host = HostRewriter::new(&forward.host)?;
        self.clusters = ClusterSplit::new(&forward.cluster, problems)?;
        for policy in &forward.hash {
            self.hash_rewrites.push(match &policy.input {
                HashInput::Header { rewrite: Some((pattern, substitution)), .. } => {
                    Some(Replacement::new(pattern, substitution)?)
                }
                HashInput::Header { rewrite: None, .. }
                | HashInput::Cookie { .. }
                | HashInput::SourceIp
                | HashInput::Query(_) => None,
            });
        }
        Ok(())
    }
}

/// The clusters of a route.
#[derive(Debug, Default)]
pub struct ClusterSplit {
    entries: Vec<SplitEntry>,
    /// Where the share of each entry ends; the last is the sum.
    ends: Vec<u64>,
    header: Option<HeaderName>,
}

/// A cluster that a route may choose.
#[derive(Debug)]
pub struct SplitEntry {
    /// Its name.
    pub cluster: String,
    /// Changes of the request's head, before the route's own.
    pub request_headers: HeaderEdits,
    /// Changes of the response's head, before the route's own.
    pub response_headers: HeaderEdits,
    /// What the endpoint must have in its metadata, in addition to the route's.
    pub subset: BTreeMap<String, String>,
}

/// Which cluster a request goes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChosenCluster<'a> {
    /// The one at this position of [`ClusterSplit::entries`].
    Listed(usize),
    /// The one of this name, which the client chose.
    Named(&'a str),
    /// None: all shares are 0, or the header is missing or no text.
    Nowhere,
}

impl ClusterSplit {
    fn new(choice: &ClusterChoice, problems: &mut Vec<String>) -> Result<ClusterSplit, String> {
        let mut split = ClusterSplit::default();
        match choice {
            ClusterChoice::One(cluster) => split.push(SplitEntry::named(cluster), 1),
            ClusterChoice::Weighted(clusters) => {
                for weighted in clusters {
                    let (request_headers, refused) = HeaderEdits::new(&weighted.headers.request);
                    problems.extend(refused);
                    let (response_headers, refused) = HeaderEdits::new(&weighted.headers.response);
                    problems.extend(refused);
                    let subset = weighted.subset.clone();
                    let cluster = weighted.cluster.clone();
                    let entry = SplitEntry { cluster, request_headers, response_headers, subset };
                    split.push(entry, weighted.weight);
                }
                if split.ends.last().is_none_or(|sum| *sum == 0) {
                    problems.push("no cluster has a share of the requests".to_owned());
                }
            }
            ClusterChoice::Header(name) => {
                let name = HeaderName::from_bytes(name.as_bytes())
                    .map_err(|_| format!("{name:?} is not the name of a header"))?;
                split.header = Some(name);
            }
        }
        Ok(split)
    }

    fn push(&mut self, entry: SplitEntry, weight: u32) {
        self.entries.push(entry);
        // 2^32 entries of 2^32 - 1 each fit.
        self.ends.push(self.ends.last().unwrap_or(&0) + u64::from(weight));
    }

    /// The clusters that are known beforehand, in the order of the route.
    #[must_use]
    pub fn entries(&self) -> &[SplitEntry] {
        &self.entries
    }

    /// Chooses one in proportion to the shares (Envoy: the number modulo their sum). `random` is
    /// drawn for the request, or [`stable_random`] of its id, so that all proxies on its way choose
    /// alike.
    #[must_use]
    pub fn choose<'a>(&self, random: u64, fields: &'a impl Fields) -> ChosenCluster<'a> {
        if let Some(name) = &self.header {
            let value = fields.all(name).next().and_then(|it| std::str::from_utf8(it).ok());
            return match value {
                Some(cluster) if !cluster.is_empty() => ChosenCluster::Named(cluster),
                Some(_) | None => ChosenCluster::Nowhere,
            };
        }
        let sum = self.ends.last().copied().unwrap_or(0);
        match random.checked_rem(sum) {
            Some(point) => ChosenCluster::Listed(self.ends.partition_point(|end| *end <= point)),
            None => ChosenCluster::Nowhere,
        }
    }
}

impl SplitEntry {
    fn named(cluster: &str) -> SplitEntry {
        SplitEntry {
            cluster: cluster.to_owned(),
            request_headers: HeaderEdits::default(),
            response_headers: HeaderEdits::default(),
            subset: BTreeMap::new(),
        }
    }
}

/// A number that follows from `x-request-id` alone. For a UUID it is the number that its first
/// eight digits are, as in Envoy, so that both choose alike; for any other text its FNV-1a hash.
#[must_use]
pub fn stable_random(request_id: &[u8]) -> u64 {
    const UUID_BYTES: usize = 36;
    let number = |digits: &[u8]| u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
    match request_id.get(..8).filter(|_| request_id.len() == UUID_BYTES).and_then(number) {
        Some(number) => number,
        None => request_id.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        }),
    }
}

#[cfg(test)]
mod tests {
    use codec::message::HeaderMap;
    use http::HeaderValue;
    use proxy_config::{ClusterChoice, HeaderChange, WeightedCluster};

    use super::{ChosenCluster, ClusterSplit, stable_random};

    fn split(choice: &ClusterChoice) -> (ClusterSplit, Vec<String>) {
        let mut problems = Vec::new();
        (ClusterSplit::new(choice, &mut problems).unwrap(), problems)
    }

    #[test]
    fn shares_are_proportional() {
        let weighted = |weights: &[u32]| {
            let made = |(idx, it): (usize, &u32)| WeightedCluster::new(&idx.to_string(), *it);
            split(&ClusterChoice::Weighted(weights.iter().enumerate().map(made).collect()))
        };
        for weights in [&[1][..], &[3, 1], &[0, 5, 0, 2, 0], &[90, 10], &[1; 40]] {
            let (split, problems) = weighted(weights);
            assert!(problems.is_empty());
            let sum: u64 = weights.iter().map(|it| u64::from(*it)).sum();
            let mut counts = vec![0; weights.len()];
            for random in 0..sum * 3 {
                match split.choose(random, &()) {
                    ChosenCluster::Listed(idx) => counts[idx] += 1,
                    other => panic!("{other:?}"),
                }
            }
            let expected: Vec<u32> = weights.iter().map(|it| it * 3).collect();
            assert_eq!(counts, expected);
        }
        for weights in [&[][..], &[0], &[0, 0]] {
            let (split, problems) = weighted(weights);
            assert_eq!(split.choose(7, &()), ChosenCluster::Nowhere);
            assert_eq!(problems.len(), 1);
        }
        let (split, _) = weighted(&[u32::MAX, u32::MAX]);
        assert_eq!(split.choose(u64::from(u32::MAX), &()), ChosenCluster::Listed(1));
    }

    #[test]
    fn a_header_names_the_cluster() {
        let (split, _) = split(&ClusterChoice::Header("x-cluster".to_owned()));
        let mut headers = HeaderMap::new();
        assert_eq!(split.choose(0, &headers), ChosenCluster::Nowhere);
        headers.insert("x-cluster", HeaderValue::from_static("web"));
        assert_eq!(split.choose(0, &headers), ChosenCluster::Named("web"));
        let mut problems = Vec::new();
        assert!(
            ClusterSplit::new(&ClusterChoice::Header("a b".to_owned()), &mut problems).is_err()
        );
    }

    #[test]
    fn one_cluster_takes_all() {
        let (split, _) = split(&ClusterChoice::One("web".to_owned()));
        assert_eq!(split.choose(u64::MAX, &()), ChosenCluster::Listed(0));
        assert_eq!(split.entries()[0].cluster, "web");
    }

    #[test]
    fn changes_of_a_cluster_are_checked() {
        let mut weighted = WeightedCluster::new("web", 1);
        weighted.headers.request.push(HeaderChange::Remove("host".to_owned()));
        let (_, problems) = split(&ClusterChoice::Weighted(vec![weighted]));
        assert!(problems[0].contains("host"));
    }

    #[test]
    fn the_same_id_gives_the_same_number() {
        let id = b"cc21d9b0-cf5c-432b-8c7e-98aeb7988cd2";
        assert_eq!(stable_random(id), 0xcc21_d9b0);
        assert_ne!(stable_random(b"a"), stable_random(b"b"));
        // The published test vector of FNV-1a for "a".
        assert_eq!(stable_random(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(stable_random(b""), 0xcbf2_9ce4_8422_2325);
        assert_ne!(stable_random(&[0xff; 36]), stable_random(&[0xfe; 36]));
    }
}
