use http::header::{CONTENT_LENGTH, HOST};
use http::{HeaderValue, Method, StatusCode, Uri, Version};

use super::*;

/// Requests that two readers could take for different ones, and those that only look like it.
const REQUESTS: &[(&[u8], Result<BodyLength, HeadError>)] = {
    use BodyLength::{Chunked, Exact, None};
    use HeadError::*;
    &[
        (b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", Ok(None)),
        (b"POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\n", Ok(Exact(5))),
        (b"POST / HTTP/1.1\r\ncontent-length: 0005\r\n\r\n", Ok(Exact(5))),
        (b"POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n", Ok(None)),
        (b"POST / HTTP/1.1\r\ncontent-length:\t 5 \r\n\r\n", Ok(Exact(5))),
        (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n", Ok(Chunked)),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: CHUNKED\r\n\r\n", Ok(Chunked)),
        // Lengths that are not one number.
        (b"POST / HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n", Err(ContentLength)),
        (b"POST / HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\n", Err(ContentLength)),
        (b"POST / HTTP/1.1\r\ncontent-length: 5, 5\r\n\r\n", Err(ContentLength)),
        (b"POST / HTTP/1.1\r\ncontent-length: +5\r\n\r\n", Err(ContentLength)),
        (b"POST / HTTP/1.1\r\ncontent-length: -5\r\n\r\n", Err(ContentLength)),
        (b"POST / HTTP/1.1\r\ncontent-length: 5 5\r\n\r\n", Err(ContentLength)),
        (b"POST / HTTP/1.1\r\ncontent-length: 0x5\r\n\r\n", Err(ContentLength)),
        (b"POST / HTTP/1.1\r\ncontent-length: 5.0\r\n\r\n", Err(ContentLength)),
        (b"POST / HTTP/1.1\r\ncontent-length: \xd9\xa5\r\n\r\n", Err(ContentLength)),
        (b"POST / HTTP/1.1\r\ncontent-length:\r\n\r\n", Err(ContentLength)),
        (b"POST / HTTP/1.1\r\ncontent-length: 18446744073709551616\r\n\r\n", Err(ContentLength)),
        (b"POST / HTTP/1.1\r\ncontent-length: 99999999999999999999\r\n\r\n", Err(ContentLength)),
        // Both, in either order.
        (
            b"POST / HTTP/1.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
            Err(Ambiguous),
        ),
        (
            b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 0\r\n\r\n",
            Err(Ambiguous),
        ),
        // Codings that one reader knows and another does not.
        (
            b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n",
            Err(Ambiguous),
        ),
        (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked, chunked\r\n\r\n", Err(Ambiguous)),
        (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked, identity\r\n\r\n", Err(Ambiguous)),
        (b"POST / HTTP/1.1\r\ntransfer-encoding: gzip, chunked\r\n\r\n", Err(Ambiguous)),
        (b"POST / HTTP/1.1\r\ntransfer-encoding: ,chunked\r\n\r\n", Err(Ambiguous)),
        (b"POST / HTTP/1.1\r\ntransfer-encoding: gzip\r\n\r\n", Err(TransferCoding)),
        (b"POST / HTTP/1.1\r\ntransfer-encoding: identity\r\n\r\n", Err(TransferCoding)),
        (b"POST / HTTP/1.1\r\ntransfer-encoding: xchunked\r\n\r\n", Err(TransferCoding)),
        (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked;q=1\r\n\r\n", Err(TransferCoding)),
        (b"POST / HTTP/1.1\r\ntransfer-encoding: \"chunked\"\r\n\r\n", Err(TransferCoding)),
        (b"POST / HTTP/1.1\r\ntransfer-encoding:\r\n\r\n", Err(TransferCoding)),
        (b"POST / HTTP/1.1\r\ntransfer-encoding: \x0bchunked\r\n\r\n", Err(HeaderLine)),
        (b"POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n", Err(Ambiguous)),
        // Line ends and white space.
        (b"GET / HTTP/1.1\nhost: a\n\n", Err(LineEnd)),
        (b"GET / HTTP/1.1\nhost: a\r\n\r\n", Err(LineEnd)),
        (b"GET / HTTP/1.1\r\nhost: a\nx: b\r\n\r\n", Err(LineEnd)),
        (b"GET / HTTP/1.1\r\nhost: a\r\n\n", Err(LineEnd)),
        (b"GET / HTTP/1.1\r\nhost: a\rx: b\r\n\r\n", Err(HeaderLine)),
        (b"GET / HTTP/1.1\r\nhost: a\r\n b\r\n\r\n", Err(HeaderLine)),
        (b"GET / HTTP/1.1\r\nhost: a\r\n\tb\r\n\r\n", Err(HeaderLine)),
        (b"GET / HTTP/1.1\r\n host: a\r\n\r\n", Err(HeaderLine)),
        (b"POST / HTTP/1.1\r\ncontent-length : 5\r\n\r\n", Err(HeaderLine)),
        (b"POST / HTTP/1.1\r\ntransfer-encoding\t: chunked\r\n\r\n", Err(HeaderLine)),
        (b"POST / HTTP/1.1\r\ntransfer\x00encoding: chunked\r\n\r\n", Err(HeaderLine)),
        (b"GET / HTTP/1.1\r\nx: a\x00b\r\n\r\n", Err(HeaderLine)),
        (b"GET / HTTP/1.1\r\nx: a\x7fb\r\n\r\n", Err(HeaderLine)),
        (b"GET / HTTP/1.1\r\nx: a\x1bb\r\n\r\n", Err(HeaderLine)),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", Err(HeaderLine)),
        (b"GET / HTTP/1.1\r\n: no name\r\n\r\n", Err(HeaderLine)),
        (b"GET / HTTP/1.1\r\nx: \xff\xfe\r\n\r\n", Ok(None)),
        (b"GET / HTTP/1.1\r\nx:\r\n\r\n", Ok(None)),
        // The first line.
        (b"\r\nGET / HTTP/1.1\r\n\r\n", Ok(None)),
        (b"\nGET / HTTP/1.1\r\n\r\n", Err(FirstLine)),
        (b"\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n\r\n", Err(FirstLine)),
        (b"GET  / HTTP/1.1\r\n\r\n", Err(FirstLine)),
        (b"GET / HTTP/1.1 \r\n\r\n", Err(LineEnd)),
        (b"GET /a b HTTP/1.1\r\n\r\n", Err(Version)),
        (b"GET /\r\n\r\n", Err(FirstLine)),
        (b"GET\t/\tHTTP/1.1\r\n\r\n", Err(FirstLine)),
        (b" GET / HTTP/1.1\r\n\r\n", Err(FirstLine)),
        (b"GET / HTTP/1.2\r\n\r\n", Err(Version)),
        (b"GET / HTTP/2.0\r\n\r\n", Err(Version)),
        (b"GET / http/1.1\r\n\r\n", Err(Version)),
        (b"GET / HTTP/1.10\r\n\r\n", Err(LineEnd)),
        (b"\x16\x03\x01\x02\x00\x01\x00", Err(FirstLine)),
        // Targets.
        (b"OPTIONS * HTTP/1.1\r\n\r\n", Ok(None)),
        (b"GET * HTTP/1.1\r\n\r\n", Err(Target)),
        (b"GET http://a/b?c HTTP/1.1\r\n\r\n", Ok(None)),
        (b"GET ftp://a/b HTTP/1.1\r\n\r\n", Err(Target)),
        (b"GET a:80 HTTP/1.1\r\n\r\n", Err(Target)),
        (b"GET a HTTP/1.1\r\n\r\n", Err(Target)),
        (b"GET /a#b HTTP/1.1\r\n\r\n", Err(Target)),
        (b"CONNECT a:80 HTTP/1.1\r\n\r\n", Ok(None)),
        (b"CONNECT a HTTP/1.1\r\n\r\n", Err(Target)),
        (b"CONNECT a: HTTP/1.1\r\n\r\n", Err(Target)),
        (b"CONNECT /a HTTP/1.1\r\n\r\n", Err(Target)),
        (b"CONNECT http://a:80/ HTTP/1.1\r\n\r\n", Err(Target)),
    ]
};

#[test]
fn a_request_has_one_meaning_or_none() {
    for (bytes, expected) in REQUESTS {
        let read = request(bytes).map(|head| head.expect("the head is whole").body);
        assert_eq!(read, *expected, "{}", bytes.escape_ascii());
    }
}

#[test]
fn a_response_has_one_meaning_or_none() {
    use BodyLength::{Chunked, Exact, None, UntilClose};
    let (get, head, connect) = (Method::GET, Method::HEAD, Method::CONNECT);
    let ok = "HTTP/1.1 200 OK\r\n";
    for (to, first, rest, expected) in [
        (&get, ok, "content-length: 5\r\n\r\n", Ok(Exact(5))),
        (&get, ok, "content-length: 0\r\n\r\n", Ok(None)),
        (&get, ok, "transfer-encoding: chunked\r\n\r\n", Ok(Chunked)),
        (&get, ok, "\r\n", Ok(UntilClose)),
        (&get, "HTTP/1.0 200\r\n", "\r\n", Ok(UntilClose)),
        (&head, ok, "content-length: 5\r\n\r\n", Ok(None)),
        (&head, ok, "transfer-encoding: chunked\r\n\r\n", Ok(None)),
        (&connect, ok, "content-length: 5\r\n\r\n", Ok(None)),
        (&connect, "HTTP/1.1 403 No\r\n", "content-length: 5\r\n\r\n", Ok(Exact(5))),
        (&get, "HTTP/1.1 204 No\r\n", "content-length: 5\r\n\r\n", Ok(None)),
        (&get, "HTTP/1.1 304 No\r\n", "content-length: 5\r\n\r\n", Ok(None)),
        (&get, "HTTP/1.1 304 No\r\n", "transfer-encoding: chunked\r\n\r\n", Ok(None)),
        (&get, "HTTP/1.1 103 Hints\r\n", "link: a\r\n\r\n", Ok(None)),
        (&get, "HTTP/1.1 101 Over\r\n", "upgrade: x\r\n\r\n", Ok(None)),
        (&get, ok, "content-length: 5\r\ncontent-length: 5\r\n\r\n", Err(HeadError::ContentLength)),
        (
            &get,
            ok,
            "content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
            Err(HeadError::Ambiguous),
        ),
        (&get, ok, "transfer-encoding: gzip\r\n\r\n", Err(HeadError::TransferCoding)),
        (
            &get,
            "HTTP/1.0 200 OK\r\n",
            "transfer-encoding: chunked\r\n\r\n",
            Err(HeadError::Ambiguous),
        ),
        (&get, "\r\nHTTP/1.1 200 OK\r\n", "\r\n", Err(HeadError::FirstLine)),
        (&get, "HTTP/1.1 200 OK\n", "x: y\r\n\r\n", Err(HeadError::LineEnd)),
        (&get, "HTTP/1.1 99 Few\r\n", "\r\n", Err(HeadError::FirstLine)),
        (&get, "HTTP/1.1 2000 Many\r\n", "\r\n", Err(HeadError::FirstLine)),
        (&get, "HTTP/2 200 OK\r\n", "\r\n", Err(HeadError::Version)),
        (&get, ok, "a: b\r\n c\r\n\r\n", Err(HeadError::HeaderLine)),
        (&get, ok, "a : b\r\n\r\n", Err(HeadError::HeaderLine)),
    ] {
        let bytes = format!("{first}{rest}");
        let read = response(bytes.as_bytes(), to).map(|it| it.expect("the head is whole").body);
        assert_eq!(read, expected, "{to} {bytes:?}");
    }
}

#[test]
fn a_connection_goes_on_if_both_versions_and_words_allow_it() {
    for (version, connection, expected) in [
        ("1.1", "", true),
        ("1.1", "connection: close\r\n", false),
        ("1.1", "connection: x, Close\r\n", false),
        ("1.1", "connection: keep-alive\r\nconnection: close\r\n", false),
        ("1.0", "", false),
        ("1.0", "connection: Keep-Alive\r\n", true),
        ("1.0", "connection: keep-alive, close\r\n", false),
    ] {
        let bytes = format!("GET / HTTP/{version}\r\n{connection}\r\n");
        assert_eq!(request(bytes.as_bytes()).unwrap().unwrap().keep_alive, expected, "{bytes:?}");
        let bytes = format!("HTTP/{version} 204 No\r\n{connection}\r\n");
        let read = response(bytes.as_bytes(), &Method::GET).unwrap().unwrap();
        assert_eq!(read.keep_alive, expected, "{bytes:?}");
    }
    let until_close = response(b"HTTP/1.1 200 OK\r\n\r\n", &Method::GET).unwrap().unwrap();
    assert!(!until_close.keep_alive);
}

#[test]
fn a_head_holds_what_was_written_and_the_rest_stays() {
    let bytes =
        b"PUT /a?b HTTP/1.1\r\nHost: web\r\nExpect: 100-Continue\r\nX-A: 1\r\nx-a:  2\t\r\n\
        Content-Length: 3\r\n\r\nabcGET";
    let mut buf = BytesMut::from(&bytes[..]);
    let head = HeadDecoder::default().request(&mut buf, LIMITS, HeaderMap::new).unwrap().unwrap();
    assert_eq!((head.method, head.uri), (Method::PUT, Uri::from_static("/a?b")));
    assert_eq!((head.version, head.body), (Version::HTTP_11, BodyLength::Exact(3)));
    assert!(head.expects_continue);
    assert_eq!(head.headers.get(HOST).unwrap(), "web");
    assert_eq!(head.headers.get_all("x-a").collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(&buf[..], b"abcGET");
}

#[test]
fn heads_over_a_limit_are_refused_as_soon_as_they_are() {
    let limits = Limits { bytes_max: 100, headers_max: 40 };
    let lines = |count: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "a:\r\n".repeat(count));
    let read =
        |bytes: &str| HeadDecoder::default().request(&mut bytes.into(), limits, HeaderMap::new);
    assert!(read(&lines(20)).unwrap().is_some());
    assert_eq!(read(&lines(21)).unwrap_err(), HeadError::TooLong);
    assert_eq!(read(&"G".repeat(100)).unwrap_err(), HeadError::TooLong);
    let endless = format!("GET /{}", "a".repeat(95));
    assert_eq!(read(&endless).unwrap_err(), HeadError::TooLong);
    let limits = Limits { bytes_max: 4096, headers_max: 40 };
    let read =
        |bytes: &str| HeadDecoder::default().request(&mut bytes.into(), limits, HeaderMap::new);
    // More lines than are parsed without an allocation.
    assert_eq!(read(&lines(40)).unwrap().unwrap().headers.len(), 40);
    assert_eq!(read(&lines(41)).unwrap_err(), HeadError::TooManyHeaders);
    assert_eq!(read(&lines(41)).unwrap_err().status(), 431);
}

#[test]
fn a_bare_line_feed_is_refused_when_it_comes_and_not_at_the_end_of_time() {
    let mut decoder = HeadDecoder::default();
    let mut buf = BytesMut::from("GET / HT");
    assert_eq!(decoder.request(&mut buf, LIMITS, HeaderMap::new).unwrap().map(|_| ()), None);
    buf.extend_from_slice(b"TP/1.1\n");
    assert_eq!(decoder.request(&mut buf, LIMITS, HeaderMap::new).unwrap_err(), HeadError::LineEnd);
}

#[test]
fn heads_are_written_with_the_framing_that_is_meant() {
    let mut headers = HeaderMap::new();
    headers.insert(HOST, HeaderValue::from_static("a"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("7"));
    let written = |framing| {
        let mut out = BytesMut::new();
        let uri = Uri::from_static("/x?y");
        request_head(&mut out, &Method::GET, &uri, &headers, framing);
        String::from_utf8(out.to_vec()).unwrap()
    };
    let begin = "GET /x?y HTTP/1.1\r\nhost: a\r\n";
    assert_eq!(written(Framing::Declared), format!("{begin}content-length: 7\r\n\r\n"));
    assert_eq!(written(Framing::Silent), format!("{begin}\r\n"));
    assert_eq!(written(Framing::Length(10)), format!("{begin}content-length: 10\r\n\r\n"));
    assert_eq!(written(Framing::Chunked), format!("{begin}transfer-encoding: chunked\r\n\r\n"));
    let mut out = BytesMut::new();
    let date = Some(b"Thu, 01 Jan 1970 00:00:00 GMT".as_slice());
    let version = Version::HTTP_10;
    response_head(&mut out, version, StatusCode::NOT_FOUND, &headers, Framing::Length(0), date);
    let expected = "HTTP/1.0 404 Not Found\r\nhost: a\r\ncontent-length: 0\r\n\
        date: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n";
    assert_eq!(out, expected);
}
