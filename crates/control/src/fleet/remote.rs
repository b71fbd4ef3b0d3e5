//! Proxies that run elsewhere: who may join, what they say, and when they are given up.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::Revision;
use proxy_config::{EndpointUse, HostUse, HostUses};
use registry::{Sighting, SightingKind};
use runtime::Drain;

use super::message::{Follow, Report, Seen};
use super::{Fleet, Moment, Side, State, Uses};

/// A proxy that has not been heard of for so long follows no more. It reports every two seconds at least, so this is five signs
/// of life in a row; and it is what a rollout gives a proxy to acknowledge, so one that was killed holds up no rollout twice.
pub const LEASE: Duration = Duration::from_secs(10);
/// Proxies elsewhere at one time. Each holds two of the HTTP server's 20,000 connections, and 0.5 KiB for each endpoint that it
/// uses: half a GiB in all when every one uses a thousand.
const PROXIES_MAX: usize = 1000;
/// Endpoints, and virtual hosts, of one proxy of which is kept what it says: more than fit into the 4 MiB of a request at once.
const KEPT_MAX: usize = 20_000;
const NAME_BYTES_MAX: usize = 128;
const LIFE_BYTES_MAX: usize = 64;
const VERSION_BYTES_MAX: usize = 64;
const TROUBLE_BYTES_MAX: usize = 1024;
/// Lives of one name that are known to have been replaced: as many proxies may be given the same name by mistake.
const REPLACED_MAX: usize = 16;
/// Sightings that are taken of one report; a proxy sends at most as many.
const SEEN_MAX: usize = 256;

/// A proxy elsewhere.
pub(super) struct Remote {
    life: String,
    /// Lives that had the name before, and may not take it back while this one has it.
    replaced: VecDeque<String>,
    pub(super) heard: Moment,
    pub(super) address: String,
    pub(super) version: String,
    pub(super) trouble: String,
    pub(super) is_leaving: bool,
    uses: Told<EndpointUse>,
    hosts: Told<HostUse>,
    /// Begins when this life is not a member any more.
    ended: Drain,
}

/// A proxy that may wait for its next configuration.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// Revision of the configuration that it has; 0 when it has none of this life of the agent.
    pub taken: Revision,
    /// Begins when it is not a member any more.
    pub ended: Drain,
}

/// Why a proxy may not follow.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// It says of itself what cannot be.
    #[error("{0}")]
    Wrong(String),
    /// Another proxy has its name.
    #[error("another proxy has taken the name {0}: give each its own with --name")]
    Replaced(String),
    /// There are too many.
    #[error("{PROXIES_MAX} proxies follow this agent already")]
    Full,
    /// It does not follow.
    #[error("the proxy {0} does not follow this agent (any more): follow first")]
    Unknown(String),
}

impl Remote {
    fn new(life: &str, replaced: VecDeque<String>, now: Moment) -> Self {
        Self {
            life: life.to_owned(),
            replaced,
            heard: now,
            address: String::new(),
            version: String::new(),
            trouble: String::new(),
            is_leaving: false,
            uses: Told::default(),
            hosts: Told::default(),
            ended: Drain::new(),
        }
    }

    pub(super) fn uses(&self) -> Arc<Uses> {
        Arc::clone(&self.uses.values)
    }

    pub(super) fn hosts(&self) -> Arc<HostUses> {
        Arc::clone(&self.hosts.values)
    }
}

/// What a proxy says of its endpoints, or of its virtual hosts.
struct Told<T> {
    values: Arc<BTreeMap<String, T>>,
    /// Under which number each of them was told.
    at: BTreeMap<String, u64>,
}

impl<T> Default for Told<T> {
    fn default() -> Self {
        Self { values: Arc::default(), at: BTreeMap::new() }
    }
}

impl<T: Clone> Told<T> {
    /// Takes in what was read under the number `at`; what is known to have been read later stays. Messages come over two
    /// connections, and so in any order.
    fn take(&mut self, said: BTreeMap<String, T>, at: u64, is_all: bool) {
        let values = Arc::make_mut(&mut self.values);
        if is_all {
            self.at.retain(|id, told| *told >= at || said.contains_key(id));
            values.retain(|id, _| self.at.contains_key(id));
        }
        for (id, value) in said {
            let told = self.at.get(&id).copied();
            if told.is_some_and(|it| it >= at) || told.is_none() && values.len() >= KEPT_MAX {
                continue;
            }
            self.at.insert(id.clone(), at);
            values.insert(id, value);
        }
    }
}

impl Fleet {
    /// A proxy elsewhere asks for its next configuration, and so acknowledges the one that it has. A life of it that was not
    /// known takes over the name.
    ///
    /// # Errors
    /// When it may not.
    pub fn follow(&self, ask: Follow, address: &str, now: Moment) -> Result<Admitted, Refusal> {
        check_name(&ask.name)?;
        if !is_word(&ask.life, LIFE_BYTES_MAX, "-") {
            return Err(Refusal::Wrong("life: letters, digits and `-`, at most 64".to_owned()));
        }
        let taken = if ask.agent == self.shared.life { Revision(ask.taken) } else { Revision(0) };
        let mut state = self.shared.state.lock();
        let is_new = state.admit(&ask, taken, now)?;
        let Some(remote) = state.remote(&ask.name, &ask.life) else {
            return Err(Refusal::Unknown(ask.name));
        };
        remote.heard = now;
        address.clone_into(&mut remote.address);
        remote.version = shortened(&ask.version, VERSION_BYTES_MAX);
        remote.trouble = shortened(&ask.trouble, TROUBLE_BYTES_MAX);
        remote.uses.take(ask.uses, ask.at, true);
        remote.hosts.take(ask.hosts, ask.at, true);
        let ended = remote.ended.clone();
        // What it sees is there before it counts as having acknowledged.
        let is_news = state.acknowledge(&ask.name, taken, now.at);
        drop(state);
        if is_new {
            tracing::info!(proxy = ask.name, address, "a proxy follows this agent");
        }
        if is_new || is_news {
            self.tell();
        }
        Ok(Admitted { taken, ended })
    }

    /// A proxy elsewhere says what has changed. Returns which endpoints it saw failing, or well again.
    ///
    /// # Errors
    /// When it does not follow: it must do that first.
    pub fn report(&self, report: Report, now: Moment) -> Result<Vec<Sighting>, Refusal> {
        let mut state = self.shared.state.lock();
        let Some(remote) = state.remote(&report.name, &report.life) else {
            return Err(Refusal::Unknown(report.name));
        };
        remote.heard = now;
        remote.uses.take(report.uses, report.at, false);
        remote.hosts.take(report.hosts, report.at, false);
        let is_leaving = report.leaving && !remote.is_leaving;
        remote.is_leaving |= report.leaving;
        if report.left {
            state.remove(&report.name);
        }
        drop(state);
        if report.left {
            tracing::info!(proxy = report.name, "a proxy has left");
        }
        if is_leaving || report.left {
            self.tell();
        }
        let proxy = report.name;
        let sighting = |it: Seen| {
            // A newer proxy may know more kinds.
            let kind = SightingKind::parse(&it.kind)?;
            let (endpoint, ejected_ms) = (it.endpoint, it.ejected_ms);
            Some(Sighting { proxy: proxy.clone(), endpoint, kind, ejected_ms })
        };
        Ok(report.seen.into_iter().take(SEEN_MAX).filter_map(sighting).collect())
    }

    /// Gives up proxies whose lease is over, and returns their names.
    pub fn expire(&self, now: Instant) -> Vec<String> {
        let mut state = self.shared.state.lock();
        let is_over = |since: Instant| now.saturating_duration_since(since) >= LEASE;
        let gone = state.proxies.iter().filter(|(_, it)| match &it.side {
            Side::Here(_) => false,
            Side::There(remote) => is_over(remote.heard.at),
            Side::Expected(since) => is_over(*since),
        });
        let gone: Vec<String> = gone.map(|it| it.0.clone()).collect();
        gone.iter().for_each(|name| state.remove(name));
        drop(state);
        for proxy in &gone {
            let lease_s = LEASE.as_secs();
            tracing::warn!(proxy, lease_s, "not heard of: nobody waits for this proxy any more");
        }
        if !gone.is_empty() {
            self.tell();
        }
        gone
    }

    /// Proxies that followed an earlier life of the agent serve by what they had from it, so they are waited for until they are
    /// back, or their lease is over.
    pub fn expect(&self, names: impl IntoIterator<Item = String>, now: Moment) {
        let mut state = self.shared.state.lock();
        for name in names.into_iter().take(PROXIES_MAX) {
            if check_name(&name).is_ok() && !state.proxies.contains_key(&name) {
                state.put(&name, Revision(0), Side::Expected(now.at), now.unix);
            }
        }
    }

    /// The next life of the agent will know of these proxies, and of no others.
    pub fn remember(&self, names: BTreeSet<String>) {
        self.shared.remembered.send_replace(names);
    }

    /// Waits until the next life of the agent will know of a proxy.
    pub async fn remembered(&self, name: &str) {
        // The sender lives as long as the fleet here.
        let _ = self.shared.remembered.subscribe().wait_for(|it| it.contains(name)).await;
    }

    /// Names of the proxies elsewhere.
    #[must_use]
    pub fn elsewhere(&self) -> BTreeSet<String> {
        let state = self.shared.state.lock();
        let elsewhere = state.proxies.iter().filter(|it| !matches!(it.1.side, Side::Here(_)));
        elsewhere.map(|it| it.0.clone()).collect()
    }
}

impl State {
    /// Makes a life a member, if it is none. True when it is now.
    fn admit(&mut self, ask: &Follow, taken: Revision, now: Moment) -> Result<bool, Refusal> {
        let mut replaced = VecDeque::new();
        let known = self.proxies.get_mut(&ask.name).map(|it| &mut it.side);
        match known {
            Some(Side::Here(_)) => return Err(Refusal::Replaced(ask.name.clone())),
            Some(Side::There(remote)) if remote.life == ask.life => return Ok(false),
            Some(Side::There(remote)) if remote.replaced.contains(&ask.life) => {
                return Err(Refusal::Replaced(ask.name.clone()));
            }
            Some(Side::There(remote)) => {
                remote.ended.begin();
                replaced = std::mem::take(&mut remote.replaced);
                replaced.push_back(std::mem::take(&mut remote.life));
                if replaced.len() > REPLACED_MAX {
                    replaced.pop_front();
                }
            }
            Some(Side::Expected(_)) => {}
            None => {
                let elsewhere = |it: &&super::Member| !matches!(it.side, Side::Here(_));
                if self.proxies.values().filter(elsewhere).count() >= PROXIES_MAX {
                    return Err(Refusal::Full);
                }
            }
        }
        let remote = Remote::new(&ask.life, replaced, now);
        self.put(&ask.name, taken, Side::There(Box::new(remote)), now.unix);
        Ok(true)
    }

    fn remote(&mut self, name: &str, life: &str) -> Option<&mut Remote> {
        match &mut self.proxies.get_mut(name)?.side {
            Side::There(remote) if remote.life == life => Some(remote),
            Side::There(_) | Side::Here(_) | Side::Expected(_) => None,
        }
    }

    fn remove(&mut self, name: &str) {
        if let Some(Side::There(remote)) = self.proxies.remove(name).map(|it| it.side) {
            remote.ended.begin();
        }
    }
}

fn check_name(name: &str) -> Result<(), Refusal> {
    if is_word(name, NAME_BYTES_MAX, "-._") {
        return Ok(());
    }
    let text = format!("name: {name:?} is not 1 to 128 letters, digits, `-`, `.` and `_`");
    Err(Refusal::Wrong(text))
}

fn is_word(text: &str, bytes_max: usize, more: &str) -> bool {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || more.contains(c);
    !text.is_empty() && text.len() <= bytes_max && text.chars().all(is_fine)
}

fn shortened(text: &str, bytes_max: usize) -> String {
    text[..text.floor_char_boundary(bytes_max)].to_owned()
}
