//! Proxies, gateways and native instances through the door.

use api::Step;
use model::{Folded, Table, WatchKey};
use serde_json::{Value, json};

use crate::fixture::{World, request};

fn read(world: &World, path: &str) -> Value {
    serde_json::from_str(&world.body(path)).unwrap()
}

fn put(world: &mut World, path: &str, body: &Value) {
    let (status, text) = world.put(path, &body.to_string());
    assert_eq!(status, 200, "{path} {body}: {text}");
}

fn index(world: &World, path: &str) -> u64 {
    world.get(path).headers()["x-consul-index"].to_str().unwrap().parse().unwrap()
}

/// What a read waits for that has seen everything.
fn waits_for(world: &World, path: &str) -> Vec<WatchKey> {
    let seen = index(world, path);
    match world.step(&request("GET", &format!("{path}?index={seen}"), ""), false) {
        Step::Wait { keys, .. } => keys,
        _ => panic!("{path} does not wait"),
    }
}

#[test]
fn services_at_a_glance_are_those_of_the_filter_with_what_is_in_front_of_them() {
    let mut world = World::empty();
    for body in [
        json!({"Node": "n", "Address": "10.0.0.1",
            "Service": {"Service": "web", "Tags": ["a"], "Port": 80}}),
        json!({"Node": "n", "Address": "10.0.0.1", "Service": {"Service": "db", "Port": 81}}),
        json!({"Node": "n", "Address": "10.0.0.1", "Service": {"Service": "db-proxy", "Port": 82,
            "Kind": "connect-proxy", "Proxy": {"DestinationServiceName": "db"}}}),
    ] {
        let text = body.to_string();
        assert_eq!(world.exchange("PUT", "/v1/catalog/register", &text), (200, "true"));
    }
    let entry = json!({"Kind": "terminating-gateway", "Name": "gw", "Services": [{"Name": "web"}]});
    assert_eq!(world.exchange("PUT", "/v1/config", &entry.to_string()), (200, "true"));
    let all = "/v1/internal/ui/services";
    let shown = |world: &mut World, path: &str| -> Vec<(String, bool, bool)> {
        let read = world.read(path);
        let flag = |it: &serde_json::Value, name: &str| it[name].as_bool().unwrap();
        let rows = read.as_array().unwrap().iter();
        rows.map(|it| {
            let name = it["Name"].as_str().unwrap().to_owned();
            (name, flag(it, "ConnectedWithProxy"), flag(it, "ConnectedWithGateway"))
        })
        .collect()
    };
    let row = |name: &str, proxy, gateway| (name.to_owned(), proxy, gateway);
    let db = row("db", true, false);
    let web = row("web", false, true);
    assert_eq!(shown(&mut world, all), [db, row("db-proxy", false, false), web.clone()]);
    let tagged = format!("{all}?filter=a%20in%20Service.Tags");
    assert_eq!(shown(&mut world, &tagged), [web]);
    assert_eq!(world.get(&format!("{all}?filter=nope")).status(), 500);
}

#[test]
fn a_sidecar_is_registered_shown_and_removed_with_its_service() {
    let mut world = World::of_appendix();
    let service = json!({"Name": "api", "Port": 8080, "Connect": {"SidecarService": {}}});
    put(&mut world, "/v1/agent/service/register", &service);
    let services = read(&world, "/v1/agent/services");
    let sidecar = &services["api-sidecar-proxy"];
    let proxy = json!({"DestinationServiceName": "api", "DestinationServiceID": "api",
        "LocalServiceAddress": "127.0.0.1", "LocalServicePort": 8080, "MeshGateway": {}, "Expose": {}});
    assert_eq!(
        (&sidecar["Kind"], &sidecar["Port"], &sidecar["Proxy"]),
        (&json!("connect-proxy"), &json!(21000), &proxy)
    );
    assert_eq!(services["api"]["Proxy"], Value::Null);
    assert_eq!(services["api"]["Connect"], Value::Null);
    let shown = read(&world, "/v1/catalog/service/api-sidecar-proxy");
    let expected = json!({"DestinationServiceName": "api", "DestinationServiceID": "api",
        "LocalServiceAddress": "127.0.0.1", "LocalServicePort": 8080, "Mode": "", "MeshGateway": {}, "Expose": {}});
    assert_eq!(shown[0]["ServiceProxy"], expected);
    let filtered = "/v1/agent/services?filter=Proxy.DestinationServiceName%20%3D%3D%20api";
    assert_eq!(read(&world, filtered).as_object().unwrap().len(), 1);
    let checks = read(&world, "/v1/agent/checks");
    assert_eq!(checks["service:api-sidecar-proxy:2"]["Name"], "Connect Sidecar Aliasing api");
    put(&mut world, "/v1/agent/service/deregister/api", &json!(null));
    let left = read(&world, "/v1/agent/services");
    assert_eq!(left.as_object().unwrap().keys().collect::<Vec<_>>(), ["web1"]);
}

#[test]
fn reads_of_the_mesh_show_proxies_and_native_instances() {
    let mut world = World::full();
    let before = index(&world, "/v1/health/connect/web");
    let proxy = json!({"Node": "ext", "Address": "10.1.1.1", "SkipNodeUpdate": true, "Service": {
        "ID": "p1", "Service": "web-proxy", "Kind": "connect-proxy", "Port": 8443,
        "Proxy": {"DestinationServiceName": "WEB"}}});
    put(&mut world, "/v1/catalog/register", &proxy);
    for path in ["/v1/catalog/connect/web", "/v1/health/connect/web"] {
        let found = read(&world, path);
        let id = |it: &Value| it.get("ServiceID").or(it["Service"].get("ID")).cloned().unwrap();
        let ids: Vec<Value> = found.as_array().unwrap().iter().map(id).collect();
        assert_eq!(ids, ["p1", "web2"], "{path}");
        assert!(index(&world, path) > before);
        let keys = waits_for(&world, path);
        let service = |name: &str| WatchKey::Service(Folded::new(name));
        assert_eq!(
            keys,
            [
                service("web"),
                service("web-proxy"),
                WatchKey::Mesh(Folded::new("web")),
                WatchKey::Table(Table::ConfigEntry),
            ]
        );
    }
    // When it goes, the index moves on.
    let seen = index(&world, "/v1/health/connect/web");
    let gone = json!({"Node": "ext", "ServiceID": "p1"});
    put(&mut world, "/v1/catalog/deregister", &gone);
    assert!(index(&world, "/v1/health/connect/web") > seen);
    assert_eq!(read(&world, "/v1/health/connect/unknown"), json!([]));
    assert!(
        waits_for(&world, "/v1/health/connect/unknown")
            .contains(&WatchKey::Mesh(Folded::new("unknown")))
    );
}

#[test]
fn services_behind_a_terminating_gateway_are_reached_through_it() {
    let mut world = World::full();
    let entry = json!({"Kind": "terminating-gateway", "Name": "gate", "Services": [
        {"Name": "api", "CAFile": "a", "CertFile": "b", "KeyFile": "c", "SNI": "d"}, {"Name": "*", "SNI": "e"}]});
    put(&mut world, "/v1/config", &entry);
    assert_eq!(read(&world, "/v1/health/connect/db"), json!([]));
    let gateway = json!({"Name": "gate", "Kind": "terminating-gateway", "Port": 443});
    put(&mut world, "/v1/agent/service/register", &gateway);
    let names = |path: &str| -> Vec<Value> {
        let found = read(&world, path);
        found.as_array().unwrap().iter().map(|it| it["Service"]["Service"].clone()).collect()
    };
    assert_eq!(names("/v1/health/connect/db"), ["gate"]);
    assert_eq!(names("/v1/health/connect/api"), ["gate"]);
    assert!(names("/v1/health/connect/consul").is_empty());
    let services = read(&world, "/v1/catalog/gateway-services/gate");
    let services = services.as_array().unwrap();
    let names: Vec<&Value> = services.iter().map(|it| &it["Service"]["Name"]).collect();
    assert_eq!(names, ["api", "db", "web"]);
    let revisions = (&services[0]["CreateIndex"], &services[0]["ModifyIndex"]);
    assert_eq!(revisions, (&json!(32), &json!(32)));
    let expected = json!({"Gateway": {"Name": "gate"}, "Service": {"Name": "api"},
        "GatewayKind": "terminating-gateway", "CAFile": "a", "CertFile": "b", "KeyFile": "c", "SNI": "d",
        "CreateIndex": 32, "ModifyIndex": 32, "AutoHostRewrite": true});
    assert_eq!(services[0], expected);
    assert_eq!(
        (&services[1]["FromWildcard"], &services[1]["ServiceKind"]),
        (&json!(true), &json!("service"))
    );
    assert_eq!(read(&world, "/v1/catalog/gateway-services/none"), Value::Null);
}

#[test]
fn services_behind_an_ingress_gateway_name_it() {
    let mut world = World::full();
    let gateway = json!({"Name": "in", "Kind": "ingress-gateway", "Port": 443});
    put(&mut world, "/v1/agent/service/register", &gateway);
    assert_eq!(read(&world, "/v1/health/ingress/db"), json!([]));
    let seen = index(&world, "/v1/health/ingress/db");
    let entry = json!({"Kind": "ingress-gateway", "Name": "in", "Listeners": [
        {"Port": 9999, "Services": [{"Name": "db"}]}, {"Port": 8888, "Services": [{"Name": "api"}]}]});
    put(&mut world, "/v1/config", &entry);
    let found = read(&world, "/v1/health/ingress/db?passing");
    assert_eq!(found[0]["Service"]["Service"], "in");
    assert!(index(&world, "/v1/health/ingress/db") > seen);
    assert_eq!(read(&world, "/v1/health/ingress/web"), json!([]));
    let services = read(&world, "/v1/catalog/gateway-services/in");
    let port =
        |it: &Value| (it["Service"]["Name"].clone(), it["Port"].clone(), it["Protocol"].clone());
    let ports: Vec<_> = services.as_array().unwrap().iter().map(port).collect();
    let expected = |name: &str, port: u16| (json!(name), json!(port), json!("tcp"));
    assert_eq!(ports, [expected("api", 8888), expected("db", 9999)]);
}

#[test]
fn proxies_are_shown_with_what_entries_say_of_them_when_asked() {
    let mut world = World::of_appendix();
    let proxy = json!({"Name": "api-proxy", "Kind": "connect-proxy", "Port": 1, "Proxy": {
        "DestinationServiceName": "api", "Config": {"own": 1},
        "Upstreams": [{"DestinationName": "db", "LocalBindPort": 9191, "Config": {"connect_timeout_ms": 7}}]}});
    put(&mut world, "/v1/agent/service/register", &proxy);
    for entry in [
        json!({"Kind": "proxy-defaults", "Config": {"own": 2, "all": 3}, "Mode": "direct",
            "MeshGateway": {"Mode": "remote"}, "AccessLogs": {"Enabled": true}}),
        json!({"Kind": "service-defaults", "Name": "api", "Protocol": "http", "MeshGateway": {"Mode": "local"},
            "UpstreamConfig": {"Defaults": {"ConnectTimeoutMs": 5, "Limits": {"MaxConnections": 3}}}}),
        json!({"Kind": "service-defaults", "Name": "db", "Protocol": "grpc"}),
    ] {
        put(&mut world, "/v1/config", &entry);
    }
    let path = "/v1/catalog/service/api-proxy";
    assert_eq!(read(&world, path)[0]["ServiceProxy"]["Config"], json!({"own": 1}));
    let merged = read(&world, &format!("{path}?merge-central-config"));
    let shown = &merged[0]["ServiceProxy"];
    assert_eq!(shown["Config"], json!({"own": 1, "all": 3, "protocol": "http"}));
    assert_eq!(
        (&shown["Mode"], &shown["MeshGateway"]),
        (&json!("direct"), &json!({"Mode": "local"}))
    );
    assert_eq!(shown["AccessLogs"], json!({"Enabled": true}));
    let upstream =
        json!({"protocol": "grpc", "connect_timeout_ms": 7, "limits": {"MaxConnections": 3}});
    assert_eq!(shown["Upstreams"][0]["Config"], upstream);
    let keys = match world
        .step(&request("GET", &format!("{path}?merge-central-config&index=99"), ""), false)
    {
        Step::Wait { keys, .. } => keys,
        _ => panic!("it does not wait"),
    };
    assert!(keys.contains(&WatchKey::Table(Table::ConfigEntry)));
}

#[test]
fn addresses_are_assigned_to_services_that_are_called_through_the_mesh() {
    let mut world = World::full();
    let path = "/v1/internal/service-virtual-ip";
    let assign = |world: &mut World, service: &str, addresses: &[&str]| -> Value {
        let body = json!({"Service": service, "ManualVIPs": addresses}).to_string();
        let (status, text) = world.put(path, &body);
        assert_eq!(status, 200, "{text}");
        serde_json::from_str(&text).expect("JSON")
    };
    let nothing = json!({"Found": false, "UnassignedFrom": null});
    assert_eq!(assign(&mut world, "one", &["1.1.1.1"]), nothing);
    for name in ["one", "two"] {
        put(&mut world, "/v1/config", &json!({"Kind": "service-resolver", "Name": name}));
    }
    let found = json!({"Found": true, "UnassignedFrom": null});
    assert_eq!(assign(&mut world, "one", &["1.1.1.1", "2.2.2.2"]), found);
    let moved = json!({"Found": true,
        "UnassignedFrom": [{"ServiceName": {"Name": "one"}, "Peer": ""}]});
    assert_eq!(assign(&mut world, "two", &["1.1.1.1", "2.2.2.2"]), moved);
    for (body, text) in [
        (r#"{"ManualVIPs":[]}"#, "Missing Service"),
        (r#"{"Service":"one","ManualVIPs":["::1"]}"#, "\"::1\" is not an IPv4 address"),
        (r#"{"Service":"one","Other":1}"#, "unknown field \"Other\""),
    ] {
        let (status, refused) = world.put(path, body);
        assert_eq!(status, 400, "{refused}");
        assert!(refused.contains(text), "{refused}");
    }
}
