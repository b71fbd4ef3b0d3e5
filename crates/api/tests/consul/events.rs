//! Events: whom they concern, and how a client waits for the next one.

use model::Event;
use proptest::prelude::*;

use crate::exchange::Told;
use crate::fixture::World;

fn fire(world: &mut World, path: &str, payload: &str) -> Told {
    let told = world.exchange("PUT", &format!("/v1/event/fire/{path}"), payload);
    assert_eq!(told.status, 200, "{told:?}");
    told
}

fn names(world: &mut World, path: &str) -> Vec<String> {
    let list = world.read(path);
    list.as_array().unwrap().iter().map(|it| it["Name"].as_str().unwrap().to_owned()).collect()
}

/// The index that the Go client computes of an id.
fn index_of(id: &str) -> u64 {
    let number = u128::from_str_radix(&id.replace('-', ""), 16).unwrap();
    (number >> 64) as u64 ^ number as u64
}

#[test]
fn what_was_fired_is_listed_in_order_with_its_place() {
    let mut world = World::full();
    assert_eq!(world.read("/v1/event/list"), serde_json::json!([]));
    let first = fire(&mut world, "deploy", "now").json();
    assert_eq!((&first["LTime"], &first["Payload"]), (&0.into(), &"bm93".into()));
    fire(&mut world, "restart", "");
    fire(&mut world, "deploy", "");
    let list = world.read("/v1/event/list");
    let seen: Vec<_> =
        list.as_array().unwrap().iter().map(|it| (&it["Name"], &it["LTime"])).collect();
    assert_eq!(
        seen,
        [
            (&"deploy".into(), &1.into()),
            (&"restart".into(), &2.into()),
            (&"deploy".into(), &3.into())
        ]
    );
    assert_eq!((&list[0]["ID"], &list[0]["Payload"]), (&first["ID"], &first["Payload"]));
    assert!(list[1]["Payload"].is_null());
    assert_eq!(names(&mut world, "/v1/event/list?name=deploy"), ["deploy", "deploy"]);
}

#[test]
fn only_events_that_concern_the_agent_are_listed() {
    let mut world = World::full();
    for (path, is_listed) in [
        ("a?node=n1", true),
        ("b?node=%5En%5Cd%24", true),
        ("c?node=ext", false),
        ("d?service=web", true),
        ("e?service=mail", false),
        ("f?service=web&tag=primary", true),
        ("g?service=web&tag=v1", false),
        ("h?service=web&node=ext", false),
    ] {
        fire(&mut world, path, "");
        let listed = names(&mut world, "/v1/event/list");
        let name = path.split('?').next().unwrap();
        assert_eq!(listed.iter().any(|it| it == name), is_listed, "{path}");
    }
}

#[test]
fn a_client_waits_while_the_last_event_is_the_one_it_has_seen() {
    let mut world = World::full();
    assert_eq!(world.index("/v1/event/list"), 1, "no events");
    assert!(world.waits("/v1/event/list?index=1"));
    let first = fire(&mut world, "deploy", "").json();
    let seen = world.index("/v1/event/list");
    assert_eq!(seen, index_of(first["ID"].as_str().unwrap()));
    assert!(!world.waits("/v1/event/list?index=1"), "there is another");
    assert!(world.waits(&format!("/v1/event/list?index={seen}")));
    // Greater than the index is not the same: the index is no order.
    assert!(!world.waits(&format!("/v1/event/list?index={}", seen.wrapping_add(1).max(2))));
    fire(&mut world, "restart", "");
    assert!(!world.waits(&format!("/v1/event/list?index={seen}")));
    // Of one name, the last event of that name counts.
    assert!(world.waits(&format!("/v1/event/list?name=deploy&index={seen}")));
    // One that does not concern this agent is no news to its clients.
    let seen = world.index("/v1/event/list");
    fire(&mut world, "elsewhere?node=ext", "");
    assert!(world.waits(&format!("/v1/event/list?index={seen}")));
}

#[test]
fn the_last_256_events_are_kept() {
    let mut world = World::full();
    for number in 0..300 {
        fire(&mut world, &format!("e{number}"), "");
    }
    let listed = names(&mut world, "/v1/event/list");
    assert_eq!((listed.len(), listed[0].as_str()), (256, "e44"));
    assert_eq!(listed.last().map(String::as_str), Some("e299"));
    assert_eq!(world.catalog.records::<Event>().count(), 256);
}

#[test]
fn a_payload_that_is_too_large_is_refused() {
    let mut world = World::full();
    fire(&mut world, "a", &"x".repeat(512 * 1024));
    let told = world.exchange("PUT", "/v1/event/fire/a", &"x".repeat(512 * 1024 + 1));
    assert_eq!(told.status, 413, "{}", told.text);
}

proptest! {
    /// The index is that of the last event listed, so a client never waits for what it has not seen.
    #[test]
    fn any_events_have_the_index_of_the_last(
        fired in proptest::collection::vec(("[ab]", prop_oneof!["", "n1", "ext"]), 1..8),
        name in "[ab]?",
    ) {
        let mut world = World::full();
        for (name, node) in fired {
            fire(&mut world, &format!("{name}?node={node}"), "");
        }
        let path = format!("/v1/event/list?name={name}");
        let list = world.read(&path);
        let last = list.as_array().unwrap().last().map(|it| index_of(it["ID"].as_str().unwrap()));
        prop_assert_eq!(world.index(&path), last.unwrap_or(1));
    }
}
