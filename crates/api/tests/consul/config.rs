//! Configuration entries, chains and intentions through the door.

use model::{Object, Record, Setting};
use serde_json::{Value, json};

use crate::fixture::World;

fn apply(world: &mut World, entry: &Value) {
    let answer = world.send("PUT", "/v1/config", &entry.to_string());
    assert_eq!(answer, (200, "true".to_owned()), "{entry}");
}

/// A world with a certificate authority.
fn with_authority() -> World {
    let mut world = World::of_appendix();
    let body = json!({"Roots": [{"cluster_id": "11111111-2222-3333-4444-555555555555"}]});
    let root = Setting { name: api::CA.to_owned(), body };
    world.put_at(26, [Object::Record(Record::Setting(root))]);
    world
}

fn read(world: &World, path: &str) -> Value {
    serde_json::from_str(&world.body(path)).unwrap()
}

#[test]
fn entries_are_written_read_and_removed() {
    let mut world = World::of_appendix();
    let entry = json!({"Kind": "service-defaults", "Name": "web", "Protocol": "HTTP"});
    apply(&mut world, &entry);
    let read_back = read(&world, "/v1/config/service-defaults/web");
    let expected = json!({"Kind": "service-defaults", "Name": "web", "Protocol": "http", "TransparentProxy": {},
        "MeshGateway": {}, "Expose": {}, "CreateIndex": 26, "ModifyIndex": 26});
    assert_eq!(read_back, expected);
    assert_eq!(read(&world, "/v1/config/service-defaults"), json!([expected]));
    assert_eq!(read(&world, "/v1/config/service-router"), json!([]));
    // The same again changes nothing.
    apply(&mut world, &entry);
    assert_eq!(read(&world, "/v1/config/service-defaults/WEB"), expected);
    assert_eq!(world.get("/v1/config/service-defaults/web").headers()["x-consul-index"], "26");
    assert_eq!(world.send("DELETE", "/v1/config/service-defaults/web", ""), (200, "{}".to_owned()));
    let missing = world.get("/v1/config/service-defaults/web");
    assert_eq!(missing.status(), 404);
    assert_eq!(missing.headers()["x-consul-index"], "27");
    assert_eq!(missing.body(), "Config entry not found for \"service-defaults\" / \"web\"");
}

#[test]
fn writes_with_an_index_hold_only_if_it_is_the_one_that_there_is() {
    let mut world = World::of_appendix();
    let entry = |protocol: &str| {
        json!({"Kind": "service-defaults", "Name": "web", "Protocol": protocol}).to_string()
    };
    let answer = |yes: bool| (200, yes.to_string());
    assert_eq!(world.send("PUT", "/v1/config?cas=9", &entry("http")), answer(false));
    assert_eq!(world.send("PUT", "/v1/config?cas=0", &entry("http")), answer(true));
    assert_eq!(world.send("PUT", "/v1/config?cas=0", &entry("tcp")), answer(false));
    assert_eq!(world.send("PUT", "/v1/config?cas=26", &entry("tcp")), answer(true));
    let path = "/v1/config/service-defaults/web";
    assert_eq!(world.send("DELETE", &format!("{path}?cas=26"), ""), answer(false));
    assert_eq!(world.send("DELETE", &format!("{path}?cas=27"), ""), answer(true));
    assert_eq!(world.send("DELETE", &format!("{path}?cas=0"), ""), answer(false));
}

#[test]
fn what_is_wrong_with_an_entry_is_said() {
    let mut world = World::of_appendix();
    for (method, path, body, status, text) in [
        ("PUT", "/v1/config", "{", 400, "Request decoding failed: unexpected EOF"),
        (
            "PUT",
            "/v1/config",
            "{\"Kind\":\"x\"}",
            400,
            "Request decoding failed: invalid config entry kind: x",
        ),
        (
            "PUT",
            "/v1/config",
            "{\"Kind\":\"service-defaults\",\"Name\":\"a\",\"Foo\":1}",
            400,
            "Request decoding failed: 1 error occurred:\n\t* invalid config key \"Foo\"\n\n",
        ),
        (
            "PUT",
            "/v1/config",
            "{\"Kind\":\"service-splitter\",\"Name\":\"a\"}",
            500,
            "no splits configured",
        ),
        (
            "DELETE",
            "/v1/config/service-defaults",
            "",
            404,
            "Must provide both a kind and name to delete",
        ),
        ("DELETE", "/v1/config/x/y", "", 400, "invalid config entry kind: x"),
        ("GET", "/v1/config/x", "", 500, "invalid config entry kind: x"),
        (
            "DELETE",
            "/v1/config/service-defaults/web?cas=a",
            "",
            500,
            "strconv.ParseUint: parsing \"a\": invalid syntax",
        ),
    ] {
        assert_eq!(
            world.send(method, path, body),
            (status, text.to_owned()),
            "{method} {path} {body}"
        );
    }
}

#[test]
fn entry_that_others_need_stays() {
    let mut world = World::of_appendix();
    apply(&mut world, &json!({"Kind": "service-defaults", "Name": "web", "Protocol": "http"}));
    apply(&mut world, &json!({"Kind": "service-router", "Name": "web"}));
    let (status, text) = world.send("DELETE", "/v1/config/service-defaults/web", "");
    assert_eq!(status, 500);
    assert!(text.contains("does not permit advanced routing"), "{text}");
}

#[test]
fn chain_is_compiled_for_who_asks() {
    let mut world = with_authority();
    assert_eq!(read(&world, "/v1/discovery-chain/web")["Chain"]["Default"], true);
    apply(&mut world, &json!({"Kind": "service-resolver", "Name": "web", "ConnectTimeout": "33s"}));
    let chain = &read(&world, "/v1/discovery-chain/web?compile-dc=dc2")["Chain"];
    let target = &chain["Targets"]["web.default.default.dc2"];
    assert_eq!(target["ConnectTimeout"], "33s");
    assert_eq!(
        target["SNI"],
        "web.default.dc2.internal.11111111-2222-3333-4444-555555555555.consul"
    );
    let body = json!({"OverrideMeshGateway": {"Mode": "local"}, "OverrideProtocol": "grpc",
        "OverrideConnectTimeout": 22_000_000_000_u64});
    let (status, text) = world.send("POST", "/v1/discovery-chain/web", &body.to_string());
    assert_eq!(status, 200);
    let chain: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(chain["Chain"]["CustomizationHash"], "98809527");
    assert_eq!(world.get("/v1/discovery-chain/").status(), 400);
}

#[test]
fn intentions_are_made_changed_and_removed_one_by_one() {
    let mut world = World::of_appendix();
    let body = json!({"SourceName": "api", "DestinationName": "db", "Action": "allow"}).to_string();
    let id = "0f3a0000-0000-4000-8000-000000000001";
    let made = world.send("POST", "/v1/connect/intentions", &body);
    assert_eq!(made, (200, format!("{{\"ID\":\"{id}\"}}")));
    let one = format!("/v1/connect/intentions/{id}");
    let expected = json!({"ID": id, "SourceNS": "default", "SourceName": "api", "DestinationNS": "default",
        "DestinationName": "db", "SourceType": "consul", "Action": "allow", "Precedence": 9,
        "CreatedAt": "1970-01-01T00:00:01Z", "UpdatedAt": "1970-01-01T00:00:01Z",
        "CreateIndex": 26, "ModifyIndex": 26});
    assert_eq!(read(&world, &one), expected);
    assert_eq!(read(&world, "/v1/connect/intentions"), json!([expected]));
    let filtered = "/v1/connect/intentions?filter=SourceName%20%3D%3D%20web";
    assert_eq!(read(&world, filtered), json!([]));
    assert_eq!(
        read(&world, "/v1/connect/intentions/match?by=source&name=api"),
        json!({"api": [expected]})
    );
    let exact = "/v1/connect/intentions/exact?source=default/api&destination=db";
    assert_eq!(read(&world, exact), expected);
    let check = "/v1/connect/intentions/check?source=api&destination=db";
    assert_eq!(read(&world, check), json!({"Allowed": true}));
    let deny = json!({"SourceName": "api", "DestinationName": "db", "Action": "deny"}).to_string();
    assert_eq!(world.send("PUT", &one, &deny), (200, String::new()));
    assert_eq!(read(&world, check), json!({"Allowed": false}));
    assert_eq!(world.send("DELETE", &one, ""), (200, String::new()));
    assert_eq!(world.get(&one).status(), 404);
    assert_eq!(read(&world, "/v1/config/service-intentions"), json!([]));
    let allow = json!({"Action": "allow"}).to_string();
    assert_eq!(world.send("PUT", exact, &allow), (200, "true".to_owned()));
    assert_eq!(read(&world, exact)["Action"], "allow");
    assert_eq!(world.send("DELETE", exact, ""), (200, "true".to_owned()));
    let (status, text) = world.send("GET", "/v1/connect/intentions/hello", "");
    assert_eq!((status, text.contains("UUID")), (500, true), "{text}");
    for (path, missing) in
        [("exact?source=a", "destination"), ("match?name=a", "by"), ("match?by=source", "name")]
    {
        let (status, text) = world.send("GET", &format!("/v1/connect/intentions/{path}"), "");
        let expected = format!("required query parameter '{missing}' not set");
        assert_eq!((status, text), (500, expected), "{path}");
    }
}

#[test]
fn owner_of_a_certificate_is_let_through_as_intentions_say() {
    let mut world = with_authority();
    let deny = json!({"Kind": "service-intentions", "Name": "db", "Sources": [{"Name": "web", "Action": "deny"}]});
    apply(&mut world, &deny);
    let ask = |world: &mut World, domain: &str, service: &str, target: &str| {
        let uri = format!("spiffe://{domain}/ns/default/dc/ny1/svc/{service}");
        let body = json!({"Target": target, "ClientCertURI": uri, "ClientCertSerial": "x"});
        let (status, text) = world.send("POST", "/v1/agent/connect/authorize", &body.to_string());
        assert_eq!(status, 200, "{text}");
        let answer: Value = serde_json::from_str(&text).unwrap();
        (answer["Authorized"].as_bool().unwrap(), answer["Reason"].as_str().unwrap().to_owned())
    };
    let ours = "11111111-2222-3333-4444-555555555555.consul";
    let default = "Default behavior configured by ACLs".to_owned();
    assert_eq!(ask(&mut world, ours, "api", "db"), (true, default));
    assert!(!ask(&mut world, ours, "web", "db").0);
    assert!(!ask(&mut world, "other.consul", "api", "db").0);
    let bad = json!({"Target": "db", "ClientCertURI": "spiffe://x"}).to_string();
    let answer = world.send("POST", "/v1/agent/connect/authorize", &bad);
    assert_eq!(answer, (400, "ClientCertURI not a valid Connect identifier".to_owned()));
}

#[test]
fn exported_services_are_listed_with_wildcards_resolved() {
    let mut world = World::of_appendix();
    let entry = json!({"Kind": "exported-services", "Name": "default", "Services": [
        {"Name": "*", "Consumers": [{"Peer": "east"}]}, {"Name": "db", "Consumers": [{"Peer": "west"}]}]});
    apply(&mut world, &entry);
    let expected = json!([
        {"Service": "db", "Consumers": {"Peers": ["west"]}},
        {"Service": "web", "Consumers": {"Peers": ["east"]}},
    ]);
    assert_eq!(read(&world, "/v1/exported-services"), expected);
}
