//! What is refused, and in which words.

use super::*;

fn refused(entry: &Value, others: &[Value]) -> String {
    verdict(entry, others).expect_err("it is refused")
}

#[test]
fn resolvers_are_checked() {
    let check = |fields: Value, text: &str| {
        let mut entry = json!({"Kind": "service-resolver", "Name": "web"});
        entry
            .as_object_mut()
            .expect("it is one")
            .extend(fields.as_object().expect("it is one").clone());
        assert_eq!(refused(&entry, &[]), text);
    };
    let subsets = json!({"v1": {}});
    check(json!({"DefaultSubset": "v1"}), "DefaultSubset \"v1\" is not a valid subset");
    check(json!({"Redirect": {}}), "Redirect is empty");
    check(
        json!({"Redirect": {"Service": "a"}, "Failover": {"*": {"Service": "b"}}}),
        "Redirect and Failover cannot both be set",
    );
    check(
        json!({"Redirect": {"ServiceSubset": "v1"}, "Subsets": subsets}),
        "Redirect.ServiceSubset defined without Redirect.Service",
    );
    check(
        json!({"Redirect": {"Service": "a", "Peer": "p", "Datacenter": "d"}}),
        "Redirect.Peer cannot be set with Redirect.Datacenter",
    );
    check(
        json!({"Failover": {"v9": {"Service": "a"}}}),
        "Bad Failover[\"v9\"]: not a valid subset subset",
    );
    check(
        json!({"Failover": {"*": {}}}),
        "Bad Failover[\"*\"]: one of Service, ServiceSubset, Namespace, Targets, SamenessGroup, or Datacenters is required",
    );
    check(
        json!({"Failover": {"*": {"Targets": [{"Peer": "p", "Datacenter": "d"}]}}}),
        "Bad Failover[\"*\"].Targets[0]: Peer cannot be set with Datacenter",
    );
    check(
        json!({"LoadBalancer": {"Policy": "best"}}),
        "Bad LoadBalancer policy: \"best\" is not supported",
    );
    check(
        json!({"LoadBalancer": {"Policy": "maglev", "HashPolicies": [{"Field": "header"}]}}),
        "Bad LoadBalancer HashPolicy[0]: Field \"header\" was specified without a FieldValue",
    );
    let bad_filter =
        json!({"Kind": "service-resolver", "Name": "web", "Subsets": {"v1": {"Filter": "a =="}}});
    assert!(
        refused(&bad_filter, &[]).starts_with("Filter for subset \"v1\" is not a valid expression")
    );
}

#[test]
fn splits_make_a_whole() {
    let split = |splits: Value| {
        verdict(
            &json!({"Kind": "service-splitter", "Name": "web", "Splits": splits}),
            &[http("web"), http("b")],
        )
    };
    assert_eq!(split(json!([{"Weight": 99.99}, {"Weight": 0.01, "Service": "b"}])), Ok(()));
    let refused = |splits: Value| split(splits).expect_err("it is refused");
    assert_eq!(refused(json!([])), "no splits configured");
    assert_eq!(
        refused(json!([{"Weight": 50}, {"Weight": 49, "Service": "b"}])),
        "the sum of all split weights must be 100, not 99.000000"
    );
    assert_eq!(
        refused(json!([{"Weight": 50}, {"Weight": 50, "Service": "web"}])),
        "split destination occurs more than once: service=\"web\", subset=\"\", namespace=\"\", partition=\"\""
    );
}

#[test]
fn routes_are_checked() {
    let route = |route: Value| {
        let entry = json!({"Kind": "service-router", "Name": "web", "Routes": [route]});
        refused(&entry, &[http("web")])
    };
    assert_eq!(
        route(json!({"Match": {"HTTP": {"PathExact": "/a", "PathPrefix": "/b"}}})),
        "Route[0] should only contain at most one of PathExact, PathPrefix, or PathRegex"
    );
    assert_eq!(
        route(json!({"Match": {"HTTP": {"PathPrefix": "a"}}})),
        "Route[0] PathPrefix doesn't start with '/': \"a\""
    );
    assert_eq!(
        route(
            json!({"Match": {"HTTP": {"Header": [{"Name": "a", "Exact": "b", "Present": true}]}}})
        ),
        "Route[0] Header[0] should only contain one of Present, Exact, Prefix, Suffix, or Regex"
    );
    assert_eq!(
        route(json!({"Destination": {"PrefixRewrite": "/"}})),
        "Route[0] cannot make use of PrefixRewrite without configuring either PathExact or PathPrefix"
    );
    assert_eq!(
        route(json!({"Destination": {"RetryOn": ["never"]}})),
        "Route[0] contains an invalid retry condition: \"never\""
    );
    let broken = route(json!({"Match": {"HTTP": {"PathRegex": "("}}}));
    assert!(broken.starts_with("Route[0] PathRegex is not a regular expression"), "{broken}");
}

#[test]
fn gateways_are_checked() {
    let ingress = |listeners: Value| {
        refused(
            &json!({"Kind": "ingress-gateway", "Name": "gw", "Listeners": listeners}),
            &[http("web")],
        )
    };
    assert_eq!(
        ingress(
            json!([{"Port": 1, "Services": [{"Name": "a"}]}, {"Port": 1, "Services": [{"Name": "b"}]}])
        ),
        "port 1 declared on two listeners"
    );
    assert_eq!(ingress(json!([{"Port": 1}])), "No service declared for listener with port 1");
    assert_eq!(
        ingress(json!([{"Port": 1, "Services": [{"Name": "*"}]}])),
        "Wildcard service name is only valid for protocol = 'http' (listener on port 1)"
    );
    assert_eq!(
        ingress(json!([{"Port": 1, "Services": [{"Name": "web"}]}])),
        "service \"web\" has protocol \"http\", which is incompatible with listener with protocol \"tcp\""
    );
    let terminating = json!({"Kind": "terminating-gateway", "Name": "gw", "Services": [{"Name": "a", "KeyFile": "k"}]});
    assert_eq!(
        refused(&terminating, &[]),
        "Service \"a\" must have a CertFile, CAFile, and KeyFile specified for TLS origination"
    );
    let clash = json!({"Kind": "terminating-gateway", "Name": "gw"});
    let other = json!({"Kind": "ingress-gateway", "Name": "gw"});
    assert_eq!(
        refused(&clash, &[other]),
        "cannot create a \"terminating-gateway\" config entry with name \"gw\", a \"ingress-gateway\" config entry with that name already exists"
    );
    let api = json!({"Kind": "api-gateway", "Name": "gw", "Listeners": [{"Name": "A", "Port": 1, "Protocol": "http"}]});
    assert!(refused(&api, &[]).starts_with("listener name \"A\" is invalid"));
}

#[test]
fn entries_are_checked_among_others() {
    let router = json!({"Kind": "service-router", "Name": "web", "Routes": [{"Destination": {"Service": "db"}}]});
    assert_eq!(
        refused(&router, &[]),
        "discovery chain \"web\" uses a protocol \"tcp\" that does not permit advanced routing or splitting behavior"
    );
    assert_eq!(
        refused(&router, &[http("web")]),
        "discovery chain \"web\" uses inconsistent protocols; service \"db\" has \"tcp\" which is not \"http\""
    );
    assert_eq!(verdict(&router, &[http("web"), http("db")]), Ok(()));
    // What is there already must stay right, too.
    let plain = json!({"Kind": "service-defaults", "Name": "db", "Protocol": "tcp"});
    assert!(
        refused(&plain, &[http("web"), http("db"), router.clone()])
            .contains("inconsistent protocols")
    );
    let all = json!({"Kind": "proxy-defaults", "Config": {"protocol": "http"}});
    let none = json!({"Kind": "proxy-defaults", "Config": {}});
    assert_eq!(verdict(&router, std::slice::from_ref(&all)), Ok(()));
    assert!(refused(&none, &[all, router]).contains("does not permit advanced routing"));
    let loops = |name: &str, to: &str| json!({"Kind": "service-resolver", "Name": name, "Redirect": {"Service": to}});
    assert_eq!(
        refused(&loops("b", "a"), &[loops("a", "b")]),
        "detected circular resolver redirect: [a.default.default.dc1 -> b.default.default.dc1 -> a.default.default.dc1]"
    );
    let splits = |name: &str, to: &str| json!({"Kind": "service-splitter", "Name": name, "Splits": [{"Weight": 100, "Service": to}]});
    assert_eq!(
        refused(&splits("b", "a"), &[http("a"), http("b"), splits("a", "b")]),
        "detected circular reference: [splitter:a.default.default -> splitter:b.default.default -> splitter:a.default.default]"
    );
    let subset = json!({"Kind": "service-resolver", "Name": "a", "Redirect": {"Service": "b", "ServiceSubset": "v1"}});
    assert_eq!(refused(&subset, &[]), "service \"b\" does not have a subset named \"v1\"");
}

#[test]
fn other_kinds_are_checked() {
    for (entry, text) in [
        (
            json!({"Kind": "service-defaults", "Name": "*"}),
            "service-defaults name must be the name of a service, and not a wildcard",
        ),
        (json!({"Kind": "service-defaults"}), "Name is required"),
        (
            json!({"Kind": "proxy-defaults", "Name": "web"}),
            "invalid name (\"web\"), only \"global\" is supported",
        ),
        (
            json!({"Kind": "service-defaults", "Name": "a", "Destination": {"Addresses": ["a b"], "Port": 0}}),
            "Invalid Port number 0",
        ),
        (
            json!({"Kind": "service-defaults", "Name": "a",
            "UpstreamConfig": {"Overrides": [{"Name": "b", "Limits": {"MaxConnections": -1}}]}}),
            "error in upstream override for b: max connections cannot be negative",
        ),
        (
            json!({"Kind": "tcp-route", "Name": "a", "Services": [{"Name": "b"}, {"Name": "c"}]}),
            "tcp-route currently only supports one service",
        ),
        (
            json!({"Kind": "inline-certificate", "Name": "a", "Certificate": "x", "PrivateKey": "y"}),
            "failed to parse private key PEM",
        ),
        (
            json!({"Kind": "exported-services", "Name": "web"}),
            "exported-services Name must be \"default\"",
        ),
        (
            json!({"Kind": "jwt-provider", "Name": "a", "JSONWebKeySet": {}}),
            "must specify exactly one of Local or Remote JSON Web key set",
        ),
        (
            json!({"Kind": "service-defaults", "Name": "a", "Meta": {"k": "v".repeat(513)}}),
            "Meta value for key \"k\" exceeds maximum length 512",
        ),
        (
            json!({"Kind": "bound-api-gateway", "Name": "a"}),
            "bound-api-gateway entries are made from api-gateway entries, not written",
        ),
    ] {
        assert_eq!(refused(&entry, &[]), text);
    }
}
