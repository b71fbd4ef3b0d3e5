//! Rules that operators set: what is blocked, from where writes are taken, how large and how long things may be.

use std::time::Duration;

use api::{ClientIp, Network, Step};
use bytes::Bytes;
use http::Request;
use serde_json::json;

use crate::exchange::Told;
use crate::fixture::{World, request};

/// What a client is told: a refusal by rule, or else the endpoint's answer.
fn ask(world: &mut World, request: &Request<Bytes>) -> Told {
    let refusal = api::refused_by_rule(request, &world.agent.settings, &world.acl);
    let response = refusal.unwrap_or_else(|| world.respond(request));
    let text = String::from_utf8(response.body().to_vec()).unwrap();
    Told { status: response.status().as_u16(), text }
}

fn world(change: impl FnOnce(&mut api::Settings)) -> World {
    let mut world = World::full();
    change(&mut world.agent.settings);
    world
}

#[test]
fn blocked_endpoints_are_answered_with_403() {
    let mut world = world(|it| {
        it.blocked_paths =
            vec!["/v1/kv".into(), "/v1/agent/service/register".into(), "/leno/v1/apply".into()]
    });
    let blocked = (403, "Endpoint is blocked by agent configuration");
    for (method, path) in [
        ("GET", "/v1/kv/a"),
        ("PUT", "/v1/kv/a"),
        ("GET", "/v1/kv"),
        ("OPTIONS", "/v1/kv/a"),
        ("PUT", "/v1/agent/service/register"),
        ("POST", "/leno/v1/apply"),
    ] {
        let told = ask(&mut world, &request(method, path, ""));
        assert_eq!(told, blocked, "{method} {path}");
    }
    assert_eq!(world.exchange("GET", "/v1/agent/services", "").status, 200);
    // What only looks otherwise is the same endpoint.
    for path in ["/v1/%6bv/a", "/v1//kv/a", "/v1/./kv/a", "/v1/kv/../kv/a"] {
        let told = ask(&mut world, &request("PUT", path, "x"));
        assert!(told.status == 403 || told.status == 301, "{path}: {told:?}");
        assert!(world.catalog.kv(&"a".into()).is_none(), "{path} wrote");
    }
}

#[test]
fn writes_are_taken_from_the_networks_that_may() {
    let networks = [("127.0.0.0", 8), ("2001:db8::", 32)];
    let networks = networks.map(|(ip, bits)| Network { ip: ip.parse().unwrap(), bits });
    let mut world = world(|it| it.write_networks = networks.to_vec());
    for (from, may) in [
        (Some("127.1.2.3"), true),
        (Some("::ffff:127.0.0.1"), true),
        (Some("2001:db8::7"), true),
        (Some("10.0.0.1"), false),
        (Some("::1"), false),
        (None, true),
    ] {
        let mut told = |method: &str, path: &str| {
            let mut request = request(method, path, "x");
            if let Some(ip) = from {
                request.extensions_mut().insert(ClientIp(ip.parse().unwrap()));
            }
            ask(&mut world, &request)
        };
        let restricted = (403, "Access is restricted");
        for (method, path) in [
            ("PUT", "/v1/kv/a"),
            ("DELETE", "/v1/kv/a"),
            ("PUT", "/v1/txn"),
            ("POST", "/v1/query"),
            ("POST", "/leno/v1/apply"),
        ] {
            assert_eq!(told(method, path) == restricted, !may, "{method} {path} from {from:?}");
        }
        for method in ["GET", "OPTIONS"] {
            assert_ne!(told(method, "/v1/catalog/nodes"), restricted, "{method} from {from:?}");
        }
    }
}

#[test]
fn values_and_transactions_are_as_large_as_the_settings_say() {
    let mut world = world(|it| (it.kv_value_bytes_max, it.txn_bytes_max) = (10, 200));
    assert_eq!(world.exchange("PUT", "/v1/kv/a", "0123456789"), (200, "true"));
    let told = world.exchange("PUT", "/v1/kv/a", "0123456789a");
    assert_eq!(told.status, 413);
    let text = "Request body(11 bytes) too large, max size: 10 bytes. See ";
    assert!(told.text.starts_with(text) && told.text.ends_with("#kv_max_value_size."), "{told:?}");
    let set =
        |value: &str| json!([{"KV": {"Verb": "set", "Key": "a", "Value": value}}]).to_string();
    assert_eq!(world.exchange("PUT", "/v1/txn", &set("MDEyMzQ1Njc4OQ==")).status, 200);
    let told = world.exchange("PUT", "/v1/txn", &set("MDEyMzQ1Njc4OWE="));
    let text = "Value for key \"a\" is too large (11 > 10 bytes)";
    assert_eq!(told, (413, text));
    let long = format!("{}{}", " ".repeat(200), set(""));
    let told = world.exchange("PUT", "/v1/txn", &long);
    assert_eq!(told.status, 413);
    assert!(told.text.ends_with("#txn_max_req_len."), "{told:?}");
}

#[test]
fn reads_wait_as_long_as_the_settings_say() {
    let world = world(|it| {
        (it.wait_default, it.wait_max) = (Duration::from_secs(20), Duration::from_secs(40));
    });
    let timeout = |path: &str| match world.step(&request("GET", path, ""), false) {
        Step::Wait { timeout, jitter_max, .. } => {
            assert_eq!(jitter_max, timeout / 16);
            timeout.as_secs()
        }
        _ => panic!("{path} does not wait"),
    };
    for (wait, seconds) in [("", 20), ("&wait=0", 20), ("&wait=5s", 5), ("&wait=1m", 40)] {
        let wait = wait.replace("=0", "=0s");
        assert_eq!(timeout(&format!("/v1/catalog/nodes?index=99{wait}")), seconds, "{wait}");
        let hash = world.get("/v1/agent/service/web1").headers()["x-consul-contenthash"].clone();
        let path = format!("/v1/agent/service/web1?hash={}{wait}", hash.to_str().unwrap());
        assert_eq!(timeout(&path), seconds, "{path}");
    }
    let path = "/v1/agent/connect/ca/leaf/web?index=9";
    let Step::Leaf(wanted) = world.step(&request("GET", path, ""), false) else {
        panic!("no leaf")
    };
    assert_eq!(wanted.timeout, Duration::from_secs(20));
}

#[test]
fn sessions_live_as_long_as_the_settings_say_at_least() {
    let create = |world: &mut World, ttl: &str| {
        world.exchange("PUT", "/v1/session/create", &json!({ "TTL": ttl }).to_string())
    };
    let mut strict = world(|_| {});
    let told = create(&mut strict, "5s");
    assert_ne!(told.status, 200);
    assert!(told.text.contains("5") && told.text.contains("10s"), "{told:?}");
    let mut short = world(|it| it.session_ttl_min = Duration::from_millis(200));
    assert_eq!(create(&mut short, "200ms").status, 200);
    assert_ne!(create(&mut short, "199ms").status, 200);
    assert_eq!(create(&mut short, "0s").status, 200, "none at all");
}
