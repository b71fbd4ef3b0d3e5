//! The proxies that follow this agent: which configuration each has taken, and what it says of its endpoints and of its
//! virtual hosts.
//!
//! Who takes an instance out of use asks here whether a proxy still uses it: who has not acknowledged a configuration of a
//! revision that does not have it, and whose requests to it are under way. That must be asked in this order, and a proxy answers
//! in this order: what it says of its endpoints is as new as what it has acknowledged, or newer.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{Revision, Timestamp};
use parking_lot::Mutex;
use proxy_config::{EndpointUse, HostUses};
use tokio::sync::watch;

mod message;
mod remote;
mod times;

#[cfg(test)]
mod tests;

pub use message::{Follow, Report, Seen};
pub use remote::{Admitted, LEASE, Refusal};

use crate::sightings::now;
use remote::Remote;
use times::Times;

/// Contents of configurations whose acknowledgement is timed, and sightings that wait to be looked at. A proxy that is further
/// behind is not timed but for the newest; a sighting without room is dropped, for the next one says the same.
const CONTENTS_MAX: usize = 1024;

/// What a proxy says of its endpoints, by their ids.
pub type Uses = BTreeMap<String, EndpointUse>;

/// The proxies that follow this agent. A cheap clone.
#[derive(Clone)]
pub struct Fleet {
    shared: Arc<Shared>,
}

struct Shared {
    /// Revisions of another life of the agent cannot be compared with those of this one.
    life: String,
    state: Mutex<State>,
    /// Counts acknowledgements, arrivals and departures.
    moves: watch::Sender<u64>,
    /// Proxies elsewhere that the next life of the agent will know of.
    remembered: watch::Sender<BTreeSet<String>>,
}

#[derive(Default)]
struct State {
    proxies: BTreeMap<String, Member>,
    /// Proxies that have joined so far.
    joined: u64,
    /// Revision that was compiled last.
    newest: Revision,
    /// The first revision that compiled to the same. Who has this one needs no newer one.
    content: Revision,
    /// Contents, each with its revision and the time at which the first change that led to it was committed.
    contents: VecDeque<(Revision, Instant)>,
}

struct Member {
    /// Tells apart those that have had this name.
    generation: u64,
    acknowledged: Revision,
    side: Side,
    since: Timestamp,
    times: Times,
}

/// A proxy in this process, which says what it knows when it is asked.
struct Here {
    uses: Box<dyn Fn() -> Uses + Send + Sync>,
    hosts: Box<dyn Fn() -> HostUses + Send + Sync>,
}

impl Here {
    fn new(uses: impl Fn() -> Uses + Send + Sync + 'static) -> Self {
        Self { uses: Box::new(uses), hosts: Box::new(HostUses::new) }
    }
}

/// Where a proxy runs.
enum Side {
    /// In this process.
    Here(Here),
    /// Elsewhere.
    There(Box<Remote>),
    /// It followed an earlier life of this agent, and has the rest of its lease to come back.
    Expected(Instant),
}

/// A proxy, and how far it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProxyAt {
    /// Its name.
    pub name: String,
    /// Revision of the catalog that its configuration is good for.
    pub acknowledged: Revision,
}

/// A proxy as others see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProxyState {
    /// Its name; `NAME~n` for the nth proxy, when another one has taken over the name.
    pub name: String,
    /// Revision of the catalog that its configuration is good for.
    pub acknowledged: Revision,
    /// Where it reports from; empty in this process, and for one that is expected back.
    pub address: String,
    /// Version of Leno that it runs; empty in this process.
    pub version: String,
    /// Since when it follows.
    pub since: Timestamp,
    /// When it was last heard of; `None` in this process.
    pub heard: Option<Timestamp>,
    /// It ends, and takes no new configuration: nobody waits for it to acknowledge one.
    pub is_leaving: bool,
    /// Another proxy has taken over its name: it gets no new configuration, and is waited for until it has left.
    pub is_replaced: bool,
    /// It followed an earlier life of this agent, and has not come back yet.
    pub is_expected: bool,
    /// What it cannot do of its configuration.
    pub trouble: String,
    /// From the commit of a change to its acknowledgement, the last one.
    pub last: Option<Duration>,
    /// The same, of which 99 % of the last 256 took at most this.
    pub p99: Option<Duration>,
}

/// A proxy that follows; when this is dropped, it does so no more, and nobody waits for it.
pub struct Following {
    fleet: Fleet,
    name: String,
    generation: u64,
}

impl fmt::Debug for Following {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Following").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Default for Fleet {
    fn default() -> Self {
        Self {
            shared: Arc::new(Shared {
                life: uuid::Uuid::new_v4().to_string(),
                state: Mutex::default(),
                moves: watch::Sender::default(),
                remembered: watch::Sender::default(),
            }),
        }
    }
}

impl Fleet {
    /// A proxy of this process begins to follow, with the configuration of `revision`. `uses` says what it knows of its
    /// endpoints; it is called seldom, and must not block. A name that another has already is taken over from it.
    #[must_use]
    pub fn join(
        &self,
        name: &str,
        revision: Revision,
        uses: impl Fn() -> Uses + Send + Sync + 'static,
    ) -> Following {
        let mut state = self.shared.state.lock();
        let generation = state.put(name, revision, Side::Here(Here::new(uses)), now().wall);
        drop(state);
        self.tell();
        Following { fleet: self.clone(), name: name.to_owned(), generation }
    }

    /// The name of this life of the agent.
    #[must_use]
    pub fn life(&self) -> &str {
        &self.shared.life
    }

    /// A configuration was compiled from `revision`. Unless it `is_same` as the one before, proxies have to take it;
    /// `committed` is when the first change was committed that the one before did not have. To be told before it is handed out.
    pub fn compiled(&self, revision: Revision, is_same: bool, committed: Instant) {
        let mut state = self.shared.state.lock();
        state.newest = revision;
        if is_same {
            let content = state.content;
            let has_it = |it: &&mut Member| it.acknowledged >= content;
            state.proxies.values_mut().filter(has_it).for_each(|it| it.acknowledged = revision);
        } else {
            state.content = revision;
            state.contents.push_back((revision, committed));
            if state.contents.len() > CONTENTS_MAX {
                state.contents.pop_front();
            }
        }
        drop(state);
        self.tell();
    }

    /// All proxies, by name.
    #[must_use]
    pub fn proxies(&self) -> Vec<ProxyState> {
        let state = self.shared.state.lock();
        state.proxies.iter().map(|(name, it)| it.shown(name)).collect()
    }

    /// What each proxy says of its endpoints, by the proxy's name.
    #[must_use]
    pub fn uses(&self) -> Vec<(String, Arc<Uses>)> {
        let state = self.shared.state.lock();
        state.proxies.iter().map(|(name, it)| (name.clone(), it.uses())).collect()
    }

    /// What each proxy says of its virtual hosts; nothing for those that say nothing of them.
    #[must_use]
    pub fn host_uses(&self) -> Vec<(ProxyAt, Arc<HostUses>)> {
        let state = self.shared.state.lock();
        let said = state.proxies.iter().map(|(name, it)| {
            (ProxyAt { name: name.clone(), acknowledged: it.acknowledged }, it.hosts())
        });
        said.collect()
    }

    /// Names of the proxies that do not have a configuration of `revision` or a newer one yet.
    #[must_use]
    pub fn behind(&self, revision: Revision) -> Vec<String> {
        let state = self.shared.state.lock();
        let is_behind = |it: &Member| it.acknowledged < revision && !it.is_leaving();
        let behind = state.proxies.iter().filter(|it| is_behind(it.1));
        behind.map(|it| it.0.clone()).collect()
    }

    /// Follows acknowledgements, arrivals and departures of proxies: it has changed when there was one.
    #[must_use]
    pub fn moves(&self) -> watch::Receiver<u64> {
        self.shared.moves.subscribe()
    }

    /// The times to acknowledgements, as a histogram for Prometheus.
    #[must_use]
    pub fn prometheus(&self) -> String {
        let state = self.shared.state.lock();
        // Each replaced one would be a series of its own.
        let named = state.proxies.iter().filter(|it| !remote::is_aside(it.0));
        times::exposition(named.map(|(name, it)| (name.as_str(), &it.times)))
    }

    fn tell(&self) {
        self.shared.moves.send_modify(|it| *it = it.wrapping_add(1));
    }
}

impl State {
    /// Adds a proxy, in the place of one of the same name.
    fn put(&mut self, name: &str, acknowledged: Revision, side: Side, since: Timestamp) -> u64 {
        self.joined += 1;
        let generation = self.joined;
        let acknowledged = self.good_for(acknowledged);
        let times = Times::default();
        let member = Member { generation, acknowledged, side, since, times };
        self.proxies.insert(name.to_owned(), member);
        generation
    }

    /// The newest revision that a configuration of `revision` is good for.
    fn good_for(&self, revision: Revision) -> Revision {
        if revision >= self.content { revision.max(self.newest) } else { revision }
    }

    /// True when that is news.
    fn acknowledge(&mut self, name: &str, revision: Revision, now: Instant) -> bool {
        let good_for = self.good_for(revision);
        let Some(member) = self.proxies.get_mut(name) else { return false };
        if good_for <= member.acknowledged {
            return false;
        }
        // The first configuration that a proxy gets was not waited for.
        if member.acknowledged > Revision(0) {
            let taken = self.contents.iter().filter(|it| it.0 > member.acknowledged);
            for (_, committed) in taken.take_while(|it| it.0 <= revision) {
                member.times.add(now.saturating_duration_since(*committed));
            }
        }
        member.acknowledged = good_for;
        true
    }
}

impl Member {
    fn uses(&self) -> Arc<Uses> {
        match &self.side {
            Side::Here(here) => Arc::new((here.uses)()),
            Side::There(remote) => remote.uses(),
            Side::Expected(_) => Arc::default(),
        }
    }

    fn hosts(&self) -> Arc<HostUses> {
        match &self.side {
            Side::Here(here) => Arc::new((here.hosts)()),
            Side::There(remote) => remote.hosts(),
            Side::Expected(_) => Arc::default(),
        }
    }

    fn is_leaving(&self) -> bool {
        match &self.side {
            Side::There(remote) => remote.is_leaving,
            Side::Here(_) | Side::Expected(_) => false,
        }
    }

    fn shown(&self, name: &str) -> ProxyState {
        let remote = match &self.side {
            Side::There(remote) => Some(remote),
            Side::Here(_) | Side::Expected(_) => None,
        };
        let text =
            |of: fn(&Remote) -> &String| remote.map_or_else(String::new, |it| of(it).clone());
        ProxyState {
            name: name.to_owned(),
            acknowledged: self.acknowledged,
            address: text(|it| &it.address),
            version: text(|it| &it.version),
            since: self.since,
            heard: remote.map(|it| it.heard.wall),
            is_leaving: self.is_leaving(),
            is_replaced: remote.is_some_and(|it| it.is_replaced),
            is_expected: matches!(self.side, Side::Expected(_)),
            trouble: text(|it| &it.trouble),
            last: self.times.last(),
            p99: self.times.p99(),
        }
    }
}

impl Following {
    /// The proxy says also what became of requests by virtual host. As what it says of its endpoints: called seldom, and must
    /// not block.
    pub fn tell_hosts(&self, hosts: impl Fn() -> HostUses + Send + Sync + 'static) {
        let mut state = self.fleet.shared.state.lock();
        let own = state.proxies.get_mut(&self.name).filter(|it| it.generation == self.generation);
        if let Some(Member { side: Side::Here(here), .. }) = own {
            here.hosts = Box::new(hosts);
        }
    }

    /// The proxy has taken a configuration that was compiled from `revision`: no request is decided by an older one.
    pub fn acknowledge(&self, revision: Revision) {
        let mut state = self.fleet.shared.state.lock();
        if state.proxies.get(&self.name).is_some_and(|it| it.generation == self.generation) {
            state.acknowledge(&self.name, revision, runtime::monotonic());
        }
        drop(state);
        self.fleet.tell();
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let mut state = self.fleet.shared.state.lock();
        if state.proxies.get(&self.name).is_some_and(|it| it.generation == self.generation) {
            state.proxies.remove(&self.name);
        }
        drop(state);
        self.fleet.tell();
    }
}
