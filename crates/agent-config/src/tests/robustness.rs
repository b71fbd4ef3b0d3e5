//! Any JSON at all is merged and read, or refused; merging keeps its promises.

use proptest::prelude::*;

use super::*;

/// Keys that mean something, in any letter case, and some that do not.
fn any_key() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "acl",
        "addresses",
        "agent",
        "autopilot",
        "bind_addr",
        "bootstrap",
        "ca_config",
        "check",
        "checks",
        "client_addr",
        "config_entries",
        "connect",
        "default_policy",
        "defaults",
        "dns",
        "dns_config",
        "enabled",
        "http",
        "http_config",
        "https",
        "leno",
        "limits",
        "locality",
        "meta",
        "mode",
        "node_meta",
        "ports",
        "recursors",
        "request_limits",
        "service",
        "services",
        "service_ttl",
        "session_ttl_min",
        "soa",
        "tagged_addresses",
        "tls",
        "tokens",
        "unix_sockets",
        "watches",
    ]);
    (known, 0..8_u8).prop_map(|(key, form)| match form {
        0 => key.to_uppercase(),
        1 => format!("{key}x"),
        2 => String::new(),
        _ => key.to_owned(),
    })
}

fn any_value() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        Just(""),
        Just("10s"),
        Just("-1h"),
        Just("127.0.0.1"),
        Just("unix:///a"),
        Just("::/0"),
        Just("true"),
        Just("off"),
        Just("deny"),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-2_i64..70_000).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.prop_map(Value::from),
        ".{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            2 => prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            4 => prop::collection::vec((any_key(), inner), 0..5)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

fn source(name: &str, value: Value) -> Source {
    Source { name: name.into(), value }
}

/// What holds of any values: an agent, or errors that name keys; a second time the same.
pub(super) fn take(values: &[Value]) {
    let named = values.iter().enumerate();
    let sources: Vec<Source> =
        named.map(|(at, value)| source(&format!("{at}.json"), value.clone())).collect();
    let merged = match merge(&sources) {
        Ok(merged) => merged,
        Err(findings) => {
            assert!(!findings.is_empty() && values.iter().any(|it| !it.is_object()));
            assert!(findings.iter().all(|it| !it.place.file.is_empty()));
            return;
        }
    };
    assert!(merged.is_object());
    // What is merged is whole: there is nothing left to gather, and a file that says nothing changes nothing.
    let again = source("merged", merged.clone());
    assert_eq!(merge(std::slice::from_ref(&again)).as_ref(), Ok(&merged));
    let nothing = source("empty", json!({}));
    assert_eq!(merge(&[nothing.clone(), again, nothing]).as_ref(), Ok(&merged));
    match (read(&merged), read(&merged)) {
        (Ok((config, findings)), again) => {
            assert!(findings.iter().all(|it| it.severity != model::Severity::Error));
            assert!(config.services.iter().chain(&config.checks).all(Value::is_object));
            assert!(again.is_ok_and(|(same, told)| same == config && told == findings));
        }
        (Err(findings), again) => {
            assert!(findings.iter().any(|it| it.severity == model::Severity::Error));
            assert!(findings.iter().all(|it| !it.message.is_empty()), "{findings:?}");
            for finding in &findings {
                // Whatever is wrong is wrong somewhere.
                let is_found = source_of(&sources, &finding.field).is_some();
                assert!(is_found, "{finding}");
            }
            assert_eq!(again.err(), Some(findings));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]
    #[test]
    fn any_values_make_an_agent_or_errors(values in prop::collection::vec(any_value(), 0..4)) {
        take(&values);
    }

    #[test]
    fn files_that_say_different_things_come_in_any_order(
        first in any_value(),
        second in any_value(),
    ) {
        let sources = [source("a", json!({"a": first})), source("b", json!({"b": second}))];
        let mut turned = sources.clone();
        turned.reverse();
        prop_assert_eq!(merge(&sources), merge(&turned));
    }
}

#[test]
fn values_that_are_as_deep_as_a_reader_takes_are_merged_and_read() {
    for (open, close) in [("[", "]"), ("{\"service\":", "}"), ("[{\"check\":", "}]")] {
        let deep = format!("{{\"service\":{}1{}}}", open.repeat(50), close.repeat(50));
        take(&[serde_json::from_str(&deep).unwrap()]);
    }
}

#[test]
fn blocks_that_are_written_in_parts_are_one() {
    // As HCL gathers `ports { … } ports { … }`, in one file and over two.
    let parts = json!({
        "ports": [{"http": 1}, {"dns": 2}],
        "limits": [
            {"request_limits": [{"mode": "permissive"}]},
            {"request_limits": [{"read_rate": 5}]},
        ],
    });
    let more = json!({
        "ports": [{"HTTP": 3}],
        "dns_config": [{"soa": [{"refresh": 1}]}, {"soa": [{"retry": 2}]}],
    });
    let config = of(merge(&[source("a", parts), source("b", more)]).unwrap());
    assert_eq!((config.ports.http, config.ports.dns), (Some(Some(3)), Some(Some(2))));
    let rates = &config.limits.rates;
    assert_eq!((rates.mode, rates.read_rate), (RateMode::Permissive, Some(5.0)));
    assert_eq!(config.dns.soa, [Some(1), Some(2), None, None]);
}

#[test]
fn definitions_are_each_one_of_many() {
    let file =
        |name: &str| json!({"service": [{"name": name, "check": [{"ttl": "1s"}]}, {"name": "x"}]});
    // JSON has one alone as an object.
    let alone = source("c", json!({"Service": {"name": "c"}, "check": {"name": "m"}}));
    let last = source("d", json!({"service": [{"name": "d"}], "check": {"name": "n"}}));
    let sources = [source("a", file("a")), source("b", file("b")), alone, last];
    let config = of(merge(&sources).unwrap());
    let names: Vec<_> = config.services.iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["a", "x", "b", "x", "c", "d"]);
    assert_eq!(config.checks, [json!({"name": "m"}), json!({"name": "n"})]);
    assert_eq!(config.services[0]["check"], json!({"ttl": "1s"}));
}

#[test]
fn an_error_is_found_in_the_file_that_it_is_from() {
    let sources = [
        source("a.json", json!({"ports": {"http": 1}, "acl": [{"tokens": [{"agent": "x"}]}]})),
        source("b.json", json!({"PORTS": {"htttp": 1}})),
        source("c.json", json!({"ports": {"http": "x"}})),
        source("d.hcl", json!({"tls": [{"https": [{"tls_min_version": "TLSv1_1"}]}]})),
        source("e.hcl", json!({"dns_config": {"service_ttl": {"a.b": "x"}}})),
    ];
    let name = |field: &str| source_of(&sources, field).map(|it| it.name.as_str());
    for (field, file) in [
        ("ports.htttp", Some("b.json")),
        // The last one counts.
        ("ports.http", Some("c.json")),
        ("acl.tokens.agent", Some("a.json")),
        ("tls.https.tls_min_version", Some("d.hcl")),
        ("dns_config.service_ttl.a.b", Some("e.hcl")),
        ("ports", Some("c.json")),
        ("nope", None),
        ("ports.http.more", None),
        ("", None),
    ] {
        assert_eq!(name(field), file, "{field}");
    }
}

#[test]
fn tokens_are_not_in_errors() {
    for value in [
        json!({"acl": {"tokens": {"agent": ["s3cret"], "default": {"s3cret": 1}}}}),
        json!({"acl": [{"tokens": {"agent": "s3cret"}}, 1]}),
        json!({"acl": {"tokens": ["s3cret"]}}),
    ] {
        let told = errors(value);
        assert!(!told.is_empty() && told.iter().all(|it| !it.contains("s3cret")), "{told:?}");
    }
}
