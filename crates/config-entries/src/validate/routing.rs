use model::go::quote;

use super::{Verdict, ensure, header_conditions, methods, pattern};
use crate::normalize::hundredths;
use crate::view::{HttpMatch, RouteDestination, Router, Split, Splitter};

/// All of a splitter's shares, in hundredths of a percent.
const WHOLE: i64 = 100 * 100;

pub(super) fn router(name: &str, it: &Router) -> Verdict {
    ensure(!name.is_empty(), || "Name is required".to_owned())?;
    for (idx, route) in it.routes.iter().enumerate() {
        let http = route.r#match.as_ref().and_then(|it| it.http.as_ref());
        if let Some(http) = http {
            condition(idx, http)?;
        }
        let has_prefix =
            http.is_some_and(|it| !it.path_exact.is_empty() || !it.path_prefix.is_empty());
        if let Some(destination) = &route.destination {
            route_destination(idx, destination, has_prefix)?;
        }
    }
    Ok(())
}

fn condition(idx: usize, http: &HttpMatch) -> Verdict {
    for (name, path) in [("PathExact", &http.path_exact), ("PathPrefix", &http.path_prefix)] {
        ensure(path.is_empty() || path.starts_with('/'), || {
            format!("Route[{idx}] {name} doesn't start with '/': {}", quote(path))
        })?;
    }
    let paths = [&http.path_exact, &http.path_prefix, &http.path_regex];
    ensure(paths.iter().filter(|it| !it.is_empty()).count() <= 1, || {
        format!(
            "Route[{idx}] should only contain at most one of PathExact, PathPrefix, or PathRegex"
        )
    })?;
    pattern(|| format!("Route[{idx}] PathRegex"), &http.path_regex)?;
    for (at, header) in http.header.iter().enumerate() {
        ensure(!header.name.is_empty(), || {
            format!("Route[{idx}] Header[{at}] missing required Name field")
        })?;
        ensure(header_conditions(header) == 1, || {
            format!(
                "Route[{idx}] Header[{at}] should only contain one of Present, Exact, Prefix, Suffix, or Regex"
            )
        })?;
        pattern(|| format!("Route[{idx}] Header[{at}] Regex"), &header.regex)?;
    }
    for (at, query) in http.query_param.iter().enumerate() {
        ensure(!query.name.is_empty(), || {
            format!("Route[{idx}] QueryParam[{at}] missing required Name field")
        })?;
        let texts = [&query.exact, &query.regex];
        let conditions =
            usize::from(query.present) + texts.iter().filter(|it| !it.is_empty()).count();
        ensure(conditions == 1, || {
            format!(
                "Route[{idx}] QueryParam[{at}] should only contain one of Present, Exact, or Regex"
            )
        })?;
        pattern(|| format!("Route[{idx}] QueryParam[{at}] Regex"), &query.regex)?;
    }
    methods(&format!("Route[{idx}] Methods"), &http.methods)
}

fn route_destination(idx: usize, it: &RouteDestination, has_prefix: bool) -> Verdict {
    ensure(it.prefix_rewrite.is_empty() || has_prefix, || {
        format!(
            "Route[{idx}] cannot make use of PrefixRewrite without configuring either PathExact or PathPrefix"
        )
    })?;
    for condition in &it.retry_on {
        ensure(is_retry_condition(condition), || {
            format!("Route[{idx}] contains an invalid retry condition: {}", quote(condition))
        })?;
    }
    ensure((0..=i64::from(u32::MAX)).contains(&it.num_retries), || {
        format!("Route[{idx}] NumRetries is out of range: {}", it.num_retries)
    })?;
    for code in &it.retry_on_status_codes {
        ensure((100..=599).contains(code), || {
            format!("Route[{idx}] RetryOnStatusCodes contains {code}, which is no HTTP status")
        })?;
    }
    Ok(())
}

fn is_retry_condition(word: &str) -> bool {
    matches!(
        word,
        "5xx"
            | "gateway-error"
            | "reset"
            | "reset-before-request"
            | "connect-failure"
            | "envoy-ratelimited"
            | "retriable-4xx"
            | "refused-stream"
            | "cancelled"
            | "deadline-exceeded"
            | "internal"
            | "resource-exhausted"
            | "unavailable"
    )
}

pub(super) fn splitter(name: &str, it: &Splitter) -> Verdict {
    ensure(!name.is_empty(), || "Name is required".to_owned())?;
    ensure(!it.splits.is_empty(), || "no splits configured".to_owned())?;
    let place = |split: &Split| {
        let service = if split.service.is_empty() { name } else { &split.service };
        (
            service.to_owned(),
            split.service_subset.clone(),
            split.namespace.clone(),
            split.partition.clone(),
        )
    };
    for (idx, split) in it.splits.iter().enumerate() {
        let (service, subset, namespace, partition) = place(split);
        ensure(it.splits[..idx].iter().all(|other| place(other) != place(split)), || {
            format!(
                "split destination occurs more than once: service={}, subset={}, namespace={}, partition={}",
                quote(&service),
                quote(&subset),
                quote(&namespace),
                quote(&partition)
            )
        })?;
        ensure((0..=WHOLE).contains(&hundredths(split.weight)), || {
            format!("the weight of a split must be between 0 and 100, not {}", split.weight)
        })?;
    }
    let sum: i64 = it.splits.iter().map(|it| hundredths(it.weight)).sum();
    ensure(sum == WHOLE, || {
        #[allow(clippy::cast_precision_loss, reason = "exact below 2^53")]
        let sum = sum as f64 / 100.0;
        format!("the sum of all split weights must be 100, not {sum:.6}")
    })
}
