//! Catalogs and requests to try the doors on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::{Acl, AgentInfo, Context, LiveCheck, Settings, Step};
use bytes::Bytes;
use http::{Request, Response};
use model::{
    Catalog, Check, CheckDefinition, CheckId, CheckStatus, FlatMap, Instance, KvEntry, Locality,
    Node, Object, Operation, Origin, Revision, ServiceAddress, Session, SessionBehavior, Timestamp,
    Weights,
};
use registry::{Command, Decision, decide};

pub(crate) const NODE_ID: &str = "8c7f0a2e-0000-4000-8000-000000000001";

/// A catalog in the making, and the agent that shows it.
pub(crate) struct World {
    pub(crate) catalog: Catalog,
    pub(crate) agent: AgentInfo,
    pub(crate) live_checks: BTreeMap<CheckId, LiveCheck>,
    pub(crate) acl: Acl,
}

impl World {
    pub(crate) fn empty() -> Self {
        let agent = AgentInfo {
            node_name: "n1".into(),
            node_id: NODE_ID.into(),
            datacenter: "dc1".into(),
            address: "127.0.0.1".into(),
            http_port: 8500,
            dns_port: 8600,
            consul_version: "1.21.4".into(),
            leno_version: "0.1.0".into(),
            started: model::Timestamp(0),
            dev: false,
            script_checks: false,
            settings: Settings::default(),
        };
        Self {
            catalog: Catalog::default(),
            agent,
            live_checks: BTreeMap::new(),
            acl: Acl::default(),
        }
    }

    /// What the examples of the reference show: node n1 with one service, and a node without an agent.
    pub(crate) fn of_appendix() -> Self {
        let mut world = Self::empty();
        world.put_at(12, [Object::Node(n1()), Object::Check(serf_health())]);
        world.put_at(15, [Object::Node(Node { address: "127.0.0.1".into(), ..n1() })]);
        world.put_at(20, [Object::Node(ext())]);
        let check = Check { status: CheckStatus::Critical, output: String::new(), ..web1_check() };
        world.put_at(21, [Object::Instance(web1()), Object::Check(check)]);
        world.put_at(25, [Object::Check(web1_check())]);
        world
    }

    /// Keys with values.
    pub(crate) fn of_keys() -> Self {
        let mut world = Self::of_appendix();
        let entry = |key: &str, value: &str, flags| {
            let (key, value) = (key.into(), value.as_bytes().into());
            Object::Kv(KvEntry { key, value, flags, ..KvEntry::default() })
        };
        world.put_at(30, [entry("app/a", "hello", 42), entry("app/b/1", "one", 0)]);
        world.put_at(31, [entry("app/b/2", "<two>", 0), entry("empty", "", 0)]);
        world.put_at(32, [entry("app/a", "hello!", 42), entry("b\u{e4}r/x y", "\n", 0)]);
        world
    }

    /// Two sessions, one of which holds a key.
    pub(crate) fn of_sessions() -> Self {
        let mut world = Self::of_appendix();
        let id = |number: u8| format!("5e000000-0000-4000-8000-00000000000{number}");
        let session =
            |number| Session { id: id(number).into(), node: "n1".into(), ..Session::default() };
        let with_all = Session {
            name: "job".into(),
            lock_delay: Duration::from_secs(1),
            behavior: SessionBehavior::Delete,
            ttl: Duration::from_secs(15),
            ttl_text: "15s".into(),
            node_checks: vec!["serfHealth".into()],
            ..session(1)
        };
        let when = registry::KvCondition::Acquire(id(1).into());
        let entry =
            KvEntry { key: "lock".into(), value: b"me".as_slice().into(), ..KvEntry::default() };
        world.put_at(32, [Object::Session(with_all), Object::Session(session(2))]);
        world.run(&Command::SetKv { entry, when });
        world
    }

    /// A bit of everything.
    pub(crate) fn full() -> Self {
        let mut world = Self::of_appendix();
        let on_n1 = |id: &str| Check { node: "n1".into(), id: id.into(), ..Check::default() };
        world.put_at(
            30,
            [
                Object::Instance(Instance {
                    node: "n1".into(),
                    id: "consul".into(),
                    service: "consul".into(),
                    port: 8300,
                    ..Instance::default()
                }),
                Object::Instance(web2()),
                Object::Instance(web3()),
                Object::Check(web2_check()),
            ],
        );
        world.put_at(
            31,
            [
                Object::Instance(Instance {
                    node: "n1".into(),
                    id: "db/1".into(),
                    service: "db".into(),
                    port: 5432,
                    origin: Origin::Agent,
                    ..Instance::default()
                }),
                Object::Check(Check {
                    name: "db heartbeat".into(),
                    service_id: "db/1".into(),
                    kind: "ttl".into(),
                    origin: Origin::Agent,
                    status: CheckStatus::Warning,
                    output: "<slow> & \"tired\"".into(),
                    definition: Some(Arc::new(CheckDefinition {
                        ttl: Duration::from_secs(15),
                        ..CheckDefinition::default()
                    })),
                    ..on_n1("db-ttl")
                }),
                Object::Check(Check {
                    name: "memory".into(),
                    kind: "script".into(),
                    origin: Origin::Agent,
                    status: CheckStatus::Passing,
                    definition: Some(Arc::new(CheckDefinition {
                        args: vec!["/bin/check_mem".into()],
                        interval: Duration::from_secs(30),
                        ..CheckDefinition::default()
                    })),
                    ..on_n1("mem")
                }),
            ],
        );
        world.live_checks.insert(
            "service:web1".into(),
            LiveCheck { status: CheckStatus::Passing, output: "200 OK, fresher".into() },
        );
        world
    }

    pub(crate) fn put_at(&mut self, revision: u64, objects: impl IntoIterator<Item = Object>) {
        let operations = objects.into_iter().map(|object| object.put()).collect();
        self.apply(revision, operations);
    }

    pub(crate) fn apply(&mut self, revision: u64, operations: Vec<Operation>) {
        let revision = Revision(revision);
        let change = self.catalog.change_of(revision, &operations);
        let (_, errors) = self.catalog.apply(&change);
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!(self.catalog.check_invariants(), Ok(()));
    }

    pub(crate) fn context(&self) -> Context<'_> {
        let Self { catalog, agent, live_checks, acl } = self;
        let fresh_id = || "0f3a0000-0000-4000-8000-000000000001".to_owned();
        let now = Timestamp(1_767_225_600_000);
        Context { catalog, agent, live_checks, acl, now, fresh_id }
    }

    pub(crate) fn step(&self, request: &Request<Bytes>, timed_out: bool) -> Step {
        api::handle(request, &self.context(), timed_out)
    }

    /// The reply to a request that neither waits nor writes.
    pub(crate) fn get(&self, path: &str) -> Response<Bytes> {
        match self.step(&request("GET", path, ""), false) {
            Step::Reply(response) => response,
            Step::Wait { .. } => panic!("GET {path} waits"),
            Step::Leaf(_) => panic!("{path} wants a certificate"),
            Step::AgentToken(..) => unreachable!("access control is off"),
            Step::Write(command, _) => panic!("GET {path} writes {command:?}"),
        }
    }

    pub(crate) fn body(&self, path: &str) -> String {
        String::from_utf8(self.get(path).into_body().to_vec()).unwrap()
    }

    /// What the shell does with a write, on one machine without other writers.
    pub(crate) fn put(&mut self, path: &str, body: &str) -> (u16, String) {
        self.send("PUT", path, body)
    }

    /// As [`World::put`] with another method.
    pub(crate) fn send(&mut self, method: &str, path: &str, body: &str) -> (u16, String) {
        let response = match self.step(&request(method, path, body), false) {
            Step::Reply(response) => response,
            Step::Wait { .. } => panic!("{method} {path} waits"),
            Step::Leaf(_) => panic!("{path} wants a certificate"),
            Step::AgentToken(..) => unreachable!("access control is off"),
            Step::Write(command, reply) => {
                let outcome = self.run(&command);
                reply(outcome, &self.context())
            }
        };
        let text = String::from_utf8(response.body().to_vec()).unwrap();
        (response.status().as_u16(), text)
    }

    pub(crate) fn run(&mut self, command: &Command) -> api::WriteOutcome {
        match decide(&self.catalog, command, Timestamp(1000)) {
            Err(rejection) => api::WriteOutcome::Rejected(rejection),
            Ok(Decision { txn, read }) => {
                if !txn.is_noop() {
                    self.apply(self.catalog.revision().0 + 1, txn.operations);
                }
                api::WriteOutcome::Done(self.catalog.revision(), read)
            }
        }
    }
}

pub(crate) fn request(method: &str, path: &str, body: &str) -> Request<Bytes> {
    Request::builder()
        .method(method)
        .uri(path)
        .body(Bytes::copy_from_slice(body.as_bytes()))
        .unwrap()
}

pub(crate) fn texts(pairs: &[(&str, &str)]) -> FlatMap<String> {
    pairs.iter().map(|(key, value)| (*key, (*value).to_owned())).collect()
}

fn n1() -> Node {
    Node {
        id: NODE_ID.into(),
        name: "n1".into(),
        address: "127.0.0.2".into(),
        tagged_addresses: Some(texts(&[
            ("lan", "127.0.0.1"),
            ("lan_ipv4", "127.0.0.1"),
            ("wan", "127.0.0.1"),
            ("wan_ipv4", "127.0.0.1"),
        ])),
        meta: Some(texts(&[("consul-network-segment", ""), ("consul-version", "1.21.4")])),
        locality: None,
    }
}

fn serf_health() -> Check {
    Check {
        node: "n1".into(),
        id: "serfHealth".into(),
        name: "Serf Health Status".into(),
        status: CheckStatus::Passing,
        output: "Agent alive and reachable".into(),
        ..Check::default()
    }
}

fn ext() -> Node {
    Node { name: "ext".into(), address: "10.1.1.1".into(), ..Node::default() }
}

fn web1() -> Instance {
    let address = ServiceAddress { address: "10.0.0.5".into(), port: 80 };
    Instance {
        node: "n1".into(),
        id: "web1".into(),
        service: "web".into(),
        tags: vec!["primary".into()],
        address: "10.0.0.5".into(),
        tagged_addresses: [("lan_ipv4", address.clone()), ("wan_ipv4", address)]
            .into_iter()
            .collect(),
        meta: Some(FlatMap::default()),
        port: 80,
        origin: Origin::Agent,
        ..Instance::default()
    }
}

fn web1_check() -> Check {
    Check {
        node: "n1".into(),
        id: "service:web1".into(),
        name: "Service 'web' check".into(),
        status: CheckStatus::Passing,
        output: "HTTP GET http://10.0.0.5/health: 200 OK Output: ok".into(),
        service_id: "web1".into(),
        kind: "http".into(),
        origin: Origin::Agent,
        definition: Some(Arc::new(CheckDefinition {
            http: "http://10.0.0.5/health".into(),
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(1),
            ..CheckDefinition::default()
        })),
        ..Check::default()
    }
}

/// Everything that an instance can say of itself.
fn web2() -> Instance {
    Instance {
        node: "ext".into(),
        id: "web2".into(),
        service: "web".into(),
        tags: vec!["v1".into(), "Primary".into(), "a<b".into()],
        meta: Some(texts(&[("version", "2"), ("team", "R&D")])),
        port: 8080,
        socket_path: "/run/web".into(),
        weights: Weights { passing: 10, warning: 0 },
        enable_tag_override: true,
        connect_native: true,
        locality: Some(Locality { region: "eu-west-1".into(), zone: String::new() }),
        ..Instance::default()
    }
}

/// Nothing but what an instance must have.
fn web3() -> Instance {
    Instance { node: "ext".into(), id: "web3".into(), service: "web".into(), ..Instance::default() }
}

/// Everything that the catalog's definition of a check can hold.
fn web2_check() -> Check {
    let definition = CheckDefinition {
        http: "http://10.1.1.1/?a=1&b=2".into(),
        header: [
            ("Host", vec!["web".to_owned()]),
            ("Accept", vec!["a".to_owned(), "b".to_owned()]),
        ]
        .into_iter()
        .collect(),
        method: "POST".into(),
        body: "{}".into(),
        disable_redirects: true,
        tls_server_name: "web.example.com".into(),
        tls_skip_verify: true,
        interval: Duration::from_secs(90),
        timeout: Duration::from_millis(1500),
        ttl: Duration::from_secs(30),
        deregister_critical_service_after: Duration::from_secs(3600),
        output_bytes_max: 100,
        ..CheckDefinition::default()
    };
    Check {
        node: "ext".into(),
        id: "web2-http".into(),
        name: "web over HTTP".into(),
        status: CheckStatus::Critical,
        notes: "from outside".into(),
        service_id: "web2".into(),
        kind: "http".into(),
        definition: Some(Arc::new(definition)),
        ..Check::default()
    }
}
