use std::borrow::Cow;
use std::fmt::Write;

use serde_json::{Value as Json, json};

use super::metric::{BUCKETS_US, Distribution};

/// Label names and values.
pub(crate) type Labels = Vec<(&'static str, String)>;

/// A metric as it was when it was read.
#[derive(Clone, PartialEq, Debug)]
pub struct Metric {
    /// Name in Prometheus' form, without labels.
    pub family: Cow<'static, str>,
    /// Labels in Prometheus' form.
    pub labels: Vec<(&'static str, String)>,
    /// Name in Envoy's text form (`cluster.web.upstream_rq_total`); empty for one that Envoy has no
    /// name for.
    pub name: String,
    /// Value.
    pub value: Value,
}

impl Metric {
    /// What tells it from all others.
    #[must_use]
    pub fn key(&self) -> String {
        if self.name.is_empty() {
            format!("{}{{{}}}", self.family, render_labels(&self.labels))
        } else {
            self.name.clone()
        }
    }

    /// What filters look at: its name, or its family where Envoy has no name for it.
    #[must_use]
    pub fn searched(&self) -> &str {
        if self.name.is_empty() { &self.family } else { &self.name }
    }
}

/// How histograms are shown in the forms that are not Prometheus'.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Buckets {
    /// Not as buckets but as quantiles.
    #[default]
    None,
    /// Counts of all values up to each bound.
    Cumulative,
    /// Counts of the values of each bucket.
    Disjoint,
}

/// Value of a [`Metric`].
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// Only grows.
    Counter(u64),
    /// Goes up and down.
    Gauge(u64),
    /// Durations; boxed, for it is 20 times as large as the others.
    Histogram(Box<Distribution>),
}

impl Value {
    /// True when nothing was ever counted (a gauge: when it is 0).
    #[must_use]
    pub fn is_unused(&self) -> bool {
        match self {
            Value::Counter(value) | Value::Gauge(value) => *value == 0,
            Value::Histogram(distribution) => distribution.count() == 0,
        }
    }
}

/// Prometheus' text format, version 0.0.4: families in alphabetical order, each with its type once.
#[must_use]
pub fn prometheus(metrics: &[Metric]) -> String {
    let mut sorted: Vec<&Metric> = metrics.iter().collect();
    // Stable: the series of a family stay in the order in which they were read.
    sorted.sort_by(|one, other| one.family.cmp(&other.family));
    let mut text = String::with_capacity(metrics.len() * 96);
    let mut family = "";
    for metric in sorted {
        if metric.family != family {
            family = &metric.family;
            let kind = match metric.value {
                Value::Counter(_) => "counter",
                Value::Gauge(_) => "gauge",
                Value::Histogram(_) => "histogram",
            };
            line(&mut text, format_args!("# TYPE {family} {kind}"));
        }
        let labels = render_labels(&metric.labels);
        match &metric.value {
            Value::Counter(value) | Value::Gauge(value) => {
                let braces = if labels.is_empty() { labels } else { format!("{{{labels}}}") };
                line(&mut text, format_args!("{family}{braces} {value}"));
            }
            Value::Histogram(distribution) => {
                histogram_lines(&mut text, family, &labels, distribution);
            }
        }
    }
    text
}

fn histogram_lines(text: &mut String, family: &str, labels: &str, distribution: &Distribution) {
    let comma = if labels.is_empty() { "" } else { "," };
    let mut cumulative = 0;
    for (count, bound_us) in distribution.counts.iter().zip(BUCKETS_US) {
        cumulative += count;
        let bound = milliseconds(bound_us);
        line(text, format_args!("{family}_bucket{{{labels}{comma}le=\"{bound}\"}} {cumulative}"));
    }
    // Of the counts, not of a total that another worker may have moved since.
    let count = distribution.count();
    let sum = milliseconds(distribution.sum_us);
    line(text, format_args!("{family}_bucket{{{labels}{comma}le=\"+Inf\"}} {count}"));
    line(text, format_args!("{family}_sum{{{labels}}} {sum}"));
    line(text, format_args!("{family}_count{{{labels}}} {count}"));
}

fn milliseconds(us: u64) -> f64 {
    us as f64 / 1000.0
}

/// `name="value"` pairs joined by commas. In a value `\`, `"` and a line feed are escaped.
fn render_labels(labels: &[(&'static str, String)]) -> String {
    let mut text = String::new();
    for (name, value) in labels {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(name);
        text.push_str("=\"");
        for character in value.chars() {
            match character {
                '\\' => text.push_str("\\\\"),
                '"' => text.push_str("\\\""),
                '\n' => text.push_str("\\n"),
                other => text.push(other),
            }
        }
        text.push('"');
    }
    text
}

/// The quantiles that Envoy prints.
const QUANTILES: [f64; 10] = [0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 1.0];

/// Envoy's `/stats`: `name: value`, sorted by name, histograms as quantiles. There are no intervals
/// here, so of each pair the first number is `nan`.
#[must_use]
pub fn text(metrics: &[Metric], buckets: Buckets) -> String {
    let mut text = String::new();
    for metric in by_name(metrics) {
        let name = &metric.name;
        match &metric.value {
            Value::Counter(value) | Value::Gauge(value) => {
                line(&mut text, format_args!("{name}: {value}"));
            }
            Value::Histogram(distribution) if distribution.count() == 0 => {
                line(&mut text, format_args!("{name}: No recorded values"));
            }
            Value::Histogram(distribution) if buckets != Buckets::None => {
                let counts: Vec<String> = bucket_counts(distribution, buckets)
                    .map(|(bound, count)| format!("B{bound}(0,{count})"))
                    .collect();
                line(&mut text, format_args!("{name}: {}", counts.join(" ")));
            }
            Value::Histogram(distribution) => {
                let quantile = |it: &f64| {
                    let value = distribution.quantile_ms(*it).unwrap_or(f64::NAN);
                    format!("P{}(nan,{value:.3})", percent(*it))
                };
                let quantiles: Vec<String> = QUANTILES.iter().map(quantile).collect();
                line(&mut text, format_args!("{name}: {}", quantiles.join(" ")));
            }
        }
    }
    text
}

/// Envoy's `/stats?format=json`.
#[must_use]
pub fn to_json(metrics: &[Metric], buckets: Buckets) -> Json {
    let mut stats = Vec::new();
    let mut quantiles = Vec::new();
    for metric in by_name(metrics) {
        match &metric.value {
            Value::Counter(value) | Value::Gauge(value) => {
                stats.push(json!({ "name": metric.name, "value": value }));
            }
            Value::Histogram(distribution) if buckets != Buckets::None => {
                let counts: Vec<Json> = bucket_counts(distribution, buckets)
                    .map(|(bound, it)| {
                        json!({ "upper_bound": bound, "interval": 0, "cumulative": it })
                    })
                    .collect();
                quantiles.push(json!({ "name": metric.name, "buckets": counts }));
            }
            Value::Histogram(distribution) => {
                let values: Vec<Json> = QUANTILES
                    .iter()
                    .map(|it| distribution.quantile_ms(*it))
                    .map(|value| json!({ "interval": null, "cumulative": value }))
                    .collect();
                quantiles.push(json!({ "name": metric.name, "values": values }));
            }
        }
    }
    if !quantiles.is_empty() && buckets != Buckets::None {
        stats.push(json!({ "histograms": quantiles }));
    } else if !quantiles.is_empty() {
        let supported: Vec<f64> = QUANTILES.iter().map(|it| percent(*it)).collect();
        stats.push(json!({ "histograms": {
            "supported_quantiles": supported,
            "computed_quantiles": quantiles,
        } }));
    }
    json!({ "stats": stats })
}

/// Upper bounds with counts; what is above all bounds has none in Envoy's form.
fn bucket_counts(
    distribution: &Distribution,
    buckets: Buckets,
) -> impl Iterator<Item = (f64, u64)> {
    let mut below = 0;
    distribution.counts.iter().zip(BUCKETS_US).map(move |(count, bound_us)| {
        below += count;
        let shown = if buckets == Buckets::Disjoint { *count } else { below };
        (milliseconds(bound_us), shown)
    })
}

/// A page for people: a table with a field that narrows it down.
#[must_use]
pub fn html(metrics: &[Metric], filter: &str) -> String {
    let mut rows = String::new();
    for row in text(metrics, Buckets::None).lines() {
        let (name, value) = row.rsplit_once(": ").unwrap_or((row, ""));
        let (name, value) = (escaped(name), escaped(value));
        line(&mut rows, format_args!("<tr><td>{name}</td><td>{value}</td></tr>"));
    }
    let filter = escaped(filter);
    format!(
        "<!doctype html>\n<title>Leno proxy: stats</title>\n\
         <style>body{{font-family:sans-serif}}td{{font-family:monospace;padding:0 1em 0 0}}\
         tr:nth-child(even){{background:#eee}}td+td{{text-align:right}}</style>\n\
         <h1>Stats</h1>\n<form action=\"stats\"><input type=\"hidden\" name=\"format\" \
         value=\"html\"><label>Names that match <input name=\"filter\" value=\"{filter}\" \
         placeholder=\"regular expression\"></label> \
         <label><input type=\"checkbox\" name=\"usedonly\"> used only</label> \
         <button>Show</button></form>\n<table>\n{rows}</table>\n"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Rounded: 0.999 times 100 is not 99.9 in binary.
fn percent(quantile: f64) -> f64 {
    (quantile * 1000.0).round() / 10.0
}

fn by_name(metrics: &[Metric]) -> Vec<&Metric> {
    let mut sorted: Vec<&Metric> = metrics.iter().filter(|it| !it.name.is_empty()).collect();
    sorted.sort_by(|a, b| a.name.cmp(&b.name));
    sorted
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("writing to a String does not fail");
}
