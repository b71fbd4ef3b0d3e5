//! What of entries is told.

use super::*;

#[test]
fn every_field_without_a_meaning_here_is_named() {
    let none = "has no effect in Leno's data plane";
    for (body, expected) in [
        (
            json!({
                "Kind": "service-intentions", "Name": "a",
                "Sources": [{"Name": "b", "Action": "deny"}],
            }),
            vec!["a: Kind: is kept and answered, and has no effect in Leno's data plane".to_owned()],
        ),
        (
            json!({"Kind": "service-defaults", "Name": "a", "MutualTLSMode": "permissive"}),
            vec![format!("a: MutualTLSMode: {none}")],
        ),
        (
            json!({"Kind": "service-defaults", "Name": "a", "MeshGateway": {"Mode": "local"}}),
            vec![format!("a: MeshGateway: {none}")],
        ),
        (
            json!({
                "Kind": "service-defaults", "Name": "a",
                "UpstreamConfig": {
                    "Defaults": {"ConnectTimeoutMs": 5},
                    "Overrides": [{"Name": "b", "EnvoyClusterJSON": "{}", "Protocol": "http"}],
                },
            }),
            vec![
                format!("a: UpstreamConfig.Defaults: {none}"),
                "a: UpstreamConfig.Overrides[0]: holds for all who call b through the mesh \
                 listener, which does not tell callers apart"
                    .to_owned(),
                format!("a: UpstreamConfig.Overrides[0].EnvoyClusterJSON: {none}"),
                format!("a: UpstreamConfig.Overrides[0].Protocol: {none}"),
            ],
        ),
        (
            json!({
                "Kind": "proxy-defaults", "Name": "global",
                "Config": {"protocol": "http", "envoy_tracing_json": "{}"},
                "AccessLogs": {"Enabled": true},
            }),
            vec![
                format!("global: AccessLogs: {none}"),
                format!("global: Config.envoy_tracing_json: {none}"),
            ],
        ),
        (
            json!({"Kind": "service-defaults", "Name": "a", "MaxInboundConnections": 5}),
            vec![
                "a: MaxInboundConnections: holds for the connections of each calling proxy to an \
                 instance, not for their sum"
                    .to_owned(),
            ],
        ),
        (
            json!({
                "Kind": "service-resolver", "Name": "a",
                "Failover": {"*": {"Service": "b", "Policy": {
                    "Mode": "order-by-locality", "Regions": ["r"],
                }}},
                "PrioritizeByLocality": {"Mode": "failover"},
            }),
            vec![
                "a: Failover[*].Policy.Mode: targets are tried in the order in which they are written"
                    .to_owned(),
                format!("a: Failover[*].Policy.Regions: {none}"),
                format!("a: PrioritizeByLocality: {none}"),
            ],
        ),
        (
            json!({
                "Kind": "service-resolver", "Name": "a",
                "LoadBalancer": {
                    "Policy": "least_request", "LeastRequestConfig": {"ChoiceCount": 1},
                },
            }),
            vec![
                "a: LoadBalancer.LeastRequestConfig.ChoiceCount: of one instance there is nothing \
                 to choose: two are compared"
                    .to_owned(),
            ],
        ),
        (
            json!({
                "Kind": "service-resolver", "Name": "a",
                "LoadBalancer": {
                    "Policy": "ring_hash", "RingHashConfig": {"MaximumRingSize": 9_000_000},
                },
            }),
            vec![
                "a: LoadBalancer.RingHashConfig.MaximumRingSize: 9000000 is over 8388608, which it \
                 is cut to"
                    .to_owned(),
            ],
        ),
        (
            json!({
                "Kind": "service-router", "Name": "a",
                "Routes": [{"Match": {"HTTP": {"PathRegex": "/x", "CaseInsensitive": true}}}],
            }),
            vec![
                "a: Routes[0].Match.HTTP.CaseInsensitive: has no meaning for a regular expression"
                    .to_owned(),
            ],
        ),
    ] {
        let mut world = world(std::slice::from_ref(&body));
        world.put(entry(&json!({"Kind": "service-defaults", "Name": "z", "Protocol": "http"})));
        if body["Kind"] == "service-router" {
            world.put(entry(&http("a")));
        }
        let compiled = world.compile();
        assert_eq!(messages(&compiled), expected, "{body}");
    }
}

#[test]
fn a_filter_that_asks_for_what_instances_do_not_have_fits_none_and_is_told() {
    let compiled = world(&[json!({
        "Kind": "service-resolver", "Name": "web", "DefaultSubset": "bad",
        "Subsets": {"bad": {"Filter": "Service.Nothing == 1"}},
    })])
    .compile();
    assert_eq!(by_priority(&compiled, "web/bad"), [""; 0]);
    let [message] = messages(&compiled).try_into().expect("one finding");
    assert!(message.starts_with("web: Subsets[bad].Filter: "), "{message}");
    assert!(message.ends_with(": no instance is of the subset"), "{message}");
}

#[test]
fn entries_that_make_no_chain_leave_the_service_as_it_is_and_are_told() {
    let splitter = json!({"Kind": "service-splitter", "Name": "web", "Splits": [{"Weight": 100}]});
    let compiled = world(&[splitter]).compile();
    assert_eq!(target(&compiled, "web").name, "web");
    let key = compiled.diagnostics[0].0.to_string();
    assert_eq!(key, "service-splitter/web");
    let [message] = messages(&compiled).try_into().expect("one finding");
    assert!(message.contains("does not permit advanced routing"), "{message}");
}

#[test]
fn legs_with_different_time_limits_have_the_longest_and_are_told() {
    let limited = |name: &str, seconds: u8| json!({"Kind": "service-resolver", "Name": name, "RequestTimeout": format!("{seconds}s")});
    let splitter = json!({
        "Kind": "service-splitter", "Name": "web",
        "Splits": [{"Weight": 50}, {"Weight": 50, "Service": "api"}],
    });
    let entries = [http("web"), http("api"), limited("web", 3), limited("api", 4), splitter];
    let compiled = world(&entries).compile();
    assert_eq!(forward(&routes_of(&compiled, "web")[0]).timeout.as_secs(), 4);
    assert_eq!(compiled.diagnostics.len(), 1);
    assert_eq!(compiled.diagnostics[0].1.field, "Splits");
}

#[test]
fn of_two_callers_that_say_how_a_third_is_called_the_first_is_heard() {
    let says = |name: &str, connections: u8| {
        json!({
            "Kind": "service-defaults", "Name": name,
            "UpstreamConfig": {"Overrides": [
                {"Name": "web", "Limits": {"MaxConnections": connections}},
            ]},
        })
    };
    let compiled = world(&[says("b", 2), says("a", 1)]).compile();
    assert_eq!(target(&compiled, "web").breakers.connections_max, 1);
    let shown = messages(&compiled).join("\n");
    assert!(shown.contains("b: UpstreamConfig.Overrides[0]: service-defaults/a says"), "{shown}");
}
