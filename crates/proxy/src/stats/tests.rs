use std::collections::BTreeMap;
use std::time::Duration;

use proxy_config::ProxyConfig;
use traffic::{ResponseFlag, ResponseFlags};

use super::{
    Buckets, Distribution, Histogram, MeshLabels, MeshResponse, Metric, SeriesTable, ServerState,
    Stats, Surroundings, Value, prometheus, text, to_json,
};

fn read(stats: &Stats) -> Vec<Metric> {
    let clusters = BTreeMap::new();
    let uptime = Duration::from_secs(7);
    stats.read(Surroundings {
        clusters: &clusters,
        now_ns: 0,
        uptime,
        state: ServerState::Live,
        listeners: 0,
        warming: 0,
        first_expiry_days: None,
    })
}

fn distribution(durations_ms: &[u64]) -> Distribution {
    let histogram = Histogram::default();
    durations_ms.iter().for_each(|ms| histogram.record(Duration::from_millis(*ms)));
    let mut distribution = Distribution::default();
    histogram.add_to(&mut distribution);
    distribution
}

#[test]
fn shards_are_summed_and_gauges_may_go_down_on_another_worker() {
    let stats = Stats::new(2);
    let (first, second) = (stats.cluster("web", 0), stats.cluster("web", 1));
    first.upstream_rq_total.inc();
    second.upstream_rq_total.add(2);
    first.upstream_cx_active.inc();
    first.upstream_cx_active.inc();
    second.upstream_cx_active.dec();
    first.response(200, Duration::from_millis(1));
    second.response(503, Duration::from_micros(1_001));
    let text = prometheus(&read(&stats));
    for line in [
        "# TYPE envoy_cluster_upstream_rq_total counter",
        "envoy_cluster_upstream_rq_total{envoy_cluster_name=\"web\"} 3",
        "# TYPE envoy_cluster_upstream_cx_active gauge",
        "envoy_cluster_upstream_cx_active{envoy_cluster_name=\"web\"} 1",
        "envoy_cluster_upstream_rq_xx{envoy_response_code_class=\"2\",\
         envoy_cluster_name=\"web\"} 1",
        "envoy_cluster_upstream_rq{envoy_response_code=\"503\",envoy_cluster_name=\"web\"} 1",
        "# TYPE envoy_cluster_upstream_rq_time histogram",
        "envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name=\"web\",le=\"0.5\"} 0",
        "envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name=\"web\",le=\"1\"} 1",
        "envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name=\"web\",le=\"5\"} 2",
        "envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name=\"web\",le=\"+Inf\"} 2",
        "envoy_cluster_upstream_rq_time_sum{envoy_cluster_name=\"web\"} 2.001",
        "envoy_cluster_upstream_rq_time_count{envoy_cluster_name=\"web\"} 2",
        "envoy_server_uptime 7",
    ] {
        assert!(text.lines().any(|it| it == line), "{line} is not in\n{text}");
    }
}

#[test]
fn each_family_has_its_type_once_and_stands_together() {
    let stats = Stats::new(1);
    for name in ["web", "api"] {
        stats.cluster(name, 0).response(200, Duration::ZERO);
    }
    stats.http("ingress", 0).response(200, Duration::ZERO);
    let text = prometheus(&read(&stats));
    let types: Vec<&str> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
    let mut distinct = types.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(types, distinct);
}

#[test]
fn label_values_are_escaped() {
    let metric = Metric {
        family: "a".into(),
        labels: vec![("b", "\\ \" \n".to_owned())],
        name: String::new(),
        value: Value::Gauge(1),
    };
    assert_eq!(prometheus(&[metric]), "# TYPE a gauge\na{b=\"\\\\ \\\" \\n\"} 1\n");
}

#[test]
fn the_text_form_has_envoys_names() {
    let stats = Stats::new(1);
    let _ = stats.listener(([127, 0, 0, 1], 10000).into(), 0);
    stats.http("ingress", 0).downstream_rq_total.inc();
    stats.cluster("web", 0).response(204, Duration::from_millis(3));
    let text = text(&read(&stats), Buckets::None);
    for line in [
        "cluster.web.upstream_rq_204: 1",
        "cluster.web.upstream_rq_2xx: 1",
        "http.ingress.downstream_rq_total: 1",
        "http.ingress.downstream_rq_time: No recorded values",
        "listener.127.0.0.1_10000.downstream_cx_total: 0",
        "server.live: 1",
    ] {
        assert!(text.lines().any(|it| it == line), "{line} is not in\n{text}");
    }
    let json = to_json(&read(&stats), Buckets::None);
    let has = |name: &str| json["stats"].as_array().unwrap().iter().any(|it| it["name"] == name);
    assert!(has("cluster.web.upstream_rq_204"));
}

#[test]
fn istio_metrics_carry_the_whole_label_set() {
    let stats = Stats::new(2);
    let labels = MeshLabels { destination_service_name: "web".to_owned(), ..MeshLabels::default() };
    let flags = ResponseFlags::from(ResponseFlag::UpstreamConnectionFailure);
    let response = MeshResponse { status: 503, flags, grpc: None };
    for worker in 0..2 {
        stats.mesh("web", &labels, worker).response(response, Duration::from_millis(2), (3, 7));
    }
    let grpc = MeshResponse { status: 200, flags: ResponseFlags::NONE, grpc: Some(Some(14)) };
    stats.mesh("web", &labels, 0).response(grpc, Duration::ZERO, (0, 0));
    let text = prometheus(&read(&stats));
    let line = "istio_requests_total{reporter=\"source\",source_workload=\"unknown\",\
        source_workload_namespace=\"unknown\",source_principal=\"unknown\",source_app=\"unknown\",\
        source_version=\"unknown\",source_canonical_service=\"unknown\",\
        source_canonical_revision=\"unknown\",source_cluster=\"unknown\",\
        destination_workload=\"unknown\",destination_workload_namespace=\"unknown\",\
        destination_principal=\"unknown\",destination_app=\"unknown\",\
        destination_version=\"unknown\",destination_service=\"unknown\",\
        destination_service_name=\"web\",destination_service_namespace=\"unknown\",\
        destination_canonical_service=\"unknown\",destination_canonical_revision=\"unknown\",\
        destination_cluster=\"unknown\",request_protocol=\"http\",response_code=\"503\",\
        response_flags=\"UF\",grpc_response_status=\"\",\
        connection_security_policy=\"unknown\"} 2";
    assert!(text.lines().any(|it| it == line), "{text}");
    assert!(
        text.contains("response_code=\"200\",response_flags=\"-\",grpc_response_status=\"14\"")
    );
    assert!(text.contains("# TYPE istio_request_duration_milliseconds histogram"));
}

#[test]
fn what_the_configuration_has_no_more_is_forgotten() {
    let stats = Stats::new(1);
    let held = stats.cluster("web", 0);
    let _ = stats.mesh("web", &MeshLabels::default(), 0);
    let _ = stats.http("ingress", 0);
    let _ = stats.listener(([127, 0, 0, 1], 1).into(), 0);
    stats.retain(&ProxyConfig::default(), &[]);
    held.upstream_rq_total.inc();
    let whole = ["server.", "cluster_manager.", "listener_manager."];
    let is_whole = |metric: &Metric| whole.iter().any(|it| metric.name.starts_with(it));
    assert!(read(&stats).iter().all(is_whole));
}

#[test]
fn keys_beyond_the_slots_share_one() {
    let table = SeriesTable::<super::Counter>::default();
    for key in 0..40 {
        table.at(key).inc();
        table.at(key).inc();
    }
    let overflow = SeriesTable::<super::Counter>::OVERFLOW;
    let by_key: BTreeMap<u64, u64> = table.iter().map(|(key, it)| (key, it.get())).collect();
    assert_eq!(by_key.len(), 33);
    assert_eq!(by_key[&overflow], 16);
    assert!((0..32).all(|key| by_key[&key] == 2));
}

#[test]
fn quantiles_lie_within_their_bucket() {
    let some = distribution(&[1, 1, 1, 20]);
    assert_eq!(some.count(), 4);
    assert!(some.quantile_ms(0.5).unwrap() <= 1.0);
    let high = some.quantile_ms(0.99).unwrap();
    assert!((10.0..=25.0).contains(&high), "{high}");
    assert_eq!(Distribution::default().quantile_ms(0.5), None);
    assert_eq!(distribution(&[4_000_000]).quantile_ms(0.5), Some(3_600_000.0));
}
