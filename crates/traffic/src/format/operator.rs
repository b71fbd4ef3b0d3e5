//! The command operators.

use std::io::Write;
use std::net::SocketAddr;

use http::HeaderName;

use crate::format::facts::{AddressFact, Facts, NumberFact, TextFact, TimePoint, TlsFact};
use crate::format::time::{self, TimeFormat};
use crate::matching::FieldName;

/// A command operator with its argument.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Operator {
    Plain(Plain),
    /// `START_TIME` with a format.
    StartTime(TimeFormat),
    /// `REQ`: the first of these that is there.
    Request(Vec<FieldName>),
    /// `RESP`.
    Response(Vec<ResponseField>),
    /// `TRAILER`.
    Trailer(Vec<HeaderName>),
    /// Between two moments (`None`: the beginning), in this unit.
    Duration(Option<TimePoint>, TimePoint, Unit),
    GrpcStatus(GrpcForm),
    Environment(String),
    /// One of Envoy's that never has a value here.
    Unset,
}

/// An operator without an argument.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Plain {
    StartTime,
    Text(TextFact),
    /// White space becomes `_`, so that the field of a line stays one.
    Word(TextFact),
    Number(NumberFact),
    Address(AddressFact, AddressPart),
    Flags,
    FlagsLong,
    /// From the beginning, in milliseconds.
    Until(TimePoint),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum AddressPart {
    Whole,
    Host,
    Port,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum ResponseField {
    Status,
    Header(HeaderName),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unit {
    Milliseconds,
    Microseconds,
    Nanoseconds,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum GrpcForm {
    Camel,
    Snake,
    Number,
}

const PLAIN: &[(&str, Plain)] = &[
    ("START_TIME", Plain::StartTime),
    ("PROTOCOL", Plain::Text(TextFact::Protocol)),
    ("UPSTREAM_PROTOCOL", Plain::Text(TextFact::UpstreamProtocol)),
    ("RESPONSE_CODE", Plain::Number(NumberFact::ResponseCode)),
    ("RESPONSE_CODE_DETAILS", Plain::Word(TextFact::ResponseCodeDetails)),
    ("RESPONSE_FLAGS", Plain::Flags),
    ("RESPONSE_FLAGS_LONG", Plain::FlagsLong),
    ("CONNECTION_TERMINATION_DETAILS", Plain::Word(TextFact::ConnectionTerminationDetails)),
    ("BYTES_RECEIVED", Plain::Number(NumberFact::BytesReceived)),
    ("BYTES_SENT", Plain::Number(NumberFact::BytesSent)),
    ("REQUEST_HEADERS_BYTES", Plain::Number(NumberFact::RequestHeadersBytes)),
    ("RESPONSE_HEADERS_BYTES", Plain::Number(NumberFact::ResponseHeadersBytes)),
    ("RESPONSE_TRAILERS_BYTES", Plain::Number(NumberFact::ResponseTrailersBytes)),
    ("DURATION", Plain::Until(TimePoint::End)),
    ("REQUEST_DURATION", Plain::Until(TimePoint::DownstreamRxEnd)),
    ("REQUEST_TX_DURATION", Plain::Until(TimePoint::UpstreamTxEnd)),
    ("RESPONSE_DURATION", Plain::Until(TimePoint::UpstreamRxBegin)),
    ("UPSTREAM_HOST", Plain::Address(AddressFact::UpstreamHost, AddressPart::Whole)),
    ("UPSTREAM_HOST_NAME", Plain::Text(TextFact::UpstreamHostName)),
    ("UPSTREAM_CLUSTER", Plain::Text(TextFact::UpstreamCluster)),
    ("UPSTREAM_CLUSTER_RAW", Plain::Text(TextFact::UpstreamCluster)),
    ("UPSTREAM_CONNECTION_ID", Plain::Number(NumberFact::UpstreamConnectionId)),
    ("UPSTREAM_REQUEST_ATTEMPT_COUNT", Plain::Number(NumberFact::UpstreamRequestAttemptCount)),
    ("UPSTREAM_TRANSPORT_FAILURE_REASON", Plain::Word(TextFact::UpstreamTransportFailureReason)),
    (
        "DOWNSTREAM_TRANSPORT_FAILURE_REASON",
        Plain::Word(TextFact::DownstreamTransportFailureReason),
    ),
    ("REQUESTED_SERVER_NAME", Plain::Text(TextFact::RequestedServerName)),
    ("ROUTE_NAME", Plain::Text(TextFact::RouteName)),
    ("VIRTUAL_HOST_NAME", Plain::Text(TextFact::VirtualHostName)),
    ("VIRTUAL_CLUSTER_NAME", Plain::Text(TextFact::VirtualClusterName)),
    ("CONNECTION_ID", Plain::Number(NumberFact::ConnectionId)),
    ("HOSTNAME", Plain::Text(TextFact::Hostname)),
    ("FILTER_CHAIN_NAME", Plain::Text(TextFact::FilterChainName)),
    ("STREAM_ID", Plain::Text(TextFact::StreamId)),
    ("TRACE_ID", Plain::Text(TextFact::TraceId)),
];

/// After `DOWNSTREAM_` and `UPSTREAM_`.
const TLS: &[(&str, TlsFact)] = &[
    ("TLS_VERSION", TlsFact::Version),
    ("TLS_CIPHER", TlsFact::Cipher),
    ("TLS_SESSION_ID", TlsFact::SessionId),
    ("PEER_SUBJECT", TlsFact::PeerSubject),
    ("PEER_ISSUER", TlsFact::PeerIssuer),
    ("PEER_URI_SAN", TlsFact::PeerUriSan),
    ("PEER_DNS_SAN", TlsFact::PeerDnsSan),
    ("PEER_FINGERPRINT_256", TlsFact::PeerFingerprint256),
    ("PEER_FINGERPRINT_1", TlsFact::PeerFingerprint1),
    ("PEER_SERIAL", TlsFact::PeerSerial),
    ("PEER_CERT", TlsFact::PeerCertificate),
    ("LOCAL_SUBJECT", TlsFact::LocalSubject),
    ("LOCAL_URI_SAN", TlsFact::LocalUriSan),
    ("LOCAL_DNS_SAN", TlsFact::LocalDnsSan),
];

/// `_ADDRESS`, `_ADDRESS_WITHOUT_PORT` or `_PORT` follow.
const ADDRESSES: &[(&str, AddressFact)] = &[
    ("UPSTREAM_LOCAL", AddressFact::UpstreamLocal),
    ("UPSTREAM_REMOTE", AddressFact::UpstreamHost),
    ("DOWNSTREAM_LOCAL", AddressFact::DownstreamLocal),
    ("DOWNSTREAM_DIRECT_REMOTE", AddressFact::DownstreamDirectRemote),
    ("DOWNSTREAM_REMOTE", AddressFact::DownstreamRemote),
];

const ADDRESS_PARTS: &[(&str, AddressPart)] = &[
    ("_ADDRESS", AddressPart::Whole),
    ("_ADDRESS_WITHOUT_PORT", AddressPart::Host),
    ("_PORT", AddressPart::Port),
];

/// Operators of Envoy's about what does not exist or is not counted here, with any argument.
const UNSET: &[&str] = &[
    "UPSTREAM_WIRE_BYTES_SENT",
    "UPSTREAM_WIRE_BYTES_RECEIVED",
    "UPSTREAM_HEADER_BYTES_SENT",
    "UPSTREAM_HEADER_BYTES_RECEIVED",
    "DOWNSTREAM_WIRE_BYTES_SENT",
    "DOWNSTREAM_WIRE_BYTES_RECEIVED",
    "DOWNSTREAM_HEADER_BYTES_SENT",
    "DOWNSTREAM_HEADER_BYTES_RECEIVED",
    "DOWNSTREAM_PEER_CERT_V_START",
    "DOWNSTREAM_PEER_CERT_V_END",
    "UPSTREAM_PEER_CERT_V_START",
    "UPSTREAM_PEER_CERT_V_END",
    "DYNAMIC_METADATA",
    "CLUSTER_METADATA",
    "UPSTREAM_METADATA",
    "METADATA",
    "FILTER_STATE",
    "UPSTREAM_FILTER_STATE",
    "ACCESS_LOG_TYPE",
    "CEL",
];

impl Operator {
    /// The operator of a name.
    pub(super) fn new(name: &str, argument: Option<&str>) -> Result<Operator, String> {
        if UNSET.contains(&name) {
            return Ok(Operator::Unset);
        }
        if let Some(argument) = argument
            && let Some(operator) = with_argument(name, argument)?
        {
            return Ok(operator);
        }
        let operator = match name {
            "RESPONSE_TX_DURATION" => Some(Operator::Duration(
                Some(TimePoint::UpstreamRxBegin),
                TimePoint::DownstreamTxEnd,
                Unit::Milliseconds,
            )),
            "GRPC_STATUS" => Some(Operator::GrpcStatus(GrpcForm::Camel)),
            "GRPC_STATUS_NUMBER" => Some(Operator::GrpcStatus(GrpcForm::Number)),
            "REQ" | "RESP" | "TRAILER" | "ENVIRONMENT" | "COMMON_DURATION" => {
                return Err(format!("%{name}% needs an argument"));
            }
            _ => plain(name).map(Operator::Plain),
        };
        match operator {
            None => Err(format!("the operator %{name}% is not known")),
            Some(_) if argument.is_some() => Err(format!("%{name}% takes no argument")),
            Some(operator) => Ok(operator),
        }
    }

    /// Appends the value; false when there is none (something may have been appended even so).
    pub(super) fn write(&self, facts: &impl Facts, out: &mut Vec<u8>) -> bool {
        match self {
            Operator::Plain(plain) => plain.write(facts, out),
            Operator::StartTime(format) => {
                format.write(facts.start_unix_ns(), out);
                true
            }
            Operator::Request(names) => names.iter().any(|name| match name {
                FieldName::Header(name) => append(out, facts.all(name).next()),
                FieldName::Pseudo(which) => {
                    append(out, facts.pseudo(*which).as_ref().map(|it| it.as_bytes()))
                }
            }),
            Operator::Response(names) => names.iter().any(|name| match name {
                ResponseField::Status => number(out, facts.number(NumberFact::ResponseCode)),
                ResponseField::Header(name) => append(out, facts.response_header(name)),
            }),
            Operator::Trailer(names) => {
                names.iter().any(|name| append(out, facts.response_trailer(name)))
            }
            Operator::Duration(from, to, unit) => number(out, between(facts, *from, *to, *unit)),
            Operator::GrpcStatus(form) => grpc_status(out, facts.grpc_status(), *form),
            Operator::Environment(name) => append(out, facts.environment(name).map(str::as_bytes)),
            Operator::Unset => false,
        }
    }

    /// Whether the value is a number, which JSON writes without quotes.
    pub(super) fn is_number(&self) -> bool {
        match self {
            Operator::Plain(plain) => match plain {
                Plain::Number(_) | Plain::Until(_) | Plain::Address(_, AddressPart::Port) => true,
                Plain::StartTime
                | Plain::Text(_)
                | Plain::Word(_)
                | Plain::Address(_, AddressPart::Whole | AddressPart::Host)
                | Plain::Flags
                | Plain::FlagsLong => false,
            },
            Operator::Duration(..) | Operator::GrpcStatus(GrpcForm::Number) => true,
            Operator::StartTime(_)
            | Operator::Request(_)
            | Operator::Response(_)
            | Operator::Trailer(_)
            | Operator::GrpcStatus(GrpcForm::Camel | GrpcForm::Snake)
            | Operator::Environment(_)
            | Operator::Unset => false,
        }
    }

    /// Whether the value may hold what a client, an endpoint or a certificate chose.
    pub(super) fn is_foreign(&self) -> bool {
        !self.is_number() && !matches!(self, Operator::Plain(Plain::StartTime | Plain::Flags))
    }

    pub(super) fn request_headers(&self) -> impl Iterator<Item = &HeaderName> {
        let names: &[FieldName] = match self {
            Operator::Request(names) => names,
            _ => &[],
        };
        names.iter().filter_map(|name| match name {
            FieldName::Header(name) => Some(name),
            FieldName::Pseudo(_) => None,
        })
    }
}

fn plain(name: &str) -> Option<Plain> {
    if let Some((_, plain)) = PLAIN.iter().find(|(it, _)| *it == name) {
        return Some(*plain);
    }
    let tls = |prefix: &str| {
        let rest = name.strip_prefix(prefix)?;
        TLS.iter().find(|(it, _)| *it == rest).map(|(_, fact)| *fact)
    };
    if let Some(fact) = tls("DOWNSTREAM_") {
        return Some(Plain::Text(TextFact::DownstreamTls(fact)));
    }
    if let Some(fact) = tls("UPSTREAM_") {
        return Some(Plain::Text(TextFact::UpstreamTls(fact)));
    }
    ADDRESSES.iter().find_map(|(whose, fact)| {
        let rest = name.strip_prefix(whose)?;
        let (_, part) = ADDRESS_PARTS.iter().find(|(it, _)| *it == rest)?;
        Some(Plain::Address(*fact, *part))
    })
}

/// The operators that take an argument; `None` for the others.
fn with_argument(name: &str, argument: &str) -> Result<Option<Operator>, String> {
    Ok(Some(match name {
        "START_TIME" if argument.is_empty() => Operator::Plain(Plain::StartTime),
        "START_TIME" => Operator::StartTime(TimeFormat::parse(argument)?),
        "REQ" => Operator::Request(alternatives(argument, FieldName::parse)?),
        "RESP" => Operator::Response(alternatives(argument, |name| {
            if name.eq_ignore_ascii_case(":status") {
                return Ok(ResponseField::Status);
            }
            header(name).map(ResponseField::Header)
        })?),
        "TRAILER" => Operator::Trailer(alternatives(argument, header)?),
        "GRPC_STATUS" => Operator::GrpcStatus(match argument {
            "" | "CAMEL_STRING" => GrpcForm::Camel,
            "SNAKE_STRING" => GrpcForm::Snake,
            "NUMBER" => GrpcForm::Number,
            other => {
                return Err(format!(
                    "GRPC_STATUS takes CAMEL_STRING, SNAKE_STRING or NUMBER, not {other:?}"
                ));
            }
        }),
        "ENVIRONMENT" if !argument.is_empty() => Operator::Environment(argument.to_owned()),
        "COMMON_DURATION" => common_duration(argument)?,
        _ => return Ok(None),
    }))
}

/// `X?Y`: two names at most.
fn alternatives<T>(
    argument: &str,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    let names: Vec<&str> = argument.split('?').collect();
    if names.len() > 2 {
        return Err("more than one alternative header is given".to_owned());
    }
    names.into_iter().map(parse).collect()
}

fn header(name: &str) -> Result<HeaderName, String> {
    HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| format!("{name:?} is not the name of a header"))
}

/// `START:END:PRECISION`.
fn common_duration(argument: &str) -> Result<Operator, String> {
    let parts: Vec<&str> = argument.split(':').collect();
    let [from, to, unit] = parts[..] else {
        return Err("COMMON_DURATION takes START:END:PRECISION".to_owned());
    };
    let unit = match unit {
        "ms" => Unit::Milliseconds,
        "us" => Unit::Microseconds,
        "ns" => Unit::Nanoseconds,
        other => return Err(format!("the precision is ms, us or ns, not {other:?}")),
    };
    Ok(Operator::Duration(Some(point(from)?), point(to)?, unit))
}

fn point(name: &str) -> Result<TimePoint, String> {
    Ok(match name {
        "DS_RX_BEG" => TimePoint::DownstreamRxBegin,
        "DS_RX_END" => TimePoint::DownstreamRxEnd,
        "US_CX_BEG" => TimePoint::UpstreamConnectBegin,
        "US_CX_END" => TimePoint::UpstreamConnectEnd,
        "US_HS_END" => TimePoint::UpstreamHandshakeEnd,
        "US_TX_BEG" => TimePoint::UpstreamTxBegin,
        "US_TX_END" => TimePoint::UpstreamTxEnd,
        "US_RX_BEG" => TimePoint::UpstreamRxBegin,
        "US_RX_END" => TimePoint::UpstreamRxEnd,
        "DS_TX_BEG" => TimePoint::DownstreamTxBegin,
        "DS_TX_END" => TimePoint::DownstreamTxEnd,
        other => return Err(format!("{other:?} is not a time point of COMMON_DURATION")),
    })
}

impl Plain {
    fn write(self, facts: &impl Facts, out: &mut Vec<u8>) -> bool {
        match self {
            Plain::StartTime => {
                time::write_default(facts.start_unix_ns(), out);
                true
            }
            Plain::Text(fact) => append(out, facts.text(fact).map(str::as_bytes)),
            Plain::Word(fact) => {
                let start = out.len();
                let is_there = append(out, facts.text(fact).map(str::as_bytes));
                for byte in &mut out[start..] {
                    if byte.is_ascii_whitespace() {
                        *byte = b'_';
                    }
                }
                is_there
            }
            Plain::Number(fact) => number(out, facts.number(fact)),
            Plain::Address(fact, part) => {
                facts.address(fact).inspect(|it| address(out, *it, part)).is_some()
            }
            Plain::Flags => {
                write!(out, "{}", facts.flags()).expect("a Vec can be written to");
                true
            }
            Plain::FlagsLong => {
                let names = facts.flags().iter().map(|it| it.long_name());
                for (idx, name) in names.enumerate() {
                    if idx > 0 {
                        out.push(b',');
                    }
                    out.extend_from_slice(name.as_bytes());
                }
                !facts.flags().is_empty()
            }
            Plain::Until(point) => number(out, between(facts, None, point, Unit::Milliseconds)),
        }
    }
}

/// What is there but empty is as good as not there.
fn append(out: &mut Vec<u8>, value: Option<&[u8]>) -> bool {
    match value {
        Some(value) if !value.is_empty() => {
            out.extend_from_slice(value);
            true
        }
        Some(_) | None => false,
    }
}

fn number(out: &mut Vec<u8>, value: Option<u64>) -> bool {
    value.inspect(|value| time::digits(out, *value, 1)).is_some()
}

fn address(out: &mut Vec<u8>, address: SocketAddr, part: AddressPart) {
    match part {
        AddressPart::Whole => write!(out, "{address}"),
        AddressPart::Host => write!(out, "{}", address.ip()),
        AddressPart::Port => write!(out, "{}", address.port()),
    }
    .expect("a Vec can be written to");
}

fn between(facts: &impl Facts, from: Option<TimePoint>, to: TimePoint, unit: Unit) -> Option<u64> {
    let from = match from {
        Some(point) => facts.time(point)?,
        None => 0,
    };
    let nanoseconds = facts.time(to)?.checked_sub(from)?;
    Some(match unit {
        Unit::Milliseconds => nanoseconds / 1_000_000,
        Unit::Microseconds => nanoseconds / 1_000,
        Unit::Nanoseconds => nanoseconds,
    })
}

/// The names of gRPC's status codes, 0 to 16, in both forms.
const GRPC_CODES: [(&str, &str); 17] = [
    ("OK", "OK"),
    ("Canceled", "CANCELLED"),
    ("Unknown", "UNKNOWN"),
    ("InvalidArgument", "INVALID_ARGUMENT"),
    ("DeadlineExceeded", "DEADLINE_EXCEEDED"),
    ("NotFound", "NOT_FOUND"),
    ("AlreadyExists", "ALREADY_EXISTS"),
    ("PermissionDenied", "PERMISSION_DENIED"),
    ("ResourceExhausted", "RESOURCE_EXHAUSTED"),
    ("FailedPrecondition", "FAILED_PRECONDITION"),
    ("Aborted", "ABORTED"),
    ("OutOfRange", "OUT_OF_RANGE"),
    ("Unimplemented", "UNIMPLEMENTED"),
    ("Internal", "INTERNAL"),
    ("Unavailable", "UNAVAILABLE"),
    ("DataLoss", "DATA_LOSS"),
    ("Unauthenticated", "UNAUTHENTICATED"),
];

fn grpc_status(out: &mut Vec<u8>, status: Option<u64>, form: GrpcForm) -> bool {
    let Some(status) = status else { return false };
    let names = usize::try_from(status).ok().and_then(|idx| GRPC_CODES.get(idx));
    match (form, names) {
        (GrpcForm::Camel, Some((name, _))) | (GrpcForm::Snake, Some((_, name))) => {
            out.extend_from_slice(name.as_bytes());
        }
        (GrpcForm::Number, _) | (_, None) => time::digits(out, status, 1),
    }
    true
}
