//! Requests that two readers could understand in two ways (RFC 9112, sections 6.3 and 11.2): the proxy refuses them, or
//! what it sends on can be understood in one way only.

use super::super::support::{Setup, raw};
use super::{Recorder, statuses};

/// What must come of a request.
enum Verdict {
    /// The first request is refused with this status and the connection ends; the endpoint sees nothing.
    Refused(u16),
    /// The endpoint sees requests with these bodies.
    Seen(&'static [&'static str]),
    /// Either is right (RFC 9112 leaves it to the reader): refused with 400, or seen as one request with this body.
    RefusedOr(&'static str),
}

use Verdict::{Refused, RefusedOr, Seen};

/// Follows each case; seen by the endpoint only where the first request ended where it must.
const NEXT: &str = "GET /next HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n";

const CASES: &[(&str, &str, Verdict)] = &[
    // Both ways of framing.
    (
        "content-length and chunked",
        "POST / HTTP/1.1\r\nhost: web\r\ncontent-length: 6\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "chunked and content-length",
        "POST / HTTP/1.1\r\nhost: web\r\ntransfer-encoding: chunked\r\ncontent-length: 6\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    // Content-Length.
    (
        "two different lengths",
        "POST / HTTP/1.1\r\nhost: web\r\ncontent-length: 3\r\ncontent-length: 5\r\n\r\nabc",
        Refused(400),
    ),
    (
        "a list of different lengths",
        "POST / HTTP/1.1\r\nhost: web\r\ncontent-length: 3, 5\r\n\r\nabc",
        Refused(400),
    ),
    (
        "the same length twice",
        "POST / HTTP/1.1\r\nhost: web\r\ncontent-length: 3\r\ncontent-length: 3\r\n\r\nabc",
        RefusedOr("abc"),
    ),
    (
        "a list of the same length",
        "POST / HTTP/1.1\r\nhost: web\r\ncontent-length: 3, 3\r\n\r\nabc",
        RefusedOr("abc"),
    ),
    ("a sign", "POST / HTTP/1.1\r\nhost: web\r\ncontent-length: +3\r\n\r\nabc", Refused(400)),
    ("a minus", "POST / HTTP/1.1\r\nhost: web\r\ncontent-length: -3\r\n\r\nabc", Refused(400)),
    ("hexadecimal", "POST / HTTP/1.1\r\nhost: web\r\ncontent-length: 0x3\r\n\r\nabc", Refused(400)),
    ("no length", "POST / HTTP/1.1\r\nhost: web\r\ncontent-length:\r\n\r\nabc", Refused(400)),
    ("a gap", "POST / HTTP/1.1\r\nhost: web\r\ncontent-length: 3 3\r\n\r\nabc", Refused(400)),
    (
        "more than 64 bits",
        "POST / HTTP/1.1\r\nhost: web\r\ncontent-length: 18446744073709551619\r\n\r\nabc",
        Refused(400),
    ),
    (
        "white space around it",
        "POST / HTTP/1.1\r\nhost: web\r\ncontent-length: \t3 \t\r\n\r\nabc",
        Seen(&["abc", ""]),
    ),
    // Transfer-Encoding.
    (
        "chunked twice",
        "POST / HTTP/1.1\r\nhost: web\r\ntransfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "chunked not last",
        "POST / HTTP/1.1\r\nhost: web\r\ntransfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "a coding that is not known",
        "POST / HTTP/1.1\r\nhost: web\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "identity",
        "POST / HTTP/1.1\r\nhost: web\r\ntransfer-encoding: identity\r\n\r\n",
        Refused(400),
    ),
    (
        "nothing",
        "POST / HTTP/1.1\r\nhost: web\r\ntransfer-encoding:\r\ncontent-length: 3\r\n\r\nabc",
        Refused(400),
    ),
    (
        "a vertical tab before chunked",
        "POST / HTTP/1.1\r\nhost: web\r\ntransfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "quotes",
        "POST / HTTP/1.1\r\nhost: web\r\ntransfer-encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "in HTTP/1.0",
        "POST / HTTP/1.0\r\nhost: web\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "capital letters",
        "POST / HTTP/1.1\r\nhost: web\r\nTransfer-Encoding: CHUNKED\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        Seen(&["abc", ""]),
    ),
    // Names and lines.
    (
        "a space before the colon",
        "POST / HTTP/1.1\r\nhost: web\r\ntransfer-encoding : chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "a folded value",
        "POST / HTTP/1.1\r\nhost: web\r\ntransfer-encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "a space before the first name",
        "GET / HTTP/1.1\r\n content-length: 5\r\nhost: web\r\n\r\n",
        Refused(400),
    ),
    (
        "lines that end with LF alone",
        "POST / HTTP/1.1\nhost: web\ncontent-length: 3\n\nabc",
        Refused(400),
    ),
    (
        "one line that ends with LF alone",
        "POST / HTTP/1.1\r\nhost: web\r\nx: y\ncontent-length: 3\r\n\r\nabc",
        Refused(400),
    ),
    (
        "a CR in a value",
        "POST / HTTP/1.1\r\nhost: web\r\nx: y\rcontent-length: 3\r\n\r\n",
        Refused(400),
    ),
    ("a NUL in a value", "GET / HTTP/1.1\r\nhost: web\r\nx: a\0b\r\n\r\n", Refused(400)),
    ("a NUL in a name", "GET / HTTP/1.1\r\nhost: web\r\nx\0: a\r\n\r\n", Refused(400)),
    ("no name", "GET / HTTP/1.1\r\nhost: web\r\n: a\r\n\r\n", Refused(400)),
    ("no colon", "GET / HTTP/1.1\r\nhost: web\r\ncontent-length\r\n\r\n", Refused(400)),
    // Chunks.
    (
        "an extension",
        "POST / HTTP/1.1\r\nhost: web\r\ntransfer-encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0;c\r\n\r\n",
        Seen(&["abc", ""]),
    ),
    (
        "zeros before the size",
        "POST / HTTP/1.1\r\nhost: web\r\ntransfer-encoding: chunked\r\n\r\n003\r\nabc\r\n000\r\n\r\n",
        Seen(&["abc", ""]),
    ),
    (
        "trailers that change nothing",
        "POST / HTTP/1.1\r\nhost: web\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\ncontent-length: 9\r\n\r\n",
        RefusedOr("abc"),
    ),
];

/// Broken within the body, when the head may have been sent on already: the endpoint must see no request end.
const BROKEN_CHUNKS: &[(&str, &str)] = &[
    ("a prefix", "0x3\r\nabc\r\n0\r\n\r\n"),
    ("a sign", "+3\r\nabc\r\n0\r\n\r\n"),
    ("a minus", "-3\r\nabc\r\n0\r\n\r\n"),
    ("no size", "\r\nabc\r\n0\r\n\r\n"),
    ("a size over 64 bits", "10000000000000003\r\nabc\r\n0\r\n\r\n"),
    ("no CRLF after the data", "3\r\nabcX0\r\n\r\n"),
    ("LF after the size", "3\nabc\r\n0\r\n\r\n"),
    ("LF after the data", "3\r\nabc\n0\r\n\r\n"),
    ("LF in an extension", "3;a\nb\r\nabc\r\n0\r\n\r\n"),
    ("a CR in an extension", "3;a\rb\r\nabc\r\n0\r\n\r\n"),
    ("LF after the last chunk", "3\r\nabc\r\n0\n\r\n"),
    ("a space before the size", " 3\r\nabc\r\n0\r\n\r\n"),
    ("letters", "xyz\r\nabc\r\n0\r\n\r\n"),
];

#[tokio::test]
async fn no_request_is_understood_in_two_ways() {
    let recorder = Recorder::start().await;
    let proxy = Setup::new().listener("in").route("web", "/", &[recorder.backend.address]).start();
    let address = proxy.local_addr("in").unwrap();
    for (name, bytes, verdict) in CASES {
        let read = raw(address, format!("{bytes}{NEXT}").as_bytes()).await;
        let (got, seen) = (statuses(&read), recorder.take());
        // 501 says of a transfer coding that it is not known (RFC 9112, section 6.1).
        let refused = |status: u16| (got == [status] || got == [501]) && seen.is_empty();
        let bodies = || -> Vec<&[u8]> { seen.iter().map(super::Seen::body).collect() };
        let holds = match verdict {
            Refused(status) => refused(*status),
            Seen(expected) => {
                let expected: Vec<&[u8]> = expected.iter().map(|it| it.as_bytes()).collect();
                bodies() == expected && got.iter().all(|it| *it == 200)
            }
            RefusedOr(body) => refused(400) || bodies() == [body.as_bytes(), b""],
        };
        assert!(holds, "{name}: the client read {read:?}, the endpoint saw {seen:?}");
    }
}

#[tokio::test]
async fn a_body_that_breaks_never_ends_at_the_endpoint() {
    let recorder = Recorder::start().await;
    let proxy = Setup::new().listener("in").route("web", "/", &[recorder.backend.address]).start();
    let address = proxy.local_addr("in").unwrap();
    let head = "POST / HTTP/1.1\r\nhost: web\r\ntransfer-encoding: chunked\r\n\r\n";
    for (name, body) in BROKEN_CHUNKS {
        let read = raw(address, format!("{head}{body}{NEXT}").as_bytes()).await;
        let got = statuses(&read);
        assert!(got.is_empty() || got == [400], "{name}: the client read {read:?}");
        let seen = recorder.take();
        assert!(seen.is_empty(), "{name}: the endpoint saw {seen:?}");
    }
}

#[tokio::test]
async fn a_client_cannot_take_framing_and_host_away_by_naming_them_in_connection() {
    let recorder = Recorder::start().await;
    let proxy = Setup::new().listener("in").route("web", "/", &[recorder.backend.address]).start();
    let address = proxy.local_addr("in").unwrap();
    let request = "POST / HTTP/1.1\r\nhost: web\r\ncontent-length: 3\r\n\
                   connection: close, content-length, host, x-secret\r\nx-secret: 1\r\n\r\nabc";
    raw(address, request.as_bytes()).await;
    let seen = recorder.take();
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(seen[0].body(), b"abc");
    assert_eq!(seen[0].header("host").as_deref(), Some("web"));
    assert_eq!(seen[0].header("x-secret"), None);
}
