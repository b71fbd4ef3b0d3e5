//! Bodies that are nearly right: answered, never a panic, and the catalog stays sound.

use bytes::Bytes;
use http::Request;
use proptest::prelude::*;

use crate::fixture::World;

/// Requests with bodies that are right.
const WRITES: &[(&str, &str, &str)] = &[
    (
        "PUT",
        "/v1/agent/service/register",
        r#"{"Name":"a","Port":1,"Tags":["t"],"Meta":{"k":"v"},"Check":{"TTL":"15s"},"Weights":{"Passing":2,"Warning":1}}"#,
    ),
    ("PUT", "/v1/agent/check/register", r#"{"Name":"c","TTL":"15s","Notes":"n"}"#),
    (
        "PUT",
        "/v1/catalog/register",
        r#"{"Node":"e","Address":"1.2.3.4","Service":{"Service":"s","Port":2},"Checks":[{"Name":"c","Status":"passing","Definition":{"Interval":"10s"}}]}"#,
    ),
    ("PUT", "/v1/catalog/deregister", r#"{"Node":"ext","ServiceID":"web2"}"#),
    (
        "PUT",
        "/v1/session/create",
        r#"{"LockDelay":"1s","Name":"x","TTL":"15s","Behavior":"delete","NodeChecks":[]}"#,
    ),
    (
        "PUT",
        "/v1/txn",
        r#"[{"KV":{"Verb":"set","Key":"k","Value":"eA==","Flags":7}},{"Node":{"Verb":"cas","Node":{"Node":"ext","Address":"a","ModifyIndex":20}}},{"Service":{"Verb":"set","Node":"n1","Service":{"ID":"a","Service":"b"}}},{"Check":{"Verb":"delete","Check":{"Node":"n1","CheckID":"mem"}}}]"#,
    ),
    (
        "POST",
        "/v1/query",
        r#"{"Name":"q-","Template":{"Type":"name_prefix_match","Regexp":"^q-(.*)$"},"Service":{"Service":"${match(1)}","Tags":["!a"],"NodeMeta":{"a":"b"},"Failover":{"NearestN":2,"Datacenters":["d"]}},"DNS":{"TTL":"10s"}}"#,
    ),
    (
        "PUT",
        "/v1/query/9e000000-0000-4000-8000-000000000001",
        r#"{"Name":"web","Service":{"Service":"web","Failover":{"Targets":[{"Peer":"p"}]}}}"#,
    ),
    (
        "PUT",
        "/v1/coordinate/update",
        r#"{"Node":"n1","Segment":"","Coord":{"Vec":[0.1,-2e-3,0,0,0,0,0,0],"Error":1.5,"Adjustment":0,"Height":1e-5}}"#,
    ),
    (
        "PUT",
        "/v1/operator/autopilot/configuration?cas=1",
        r#"{"CleanupDeadServers":true,"LastContactThreshold":"200ms","MaxTrailingLogs":250,"MinQuorum":3}"#,
    ),
    (
        "PUT",
        "/v1/connect/ca/configuration",
        r#"{"Provider":"consul","Config":{"LeafCertTTL":"72h","RootCert":"","PrivateKey":""}}"#,
    ),
    ("PUT", "/v1/event/fire/deploy?node=n.&service=w&tag=p", "payload"),
    ("PUT", "/v1/agent/check/update/db-ttl", r#"{"Status":"passing","Output":"fine"}"#),
    ("POST", "/v1/operator/keyring", r#"{"Key":"aaaa"}"#),
    ("POST", "/v1/peering/token", r#"{"PeerName":"p"}"#),
    ("PUT", "/v1/kv/a?flags=1", "value"),
];

const TELLING: &[u8] = b"{}[]\",:\\0-9.eE tfn\x00\xff$(!";

fn ask(world: &mut World, method: &str, path: &str, body: Vec<u8>) -> u16 {
    let request: Request<Bytes> =
        Request::builder().method(method).uri(path).body(Bytes::from(body)).unwrap();
    // A commit checks that the catalog is sound.
    world.respond(&request).status().as_u16()
}

#[test]
fn the_bodies_are_right_as_they_stand() {
    for (method, path, body) in WRITES {
        let mut world = World::of_queries();
        let status = ask(&mut world, method, path, body.as_bytes().to_vec());
        let expected = match *path {
            "/v1/operator/keyring" | "/v1/connect/ca/configuration" => 500,
            "/v1/peering/token" => 501,
            _ => 200,
        };
        assert_eq!(status, expected, "{method} {path}");
    }
}

#[test]
fn every_beginning_of_a_body_is_answered() {
    let mut world = World::of_queries();
    for (method, path, body) in WRITES {
        for end in 0..body.len() {
            let status = ask(&mut world, method, path, body.as_bytes()[..end].to_vec());
            assert!((200..502).contains(&status), "{path}");
        }
    }
}

proptest! {
    #[test]
    fn bodies_that_chance_has_changed_are_answered(
        which in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        cuts in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        is_spliced: bool,
        changes in proptest::collection::vec(
            (any::<prop::sample::Index>(), prop::sample::select(TELLING.to_vec())), 0..4),
    ) {
        let (method, path, body) = which.0.get(WRITES);
        let other = which.1.get(WRITES).2;
        let mut bytes = body.as_bytes().to_vec();
        if is_spliced {
            bytes.truncate(cuts.0.index(bytes.len() + 1));
            bytes.extend_from_slice(&other.as_bytes()[cuts.1.index(other.len() + 1)..]);
        }
        for (at, byte) in changes {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        let mut world = World::of_queries();
        let status = ask(&mut world, method, path, bytes);
        prop_assert!((200..502).contains(&status));
        // All reads of what may have been written go on.
        for read in ["/v1/query", "/v1/coordinate/nodes", "/v1/event/list", "/v1/operator/autopilot/configuration",
            "/v1/internal/ui/services", "/v1/query/q-x/execute?near=n1", "/v1/query/q-x/explain"] {
            let status = ask(&mut world, "GET", read, Vec::new());
            prop_assert!(matches!(status, 200 | 404 | 500), "{}", read);
        }
    }
}
