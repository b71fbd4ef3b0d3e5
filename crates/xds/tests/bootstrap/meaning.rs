//! A file that says nothing means what Envoy means by it.

use std::time::Duration;

use proxy_config::{
    Balancing, CircuitBreakers, ClusterChoice, HashFunction, HeaderChange, HttpListener, Listener,
    ListenerProtocol, OutlierDetection, PeakEwma, Resolution, RetryBudget, RetryPolicy,
    RouteAction, ServerHeader, UpstreamProtocol,
};
use xds::bootstrap::Severity;

use crate::{read, with_clusters, with_http};

fn http(listener: &Listener) -> &HttpListener {
    match &listener.chains[0].protocol {
        ListenerProtocol::Http(http) => http,
        ListenerProtocol::Tcp(_) => panic!("it speaks HTTP"),
    }
}

#[test]
fn an_empty_file_asks_for_nothing() {
    let (bootstrap, findings) = read("{}").unwrap();
    assert_eq!(bootstrap.config, proxy_config::ProxyConfig::default());
    assert_eq!(findings, []);
}

#[test]
fn a_cluster_has_envoys_defaults_and_a_retry_budget() {
    let (bootstrap, findings) = read(&with_clusters("- name: c")).unwrap();
    assert_eq!(findings, []);
    let cluster = &bootstrap.config.clusters["c"];
    assert_eq!(cluster.balancing, Balancing::RoundRobin);
    assert_eq!(cluster.narrowing.panic_threshold_percent, 50);
    assert_eq!(cluster.narrowing.zone_aware, None);
    assert_eq!(cluster.outliers, OutlierDetection::off());
    assert_eq!(cluster.breakers, CircuitBreakers::default());
    assert_eq!(cluster.retry_budget, Some(RetryBudget::default()));
    assert_eq!(cluster.protocol, UpstreamProtocol::Http1);
    assert_eq!(cluster.resolution, Resolution::OnConnect);
    assert_eq!(cluster.connect_timeout, Duration::from_secs(5));
    assert_eq!(cluster.idle_timeout, Duration::from_hours(1));
}

#[test]
fn outlier_detection_that_says_nothing_is_envoys() {
    let (bootstrap, _) = read(&with_clusters("- { name: c, outlier_detection: {} }")).unwrap();
    let outliers = bootstrap.config.clusters["c"].outliers;
    assert_eq!(outliers, OutlierDetection::envoy());
}

#[test]
fn a_number_of_retries_takes_the_place_of_the_budget() {
    let thresholds = "- { name: c, circuit_breakers: { thresholds: [{ max_retries: 3 }] } }";
    let (bootstrap, _) = read(&with_clusters(thresholds)).unwrap();
    let cluster = &bootstrap.config.clusters["c"];
    assert_eq!((cluster.retry_budget, cluster.breakers.retries_max), (None, 3));
}

#[test]
fn an_http_listener_has_envoys_defaults() {
    let routes = "- { match: { prefix: / }, route: { cluster: web } }";
    let (bootstrap, findings) = read(&with_http("codec_type: AUTO", routes)).unwrap();
    assert_eq!(findings, []);
    let http = http(&bootstrap.config.listeners["l"]);
    assert!(!http.client_address.use_remote_address);
    assert!(!http.accept_http_10 && !http.pass_informational && http.upgrades.is_empty());
    assert!(http.request_id.generate && !http.request_id.preserve_external);
    assert_eq!(http.server_header, ServerHeader::Overwrite("envoy".to_owned()));
    assert_eq!(http.stream_idle_timeout, Duration::from_mins(5));
    assert_eq!(http.head_timeout, Duration::from_mins(5));
    assert_eq!(http.head_bytes_max, 60 * 1024);
    let table = &bootstrap.config.route_tables[&http.route_table];
    let RouteAction::Forward(forward) = &table.virtual_hosts[0].routes[0].action else {
        panic!("it forwards")
    };
    assert_eq!(forward.cluster, ClusterChoice::One("web".to_owned()));
    assert_eq!(forward.timeout, Duration::from_secs(15));
    assert_eq!(forward.retry, RetryPolicy::none());
    assert!(forward.timing_headers && forward.subset.is_empty());
}

#[test]
fn header_changes_are_made_from_the_route_to_the_table_or_the_other_way() {
    let fields = |specific_last: bool| {
        format!(
            "route_config:\n  most_specific_header_mutations_wins: {specific_last}\n  request_headers_to_add: \
             [{{ header: {{ key: x, value: table }} }}]\n  virtual_hosts:\n  - name: v\n    domains: \
             ['*']\n    request_headers_to_add: [{{ header: {{ key: x, value: host }}, append: false \
             }}]\n    routes:\n    - match: {{ prefix: / }}\n      route: {{ cluster: web }}\n      \
             request_headers_to_add: [{{ header: {{ key: x, value: route }} }}]\n      \
             request_headers_to_remove: [z]"
        )
    };
    let append = |value: &str| HeaderChange::Append("x".to_owned(), value.to_owned());
    let host = HeaderChange::Overwrite("x".to_owned(), "host".to_owned());
    let route = [HeaderChange::Remove("z".to_owned()), append("route")];
    let changes = |specific_last| {
        let (bootstrap, _) = read(&with_http(&fields(specific_last), "")).unwrap();
        let table = bootstrap.config.route_tables.values().next().unwrap().clone();
        table.virtual_hosts[0].routes[0].headers.request.clone()
    };
    let [remove, add] = route;
    assert_eq!(changes(false), [remove.clone(), add.clone(), host.clone(), append("table")]);
    assert_eq!(changes(true), [append("table"), host, remove, add]);
}

#[test]
fn a_cluster_that_only_carries_bytes_speaks_no_http() {
    let text = "static_resources:\n  clusters: [{ name: c }]\n  listeners:\n  - address: { socket_address: { \
                address: 127.0.0.1, port_value: 1 } }\n    filter_chains:\n    - filters:\n      - name: tcp\n        \
                typed_config:\n          \"@type\": \
                type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy\n          stat_prefix: \
                t\n          cluster: c";
    let (bootstrap, findings) = read(text).unwrap();
    assert_eq!(findings, []);
    assert_eq!(bootstrap.config.clusters["c"].protocol, UpstreamProtocol::Tcp);
    let ListenerProtocol::Tcp(tcp) = &bootstrap.config.listeners["127.0.0.1:1"].chains[0].protocol
    else {
        panic!("it carries bytes")
    };
    assert_eq!((tcp.idle_timeout, tcp.connect_tries_max), (Duration::from_hours(1), 1));
}

#[test]
fn unverified_certificates_are_a_caution_and_no_more() {
    let tls = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";
    let cluster = format!(
        "- {{ name: c, transport_socket: {{ name: tls, typed_config: {{ \"@type\": {tls} }} }} }}"
    );
    let (_, findings) = read(&with_clusters(&cluster)).unwrap();
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].severity, Severity::Caution);
}

#[test]
fn peak_ewma_is_known_under_the_name_of_envoys_contributed_policy() {
    let policies = "type.googleapis.com/envoy.extensions.load_balancing_policies";
    let cluster = format!(
        "- {{ name: c, load_balancing_policy: {{ policies: [{{ typed_extension_config: {{ name: ewma, typed_config: \
         {{ \"@type\": {policies}.peak_ewma.v3alpha.PeakEwma, decay_time: 5s }} }} }}, {{ typed_extension_config: \
         {{ name: random, typed_config: {{ \"@type\": {policies}.random.v3.Random }} }} }}] }} }}"
    );
    let (bootstrap, findings) = read(&with_clusters(&cluster)).unwrap();
    assert_eq!(findings, []);
    let policy = PeakEwma { decay: Duration::from_secs(5), ..PeakEwma::default() };
    assert_eq!(bootstrap.config.clusters["c"].balancing, Balancing::PeakEwma(policy));
}

#[test]
fn a_hash_function_by_number_is_that_of_its_own_message() {
    let of = |cluster: &str| {
        let (bootstrap, _) = read(&with_clusters(cluster)).unwrap();
        match bootstrap.config.clusters["c"].balancing {
            Balancing::RingHash(ring) => ring.function,
            other => panic!("{other:?}"),
        }
    };
    let old = "- { name: c, lb_policy: RING_HASH, ring_hash_lb_config: { hash_function: 1 } }";
    assert_eq!(of(old), HashFunction::MurmurHash2);
    let new = "- { name: c, load_balancing_policy: { policies: [{ typed_extension_config: { name: r, typed_config: { \
               \"@type\": type.googleapis.com/envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash, \
               hash_function: 1 } } }] } }";
    assert_eq!(of(new), HashFunction::XxHash);
}

#[test]
fn the_longest_durations_are_a_hundred_years() {
    let (bootstrap, _) =
        read(&with_clusters("- { name: c, connect_timeout: 315576000000s }")).unwrap();
    let cluster = &bootstrap.config.clusters["c"];
    assert_eq!(cluster.connect_timeout, Duration::from_hours(100 * 365 * 24));
    assert!(!proxy_config::content_version(cluster).is_empty());
}
