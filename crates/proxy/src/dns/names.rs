//! Clusters whose endpoints are the addresses of names.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use proxy_config::{Cluster, Endpoint, Endpoints, ProxyConfig, Resolution};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::Lookup;
use crate::stats::{Shard, Stats, UpdateCounters};

/// Look-ups at one time. Each holds a thread of the runtime's pool while the system asks.
const LOOKUPS_MAX: usize = 32;
/// For one look-up: the system's own limit is 5 s for each server that it asks, twice.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);
/// Addresses of one name that become endpoints. An answer over TCP holds at most 65,535 bytes, some 4,000 addresses.
const ADDRESSES_MAX: usize = 4096;
/// A name is not looked up more often than this, whatever the configuration says.
const REFRESH_MIN: Duration = Duration::from_millis(1);

/// A name of a cluster.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Asked {
    cluster: String,
    name: String,
}

/// What the tasks tell.
#[derive(Default)]
struct Told {
    answers: RefCell<BTreeMap<Asked, Vec<IpAddr>>>,
    /// Names that nobody has answered for yet, nor failed to.
    open: RefCell<BTreeSet<Asked>>,
    changed: Notify,
    answered: Notify,
}

/// The names that are looked up again and again, with their last answers.
pub(crate) struct Names {
    lookup: Lookup,
    lookups: Rc<Semaphore>,
    told: Rc<Told>,
    tasks: BTreeMap<Asked, Following>,
}

struct Following {
    refresh: Duration,
    task: JoinHandle<()>,
}

impl Drop for Following {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Names {
    pub(crate) fn new(lookup: Lookup) -> Self {
        let lookups = Rc::new(Semaphore::new(LOOKUPS_MAX));
        Self { lookup, lookups, told: Rc::default(), tasks: BTreeMap::new() }
    }

    /// Looks up the names of this configuration from now on, and no others. Must be called on the control thread.
    pub(crate) fn follow(&mut self, config: &ProxyConfig, stats: &Stats) {
        let mut before = std::mem::take(&mut self.tasks);
        for (cluster, refresh, endpoints) in strict(config) {
            for endpoint in endpoints.endpoints.iter().filter(|it| is_name(it)) {
                let asked = Asked { cluster: cluster.name.clone(), name: endpoint.host.clone() };
                if self.tasks.contains_key(&asked) {
                    continue;
                }
                let following = match before.remove(&asked) {
                    Some(following) if following.refresh == refresh => following,
                    _ => self.start(&asked, refresh, stats.updates(&cluster.name)),
                };
                self.tasks.insert(asked, following);
            }
        }
        drop(before);
        let is_asked = |asked: &Asked| self.tasks.contains_key(asked);
        self.told.answers.borrow_mut().retain(|asked, _| is_asked(asked));
        self.told.open.borrow_mut().retain(is_asked);
        self.told.answered.notify_waiters();
    }

    /// Looks nothing up any more.
    pub(crate) fn stop(&mut self) {
        self.tasks.clear();
    }

    /// Resolves when there are answers that [`Names::resolved`] has not taken in.
    pub(crate) async fn changed(&self) {
        self.told.changed.notified().await;
    }

    /// Names of clusters that wait for their first answer.
    pub(crate) fn waiting(&self) -> BTreeSet<String> {
        self.told.open.borrow().iter().map(|it| it.cluster.clone()).collect()
    }

    /// Resolves when each name has been looked up once, whether it was found or not.
    pub(crate) fn first_answers(&self) -> impl Future<Output = ()> + use<> {
        let told = self.told.clone();
        async move {
            loop {
                let answered = told.answered.notified();
                if told.open.borrow().is_empty() {
                    return;
                }
                answered.await;
            }
        }
    }

    /// The configuration with addresses in the place of the names.
    pub(crate) fn resolved(&self, config: &Arc<ProxyConfig>) -> Arc<ProxyConfig> {
        let answers = self.told.answers.borrow();
        let mut replaced = Vec::new();
        for (cluster, _, endpoints) in strict(config) {
            if !endpoints.endpoints.iter().any(is_name) {
                continue;
            }
            let addresses = |endpoint: &Endpoint| {
                let asked = Asked { cluster: cluster.name.clone(), name: endpoint.host.clone() };
                answers.get(&asked).cloned().unwrap_or_default()
            };
            replaced.push((cluster.name.clone(), Arc::new(with_addresses(endpoints, addresses))));
        }
        if replaced.is_empty() {
            return config.clone();
        }
        let mut resolved = ProxyConfig::clone(config);
        resolved.endpoints.extend(replaced);
        Arc::new(resolved)
    }

    fn start(
        &self,
        asked: &Asked,
        refresh: Duration,
        counters: Shard<UpdateCounters>,
    ) -> Following {
        self.told.open.borrow_mut().insert(asked.clone());
        let (asked, told) = (asked.clone(), self.told.clone());
        let (lookup, lookups) = (self.lookup.clone(), self.lookups.clone());
        let task = tokio::task::spawn_local(async move {
            loop {
                let slot = lookups.acquire().await.expect("the semaphore is never closed");
                counters.update_attempt.inc();
                let found = timeout(LOOKUP_TIMEOUT, lookup.find(&asked.name)).await;
                drop(slot);
                match found {
                    Ok(Ok(addresses)) => told.take(&asked, addresses, &counters),
                    Ok(Err(error)) => {
                        counters.update_failure.inc();
                        tracing::debug!(name = asked.name, %error, "cannot resolve the name");
                    }
                    Err(_) => {
                        counters.update_failure.inc();
                        tracing::debug!(name = asked.name, "the name is not resolved in time");
                    }
                }
                if told.open.borrow_mut().remove(&asked) {
                    told.answered.notify_waiters();
                }
                sleep(refresh.max(REFRESH_MIN)).await;
            }
        });
        Following { refresh, task }
    }
}

impl Told {
    /// An answer without addresses changes nothing: endpoints that were there a moment ago are a better guess than none.
    fn take(&self, asked: &Asked, mut addresses: Vec<IpAddr>, counters: &UpdateCounters) {
        counters.update_success.inc();
        addresses.sort_unstable();
        addresses.dedup();
        addresses.truncate(ADDRESSES_MAX);
        if addresses.is_empty() {
            counters.update_empty.inc();
            return;
        }
        let mut answers = self.answers.borrow_mut();
        if answers.get(asked) == Some(&addresses) {
            counters.update_no_rebuild.inc();
            return;
        }
        answers.insert(asked.clone(), addresses);
        self.changed.notify_one();
    }
}

/// Clusters that want their names looked up, with how often and with their endpoints.
fn strict(
    config: &ProxyConfig,
) -> impl Iterator<Item = (&Arc<Cluster>, Duration, &Arc<Endpoints>)> {
    config.clusters.iter().filter_map(|(name, cluster)| match cluster.resolution {
        Resolution::Strict { refresh } => Some((cluster, refresh, config.endpoints.get(name)?)),
        Resolution::OnConnect => None,
    })
}

fn is_name(endpoint: &Endpoint) -> bool {
    let host = endpoint.host.trim_start_matches('[').trim_end_matches(']');
    host.parse::<IpAddr>().is_err()
}

/// Each address is an endpoint of its own, known by the endpoint that it came from and itself. Two names of one
/// cluster may have an address in common; as in Envoy it is one endpoint, that of the first.
fn with_addresses(
    endpoints: &Endpoints,
    addresses: impl Fn(&Endpoint) -> Vec<IpAddr>,
) -> Endpoints {
    let mut taken = BTreeSet::new();
    let mut all = Vec::new();
    for endpoint in &endpoints.endpoints {
        if !is_name(endpoint) {
            all.push(endpoint.clone());
            continue;
        }
        for address in addresses(endpoint) {
            if !taken.insert((address, endpoint.port)) {
                continue;
            }
            let mut one = endpoint.clone();
            one.id = format!("{}@{address}", endpoint.id);
            one.host = match address {
                IpAddr::V4(it) => it.to_string(),
                IpAddr::V6(it) => shortest(it),
            };
            if one.hostname.is_empty() {
                one.hostname.clone_from(&endpoint.host);
            }
            all.push(one);
        }
    }
    Endpoints { endpoints: all, ..endpoints.clone() }
}

/// An IPv4 address in IPv6's clothes (`::ffff:10.0.0.1`) is that of the IPv4 network.
fn shortest(address: Ipv6Addr) -> String {
    address.to_ipv4_mapped().map_or_else(|| address.to_string(), |it| it.to_string())
}
