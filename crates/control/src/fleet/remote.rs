//! Proxies that run elsewhere: who may join, what they say, and when they are given up.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::Revision;
use proxy_config::{EndpointUse, HostUse, HostUses};
use registry::{Moment, Sighting, SightingKind};
use runtime::Drain;

use super::message::{Follow, Report, Seen};
use super::{Fleet, Member, Side, State, Uses};

/// A proxy that has not been heard of for so long follows no more. It reports every two seconds at least, so this is five signs
/// of life in a row; and it is what a rollout gives a proxy to acknowledge, so one that was killed holds up no rollout twice.
pub const LEASE: Duration = Duration::from_secs(10);
/// Proxies elsewhere at one time. Each holds two of the HTTP server's 20,000 connections, and 0.5 KiB for each endpoint that it
/// uses: half a GiB in all when every one uses a thousand. As many again may be on their way out, replaced under their names.
const PROXIES_MAX: usize = 1000;
/// Endpoints, and virtual hosts, of one proxy of which is kept what it says: more than fit into the 4 MiB of a request at once.
const KEPT_MAX: usize = 20_000;
const NAME_BYTES_MAX: usize = 128;
const LIFE_BYTES_MAX: usize = 64;
const VERSION_BYTES_MAX: usize = 64;
const TROUBLE_BYTES_MAX: usize = 1024;
/// Lives of one name that are known to have been replaced, so that none of them takes the name back while another one has it.
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
    /// Another life has its name: it is a member under another key until it has left, or its lease is over.
    pub(super) is_replaced: bool,
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
    /// It takes no configuration any more.
    pub is_leaving: bool,
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
            is_replaced: false,
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
        // Most reports are signs of life, and readers hold what there is: it is not to be copied for those.
        if said.is_empty() && (!is_all || self.values.is_empty()) {
            return;
        }
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
    /// known takes over the name; the one before is waited for on its own until it has left, or its lease is over.
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
        let Some((key, remote)) = state.remote(&ask.name, &ask.life) else {
            return Err(Refusal::Unknown(ask.name));
        };
        remote.heard = now;
        address.clone_into(&mut remote.address);
        remote.version = shortened(&ask.version, VERSION_BYTES_MAX);
        remote.trouble = shortened(&ask.trouble, TROUBLE_BYTES_MAX);
        remote.uses.take(ask.uses, ask.at, true);
        remote.hosts.take(ask.hosts, ask.at, true);
        remote.is_leaving |= ask.leaving;
        let (ended, is_leaving, is_replaced) =
            (remote.ended.clone(), remote.is_leaving, remote.is_replaced);
        // What it sees is there before it counts as having acknowledged.
        let is_news = state.acknowledge(&key, taken, now.at);
        drop(state);
        if is_new {
            tracing::info!(proxy = key, address, "a proxy follows this agent");
        }
        if is_new || is_news || ask.leaving {
            self.tell();
        }
        if is_replaced && !is_leaving {
            return Err(Refusal::Replaced(ask.name));
        }
        Ok(Admitted { taken, is_leaving, ended })
    }

    /// A proxy elsewhere says what has changed. Returns which endpoints it saw failing, or well again.
    ///
    /// # Errors
    /// When it does not follow: it must do that first.
    pub fn report(&self, report: Report, now: Moment) -> Result<Vec<Sighting>, Refusal> {
        let mut state = self.shared.state.lock();
        let Some((key, remote)) = state.remote(&report.name, &report.life) else {
            return Err(Refusal::Unknown(report.name));
        };
        remote.heard = now;
        remote.uses.take(report.uses, report.at, false);
        remote.hosts.take(report.hosts, report.at, false);
        let is_leaving = report.leaving && !remote.is_leaving;
        remote.is_leaving |= report.leaving;
        if report.left {
            state.remove(&key);
        }
        drop(state);
        if report.left {
            tracing::info!(proxy = key, "a proxy has left");
        }
        if is_leaving || report.left {
            self.tell();
        }
        let proxy = key;
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
                state.put(&name, Revision(0), Side::Expected(now.at), now.wall);
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
        elsewhere.map(|it| name_in(it.0).to_owned()).collect()
    }
}

impl State {
    /// Makes a life a member, if it is none. True when it is now.
    fn admit(&mut self, ask: &Follow, taken: Revision, now: Moment) -> Result<bool, Refusal> {
        let mut replaced = VecDeque::new();
        let own = self.remote(&ask.name, &ask.life).map(|it| it.0);
        match self.proxies.get_mut(&ask.name).map(|it| &mut it.side) {
            Some(Side::Here(_)) => return Err(Refusal::Replaced(ask.name.clone())),
            Some(Side::There(_)) if own.is_some() => return Ok(false),
            Some(Side::There(remote)) if ask.leaving || remote.replaced.contains(&ask.life) => {
                // What it has under way counts, though it may not have the name.
                self.put_aside(ask, taken, now)?;
                return Ok(true);
            }
            Some(Side::There(remote)) => {
                replaced.clone_from(&remote.replaced);
                replaced.push_back(remote.life.clone());
                if replaced.len() > REPLACED_MAX {
                    replaced.pop_front();
                }
                self.set_aside(&ask.name)?;
            }
            Some(Side::Expected(_)) | None => {
                if let Some(member) = own.and_then(|key| self.proxies.remove(&key)) {
                    self.proxies.insert(ask.name.clone(), member.restored());
                    return Ok(true);
                }
                let is_known = self.proxies.contains_key(&ask.name);
                if !is_known && self.count_elsewhere(false) >= PROXIES_MAX {
                    return Err(Refusal::Full);
                }
            }
        }
        let remote = Remote::new(&ask.life, replaced, now);
        self.put(&ask.name, taken, Side::There(Box::new(remote)), now.wall);
        Ok(true)
    }

    /// Makes room for another life of this name: the one that has it is a member under a key of its own from now on.
    fn set_aside(&mut self, name: &str) -> Result<(), Refusal> {
        if self.count_elsewhere(true) >= PROXIES_MAX {
            return Err(Refusal::Full);
        }
        let Some(mut member) = self.proxies.remove(name) else { return Ok(()) };
        if let Side::There(remote) = &mut member.side {
            remote.ended.begin();
            remote.is_replaced = true;
        }
        let key = aside(name, member.generation);
        tracing::warn!(proxy = name, replaced = key, "another proxy has taken over a name");
        self.proxies.insert(key, member);
        Ok(())
    }

    /// Adds a life that does not have its name.
    fn put_aside(&mut self, ask: &Follow, taken: Revision, now: Moment) -> Result<(), Refusal> {
        if self.count_elsewhere(true) >= PROXIES_MAX {
            return Err(Refusal::Full);
        }
        let mut remote = Remote::new(&ask.life, VecDeque::new(), now);
        remote.is_replaced = true;
        let key = aside(&ask.name, self.joined + 1);
        self.put(&key, taken, Side::There(Box::new(remote)), now.wall);
        Ok(())
    }

    fn count_elsewhere(&self, are_replaced: bool) -> usize {
        let counted = self
            .proxies
            .iter()
            .filter(|(key, it)| !matches!(it.side, Side::Here(_)) && is_aside(key) == are_replaced);
        counted.count()
    }

    /// A life of a proxy, and the key that it is a member under: its name, unless another life has that.
    fn remote(&mut self, name: &str, life: &str) -> Option<(String, &mut Remote)> {
        let is_own = |it: &Member| matches!(&it.side, Side::There(remote) if remote.life == life);
        let first = aside(name, 0);
        let others = self.proxies.range(first..).take_while(|it| name_in(it.0) == name);
        let key = match self.proxies.get(name) {
            Some(member) if is_own(member) => name.to_owned(),
            Some(_) | None => others.into_iter().find(|it| is_own(it.1))?.0.clone(),
        };
        match &mut self.proxies.get_mut(&key)?.side {
            Side::There(remote) => Some((key, remote)),
            Side::Here(_) | Side::Expected(_) => None,
        }
    }

    fn remove(&mut self, name: &str) {
        if let Some(Side::There(remote)) = self.proxies.remove(name).map(|it| it.side) {
            remote.ended.begin();
        }
    }
}

impl Member {
    /// It has its name again.
    fn restored(mut self) -> Self {
        if let Side::There(remote) = &mut self.side {
            remote.is_replaced = false;
            remote.ended = Drain::new();
        }
        self
    }
}

/// No name has this character.
const ASIDE: char = '~';

/// The key of a life whose name another one has.
fn aside(name: &str, generation: u64) -> String {
    format!("{name}{ASIDE}{generation}")
}

pub(super) fn is_aside(key: &str) -> bool {
    key.contains(ASIDE)
}

/// The name of the proxy that is a member under this key.
fn name_in(key: &str) -> &str {
    key.split_once(ASIDE).map_or(key, |it| it.0)
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
