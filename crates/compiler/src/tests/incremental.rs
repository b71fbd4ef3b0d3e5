//! What stays, stays: step by step is the same as at once, and an unchanged resource is the same `Arc`.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    PutInstance { id: u8, service: u8, port: u8, labels: u8 },
    DropInstance(u8),
    PutCheck { id: u8, instance: u8, status: CheckStatus },
    DropCheck(u8),
    PutService { name: u8, selector: u8, target: u8 },
    DropDocument { kind: u8, name: u8 },
    PutIngress { name: u8, host: u8, backend: u8, tls: u8 },
    PutSecret(u8),
    PutWorkload { name: u8, service: u8 },
    MoveNode(u8),
    PutEntry(u8),
    DropEntry(u8),
    PutSplit { service: u8, shares: u8 },
    DropSplit(u8),
    Compile,
}

/// Entries that speak of the same services, some of which make no chain without others.
fn config_entries() -> Vec<Value> {
    let splits = |service: &str| {
        json!([
            {"Weight": 60, "ServiceSubset": "v1"}, {"Weight": 40, "Service": service},
        ])
    };
    vec![
        json!({"Kind": "proxy-defaults", "Name": "global", "Config": {"protocol": "http"}}),
        json!({"Kind": "service-defaults", "Name": "s1", "LocalConnectTimeoutMs": 7}),
        json!({
            "Kind": "service-defaults", "Name": "s0", "Protocol": "http",
            "UpstreamConfig": {"Overrides": [{"Name": "s2", "Limits": {"MaxConnections": 1}}]},
        }),
        super::entries::versions("s0"),
        super::entries::versions("s1"),
        json!({
            "Kind": "service-resolver", "Name": "s2", "Failover": {"*": {"Service": "s1"}},
        }),
        json!({"Kind": "service-resolver", "Name": "gone", "Redirect": {"Service": "s2"}}),
        json!({"Kind": "service-splitter", "Name": "s0", "Splits": splits("s2")}),
        json!({"Kind": "service-splitter", "Name": "s1", "Splits": splits("s0")}),
        json!({
            "Kind": "service-router", "Name": "s0",
            "Routes": [{"Match": {"HTTP": {"PathPrefix": "/a"}}, "Destination": {"Service": "s1"}}],
        }),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let status = prop::sample::select(vec![
        CheckStatus::Passing,
        CheckStatus::Warning,
        CheckStatus::Critical,
    ]);
    let step = prop_oneof![
        6 => (0..6u8, 0..4u8, 0..3u8, 0..4u8)
            .prop_map(|(id, service, port, labels)| Step::PutInstance { id, service, port, labels }),
        2 => (0..6u8).prop_map(Step::DropInstance),
        3 => (0..3u8, 0..7u8, status)
            .prop_map(|(id, instance, status)| Step::PutCheck { id, instance, status }),
        1 => (0..3u8).prop_map(Step::DropCheck),
        4 => (0..4u8, 0..5u8, 0..4u8)
            .prop_map(|(name, selector, target)| Step::PutService { name, selector, target }),
        2 => (0..4u8, 0..4u8).prop_map(|(kind, name)| Step::DropDocument { kind, name }),
        3 => (0..3u8, 0..3u8, 0..5u8, 0..3u8)
            .prop_map(|(name, host, backend, tls)| Step::PutIngress { name, host, backend, tls }),
        1 => (0..2u8).prop_map(Step::PutSecret),
        1 => (0..2u8).prop_map(Step::MoveNode),
        4 => (0..10u8).prop_map(Step::PutEntry),
        2 => (0..10u8).prop_map(Step::DropEntry),
        4 => (0..4u8, 0..4u8).prop_map(|(service, shares)| Step::PutSplit { service, shares }),
        2 => (0..4u8).prop_map(Step::DropSplit),
        4 => (0..3u8, 0..4u8).prop_map(|(name, service)| Step::PutWorkload { name, service }),
        6 => Just(Step::Compile),
    ];
    prop::collection::vec(step, 1..60)
}

fn run(world: &mut World, step: &Step) {
    let node_name = || Folded::new("n1");
    match step {
        Step::PutInstance { id, service, port, labels } => {
            // An instance that changes its service is one of the cases.
            let mut it =
                instance(&id.to_string(), &format!("S{service}"), [0, 80, 90][usize::from(*port)]);
            it.meta = match labels {
                0 => None,
                1 => meta(&[("version", "1")]),
                2 => meta(&[("version", "2"), ("tier", "a")]),
                _ => meta(&[("app", "S1"), ("tier", "a")]),
            };
            world.put(Object::Instance(it));
        }
        Step::DropInstance(id) => {
            let owned: Vec<_> = world
                .catalog
                .checks_of_instance(&node_name(), &id.to_string().into())
                .map(|it| it.id.clone())
                .collect();
            for check in owned {
                world.delete(&ObjectKey::Check(node_name(), check));
            }
            world.delete(&ObjectKey::Instance(node_name(), id.to_string().into()));
        }
        Step::PutCheck { id, instance, status } => {
            let owner = if *instance == 6 { String::new() } else { instance.to_string() };
            if owner.is_empty()
                || world.catalog.instance(&node_name(), &owner.as_str().into()).is_some()
            {
                world.put(check(&id.to_string(), &owner, *status));
            }
        }
        Step::DropCheck(id) => {
            world.delete(&ObjectKey::Check(node_name(), id.to_string().into()));
        }
        Step::PutService { name, selector, target } => {
            let selector: &[(&str, &str)] = match selector {
                0 => &[("app", "S0")],
                1 => &[("app", "S1"), ("version", "1")],
                2 => &[("version", "2")],
                3 => &[("tier", "a")],
                _ => &[],
            };
            let target = match target {
                0 => PortRef::default(),
                1 => PortRef::Number(80),
                2 => PortRef::Number(1),
                _ => PortRef::Name("web".into()),
            };
            world.put(service(&format!("s{name}"), selector, vec![port(80, target)]));
        }
        Step::DropDocument { kind, name } => {
            let (kind, group, name) = match kind {
                0 => ("Service", "", format!("s{name}")),
                1 => ("Ingress", "networking.k8s.io", format!("i{name}")),
                2 => ("Secret", "", format!("c{name}")),
                _ => ("Workload", "", format!("w{name}")),
            };
            let (group, kind, namespace) = (group.into(), kind.into(), "default".into());
            world.delete(&ObjectKey::Document(DocumentKey { group, kind, namespace, name }));
        }
        Step::PutIngress { name, host, backend, tls } => {
            let host = ["", "a.example.com", "*.example.com"][usize::from(*host)];
            let backend = format!("s{backend}");
            let secret = format!("c{tls}");
            let spec = IngressSpec {
                rules: vec![rule(host, &[("/", PathKind::Prefix, &backend)])],
                default_backend: (*tls == 1).then(|| super::backend(&backend, 80)),
                tls: vec![IngressTls { hosts: Vec::new(), secret }],
                ..IngressSpec::default()
            };
            world.put(ingress(&format!("i{name}"), spec));
        }
        Step::PutSecret(name) => {
            let data = ["tls.crt", "tls.key"].map(|it| (it.to_owned(), it.to_owned()));
            let spec = SecretSpec { kind: String::new(), data: data.into() };
            world.put(document("Secret", "default", &format!("c{name}"), Spec::Secret(spec)));
        }
        Step::PutWorkload { name, service } => {
            let spec = super::workload(&format!("s{service}"));
            world.put(document("Workload", "default", &format!("w{name}"), spec));
        }
        Step::MoveNode(address) => {
            let address = format!("10.0.0.{address}");
            world.put(Object::Node(Node { name: "n1".into(), address, ..Node::default() }));
        }
        Step::PutEntry(which) => {
            world.put(super::entries::entry(&config_entries()[usize::from(*which)]));
        }
        Step::DropEntry(which) => {
            let entry = super::entries::entry(&config_entries()[usize::from(*which)]);
            world.delete(&entry.key());
        }
        Step::PutSplit { service, shares } => {
            let shares: &[(&str, u32)] = match shares {
                0 => &[("1", 100)],
                1 => &[("1", 80), ("2", 20)],
                2 => &[("", 50), ("2", 50)],
                _ => &[("3", 100)],
            };
            world.put(super::split::split(&format!("S{service}"), shares));
        }
        Step::DropSplit(service) => {
            world.delete(&super::split::split(&format!("S{service}"), &[]).key());
        }
        Step::Compile => {}
    }
}

proptest! {
    #[test]
    fn compiling_step_by_step_is_compiling_at_once(steps in steps()) {
        let mut world = World::new();
        world.put(node("n1"));
        for step in steps.iter().chain([&Step::Compile]) {
            run(&mut world, step);
            if matches!(step, Step::Compile) {
                let at_once = Compiler::new(settings()).compile(&world.catalog);
                let by_step = world.compile();
                prop_assert_eq!(&by_step.config, &at_once.config);
                prop_assert_eq!(&by_step.diagnostics, &at_once.diagnostics);
            }
        }
    }
}

#[test]
fn an_unchanged_resource_is_the_same_arc() {
    let mut world = World::with([node("n1")]);
    for name in ["a", "b"] {
        world.put(Object::Instance(instance(name, name, 80)));
        world.put(service(name, &[("app", name)], vec![port(80, PortRef::default())]));
    }
    let before = world.compile().config;
    world.put(check("1", "a", CheckStatus::Critical));
    let after = world.compile().config;
    assert!(!Arc::ptr_eq(&before.endpoints["a"], &after.endpoints["a"]));
    assert!(!Arc::ptr_eq(&before.endpoints["a.default:80"], &after.endpoints["a.default:80"]));
    for name in ["b", "b.default:80"] {
        assert!(Arc::ptr_eq(&before.endpoints[name], &after.endpoints[name]));
    }
    for (name, cluster) in &before.clusters {
        assert!(Arc::ptr_eq(cluster, &after.clusters[name]));
    }
    for (name, table) in &before.route_tables {
        assert!(Arc::ptr_eq(table, &after.route_tables[name]));
    }
    for (name, listener) in &before.listeners {
        assert!(Arc::ptr_eq(listener, &after.listeners[name]));
    }
}

#[test]
fn the_same_revision_gives_the_same_arc_and_an_earlier_one_is_compiled_anew() {
    let mut world = World::with([node("n1"), Object::Instance(instance("a", "a", 80))]);
    let early = world.catalog.clone();
    world.put(Object::Instance(instance("b", "b", 80)));
    let late = world.compile();
    assert!(Arc::ptr_eq(&late.config, &world.compile().config));
    let again = world.compiler.compile(&early);
    assert_eq!(again, Compiler::new(settings()).compile(&early));
}
