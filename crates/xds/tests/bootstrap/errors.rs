//! What is wrong is said with its place, what is expected, and what came.

use xds::bootstrap::ReadError;

use crate::{read, with_clusters, with_http};

/// Reading `text` fails with exactly these lines.
fn check(text: &str, expected: &[&str]) {
    let error = read(text).expect_err(text);
    assert_eq!(error.to_string().lines().collect::<Vec<_>>(), expected, "{text}");
}

/// The same for an HTTP listener, whose paths begin alike.
fn check_http(fields: &str, routes: &str, expected: &[&str]) {
    let start = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.";
    let expected: Vec<String> = expected.iter().map(|it| format!("{start}{it}")).collect();
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    check(&with_http(fields, routes), &expected);
}

const FORWARD: &str = "- { match: { prefix: / }, route: { cluster: web } }";

#[test]
fn a_text_that_is_neither_yaml_nor_json() {
    let error = read("static_resources: [").unwrap_err().to_string();
    assert!(error.starts_with("line ") && error.ends_with("; correct the YAML"), "{error}");
    let error = read("{\"node\": {]").unwrap_err().to_string();
    assert!(error.ends_with("; correct the JSON"), "{error}");
    let deep = format!("node: {}{}", "[".repeat(100), "]".repeat(100));
    assert!(matches!(read(&deep), Err(ReadError::Syntax { .. })));
    let large = " ".repeat((4 << 20) + 1);
    assert!(matches!(read(&large), Err(ReadError::TooLarge { .. })));
    check("a text", &["must be a map, not a string; write a map"]);
}

#[test]
fn unknown_fields() {
    check(
        "static_resource: {}",
        &["static_resource: unknown field of config.bootstrap.v3.Bootstrap; did you mean \
           `static_resources`?"],
    );
    check(
        &with_clusters("- { name: c, lb_polcy: RANDOM, whatever: 1 }"),
        &[
            "static_resources.clusters[0].lb_polcy: unknown field of config.cluster.v3.Cluster; did \
             you mean `lb_policy`?",
            "static_resources.clusters[0].whatever: unknown field of config.cluster.v3.Cluster; \
             remove it",
        ],
    );
    check(
        "{\"node\": {\"id\": \"a\", \"userAgentName\": \"x\", \"user_agent_name\": \"y\", \"zone\": 1}}",
        &["node.zone: unknown field of config.core.v3.Node; remove it"],
    );
}

#[test]
fn wrong_types_and_ranges() {
    let cases = [
        ("name: 7", "name: must be a string, not a number; put it in quotes"),
        ("name: ''", "name: must not be empty; give `name` a value"),
        ("{}", "name: missing; add `name`"),
        (
            "{ name: c, connect_timeout: 5 }",
            "connect_timeout: must be a duration such as \"1.5s\", not a number; write a duration \
             such as \"1.5s\"",
        ),
        (
            "{ name: c, connect_timeout: 5m }",
            "connect_timeout: \"5m\" is not a duration; write seconds and `s`, such as 0.25s or 30s",
        ),
        (
            "{ name: c, connect_timeout: 0s }",
            "connect_timeout: must be longer than 0s; write a longer one",
        ),
        (
            "{ name: c, type: EDS }",
            "type: \"EDS\" is not supported in a file; use type STATIC, STRICT_DNS or LOGICAL_DNS",
        ),
        (
            "{ name: c, lb_policy: FASTEST }",
            "lb_policy: \"FASTEST\" is not supported here; choose one of ROUND_ROBIN, LEAST_REQUEST, \
             RING_HASH, RANDOM, MAGLEV, LOAD_BALANCING_POLICY_CONFIG",
        ),
        (
            "{ name: c, lb_policy: MAGLEV, maglev_lb_config: { table_size: 100 } }",
            "maglev_lb_config.table_size: 100 is not prime; choose a prime, such as 65537",
        ),
        (
            "{ name: c, lb_policy: RING_HASH, ring_hash_lb_config: { minimum_ring_size: 9000000 } }",
            "ring_hash_lb_config.minimum_ring_size: 9000000 is not from 1 to 8388608; choose a \
             number in this range",
        ),
        (
            "{ name: c, outlier_detection: { max_ejection_percent: 101 } }",
            "outlier_detection.max_ejection_percent: 101 is not from 0 to 100; choose a number in \
             this range",
        ),
        (
            "{ name: c, type: LOGICAL_DNS, load_assignment: { cluster_name: c } }",
            "load_assignment.endpoints: LOGICAL_DNS takes one endpoint, not 0; keep one, or use \
             STRICT_DNS",
        ),
        (
            "{ name: c, load_assignment: { cluster_name: c, endpoints: [{ lb_endpoints: [{ endpoint: { \
             address: { socket_address: { address: example.com, port_value: 80 } } } }] }] } }",
            "load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.address: \
             \"example.com\" is not an IP address; write one, or give the cluster the type STRICT_DNS",
        ),
        (
            "{ name: c, type: STATIC, cluster_type: { name: x } }",
            "cluster_type: cannot be given beside type; keep one of the two",
        ),
        (
            "{ name: c, http2_protocol_options: { max_concurrent_streams: many } }",
            "http2_protocol_options.max_concurrent_streams: must be a whole number, not a string; \
             write a whole number",
        ),
        (
            "{ name: c, health_checks: [{ interval: 1s, timeout: 1s, healthy_threshold: 1, \
             tcp_health_check: { send: { text: xyz } } }] }",
            "health_checks[0].tcp_health_check.send.text: is not hexadecimal; write two digits for \
             each byte, such as 50494e47",
        ),
    ];
    for (cluster, expected) in cases {
        let text = with_clusters(&format!("- {cluster}"));
        let error = read(&text).expect_err(cluster).to_string();
        let expected = format!("static_resources.clusters[0].{expected}");
        assert!(error.lines().any(|line| line == expected), "{cluster}:\n{error}");
    }
}

#[test]
fn references_that_lead_nowhere() {
    check_http(
        "codec_type: AUTO",
        "- { match: { prefix: / }, route: { cluster: nobody } }",
        &[
            "route_config.virtual_hosts[0].routes[0].route.cluster: there is no cluster \"nobody\"; add \
           it to static_resources.clusters",
        ],
    );
    check(
        "cluster_manager: { local_cluster_name: self }",
        &["cluster_manager.local_cluster_name: there is no cluster \"self\"; add it to \
           static_resources.clusters"],
    );
    check(
        &with_clusters("- name: a\n- name: a"),
        &[
            "static_resources.clusters[1]: there are two of the name \"a\"; give each a name of its own",
        ],
    );
}

#[test]
fn what_must_not_be_dropped() {
    let rbac = "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC";
    let router = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
    check_http(
        &format!(
            "http_filters:\n- {{ name: rbac, typed_config: {{ \"@type\": {rbac} }} }}\n- {{ name: router, \
             typed_config: {{ \"@type\": {router} }} }}"
        ),
        FORWARD,
        &[
            "http_filters[0].typed_config: extensions.filters.http.rbac.v3.RBAC refuses requests that \
           would pass without it; remove it if that is wanted",
        ],
    );
    check_http(
        "codec_type: AUTO",
        "- { match: { prefix: /, dynamic_metadata: [{ filter: x }] }, route: { cluster: web } }",
        &["route_config.virtual_hosts[0].routes[0].match.dynamic_metadata: this condition is not \
           supported, and must not be dropped; match by path, headers or query"],
    );
    check_http(
        "common_http_protocol_options: { headers_with_underscores_action: REJECT_REQUEST }",
        FORWARD,
        &[
            "common_http_protocol_options.headers_with_underscores_action: requests with such headers \
           would pass; remove it if that is wanted",
        ],
    );
}

#[test]
fn listeners_and_routes_that_cannot_be() {
    check_http(
        "codec_type: HTTP3",
        FORWARD,
        &["codec_type: \"HTTP3\" is not supported here; choose one of AUTO, HTTP1, HTTP2"],
    );
    check_http(
        "rds: {}",
        FORWARD,
        &["rds: cannot be given beside route_config; keep one of the two"],
    );
    check_http(
        "http_filters: []",
        FORWARD,
        &["http_filters: there is no router; end http_filters with envoy.filters.http.router"],
    );
    check_http(
        "codec_type: AUTO",
        "- { match: { prefix: /, path: / }, direct_response: { status: 99 } }",
        &[
            "route_config.virtual_hosts[0].routes[0].direct_response.status: 99 is not from 200 to \
             599; choose a number in this range",
            "route_config.virtual_hosts[0].routes[0].match.path: cannot be given beside prefix; keep \
             one of the two",
        ],
    );
    check_http(
        "codec_type: AUTO",
        "- match: { prefix: / }\n  route: { weighted_clusters: { clusters: [{ name: web, weight: 0 }] } }",
        &[
            "route_config.virtual_hosts[0].routes[0].route.weighted_clusters.clusters: the weights add up \
           to 0; let them add up to 1 or more, below 2^32",
        ],
    );
}

#[test]
fn a_certificate_whose_file_is_missing_is_not_one_that_is_not_named() {
    let listener = |context: &str| {
        format!(
            "static_resources: {{ listeners: [{{ name: l, address: {{ socket_address: {{ address: 127.0.0.1, \
             port_value: 0 }} }}, filter_chains: [{{ filters: [{{ name: t, typed_config: {{ '@type': \
             type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: t, \
             cluster: c }} }}], transport_socket: {{ name: tls, typed_config: {{ '@type': \
             type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext, \
             common_tls_context: {context} }} }} }}] }}], clusters: [{{ name: c }}] }}"
        )
    };
    let place = "static_resources.listeners[0].filter_chains[0].transport_socket.typed_config.\
                 common_tls_context.tls_certificates";
    let missing = "{ tls_certificates: [{ certificate_chain: { filename: /a }, private_key: { \
                   filename: /b } }] }";
    let file = |name: &str, file: &str| {
        format!(
            "{place}[0].{name}.filename: \"{file}\" cannot be read: {file} is not there; name a file \
             that this process may read"
        )
    };
    let (chain, key) = (file("certificate_chain", "/a"), file("private_key", "/b"));
    check(&listener(missing), &[&chain, &key]);
    check(&listener("{}"), &[&format!("{place}: there is no certificate; add one")]);
    let named = listener("{ tls_certificate_sds_secret_configs: [{ name: s }] }").replacen(
        "static_resources: {",
        "static_resources: { secrets: [{ name: s, tls_certificate: { certificate_chain: { filename: /a }, \
         private_key: { filename: /b } } }],",
        1,
    );
    let secret = "static_resources.secrets[0].tls_certificate";
    let (chain, key) = (
        chain.replace(&format!("{place}[0]"), secret),
        key.replace(&format!("{place}[0]"), secret),
    );
    check(&named, &[&chain, &key]);
}

/// What is beside an error may be honored, though nobody came so far as to take it.
#[test]
fn nothing_beside_an_error_is_called_not_honored() {
    let text = "static_resources: { listeners: [{ name: l, address: {}, filter_chains: [{ filters: [] }] }], \
                clusters: [{ name: c, alt_stat_name: d }] }";
    let Err(ReadError::Wrong { findings }) = read(text) else { panic!("it is wrong") };
    let paths: Vec<&str> = findings.iter().map(|it| it.path.as_str()).collect();
    assert!(
        paths.iter().any(|it| it.starts_with("static_resources.listeners[0].address")),
        "{paths:?}"
    );
    assert!(!paths.contains(&"static_resources.listeners[0].filter_chains"), "{paths:?}");
    assert!(paths.contains(&"static_resources.clusters[0].alt_stat_name"), "{paths:?}");
}

#[test]
fn secrets_are_in_no_message() {
    let text = "static_resources: { secrets: [{ name: s, tls_certificate: { certificate_chain: { \
                inline_string: none }, private_key: { inline_string: hunter2 } } }] }";
    check(
        text,
        &[
            "static_resources.secrets[0].tls_certificate.certificate_chain: holds no certificate in PEM; \
         write the certificate and its key as PEM",
            "static_resources.secrets[0].tls_certificate.private_key: holds no private key in PEM; write \
         the certificate and its key as PEM",
        ],
    );
    check(
        "static_resources: { secrets: [{ name: s, validation_context: { trusted_ca: { filename: /a } } }] }",
        &[
            "static_resources.secrets[0].validation_context.trusted_ca.filename: \"/a\" cannot be read: /a is \
           not there; name a file that this process may read",
        ],
    );
}
