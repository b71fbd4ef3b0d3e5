use std::borrow::Cow;
use std::net::SocketAddr;

use codec::message::{FieldValue, HeaderMap};
use http::{HeaderName, HeaderValue};
use proptest::prelude::*;
use proxy_config::{Comparison, HeaderMatch, JsonField, LogFilter, LogFormat, Pattern, ValueMatch};

use super::{
    AddressFact, DEFAULT_FORMAT, Facts, Format, ISTIO_FORMAT, LineFormat, LogCondition, NumberFact,
    TextFact, TimePoint, TlsFact,
};
use crate::matching::{Pseudo, RequestFields};
use crate::{ResponseFlag, ResponseFlags};

pub(crate) struct Known {
    pub(crate) path: String,
    pub(crate) request: HeaderMap,
    response: HeaderMap,
    trailers: HeaderMap,
    flags: ResponseFlags,
    status: u64,
    end_ns: u64,
}

impl RequestFields for Known {
    fn pseudo(&self, which: Pseudo) -> Option<Cow<'_, str>> {
        match which {
            Pseudo::Method => Some("POST".into()),
            Pseudo::Path => Some(self.path.as_str().into()),
            Pseudo::Authority => Some("locations".into()),
            Pseudo::Scheme => None,
        }
    }

    fn all<'a>(&'a self, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
        self.request.get_all(name.as_str()).map(FieldValue::as_bytes)
    }
}

impl Facts for Known {
    fn start_unix_ns(&self) -> u64 {
        1_460_751_420_310_000_000
    }

    fn time(&self, point: TimePoint) -> Option<u64> {
        match point {
            TimePoint::DownstreamRxEnd => Some(1_000_000),
            TimePoint::UpstreamTxEnd => Some(2_500_000),
            TimePoint::UpstreamRxBegin => Some(100_700_400),
            TimePoint::DownstreamTxEnd => Some(200_900_500),
            TimePoint::End => Some(self.end_ns),
            TimePoint::DownstreamRxBegin
            | TimePoint::UpstreamConnectBegin
            | TimePoint::UpstreamConnectEnd
            | TimePoint::UpstreamHandshakeEnd
            | TimePoint::UpstreamTxBegin
            | TimePoint::UpstreamRxEnd
            | TimePoint::DownstreamTxBegin => None,
        }
    }

    fn text(&self, fact: TextFact) -> Option<&str> {
        match fact {
            TextFact::Protocol => Some("HTTP/2"),
            TextFact::ResponseCodeDetails => Some("via upstream\t(x)"),
            TextFact::UpstreamCluster => Some("outbound|80||web"),
            TextFact::RouteName => Some(""),
            TextFact::DownstreamTls(TlsFact::PeerSubject) => Some("CN=\"a\",O=é"),
            TextFact::UpstreamTls(TlsFact::Version) => Some("TLSv1.3"),
            _ => None,
        }
    }

    fn number(&self, fact: NumberFact) -> Option<u64> {
        match fact {
            NumberFact::ResponseCode => Some(self.status),
            NumberFact::BytesReceived => Some(154),
            NumberFact::BytesSent => Some(0),
            NumberFact::ConnectionId => Some(u64::MAX),
            _ => None,
        }
    }

    fn address(&self, fact: AddressFact) -> Option<SocketAddr> {
        match fact {
            AddressFact::UpstreamHost => Some(([10, 0, 2, 1], 80).into()),
            AddressFact::DownstreamLocal => Some("[::1]:8443".parse().unwrap()),
            AddressFact::DownstreamRemote
            | AddressFact::DownstreamDirectRemote
            | AddressFact::UpstreamLocal => None,
        }
    }

    fn flags(&self) -> ResponseFlags {
        self.flags
    }

    fn response_header(&self, name: &HeaderName) -> Option<&[u8]> {
        self.response.get(name).map(FieldValue::as_bytes)
    }

    fn response_trailer(&self, name: &HeaderName) -> Option<&[u8]> {
        self.trailers.get(name).map(FieldValue::as_bytes)
    }

    fn environment(&self, name: &str) -> Option<&str> {
        (name == "REGION").then_some("eu")
    }
}

pub(crate) fn known() -> Known {
    let map = |lines: &[(&'static str, &'static [u8])]| -> HeaderMap {
        let line = |(name, value): &(&'static str, &'static [u8])| {
            (HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap())
        };
        lines.iter().map(line).collect()
    };
    Known {
        path: "/api/v1/locations".to_owned(),
        request: map(&[
            ("x-forwarded-for", b"10.0.35.28"),
            ("user-agent", b"nsq2http"),
            ("x-request-id", b"cc21d9b0-cf5c-432b-8c7e-98aeb7988cd2"),
            ("x-many", b"first"),
            ("x-many", b"second"),
            ("x-odd", b"a\" 200 -[\\\t\xff~"),
            ("x-empty", b""),
            ("x-utf8", "aé€".as_bytes()),
        ]),
        response: map(&[("x-envoy-upstream-service-time", b"100")]),
        trailers: map(&[("grpc-status", b"3"), ("x-sum", b"7")]),
        flags: ResponseFlags::NONE,
        status: 204,
        end_ns: 226_900_000,
    }
}

fn line(text: &str, facts: &Known) -> String {
    let mut out = Vec::new();
    Format::parse(text).unwrap().write_line(facts, &mut out);
    String::from_utf8(out).unwrap()
}

fn check(text: &str, expected: &str) {
    assert_eq!(line(text, &known()), expected, "{text}");
}

#[test]
fn the_default_line_is_envoys() {
    check(
        DEFAULT_FORMAT,
        "[2016-04-15T20:17:00.310Z] \"POST /api/v1/locations HTTP/2\" 204 - 154 0 226 100 \
         \"10.0.35.28\" \"nsq2http\" \"cc21d9b0-cf5c-432b-8c7e-98aeb7988cd2\" \"locations\" \
         \"10.0.2.1:80\"\n",
    );
}

#[test]
fn istios_line_has_its_fields_where_they_are_looked_for() {
    check(
        ISTIO_FORMAT,
        "[2016-04-15T20:17:00.310Z] \"POST /api/v1/locations HTTP/2\" 204 - via_upstream_(x) - \
         \"-\" 154 0 226 100 \"10.0.35.28\" \"nsq2http\" \"cc21d9b0-cf5c-432b-8c7e-98aeb7988cd2\" \
         \"locations\" \"10.0.2.1:80\" outbound|80||web - [::1]:8443 - - -\n",
    );
}

#[test]
fn operators_say_what_their_names_say() {
    check("%START_TIME(%Y/%m/%dT%H:%M:%S%z %s)%", "2016/04/15T20:17:00+0000 1460751420");
    check("%START_TIME(%s.%3f)% %START_TIME()%", "1460751420.310 2016-04-15T20:17:00.310Z");
    check("%REQ(X-Missing?USER-AGENT)% %REQ(x-many)% %REQ(x-missing)%", "nsq2http first -");
    check("%REQ(:authority)% %REQ(host)% %REQ(:scheme)%", "locations locations -");
    check("%REQ(USER-AGENT):3% %REQ(USER-AGENT):0%|%PROTOCOL:99%", "nsq |HTTP/2");
    check("%RESP(:status)% %RESP(x-none)% %TRAILER(x-sum)%", "204 - 7");
    check("%REQUEST_DURATION% %REQUEST_TX_DURATION% %RESPONSE_DURATION%", "1 2 100");
    check("%RESPONSE_TX_DURATION% %DURATION%", "100 226");
    check("%COMMON_DURATION(DS_RX_END:US_RX_BEG:us)%", "99700");
    check("%COMMON_DURATION(DS_RX_END:US_RX_BEG:ns)%", "99700400");
    check("%COMMON_DURATION(US_RX_BEG:DS_RX_END:ms)%", "-");
    check("%COMMON_DURATION(US_CX_BEG:DS_RX_END:ms)%", "-");
    check("%UPSTREAM_HOST% %UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", "10.0.2.1:80 10.0.2.1");
    check("%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_LOCAL_PORT%", "::1 8443");
    check("%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_DIRECT_REMOTE_PORT%", "- -");
    check("%GRPC_STATUS% %GRPC_STATUS(SNAKE_STRING)%", "InvalidArgument INVALID_ARGUMENT");
    check("%GRPC_STATUS(NUMBER)% %GRPC_STATUS_NUMBER%", "3 3");
    check("%UPSTREAM_TLS_VERSION% %DOWNSTREAM_TLS_VERSION%", "TLSv1.3 -");
    check("%DOWNSTREAM_PEER_SUBJECT%", "CN=\\x22a\\x22,O=\\xc3\\xa9");
    check("%ENVIRONMENT(REGION)% %ENVIRONMENT(HOME)%", "eu -");
    check("%UPSTREAM_WIRE_BYTES_SENT% %DYNAMIC_METADATA(a.b:c):3%", "- -");
    check(
        "%CONNECTION_ID% %UPSTREAM_CLUSTER% %ROUTE_NAME%",
        "18446744073709551615 outbound|80||web -",
    );
    check("100%% %%PROTOCOL%%", "100% %PROTOCOL%");
    let flags = ResponseFlags::from(ResponseFlag::UpstreamRetryLimitExceeded)
        .with(ResponseFlag::UpstreamConnectionFailure);
    let facts = Known { flags, ..known() };
    let text = "%RESPONSE_FLAGS% %RESPONSE_FLAGS_LONG%";
    assert_eq!(line(text, &facts), "UF,URX UpstreamConnectionFailure,UpstreamRetryLimitExceeded");
    assert_eq!(line(text, &known()), "- -");
}

#[test]
fn a_client_cannot_forge_a_line() {
    check("%REQ(x-odd)%", "a\\x22 200 -[\\x5c\\x09\\xff~");
    let facts = Known { path: "/\"é\n".to_owned(), ..known() };
    assert_eq!(line("\"%REQ(:PATH)%\"", &facts), "\"/\\x22\\xc3\\xa9\\x0a\"");
    // The length counts before escaping, and does not cut a character.
    check("%REQ(x-utf8):2%|%REQ(x-utf8):3%", "a|a\\xc3\\xa9");
}

#[test]
fn what_is_not_a_format_is_refused_with_its_place() {
    for (text, position, what) in [
        ("100%", 3, "write %%"),
        ("ab %x%", 3, "write %%"),
        ("%PROTOCOL", 0, "does not end with %"),
        ("%PROTOCOL:%", 0, "does not end with %"),
        ("%PROTOCOL:x%", 0, "does not end with %"),
        ("%REQ(a%", 0, "argument of %REQ does not end"),
        ("%REQ%", 0, "needs an argument"),
        ("%REQ()%", 0, "not the name"),
        ("%REQ(a?b?c)%", 0, "more than one alternative"),
        ("%REQ(a b)%", 0, "not the name"),
        ("%RESP(:path)%", 0, "not the name"),
        ("é %NONSENSE%", 3, "%NONSENSE% is not known"),
        ("%PROTOCOL(x)%", 0, "takes no argument"),
        ("%GRPC_STATUS(x)%", 0, "takes CAMEL_STRING"),
        ("%COMMON_DURATION(a:b:ms)%", 0, "not a time point"),
        ("%COMMON_DURATION(DS_RX_BEG:DS_RX_END:h)%", 0, "precision"),
        ("%START_TIME(%Q)%", 0, "not known"),
        ("%ENVIRONMENT()%", 0, "needs an argument"),
        ("%PROTOCOL:99999999999999999999999%", 0, "does not end"),
    ] {
        let error = Format::parse(text).unwrap_err();
        assert_eq!(error.position, position, "{text}: {error}");
        assert!(error.what.contains(what), "{text}: {error}");
    }
}

#[test]
fn a_format_says_what_it_needs_and_what_it_never_gets() {
    let format =
        Format::parse("%REQ(:PATH?x-a)% %RESP(x-b)% %REQ(x-c)% %FILTER_STATE(k)%").unwrap();
    let names: Vec<&str> = format.request_headers().map(HeaderName::as_str).collect();
    assert_eq!(names, ["x-a", "x-c"]);
    assert_eq!(format.without_value().collect::<Vec<_>>(), ["FILTER_STATE"]);
    assert_eq!(Format::parse("50%%").unwrap().constant(), Some("50%"));
    assert_eq!(Format::parse("").unwrap().constant(), Some(""));
    assert_eq!(format.constant(), None);
}

fn json(fields: Vec<(&str, JsonField)>, omit_empty_values: bool) -> String {
    let fields = fields.into_iter().map(|(name, field)| (name.to_owned(), field)).collect();
    let format = LineFormat::new(&LogFormat::Json(fields), omit_empty_values).unwrap();
    let mut out = Vec::new();
    format.write(&known(), &mut out);
    String::from_utf8(out).unwrap()
}

fn text(text: &str) -> JsonField {
    JsonField::Text(text.to_owned())
}

#[test]
fn one_operator_alone_keeps_its_type_in_json() {
    let object = || {
        vec![
            ("protocol", text("%PROTOCOL%")),
            ("duration", text("%DURATION%")),
            ("short", text("%DURATION:2%")),
            ("mixed", text("%DURATION%.0 %REQ(x-none)%")),
            ("none", text("%REQ(x-none)%")),
            ("no_number", text("%UPSTREAM_REQUEST_ATTEMPT_COUNT%")),
            ("fl\"ags", text("%RESPONSE_FLAGS%")),
            ("odd", text("%REQ(x-odd)%")),
            ("utf8", text("%REQ(x-utf8)% é\n")),
            ("in", JsonField::Object(vec![("a".to_owned(), text("%REQ(x-none)%"))])),
            ("last", text("%RESPONSE_CODE%")),
        ]
    };
    assert_eq!(
        json(object(), false),
        "{\"protocol\":\"HTTP/2\",\"duration\":226,\"short\":\"22\",\"mixed\":\"226.0 -\",\
         \"none\":null,\"no_number\":null,\"fl\\\"ags\":\"-\",\
         \"odd\":\"a\\\" 200 -[\\\\\\t\\\\xff~\",\"utf8\":\"aé€ é\\n\",\"in\":{\"a\":null},\
         \"last\":204}\n"
    );
    assert_eq!(
        json(object(), true),
        "{\"protocol\":\"HTTP/2\",\"duration\":226,\"short\":\"22\",\"mixed\":\"226.0 \",\
         \"fl\\\"ags\":\"-\",\"odd\":\"a\\\" 200 -[\\\\\\t\\\\xff~\",\"utf8\":\"aé€ é\\n\",\
         \"last\":204}\n"
    );
    assert_eq!(json(vec![("a", text("%REQ(x-none)%"))], true), "{}\n");
    let broken = LogFormat::Json(vec![("field".to_owned(), text("a%"))]);
    let error = LineFormat::new(&broken, false).unwrap_err();
    assert_eq!(error.position, 1);
    assert!(error.what.contains("in the field \"field\""));
}

#[test]
fn a_line_of_text_leaves_empty_values_out_where_it_is_told_to() {
    let check = |omit_empty_values: bool, expected: &str| {
        let format = LogFormat::Text("[%REQ(x-none)%|%PROTOCOL%]\n".to_owned());
        let mut out = Vec::new();
        LineFormat::new(&format, omit_empty_values).unwrap().write(&known(), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    };
    check(false, "[-|HTTP/2]\n");
    check(true, "[|HTTP/2]\n");
}

#[test]
fn a_log_takes_the_requests_that_its_filter_holds_for() {
    let flags = ResponseFlag::NoRouteFound.into();
    let facts = Known { flags, status: 404, ..known() };
    let check = |filter: LogFilter, expected: bool| {
        let holds = LogCondition::new(&filter).unwrap().holds(&facts, 2_000_010);
        assert_eq!(holds, expected, "{filter:?}");
    };
    check(LogFilter::Status(Comparison::AtLeast, 400), true);
    check(LogFilter::Status(Comparison::AtMost, 403), false);
    check(LogFilter::Status(Comparison::Equal, 404), true);
    check(LogFilter::Status(Comparison::NotEqual, 404), false);
    check(LogFilter::DurationMs(Comparison::AtLeast, 226), true);
    check(LogFilter::DurationMs(Comparison::AtLeast, 227), false);
    check(LogFilter::ResponseFlags(Vec::new()), true);
    check(LogFilter::ResponseFlags(vec!["UF".to_owned(), "NR".to_owned()]), true);
    check(LogFilter::ResponseFlags(vec!["UF".to_owned()]), false);
    let header = |name: &str| {
        let value = ValueMatch { pattern: Pattern::Present, ignore_case: false };
        let name = name.to_owned();
        LogFilter::Header(HeaderMatch { name, value, invert: false, missing_as_empty: false })
    };
    check(header("x-many"), true);
    check(header("x-none"), false);
    check(LogFilter::PerMillion(11), true);
    check(LogFilter::PerMillion(10), false);
    let grpc =
        |statuses: &[u8], exclude| LogFilter::GrpcStatus { statuses: statuses.to_vec(), exclude };
    check(grpc(&[3], false), true);
    check(grpc(&[3], true), false);
    check(grpc(&[0, 5], false), false);
    let (yes, no) = (LogFilter::PerMillion(11), LogFilter::PerMillion(0));
    check(LogFilter::And(vec![yes.clone(), no.clone()]), false);
    check(LogFilter::Or(vec![no.clone(), yes.clone()]), true);
    check(LogFilter::And(Vec::new()), true);
    check(LogFilter::Or(vec![no]), false);
    let plain = Known { trailers: HeaderMap::new(), status: 503, ..known() };
    let unavailable = LogCondition::new(&grpc(&[14], false)).unwrap();
    assert!(unavailable.holds(&plain, 0));
    assert!(LogCondition::new(&LogFilter::ResponseFlags(vec!["XX".to_owned()])).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]
    #[test]
    fn no_text_makes_a_format_panic_and_one_survives_being_written(
        text in "(%(REQ|RESP|START_TIME|PROTOCOL|DURATION|GRPC_STATUS|ENVIRONMENT)?|%%|\\(|\\)|:[0-9]|%|\
                 [a-z%:?()é]{0,3}){0,8}",
    ) {
        if let Ok(format) = Format::parse(&text) {
            let again = Format::parse(&format.to_string()).unwrap();
            prop_assert_eq!(&again, &format);
            let mut out = Vec::new();
            format.write_line(&known(), &mut out);
            prop_assert!(std::str::from_utf8(&out).is_ok());
        }
    }

    #[test]
    fn whatever_a_client_sends_json_stays_json_and_a_line_stays_a_line(
        value in proptest::collection::vec(any::<u8>(), 0..24),
        length in 0usize..24,
    ) {
        let Ok(value) = HeaderValue::from_bytes(&value) else { return Ok(()) };
        let mut facts = known();
        facts.request.insert("x-any", value);
        let operator = format!("%REQ(x-any):{length}%");
        let object = vec![
            ("alone".to_owned(), JsonField::Text(operator.clone())),
            ("mixed".to_owned(), JsonField::Text(format!("a{operator}b"))),
        ];
        let mut out = Vec::new();
        LineFormat::new(&LogFormat::Json(object), false).unwrap().write(&facts, &mut out);
        let parsed: serde_json::Value = serde_json::from_slice(&out).unwrap();
        prop_assert!(parsed["mixed"].as_str().unwrap().starts_with('a'));
        let line = line(&format!("\"{operator}\"\n"), &facts);
        prop_assert!(line.bytes().all(|it| matches!(it, b' '..=b'~' | b'\n')));
        prop_assert_eq!(line.matches('\n').count(), 1);
        prop_assert_eq!(line.matches('"').count(), 2);
    }
}
