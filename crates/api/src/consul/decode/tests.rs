use serde_json::{Value, json};

use super::*;
use crate::Settings;

mod catalog;
mod proxy;

fn agent() -> AgentInfo {
    AgentInfo {
        node_name: "n1".into(),
        node_id: "8c7f0a2e-1d7c-4c5b-9f62-1c0c1f2b3a4d".to_owned(),
        datacenter: "dc1".to_owned(),
        address: "10.0.0.1".to_owned(),
        http_port: 8500,
        dns_port: 8600,
        consul_version: "1.21.4".to_owned(),
        leno_version: "0.0.0".to_owned(),
        started: model::Timestamp(0),
        dev: false,
        script_checks: true,
        settings: Settings::default(),
    }
}

fn stored(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap()
}

/// `whole` has every field of `part`, with its value.
#[track_caller]
fn assert_has(whole: &Value, part: &Value, context: &str) {
    let (Value::Object(whole), Value::Object(part)) = (whole, part) else {
        assert_eq!(whole, part, "{context}");
        return;
    };
    for (name, value) in part {
        let found = whole.get(name).unwrap_or(&Value::Null);
        assert_eq!(found, value, "{name} of {context}");
    }
}

#[track_caller]
fn check_service(body: &str, instance: Value, checks: &[Value]) {
    let registration = service_registration(body.as_bytes(), &agent());
    let registration = registration.unwrap_or_else(|it| panic!("{body}: {}", it.text));
    assert_has(&stored(&registration.instance), &instance, body);
    assert_eq!(registration.checks.len(), checks.len(), "{body}");
    for (found, expected) in registration.checks.iter().zip(checks) {
        assert_has(&stored(found), expected, body);
    }
}

#[test]
fn a_port_out_of_range_is_refused_by_its_name() {
    for (body, text) in [
        (r#"{"Name":"a","Port":70000}"#, "Invalid Port: 70000 is not between 0 and 65535"),
        (r#"{"Name":"a","Port":-1}"#, "Invalid Port: -1 is not between 0 and 65535"),
        (
            r#"{"Name":"a","TaggedAddresses":{"lan":{"Port":65536}}}"#,
            "Invalid TaggedAddresses.Port: 65536 is not between 0 and 65535",
        ),
    ] {
        let refused = service_registration(body.as_bytes(), &agent()).unwrap_err();
        assert_eq!((refused.status, refused.text.as_str()), (400, text), "{body}");
    }
}

#[test]
fn a_service_is_read_with_its_defaults() {
    check_service(
        r#"{"Name":"web"}"#,
        json!({"node": "n1", "id": "web", "service": "web", "origin": "agent", "port": 0,
               "weights": {"passing": 1, "warning": 1}, "meta": null, "tagged_addresses": null}),
        &[],
    );
    check_service(
        r#"{"ID":"web1","Name":"web","Tags":["a","b"],"Address":"10.0.0.5","Port":80,
            "Meta":{"version":"1"},"EnableTagOverride":true,"Weights":{"Passing":10,"Warning":0},
            "Kind":"typical","SocketPath":"/s","Connect":{"Native":true,"Other":1},"Token":"t",
            "Locality":{"Region":"r","Zone":"z"},
            "TaggedAddresses":{"wan_ipv4":{"Address":"1.2.3.4","Port":81}}}"#,
        json!({"id": "web1", "service": "web", "tags": ["a", "b"], "address": "10.0.0.5",
               "port": 80, "meta": {"version": "1"}, "enable_tag_override": true, "kind": "typical",
               "weights": {"passing": 10, "warning": 0}, "socket_path": "/s",
               "connect_native": true, "locality": {"region": "r", "zone": "z"},
               "tagged_addresses": {"lan_ipv4": {"address": "10.0.0.5", "port": 80},
                                    "wan_ipv4": {"address": "1.2.3.4", "port": 81}}}),
        &[],
    );
    check_service(
        r#"{"Name":"web","Address":"fd00::1","Port":80}"#,
        json!({"tagged_addresses": {"lan_ipv6": {"address": "fd00::1", "port": 80},
                                    "wan_ipv6": {"address": "fd00::1", "port": 80}}}),
        &[],
    );
    check_service(
        r#"{"Name":"web","Address":"web.example","Meta":{}}"#,
        json!({"tagged_addresses": null, "meta": {}}),
        &[],
    );
}

#[test]
fn letter_case_snake_case_and_null_are_no_matter() {
    check_service(
        r#"{"name":"web","ID":null,"id":"w","tags":null,"address":"h","port":8080,"Check":null,
            "Checks":null,"Meta":null,"Weights":null,"Connect":null,"Proxy":null,"TOKEN":null,
            "enable_tag_override":true,"tagged_addresses":{"lan":{"address":"a","port":null}}}"#,
        json!({"id": "w", "service": "web", "port": 8080, "enable_tag_override": true,
               "tagged_addresses": {"lan": {"address": "a", "port": 0}}}),
        &[],
    );
    check_service(
        r#"{"Name":"a","name":"b"} what follows is not read"#,
        json!({"service": "b"}),
        &[],
    );
    check_service(
        r#"{"Name":"a","Proxy":{"Mode":"","MeshGateway":{},"Upstreams":[]},"Connect":{}}"#,
        json!({"service": "a", "connect_native": false}),
        &[],
    );
}

#[test]
fn checks_of_a_service_get_names_and_numbers() {
    check_service(
        r#"{"Name":"web","ID":"w1","check":{"ttl":"15.0s","notes":"n"}}"#,
        json!({}),
        &[json!({"node": "n1", "id": "service:w1", "name": "Service 'web' check", "kind": "ttl",
                 "service_id": "w1", "status": "critical", "notes": "n", "origin": "agent",
                 "definition": {"ttl": 15_000_000_000_u64, "success_before_passing": 0,
                                "failures_before_warning": 0, "failures_before_critical": 0,
                                "output_bytes_max": 0}})],
    );
    check_service(
        r#"{"Name":"web","ID":"w1",
            "Check":{"HTTP":"http://h","Interval":"10s","Timeout":1000000000,"Status":"passing"},
            "Checks":[{"TCP":"h:1","Interval":"1m","CheckID":"mine","Name":"My check"},
                      null, {"GRPC":"h:2","Interval":"1s","grpc_use_tls":true}]}"#,
        json!({}),
        &[
            json!({"id": "service:w1:1", "kind": "http", "status": "passing"}),
            json!({"id": "mine", "kind": "tcp", "name": "My check", "status": "critical"}),
            json!({"id": "service:w1:3", "kind": "grpc", "service_id": "w1"}),
        ],
    );
    check_service(r#"{"Name":"web","Check":{},"Checks":[]}"#, json!({}), &[]);
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, BadRequest>, status: u16, text: &str, body: &str) {
    let expected = BadRequest { status, text: text.to_owned() };
    assert_eq!(result.unwrap_err(), expected, "{body}");
}

#[test]
fn services_are_judged_in_consuls_order_and_words() {
    let cases: &[(&str, u16, &str)] = &[
        ("null", 400, "Missing service name"),
        (r#"{"Address":"0.0.0.0"}"#, 400, "Missing service name"),
        (r#"{"Name":"a","Address":"[::]","Weights":{}}"#, 400, "Invalid service address"),
        (
            r#"{"Name":"a","Weights":{},"Meta":{"":""}}"#,
            400,
            "Invalid Weights: Passing must be greater than 0",
        ),
        (
            r#"{"Name":"a","Weights":{"Passing":1,"Warning":-1}}"#,
            400,
            "Invalid Weights: Warning must be greater or equal than 0",
        ),
        (
            r#"{"Name":"a","Weights":{"Passing":65536}}"#,
            400,
            "Invalid Weights: DNS Weight must be between 0 and 65535",
        ),
        (r#"{"Name":"a","Checks":[{}]}"#, 400, "Invalid check: TTL must be > 0 for TTL checks"),
        (
            r#"{"Name":"a","Check":{"TTL":"1s","Status":"ok"}}"#,
            400,
            "Status for checks must 'passing', 'warning', 'critical'",
        ),
        (
            r#"{"Name":"a","TaggedAddresses":{"lan_ipv4":{"Address":"::1"}}}"#,
            500,
            "Service tagged address \"lan_ipv4\" must be a valid ipv4 address",
        ),
    ];
    for (body, status, text) in cases {
        refused(service_registration(body.as_bytes(), &agent()), *status, text, body);
    }
}

#[test]
fn metadata_of_a_service_is_bounded() {
    let long_key = "k".repeat(129);
    let long_value = "v".repeat(513);
    let many: serde_json::Map<_, _> = (0..65).map(|n| (format!("k{n}"), json!("v"))).collect();
    let meta = |meta: Value| json!({"Name": "web", "Meta": meta}).to_string();
    let pair = |key: &str, value: &str| {
        format!("Invalid Service Meta: Couldn't load metadata pair ('{key}', '{value}'): ")
    };
    let cases = [
        (
            meta(Value::Object(many)),
            "Invalid Service Meta: Node metadata cannot contain more than 64 key/value pairs"
                .to_owned(),
        ),
        (meta(json!({"": "v"})), pair("", "v") + "Key cannot be blank"),
        (meta(json!({"a.b": "v"})), pair("a.b", "v") + "Key contains invalid characters"),
        (
            meta(json!({ &long_key: "v" })),
            pair(&long_key, "v") + "Key is too long (limit: 128 characters)",
        ),
        (
            meta(json!({"consul-x": "v"})),
            pair("consul-x", "v") + "Key prefix 'consul-' is reserved for internal use",
        ),
        (
            meta(json!({ "k": &long_value })),
            pair("k", &long_value) + "Value is too long (limit: 512 characters)",
        ),
    ];
    for (body, text) in cases {
        refused(service_registration(body.as_bytes(), &agent()), 400, &text, &body);
    }
}

/// Bodies of `agent/service/register`, and why Go cannot decode them.
const UNDECODABLE: &[(&str, &str)] = &[
    ("", "EOF"),
    (" \n ", "EOF"),
    ("{", "unexpected EOF"),
    (r#"{"Name":"a"#, "unexpected EOF"),
    ("x", "invalid character 'x' looking for beginning of value"),
    ("nul!", "invalid character '!' in literal"),
    ("{'Name'", r"invalid character '\'' looking for beginning of object key string"),
    (r#"{"Name" 1}"#, "invalid character '1' after object key"),
    (r#"{"Name":"a" "ID""#, "invalid character '\"' after object key:value pair"),
    (r#"{"Name":"a",}"#, "invalid character '}' looking for beginning of object key string"),
    (r#"{"Tags":["a" 1]}"#, "invalid character '1' after array element"),
    (r#"{"Tags":["a",]}"#, "invalid character ']' looking for beginning of value"),
    ("{\n\"Name\": é}", "invalid character 'é' looking for beginning of value"),
    (r#"{"Name":"\q"}"#, "invalid character 'q' in string escape code"),
    ("{\"Name\":\"a\nb\"}", "invalid character '\\n' in string literal"),
    (r#"{"Port":-x}"#, "invalid character 'x' in numeric literal"),
    ("[]", "json: cannot unmarshal array into Go value of type structs.ServiceDefinition"),
    (r#"{"Foo":1}"#, r#"json: unknown field "Foo""#),
    (r#"{"Name":"a","Namespace":"x"}"#, r#"json: unknown field "Namespace""#),
    (r#"{"Check":{"ID":"x"}}"#, r#"json: unknown field "ID""#),
    (r#"{"Weights":{"Foo":1}}"#, r#"json: unknown field "Foo""#),
    (
        r#"{"Port":"80"}"#,
        "json: cannot unmarshal string into Go struct field ServiceDefinition.Port of type int",
    ),
    (
        r#"{"Port":80.5}"#,
        "json: cannot unmarshal number 80.5 into Go struct field ServiceDefinition.Port of type int",
    ),
    (
        r#"{"Name":1}"#,
        "json: cannot unmarshal number into Go struct field ServiceDefinition.Name of type string",
    ),
    (
        r#"{"Tags":"a"}"#,
        "json: cannot unmarshal string into Go struct field ServiceDefinition.Tags of type []string",
    ),
    (
        r#"{"Meta":{"a":true}}"#,
        "json: cannot unmarshal bool into Go struct field ServiceDefinition.Meta of type string",
    ),
    (
        r#"{"Weights":{"Passing":"x"}}"#,
        "json: cannot unmarshal string into Go struct field Weights.Weights.Passing of type int",
    ),
    (
        r#"{"EnableTagOverride":"true"}"#,
        "json: cannot unmarshal string into Go struct field ServiceDefinition.EnableTagOverride of type bool",
    ),
    (
        r#"{"Check":{"HTTP":{}}}"#,
        "json: cannot unmarshal object into Go struct field CheckType.HTTP of type string",
    ),
    (r#"{"Check":{"TTL":"soon"}}"#, r#"time: invalid duration "soon""#),
    (r#"{"Check":{"TTL":"15"}}"#, r#"time: missing unit in duration "15""#),
    (
        r#"{"Check":{"TTL":1e300}}"#,
        "json: cannot unmarshal number 1e+300 into Go struct field CheckType.TTL of type time.Duration",
    ),
];

#[test]
fn what_go_cannot_decode_is_refused_in_its_words() {
    for (body, reason) in UNDECODABLE {
        let text = format!("Request decode failed: {reason}");
        refused(service_registration(body.as_bytes(), &agent()), 400, &text, body);
    }
}

#[test]
fn a_check_is_read_alone() {
    let body = r#"{"Name":"mem","service_id":"web","args":["a","b"],"Interval":1.5e9,"Timeout":"-3s",
        "Header":{"X":["1",null]},"DeregisterCriticalServiceAfter":"1m","OutputMaxSize":9000,
        "FailuresBeforeWarning":1,"FailuresBeforeCritical":2,"SuccessBeforePassing":-1,
        "tls_skip_verify":true,"Status":"warning"}"#;
    let check = check_registration(body.as_bytes(), &agent()).unwrap();
    let expected = json!({
        "node": "n1", "id": "mem", "name": "mem", "service_id": "web", "kind": "script",
        "status": "warning", "origin": "agent",
        "definition": {"args": ["a", "b"], "interval": 1_500_000_000, "header": {"X": ["1", ""]},
            "deregister_critical_service_after": 60_000_000_000_u64, "output_bytes_max": 4096,
            "failures_before_warning": 1, "failures_before_critical": 2,
            "success_before_passing": 0, "tls_skip_verify": true},
    });
    assert_has(&stored(&check), &expected, body);
}

#[test]
fn an_alias_may_have_an_interval_that_nothing_needs() {
    let body = br#"{"Name":"a","AliasService":"s","Interval":"10s"}"#;
    let check = check_registration(body, &agent()).unwrap();
    assert_eq!(check.kind, "alias");
    assert_eq!(check.definition.unwrap().interval.as_secs(), 10);
}

#[test]
fn a_check_of_a_service_may_name_another_and_stays_with_its_own() {
    for name in ["ServiceID", "serviceid", "service_id"] {
        let check = format!(r#"{{"{name}":"other","TTL":"10s"}}"#);
        let expected = json!({"id": "service:web1", "service_id": "web1"});
        for body in [
            format!(r#"{{"ID":"web1","Name":"web","Check":{check}}}"#),
            format!(r#"{{"ID":"web1","Name":"web","Checks":[{check}]}}"#),
        ] {
            check_service(&body, json!({"id": "web1"}), std::slice::from_ref(&expected));
        }
    }
}

#[test]
fn an_h2_ping_uses_tls_unless_told_otherwise() {
    let cases = [
        (r#"{"Name":"a","H2PING":"h:1","Interval":"1s"}"#, true),
        (r#"{"Name":"a","H2PING":"h:1","Interval":"1s","H2PingUseTLS":false}"#, false),
        (r#"{"Name":"a","H2PING":"h:1","Interval":"1s","h2ping_use_tls":false}"#, false),
        (r#"{"Name":"a","TTL":"1s"}"#, false),
    ];
    for (body, uses_tls) in cases {
        let check = check_registration(body.as_bytes(), &agent()).unwrap();
        assert_eq!(check.definition.unwrap().h2ping_use_tls, uses_tls, "{body}");
    }
}

#[test]
fn checks_are_judged_in_consuls_order_and_words() {
    let cases = [
        (r#"{"TTL":"1s"}"#, "Missing check name"),
        (r#"{"Name":"a","Status":"ok"}"#, "Bad check status"),
        (
            r#"{"Name":"a","Interval":"1s","TTL":"1s"}"#,
            "Invalid check: Interval and TTL cannot both be specified",
        ),
        (
            r#"{"Name":"a","HTTP":"http://h","Interval":"-1s"}"#,
            "Invalid check: Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks",
        ),
        (
            r#"{"Name":"a","AliasService":"s","TCP":"h:1","Interval":"1s"}"#,
            "Invalid check: Interval cannot be set for Alias checks",
        ),
        (
            r#"{"Name":"a","AliasNode":"n","TTL":"1s"}"#,
            "Invalid check: TTL must be not be set for Alias checks",
        ),
        (r#"{"Name":"a"}"#, "Invalid check: TTL must be > 0 for TTL checks"),
        (r#"{"Name":"a","Interval":"1s"}"#, "Invalid check: TTL must be > 0 for TTL checks"),
        (
            r#"{"Name":"a","TTL":"1s","OutputMaxSize":-1,"FailuresBeforeWarning":1}"#,
            "Invalid check: MaxOutputMaxSize must be positive",
        ),
        (
            r#"{"Name":"a","TTL":"1s","FailuresBeforeWarning":1}"#,
            "Invalid check: FailuresBeforeWarning can't be higher than FailuresBeforeCritical",
        ),
        (
            r#"{"Name":"a","DockerContainerID":"c","Args":["x"],"Interval":"1s"}"#,
            "Invalid check: DockerContainerID of a check is not supported by this version of Leno",
        ),
        (r#"{"Name":"a","CheckID":"x"}"#, "Request decode failed: json: unknown field \"CheckID\""),
    ];
    for (body, text) in cases {
        refused(check_registration(body.as_bytes(), &agent()), 400, text, body);
    }
}

#[test]
fn scripts_run_only_where_they_are_enabled() {
    let agent = AgentInfo { script_checks: false, ..agent() };
    let text = "Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true";
    let alone = r#"{"Name":"a","ScriptArgs":["x"],"Interval":"1s"}"#;
    refused(check_registration(alone.as_bytes(), &agent), 500, text, alone);
    let embedded = r#"{"Name":"a","Check":{"args":["x"],"Interval":"1s"}}"#;
    refused(service_registration(embedded.as_bytes(), &agent), 500, text, embedded);
}

#[test]
fn a_verdict_is_one_of_three() {
    let update = check_update(br#"{"status":"warning","Output":"slow"}"#);
    let expected = CheckUpdate { status: CheckStatus::Warning, output: "slow".to_owned() };
    assert_eq!(update, Ok(expected));
    let cases = [
        (r#"{"Status":"ok"}"#, "Invalid check status: 'ok'"),
        ("{}", "Invalid check status: ''"),
        (r#"{"State":"passing"}"#, "Request decode failed: json: unknown field \"State\""),
        ("", "Request decode failed: EOF"),
    ];
    for (body, text) in cases {
        refused(check_update(body.as_bytes()), 400, text, body);
    }
}

proptest::proptest! {
    #[test]
    fn no_body_makes_it_panic(
        text in "([{}\\[\\]:,\"\\\\é\n x0-9.-]|null|true|\"(Name|Check|TTL|Meta|Weights)\":|\"1s\"){0,30}",
        bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..40),
    ) {
        for body in [text.as_bytes(), &bytes] {
            let _ = service_registration(body, &agent());
            let _ = check_registration(body, &agent());
            let _ = catalog_registration(body, &agent());
            let _ = catalog_deregistration(body, &agent());
            let _ = check_update(body);
        }
    }
}
