//! Golden files of what stands in tables of records, and of what is said about the agent and its server as a whole.

use model::{Coordinate, Event, Object, PreparedQuery, Record, Setting};
use serde_json::json;

use crate::fixture::World;
use crate::golden::check;

pub(crate) const QUERIES: [&str; 4] = [
    "9e000000-0000-4000-8000-000000000001",
    "9e000000-0000-4000-8000-000000000002",
    "9e000000-0000-4000-8000-000000000003",
    "9e000000-0000-4000-8000-000000000004",
];

fn coordinate(node: &str, segment: &str, at_s: f64) -> Object {
    let vec = vec![at_s, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
    let coordinate = Coordinate {
        node: node.into(),
        segment: segment.into(),
        vec,
        error: 0.25,
        adjustment: -0.000_5,
        height: 0.000_01,
    };
    Object::Record(Record::Coordinate(coordinate))
}

impl World {
    /// Two nodes that have measured how far they are from others.
    pub(crate) fn of_coordinates() -> Self {
        let mut world = Self::full();
        world.put_at(40, [coordinate("n1", "", 0.001), coordinate("ext", "", 0.05)]);
        world.put_at(41, [coordinate("n1", "east", 0.002)]);
        world
    }

    /// Events for all, for this node, for another, and for services.
    fn of_events() -> Self {
        let mut world = Self::full();
        let event = |time: u64, name: &str| Event {
            id: format!("b5a3b2d8-5d1c-4a86-9b0c-{time:012x}"),
            time,
            name: name.into(),
            ..Event::default()
        };
        let events = [
            Event { payload: b"v2 <now>".to_vec(), ..event(1, "deploy") },
            Event { node_filter: "^n[0-9]$".into(), ..event(2, "restart") },
            Event { node_filter: "^other$".into(), ..event(3, "restart") },
            Event {
                service_filter: "^web$".into(),
                tag_filter: "^prim".into(),
                ..event(4, "drain")
            },
            Event {
                service_filter: "^web$".into(),
                tag_filter: "^none$".into(),
                ..event(5, "drain")
            },
        ];
        for (event, at) in events.into_iter().zip(40..) {
            world.put_at(at, [Object::Record(Record::Event(event))]);
        }
        world
    }

    /// A query with all that there is, one by a session, and templates.
    pub(crate) fn of_queries() -> Self {
        let mut world = Self::of_coordinates();
        let query = |number: usize, body: serde_json::Value| {
            let mut query: PreparedQuery = serde_json::from_value(body).unwrap();
            query.id = QUERIES[number].into();
            Object::Record(Record::PreparedQuery(query))
        };
        let full = json!({
            "name": "web-all", "token": "secret",
            "service": {
                "service": "web", "only_passing": false, "ignore_check_ids": ["web2-http"],
                "near": "ext", "tags": ["!none"], "service_meta": {}, "node_meta": {},
                "failover": {"nearest_n": 2, "datacenters": ["dc2", "dc3"]},
            },
            "dns_ttl": {"text": "10s", "time": 10_000_000_000_u64},
        });
        let geo = json!({
            "name": "geo-", "service": {"service": "${match(1)}", "tags": ["${match(2)}", "!"]},
            "template": {
                "kind": "name_prefix_match", "regexp": "^geo-(.*?)-([^-]+)$", "remove_empty_tags": true,
            },
        });
        let db = json!({
            "name": "geo-db", "service": {"service": "db"}, "template": {"kind": "name_prefix_match"},
        });
        let all = json!({
            "service": {"service": "${name.full}"}, "template": {"kind": "name_prefix_match"},
        });
        world.put_at(50, [query(0, full), query(1, geo)]);
        world.put_at(51, [query(2, db), query(3, all)]);
        world
    }

    /// Autopilot told otherwise.
    fn of_operator() -> Self {
        let mut world = Self::full();
        let body = json!({"CleanupDeadServers": false, "MaxTrailingLogs": 500});
        let setting = Setting { name: "autopilot".into(), body };
        world.put_at(44, [Object::Record(Record::Setting(setting))]);
        world
    }
}

#[test]
fn events() {
    check("event.http", &World::of_events());
}

#[test]
fn coordinates() {
    check("coordinate.http", &World::of_coordinates());
}

#[test]
fn queries() {
    check("query.http", &World::of_queries());
}

#[test]
fn operator() {
    check("operator.http", &World::of_operator());
}

#[test]
fn operator_of_a_new_agent() {
    check("operator_new.http", &World::empty());
}

#[test]
fn peerings() {
    check("peering.http", &World::full());
}

#[test]
fn ui() {
    check("ui.http", &World::full());
}

#[test]
fn agent_as_a_whole() {
    check("agent_whole.http", &World::full());
}

#[test]
fn transactions_of_the_catalog() {
    check("txn_catalog.http", &World::full());
}

#[test]
fn authorities_of_a_mesh_that_has_none_yet() {
    check("connect_new.http", &World::full());
}

#[test]
fn what_is_switched_off_says_so() {
    let mut world = World::full();
    let settings = &mut world.agent.settings;
    (settings.connect, settings.peering, settings.coordinates) = (false, false, false);
    check("switched_off.http", &world);
}

#[test]
fn an_agent_has_joined_itself_and_joins_no_other() {
    let mut world = World::full();
    for own in ["127.0.0.1", "127.0.0.1:8301", "[::1]:8301", "n1", "N1:8301"] {
        assert_eq!(world.send("PUT", &format!("/v1/agent/join/{own}"), "").0, 200, "{own}");
    }
    for other in ["192.0.2.77", "n2:8301"] {
        let (status, text) = world.send("PUT", &format!("/v1/agent/join/{other}?wan=1"), "");
        assert_eq!(status, 500);
        assert!(text.starts_with(&format!("Error joining {other}: agents do not join")), "{text}");
    }
}

#[test]
fn members_of_all_segments_are_those_of_the_one() {
    let world = World::full();
    assert_eq!(world.get("/v1/agent/members?wan=1&segment=_all").status(), 200);
    assert_eq!(world.get("/v1/agent/members?wan=1&segment=east").status(), 400);
}
