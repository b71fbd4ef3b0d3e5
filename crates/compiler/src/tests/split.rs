//! How requests are divided between versions, in every cluster that the instances are in.

use std::fmt::Write as _;
use std::sync::Arc;

use model::{Record, TrafficSplit};
use proxy_config::Endpoints;

use super::*;

pub(super) fn split(service: &str, shares: &[(&str, u32)]) -> Object {
    let (group, kind) = ("leno.dev".into(), "Rollout".into());
    let rollout =
        DocumentKey { group, kind, namespace: "default".into(), name: service.to_lowercase() };
    Object::Record(Record::TrafficSplit(TrafficSplit {
        service: service.into(),
        rollout,
        version_label: "version".into(),
        shares: shares.iter().map(|(version, share)| ((*version).to_owned(), *share)).collect(),
    }))
}

fn versioned(id: &str, service: &str, version: &str) -> Object {
    let mut it = instance(id, service, 80);
    if !version.is_empty() {
        it.meta = meta(&[("version", version)]);
    }
    Object::Instance(it)
}

fn render(title: &str, endpoints: &Endpoints) -> String {
    let mut text = format!("# {title}: {}\n", endpoints.cluster);
    for it in &endpoints.endpoints {
        let place = endpoints.localities.get(usize::from(it.locality)).map_or_else(
            || "undivided".to_owned(),
            |it| {
                let cause = it
                    .source
                    .as_ref()
                    .map_or_else(String::new, |it| format!(" by {} @ {}", it.object, it.revision));
                format!("{:?} p{} weight {:?}{cause}", it.place.sub_zone, it.priority, it.weight)
            },
        );
        writeln!(text, "{} {:?}: {place}", it.id, it.health).unwrap();
    }
    text
}

#[test]
fn requests_are_divided_by_version_in_every_cluster() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let mut world = World::with([node("n1")]);
    for (id, version) in [("a", "v1"), ("b", "v1"), ("c", "v1"), ("d", "v2"), ("e", "")] {
        world.put(versioned(id, "Web", version));
    }
    let mut tagged = instance("f", "web", 80);
    tagged.tags = vec!["primary".into(), "v2".into()];
    world.put(Object::Instance(tagged));
    world.put(versioned("g", "db", ""));
    world.put(service("web", &[("app", "Web")], vec![port(80, PortRef::default())]));
    let failover = json!({"*": {"Service": "db"}});
    let resolver = json!({"Kind": "service-resolver", "Name": "web", "Failover": failover});
    world.put(super::entries::entry(&resolver));
    let mut text = String::new();
    let mut step = |title: &str, world: &mut World| {
        let config = world.compile().config;
        for cluster in ["web", "web.default:80"] {
            text.push_str(&render(title, &config.endpoints[cluster]));
        }
    };
    step("without a split", &mut world);
    world.put(split("Web", &[("v1", 80), ("v2", 20)]));
    step("a fifth to v2", &mut world);
    world.put(check("1", "d", CheckStatus::Critical));
    world.put(check("2", "f", CheckStatus::Critical));
    step("no instance of v2 is usable", &mut world);
    world.put(split("Web", &[("v2", 100)]));
    step("all to v2, of which none is usable", &mut world);
    world.put(check("2", "f", CheckStatus::Passing));
    step("all to v2", &mut world);
    world.put(split("Web", &[("", 60), ("v1", 40)]));
    step("instances without a version have a share", &mut world);
    world.delete(&split("web", &[]).key());
    step("the split is gone", &mut world);
    let golden = folder.join("split.golden");
    #[allow(clippy::disallowed_methods)] // Golden file.
    {
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&golden, &text).unwrap();
        }
        assert_eq!(text, std::fs::read_to_string(&golden).unwrap_or_default());
    }
}

#[test]
fn beside_others_a_service_keeps_its_part_of_a_selection() {
    let mut world = World::with([node("n1")]);
    for (id, version) in [("a", "v1"), ("b", "v1"), ("c", "v2"), ("x", "v3")] {
        world.put(versioned(id, "web", version));
    }
    for id in ["d", "e"] {
        world.put(versioned(id, "other", ""));
    }
    for id in ["a", "b", "c", "d", "e", "x"] {
        let mut it = world.catalog.instance(&Folded::new("n1"), &id.into()).unwrap().value.clone();
        let version = it.version("version", |_| false).to_owned();
        it.meta = meta(&[("version", &version), ("tier", "front")]);
        world.put(Object::Instance(it));
    }
    world.put(service("front", &[("tier", "front")], vec![port(80, PortRef::default())]));
    world.put(split("web", &[("v1", 75), ("v2", 25)]));
    let config = world.compile().config;
    let endpoints = &config.endpoints["front.default:80"];
    let weights: Vec<_> = endpoints.localities.iter().map(|it| it.weight).collect();
    // Three of five that serve are of the divided service, and three quarters of these requests are v1's.
    assert_eq!(weights, [Some(225), Some(75), Some(200), None]);
    let last = endpoints.endpoints.iter().find(|it| it.id == "n1/x").unwrap();
    assert_eq!(last.health, EndpointHealth::Draining);
}

#[test]
fn copies_of_a_workload_have_the_shares_that_their_weights_say() {
    let copy = |id: &str, version: &str, weight: u16| {
        let mut it = instance(id, "web", 80);
        let copy = format!("{}-{id}", version.trim_start_matches('v'));
        it.meta =
            meta(&[("leno-workload", "default/web"), ("leno-copy", &copy), ("version", version)]);
        it.weights.passing = weight;
        Object::Instance(it)
    };
    let mut world = World::with([node("n1"), copy("a", "v1", 9000), copy("b", "v1", 9000)]);
    let weights = |world: &mut World| -> Vec<_> {
        let config = world.compile().config;
        let localities = &config.endpoints["web"].localities;
        localities.iter().map(|it| (it.place.sub_zone.clone(), it.weight)).collect()
    };
    assert_eq!(weights(&mut world), []);
    world.put(copy("c", "v2", 2000));
    let named = |version: &str, weight| (version.to_owned(), Some(weight));
    assert_eq!(weights(&mut world), [named("v1", 270), named("v2", 30)]);
    // Whom somebody else has registered weighs as much as a copy does on the mean.
    world.put(Object::Instance(instance("d", "web", 80)));
    assert_eq!(weights(&mut world), [named("v1", 270), named("v2", 30), named("", 100)]);
    world.put(check("1", "b", CheckStatus::Critical));
    assert_eq!(weights(&mut world)[..2], [named("v1", 163), named("v2", 36)]);
    // While the weights are written one by one no copy is alone with its release's requests.
    world.put(check("1", "b", CheckStatus::Passing));
    world.put(copy("a", "v1", 5000));
    assert_eq!(weights(&mut world)[..2], [named("v1", 262), named("v2", 37)]);
    world.put(copy("b", "v1", 2000));
    world.put(copy("a", "v1", 2000));
    assert_eq!(weights(&mut world), [], "equal weights divide nothing");
}

#[test]
fn a_changed_split_makes_the_endpoints_of_its_service_anew_and_nothing_else() {
    let mut world = World::with([node("n1")]);
    for name in ["a", "b"] {
        world.put(versioned(&format!("{name}1"), name, "v1"));
        world.put(versioned(&format!("{name}2"), name, "v2"));
        world.put(service(name, &[("app", name)], vec![port(80, PortRef::default())]));
    }
    let mut before = world.compile().config;
    for shares in [&[("v1", 100)][..], &[("v1", 50), ("v2", 50)], &[("v2", 100)]] {
        world.put(split("A", shares));
        let after = world.compile().config;
        for name in ["a", "a.default:80"] {
            assert!(!Arc::ptr_eq(&before.endpoints[name], &after.endpoints[name]));
        }
        for name in ["b", "b.default:80"] {
            assert!(Arc::ptr_eq(&before.endpoints[name], &after.endpoints[name]));
        }
        for (name, cluster) in &before.clusters {
            assert!(Arc::ptr_eq(cluster, &after.clusters[name]));
        }
        for (name, table) in &before.route_tables {
            assert!(Arc::ptr_eq(table, &after.route_tables[name]));
        }
        before = after;
    }
}
