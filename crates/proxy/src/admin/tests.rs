use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{Method, StatusCode};
use parking_lot::Mutex;
use proxy_config::{
    Cluster, Endpoint, EndpointHealth, Endpoints, Forward, HttpListener, Listener,
    ListenerProtocol, PathMatch, PrivateKey, ProxyConfig, Route, RouteAction, RouteTable, Secret,
    Source, TcpListener, VirtualHost,
};
use traffic::{ClusterState, Outcome, Router, Surroundings};

use super::{AdminView, DrainListeners, LogLevels, Operator, respond};
use crate::stats::{ServerState, Stats};

struct Proxy {
    config: ProxyConfig,
    listeners: BTreeMap<String, SocketAddr>,
    routers: BTreeMap<String, Arc<Router>>,
    clusters: BTreeMap<String, Arc<ClusterState>>,
    stats: Stats,
    state: ServerState,
    is_failed: AtomicBool,
    warming: BTreeSet<String>,
    operator: Asked,
}

/// Keeps what it is asked for.
#[derive(Debug, Default)]
struct Asked {
    drained: Mutex<Option<DrainListeners>>,
    has_quit: AtomicBool,
    has_reopened: AtomicBool,
    log_levels: Option<LogLevels>,
    can_quit: bool,
}

impl Operator for Asked {
    fn drain_listeners(&self, how: DrainListeners) -> bool {
        *self.drained.lock() = Some(how);
        true
    }

    fn reopen_logs(&self) {
        self.has_reopened.store(true, Ordering::Relaxed);
    }

    fn quit(&self) -> bool {
        self.has_quit.store(self.can_quit, Ordering::Relaxed);
        self.can_quit
    }

    fn log_levels(&self) -> Option<&LogLevels> {
        self.log_levels.as_ref()
    }
}

fn cluster_state() -> ClusterState {
    let cluster = Cluster {
        name: "web".to_owned(),
        source: Source { object: "Service/web".to_owned(), revision: model::Revision(4) },
        ..Cluster::default()
    };
    let endpoint = |port, health| Endpoint {
        id: format!("n/{port}"),
        host: "127.0.0.1".to_owned(),
        port,
        weight: 3,
        health,
        ..Endpoint::default()
    };
    let endpoints = vec![
        endpoint(8080, EndpointHealth::Healthy),
        endpoint(8081, EndpointHealth::Draining),
        endpoint(8082, EndpointHealth::Healthy),
    ];
    let endpoints = Endpoints { cluster: "web".to_owned(), endpoints, ..Endpoints::default() };
    let state = ClusterState::new(Arc::new(cluster), Arc::new(endpoints), Surroundings::default());
    let last = Arc::clone(state.endpoints().last().unwrap().1);
    let mut rng = <rand::rngs::SmallRng as rand::SeedableRng>::seed_from_u64(0);
    state.report(&last, Outcome::ConnectFailed, 0, &mut rng).unwrap();
    state
}

fn route_table() -> RouteTable {
    let action = RouteAction::Forward(Box::new(Forward::to("web")));
    let route = Route::new("all", PathMatch::PathPrefix("/".to_owned()), action);
    let virtual_host = VirtualHost {
        name: "web".to_owned(),
        domains: vec!["web".to_owned()],
        routes: vec![route],
        require_tls: false,
    };
    RouteTable { name: "outbound".to_owned(), virtual_hosts: vec![virtual_host] }
}

fn proxy() -> Proxy {
    let table = route_table();
    let secret = Secret {
        name: "tls".to_owned(),
        certificate_chain_pem: "CERTIFICATE".to_owned(),
        private_key: PrivateKey("KEY MATERIAL".to_owned()),
        trust_bundle_pem: String::new(),
    };
    let mut config = ProxyConfig { revision: model::Revision(9), ..ProxyConfig::default() };
    config.secrets.insert("tls".to_owned(), Arc::new(secret));
    let stats = Stats::new(2);
    stats.cluster("web", 1).upstream_rq_total.add(12);
    Proxy {
        config,
        listeners: [("ingress".to_owned(), ([127, 0, 0, 1], 10000).into())].into(),
        routers: [("outbound".to_owned(), Arc::new(Router::new(&table)))].into(),
        clusters: [("web".to_owned(), Arc::new(cluster_state()))].into(),
        stats,
        state: ServerState::Live,
        is_failed: false.into(),
        warming: BTreeSet::new(),
        operator: Asked::default(),
    }
}

fn ask(proxy: &Proxy, method: &Method, target: &str) -> (StatusCode, String) {
    let view = AdminView {
        config: &proxy.config,
        listeners: &proxy.listeners,
        routers: &proxy.routers,
        clusters: &proxy.clusters,
        stats: &proxy.stats,
        warming: &proxy.warming,
        operator: &proxy.operator,
        state: proxy.state,
        is_failed: &proxy.is_failed,
        uptime: Duration::from_secs(5),
        now_ns: 1,
        // 2024-02-29.
        now_unix_ms: 1_709_164_800_000,
        version: "0.0.0",
    };
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let response = respond(method, path, query, &view);
    (response.status(), String::from_utf8(response.body().to_vec()).unwrap())
}

fn get(target: &str) -> String {
    let (status, body) = ask(&proxy(), &Method::GET, target);
    assert_eq!(status, StatusCode::OK, "{target}: {body}");
    body
}

fn get_json(target: &str) -> serde_json::Value {
    serde_json::from_str(&get(target)).unwrap()
}

#[test]
fn ready_says_the_state() {
    assert_eq!(get("/ready"), "LIVE\n");
    let draining = Proxy { state: ServerState::Draining, ..proxy() };
    let (status, body) = ask(&draining, &Method::GET, "/ready");
    assert_eq!((status, body.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "DRAINING\n"));
}

#[test]
fn stats_come_in_three_forms_and_filtered() {
    assert!(get("/stats").contains("\ncluster.web.upstream_rq_total: 12\n"));
    assert_eq!(get("/stats?filter=web.*rq_total$"), "cluster.web.upstream_rq_total: 12\n");
    assert!(!get("/stats?usedonly").contains("upstream_cx_total"));
    assert!(get("/stats?usedonly&filter=member").contains("cluster.web.membership_total: 3\n"));
    let stat = &get_json("/stats?format=json&filter=rq_total")["stats"][0];
    assert_eq!(stat["value"], 12);
    let expected = "envoy_cluster_upstream_rq_total{envoy_cluster_name=\"web\"} 12\n";
    for target in ["/stats/prometheus", "/metrics", "/stats?format=prometheus"] {
        assert!(get(target).contains(expected));
    }
    assert!(get("/metrics").contains("membership_healthy{envoy_cluster_name=\"web\"} 1\n"));
    assert!(get("/metrics").contains("ejections_active{envoy_cluster_name=\"web\"} 1\n"));
    for target in ["/stats?filter=(", "/stats?format=xml"] {
        assert_eq!(ask(&proxy(), &Method::GET, target).0, StatusCode::BAD_REQUEST);
    }
}

#[test]
fn clusters_show_each_endpoint() {
    let text = get("/clusters");
    for line in [
        "web::127.0.0.1:8080::cx_active::0",
        "web::127.0.0.1:8080::health_flags::healthy",
        "web::127.0.0.1:8081::health_flags::/eds_status_draining",
        "web::127.0.0.1:8082::health_flags::/failed_outlier_check",
        "web::127.0.0.1:8082::cx_connect_fail::1",
        "web::127.0.0.1:8080::weight::3",
    ] {
        assert!(text.lines().any(|it| it == line), "{line} is not in\n{text}");
    }
    let host = &get_json("/clusters?format=json")["cluster_statuses"][0]["host_statuses"][1];
    assert_eq!(host["address"]["socket_address"]["port_value"], 8081);
    assert_eq!(host["health_status"]["eds_health_status"], "DRAINING");
}

#[test]
fn listeners_and_server_info_are_shown() {
    assert_eq!(get("/listeners"), "ingress::127.0.0.1:10000\n");
    let status = &get_json("/listeners?format=json")["listener_statuses"][0];
    assert_eq!(status["local_address"]["socket_address"]["port_value"], 10000);
    let info = get_json("/server_info");
    assert_eq!((&info["state"], &info["uptime_current_epoch"]), (&"LIVE".into(), &"5s".into()));
}

#[test]
fn a_config_dump_has_no_private_key() {
    let dump = get("/config_dump");
    assert!(!dump.contains("KEY MATERIAL"));
    assert!(dump.contains("\"private_key\": \"[redacted]\""));
    let secrets = get_json("/config_dump?resource=secrets");
    assert_eq!(secrets["secrets"]["tls"]["certificate_chain_pem"], "CERTIFICATE");
    let (status, _) = ask(&proxy(), &Method::GET, "/config_dump?resource=nothing");
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[test]
fn explain_goes_from_the_host_to_the_endpoint() {
    let text = get("/explain?host=web%3A80&path=/a%3Fb");
    assert!(text.contains("route all [path under /] from (built in): matches"), "{text}");
    assert!(text.contains("cluster web (round-robin) from Service/web @ revision 4"), "{text}");
    assert!(text.ends_with("=> n/8080\n"), "{text}");
    let json = get_json("/explain?host=web&format=json");
    assert_eq!(json["explanations"][0]["pick"]["picked"], "n/8080");
    assert_eq!(ask(&proxy(), &Method::GET, "/explain").0, StatusCode::BAD_REQUEST);
}

#[test]
fn unknown_paths_name_the_known_ones() {
    let (status, body) = ask(&proxy(), &Method::GET, "/nothing");
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(body.contains("/config_dump"));
    assert!(get("/").contains("<a href=\"stats/prometheus\">"));
    assert!(get("/help").contains("/ready"));
}

#[test]
fn explain_takes_a_listener_or_a_table_and_names_those_there_are() {
    let mut proxy = proxy();
    let listener =
        |protocol| Listener::with_one_chain("mesh", ([127, 0, 0, 1], 1).into(), None, protocol);
    let http = HttpListener {
        route_table: "outbound".to_owned(),
        forward_proxy: true,
        ..HttpListener::default()
    };
    let (http, tcp) =
        (ListenerProtocol::Http(Box::new(http)), ListenerProtocol::Tcp(TcpListener::to("db")));
    proxy.config.listeners = [
        ("mesh".to_owned(), Arc::new(listener(http))),
        ("raw".to_owned(), Arc::new(listener(tcp))),
    ]
    .into();
    for (query, status, part) in [
        ("host=web&listener=mesh", 200, "=> n/8080"),
        ("host=web&table=outbound", 200, "=> n/8080"),
        ("host=nope&listener=mesh", 404, "no virtual host has this host"),
        ("host=nope&format=json", 404, "\"explanations\""),
        ("host=web&listener=in", 404, "there is no listener \"in\"; known: mesh, raw\n"),
        ("host=web&table=in", 404, "there is no route table \"in\"; known: outbound\n"),
        ("host=web&listener=raw", 404, "its bytes go to db"),
    ] {
        let (answered, body) = ask(&proxy, &Method::GET, &format!("/explain?{query}"));
        assert_eq!(answered.as_u16(), status, "{query}: {body}");
        assert!(body.contains(part), "{query}: {body}");
    }
    proxy.clusters.clear();
    let (_, body) = ask(&proxy, &Method::GET, "/explain?host=web");
    assert!(body.ends_with("=> none: there is no cluster web\n"), "{body}");
}

#[test]
fn readiness_is_failed_and_restored_by_post() {
    let proxy = proxy();
    let (status, body) = ask(&proxy, &Method::GET, "/healthcheck/fail");
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(body, "Method GET not allowed, POST required.");
    assert_eq!(ask(&proxy, &Method::GET, "/ready").0, StatusCode::OK);
    for (path, ready) in [("fail", 503), ("fail", 503), ("ok", 200)] {
        let path = format!("/healthcheck/{path}");
        assert_eq!(ask(&proxy, &Method::POST, &path), (StatusCode::OK, "OK\n".to_owned()));
        assert_eq!(ask(&proxy, &Method::GET, "/ready").0.as_u16(), ready);
    }
}

#[test]
fn operations_are_listed_and_asked_for_by_post_only() {
    let (help, home) = (get("/help"), get("/"));
    assert!(help.contains("/healthcheck/fail") && home.contains("/healthcheck/fail"));
    for path in ["/drain_listeners", "/quitquitquit", "/logging", "/reset_counters", "/reopen_logs"]
    {
        let (status, _) = ask(&proxy(), &Method::GET, path);
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
    }
    for path in ["/quitquitquit", "/logging"] {
        let (status, body) = ask(&proxy(), &Method::POST, path);
        assert_eq!(status, StatusCode::NOT_IMPLEMENTED, "{path}");
        assert!(body.contains("who started this proxy"), "{body}");
    }
}

#[test]
fn listeners_are_drained_as_asked() {
    for (query, expected) in [
        ("", Some(DrainListeners::AtOnce)),
        ("?graceful", Some(DrainListeners::Gracefully { stops: true })),
        ("?graceful&skip_exit", Some(DrainListeners::Gracefully { stops: false })),
        ("?skip_exit", None),
    ] {
        let proxy = proxy();
        let (status, _) = ask(&proxy, &Method::POST, &format!("/drain_listeners{query}"));
        assert_eq!(status.is_success(), expected.is_some(), "{query}");
        assert_eq!(*proxy.operator.drained.lock(), expected, "{query}");
    }
}

#[test]
fn access_logs_are_opened_anew() {
    let proxy = proxy();
    assert_eq!(ask(&proxy, &Method::POST, "/reopen_logs"), (StatusCode::OK, "OK\n".to_owned()));
    assert!(proxy.operator.has_reopened.load(Ordering::Relaxed));
}

#[test]
fn the_process_ends_where_it_may() {
    let mut proxy = proxy();
    proxy.operator.can_quit = true;
    assert_eq!(ask(&proxy, &Method::POST, "/quitquitquit"), (StatusCode::OK, "OK\n".to_owned()));
    assert!(proxy.operator.has_quit.load(Ordering::Relaxed));
}

#[test]
fn log_levels_are_shown_and_changed() {
    let mut proxy = proxy();
    let levels = Mutex::new("info".to_owned());
    proxy.operator.log_levels = Some(LogLevels::new(move |new| {
        if let Some(new) = new {
            new.clone_into(&mut levels.lock());
        }
        Ok(levels.lock().clone())
    }));
    for (query, expected) in [
        ("", "  default: info\n"),
        ("?paths=proxy:debug,traffic:trace", "  default: info\n  proxy: debug\n  traffic: trace\n"),
        ("?proxy=warning", "  default: info\n  traffic: trace\n  proxy: warn\n"),
        ("?level=critical", "  default: error\n"),
    ] {
        let answered = ask(&proxy, &Method::POST, &format!("/logging{query}"));
        assert_eq!(answered, (StatusCode::OK, format!("active loggers:\n{expected}")), "{query}");
    }
    for query in ["?level=loud", "?paths=proxy", "?a%3Db=info"] {
        let (status, _) = ask(&proxy, &Method::POST, &format!("/logging{query}"));
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}");
    }
}

#[test]
fn counters_begin_at_0_again_and_gauges_do_not() {
    let proxy = proxy();
    proxy.stats.cluster("web", 1).upstream_rq_active.inc();
    let line = |name: &str| {
        let target = format!("/stats?filter=^cluster.web.{name}$");
        ask(&proxy, &Method::GET, &target).1
    };
    assert_eq!(line("upstream_rq_total"), "cluster.web.upstream_rq_total: 12\n");
    assert_eq!(ask(&proxy, &Method::POST, "/reset_counters").0, StatusCode::OK);
    assert_eq!(line("upstream_rq_total"), "cluster.web.upstream_rq_total: 0\n");
    assert_eq!(line("upstream_rq_active"), "cluster.web.upstream_rq_active: 1\n");
    proxy.stats.cluster("web", 1).upstream_rq_total.add(3);
    assert_eq!(line("upstream_rq_total"), "cluster.web.upstream_rq_total: 3\n");
}

#[test]
fn stats_have_types_buckets_and_a_page() {
    let proxy = proxy();
    proxy.stats.cluster("web", 0).response(200, Duration::from_millis(3));
    let text = |target: &str| ask(&proxy, &Method::GET, target).1;
    assert!(text("/stats?type=Gauges").lines().all(|it| !it.contains("_total: 12")));
    assert!(text("/stats?type=Counters&filter=rq_total").contains("upstream_rq_total: 12"));
    let time = "cluster.web.upstream_rq_time";
    let of_time = |query: &str| text(&format!("/stats?filter=^{time}$&{query}"));
    assert!(of_time("histogram_buckets=cumulative").contains("B1(0,0) B5(0,1) B10(0,1)"));
    assert!(of_time("histogram_buckets=disjoint").contains("B1(0,0) B5(0,1) B10(0,0)"));
    assert!(of_time("histogram_buckets=none").contains("P50"));
    let json = of_time("histogram_buckets=cumulative&format=json");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["stats"][0]["histograms"][0]["buckets"][2]["upper_bound"], 5.0);
    let page = text("/stats?format=html&filter=%22%3Cb%3E");
    assert!(page.contains("value=\"&quot;&lt;b&gt;\""), "{page}");
    assert!(text("/stats/html").contains("<td>cluster.web.upstream_rq_total</td><td>12</td>"));
    for target in ["/stats?type=Lists", "/stats?histogram_buckets=some"] {
        assert_eq!(ask(&proxy, &Method::GET, target).0, StatusCode::BAD_REQUEST, "{target}");
    }
}

#[test]
fn a_dump_can_be_narrowed_down() {
    let masked = get_json("/config_dump?resource=secrets&mask=name");
    assert_eq!(masked["secrets"]["tls"], serde_json::json!({ "name": "tls" }));
    let named = get_json("/config_dump?resource=secrets&name_regex=t.");
    assert_eq!(named["secrets"], serde_json::json!({}));
    assert!(get_json("/config_dump?name_regex=t.s")["secrets"]["tls"].is_object());
    assert_eq!(ask(&proxy(), &Method::GET, "/config_dump?name_regex=(").0, StatusCode::BAD_REQUEST);
}

#[test]
fn what_is_waited_for_is_named() {
    assert_eq!(get_json("/init_dump")["unready_targets_dumps"], serde_json::json!([]));
    let warming =
        Proxy { warming: ["web".to_owned()].into(), state: ServerState::Initializing, ..proxy() };
    let (_, dump) = ask(&warming, &Method::GET, "/init_dump");
    assert!(dump.contains("Cluster web"), "{dump}");
    let (status, body) = ask(&warming, &Method::GET, "/ready");
    assert_eq!((status, body.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "INITIALIZING\n"));
    let (_, text) = ask(&warming, &Method::GET, "/stats?filter=warming");
    assert_eq!(text, "cluster_manager.warming_clusters: 1\n");
}

#[test]
fn certificates_are_listed_with_their_days() {
    let mut proxy = proxy();
    let certificate = rcgen::generate_simple_self_signed(vec!["web.test".to_owned()]).unwrap();
    let secret = Secret {
        name: "tls".to_owned(),
        certificate_chain_pem: certificate.cert.pem(),
        ..Secret::default()
    };
    proxy.config.secrets.insert("tls".to_owned(), Arc::new(secret));
    let (_, body) = ask(&proxy, &Method::GET, "/certs");
    let certs: serde_json::Value = serde_json::from_str(&body).unwrap();
    let one = &certs["certificates"][0]["cert_chain"][0];
    assert_eq!(one["subject_alt_names"][0]["dns"], "web.test");
    // rcgen's own default.
    assert_eq!(one["expiration_time"], "4096-01-01T00:00:00Z");
    let (_, text) = ask(&proxy, &Method::GET, "/stats?filter=first_cert");
    let days: u64 = text.trim().rsplit_once(' ').unwrap().1.parse().unwrap();
    assert_eq!(days, 756_724);
}

#[test]
fn memory_is_told_in_the_words_of_envoy() {
    let memory = get_json("/memory");
    let number = |name: &str| memory[name].as_str().unwrap().parse::<u64>().unwrap();
    assert!(number("allocated") > 0);
    assert!(number("total_physical_bytes") >= number("allocated"));
}
