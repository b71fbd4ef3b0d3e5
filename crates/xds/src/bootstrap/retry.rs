//! `RetryPolicy` and `HedgePolicy`.

use std::time::Duration;

use proxy_config::{BackOff, Hedging, RateLimitedBackOff, ResetHeader, RetryOn, RetryPolicy};
use serde_json::Value;

use super::fields::{Field, Message};
use super::{matching, schema};

/// Bytes of a request's body that Envoy keeps for a retry: its `per_connection_buffer_limit_bytes`.
const BODY_BYTES_MAX: u32 = 1 << 20;
/// Envoy's bound on what a response says about when to come back.
const RESET_MAX: Duration = Duration::from_secs(300);

/// `RetryPolicy`.
pub(crate) fn read(field: &Field<'_>) -> Option<RetryPolicy> {
    let mut it = field.message(&schema::RETRY_POLICY)?;
    let mut policy = RetryPolicy {
        on: read_on(&mut it),
        retries_max: it.u32("num_retries").unwrap_or(1),
        per_try_timeout: it.duration("per_try_timeout").unwrap_or_default(),
        per_try_idle_timeout: it.duration("per_try_idle_timeout").unwrap_or_default(),
        response_headers: matching::read_headers(&mut it, "retriable_headers"),
        request_headers: matching::read_headers(&mut it, "retriable_request_headers"),
        avoid_previous: read_predicates(&mut it),
        body_bytes_max: BODY_BYTES_MAX,
        ..RetryPolicy::none()
    };
    for field in it.items("retriable_status_codes") {
        let code = field.number_in(100..=599).and_then(|it| u16::try_from(it).ok());
        policy.status_codes.extend(code);
    }
    if let Some(back_off) = it.take("retry_back_off") {
        policy.back_off = read_back_off(&back_off).unwrap_or_default();
    }
    let rate_limited = it.take("rate_limited_retry_back_off");
    policy.rate_limited_back_off = rate_limited.and_then(|it| read_rate_limited(&it));
    Some(policy)
}

fn read_on(it: &mut Message<'_>) -> RetryOn {
    let Some(field) = it.take("retry_on") else { return RetryOn::NONE };
    let (on, unknown) = RetryOn::parse(field.text().unwrap_or_default());
    for name in unknown {
        // Of HTTP/3, which is not spoken.
        if name != "http3-post-connect-failure" {
            let names: Vec<&str> = RetryOn::NAMES.iter().map(|it| it.0).collect();
            let remedy = format!("choose from {}", names.join(", "));
            field.ignored(format!("{name:?} is no condition of a retry"), remedy);
        }
    }
    on
}

/// Whether endpoints that were tried are avoided.
fn read_predicates(it: &mut Message<'_>) -> bool {
    // Another endpoint is looked for as often as there are others.
    it.skip(&["host_selection_retry_max_attempts"]);
    let mut avoids = false;
    for field in it.items("retry_host_predicate") {
        let Some(mut predicate) = field.message(&schema::RETRY_HOST_PREDICATE) else { continue };
        let name = predicate.required_text("name").unwrap_or_default();
        let typed = predicate.take("typed_config").and_then(|it| it.typed());
        let kind = typed.map_or("", |it| it.0);
        if kind.ends_with(".PreviousHostsPredicate")
            || name == "envoy.retry_host_predicates.previous_hosts"
        {
            avoids = true;
        } else {
            field.ignored(format!("{name:?} is not supported"), "use previous_hosts");
        }
    }
    avoids
}

fn read_back_off(field: &Field<'_>) -> Option<BackOff> {
    let mut it = field.message(&schema::RETRY_BACK_OFF)?;
    it.required("base_interval");
    let base = it.positive_duration("base_interval")?;
    let max = it.positive_duration("max_interval").unwrap_or(base * 10);
    if max < base {
        it.at("max_interval").error("is shorter than base_interval", "write a longer one");
    }
    Some(BackOff { base, max })
}

fn read_rate_limited(field: &Field<'_>) -> Option<RateLimitedBackOff> {
    let mut it = field.message(&schema::RATE_LIMITED_BACK_OFF)?;
    let mut headers = Vec::new();
    for field in it.items("reset_headers") {
        let Some(mut header) = field.message(&schema::RESET_HEADER) else { continue };
        let formats = [("SECONDS", 0, false), ("UNIX_TIMESTAMP", 1, true)];
        let is_unix_time = header.choice("format", &formats).unwrap_or(false);
        let Some(name) = header.required_text("name") else { continue };
        headers.push(ResetHeader { name: name.to_ascii_lowercase(), is_unix_time });
    }
    let max = it.positive_duration("max_interval").unwrap_or(RESET_MAX);
    Some(RateLimitedBackOff { headers, max })
}

/// `HedgePolicy`.
pub(crate) fn read_hedging(field: &Field<'_>) -> Option<Hedging> {
    let mut it = field.message(&schema::HEDGE_POLICY)?;
    it.only("initial_requests", &Value::from(1), "a request is made once at first");
    Some(Hedging { on_per_try_timeout: it.is("hedge_on_per_try_timeout") })
}
