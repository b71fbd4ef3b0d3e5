use std::path::Path;

use model::workload::Registration;
use model::{
    Backend, Change, Check, CheckStatus, Document, FlatMap, IngressPath, IngressRule, IngressSpec,
    IngressTls, Instance, KeyChange, Node, Object, ObjectKey, Operation, PathKind, PortRef,
    PortSpec, SecretSpec, ServiceSpec, Spec, WorkloadSpec,
};
use proxy_config::{EndpointHealth, ListenerProtocol, PathMatch, Route, RouteAction};
use serde_json::{Value, json};

use super::*;

mod entries;
mod findings;
mod incremental;
mod scale;
mod split;

/// A catalog and a compiler of it, moved on change by change.
pub(crate) struct World {
    pub(crate) catalog: Catalog,
    compiler: Compiler,
}

pub(crate) fn settings() -> Settings {
    let address = |port| Some(std::net::SocketAddr::from(([127, 0, 0, 1], port)));
    Settings {
        ingress_http: address(10000),
        ingress_https: address(10443),
        outbound: address(15001),
        ..Settings::default()
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self { catalog: Catalog::default(), compiler: Compiler::new(settings()) }
    }

    fn with(objects: impl IntoIterator<Item = Object>) -> Self {
        let mut world = Self::new();
        objects.into_iter().for_each(|it| world.put(it));
        world
    }

    pub(crate) fn put(&mut self, object: Object) {
        let created = self.created(&object.key());
        let Operation::Put { key, value, .. } = object.put() else { panic!("a put is a put") };
        self.change(KeyChange::Put { key, value, created });
    }

    pub(crate) fn delete(&mut self, key: &ObjectKey) {
        self.change(KeyChange::Delete { key: key.encode() });
    }

    pub(crate) fn compile(&mut self) -> Compiled {
        let compiled = self.compiler.compile(&self.catalog);
        let received = proxy_config::receive(&proxy_config::deliver(&compiled.config, "life"));
        assert_eq!(received.unwrap().config, *compiled.config, "a proxy elsewhere gets another");
        compiled
    }

    fn change(&mut self, change: KeyChange) {
        let revision = Revision(self.catalog.revision().0 + 1);
        let (_, errors) = self.catalog.apply(&Change { revision, keys: vec![change] });
        assert!(errors.is_empty(), "{errors:?}");
    }

    fn created(&self, key: &ObjectKey) -> Revision {
        let found = self.catalog.revisions_of(key).map(|it| it.0);
        found.unwrap_or(Revision(self.catalog.revision().0 + 1))
    }
}

pub(crate) fn node(name: &str) -> Object {
    Object::Node(Node { name: name.into(), address: "10.0.0.1".into(), ..Node::default() })
}

pub(crate) fn instance(id: &str, service: &str, port: u16) -> Instance {
    Instance {
        node: "n1".into(),
        id: id.into(),
        service: service.into(),
        port,
        ..Instance::default()
    }
}

pub(crate) fn meta(pairs: &[(&str, &str)]) -> Option<FlatMap<String>> {
    Some(pairs.iter().map(|(key, value)| (*key, (*value).to_owned())).collect())
}

pub(crate) fn check(id: &str, instance: &str, status: CheckStatus) -> Object {
    Object::Check(Check {
        node: "n1".into(),
        id: id.into(),
        service_id: instance.into(),
        status,
        ..Check::default()
    })
}

pub(crate) fn document(kind: &str, namespace: &str, name: &str, spec: Spec) -> Object {
    let group = if kind == "Ingress" { "networking.k8s.io" } else { "" };
    let key = DocumentKey {
        group: group.into(),
        kind: kind.into(),
        namespace: namespace.into(),
        name: name.into(),
    };
    let (api_version, source) = (String::new(), "t.yaml".to_owned());
    let (body, diagnostics, line) = (Value::Null, Vec::new(), 7);
    let document = Document { key, api_version, body, spec, diagnostics, source, line };
    Object::Document(document)
}

pub(crate) fn workload(service: &str) -> Spec {
    let service = Some(Registration { name: service.into(), ..Registration::default() });
    Spec::Workload(Box::new(WorkloadSpec { service, ..WorkloadSpec::default() }))
}

pub(crate) fn service(name: &str, selector: &[(&str, &str)], ports: Vec<PortSpec>) -> Object {
    let selector = selector.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    let spec = ServiceSpec { selector, ports, ..ServiceSpec::default() };
    document("Service", "default", name, Spec::Service(spec))
}

pub(crate) fn port(port: u16, target: PortRef) -> PortSpec {
    PortSpec { port, target, ..PortSpec::default() }
}

pub(crate) fn backend(service: &str, port: u16) -> Backend {
    Backend { service: service.into(), port: PortRef::Number(port) }
}

pub(crate) fn ingress(name: &str, spec: IngressSpec) -> Object {
    document("Ingress", "default", name, Spec::Ingress(spec))
}

pub(crate) fn rule(host: &str, paths: &[(&str, PathKind, &str)]) -> IngressRule {
    let paths = paths.iter().map(|(path, kind, service)| IngressPath {
        path: (*path).into(),
        kind: *kind,
        backend: backend(service, 80),
    });
    IngressRule { host: host.into(), paths: paths.collect() }
}

/// Endpoints of a cluster as `id host:port health weight`.
fn endpoints(compiled: &Compiled, cluster: &str) -> Vec<String> {
    let endpoints = &compiled.config.endpoints[cluster].endpoints;
    let show = |it: &proxy_config::Endpoint| {
        format!("{} {}:{} {:?} {}", it.id, it.host, it.port, it.health, it.weight)
    };
    endpoints.iter().map(show).collect()
}

fn domains<'a>(compiled: &'a Compiled, host: &str) -> Vec<&'a str> {
    let hosts = &compiled.config.route_tables[OUTBOUND].virtual_hosts;
    let found = hosts.iter().find(|it| it.name == host);
    found.map(|it| it.domains.iter().map(String::as_str).collect()).unwrap_or_default()
}

/// Routes of a host of the ingress, as `condition -> action`.
fn routes(compiled: &Compiled, host: &str) -> Vec<String> {
    let hosts = &compiled.config.route_tables[INGRESS].virtual_hosts;
    let found = hosts.iter().find(|it| it.domains == [host]).expect("the host has routes");
    let show = |route: &Route| {
        let path = match &route.path {
            PathMatch::Exact(path) => format!("= {path}"),
            PathMatch::PathPrefix(path) => path.clone(),
            PathMatch::Prefix(path) => format!("{path}…"),
            PathMatch::Regex(form) | PathMatch::Template(form) => format!("~ {form}"),
        };
        match &route.action {
            RouteAction::Forward(forward) => {
                let names: Vec<&str> = forward.cluster.names().collect();
                format!("{path} -> {}", names.join(","))
            }
            RouteAction::Respond { status, body } => format!("{path} -> {status} {}", body.trim()),
            RouteAction::Redirect(it) => format!("{path} -> {}", it.status),
        }
    };
    found.routes.iter().map(show).collect()
}

fn messages(compiled: &Compiled) -> Vec<String> {
    let show = |it: &Finding| format!("{}: {}: {}", it.0.name, it.1.field, it.1.message);
    compiled.diagnostics.iter().map(show).collect()
}

#[test]
fn the_manifest_that_users_start_from_is_routed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    #[allow(clippy::disallowed_methods)] // Test data.
    let text = std::fs::read_to_string(folder.join("my-service.json")).unwrap();
    let documents: Vec<Document> = serde_json::from_str(&text).unwrap();
    let mut world = World::with([node("n1")]);
    for (idx, port) in [8080, 8080].into_iter().enumerate() {
        world.put(Object::Instance(instance(&format!("my-service-{idx}"), "my-service", port)));
    }
    documents.into_iter().for_each(|it| world.put(Object::Document(it)));
    let compiled = world.compile();
    assert_eq!(compiled.diagnostics, []);
    let found = serde_json::to_string_pretty(&json!(*compiled.config)).unwrap() + "\n";
    let golden = folder.join("my-service.golden.json");
    #[allow(clippy::disallowed_methods)] // Golden file.
    {
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&golden, &found).unwrap();
        }
        assert_eq!(found, std::fs::read_to_string(&golden).unwrap_or_default());
    }
}

#[test]
fn health_and_weight_follow_the_checks() {
    let mut world = World::with([node("n1")]);
    for id in ["a", "b", "c", "d"] {
        let mut it = instance(id, "Web", 80);
        it.weights.warning = if id == "d" { 0 } else { 3 };
        it.weights.passing = 7;
        world.put(Object::Instance(it));
    }
    world.put(check("1", "a", CheckStatus::Warning));
    world.put(check("2", "b", CheckStatus::Critical));
    world.put(check("3", "b", CheckStatus::Passing));
    world.put(check("4", "d", CheckStatus::Warning));
    let expected = [
        "n1/a 10.0.0.1:80 Healthy 3",
        "n1/b 10.0.0.1:80 Unhealthy 7",
        "n1/c 10.0.0.1:80 Healthy 7",
    ];
    assert_eq!(endpoints(&world.compile(), "web"), expected);
    world.put(check("node", "", CheckStatus::Critical));
    let compiled = world.compile();
    let all = &compiled.config.endpoints["web"].endpoints;
    assert!(all.iter().all(|it| it.health == EndpointHealth::Unhealthy));
}

#[test]
fn a_service_of_a_workload_is_there_before_and_after_its_copies() {
    let mut world = World::with([node("n1")]);
    world.put(document("Workload", "default", "shop", workload("web")));
    assert!(endpoints(&world.compile(), "web").is_empty());
    world.put(Object::Instance(instance("a", "web", 80)));
    assert_eq!(endpoints(&world.compile(), "web"), ["n1/a 10.0.0.1:80 Healthy 1"]);
    world.delete(&ObjectKey::Instance(Folded::new("n1"), "a".into()));
    let compiled = world.compile();
    assert!(compiled.config.endpoints["web"].endpoints.is_empty());
    let names = compiled.config.route_tables[OUTBOUND].virtual_hosts.len();
    let (kind, group) = ("Workload".into(), String::new());
    let key = DocumentKey { group, kind, namespace: "default".into(), name: "shop".into() };
    world.delete(&ObjectKey::Document(key));
    let compiled = world.compile();
    assert!(!compiled.config.endpoints.contains_key("web"));
    assert!(compiled.config.route_tables[OUTBOUND].virtual_hosts.len() < names);
}

#[test]
fn who_is_in_maintenance_gets_no_new_requests_and_keeps_those_under_way() {
    let own = |id, port| Object::Instance(instance(id, "web", port));
    let mut world = World::with([node("n1"), own("a", 80), own("b", 81)]);
    world.put(check("_service_maintenance:a", "a", CheckStatus::Critical));
    let endpoints = endpoints(&world.compile(), "web");
    assert_eq!(endpoints, ["n1/a 10.0.0.1:80 Draining 1", "n1/b 10.0.0.1:81 Healthy 1"]);
}

#[test]
fn instances_that_cannot_be_called_are_no_endpoints() {
    let mut world = World::with([node("n1"), Object::Instance(instance("no-port", "web", 0))]);
    let own = Instance { address: "db.example.com".into(), ..instance("own", "web", 5) };
    world.put(Object::Instance(own));
    assert_eq!(endpoints(&world.compile(), "web"), ["n1/own db.example.com:5 Healthy 1"]);
}

#[test]
fn consul_itself_is_not_routed() {
    let world = World::with([node("n1"), Object::Instance(instance("consul", "consul", 8300))]);
    let compiled = Compiler::new(settings()).compile(&world.catalog);
    assert!(compiled.config.clusters.is_empty());
    assert_eq!(domains(&compiled, "consul"), [""; 0]);
}

#[test]
fn a_document_takes_over_the_bare_name() {
    let mut world = World::with([node("n1"), Object::Instance(instance("1", "web", 80))]);
    let derived = ["web.mesh", "web.service.mesh", "web.service.consul", "web.service.dc1.consul"];
    let all: Vec<&str> = ["web"].into_iter().chain(derived).collect();
    assert_eq!(domains(&world.compile(), "web"), all);
    world.put(service("web", &[("app", "web")], vec![port(80, PortRef::default())]));
    let compiled = world.compile();
    assert_eq!(domains(&compiled, "web"), derived);
    let names = ["web", "web.default", "web.default.svc", "web.default.svc.cluster.local"];
    assert_eq!(domains(&compiled, "web.default"), names);
}

#[test]
fn services_are_called_by_the_domains_that_dns_answers_for() {
    let world = World::with([node("n1"), Object::Instance(instance("1", "web", 80))]);
    let dns_domains = vec!["corp.example".to_owned(), "alt".to_owned()];
    let compiled = Compiler::new(Settings { dns_domains, ..settings() }).compile(&world.catalog);
    let expected = [
        "web",
        "web.mesh",
        "web.service.mesh",
        "web.service.corp.example",
        "web.service.dc1.corp.example",
        "web.service.alt",
        "web.service.dc1.alt",
    ];
    assert_eq!(domains(&compiled, "web"), expected);
}

#[test]
fn a_domain_is_given_once() {
    let mut world = World::with([node("n1")]);
    for name in ["a", "a.mesh", "a.default", "*"] {
        world.put(Object::Instance(instance(name, name, 80)));
    }
    world.put(service("a", &[("app", "a")], vec![port(80, PortRef::default())]));
    let compiled = world.compile();
    assert_eq!(domains(&compiled, "a.mesh")[0], "a.mesh");
    assert!(!domains(&compiled, "a").contains(&"a.mesh"));
    let hosts = &compiled.config.route_tables[OUTBOUND].virtual_hosts;
    let all: Vec<&String> = hosts.iter().flat_map(|it| &it.domains).collect();
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
    assert!(all.iter().all(|it| !it.contains('*')));
}

#[test]
fn a_selector_wants_all_its_labels() {
    let mut world = World::with([node("n1")]);
    let with = |id: &str, service: &str, pairs: &[(&str, &str)]| {
        Object::Instance(Instance { meta: meta(pairs), ..instance(id, service, 80) })
    };
    world.put(with("1", "web", &[("version", "2")]));
    world.put(with("2", "web", &[("version", "1")]));
    world.put(with("3", "other", &[("version", "2"), ("app", "web")]));
    world.put(with("4", "web", &[("version", "2"), ("app", "other")]));
    let mut tagged = instance("5", "web", 80);
    tagged.tags = vec!["version=2".into()];
    world.put(Object::Instance(tagged));
    let labels = [("app", "web"), ("version", "2")];
    world.put(service("web", &labels, vec![port(80, PortRef::default())]));
    world.put(service("none", &[], vec![port(80, PortRef::default())]));
    let compiled = world.compile();
    let ids: Vec<_> =
        compiled.config.endpoints["web.default:80"].endpoints.iter().map(|it| &it.id).collect();
    assert_eq!(ids, ["n1/1", "n1/3", "n1/5"]);
    assert!(endpoints(&compiled, "none.default:80").is_empty());
}

#[test]
fn a_target_port_picks_the_port_of_the_instance() {
    let mut world = World::with([node("n1")]);
    for (id, port) in [("1", 8080), ("2", 9090), ("3", 0)] {
        let meta = meta(&[("port-admin", "7000")]).filter(|_| id == "1");
        world.put(Object::Instance(Instance { meta, ..instance(id, "web", port) }));
    }
    let targets = [
        PortRef::default(),
        PortRef::Number(8080),
        PortRef::Number(1),
        PortRef::Name("admin".into()),
    ];
    let ports = (81..).zip(targets).map(|(number, target)| port(number, target)).collect();
    world.put(service("web", &[("app", "web")], ports));
    let compiled = world.compile();
    let ports = |port: u16| -> Vec<u16> {
        let endpoints = &compiled.config.endpoints[&format!("web.default:{port}")];
        endpoints.endpoints.iter().map(|it| it.port).collect()
    };
    assert_eq!(ports(81), [8080, 9090, 81]);
    assert_eq!(ports(82), [8080, 8080]);
    assert_eq!(ports(83), [1]);
    assert_eq!(ports(84), [7000, 9090, 84]);
    world.delete(&ObjectKey::Instance(Folded::new("n1"), "3".into()));
    let compiled = world.compile();
    assert_eq!(endpoints(&compiled, "web.default:83").len(), 2);
    let messages = messages(&compiled).join("\n");
    assert!(messages.contains("no instance is registered with port 1"), "{messages}");
    assert!(messages.contains("1 of 2 instances are registered with other ports"), "{messages}");
}

#[test]
fn routes_are_ordered_exact_first_and_longest_first() {
    let mut world = World::with([node("n1")]);
    for name in ["a", "b", "c", "d"] {
        world.put(Object::Instance(instance(name, name, 80)));
        world.put(service(name, &[("app", name)], vec![port(80, PortRef::default())]));
    }
    let paths = [
        ("/", PathKind::Prefix, "a"),
        ("/x/", PathKind::Implementation, "b"),
        ("/x/y", PathKind::Prefix, "c"),
        ("/x", PathKind::Exact, "d"),
    ];
    let rules = vec![rule("a.example.com", &paths), rule("", &paths[2..3])];
    let default_backend = Some(backend("d", 80));
    world.put(ingress("i", IngressSpec { rules, default_backend, ..IngressSpec::default() }));
    let compiled = world.compile();
    let expected =
        ["= /x -> d.default:80", "/x/y -> c.default:80", "/x -> b.default:80", "/ -> a.default:80"];
    assert_eq!(routes(&compiled, "a.example.com"), expected);
    assert_eq!(routes(&compiled, "*"), ["/x/y -> c.default:80", "/ -> d.default:80"]);
    assert_eq!(messages(&compiled), [""; 0]);
}

#[test]
fn of_two_documents_with_one_path_the_older_wins() {
    let mut world = World::with([node("n1")]);
    for name in ["a", "b"] {
        world.put(Object::Instance(instance(name, name, 80)));
        world.put(service(name, &[("app", name)], vec![port(80, PortRef::default())]));
    }
    let spec = |service| IngressSpec {
        rules: vec![rule("", &[("/", PathKind::Prefix, service)])],
        default_backend: Some(backend(service, 80)),
        ..IngressSpec::default()
    };
    world.put(ingress("z-older", spec("a")));
    world.put(ingress("a-younger", spec("b")));
    world.put(ingress("z-older", spec("a")));
    let compiled = world.compile();
    assert_eq!(routes(&compiled, "*"), ["/ -> a.default:80"]);
    assert_eq!(messages(&compiled).len(), 2);
    assert!(messages(&compiled).iter().all(|it| it.starts_with("a-younger: spec.")));
}

#[test]
fn a_backend_that_is_missing_answers_503_and_says_which() {
    let mut world = World::with([node("n1"), Object::Instance(instance("1", "reg", 80))]);
    world.put(Object::Instance(instance("doc", "doc", 80)));
    world.put(service("doc", &[("app", "doc")], vec![port(8080, PortRef::default())]));
    let paths = ["gone", "reg", "doc"].map(|it| (it, PathKind::Prefix, it));
    let paths = paths.map(|(name, kind, service)| (format!("/{name}"), kind, service));
    let paths: Vec<_> = paths.iter().map(|(path, kind, it)| (path.as_str(), *kind, *it)).collect();
    world.put(ingress("i", IngressSpec { rules: vec![rule("", &paths)], ..Default::default() }));
    let expected = [
        "/gone -> 503 Ingress/i in namespace default: Service/gone in namespace default does not exist",
        "/doc -> 503 Ingress/i in namespace default: Service/doc in namespace default has no port 80",
        "/reg -> reg",
    ];
    assert_eq!(routes(&world.compile(), "*"), expected);
    assert_eq!(messages(&world.compile()).len(), 3);
    world.put(Object::Instance(instance("2", "gone", 80)));
    assert_eq!(routes(&world.compile(), "*")[0], "/gone -> gone");
}

#[test]
fn hosts_with_a_certificate_are_served_on_https() {
    let mut world = World::with([node("n1")]);
    let spec = |hosts: &[&str], secret: &str| IngressSpec {
        rules: vec![rule("a.example.com", &[("/", PathKind::Prefix, "a")])],
        tls: vec![IngressTls {
            hosts: hosts.iter().map(|it| (*it).to_owned()).collect(),
            secret: secret.into(),
        }],
        ..IngressSpec::default()
    };
    world.put(ingress("i", spec(&[], "cert")));
    assert!(!world.compile().config.listeners.contains_key(INGRESS_HTTPS));
    let data = [("tls.crt", "C"), ("tls.key", "K")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    let secret = SecretSpec { kind: "kubernetes.io/tls".into(), data: data.into() };
    world.put(document("Secret", "default", "cert", Spec::Secret(secret.clone())));
    world.put(document("Secret", "default", "other", Spec::Secret(secret)));
    world.put(ingress("j", spec(&["a.example.com", "*.b.com"], "other")));
    let compiled = world.compile();
    let tls = compiled.config.listeners[INGRESS_HTTPS].chains[0].tls.as_ref().unwrap();
    let names = serde_json::to_value(tls).unwrap();
    let expected = json!({"a.example.com": "default/cert", "*.b.com": "default/other"});
    assert_eq!(names["by_server_name"], expected);
    assert_eq!(compiled.config.secrets.len(), 2);
    let shown = messages(&compiled).join("\n");
    assert!(shown.contains("a.example.com has another certificate"), "{shown}");
    let printed = format!("{compiled:?}");
    assert!(printed.contains("PrivateKey(redacted)") && !printed.contains("\"K\""));
}

#[test]
fn a_port_of_bytes_is_reached_at_the_address_that_it_asks_for() {
    let mut world = World::with([node("n1"), Object::Instance(instance("1", "db", 5432))]);
    let raw = |listen: Option<&str>| ServiceSpec {
        selector: [("app".to_owned(), "db".to_owned())].into(),
        ports: vec![PortSpec { raw_tcp: true, ..port(5432, PortRef::default()) }],
        listen: listen.map(|it| it.parse().unwrap()),
        ..ServiceSpec::default()
    };
    world.put(document("Service", "default", "db", Spec::Service(raw(Some("127.0.0.1:5432")))));
    world.put(document("Service", "x", "db", Spec::Service(raw(Some("127.0.0.1:5432")))));
    world.put(document("Service", "y", "db", Spec::Service(raw(None))));
    let compiled = world.compile();
    let listener = &compiled.config.listeners["tcp/default/db"];
    let expected = ListenerProtocol::Tcp(proxy_config::TcpListener::to("db.default:5432"));
    assert_eq!(listener.chains[0].protocol, expected);
    assert_eq!(compiled.config.listeners.len(), 3);
    assert_eq!(compiled.diagnostics.len(), 2, "{:?}", messages(&compiled));
    assert_eq!(domains(&compiled, "db.default"), [""; 0]);
}
