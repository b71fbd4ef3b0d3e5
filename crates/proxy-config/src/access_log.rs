//! What is written about each request.

use serde::{Deserialize, Serialize};

use crate::HeaderMatch;

/// An access log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AccessLog {
    /// Where to.
    pub sink: LogSink,
    /// In which form.
    pub format: LogFormat,
    /// About which requests; all when `None`.
    pub filter: Option<LogFilter>,
}

/// Where an access log is written.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum LogSink {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A file, appended to; opened anew on SIGUSR1.
    File(String),
}

/// The form of a line. `%OPERATOR(argument):length%` are Envoy's command operators.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum LogFormat {
    /// Envoy's default line.
    Default,
    /// This text, with its own line end.
    Text(String),
    /// A JSON object on one line; the fields in this order, each a text with operators.
    Json(Vec<(String, JsonField)>),
}

/// A field of a line in JSON.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum JsonField {
    /// A text with operators; one operator alone keeps its type (a number stays a number).
    Text(String),
    /// An object.
    Object(Vec<(String, JsonField)>),
}

/// Which requests are written about.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum LogFilter {
    /// The status compared with a number.
    Status(Comparison, u64),
    /// The duration in milliseconds compared with a number.
    DurationMs(Comparison, u64),
    /// One of these response flags (short names) is set; any when empty.
    ResponseFlags(Vec<String>),
    /// The request has this header.
    Header(HeaderMatch),
    /// So many of each million, at random.
    PerMillion(u32),
    /// One of these gRPC statuses (or none of them when `exclude`).
    GrpcStatus {
        /// Numbers of statuses.
        statuses: Vec<u8>,
        /// None of them.
        exclude: bool,
    },
    /// All of these.
    And(Vec<LogFilter>),
    /// One of these.
    Or(Vec<LogFilter>),
}

/// How two numbers are compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Comparison {
    /// Equal.
    Equal,
    /// At least.
    AtLeast,
    /// At most.
    AtMost,
    /// Not equal.
    NotEqual,
}
