//! What operators set, and where nodes say that they are: written and read back.

use serde_json::json;

use crate::fixture::World;

const AUTOPILOT: &str = "/v1/operator/autopilot/configuration";

#[test]
fn autopilot_is_changed_by_who_has_seen_its_last_change() {
    let mut world = World::full();
    let cas = |world: &mut World, index: u64, quorum: u64| {
        let body = json!({"MinQuorum": quorum, "LastContactThreshold": "1m"}).to_string();
        let told = world.exchange("PUT", &format!("{AUTOPILOT}?cas={index}"), &body);
        assert_eq!(told.status, 200, "{told:?}");
        told.text == "true"
    };
    assert_eq!(world.read(AUTOPILOT)["ModifyIndex"], 1, "as it is when nobody has set it");
    assert!(!cas(&mut world, 0, 1) && !cas(&mut world, 7, 1));
    assert_eq!(world.read(AUTOPILOT)["MinQuorum"], 0);
    assert!(cas(&mut world, 1, 2));
    let read = world.read(AUTOPILOT);
    assert_eq!((&read["MinQuorum"], &read["LastContactThreshold"]), (&2.into(), &"1m0s".into()));
    // What is not given is what Go's decoder makes of it.
    assert_eq!((&read["CleanupDeadServers"], &read["MaxTrailingLogs"]), (&false.into(), &0.into()));
    assert!(!cas(&mut world, 1, 3));
    let index = read["ModifyIndex"].as_u64().unwrap();
    assert!(cas(&mut world, index, 3));
    assert!(!cas(&mut world, index, 4));
    assert_eq!(world.exchange("PUT", AUTOPILOT, r#"{"MinQuorum":5}"#), (200, ""));
    let read = world.read(AUTOPILOT);
    assert_eq!((&read["MinQuorum"], &read["CreateIndex"]), (&5.into(), &index.into()));
}

/// Says where a node is, on the first of the axes.
fn update(world: &mut World, node: &str, at: f64) {
    let vec = [at, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
    let coordinate = json!({"Vec": vec, "Error": 1.5, "Adjustment": 0, "Height": 1e-5});
    let body = json!({"Node": node, "Coord": coordinate}).to_string();
    assert_eq!(world.exchange("PUT", "/v1/coordinate/update", &body), (200, ""));
}

#[test]
fn near_sorts_by_round_trip_and_leaves_the_rest_as_it_is() {
    let mut world = World::empty();
    for node in ["a", "b", "c", "d"] {
        let body = json!({"Node": node, "Address": "10.0.0.1", "Service": {"Service": "s"},
            "Check": {"Node": node, "CheckID": "c", "Name": "c", "Status": "critical",
                "ServiceID": "s"}});
        assert_eq!(world.exchange("PUT", "/v1/catalog/register", &body.to_string()), (200, "true"));
    }
    let order = |world: &mut World, path: &str| -> String {
        let read = world.read(path);
        let rows = read.as_array().unwrap().iter();
        let names = rows.map(|it| it["Node"].as_str().or(it["Node"]["Node"].as_str()).unwrap());
        names.filter(|it| it.len() == 1).collect()
    };
    let lists = [
        "/v1/catalog/nodes",
        "/v1/catalog/service/s",
        "/v1/health/service/s",
        "/v1/health/checks/s",
        "/v1/health/state/critical",
    ];
    for (node, at) in [("a", 0.9), ("b", 0.1), ("d", 0.2)] {
        update(&mut world, node, at);
    }
    for list in lists {
        assert_eq!(order(&mut world, list), "abcd", "{list}");
        // c has no coordinate, and is the last.
        assert_eq!(order(&mut world, &format!("{list}?near=b")), "bdac", "{list}");
        assert_eq!(order(&mut world, &format!("{list}?near=A")), "adbc", "{list}");
        for unknown in ["c", "nobody", "_agent"] {
            assert_eq!(order(&mut world, &format!("{list}?near={unknown}")), "abcd", "{list}");
        }
    }
}

#[test]
fn a_coordinate_is_kept_while_its_node_is() {
    let mut world = World::full();
    let seen = world.index("/v1/coordinate/nodes");
    update(&mut world, "nobody", 0.1);
    assert_eq!(world.read("/v1/coordinate/nodes"), json!([]), "that node is not there");
    assert_eq!(world.index("/v1/coordinate/nodes"), seen);
    update(&mut world, "EXT", 0.25);
    let read = world.read("/v1/coordinate/node/ext");
    assert_eq!(read[0]["Coord"]["Vec"][0], 0.25);
    let seen = world.index("/v1/coordinate/node/ext");
    assert!(world.waits(&format!("/v1/coordinate/node/ext?index={seen}")));
    update(&mut world, "EXT", 0.25);
    assert_eq!(world.index("/v1/coordinate/node/ext"), seen, "it has not moved");
    update(&mut world, "ext", 0.5);
    assert!(!world.waits(&format!("/v1/coordinate/node/ext?index={seen}")));
    world.exchange("PUT", "/v1/catalog/deregister", r#"{"Node":"ext"}"#);
    assert_eq!(world.exchange("GET", "/v1/coordinate/node/ext", ""), (404, ""));
}
