//! Filters that refuse or delay requests.

use std::time::Duration;

use proxy_config::{
    AbortWith, AdaptiveConcurrency, Fault, FaultAbort, FaultDelay, FilterSetting, LocalRateLimit,
};

use super::super::fields::{Field, Message};
use super::super::{headers, matching, schema};

/// Shortest interval that Envoy takes.
const FILL_INTERVAL_MIN: Duration = Duration::from_millis(50);

pub(super) fn read_rate_limit(field: &Field<'_>) -> Option<FilterSetting<LocalRateLimit>> {
    let mut it = field.message(&schema::LOCAL_RATE_LIMIT)?;
    it.required_text("stat_prefix");
    let status = it.take("status").and_then(|it| read_status(&it)).unwrap_or(429);
    // What Envoy takes an absent share for is none.
    let mut share = |name: &str| it.take(name).and_then(|it| it.runtime_fraction()).unwrap_or(0);
    let (enabled_per_million, enforced_per_million) =
        (share("filter_enabled"), share("filter_enforced"));
    let versions = [("OFF", 0, false), ("DRAFT_VERSION_03", 1, true)];
    let rate_limit_headers = it.choice("enable_x_ratelimit_headers", &versions).unwrap_or(false);
    let response_headers = headers::read_plain(&it.items("response_headers_to_add"));
    it.refuse(
        "local_rate_limit_per_downstream_connection",
        "the bucket is common to all connections",
        "remove it",
    );
    it.refuse("descriptors", "there is one bucket for all requests", "use one for each route");
    let Some(mut bucket) = it.message("token_bucket", &schema::TOKEN_BUCKET) else {
        return Some(FilterSetting::Off);
    };
    let tokens_max = bucket.required("max_tokens")?.number_in(1..=i64::from(u32::MAX))?;
    let tokens_per_fill = bucket.u32_in("tokens_per_fill", 1..=u32::MAX).unwrap_or(1);
    let interval = bucket.required("fill_interval")?;
    let fill_interval = interval.duration()?;
    if fill_interval < FILL_INTERVAL_MIN {
        interval.error("is shorter than 0.05s", "write a longer one");
    }
    Some(FilterSetting::On(LocalRateLimit {
        tokens_max: u32::try_from(tokens_max).ok()?,
        tokens_per_fill,
        fill_interval,
        status: if status < 400 { 429 } else { status },
        enabled_per_million,
        enforced_per_million,
        response_headers,
        rate_limit_headers,
    }))
}

/// `HttpStatus`, whose names have a number in them nowhere; so the common ones are known.
fn read_status(field: &Field<'_>) -> Option<u16> {
    let mut it = field.message(&schema::HTTP_STATUS)?;
    let field = it.required("code")?;
    if let Some(name) = field.value.as_str()
        && let Some((_, code)) = STATUS_NAMES.iter().find(|it| it.0 == name)
    {
        return Some(*code);
    }
    field.number_in(100..=599).and_then(|it| u16::try_from(it).ok())
}

/// `envoy.type.v3.StatusCode`, those that a refusal may have.
const STATUS_NAMES: [(&str, u16); 19] = [
    ("OK", 200),
    ("BadRequest", 400),
    ("Unauthorized", 401),
    ("PaymentRequired", 402),
    ("Forbidden", 403),
    ("NotFound", 404),
    ("MethodNotAllowed", 405),
    ("NotAcceptable", 406),
    ("RequestTimeout", 408),
    ("Conflict", 409),
    ("Gone", 410),
    ("PreconditionFailed", 412),
    ("Locked", 423),
    ("TooManyRequests", 429),
    ("InternalServerError", 500),
    ("NotImplemented", 501),
    ("BadGateway", 502),
    ("ServiceUnavailable", 503),
    ("GatewayTimeout", 504),
];

pub(super) fn read_fault(field: &Field<'_>) -> Option<FilterSetting<Fault>> {
    let mut it = field.message(&schema::FAULT)?;
    it.skip(&[
        "delay_percent_runtime",
        "abort_percent_runtime",
        "delay_duration_runtime",
        "abort_http_status_runtime",
        "max_active_faults_runtime",
        "response_rate_limit_percent_runtime",
        "abort_grpc_status_runtime",
        "disable_downstream_cluster_stats",
    ]);
    const MESSAGE: &str = "faults would be made for other requests too";
    it.forbid("upstream_cluster", MESSAGE, "set the fault on routes to this cluster");
    it.forbid("downstream_nodes", MESSAGE, "remove it if that is wanted");
    Some(FilterSetting::On(Fault {
        delay: it.message("delay", &schema::FAULT_DELAY).and_then(read_delay),
        abort: it.message("abort", &schema::FAULT_ABORT).and_then(read_abort),
        headers: matching::read_headers(&mut it, "headers"),
        active_max: it.u32("max_active_faults"),
    }))
}

fn read_delay(mut it: Message<'_>) -> Option<FaultDelay> {
    let per_million = it.take("percentage").and_then(|it| it.fraction()).unwrap_or(0);
    let fixed = match it.required_one_of(&["fixed_delay", "header_delay"])? {
        ("fixed_delay", field) => {
            let delay = field.duration()?;
            if delay.is_zero() {
                field.error("must be longer than 0s", "write a longer one");
            }
            Some(delay)
        }
        _ => None,
    };
    Some(FaultDelay { fixed, per_million })
}

fn read_abort(mut it: Message<'_>) -> Option<FaultAbort> {
    let per_million = it.take("percentage").and_then(|it| it.fraction()).unwrap_or(0);
    let with = match it.required_one_of(&["http_status", "grpc_status", "header_abort"])? {
        ("http_status", field) => {
            let status = field.number_in(200..=599)?;
            AbortWith::Status(u16::try_from(status).ok()?)
        }
        ("grpc_status", field) => AbortWith::Grpc(u8::try_from(field.number_in(0..=16)?).ok()?),
        _ => AbortWith::Header,
    };
    Some(FaultAbort { with, per_million })
}

pub(super) fn read_adaptive_concurrency(
    field: &Field<'_>,
) -> Option<FilterSetting<AdaptiveConcurrency>> {
    let mut it = field.message(&schema::ADAPTIVE_CONCURRENCY)?;
    let is_enabled = it.runtime_flag("enabled").unwrap_or(true);
    let status = it.take("concurrency_limit_exceeded_status").and_then(|it| read_status(&it));
    let gradient = it.required("gradient_controller_config")?;
    let mut gradient = gradient.message(&schema::GRADIENT)?;
    let percentile = gradient.take("sample_aggregate_percentile").and_then(|it| it.percent());
    let limit = gradient.required("concurrency_limit_params")?;
    let mut limit = limit.message(&schema::GRADIENT_LIMIT)?;
    let concurrency_max = limit.u32_in("max_concurrency_limit", 1..=u32::MAX).unwrap_or(1000);
    limit.required("concurrency_update_interval");
    let update_interval = limit.positive_duration("concurrency_update_interval");
    let rtt = gradient.required("min_rtt_calc_params")?;
    let mut rtt = rtt.message(&schema::GRADIENT_MIN_RTT)?;
    rtt.refuse("fixed_value", "the least latency is always measured", "set interval");
    let min_rtt_interval = rtt.positive_duration("interval").unwrap_or(Duration::from_secs(60));
    let jitter = rtt.take("jitter").and_then(|it| it.percent()).unwrap_or(15);
    let buffer = rtt.take("buffer").and_then(|it| it.percent()).unwrap_or(25);
    let setting = AdaptiveConcurrency {
        sample_percentile: percentile.unwrap_or(50),
        update_interval: update_interval?,
        concurrency_max,
        min_rtt_interval,
        min_rtt_requests: rtt.u32_in("request_count", 1..=u32::MAX).unwrap_or(50),
        min_rtt_jitter_percent: jitter,
        concurrency_min: rtt.u32_in("min_concurrency", 1..=u32::MAX).unwrap_or(3),
        buffer_percent: buffer,
        status: status.filter(|it| *it >= 400).unwrap_or(503),
    };
    Some(if is_enabled { FilterSetting::On(setting) } else { FilterSetting::Off })
}
