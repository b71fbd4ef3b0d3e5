//! The parts of the requests that a change of documents touches, and how they are counted.

use std::collections::{BTreeMap, BTreeSet};

use proxy_config::{
    ClassUse, HostUse, HostUses, ProxyConfig, TouchedHost, host_key, path_class, touched_hosts,
};
use recovery::{Counts, ScopeCounts};
use serde::{Deserialize, Serialize};

use super::memory::Slice;

/// Virtual hosts of a guard, those with the most requests before. Each has at most nine scopes.
const HOSTS_MAX: usize = 16;
/// Paths that a scope is named after.
const NAMED_MAX: usize = 3;

/// A part of the requests.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub(super) enum Scope {
    /// All requests for a virtual host.
    Host { table: String, host: String },
    /// Those of one class of paths of it; the paths are those that were touched.
    Paths { table: String, host: String, class: usize, paths: Vec<String> },
    /// Requests for hosts that the table does not have, among all that it gets.
    Unknown { table: String },
}

impl Scope {
    /// In words.
    pub(super) fn name(&self) -> String {
        match self {
            Scope::Host { table, host } if host == "*" => format!("any other host ({table})"),
            Scope::Host { table, host } => format!("host {host} ({table})"),
            Scope::Paths { table, host, paths, .. } => {
                let named: Vec<&str> = paths.iter().take(NAMED_MAX).map(String::as_str).collect();
                format!("paths such as {} of host {host} ({table})", named.join(", "))
            }
            Scope::Unknown { table } => format!("hosts that are not declared ({table})"),
        }
    }

    /// It is no part of another scope.
    pub(super) fn is_whole(&self) -> bool {
        matches!(self, Scope::Host { .. })
    }

    /// True for scopes that count the same requests, whatever paths they are named after.
    pub(super) fn is_same(&self, other: &Scope) -> bool {
        match (self, other) {
            (
                Scope::Paths { table, host, class, .. },
                Scope::Paths { table: table2, host: host2, class: class2, .. },
            ) => (table, host, class) == (table2, host2, class2),
            _ => self == other,
        }
    }

    /// Its part of what was counted.
    pub(super) fn counts(&self, uses: &HostUses) -> ScopeCounts {
        match self {
            Scope::Host { table, host } => {
                uses.get(&host_key(table, host)).map(whole).unwrap_or_default()
            }
            Scope::Paths { table, host, class, .. } => {
                let counted = uses.get(&host_key(table, host));
                counted.and_then(|it| it.classes.get(*class)).map(of_class).unwrap_or_default()
            }
            Scope::Unknown { table } => {
                let none = host_key(table, "");
                let all = uses.iter().filter(|it| it.0.starts_with(&none));
                let requests = all.map(|it| it.1.total().requests()).fold(0, u64::saturating_add);
                let failures = uses.get(&none).map_or(0, |it| it.total().requests());
                let answers = Counts { requests, failures, ..Counts::default() };
                ScopeCounts { answers, refusals: 0 }
            }
        }
    }

    /// Its part of each slice.
    pub(super) fn before(&self, slices: &[Slice]) -> Vec<ScopeCounts> {
        slices.iter().map(|it| self.counts(&it.hosts)).collect()
    }
}

fn of_class(class: &ClassUse) -> ScopeCounts {
    let (requests, failures) = (class.requests(), class.failures);
    let answers = Counts { requests, failures, ..Counts::default() };
    ScopeCounts { answers, refusals: class.refusals }
}

fn whole(host: &HostUse) -> ScopeCounts {
    let mut counts = of_class(&host.total());
    for (added, count) in counts.answers.latency.iter_mut().zip(&host.durations) {
        *added = added.saturating_add(*count);
    }
    counts.answers.latency_sum_us = host.duration_sum_us;
    counts
}

/// The scopes that `objects` touch in a configuration. `slices` tell which hosts have the most requests.
pub(super) fn touched(
    config: &ProxyConfig,
    objects: &BTreeSet<String>,
    slices: &[Slice],
) -> Vec<Scope> {
    let mut hosts: Vec<((String, String), TouchedHost)> =
        touched_hosts(config, objects).into_iter().collect();
    hosts.sort_by_cached_key(|((table, host), _)| {
        let key = host_key(table, host);
        let requests = |it: &Slice| it.hosts.get(&key).map_or(0, |it| it.total().requests());
        std::cmp::Reverse(slices.iter().map(requests).sum::<u64>())
    });
    hosts.truncate(HOSTS_MAX);
    let mut scopes = Vec::new();
    let mut tables = BTreeSet::new();
    for ((table, host), touched) in hosts {
        scopes.push(Scope::Host { table: table.clone(), host: host.clone() });
        let mut classes: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for path in touched.paths {
            classes.entry(path_class(&path)).or_default().push(path);
        }
        for (class, paths) in classes {
            scopes.push(Scope::Paths { table: table.clone(), host: host.clone(), class, paths });
        }
        tables.insert(table);
    }
    scopes.extend(tables.into_iter().map(|table| Scope::Unknown { table }));
    scopes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_has_its_part_of_what_was_counted() {
        let host = |class: usize, successes, refusals, failures| {
            let mut host = HostUse { durations: vec![successes; 1], ..HostUse::default() };
            host.classes[class] = ClassUse { successes, refusals, failures };
            host.classes[(class + 1) % 8].successes = 100;
            host
        };
        let class = path_class("/cart");
        let uses: HostUses = [
            ("ingress/a".to_owned(), host(class, 7, 2, 1)),
            ("ingress/".to_owned(), host(0, 0, 0, 5)),
            ("outbound/a".to_owned(), host(0, 1, 1, 1)),
        ]
        .into();
        let (table, host) = ("ingress".to_owned(), "a".to_owned());
        let counts = |scope: Scope| {
            let it = scope.counts(&uses);
            (it.answers.requests, it.answers.failures, it.refusals, it.answers.timed())
        };
        let whole = Scope::Host { table: table.clone(), host: host.clone() };
        assert_eq!(counts(whole), (110, 1, 2, 7));
        let paths = vec!["/cart".to_owned()];
        let part = Scope::Paths { table: table.clone(), host, class, paths };
        assert_eq!(part.name(), "paths such as /cart of host a (ingress)");
        assert_eq!(counts(part), (10, 1, 2, 0));
        assert_eq!(counts(Scope::Unknown { table }), (215, 105, 0, 0));
    }
}
