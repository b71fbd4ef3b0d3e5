//! The way of a request to a service.

use super::*;

const SCOPE: Scope<'static> = Scope { datacenter: "dc1", trust_domain: "trust.consul" };

fn chain(entries: &[Value], service: &str) -> Value {
    let compiled = Chain::compile(&catalog(entries), service, SCOPE, &Overrides::default());
    compiled.expect("it is right").show()
}

#[test]
fn service_of_which_nothing_is_said_has_a_default_chain() {
    let expected = json!({
        "ServiceName": "web", "Namespace": "default", "Partition": "default", "Datacenter": "dc1",
        "Default": true, "Protocol": "tcp", "StartNode": "resolver:web.default.default.dc1",
        "Nodes": {"resolver:web.default.default.dc1": {
            "Type": "resolver", "Name": "web.default.default.dc1",
            "Resolver": {"ConnectTimeout": "5s", "Default": true, "Target": "web.default.default.dc1"},
        }},
        "Targets": {"web.default.default.dc1": {
            "ConnectTimeout": "5s", "ID": "web.default.default.dc1", "Service": "web",
            "Namespace": "default", "Partition": "default", "Datacenter": "dc1",
            "MeshGateway": {}, "Subset": {}, "TransparentProxy": {},
            "SNI": "web.default.dc1.internal.trust.consul",
            "Name": "web.default.dc1.internal.trust.consul",
        }},
    });
    assert_eq!(chain(&[], "web"), expected);
}

#[test]
fn overrides_make_a_difference_and_a_hash() {
    let resolver = json!({"Kind": "service-resolver", "Name": "web", "ConnectTimeout": "33s"});
    let overrides = Overrides {
        mesh_gateway: "local".into(),
        protocol: "grpc".into(),
        connect_timeout: 22_000_000_000,
    };
    let scope = Scope { datacenter: "dc2", ..SCOPE };
    let chain =
        Chain::compile(&catalog(&[resolver]), "web", scope, &overrides).expect("valid").show();
    assert_eq!(chain["CustomizationHash"], "98809527");
    assert_eq!((&chain["Protocol"], &chain["Default"]), (&json!("grpc"), &Value::Null));
    let target = &chain["Targets"]["web.default.default.dc2"];
    assert_eq!(
        (&target["ConnectTimeout"], &target["MeshGateway"]["Mode"]),
        (&json!("22s"), &json!("local"))
    );
}

#[test]
fn override_to_bytes_leaves_routing_out() {
    let splitter = json!({"Kind": "service-splitter", "Name": "web",
        "Splits": [{"Weight": 50}, {"Weight": 50, "Service": "b"}]});
    let overrides = Overrides { protocol: "tcp".into(), ..Overrides::default() };
    let entries = catalog(&[http("web"), http("b"), splitter]);
    let chain = Chain::compile(&entries, "web", SCOPE, &overrides).expect("valid");
    assert_eq!(chain.start, "resolver:web.default.default.dc1");
    assert!(!chain.customization_hash.is_empty());
}

#[test]
fn routes_lead_through_splitters_to_subsets() {
    let entries = [
        http("web"),
        http("admin"),
        json!({"Kind": "service-router", "Name": "web", "Routes": [
            {"Match": {"HTTP": {"PathPrefix": "/admin"}}, "Destination": {"Service": "admin"}},
            {"Match": {"HTTP": {"PathExact": "/v2"}}, "Destination": {"ServiceSubset": "v2"}}]}),
        json!({"Kind": "service-splitter", "Name": "web", "Splits": [
            {"Weight": 90, "ServiceSubset": "v1"}, {"Weight": 10, "ServiceSubset": "v2"}]}),
        json!({"Kind": "service-resolver", "Name": "web", "Subsets": {
            "v1": {"Filter": "Service.Meta.version == v1"}, "v2": {"OnlyPassing": true}},
            "LoadBalancer": {"Policy": "maglev"}}),
    ];
    let chain = chain(&entries, "web");
    assert_eq!(chain["StartNode"], "router:web.default.default");
    let routes = chain["Nodes"]["router:web.default.default"]["Routes"].as_array().expect("a list");
    let next: Vec<&Value> = routes.iter().map(|it| &it["NextNode"]).collect();
    assert_eq!(
        next,
        [
            "resolver:admin.default.default.dc1",
            "resolver:v2.web.default.default.dc1",
            "splitter:web.default.default",
        ]
    );
    assert_eq!(routes[2]["Definition"]["Match"]["HTTP"]["PathPrefix"], "/");
    let splitter = &chain["Nodes"]["splitter:web.default.default"];
    assert_eq!(splitter["LoadBalancer"], json!({"Policy": "maglev"}));
    assert_eq!(splitter["Splits"][0]["Weight"], 90);
    assert_eq!(splitter["Splits"][0]["NextNode"], "resolver:v1.web.default.default.dc1");
    let v1 = &chain["Targets"]["v1.web.default.default.dc1"];
    assert_eq!(v1["Subset"], json!({"Filter": "Service.Meta.version == v1"}));
    assert_eq!(v1["SNI"], "v1.web.default.dc1.internal.trust.consul");
    assert_eq!(chain["Targets"].as_object().expect("an object").len(), 3);
}

#[test]
fn redirects_failover_and_default_subsets_are_followed() {
    let entries = [
        json!({"Kind": "service-resolver", "Name": "old", "Redirect": {"Service": "web"}}),
        json!({"Kind": "service-resolver", "Name": "web", "DefaultSubset": "v1", "Subsets": {"v1": {}, "v2": {}},
            "Failover": {"v1": {"ServiceSubset": "v2"}, "*": {"Datacenters": ["dc2", "dc1"]}}}),
    ];
    let compiled = chain(&entries, "old");
    assert_eq!(compiled["StartNode"], "resolver:v1.web.default.default.dc1");
    let node = &compiled["Nodes"]["resolver:v1.web.default.default.dc1"];
    assert_eq!(node["Resolver"]["Failover"], json!({"Targets": ["v2.web.default.default.dc1"]}));
    let targets: Vec<&String> =
        compiled["Targets"].as_object().expect("an object").keys().collect();
    assert_eq!(targets, ["v1.web.default.default.dc1", "v2.web.default.default.dc1"]);
    assert_eq!(compiled["Default"], Value::Null);
    // The way to another datacenter, and not to where we are.
    let entries = [json!({"Kind": "service-resolver", "Name": "web",
        "Failover": {"*": {"Datacenters": ["dc1", "dc2"]}}})];
    let node = &chain(&entries, "web")["Nodes"]["resolver:web.default.default.dc1"];
    assert_eq!(node["Resolver"]["Failover"]["Targets"], json!(["web.default.default.dc2"]));
}

#[test]
fn splitters_that_follow_each_other_become_one() {
    let entries = [
        http("a"),
        http("b"),
        http("c"),
        json!({"Kind": "service-splitter", "Name": "a", "Splits": [
            {"Weight": 60, "Service": "b", "RequestHeaders": {"Set": {"x": "a", "y": "a"}}},
            {"Weight": 40}]}),
        json!({"Kind": "service-splitter", "Name": "b", "Splits": [
            {"Weight": 50, "RequestHeaders": {"Set": {"x": "b"}}}, {"Weight": 50, "Service": "c"}]}),
    ];
    let chain = chain(&entries, "a");
    let nodes = chain["Nodes"].as_object().expect("an object");
    assert_eq!(nodes.keys().filter(|it| it.starts_with("splitter")).count(), 1);
    let splits = nodes["splitter:a.default.default"]["Splits"].as_array().expect("a list");
    let weights: Vec<(&Value, &Value)> =
        splits.iter().map(|it| (&it["Weight"], &it["NextNode"])).collect();
    assert_eq!(
        weights,
        [
            (&json!(30), &json!("resolver:b.default.default.dc1")),
            (&json!(30), &json!("resolver:c.default.default.dc1")),
            (&json!(40), &json!("resolver:a.default.default.dc1")),
        ]
    );
    assert_eq!(splits[0]["Definition"]["RequestHeaders"], json!({"Set": {"x": "b", "y": "a"}}));
}

#[test]
fn chains_have_a_bound() {
    let mut entries: Vec<Value> = (0..70).map(|idx| http(&format!("s{idx}"))).collect();
    entries.extend((0..69).map(|idx| {
        json!({"Kind": "service-splitter", "Name": format!("s{idx}"),
            "Splits": [{"Weight": 100, "Service": format!("s{}", idx + 1)}]})
    }));
    let compiled = Chain::compile(&catalog(&entries), "s0", SCOPE, &Overrides::default());
    assert_eq!(compiled, Err(ChainError::TooLarge("s0".to_owned())));
    assert!(Chain::compile(&catalog(&entries), "s10", SCOPE, &Overrides::default()).is_ok());
    // Splits that double at each of 40 splitters.
    let mut entries: Vec<Value> = (0..41).map(|idx| http(&format!("s{idx}"))).collect();
    entries.extend((0..40).map(|idx| {
        let to = format!("s{}", idx + 1);
        json!({"Kind": "service-splitter", "Name": format!("s{idx}"), "Splits": [
            {"Weight": 50, "Service": to}, {"Weight": 50, "Service": to, "Namespace": "default"}]})
    }));
    let compiled = Chain::compile(&catalog(&entries), "s0", SCOPE, &Overrides::default());
    assert_eq!(compiled, Err(ChainError::TooLarge("s0".to_owned())));
}

#[test]
fn a_redirect_to_a_peer_ends_there_whatever_our_own_entries_say() {
    let here = json!({"Kind": "service-resolver", "Name": "web",
        "Redirect": {"Service": "web", "Peer": "east"}});
    let chain = chain(&[here], "web");
    let targets: Vec<&String> = chain["Targets"].as_object().expect("targets").keys().collect();
    assert_eq!(targets, ["web.default.default.external.east"]);
}
