//! How entries are read and shown.

use super::*;

#[test]
fn every_kind_shows_what_it_was_given_and_reads_that_back() {
    for entry in [
        json!({"Kind": "service-defaults", "Name": "web", "Protocol": "http",
            "TransparentProxy": {"DialedDirectly": true}, "MeshGateway": {}, "Expose": {},
            "UpstreamConfig": {"Overrides": [{"Name": "db", "Limits": {"MaxConnections": 0}, "MeshGateway": {}}]},
            "EnvoyExtensions": [{"Name": "builtin/lua", "Required": false, "Arguments": {"A": [1, {"b": null}]},
                "ConsulVersion": "", "EnvoyVersion": ""}],
            "Meta": {"a": "b"}}),
        json!({"Kind": "proxy-defaults", "Name": "global", "Config": {"protocol": "http", "n": 1.5},
            "TransparentProxy": {}, "MeshGateway": {"Mode": "local"}, "Expose": {}, "AccessLogs": {}}),
        json!({"Kind": "service-splitter", "Name": "web", "Splits": [
            {"Weight": 33.34, "ServiceSubset": "v1"}, {"Weight": 66.66, "ServiceSubset": "v2"}]}),
        json!({"ConnectTimeout": "5s", "Kind": "service-resolver", "Name": "web",
            "Subsets": {"v1": {"Filter": "Service.Meta.version == v1"}, "v2": {}},
            "Failover": {"*": {"Datacenters": ["dc2"]}},
            "LoadBalancer": {"Policy": "ring_hash", "HashPolicies": [
                {"Field": "cookie", "FieldValue": "c", "CookieConfig": {"TTL": 20_000_000, "Path": "/"}}]}}),
        json!({"Kind": "ingress-gateway", "Name": "gw", "TLS": {"Enabled": false}, "Listeners": null}),
        json!({"Kind": "terminating-gateway", "Name": "gw", "Services": [{"Name": "web", "SNI": "x"}]}),
        json!({"Kind": "mesh", "TransparentProxy": {"MeshDestinationsOnly": true}}),
        json!({"Kind": "exported-services", "Name": "default", "Services": [
            {"Name": "web", "Consumers": [{"Peer": "east"}]}]}),
        json!({"Kind": "service-intentions", "Name": "web", "Sources": [
            {"Name": "api", "Action": "allow", "Precedence": 9, "Type": "consul"}]}),
        json!({"Kind": "http-route", "Name": "r", "Parents": null, "Rules": [{
            "Filters": {"Headers": null, "URLRewrite": {"Path": "abc"}, "RetryFilter": null, "TimeoutFilter": null,
                "JWT": null},
            "ResponseFilters": {"Headers": null}, "Matches": null, "Services": null}],
            "Hostnames": null, "Status": {"Conditions": null}}),
    ] {
        assert_eq!(body(&entry), entry);
        assert_eq!(validate(&read(&entry).expect("valid")), Ok(()));
    }
}

#[test]
fn names_of_fields_are_found_in_any_letter_case_and_with_underscores() {
    let entry = json!({
        "kind": "service-resolver", "name": "web", "connect_timeout": "1500ms", "defaultSubset": "v1",
        "subsets": {"v1": {"only_passing": "true"}}, "CreateIndex": 7, "ModifyIndex": 8,
        "load_balancer": {"policy": "least_request", "LEAST_REQUEST_CONFIG": [{"choice_count": "3"}]},
    });
    let expected = json!({
        "ConnectTimeout": "1.5s", "Kind": "service-resolver", "Name": "web", "DefaultSubset": "v1",
        "Subsets": {"v1": {"OnlyPassing": true}},
        "LoadBalancer": {"Policy": "least_request", "LeastRequestConfig": {"ChoiceCount": 3}},
    });
    assert_eq!(body(&entry), expected);
    let exported = json!({"Kind": "exported-services", "Name": "default",
        "Services": [{"Name": "web", "Consumers": [{"peer_name": "east"}]}]});
    assert_eq!(body(&exported)["Services"][0]["Consumers"][0]["Peer"], "east");
}

#[test]
fn what_is_no_entry_is_refused_with_its_place() {
    let refused = |entry: &Value| read(entry).expect_err("it is none").to_string();
    let unknown =
        json!({"Kind": "service-router", "Name": "web", "Routes": [{"Foo": 1}], "Namespace": "x"});
    assert_eq!(
        refused(&unknown),
        "2 errors occurred:\n\t* invalid config key \"Routes[0].Foo\"\n\t* invalid config key \"Namespace\", \
         namespaces are a consul enterprise feature\n\n"
    );
    let mismatch = json!({"Kind": "service-router", "Name": {"a": 1}});
    assert_eq!(
        refused(&mismatch),
        "1 error(s) decoding:\n\n* 'Name' expected type 'string', got unconvertible type 'map[string]interface {}'"
    );
    let duration = json!({"Kind": "service-resolver", "Name": "web", "ConnectTimeout": "5"});
    assert!(refused(&duration).contains("missing unit in duration"), "{}", refused(&duration));
    for (entry, text) in [
        (json!({"Name": "web"}), "Payload does not contain a kind/Kind key at the top level"),
        (json!({"Kind": 1}), "Kind value in payload is not a string"),
        (json!({"Kind": "nope"}), "invalid config entry kind: nope"),
        (
            json!({"Kind": "sameness-group"}),
            "sameness-group config entries are a Consul Enterprise feature",
        ),
        (json!([]), "json: cannot unmarshal array into Go value of type map[string]interface {}"),
    ] {
        assert_eq!(refused(&entry), text);
    }
}

#[test]
fn entries_are_completed() {
    let router = json!({"Kind": "service-router", "Name": "web",
        "Routes": [{"Match": {"HTTP": {"Methods": ["get", "Post"]}}}]});
    assert_eq!(body(&router)["Routes"][0]["Match"]["HTTP"]["Methods"], json!(["GET", "POST"]));
    let gateway = json!({"Kind": "ingress-gateway", "Name": "gw", "Listeners": [
        {"Port": 1, "Services": [{"Name": "a"}]}, {"Port": 2, "Protocol": "HTTP", "Services": [{"Name": "a"}]}]});
    let listeners = &body(&gateway)["Listeners"];
    assert_eq!(
        (&listeners[0]["Protocol"], &listeners[1]["Protocol"]),
        (&json!("tcp"), &json!("http"))
    );
    let splitter = json!({"Kind": "service-splitter", "Name": "web", "Splits": [{"Weight": 12.346}, {"Weight": 0.5}]});
    let splits = &body(&splitter)["Splits"];
    assert_eq!((&splits[0]["Weight"], &splits[1]["Weight"]), (&json!(12.35), &json!(0.5)));
    let all = json!({"Kind": "proxy-defaults"});
    assert_eq!(body(&all)["Name"], "global");
    let route = json!({"Kind": "http-route", "Name": "r", "Status": {"Conditions": [{"Type": "Accepted"}]},
        "Rules": [{"Matches": [{"Method": "get"}], "Services": [{"Name": "web"}]}]});
    let shown = body(&route);
    assert_eq!(shown["Status"], json!({"Conditions": null}));
    assert_eq!(shown["Rules"][0]["Matches"][0]["Path"], json!({"Match": "prefix", "Value": "/"}));
    assert_eq!(shown["Rules"][0]["Services"][0]["Weight"], 1);
}

#[test]
fn hashes_are_those_that_go_makes() {
    // What Go's tests expect of a chain with these three overrides.
    let digits = format!("{:x}", crate::hash::customization("local", "grpc", 22_000_000_000));
    assert_eq!(&digits[..8], "98809527");
    // Two that differ in one field differ.
    let hash = |proxy: Value| proxy_hash(proxy.as_object().expect("it is one"));
    let plain = hash(json!({"DestinationServiceName": "web"}));
    assert_ne!(plain, hash(json!({"DestinationServiceName": "web", "Config": {"a": 1}})));
    assert_ne!(
        plain,
        hash(json!({"DestinationServiceName": "web", "Upstreams": [{"DestinationName": "db"}]}))
    );
}
