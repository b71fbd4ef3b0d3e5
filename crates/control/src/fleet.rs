//! The proxies that follow this agent: which configuration each has taken, and what it says of its endpoints and of its
//! virtual hosts.
//!
//! Who takes an instance out of use asks here whether a proxy still uses it: who has not acknowledged a configuration of a
//! revision that does not have it, and whose requests to it are under way.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use model::Revision;
use parking_lot::Mutex;
use proxy_config::{EndpointUse, HostUses};
use tokio::sync::watch;

#[cfg(test)]
mod tests;

/// What a proxy says of its endpoints, by their ids.
pub type Uses = BTreeMap<String, EndpointUse>;

/// The proxies that follow this agent. A cheap clone.
#[derive(Clone, Default)]
pub struct Fleet {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    proxies: Mutex<BTreeMap<String, Member>>,
    /// Counts acknowledgements, arrivals and departures.
    moves: watch::Sender<u64>,
}

struct Member {
    /// Tells apart those that have had this name.
    generation: u64,
    acknowledged: Revision,
    uses: Box<dyn Fn() -> Uses + Send + Sync>,
    hosts: Box<dyn Fn() -> HostUses + Send + Sync>,
}

/// A proxy as others see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProxyState {
    /// Its name.
    pub name: String,
    /// Revision of the catalog that its configuration was compiled from.
    pub acknowledged: Revision,
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

impl Fleet {
    /// A proxy begins to follow, with the configuration of `revision`. `uses` says what it knows of its endpoints; it is
    /// called seldom, and must not block. A name that another has already is taken over from it.
    #[must_use]
    pub fn join(
        &self,
        name: &str,
        revision: Revision,
        uses: impl Fn() -> Uses + Send + Sync + 'static,
    ) -> Following {
        let mut proxies = self.shared.proxies.lock();
        let generation = proxies.get(name).map_or(0, |it| it.generation + 1);
        let (uses, hosts) = (Box::new(uses), Box::new(HostUses::new));
        let member = Member { generation, acknowledged: revision, uses, hosts };
        proxies.insert(name.to_owned(), member);
        drop(proxies);
        self.tell();
        Following { fleet: self.clone(), name: name.to_owned(), generation }
    }

    /// All proxies, by name.
    #[must_use]
    pub fn proxies(&self) -> Vec<ProxyState> {
        let proxies = self.shared.proxies.lock();
        let state = |(name, it): (&String, &Member)| ProxyState {
            name: name.clone(),
            acknowledged: it.acknowledged,
        };
        proxies.iter().map(state).collect()
    }

    /// What each proxy says of its endpoints, by the proxy's name.
    #[must_use]
    pub fn uses(&self) -> Vec<(String, Uses)> {
        let proxies = self.shared.proxies.lock();
        proxies.iter().map(|(name, it)| (name.clone(), (it.uses)())).collect()
    }

    /// What each proxy says of its virtual hosts; nothing for those that say nothing of them.
    #[must_use]
    pub fn host_uses(&self) -> Vec<(ProxyState, HostUses)> {
        let proxies = self.shared.proxies.lock();
        let said = proxies.iter().map(|(name, it)| {
            (ProxyState { name: name.clone(), acknowledged: it.acknowledged }, (it.hosts)())
        });
        said.collect()
    }

    /// Names of the proxies that do not have a configuration of `revision` or a newer one yet.
    #[must_use]
    pub fn behind(&self, revision: Revision) -> Vec<String> {
        let proxies = self.shared.proxies.lock();
        let behind = proxies.iter().filter(|it| it.1.acknowledged < revision);
        behind.map(|it| it.0.clone()).collect()
    }

    /// Follows acknowledgements, arrivals and departures of proxies: it has changed when there was one.
    #[must_use]
    pub fn moves(&self) -> watch::Receiver<u64> {
        self.shared.moves.subscribe()
    }

    fn tell(&self) {
        self.shared.moves.send_modify(|it| *it = it.wrapping_add(1));
    }
}

impl Following {
    /// The proxy says also what became of requests by virtual host. As what it says of its endpoints: called seldom, and must
    /// not block.
    pub fn tell_hosts(&self, hosts: impl Fn() -> HostUses + Send + Sync + 'static) {
        let mut proxies = self.fleet.shared.proxies.lock();
        let own = proxies.get_mut(&self.name).filter(|it| it.generation == self.generation);
        if let Some(member) = own {
            member.hosts = Box::new(hosts);
        }
    }

    /// The proxy has taken a configuration that was compiled from `revision`: no request is decided by an older one.
    pub fn acknowledge(&self, revision: Revision) {
        let mut proxies = self.fleet.shared.proxies.lock();
        let own = proxies.get_mut(&self.name).filter(|it| it.generation == self.generation);
        if let Some(member) = own {
            member.acknowledged = revision;
        }
        drop(proxies);
        self.fleet.tell();
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let mut proxies = self.fleet.shared.proxies.lock();
        if proxies.get(&self.name).is_some_and(|it| it.generation == self.generation) {
            proxies.remove(&self.name);
        }
        drop(proxies);
        self.fleet.tell();
    }
}
