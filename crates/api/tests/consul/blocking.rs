//! When a read waits, on what, for how long, and what it says when nothing came.

use std::time::Duration;

use api::Step;
use model::{Folded, Object, Table, WatchKey};

use crate::fixture::{World, request};

/// The keys that `path` waits for, with its timeout; `None` when it replies.
fn wait(world: &World, path: &str) -> Option<(Vec<WatchKey>, Duration)> {
    match world.step(&request("GET", path, ""), false) {
        Step::Reply(_) => None,
        Step::Wait { keys, timeout, jitter_max } => {
            assert_eq!(jitter_max, timeout / 16);
            Some((keys, timeout))
        }
        Step::Write(command, _) => panic!("a read writes {command:?}"),
        Step::Leaf(_) => panic!("{path} wants a certificate"),
        Step::AgentToken(..) => unreachable!("access control is off"),
    }
}

fn index(world: &World, path: &str) -> u64 {
    world.get(path).headers()["x-consul-index"].to_str().unwrap().parse().unwrap()
}

#[test]
fn each_read_waits_for_what_its_index_is_made_of() {
    let world = World::full();
    let service = |name: &str| WatchKey::Service(Folded::new(name));
    let node = |name: &str| WatchKey::Node(Folded::new(name));
    for (path, expected_index, key) in [
        ("/v1/catalog/nodes?", 31, WatchKey::Nodes),
        ("/v1/catalog/services?", 31, WatchKey::Services),
        ("/v1/catalog/services?node-meta=a:b", 31, WatchKey::Nodes),
        ("/v1/catalog/service/web?", 31, service("web")),
        ("/v1/catalog/service/WEB?", 31, service("web")),
        ("/v1/catalog/service/db?", 31, service("db")),
        ("/v1/catalog/service/unknown?", 31, service("unknown")),
        ("/v1/catalog/service/web?tag=none", 31, service("web")),
        ("/v1/catalog/node/n1?", 31, node("n1")),
        ("/v1/catalog/node/EXT?", 30, node("ext")),
        ("/v1/catalog/node/8c7f?", 31, node("n1")),
        ("/v1/catalog/node/unknown?", 31, node("unknown")),
        ("/v1/catalog/node-services/ext?", 30, node("ext")),
        ("/v1/health/node/ext?", 31, WatchKey::Checks),
        ("/v1/health/checks/web?", 31, WatchKey::Checks),
        ("/v1/health/state/any?", 31, WatchKey::Checks),
        ("/v1/health/service/web?", 31, service("web")),
        ("/v1/health/service/web?passing", 31, service("web")),
    ] {
        assert_eq!(index(&world, path), expected_index, "{path}");
        let same = format!("{path}&index={expected_index}&wait=1m");
        assert_eq!(wait(&world, &same), Some((vec![key], Duration::from_secs(60))), "{path}");
        let older = format!("{path}&index={}", expected_index - 1);
        assert_eq!(wait(&world, &older), None, "{path}");
    }
}

#[test]
fn reads_of_the_mesh_wait_for_entries_too() {
    let world = World::full();
    let entries = WatchKey::Table(Table::ConfigEntry);
    let web = || WatchKey::Service(Folded::new("web"));
    let mesh = || vec![web(), WatchKey::Mesh(Folded::new("web")), entries.clone()];
    for (path, keys) in [
        ("/v1/catalog/connect/web?", mesh()),
        ("/v1/health/connect/web?", mesh()),
        ("/v1/health/ingress/web?", vec![web(), entries.clone()]),
        ("/v1/catalog/gateway-services/gw?", vec![WatchKey::Services, entries.clone()]),
    ] {
        assert_eq!(index(&world, path), 31, "{path}");
        let same = format!("{path}&index=31&wait=1m");
        assert_eq!(wait(&world, &same), Some((keys, Duration::from_secs(60))), "{path}");
    }
}

#[test]
fn services_by_state_wait_for_instances_and_checks() {
    let world = World::full();
    let path = "/leno/v1/services?index=31&wait=1m";
    let keys = vec![WatchKey::Nodes, WatchKey::Checks];
    assert_eq!(index(&world, "/leno/v1/services"), 31);
    assert_eq!(wait(&world, path), Some((keys, Duration::from_secs(60))));
    let path = "/leno/v1/services/d%62?index=31&wait=1m";
    let keys = vec![WatchKey::Service(Folded::new("db"))];
    assert_eq!(wait(&world, path), Some((keys, Duration::from_secs(60))));
}

#[test]
fn a_service_is_shown_by_its_merged_verdicts() {
    let mut world = World::full();
    let maintain = "/v1/agent/service/maintenance/web1?enable=true&reason=disk";
    assert_eq!(world.put(maintain, "").0, 200);
    let list = world.body("/leno/v1/services");
    let row = r#"{"Name":"web","Instances":3,"Passing":1,"Warning":0,"Critical":1,"Maintenance":1,"Tags":["Primary","a\u003cb","primary","v1"]}"#;
    assert!(list.contains(row), "{list}");
    let one = world.body("/leno/v1/services/web");
    let row = r#""State":"maintenance","Weight":0,"Tags":["primary"],"Since":1000,"Reasons":[{"Check":"_service_maintenance:web1","State":"maintenance","Text":"disk","SinceMs":1000,"OfNode":false}]}"#;
    assert!(one.contains(row), "{one}");
}

#[test]
fn wait_without_index_replies_at_once() {
    let world = World::full();
    assert_eq!(wait(&world, "/v1/catalog/nodes?wait=10s"), None);
    assert_eq!(wait(&world, "/v1/catalog/nodes?index=0&wait=10s"), None);
}

#[test]
fn client_that_is_ahead_waits() {
    let expected = Some((vec![WatchKey::Nodes], Duration::from_secs(300)));
    assert_eq!(wait(&World::full(), "/v1/catalog/nodes?index=1000"), expected);
}

#[test]
fn change_of_something_else_does_not_wake() {
    let mut world = World::full();
    let seen = index(&world, "/v1/health/service/web");
    let path = format!("/v1/health/service/web?index={seen}");
    let node =
        model::Node { name: "other".into(), address: "10.9.9.9".into(), ..Default::default() };
    world.put_at(40, [Object::Node(node)]);
    assert!(wait(&world, &path).is_some());
    let mut instance =
        world.catalog.instance(&Folded::new("ext"), &"web3".into()).unwrap().value.clone();
    instance.port = 1;
    world.put_at(41, [Object::Instance(instance)]);
    assert_eq!(wait(&world, &path), None);
    assert_eq!(index(&world, "/v1/health/service/web"), 41);
}

#[test]
fn timed_out_read_shows_what_is_there_with_its_index() {
    let world = World::full();
    let request = request("GET", "/v1/catalog/service/web?index=1000", "");
    let Step::Reply(response) = world.step(&request, true) else { panic!("it goes on waiting") };
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["x-consul-index"], "31");
    assert_eq!(response.body(), world.body("/v1/catalog/service/web").as_bytes());
}

#[test]
fn index_is_never_zero() {
    assert_eq!(index(&World::empty(), "/v1/catalog/nodes"), 1);
}

#[test]
fn bad_filter_is_told_before_any_wait() {
    let world = World::full();
    let response = world.get("/v1/catalog/nodes?index=1000&filter=Nope==1");
    assert_eq!(response.status(), 500);
}

#[test]
fn agent_service_waits_on_its_hash() {
    let mut world = World::full();
    let response = world.get("/v1/agent/service/web1?index=1000");
    let hash = response.headers()["x-consul-contenthash"].to_str().unwrap();
    let path = format!("/v1/agent/service/web1?hash={hash}&wait=5s");
    let key = WatchKey::Instance(Folded::new("n1"), "web1".into());
    assert_eq!(wait(&world, &path), Some((vec![key], Duration::from_secs(5))));
    assert_eq!(wait(&world, "/v1/agent/service/web1?hash=other"), None);
    let Step::Reply(same) = world.step(&request("GET", &path, ""), true) else {
        panic!("it waits")
    };
    assert_eq!(same.headers()["x-consul-contenthash"], hash);

    let mut instance =
        world.catalog.instance(&Folded::new("n1"), &"web1".into()).unwrap().value.clone();
    instance.port = 81;
    world.put_at(40, [Object::Instance(instance)]);
    assert_eq!(wait(&world, &path), None);
}
