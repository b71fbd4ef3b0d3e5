//! # compiler: what a proxy must do, from what is true
//!
//! [`Compiler::compile`] turns a [`Catalog`] into a [`ProxyConfig`]: a cluster for each service of the registry and for
//! each port of a Service document, the outbound route table in which the host names the service, the ingress route
//! table from all Ingress documents, certificates, and listeners. Where configuration entries speak of a service, its
//! routes and clusters are what they say; where a [`TrafficSplit`](model::TrafficSplit) does, its instances get requests by
//! their versions. Every part names the object that caused it.
//!
//! *May touch:* nothing, and it never fails: what cannot be honored is a [`Diagnostic`] and the rest goes on. *Does not
//! know:* the registry's commands, YAML, sockets, the clock.
//!
//! Invariants:
//! * The result depends on the catalog and the settings alone: compiling step by step and compiling at once are equal
//!   (a property test holds this).
//! * A resource that comes out as it was keeps its `Arc`: whoever holds one sees by the pointer that nothing changed.
//! * A change of one instance, or of how a service is split, costs the compilation of its service, of the documents that may select it, and a copy of
//!   pointers; route tables are built anew only when a service comes or goes, or a document or an entry changes.
//! * Every collection has an order of its own: nothing is iterated in the order of a hash.

mod declared;
mod entries;
mod ingress;
mod labels;
mod listeners;
mod outbound;
mod registered;
mod settings;
mod split;
mod tls;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{Catalog, Diagnostic, DocumentKey, Folded, Revision};
use proxy_config::{Listener, ProxyConfig, RouteTable, Secret};

use crate::declared::{Declared, Touched, View, keep};
use crate::entries::Entries;
use crate::labels::LabelIndex;
use crate::registered::Registered;
pub use crate::settings::Settings;

/// Name of the plain HTTP ingress listener and of its route table.
pub const INGRESS: &str = "ingress";
/// Name of the HTTPS ingress listener; it shares the route table with the plain one.
pub const INGRESS_HTTPS: &str = "ingress-https";
/// Name of the outbound listener and of its route table.
pub const OUTBOUND: &str = "outbound";

/// What stands in the place of an API group in the keys of configuration entries; they have no namespace.
pub const ENTRY_GROUP: &str = "consul";

/// A diagnostic with the document that it is about, or the configuration entry.
type Finding = (DocumentKey, Diagnostic);

/// What a catalog was compiled to.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Compiled {
    /// What the proxy must do.
    pub config: Arc<ProxyConfig>,
    /// What of the documents is not honored, or not as written, beyond what was found when they were read, and what of
    /// the configuration entries, whose keys have the group [`ENTRY_GROUP`]; sorted by document and field.
    pub diagnostics: Vec<(DocumentKey, Diagnostic)>,
}

/// Compiles the successive states of one catalog for one proxy.
#[derive(Debug)]
pub struct Compiler {
    settings: Settings,
    state: Option<State>,
}

/// What is remembered of the last time.
#[derive(Clone, Debug, Default)]
struct State {
    revision: Revision,
    documents_index: Revision,
    services: BTreeMap<Folded, Registered>,
    /// Services of workloads, whether a copy runs or not.
    promised: BTreeSet<Folded>,
    labels: LabelIndex,
    documents: BTreeMap<DocumentKey, Declared>,
    entries: Entries,
    tables: Tables,
    compiled: Compiled,
}

/// The resources that depend on documents and on names of services, but not on instances.
#[derive(Clone, Debug, Default)]
struct Tables {
    listeners: BTreeMap<String, Arc<Listener>>,
    route_tables: BTreeMap<String, Arc<RouteTable>>,
    secrets: BTreeMap<String, Arc<Secret>>,
    findings: Vec<Finding>,
}

impl Compiler {
    /// A compiler that has seen nothing yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, state: None }
    }

    /// Compiles `catalog`, which must be the same catalog as before at the same or a later revision; after an
    /// earlier one everything is compiled anew. The same revision gives the same `Arc`s.
    pub fn compile(&mut self, catalog: &Catalog) -> Compiled {
        let before = self.state.take().filter(|it| it.revision <= catalog.revision());
        let state = match before {
            Some(state) if state.revision == catalog.revision() => state,
            Some(state) => state.advance(catalog, &self.settings, false),
            None => State::default().advance(catalog, &self.settings, true),
        };
        let compiled = state.compiled.clone();
        self.state = Some(state);
        compiled
    }
}

impl State {
    fn advance(mut self, catalog: &Catalog, settings: &Settings, is_first: bool) -> Self {
        let documents_changed = is_first || self.documents_index != catalog.documents_index();
        if documents_changed {
            self.promised = registered::promised(catalog);
        }
        let changes = registered::refresh(&mut self.services, &self.promised, catalog, settings);
        let keys_changed = documents_changed && self.labels.set_keys(selector_keys(catalog));
        let touched = if keys_changed {
            self.services.keys().for_each(|name| drop(self.labels.file(catalog, name)));
            Touched::All
        } else {
            let file = |name| self.labels.file(catalog, name);
            Touched::Labels(changes.services.iter().flat_map(file).collect())
        };
        let view = View { catalog, settings, labels: &self.labels, touched: &touched };
        declared::refresh(&mut self.documents, &view, documents_changed);
        let entries_changed = self.entries.refresh(catalog, settings, &self.services, &changes);
        if documents_changed || changes.names || entries_changed {
            self.tables = self.build_tables(catalog, settings);
        }
        self.compiled = self.assemble(catalog.revision());
        self.revision = catalog.revision();
        self.documents_index = catalog.documents_index();
        self
    }

    fn build_tables(&self, catalog: &Catalog, settings: &Settings) -> Tables {
        let before = &self.tables;
        let (outbound, mut findings) =
            outbound::route_table(settings, &self.services, &self.documents, &self.entries);
        let ingresses = ingress::ingress_documents(catalog);
        let backends = ingress::Backends {
            settings,
            services: &self.services,
            documents: &self.documents,
            entries: &self.entries,
        };
        let (ingress, found) = ingress::route_table(&ingresses, &backends);
        findings.extend(found);
        let (certificates, found) = tls::certificates(catalog, &ingresses, settings);
        findings.extend(found);
        let (listeners, found) =
            listeners::listeners(settings, &certificates.server, &self.documents);
        findings.extend(found);
        let has_ingress = settings.ingress_http.or(settings.ingress_https).is_some();
        let route_tables = [(has_ingress, ingress), (settings.outbound.is_some(), outbound)];
        Tables {
            listeners: listeners
                .into_iter()
                .map(|it| (it.name.clone(), keep(before.listeners.get(&it.name), it)))
                .collect(),
            route_tables: route_tables
                .into_iter()
                .filter_map(|(used, table)| used.then_some(table))
                .map(|it| (it.name.clone(), keep(before.route_tables.get(&it.name), it)))
                .collect(),
            secrets: certificates
                .secrets
                .into_iter()
                .map(|(name, it)| (name.clone(), keep(before.secrets.get(&name), it)))
                .collect(),
            findings,
        }
    }

    /// Gathers all resources. Of clusters of one name a document's wins, then an entry's, then that of the registry.
    fn assemble(&self, revision: Revision) -> Compiled {
        let declared = || self.documents.values().flat_map(|it| &it.ports);
        let registered = || self.services.values();
        let of_entries = || self.entries.clusters();
        let clusters = registered()
            .map(|it| &it.cluster)
            .chain(of_entries().map(|it| it.0))
            .chain(declared().map(|it| &it.cluster));
        let endpoints = registered()
            .map(|it| &it.endpoints)
            .chain(of_entries().map(|it| it.1))
            .chain(declared().map(|it| &it.endpoints));
        let config = ProxyConfig {
            revision,
            listeners: self.tables.listeners.clone(),
            route_tables: self.tables.route_tables.clone(),
            clusters: clusters.map(|it| (it.name.clone(), it.clone())).collect(),
            endpoints: endpoints.map(|it| (it.cluster.clone(), it.clone())).collect(),
            secrets: self.tables.secrets.clone(),
            ..ProxyConfig::default()
        };
        let of_documents = self.documents.values().flat_map(|it| &it.findings);
        let mut diagnostics: Vec<Finding> = of_documents
            .chain(&self.tables.findings)
            .chain(&self.entries.findings)
            .cloned()
            .collect();
        let names = || self.services.keys().map(Folded::as_str);
        diagnostics.extend(self.documents.values().filter_map(|it| it.unmatched(names())));
        diagnostics.sort_by(|a, b| {
            (&a.0, &a.1.field, &a.1.message).cmp(&(&b.0, &b.1.field, &b.1.message))
        });
        Compiled { config: Arc::new(config), diagnostics }
    }
}

/// The keys that the selectors of the Service documents are found by.
fn selector_keys(catalog: &Catalog) -> BTreeSet<String> {
    let services = declared::service_documents(catalog);
    services.filter_map(|(_, service)| Some(labels::anchor(service)?.0)).collect()
}

#[cfg(test)]
mod tests;
