//! Transactions about nodes, services and checks: all or none, each sees what those before it did.

use serde_json::{Value, json};

use crate::exchange::Told;
use crate::fixture::World;

fn txn(world: &mut World, operations: Value) -> Told {
    world.exchange("PUT", "/v1/txn", &operations.to_string())
}

/// Why each operation that cannot be done cannot; nothing was changed.
fn refused(world: &mut World, operations: Value) -> Vec<(u64, String)> {
    let before = world.catalog.revision();
    let told = txn(world, operations);
    assert_eq!(told.status, 409, "{told:?}");
    assert_eq!(world.catalog.revision(), before);
    let errors = told.json()["Errors"].as_array().unwrap().clone();
    assert!(told.json()["Results"].is_null());
    let of =
        |it: &Value| (it["OpIndex"].as_u64().unwrap(), it["What"].as_str().unwrap().to_owned());
    errors.iter().map(of).collect()
}

fn results(world: &mut World, operations: Value) -> Vec<Value> {
    let told = txn(world, operations);
    assert_eq!(told.status, 200, "{told:?}");
    let answer = told.json();
    assert!(answer["Errors"].is_null());
    answer["Results"].as_array().unwrap().clone()
}

fn node(verb: &str, fields: Value) -> Value {
    json!({"Node": {"Verb": verb, "Node": fields}})
}

fn service(verb: &str, on: &str, fields: Value) -> Value {
    json!({"Service": {"Verb": verb, "Node": on, "Service": fields}})
}

fn check(verb: &str, fields: Value) -> Value {
    json!({"Check": {"Verb": verb, "Check": fields}})
}

#[test]
fn a_node_with_a_service_and_a_check_is_made_and_removed_at_once() {
    let mut world = World::full();
    let made = results(
        &mut world,
        json!([
            node("set", json!({"Node": "e9", "Address": "10.0.0.9"})),
            service("set", "e9", json!({"ID": "m1", "Service": "mail", "Port": 25})),
            check(
                "set",
                json!({"Node": "e9", "CheckID": "c1", "Name": "c", "ServiceID": "m1", "Status": "passing"})
            ),
            service("get", "E9", json!({"ID": "m1"})),
        ]),
    );
    let revision = world.catalog.revision().0;
    assert_eq!(made.len(), 4);
    for (at, kind) in [(0, "Node"), (1, "Service"), (2, "Check"), (3, "Service")] {
        assert_eq!(made[at][kind]["ModifyIndex"], revision, "{made:?}");
        assert_eq!(made[at][kind]["CreateIndex"], revision, "{made:?}");
    }
    assert_eq!(
        (&made[1]["Service"]["Tags"], &made[1]["Service"]["Meta"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(
        (&made[2]["Check"]["ServiceName"], &made[3]["Service"]["Port"]),
        (&"mail".into(), &25.into())
    );
    let health = world.read("/v1/health/service/mail?passing");
    assert_eq!(health[0]["Checks"][0]["CheckID"], "c1");

    let gone = results(&mut world, json!([node("delete", json!({"Node": "e9"}))]));
    assert!(gone.is_empty());
    assert_eq!(world.read("/v1/health/service/mail"), json!([]));
    assert!(
        results(&mut world, json!([node("delete", json!({"Node": "e9"}))])).is_empty(),
        "no error"
    );
}

#[test]
fn all_operations_that_cannot_be_done_are_named() {
    let mut world = World::full();
    let told = refused(
        &mut world,
        json!([
            node("get", json!({"Node": "nope"})),
            node("set", json!({"Node": "e9", "Address": "10.0.0.9"})),
            service("get", "n1", json!({"ID": "nope"})),
            check("get", json!({"Node": "n1", "CheckID": "nope"})),
            node("cas", json!({"Node": "ext", "Address": "a", "ModifyIndex": 7})),
            node("delete-cas", json!({"Node": "ext", "ModifyIndex": 7})),
            service("cas", "n1", json!({"ID": "web1", "Service": "web", "ModifyIndex": 7})),
            service("delete-cas", "n1", json!({"ID": "web1", "ModifyIndex": 7})),
            check("cas", json!({"Node": "n1", "CheckID": "mem", "ModifyIndex": 7})),
            check("delete-cas", json!({"Node": "n1", "CheckID": "mem", "ModifyIndex": 7})),
            service("set", "nope", json!({"ID": "a", "Service": "a"})),
            check("set", json!({"Node": "nope", "CheckID": "a"})),
            check("set", json!({"Node": "n1", "CheckID": "a", "ServiceID": "nope"})),
            service("get", "n1", json!({"ID": "web1"})),
        ]),
    );
    let expected = [
        (0, "node \"nope\" doesn't exist"),
        (2, "service \"nope\" on node \"n1\" doesn't exist"),
        (3, "check \"nope\" on node \"n1\" doesn't exist"),
        (4, "failed to set node \"ext\", index is stale"),
        (5, "failed to delete node \"ext\", index is stale"),
        (6, "failed to set service \"web1\" on node \"n1\", index is stale"),
        (7, "failed to delete service \"web1\" on node \"n1\", index is stale"),
        (8, "failed to set check \"mem\" on node \"n1\", index is stale"),
        (9, "failed to delete check \"mem\" on node \"n1\", index is stale"),
        (10, "Missing node registration"),
        (11, "Missing node registration"),
        (12, "Missing service registration"),
    ];
    let told: Vec<(u64, &str)> = told.iter().map(|(at, what)| (*at, what.as_str())).collect();
    assert_eq!(told, expected);
    assert_eq!(world.read("/v1/catalog/nodes").as_array().unwrap().len(), 2, "nothing was done");
}

#[test]
fn the_index_that_was_read_lets_a_write_through_once() {
    let mut world = World::full();
    for (get, with_index) in [
        (
            node("get", json!({"Node": "ext"})),
            (|at: u64| {
                node("cas", json!({"Node": "ext", "Address": "10.1.1.9", "ModifyIndex": at}))
            }) as fn(u64) -> Value,
        ),
        (service("get", "ext", json!({"ID": "web3"})), |at| {
            service(
                "cas",
                "ext",
                json!({"ID": "web3", "Service": "web", "Port": 99, "ModifyIndex": at}),
            )
        }),
        (check("get", json!({"Node": "n1", "CheckID": "mem"})), |at| {
            check(
                "cas",
                json!({"Node": "n1", "CheckID": "mem", "Output": "new", "ModifyIndex": at}),
            )
        }),
        (check("get", json!({"Node": "n1", "CheckID": "mem"})), |at| {
            check("delete-cas", json!({"Node": "n1", "CheckID": "mem", "ModifyIndex": at}))
        }),
    ] {
        let read = results(&mut world, json!([get]))[0].clone();
        let at =
            read.as_object().unwrap().values().next().unwrap()["ModifyIndex"].as_u64().unwrap();
        results(&mut world, json!([with_index(at)]));
        let again = txn(&mut world, json!([with_index(at)]));
        assert_eq!(again.status, 409, "{again:?}");
    }
    // Index 0 is that of what does not exist.
    let fresh = node("cas", json!({"Node": "e8", "Address": "10.0.0.8", "ModifyIndex": 0}));
    results(&mut world, json!([fresh]));
    assert_eq!(txn(&mut world, json!([fresh])).status, 409);
}

#[test]
fn a_node_is_found_by_its_id_when_one_is_given() {
    let mut world = World::full();
    let id = crate::fixture::NODE_ID;
    let read = results(&mut world, json!([node("get", json!({"ID": id}))]));
    assert_eq!(read[0]["Node"]["Node"], "n1");
    let unknown = "8c7f0a2e-0000-4000-8000-00000000ffff";
    let told = refused(&mut world, json!([node("get", json!({"ID": unknown}))]));
    assert_eq!(told, [(0, format!("node \"{unknown}\" doesn't exist"))]);
}

#[test]
fn keys_and_the_catalog_change_together_or_not_at_all() {
    let mut world = World::full();
    let set = |key: &str| json!({"KV": {"Verb": "set", "Key": key, "Value": "eA=="}});
    let bad = json!({"KV": {"Verb": "get", "Key": "none"}});
    let told = refused(
        &mut world,
        json!([set("a"), node("set", json!({"Node": "e9", "Address": "a"})), bad]),
    );
    assert_eq!(told, [(2, "key \"none\" doesn't exist".to_owned())]);
    results(&mut world, json!([set("a"), service("delete", "n1", json!({"ID": "web1"}))]));
    assert_eq!(world.exchange("GET", "/v1/kv/a?raw", ""), (200, "x"));
    // Its checks go with it.
    assert!(!world.body("/v1/health/node/n1").contains("service:web1"));
}

#[test]
fn a_critical_check_in_a_transaction_ends_sessions() {
    let mut world = World::full();
    let told = world.exchange("PUT", "/v1/session/create", r#"{"NodeChecks":["mem"]}"#);
    assert_eq!(told.status, 200, "{told:?}");
    results(
        &mut world,
        json!([check("set", json!({"Node": "n1", "CheckID": "mem", "Status": "critical"}))]),
    );
    assert_eq!(world.read("/v1/session/list"), json!([]));
}

#[test]
fn reads_alone_say_how_fresh_they_are() {
    let mut world = World::full();
    let read =
        txn(&mut world, json!([check("get", json!({"Node": "n1", "CheckID": "mem"}))])).json();
    assert_eq!((&read["Index"], &read["KnownLeader"]), (&31.into(), &true.into()));
    let write = txn(&mut world, json!([node("set", json!({"Node": "e9", "Address": "a"}))])).json();
    assert!(write.get("Index").is_none());
}
