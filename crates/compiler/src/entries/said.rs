//! What is said of services apart from how requests are routed: `service-defaults`, `proxy-defaults`, and what callers
//! say of whom they call.

use std::collections::BTreeMap;
use std::time::Duration;

use config_entries::view::{ProxyDefaults, ServiceDefaults, UpstreamConfig, view};
use config_entries::{Lookup, is_http_like};
use model::{Catalog, ConfigEntry, DocumentKey, Folded, Severity};
use proxy_config::Source;
use serde_json::Value;

use super::findings::{finding, key};
use crate::Finding;

/// The entries that speak of services in general, read once.
pub(super) struct Said<'a> {
    catalog: &'a Catalog,
    defaults: BTreeMap<Folded, ServiceDefaults>,
    of_all: ProxyDefaults,
    /// What a caller says of whom it calls, by whom that is.
    upstreams: BTreeMap<Folded, (UpstreamConfig, Source)>,
    pub(super) is_any: bool,
}

impl<'a> Said<'a> {
    pub(super) fn new(catalog: &'a Catalog, findings: &mut Vec<Finding>) -> Self {
        let entries = catalog.entries("service-defaults");
        let of_all = catalog.entry("proxy-defaults", "global");
        let mut upstreams = BTreeMap::new();
        let mut defaults = BTreeMap::new();
        for entry in &entries {
            let read: ServiceDefaults = view(entry);
            add_upstreams(catalog, entry, &read, &mut upstreams, findings);
            defaults.insert(Folded::new(&entry.name), read);
        }
        let is_any = !entries.is_empty() || of_all.is_some();
        let of_all = of_all.map(view).unwrap_or_default();
        Self { catalog, defaults, of_all, upstreams, is_any }
    }

    /// Whether there is an entry that could make a service's cluster or route different.
    pub(super) fn is_anything_of(&self, service: &Folded) -> bool {
        self.defaults.contains_key(service)
            || self.upstreams.contains_key(service)
            || !self.of_all.config.is_empty()
    }

    /// What callers say of a service, and the entry that says it.
    pub(super) fn upstream(&self, service: &Folded) -> Option<&(UpstreamConfig, Source)> {
        self.upstreams.get(service)
    }

    /// `LocalConnectTimeoutMs`
    pub(super) fn connect_timeout(&self, service: &Folded) -> Option<(Duration, Source)> {
        let of_service = |it: &ServiceDefaults| it.local_connect_timeout_ms;
        self.local(service, of_service, "local_connect_timeout_ms").map(milliseconds)
    }

    /// `LocalRequestTimeoutMs`
    pub(super) fn request_timeout(&self, service: &Folded) -> Option<(Duration, Source)> {
        let of_service = |it: &ServiceDefaults| it.local_request_timeout_ms;
        self.local(service, of_service, "local_request_timeout_ms").map(milliseconds)
    }

    /// `MaxInboundConnections`
    pub(super) fn connections_max(&self, service: &Folded) -> Option<(u32, Source)> {
        let of_service = |it: &ServiceDefaults| it.max_inbound_connections;
        let (number, source) = self.local(service, of_service, "max_inbound_connections")?;
        Some((u32::try_from(number).unwrap_or(u32::MAX), source))
    }

    /// Requests are spoken over HTTP/2, and the entry that says so.
    pub(super) fn http2(&self, service: &Folded) -> Option<Source> {
        let protocol = config_entries::protocol_of(self.catalog, service.as_str());
        if !is_http_like(&protocol) || protocol == "http" {
            return None;
        }
        let own = self.source("service-defaults", service.as_str());
        own.or_else(|| self.source("proxy-defaults", "global"))
    }

    /// An entry as a cause.
    pub(super) fn source(&self, kind: &str, name: &str) -> Option<Source> {
        source_of(self.catalog, self.catalog.entry(kind, name)?)
    }

    /// A positive number that is said of the side of a service's instances.
    fn local(
        &self,
        service: &Folded,
        of_service: impl Fn(&ServiceDefaults) -> i64,
        of_all: &str,
    ) -> Option<(u64, Source)> {
        let positive = |it: i64| u64::try_from(it).ok().filter(|it| *it > 0);
        if let Some(number) = self.defaults.get(service).and_then(|it| positive(of_service(it))) {
            return Some((number, self.source("service-defaults", service.as_str())?));
        }
        let number = match self.of_all.config.get(of_all)? {
            Value::Number(number) => number.as_u64().or_else(|| whole(number.as_f64()?)),
            Value::String(text) => text.parse().ok(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        Some((number.filter(|it| *it > 0)?, self.source("proxy-defaults", "global")?))
    }
}

/// HCL and JavaScript write whole numbers as such with a fraction, too.
fn whole(number: f64) -> Option<u64> {
    // Above, a number of milliseconds or connections means no limit.
    (number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number)).then(|| {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
        let whole = number as u64;
        whole
    })
}

fn milliseconds((number, source): (u64, Source)) -> (Duration, Source) {
    (Duration::from_millis(number), source)
}

/// An entry of a catalog as a cause: `service-router/web`.
pub(super) fn source_of(catalog: &Catalog, entry: &ConfigEntry) -> Option<Source> {
    let found = catalog.record::<ConfigEntry>(&ConfigEntry::key_of(&entry.kind, &entry.name))?;
    Some(Source { object: key(entry).to_string(), revision: found.modified })
}

/// Notes what a caller says of whom it calls. The mesh listener does not know who calls, so that it holds for all.
fn add_upstreams(
    catalog: &Catalog,
    entry: &ConfigEntry,
    read: &ServiceDefaults,
    upstreams: &mut BTreeMap<Folded, (UpstreamConfig, Source)>,
    findings: &mut Vec<Finding>,
) {
    let Some(source) = source_of(catalog, entry) else { return };
    let overrides = read.upstream_config.iter().flat_map(|it| &it.overrides);
    let key: DocumentKey = key(entry);
    for (idx, upstream) in overrides.enumerate() {
        let field = format!("UpstreamConfig.Overrides[{idx}]");
        if !upstream.peer.is_empty() {
            let message =
                format!("services of the peer {} are not reached from here", upstream.peer);
            findings.push(finding(&key, (Severity::Ignored, &field, message, "")));
            continue;
        }
        let name = Folded::new(&upstream.name);
        if let Some((_, other)) = upstreams.get(&name) {
            let message = format!(
                "{} says how {name} is called already, and the mesh listener does not tell callers apart",
                other.object
            );
            let remedy = "say it in one of the two";
            findings.push(finding(&key, (Severity::Ignored, &field, message, remedy)));
            continue;
        }
        let message = format!(
            "holds for all who call {name} through the mesh listener, which does not tell callers apart"
        );
        findings.push(finding(&key, (Severity::Approximated, &field, message, "")));
        upstreams.insert(name, (upstream.clone(), source.clone()));
    }
}
