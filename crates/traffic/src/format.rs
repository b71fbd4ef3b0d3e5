//! Envoy's command operators, `%OPERATOR(argument):length%`, in access logs and in header values.
//!
//! A text is parsed once ([`Format::parse`]); what it asks for is looked up in [`Facts`] when it is
//! written. Without an allocation, except where a value must be escaped.

mod escape;
mod facts;
mod filter;
mod json;
mod operator;
mod parse;
mod time;

use std::fmt;

use http::HeaderName;
use proxy_config::LogFormat;

pub use facts::{AddressFact, Facts, NumberFact, TextFact, TimePoint, TlsFact};
pub use filter::LogCondition;
pub use parse::FormatError;

use crate::format::escape::Escaping;
use crate::format::json::JsonObject;
use crate::format::operator::Operator;

/// Envoy's default line.
pub const DEFAULT_FORMAT: &str = "[%START_TIME%] \
    \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" \
    %RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% \
    %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \
    \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\"\n";

/// Istio's default line.
pub const ISTIO_FORMAT: &str = "[%START_TIME%] \
    \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" \
    %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% \
    \"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% \
    %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \
    \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER_RAW% \
    %UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% \
    %REQUESTED_SERVER_NAME% %ROUTE_NAME%\n";

/// A text with command operators. `Display` writes it as it is parsed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Format {
    pieces: Vec<Piece>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Piece {
    Text(String),
    Value(Value),
}

/// A command operator as it stands in a text.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Value {
    name: Box<str>,
    argument: Option<String>,
    /// Most bytes of the value.
    length_max: Option<usize>,
    operator: Operator,
}

impl Format {
    /// Reads a text.
    ///
    /// # Errors
    /// What is wrong with it and where.
    pub fn parse(text: &str) -> Result<Format, FormatError> {
        parse::parse(text).map(|pieces| Format { pieces })
    }

    /// The text itself, when there are no operators in it.
    #[must_use]
    pub fn constant(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Appends the text for a log. What is not there is `-`; what others chose is escaped, so that
    /// it cannot end a field or a line.
    pub fn write_line(&self, facts: &impl Facts, out: &mut Vec<u8>) {
        self.write(facts, Escaping::Log, "-", out);
    }

    /// Appends the text as a header value; what is not there is nothing. Bytes that may not be in a
    /// header are left out.
    pub fn write_header(&self, facts: &impl Facts, out: &mut Vec<u8>) {
        self.write(facts, Escaping::Header, "", out);
    }

    fn write(&self, facts: &impl Facts, escaping: Escaping, missing: &str, out: &mut Vec<u8>) {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Value(value) => {
                    if !value.write(facts, escaping, out) {
                        out.extend_from_slice(missing.as_bytes());
                    }
                }
            }
        }
    }

    /// Names of the request headers that the text asks for: what a shell must keep when it gives
    /// the head away.
    pub fn request_headers(&self) -> impl Iterator<Item = &HeaderName> {
        self.values().flat_map(|it| it.operator.request_headers())
    }

    /// Operators of Envoy's that never have a value here, for a finding.
    pub fn without_value(&self) -> impl Iterator<Item = &str> {
        self.values().filter(|it| it.operator == Operator::Unset).map(|it| &*it.name)
    }

    fn values(&self) -> impl Iterator<Item = &Value> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Value(value) => Some(value),
            Piece::Text(_) => None,
        })
    }
}

impl Value {
    /// Appends the value, shortened and escaped; false, and nothing appended, when there is none.
    fn write(&self, facts: &impl Facts, escaping: Escaping, out: &mut Vec<u8>) -> bool {
        let start = out.len();
        if !self.operator.write(facts, out) {
            out.truncate(start);
            return false;
        }
        if let Some(length_max) = self.length_max {
            truncate(out, start, length_max);
        }
        if self.operator.is_foreign() {
            escaping.escape(out, start);
        }
        true
    }
}

/// Cuts what was appended since `start`, not within a UTF-8 character.
fn truncate(out: &mut Vec<u8>, start: usize, length_max: usize) {
    let mut end = start.saturating_add(length_max);
    if end >= out.len() {
        return;
    }
    while end > start && out[end] & 0xc0 == 0x80 {
        end -= 1;
    }
    out.truncate(end);
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => f.write_str(&text.replace('%', "%%"))?,
                Piece::Value(value) => {
                    write!(f, "%{}", value.name)?;
                    if let Some(argument) = &value.argument {
                        write!(f, "({argument})")?;
                    }
                    if let Some(length_max) = value.length_max {
                        write!(f, ":{length_max}")?;
                    }
                    f.write_str("%")?;
                }
            }
        }
        Ok(())
    }
}

/// The form of an access log's lines.
#[derive(Clone, Debug)]
pub struct LineFormat(Line);

#[derive(Clone, Debug)]
enum Line {
    /// With what is written for a value that is not there.
    Text(Format, &'static str),
    Json(JsonObject),
}

impl LineFormat {
    /// Makes a form ready. With `omit_empty_values`, a field of a JSON object without a value is
    /// left out, and in a text it is nothing instead of `-`.
    ///
    /// # Errors
    /// What is wrong with a text and where.
    pub fn new(format: &LogFormat, omit_empty_values: bool) -> Result<LineFormat, FormatError> {
        let missing = if omit_empty_values { "" } else { "-" };
        Ok(LineFormat(match format {
            LogFormat::Default => Line::Text(Format::parse(DEFAULT_FORMAT)?, missing),
            LogFormat::Text(text) => Line::Text(Format::parse(text)?, missing),
            LogFormat::Json(fields) => Line::Json(JsonObject::new(fields, omit_empty_values)?),
        }))
    }

    /// Appends a line; one in JSON with its line end, a text with the one that it has itself.
    pub fn write(&self, facts: &impl Facts, out: &mut Vec<u8>) {
        match &self.0 {
            Line::Text(format, missing) => format.write(facts, Escaping::Log, missing, out),
            Line::Json(object) => {
                object.write(facts, out);
                out.push(b'\n');
            }
        }
    }

    /// Names of the request headers that lines are made of, each perhaps more than once.
    #[must_use]
    pub fn request_headers(&self) -> Vec<&HeaderName> {
        self.formats().into_iter().flat_map(Format::request_headers).collect()
    }

    /// Operators of Envoy's that never have a value here, for a finding.
    #[must_use]
    pub fn without_value(&self) -> Vec<&str> {
        self.formats().into_iter().flat_map(Format::without_value).collect()
    }

    fn formats(&self) -> Vec<&Format> {
        match &self.0 {
            Line::Text(format, _) => vec![format],
            Line::Json(object) => object.formats(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
