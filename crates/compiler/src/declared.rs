//! Service documents: each port is a cluster `<name>.<namespace>:<port>` over the registered instances that the
//! selector picks. Which port of an instance is called:
//!
//! * no `targetPort`: the port that the instance registered; `port` if it registered none.
//! * a number: the instances that registered this port, and those that registered none. If there is no such instance,
//!   all, on the ports that they registered: those are known to be listened on, and copies of a service on one machine
//!   cannot share a port.
//! * a name: the port in the instance's metadata `port-<name>`, or else the one that it registered.
//!
//! A selector that matches nothing is a finding. It names services that are registered, and those come and go without
//! touching the document; so it is written when everything is gathered, and here is only noted that it is due.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{
    Catalog, Diagnostic, Document, DocumentKey, Folded, Instance, Place, PortRef, PortSpec,
    ServiceSpec, Severity, Spec, Stored,
};
use proxy_config::{Balancing, Cluster, Endpoint, Endpoints, Source, UpstreamProtocol};

use crate::labels::{Label, LabelIndex, anchor};
use crate::settings::RETRY_BUDGET;
use crate::split::{self, Instances};
use crate::{Finding, Settings, registered};

/// What a Service document was compiled to.
#[derive(Clone, Debug)]
pub(crate) struct Declared {
    pub(crate) document: Arc<Stored<Document>>,
    /// In the order of the document's ports.
    pub(crate) ports: Vec<DeclaredPort>,
    pub(crate) findings: Vec<Finding>,
    /// It has a selector, and no registered instance has its labels.
    is_unmatched: bool,
}

/// Most services that a finding lists.
const NAMES_MAX: usize = 5;

/// One port of a Service document.
#[derive(Clone, Debug)]
pub(crate) struct DeclaredPort {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) endpoints: Arc<Endpoints>,
}

/// What the compilation of Service documents needs to see.
pub(crate) struct View<'a> {
    pub(crate) catalog: &'a Catalog,
    pub(crate) settings: &'a Settings,
    pub(crate) labels: &'a LabelIndex,
    pub(crate) touched: &'a Touched,
}

/// What the change of services may mean for selectors.
pub(crate) enum Touched {
    /// Any may select otherwise.
    All,
    /// Those that are found by one of these labels.
    Labels(BTreeSet<Label>),
}

/// The Service documents of a catalog.
pub(crate) fn service_documents(
    catalog: &Catalog,
) -> impl Iterator<Item = (&Arc<Stored<Document>>, &ServiceSpec)> {
    catalog.documents().filter_map(|document| Some((document, service_spec(document)?)))
}

fn service_spec(document: &Document) -> Option<&ServiceSpec> {
    match &document.spec {
        Spec::Service(service) => Some(service),
        Spec::Ingress(_) | Spec::Secret(_) | Spec::Workload(_) | Spec::Rollout(_) => None,
    }
}

/// Brings `all` up to date: compiles the documents that may select an instance that changed, and, if documents changed,
/// adds, replaces and removes.
pub(crate) fn refresh(
    all: &mut BTreeMap<DocumentKey, Declared>,
    view: &View<'_>,
    documents_changed: bool,
) {
    for declared in all.values_mut().filter(|it| view.touched.concerns(it.spec())) {
        let document = declared.document.clone();
        *declared = Declared::new(&document, Some(declared), view);
    }
    if !documents_changed {
        return;
    }
    all.retain(|key, _| view.catalog.document(key).is_some());
    for (document, _) in service_documents(view.catalog) {
        let before = all.get(&document.key);
        if before.is_none_or(|it| it.document.modified != document.modified) {
            let declared = Declared::new(document, before, view);
            all.insert(document.key.clone(), declared);
        }
    }
}

impl Touched {
    fn concerns(&self, service: &ServiceSpec) -> bool {
        match self {
            Touched::All => true,
            Touched::Labels(labels) if labels.is_empty() => false,
            Touched::Labels(labels) => anchor(service).is_some_and(|it| labels.contains(&it)),
        }
    }
}

impl Declared {
    /// Compiles a document; a port that comes out as it was keeps its `Arc`s.
    fn new(document: &Arc<Stored<Document>>, before: Option<&Declared>, view: &View<'_>) -> Self {
        let service = service_spec(document).expect("only Service documents are declared");
        let selected = select(service, view);
        let instances: Instances<'_> = selected
            .iter()
            .filter_map(|it| Some((registered::endpoint(view.catalog, it)?, *it)))
            .collect();
        let mut findings = Vec::new();
        let mut ports = Vec::with_capacity(service.ports.len());
        for (idx, port) in service.ports.iter().enumerate() {
            let cluster = cluster(document, service, port, view.settings);
            let endpoints = match &service.external_name {
                Some(host) => Endpoints {
                    cluster: cluster.name.clone(),
                    endpoints: vec![external(host, port)],
                    ..Endpoints::default()
                },
                None => {
                    let (called, doubt) = resolve_target(port, &instances);
                    findings.extend(doubt.map(|(severity, message)| {
                        let field = format!("spec.ports[{idx}].targetPort");
                        let remedy = "leave it out to call each instance on its own port";
                        finding(document, severity, field, message, remedy)
                    }));
                    split::endpoints(&cluster.name, vec![called], view.catalog)
                }
            };
            let old = before
                .and_then(|it| it.ports.iter().find(|port| port.cluster.name == cluster.name));
            ports.push(DeclaredPort {
                cluster: keep(old.map(|it| &it.cluster), cluster),
                endpoints: keep(old.map(|it| &it.endpoints), endpoints),
            });
        }
        let is_unmatched =
            selected.is_empty() && !service.selector.is_empty() && service.external_name.is_none();
        Self { document: document.clone(), ports, findings, is_unmatched }
    }

    /// The finding that is due when the selector matches nothing; `registered` are the services that there are, sorted.
    /// Costs no more than the few that are listed.
    pub(crate) fn unmatched<'a>(
        &self,
        registered: impl IntoIterator<Item = &'a str>,
    ) -> Option<Finding> {
        if !self.is_unmatched {
            return None;
        }
        let mut names: Vec<&str> = registered.into_iter().take(NAMES_MAX + 1).collect();
        if names.len() > NAMES_MAX {
            names[NAMES_MAX] = "…";
        }
        let labels: Vec<String> =
            self.spec().selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let known = match names.as_slice() {
            [] => "no service is registered".to_owned(),
            names => format!("registered services are: {}", names.join(", ")),
        };
        let message =
            format!("selector {} matches no registered instance; {known}", labels.join(","));
        let remedy = "correct it, or register an instance with these labels";
        let severity = Severity::Approximated;
        Some(finding(&self.document, severity, "spec.selector", message, remedy))
    }

    /// What the document asks for.
    pub(crate) fn spec(&self) -> &ServiceSpec {
        service_spec(&self.document).expect("only Service documents are declared")
    }

    /// A port by number or name.
    pub(crate) fn port(&self, wanted: &PortRef) -> Option<(&PortSpec, &DeclaredPort)> {
        self.spec().ports.iter().zip(&self.ports).find(|(spec, _)| match wanted {
            PortRef::Number(number) => spec.port == *number,
            PortRef::Name(name) => spec.name == *name,
        })
    }

    /// The HTTP port that a bare name means: 80, or else the first.
    pub(crate) fn http_port(&self) -> Option<(&PortSpec, &DeclaredPort)> {
        let http = || self.spec().ports.iter().zip(&self.ports).filter(|it| !it.0.raw_tcp);
        http().find(|it| it.0.port == 80).or_else(|| http().next())
    }

    /// The document as a cause.
    pub(crate) fn source(&self) -> Source {
        source(&self.document)
    }
}

/// A document as a cause.
pub(crate) fn source(document: &Stored<Document>) -> Source {
    Source { object: document.key.to_string(), revision: document.modified }
}

/// A finding about a document. Of its lines only the first is known.
pub(crate) fn finding(
    document: &Document,
    severity: Severity,
    field: impl Into<String>,
    message: impl Into<String>,
    remedy: impl Into<String>,
) -> Finding {
    let diagnostic = Diagnostic {
        severity,
        place: Place { file: document.source.clone(), line: document.line },
        field: field.into(),
        message: message.into(),
        remedy: remedy.into(),
    };
    (document.key.clone(), diagnostic)
}

/// The value that was there before if it is equal, so that whoever holds it sees that nothing changed.
pub(crate) fn keep<T: PartialEq>(before: Option<&Arc<T>>, now: T) -> Arc<T> {
    match before {
        Some(before) if **before == now => before.clone(),
        Some(_) | None => Arc::new(now),
    }
}

fn cluster(
    document: &Stored<Document>,
    service: &ServiceSpec,
    port: &PortSpec,
    settings: &Settings,
) -> Cluster {
    let protocol = match (port.raw_tcp, port.http2) {
        (true, _) => UpstreamProtocol::Tcp,
        (false, true) => UpstreamProtocol::Http2,
        (false, false) => UpstreamProtocol::Http1,
    };
    let balancing = service.balancing.as_deref().and_then(Balancing::parse);
    Cluster {
        name: format!("{}.{}:{}", document.key.name, document.key.namespace, port.port),
        balancing: balancing.unwrap_or(settings.balancing),
        protocol,
        connect_timeout: settings.connect_timeout,
        idle_timeout: settings.upstream_idle_timeout,
        connections_max: settings.upstream_connections_max,
        retry_budget: Some(RETRY_BUDGET),
        narrowing: split::narrowing(),
        source: source(document),
        ..Cluster::default()
    }
}

/// The instances that have all labels of the selector, reachable or not, by node and id.
fn select<'a>(service: &ServiceSpec, view: &View<'a>) -> Vec<&'a Instance> {
    let Some(label) = anchor(service) else { return Vec::new() };
    let matches = |it: &Instance| {
        service.selector.iter().all(|(key, value)| it.label(key) == Some(value.as_str()))
    };
    let mut selected: Vec<&Instance> = view
        .labels
        .services(&label)
        .flat_map(|name: &Folded| view.catalog.instances_of_service(name))
        .map(|it| &it.value)
        .filter(|it| matches(it))
        .collect();
    selected.sort_by(|a, b| (&a.node, &a.id).cmp(&(&b.node, &b.id)));
    selected
}

/// The endpoints of a port with their instances, and what is doubtful about them. See the head of this file for the rules.
fn resolve_target<'a>(
    port: &PortSpec,
    instances: &Instances<'a>,
) -> (Instances<'a>, Option<(Severity, String)>) {
    let on = |it: &(Endpoint, &'a Instance), port: u16| (Endpoint { port, ..it.0.clone() }, it.1);
    match &port.target {
        PortRef::Number(number) => {
            let fits = |it: &&(Endpoint, &Instance)| [*number, 0].contains(&it.0.port);
            let fitting: Instances<'a> =
                instances.iter().filter(fits).map(|it| on(it, *number)).collect();
            let others = instances.len() - fitting.len();
            if others == 0 {
                return (fitting, None);
            }
            if fitting.is_empty() {
                let message = format!(
                    "no instance is registered with port {number}: each is called on its own port"
                );
                return (instances.clone(), Some((Severity::Approximated, message)));
            }
            let message = format!(
                "{others} of {} instances are registered with other ports than {number}, and not called",
                instances.len()
            );
            (fitting, Some((Severity::Approximated, message)))
        }
        PortRef::Name(name) => {
            let called = instances.iter().map(|it| {
                let named = named_port(it.1, name).unwrap_or(it.0.port);
                on(it, if named == 0 { port.port } else { named })
            });
            let is_unknown = !name.is_empty()
                && !instances.is_empty()
                && instances.iter().all(|it| named_port(it.1, name).is_none());
            let doubt = is_unknown.then(|| {
                let message = format!(
                    "no instance names a port `{name}`, which would be `port-{name}` in its Meta: \
                     each is called on its own port"
                );
                (Severity::Approximated, message)
            });
            (called.collect(), doubt)
        }
    }
}

/// The port that an instance gives a name in its metadata.
fn named_port(instance: &Instance, name: &str) -> Option<u16> {
    if name.is_empty() {
        return None;
    }
    instance.meta.as_ref()?.get(&format!("port-{name}"))?.parse().ok()
}

/// The one endpoint of a service that stands for a host name outside.
fn external(host: &str, port: &PortSpec) -> Endpoint {
    let port = match port.target {
        PortRef::Number(number) => number,
        PortRef::Name(_) => port.port,
    };
    Endpoint::new(&format!("external/{host}"), host, port)
}
