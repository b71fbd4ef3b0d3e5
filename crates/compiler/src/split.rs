//! How the requests to a service are divided between the versions of its instances.
//!
//! Each version is a locality whose weight is its share: so the share holds whatever the number of its instances, their
//! weights, and the policy among them. Instances of other versions get no new requests, and end what they have.
//!
//! Copies of a workload have unequal weights while one release takes over from another; each release is a locality, too, for
//! there are policies that pay no heed to weights.
//!
//! A split that would leave nobody to serve counts for nothing, and all instances are used as without it: versions of which
//! none is usable must not empty the service.

use std::collections::BTreeMap;

use model::workload::{META_COPY, META_WORKLOAD};
use model::{Catalog, Folded, Found, Instance, Revision, TrafficSplit};
use proxy_config::{Endpoint, EndpointHealth, Endpoints, Locality, Narrowing, Place, Source};

/// A share holds as long as one instance of its version can be used, and a priority as long as one of its endpoints (what
/// Consul tells Envoy).
const OVERPROVISIONING_PERCENT: u32 = 100_000;

/// What an endpoint weighs beside the localities of others: 100 is the sum of a split's shares.
const UNIT: u32 = 100;

/// How every cluster of instances is narrowed, so that a split that comes or goes makes no cluster another one. Without
/// weights of localities it means nothing.
pub(crate) fn narrowing() -> Narrowing {
    Narrowing { locality_weighted: true, ..Narrowing::default() }
}

/// When the split of each service that has one was last changed.
pub(crate) fn revisions(catalog: &Catalog) -> BTreeMap<Folded, Revision> {
    let splits = catalog.records::<TrafficSplit>();
    splits.map(|it| (it.value.service.folded(), it.modified)).collect()
}

/// Endpoints with the instances that they are.
pub(crate) type Instances<'a> = Vec<(Endpoint, &'a Instance)>;

/// The endpoints of a cluster, by priority.
pub(crate) fn endpoints<'a>(
    cluster: &str,
    priorities: Vec<Instances<'a>>,
    catalog: &'a Catalog,
) -> Endpoints {
    let mut all = Endpoints { cluster: cluster.to_owned(), ..Endpoints::default() };
    let filled = priorities.into_iter().filter(|it| !it.is_empty());
    for (priority, instances) in (0..).zip(filled) {
        add(&mut all, priority, instances, catalog);
    }
    if let [only] = all.localities.as_slice()
        && only.weight.is_none()
    {
        all.localities.clear();
    }
    if !all.localities.is_empty() {
        all.overprovisioning_percent = OVERPROVISIONING_PERCENT;
    }
    all
}

/// A service some of whose instances are endpoints.
struct Service<'a> {
    split: Option<Found<'a, TrafficSplit>>,
    /// Endpoints that have a share.
    sharing: u32,
    /// Copies that can be used, by workload and release.
    copies: BTreeMap<&'a str, BTreeMap<&'a str, Copies>>,
    /// One of these can be used.
    is_served: bool,
}

impl<'a> Service<'a> {
    /// The split, if it can be followed.
    fn split(&self) -> Option<&Found<'a, TrafficSplit>> {
        self.split.as_ref().filter(|_| self.is_served)
    }

    /// Whether a copy is of a locality of its release: copies of several are used, and on the mean weigh differently.
    fn is_by_release(&self, (workload, _): (&str, &str)) -> bool {
        let Some(releases) = self.copies.get(workload) else { return false };
        let mut means = releases.values().map(|it| it.weight / it.number.max(1));
        let first = means.next();
        means.any(|it| Some(it) != first)
    }

    /// The weight of the locality of a release. All of a workload weigh [`UNIT`] for each copy, whatever the scale of their
    /// own weights.
    fn weight_of(&self, (workload, release): (&str, &str)) -> u32 {
        let Some(releases) = self.copies.get(workload) else { return 0 };
        let own = releases.get(release).map_or(0, |it| it.weight);
        let all: u64 = releases.values().map(|it| it.weight).sum();
        let number: u64 = releases.values().map(|it| it.number).sum();
        let scaled = own * number * u64::from(UNIT) / all.max(1);
        u32::try_from(scaled).unwrap_or(u32::MAX)
    }
}

/// Copies of one release of a workload.
#[derive(Default)]
struct Copies {
    number: u64,
    /// The sum of theirs.
    weight: u64,
}

/// Workload and release of a copy.
fn copy_of(instance: &Instance) -> Option<(&str, &str)> {
    let meta = instance.meta.as_ref()?;
    let (release, _) = meta.get(META_COPY)?.split_once('-')?;
    Some((meta.get(META_WORKLOAD)?, release))
}

fn services<'a>(instances: &Instances<'a>, catalog: &'a Catalog) -> BTreeMap<Folded, Service<'a>> {
    let mut services: BTreeMap<Folded, Service<'a>> = BTreeMap::new();
    for (endpoint, instance) in instances {
        let name = instance.service.folded();
        let service = services.entry(name).or_insert_with_key(|name| Service {
            split: catalog.record(name.as_str()),
            sharing: 0,
            copies: BTreeMap::new(),
            is_served: false,
        });
        if let Some((workload, release)) = copy_of(instance)
            && is_usable(endpoint.health)
        {
            let releases = service.copies.entry(workload).or_default();
            let copies = releases.entry(release).or_default();
            copies.number += 1;
            copies.weight += u64::from(endpoint.weight);
        }
        let shares = |it: &Found<'_, TrafficSplit>| it.share_of(it.version_of(instance)).is_some();
        if service.split.as_ref().is_some_and(shares) {
            service.sharing += 1;
            service.is_served |= is_usable(endpoint.health);
        }
    }
    services
}

fn is_usable(health: EndpointHealth) -> bool {
    match health {
        EndpointHealth::Healthy | EndpointHealth::Degraded => true,
        EndpointHealth::Draining | EndpointHealth::Unhealthy => false,
    }
}

/// What of a priority one locality is for.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Part<'a> {
    /// Services without a split.
    Undivided,
    /// Copies of one release of a workload.
    Release(&'a str, &'a str),
    /// A version that has a share.
    Version(Folded, &'a str),
    /// The other versions of a service.
    Others(Folded),
}

/// Adds the endpoints of one priority.
fn add<'a>(to: &mut Endpoints, priority: u32, instances: Instances<'a>, catalog: &'a Catalog) {
    let services = services(&instances, catalog);
    let by_release = |service: &Service<'a>, instance: &'a Instance| {
        copy_of(instance).filter(|it| service.split().is_none() && service.is_by_release(*it))
    };
    let is_undivided = |it: &'a Instance| {
        let service = &services[&it.service.folded()];
        service.split().is_none() && by_release(service, it).is_none()
    };
    let undivided = instances.iter().filter(|it| is_undivided(it.1)).count();
    let is_divided = undivided < instances.len();
    let undivided = u32::try_from(undivided).unwrap_or(u32::MAX).saturating_mul(UNIT);
    let mut known: BTreeMap<Part<'a>, u16> = BTreeMap::new();
    for (mut endpoint, instance) in instances {
        let name = instance.service.folded();
        let service = &services[&name];
        let (part, locality) = match service.split() {
            None => match by_release(service, instance) {
                Some((workload, release)) => {
                    let weight = Some(service.weight_of((workload, release)));
                    let place = place(Some(instance.label("version").unwrap_or_default()));
                    let locality = Locality { place, weight, ..Locality::default() };
                    (Part::Release(workload, release), locality)
                }
                None => {
                    let weight = is_divided.then_some(undivided);
                    (Part::Undivided, Locality { weight, ..Locality::default() })
                }
            },
            Some(split) => {
                let version = split.version_of(instance);
                let share = split.share_of(version);
                // Beside others a service keeps the part that its endpoints have in all.
                let scale = if services.len() > 1 { service.sharing } else { 1 };
                let weight = share.map(|it| it.saturating_mul(scale));
                let place = place(share.map(|_| version));
                let locality = Locality { place, weight, priority, source: Some(source(split)) };
                match share {
                    Some(_) => (Part::Version(name, version), locality),
                    None => (Part::Others(name), locality),
                }
            }
        };
        if matches!(part, Part::Others(_)) && is_usable(endpoint.health) {
            endpoint.health = EndpointHealth::Draining;
        }
        let next = u16::try_from(to.localities.len()).unwrap_or(u16::MAX);
        endpoint.locality = *known.entry(part).or_insert_with(|| {
            to.localities.push(Locality { priority, ..locality });
            next
        });
        to.endpoints.push(endpoint);
    }
}

/// A version that has a share as a place, or the others.
fn place(version: Option<&str>) -> Place {
    let sub_zone = match version {
        Some("") => "no version",
        Some(version) => version,
        None => "other versions",
    };
    Place { sub_zone: sub_zone.to_owned(), ..Place::default() }
}

fn source(split: &Found<'_, TrafficSplit>) -> Source {
    Source { object: split.rollout.to_string(), revision: split.modified }
}
