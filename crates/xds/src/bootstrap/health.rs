//! `HealthCheck` and `OutlierDetection`.

use std::time::Duration;

use proxy_config::{
    Detector, Endpoints, FailurePercentage, HealthCheck, HealthProbe, OutlierDetection, SuccessRate,
};

use super::fields::{Field, Message};
use super::{headers, matching, schema};

/// Envoy's `no_traffic_interval`.
const NO_TRAFFIC_INTERVAL: Duration = Duration::from_secs(60);

/// The `health_checks` of a cluster. A port that a check names is given to the endpoints that name none.
pub(crate) fn read_checks(it: &mut Message<'_>, endpoints: &mut Endpoints) -> Vec<HealthCheck> {
    let mut checks = Vec::new();
    for field in it.items("health_checks") {
        checks.extend(read_check(&field, endpoints));
    }
    checks
}

fn read_check(field: &Field<'_>, endpoints: &mut Endpoints) -> Option<HealthCheck> {
    let mut it = field.message(&schema::HEALTH_CHECK)?;
    for name in ["timeout", "interval", "unhealthy_threshold", "healthy_threshold"] {
        it.required(name);
    }
    let timeout = it.positive_duration("timeout");
    let interval = it.positive_duration("interval");
    let unhealthy_threshold = it.u32("unhealthy_threshold");
    let healthy_threshold = it.u32("healthy_threshold");
    let interval_jitter = it.duration("interval_jitter");
    let jitter_percent = it.u32("interval_jitter_percent").unwrap_or(0);
    if let Some(port) = it.u32_in("alt_port", 1..=65_535).and_then(|it| u16::try_from(it).ok()) {
        for endpoint in &mut endpoints.endpoints {
            endpoint.health_check_port.get_or_insert(port);
        }
    }
    // It has a meaning for people alone.
    it.skip(&["name", "always_log_health_check_failures", "always_log_health_check_success"]);
    let probe = read_probe(&mut it);
    let interval = interval?;
    let jitter_of_percent = interval.saturating_mul(jitter_percent.min(1000)) / 100;
    Some(HealthCheck {
        probe: probe?,
        timeout: timeout?,
        interval,
        interval_jitter: interval_jitter.unwrap_or_default().max(jitter_of_percent),
        no_traffic_interval: it
            .positive_duration("no_traffic_interval")
            .unwrap_or(NO_TRAFFIC_INTERVAL),
        unhealthy_interval: it.positive_duration("unhealthy_interval"),
        unhealthy_edge_interval: it.positive_duration("unhealthy_edge_interval"),
        healthy_edge_interval: it.positive_duration("healthy_edge_interval"),
        unhealthy_threshold: unhealthy_threshold?.max(1),
        healthy_threshold: healthy_threshold?.max(1),
        new_connection_each: !it.bool("reuse_connection").unwrap_or(true),
    })
}

fn read_probe(it: &mut Message<'_>) -> Option<HealthProbe> {
    let ways =
        ["http_health_check", "tcp_health_check", "grpc_health_check", "custom_health_check"];
    match it.required_one_of(&ways)? {
        ("http_health_check", field) => read_http(&field),
        ("tcp_health_check", field) => read_tcp(&field),
        ("grpc_health_check", field) => {
            let mut it = field.message(&schema::GRPC_HEALTH_CHECK)?;
            Some(HealthProbe::Grpc {
                service: it.text("service_name").unwrap_or_default().to_owned(),
                authority: it.text("authority").unwrap_or_default().to_owned(),
            })
        }
        (_, field) => {
            field.error("checks of extensions are not supported", "use http_health_check");
            None
        }
    }
}

const METHODS: [(&str, i64, &str); 9] = [
    ("METHOD_UNSPECIFIED", 0, ""),
    ("GET", 1, "GET"),
    ("HEAD", 2, "HEAD"),
    ("POST", 3, "POST"),
    ("PUT", 4, "PUT"),
    ("DELETE", 5, "DELETE"),
    ("OPTIONS", 7, "OPTIONS"),
    ("TRACE", 8, "TRACE"),
    ("PATCH", 9, "PATCH"),
];

fn read_http(field: &Field<'_>) -> Option<HealthProbe> {
    let mut it = field.message(&schema::HTTP_HEALTH_CHECK)?;
    it.refuse("receive", "the body of an answer is not looked at", "use expected_statuses");
    it.refuse("send", "a check has no body", "remove it");
    Some(HealthProbe::Http {
        host: it.text("host").unwrap_or_default().to_owned(),
        method: it.choice("method", &METHODS).unwrap_or_default().to_owned(),
        expected: read_statuses(&mut it, "expected_statuses"),
        retriable: read_statuses(&mut it, "retriable_statuses"),
        http2: it
            .choice("codec_client_type", &[("HTTP1", 0, false), ("HTTP2", 1, true)])
            .unwrap_or(false),
        headers: headers::read_plain(&it.items("request_headers_to_add")),
        service: it.take("service_name_matcher").and_then(|it| matching::read_string(&it)),
        path: it.required_text("path")?.to_owned(),
    })
}

/// `Int64Range`s, whose ends are not in them, as pairs whose ends are.
fn read_statuses(it: &mut Message<'_>, name: &str) -> Vec<(u16, u16)> {
    let mut statuses = Vec::new();
    for field in it.items(name) {
        let Some(mut range) = field.message(&schema::INT64_RANGE) else { continue };
        let start = range.u32_in("start", 100..=599);
        let end = range.u32_in("end", 101..=600);
        let (Some(start), Some(end)) = (start, end) else {
            field.error("start and end must both be there", "write `{start: 200, end: 300}`");
            continue;
        };
        if start >= end {
            field.error("the range is empty", "let start be below end");
            continue;
        }
        let status = |it: u32| u16::try_from(it).expect("it is below 600");
        statuses.push((status(start), status(end - 1)));
    }
    statuses
}

fn read_tcp(field: &Field<'_>) -> Option<HealthProbe> {
    let mut it = field.message(&schema::TCP_HEALTH_CHECK)?;
    let send = it.take("send").and_then(|it| read_payload(&it)).unwrap_or_default();
    let receive = it.items("receive").iter().filter_map(read_payload).collect();
    Some(HealthProbe::Tcp { send, receive })
}

/// `Payload`: hexadecimal digits, or base64.
fn read_payload(field: &Field<'_>) -> Option<Vec<u8>> {
    let mut it = field.message(&schema::HEALTH_CHECK_PAYLOAD)?;
    match it.required_one_of(&["text", "binary"])? {
        ("text", field) => {
            let bytes = from_hex(field.text()?);
            if bytes.is_none() {
                field.error(
                    "is not hexadecimal",
                    "write two digits for each byte, such as 50494e47",
                );
            }
            bytes
        }
        (_, field) => field.bytes(),
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|it| it.to_digit(16).and_then(|it| u8::try_from(it).ok())).collect();
    let digits = digits.filter(|it| it.len() % 2 == 0)?;
    Some(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// `OutlierDetection`.
pub(crate) fn read_outliers(mut it: Message<'_>) -> OutlierDetection {
    let default = OutlierDetection::envoy();
    let mut detector = |threshold: &str, enforcing: &str, default: Detector| Detector {
        threshold: it.u32(threshold).unwrap_or(default.threshold),
        enforcing_percent: it.u8_percent(enforcing).unwrap_or(default.enforcing_percent),
    };
    let consecutive_5xx =
        detector("consecutive_5xx", "enforcing_consecutive_5xx", default.consecutive_5xx);
    let consecutive_gateway_failure = detector(
        "consecutive_gateway_failure",
        "enforcing_consecutive_gateway_failure",
        default.consecutive_gateway_failure,
    );
    let consecutive_local_origin_failure = detector(
        "consecutive_local_origin_failure",
        "enforcing_consecutive_local_origin_failure",
        default.consecutive_local_origin_failure,
    );
    let ejection_base = it.positive_duration("base_ejection_time").unwrap_or(default.ejection_base);
    let longest = default.ejection_max.max(ejection_base);
    const LOCAL: &str = "rates count failures of both origins together";
    it.refuse("enforcing_local_origin_success_rate", LOCAL, "remove it");
    it.refuse("enforcing_failure_percentage_local_origin", LOCAL, "remove it");
    OutlierDetection {
        consecutive_5xx,
        consecutive_gateway_failure,
        consecutive_local_origin_failure,
        split_local_origin: it.is("split_external_local_origin_errors"),
        interval: it.positive_duration("interval").unwrap_or(default.interval),
        ejection_base,
        ejection_max: it.positive_duration("max_ejection_time").unwrap_or(longest),
        ejection_jitter: it.duration("max_ejection_time_jitter").unwrap_or_default(),
        ejection_max_percent: it
            .u8_percent("max_ejection_percent")
            .unwrap_or(default.ejection_max_percent),
        always_eject_one: it.is("always_eject_one_host"),
        success_rate: Some(read_success_rate(&mut it)),
        failure_percentage: Some(read_failure_percentage(&mut it)),
        health_check_unejects: it
            .bool("successful_active_health_check_uneject_host")
            .unwrap_or(true),
        ..default
    }
}

fn read_success_rate(it: &mut Message<'_>) -> SuccessRate {
    let default = SuccessRate::default();
    SuccessRate {
        endpoints_min: it.u32("success_rate_minimum_hosts").unwrap_or(default.endpoints_min),
        requests_min: it.u32("success_rate_request_volume").unwrap_or(default.requests_min),
        stdev_factor_thousandths: it
            .u32("success_rate_stdev_factor")
            .unwrap_or(default.stdev_factor_thousandths),
        enforcing_percent: it
            .u8_percent("enforcing_success_rate")
            .unwrap_or(default.enforcing_percent),
    }
}

fn read_failure_percentage(it: &mut Message<'_>) -> FailurePercentage {
    let default = FailurePercentage::default();
    FailurePercentage {
        threshold_percent: it
            .u8_percent("failure_percentage_threshold")
            .unwrap_or(default.threshold_percent),
        endpoints_min: it.u32("failure_percentage_minimum_hosts").unwrap_or(default.endpoints_min),
        requests_min: it.u32("failure_percentage_request_volume").unwrap_or(default.requests_min),
        enforcing_percent: it
            .u8_percent("enforcing_failure_percentage")
            .unwrap_or(default.enforcing_percent),
    }
}
