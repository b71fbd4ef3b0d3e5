mod corpus;
mod robustness;

use serde_json::{Value, json};

use super::*;

fn of(value: Value) -> AgentConfig {
    read(&value).expect("it is fine").0
}

fn errors(value: Value) -> Vec<String> {
    read(&value).expect_err("it is wrong").iter().map(ToString::to_string).collect()
}

#[test]
fn what_the_official_test_server_writes_is_read() {
    let config = of(json!({
        "node_name": "node-1", "node_id": "5a6f", "performance": {"raft_multiplier": 1},
        "bootstrap": true, "server": true, "data_dir": "/tmp/d", "segments": null,
        "disable_update_check": true, "log_level": "debug", "bind_addr": "127.0.0.1",
        "addresses": {}, "ports": {"dns": 1, "http": 2, "https": 3, "serf_lan": 4, "serf_wan": 5,
        "server": 6, "grpc": 7, "grpc_tls": 8},
        "acl": {"tokens": {}}, "connect": {"enabled": true, "ca_config": {"cluster_id": "11"}},
        "skip_leave_on_interrupt": true, "peering": {"enabled": true}, "version": "1.21.4"
    }));
    assert_eq!(config.node_name.as_deref(), Some("node-1"));
    assert_eq!(config.ports.http, Some(Some(2)));
    assert_eq!(config.connect.cluster_id.as_deref(), Some("11"));
    assert_eq!(config.advertise, Some("127.0.0.1".parse().unwrap()));
}

#[test]
fn later_sources_win_for_values_and_add_to_lists() {
    let source = |value| Source { name: "f".into(), value };
    let merged = merge(&[
        source(
            json!({"Datacenter": "DC1", "recursors": ["1.1.1.1"], "ports": {"http": 1, "dns": 2}}),
        ),
        source(json!({"datacenter": "dc2", "recursors": ["2.2.2.2"], "ports": {"http": -1}})),
        source(json!({})),
    ]);
    let config = of(merged.unwrap());
    assert_eq!(config.datacenter.as_deref(), Some("dc2"));
    assert_eq!(config.dns.recursors, ["1.1.1.1", "2.2.2.2"]);
    assert_eq!((config.ports.http, config.ports.dns), (Some(None), Some(Some(2))));
    assert!(merge(&[source(json!([]))]).is_err());
}

#[test]
fn how_long_changes_are_guarded_is_read_by_kind() {
    let guard = json!([{"default": "30s", "kinds": [{"Ingress": "60s", "Secret": "off"}]}]);
    let leno = of(json!({"leno": {"guard": guard}})).leno;
    assert_eq!(leno.guard.as_deref(), Some("30s"));
    let kinds = [("Ingress", "60s"), ("Secret", "off")];
    assert_eq!(leno.guard_kinds, kinds.map(|(kind, time)| (kind.to_owned(), time.to_owned())));
    let wrong = errors(json!({"leno": {"guard": {"kind": "60s"}}}));
    assert_eq!(wrong, ["leno.guard.kind: invalid config key leno.guard.kind"]);
}

#[test]
fn a_key_that_is_not_consuls_is_an_error_by_its_whole_name() {
    assert_eq!(errors(json!({"nodename": "a"})), ["nodename: invalid config key nodename"]);
    assert_eq!(
        errors(json!({"ports": {"htttp": 1}, "acl": {"tokens": {"x": "y"}}})),
        [
            "ports.htttp: invalid config key ports.htttp",
            "acl.tokens.x: invalid config key acl.tokens.x"
        ]
    );
}

#[test]
fn a_key_that_is_not_honored_is_named() {
    let (_, findings) = read(
        &json!({"retry_join": ["a"], "segments": [], "tls": {"grpc": {"use_auto_cert": true}}}),
    )
    .unwrap();
    let findings: Vec<&str> = findings.iter().map(|it| it.field.as_str()).collect();
    assert_eq!(findings, ["tls.grpc", "retry_join"]);
}

#[test]
fn a_key_that_is_not_honored_says_what_to_do_instead() {
    let (_, findings) =
        read(&json!({"retry_join": ["a"], "log_file": "/a", "watches": [{}]})).unwrap();
    for finding in findings {
        assert!(!finding.remedy.is_empty(), "{finding:?}");
        assert!(finding.to_string().contains(&finding.remedy), "{finding}");
    }
}

#[test]
fn several_servers_are_refused_for_they_would_be_several_registries() {
    let text = &errors(json!({"bootstrap_expect": 3}))[0];
    assert!(text.starts_with("bootstrap_expect: 3 servers would be 3 registries"), "{text}");
    for servers in [0, 1] {
        of(json!({"bootstrap_expect": servers, "bootstrap": true}));
    }
}

#[test]
fn a_level_of_the_log_is_one_of_consuls() {
    assert_eq!(
        errors(json!({"log_level": "loud"})),
        ["log_level: \"loud\" is no log level: trace, debug, info, warn, err, error, off"]
    );
    assert_eq!(of(json!({"log_level": "WARN"})).log_level.as_deref(), Some("WARN"));
}

#[test]
fn a_value_of_the_wrong_sort_says_what_is_expected() {
    let cases = [
        (json!({"server": "perhaps"}), "server: \"perhaps\" is not true or false"),
        (json!({"ports": {"http": 70000}}), "ports.http: 70000 is not a port: -1 to 65535"),
        (
            json!({"bind_addr": "node-1"}),
            "bind_addr: \"node-1\" is not an IP address; names are not resolved",
        ),
        (
            json!({"session_ttl_min": "10"}),
            "session_ttl_min: time: missing unit in duration \"10\"",
        ),
        (
            json!({"http_config": {"allow_write_http_from": ["10.0.0.0/33"]}}),
            "http_config.allow_write_http_from: \"10.0.0.0/33\" is not a network such as 127.0.0.0/8",
        ),
        (
            json!({"acl": {"default_policy": "ask"}}),
            "acl.default_policy: \"ask\" is neither allow nor deny",
        ),
        (
            json!({"limits": {"request_limits": {"mode": "strict"}}}),
            "limits.request_limits.mode: \"strict\" is none of disabled, permissive, enforcing",
        ),
    ];
    for (value, error) in cases {
        assert_eq!(errors(value), [error]);
    }
}

#[test]
fn definitions_get_the_names_of_the_api_and_keep_free_keys() {
    let config =
        of(json!({"service": [{"name": "web", "tagged_addresses": {"lan_ipv4": {"address": "a"}},
        "meta": [{"my_key": "v"}], "checks": [{"deregister_critical_service_after": "1m"}]}]}));
    assert_eq!(
        config.services,
        [json!({"name": "web", "taggedaddresses": {"lan_ipv4": {"address": "a"}},
            "meta": {"my_key": "v"}, "checks": [{"deregistercriticalserviceafter": "1m"}]})]
    );
}

#[test]
fn tokens_have_their_old_names_too_and_are_not_shown() {
    let config = of(
        json!({"acl": {"enabled": true, "default_policy": "deny", "tokens": {"master": "s1", "agent_master": "s2"}}}),
    );
    assert_eq!(config.acl.tokens.initial_management.as_deref(), Some("s1"));
    let shown = format!("{config:?}");
    assert!(shown.contains("initial_management") && !shown.contains("s1"), "{shown}");
}
