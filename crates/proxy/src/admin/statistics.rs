use bytes::Bytes;
use http::{Response, StatusCode};
use regex::{Regex, RegexBuilder};

use super::query::Query;
use super::{AdminView, answer, json as json_answer, plain};
use crate::stats::{self, Buckets, Metric, Value};

/// Bytes of a compiled filter: some thousands of states, far more than a list of names needs.
const FILTER_BYTES_MAX: usize = 1 << 20;

/// Why a request is refused.
type Refusal = Box<Response<Bytes>>;

pub(super) fn respond(view: &AdminView<'_>, query: &Query) -> Response<Bytes> {
    let (metrics, buckets) = match wanted(view, query).and_then(|it| Ok((it, buckets(query)?))) {
        Ok(wanted) => wanted,
        Err(refusal) => return *refusal,
    };
    match query.get("format").unwrap_or("text") {
        "text" => plain(StatusCode::OK, stats::text(&metrics, buckets)),
        "json" => json_answer(&stats::to_json(&metrics, buckets)),
        "prometheus" => exposition(&metrics),
        "html" | "active-html" => html(&metrics, query),
        _ => *bad("usage: /stats?format=text|json|prometheus|html\n"),
    }
}

pub(super) fn prometheus(view: &AdminView<'_>, query: &Query) -> Response<Bytes> {
    match wanted(view, query) {
        Ok(metrics) => exposition(&metrics),
        Err(refusal) => *refusal,
    }
}

pub(super) fn page(view: &AdminView<'_>, query: &Query) -> Response<Bytes> {
    match wanted(view, query) {
        Ok(metrics) => html(&metrics, query),
        Err(refusal) => *refusal,
    }
}

fn html(metrics: &[Metric], query: &Query) -> Response<Bytes> {
    let body = stats::html(metrics, query.get("filter").unwrap_or_default());
    answer(StatusCode::OK, "text/html; charset=UTF-8", body)
}

fn exposition(metrics: &[Metric]) -> Response<Bytes> {
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    answer(StatusCode::OK, content_type, stats::prometheus(metrics))
}

fn buckets(query: &Query) -> Result<Buckets, Refusal> {
    match query.get("histogram_buckets") {
        None | Some("" | "none" | "summary") => Ok(Buckets::None),
        Some("cumulative") => Ok(Buckets::Cumulative),
        Some("disjoint") => Ok(Buckets::Disjoint),
        Some(_) => Err(bad("usage: /stats?histogram_buckets=(cumulative|disjoint|none)\n")),
    }
}

/// The metrics that `filter`, `type` and `usedonly` leave. A metric without a name of Envoy's is matched by
/// its family.
fn wanted(view: &AdminView<'_>, query: &Query) -> Result<Vec<Metric>, Refusal> {
    let filter: Option<Regex> = match query.get("filter").filter(|it| !it.is_empty()) {
        None => None,
        Some(filter) => match RegexBuilder::new(filter).size_limit(FILTER_BYTES_MAX).build() {
            Ok(filter) => Some(filter),
            Err(error) => return Err(bad(&format!("Invalid regex: {error}\n"))),
        },
    };
    let is_of_type: fn(&Value) -> bool = match query.get("type").unwrap_or("All") {
        "All" | "" => |_| true,
        "Counters" => |it| matches!(it, Value::Counter(_)),
        "Gauges" => |it| matches!(it, Value::Gauge(_)),
        "Histograms" => |it| matches!(it, Value::Histogram(_)),
        // There are none.
        "TextReadouts" => |_| false,
        _ => return Err(bad("usage: /stats?type=All|Counters|Gauges|Histograms|TextReadouts\n")),
    };
    let used_only = query.has("usedonly");
    let mut metrics = view.stats.read(view.surroundings());
    metrics.retain(|metric| {
        is_of_type(&metric.value)
            && filter.as_ref().is_none_or(|filter| filter.is_match(metric.searched()))
            && !(used_only && metric.value.is_unused())
    });
    Ok(metrics)
}

fn bad(text: &str) -> Refusal {
    Box::new(plain(StatusCode::BAD_REQUEST, text.to_owned()))
}
