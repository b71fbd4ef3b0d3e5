//! What came of requests lately, host by host, in slices: what a change is compared with.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use proxy_config::{HostUse, HostUses};

use crate::fleet::ProxyAt;

/// Length of a slice, in milliseconds.
pub(super) const SLICE_MS: u64 = 5_000;
/// Shortest slice that is made by a cut, in milliseconds.
const CUT_MS_MIN: u64 = 1_000;
/// Slices that are kept: a minute.
const SLICES_MAX: usize = 12;
/// Hosts of a slice; further ones are not remembered. With 0.6 KiB each all slices have at most 30 MB.
const HOSTS_MAX: usize = 4096;

/// A time and what came in it, over all proxies.
#[derive(Clone, Debug, Default)]
pub(super) struct Slice {
    began_ms: u64,
    ended_ms: u64,
    /// By [`proxy_config::host_key`].
    pub(super) hosts: HostUses,
}

/// The last minute.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// By proxy: its counters when they were last read.
    last: BTreeMap<String, Arc<HostUses>>,
    /// The oldest first; the last one is still being filled.
    slices: VecDeque<Slice>,
}

impl Memory {
    /// Takes in what the proxies say now.
    pub(super) fn take(&mut self, seen: &[(ProxyAt, Arc<HostUses>)], now_ms: u64) {
        let begins = match self.slices.back() {
            Some(open) => now_ms.saturating_sub(open.began_ms) > SLICE_MS,
            None => true,
        };
        if begins {
            let began_ms = self.slices.back().map_or(now_ms, |it| it.ended_ms);
            self.slices.push_back(Slice { began_ms, ended_ms: now_ms, hosts: HostUses::new() });
        }
        while self.slices.len() > SLICES_MAX {
            self.slices.pop_front();
        }
        let Some(open) = self.slices.back_mut() else { return };
        open.ended_ms = now_ms;
        for (proxy, hosts) in seen {
            // The first that is read of a proxy is where counting starts.
            if let Some(last) = self.last.get(&proxy.name) {
                add_news(&mut open.hosts, hosts, last);
            }
        }
        self.pass_over(seen);
    }

    /// What has come until now is not remembered.
    pub(super) fn pass_over(&mut self, seen: &[(ProxyAt, Arc<HostUses>)]) {
        self.last = seen.iter().map(|it| (it.0.name.clone(), it.1.clone())).collect();
    }

    /// What comes from now on is in another slice than what came before, unless that has just begun.
    pub(super) fn cut(&mut self) {
        if let Some(open) = self.slices.back_mut()
            && open.ended_ms.saturating_sub(open.began_ms) >= CUT_MS_MIN
        {
            let began_ms = open.ended_ms;
            self.slices.push_back(Slice { began_ms, ended_ms: began_ms, hosts: HostUses::new() });
        }
    }

    /// What is remembered, the oldest first, and how long that is in milliseconds. The slice that is still being filled is
    /// part of the one before, for a short one says little.
    pub(super) fn slices(&self) -> (Vec<Slice>, u64) {
        let mut slices: Vec<Slice> = self.slices.iter().cloned().collect();
        if slices.len() > 1
            && let Some(open) = slices.pop()
            && let Some(last) = slices.last_mut()
        {
            last.ended_ms = open.ended_ms;
            for (host, more) in &open.hosts {
                last.hosts.entry(host.clone()).or_default().add(more);
            }
        }
        let ms = slices.iter().map(|it| it.ended_ms.saturating_sub(it.began_ms)).sum();
        (slices, ms)
    }

    /// Forgets what has come since then: a configuration that was taken back is not what the next one is compared with.
    pub(super) fn forget_since(&mut self, ms: u64) {
        self.slices.retain(|it| it.ended_ms <= ms);
    }
}

fn add_news(to: &mut HostUses, now: &HostUses, last: &HostUses) {
    let none = HostUse::default();
    for (host, counted) in now {
        let news = counted.since(last.get(host).unwrap_or(&none));
        if news.total().requests() > 0 && (to.len() < HOSTS_MAX || to.contains_key(host)) {
            to.entry(host.clone()).or_default().add(&news);
        }
    }
}

#[cfg(test)]
mod tests {
    use model::Revision;

    use super::*;

    fn said(proxy: &str, successes: u64) -> (ProxyAt, Arc<HostUses>) {
        let mut host = HostUse::default();
        host.classes[1].successes = successes;
        let state = ProxyAt { name: proxy.to_owned(), acknowledged: Revision(1) };
        (state, Arc::new([("ingress/a".to_owned(), host)].into()))
    }

    fn counts(memory: &Memory) -> (Vec<u64>, u64) {
        let (slices, ms) = memory.slices();
        let of = |it: &Slice| it.hosts.values().map(|it| it.total().requests()).sum();
        (slices.iter().map(of).collect(), ms)
    }

    #[test]
    fn slices_hold_what_came_in_them() {
        let mut memory = Memory::default();
        memory.take(&[said("a", 100)], 1_000);
        memory.take(&[said("a", 110)], 4_000);
        memory.take(&[said("a", 130), said("b", 50)], 6_500);
        memory.take(&[said("a", 131), said("b", 55)], 11_000);
        // The one that is being filled is part of the one before; what `b` had before is no news.
        assert_eq!(counts(&memory), (vec![10, 26], 10_000));
        memory.take(&[said("a", 5), said("b", 55)], 12_000);
        assert_eq!(counts(&memory), (vec![10, 20, 11], 11_000));
        memory.cut();
        memory.take(&[said("a", 8), said("b", 55)], 12_500);
        assert_eq!(counts(&memory), (vec![10, 20, 6, 8], 11_500));
        memory.forget_since(12_000);
        assert_eq!(counts(&memory), (vec![10, 20, 11], 11_000));
        (0..100).for_each(|nth| memory.take(&[said("b", 60)], 20_000 + nth * 5_500));
        assert_eq!(counts(&memory).0.len(), SLICES_MAX - 1);
    }
}
