//! `AccessLog`: where to, in which form, about which requests.

use proxy_config::{AccessLog, Comparison, JsonField, LogFilter, LogFormat, LogSink};
use serde_json::Value;

use super::fields::{Field, Message};
use super::{matching, schema, tls};

/// The `access_log` of a listener's filter.
pub(crate) fn read(it: &mut Message<'_>) -> Vec<AccessLog> {
    it.items("access_log").iter().filter_map(read_one).collect()
}

fn read_one(field: &Field<'_>) -> Option<AccessLog> {
    let mut it = field.message(&schema::ACCESS_LOG)?;
    it.required_text("name");
    let filter = it.take("filter").and_then(|it| read_filter(&it));
    let (kind, config) = it.required("typed_config")?.typed()?;
    let (sink, format) = match kind {
        "extensions.access_loggers.file.v3.FileAccessLog" => read_file(&config)?,
        "extensions.access_loggers.stream.v3.StdoutAccessLog" => {
            (LogSink::Stdout, read_stream(&config)?)
        }
        "extensions.access_loggers.stream.v3.StderrAccessLog" => {
            (LogSink::Stderr, read_stream(&config)?)
        }
        other => {
            let message = format!("the access log {other} is not supported");
            config.ignored(message, "use FileAccessLog, StdoutAccessLog or StderrAccessLog");
            return None;
        }
    };
    Some(AccessLog { sink, format, filter })
}

fn read_file(field: &Field<'_>) -> Option<(LogSink, LogFormat)> {
    let mut it = field.message(&schema::FILE_ACCESS_LOG)?;
    let sink = match it.required_text("path")? {
        "/dev/stdout" => LogSink::Stdout,
        "/dev/stderr" => LogSink::Stderr,
        path => LogSink::File(path.to_owned()),
    };
    let ways = ["log_format", "format", "json_format", "typed_json_format"];
    let format = match it.one_of(&ways) {
        None => LogFormat::Default,
        Some(("log_format", field)) => read_format(&field)?,
        Some(("format", field)) => LogFormat::Text(field.text()?.to_owned()),
        Some((_, field)) => LogFormat::Json(read_json(&field)),
    };
    Some((sink, format))
}

fn read_stream(field: &Field<'_>) -> Option<LogFormat> {
    let mut it = field.message(&schema::STREAM_ACCESS_LOG)?;
    match it.take("log_format") {
        Some(field) => read_format(&field),
        None => Some(LogFormat::Default),
    }
}

/// `SubstitutionFormatString`.
fn read_format(field: &Field<'_>) -> Option<LogFormat> {
    let mut it = field.message(&schema::SUBSTITUTION_FORMAT)?;
    it.skip(&["content_type"]);
    match it.required_one_of(&["text_format", "text_format_source", "json_format"])? {
        ("text_format", field) => Some(LogFormat::Text(field.text()?.to_owned())),
        ("text_format_source", field) => Some(LogFormat::Text(tls::read_source(&field)?)),
        (_, field) => Some(LogFormat::Json(read_json(&field))),
    }
}

fn read_json(field: &Field<'_>) -> Vec<(String, JsonField)> {
    let mut fields = Vec::new();
    for (key, field) in field.entries() {
        let value = match field.value {
            Value::String(text) => JsonField::Text(text.clone()),
            Value::Object(_) => JsonField::Object(read_json(&field)),
            other => {
                field.ignored(format!("{other} is not supported here"), "write a text or a map");
                continue;
            }
        };
        fields.push((key.to_owned(), value));
    }
    fields
}

/// `AccessLogFilter`. What is not supported lets every request be written about.
fn read_filter(field: &Field<'_>) -> Option<LogFilter> {
    let mut it = field.message(&schema::ACCESS_LOG_FILTER)?;
    let ways = [
        "status_code_filter",
        "duration_filter",
        "header_filter",
        "response_flag_filter",
        "runtime_filter",
        "grpc_status_filter",
        "and_filter",
        "or_filter",
        "not_health_check_filter",
        "traceable_filter",
        "metadata_filter",
        "log_type_filter",
        "extension_filter",
    ];
    let (way, field) = it.required_one_of(&ways)?;
    match way {
        "status_code_filter" => {
            let mut it = field.message(&schema::STATUS_FILTER)?;
            let (comparison, number) = read_comparison(&it.required("comparison")?)?;
            Some(LogFilter::Status(comparison, number))
        }
        "duration_filter" => {
            let mut it = field.message(&schema::DURATION_FILTER)?;
            let (comparison, number) = read_comparison(&it.required("comparison")?)?;
            Some(LogFilter::DurationMs(comparison, number))
        }
        "header_filter" => {
            let mut it = field.message(&schema::LOG_HEADER_FILTER)?;
            matching::read_header(&it.required("header")?).map(LogFilter::Header)
        }
        "response_flag_filter" => {
            let mut it = field.message(&schema::RESPONSE_FLAG_FILTER)?;
            Some(LogFilter::ResponseFlags(it.texts("flags")))
        }
        "runtime_filter" => {
            let mut it = field.message(&schema::LOG_RUNTIME_FILTER)?;
            it.refuse_runtime_key();
            it.skip(&["use_independent_randomness"]);
            let share = it.take("percent_sampled").and_then(|it| it.fraction());
            Some(LogFilter::PerMillion(share.unwrap_or(0)))
        }
        "grpc_status_filter" => read_grpc(&field),
        "and_filter" => {
            let mut it = field.message(&schema::AND_FILTER)?;
            let filters = it.items("filters");
            Some(LogFilter::And(filters.iter().filter_map(read_filter).collect()))
        }
        "or_filter" => read_or(&field),
        "not_health_check_filter" => {
            // No request is known as a health check, so all pass.
            field.message(&schema::EMPTY);
            None
        }
        _ => {
            field.ignored("this condition is not supported", "remove it");
            None
        }
    }
}

fn read_or(field: &Field<'_>) -> Option<LogFilter> {
    let mut it = field.message(&schema::OR_FILTER)?;
    let items = it.items("filters");
    let filters: Vec<LogFilter> = items.iter().filter_map(read_filter).collect();
    // One that cannot be told lets everything pass, and so the whole does.
    (filters.len() == items.len()).then_some(LogFilter::Or(filters))
}

fn read_comparison(field: &Field<'_>) -> Option<(Comparison, u64)> {
    let mut it = field.message(&schema::LOG_COMPARISON)?;
    let operators = [
        ("EQ", 0, Comparison::Equal),
        ("GE", 1, Comparison::AtLeast),
        ("LE", 2, Comparison::AtMost),
        ("NE", 3, Comparison::NotEqual),
    ];
    let operator = it.choice("op", &operators).unwrap_or(Comparison::Equal);
    let mut value = it.required("value")?.message(&schema::RUNTIME_UINT32)?;
    value.refuse_runtime_key();
    Some((operator, u64::from(value.u32("default_value").unwrap_or(0))))
}

/// The statuses of gRPC in the order of their numbers.
const GRPC_STATUSES: [&str; 17] = [
    "OK",
    "CANCELED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

fn read_grpc(field: &Field<'_>) -> Option<LogFilter> {
    let mut it = field.message(&schema::GRPC_STATUS_FILTER)?;
    let statuses: Vec<(&str, i64, u8)> =
        (0_u8..).zip(GRPC_STATUSES).map(|(number, name)| (name, number.into(), number)).collect();
    let items = it.items("statuses");
    let statuses = items.iter().filter_map(|it| it.choice(&statuses)).collect();
    Some(LogFilter::GrpcStatus { statuses, exclude: it.is("exclude") })
}
