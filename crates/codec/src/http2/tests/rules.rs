//! Each rule of RFC 9113 that a peer can break, with what becomes of it.

use http::{Method, StatusCode};

use super::*;
use crate::http2::Accepted;

/// What becomes of bytes.
#[derive(Debug, PartialEq)]
enum Verdict {
    Fine,
    Connection(Code),
    Stream(u32, Code),
}
use Verdict::{Connection as Conn, Fine, Stream};

fn verdict(connection: &mut Connection, bytes: &[u8]) -> Verdict {
    let received = receive(connection, bytes);
    let written = take_output(connection);
    if let Err(error) = received {
        assert_eq!(code_of_go_away(&written), Some(error.code), "{error}");
        assert_eq!(receive(connection, &[]), Err(error), "it is over");
        return Conn(error.code);
    }
    assert_eq!(code_of_go_away(&written), None);
    match resets_of(&written).first() {
        Some((stream, code)) => Stream(*stream, *code),
        None => Fine,
    }
}

fn check(what: &str, frames: &[Vec<u8>], expected: &Verdict) {
    let bytes = frames.concat();
    assert_eq!(verdict(&mut server(), &bytes), *expected, "{what}");
    // It does not matter in what pieces it comes.
    let mut other = server();
    let mut buffer = BytesMut::new();
    let mut failed = None;
    for byte in bytes {
        buffer.put_u8(byte);
        failed = failed.or(other.receive(&mut buffer, 1).err());
    }
    let again = match failed {
        Some(error) => Conn(error.code),
        None => verdict(&mut other, &[]),
    };
    assert_eq!(again, *expected, "{what}, byte by byte");
}

const PROTOCOL: Code = Code::PROTOCOL_ERROR;
const SIZE: Code = Code::FRAME_SIZE_ERROR;
const FLOW: Code = Code::FLOW_CONTROL_ERROR;
const CLOSED: Code = Code::STREAM_CLOSED;
const COMPRESSION: Code = Code::COMPRESSION_ERROR;

fn headers(flags: u8, stream: u32, block: &[u8]) -> Vec<u8> {
    frame(HEADERS, flags, stream, block)
}

fn setting(id: u16, value: u32) -> Vec<u8> {
    let mut payload = id.to_be_bytes().to_vec();
    payload.put_u32(value);
    frame(SETTINGS, 0, 0, &payload)
}

fn window(stream: u32, increment: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &increment.to_be_bytes())
}

#[test]
fn the_preface_must_be_right_and_settings_must_follow() {
    for (bytes, expected) in [
        (b"GET / HTTP/1.1\r\nhost: web\r\n\r\n".to_vec(), Conn(PROTOCOL)),
        ([&PREFACE[..], &get(1)].concat(), Conn(PROTOCOL)),
        ([&PREFACE[..], &frame(SETTINGS, 1, 0, &[])].concat(), Conn(PROTOCOL)),
        ([&PREFACE[..], &frame(SETTINGS, 0, 0, &[])].concat(), Fine),
        (PREFACE[..10].to_vec(), Fine),
    ] {
        let mut server = Connection::new(Role::Server, Config::default());
        take_output(&mut server);
        assert_eq!(verdict(&mut server, &bytes), expected, "{bytes:?}");
    }
    let mut client = Connection::new(Role::Client, Config::default());
    let greeting = take_output(&mut client);
    assert!(greeting.starts_with(PREFACE));
    assert_eq!(verdict(&mut client, &frame(PING, 0, 0, &[0; 8])), Conn(PROTOCOL));
}

#[test]
fn frames_have_their_sizes_and_streams() {
    for (what, frames, expected) in [
        ("unknown kinds are ignored", vec![frame(0x16, 0xff, 7, &[0; 20])], Fine),
        ("unknown flags are ignored", vec![frame(PING, 0x16, 0, &[0; 8])], Fine),
        ("the reserved bit is ignored", vec![frame(PING, 0, 1 << 31, &[0; 8])], Fine),
        ("DATA above the largest", vec![post(1), frame(DATA, 0, 1, &[0; 16_385])], Conn(SIZE)),
        ("DATA of the largest", vec![post(1), frame(DATA, 0, 1, &[0; 16_384])], Fine),
        ("HEADERS above the largest", vec![headers(4, 1, &[0; 16_385])], Conn(SIZE)),
        ("RST_STREAM of 3", vec![post(1), frame(RST_STREAM, 0, 1, &[0; 3])], Conn(SIZE)),
        ("RST_STREAM of 5", vec![post(1), frame(RST_STREAM, 0, 1, &[0; 5])], Conn(SIZE)),
        ("PRIORITY of 4", vec![post(1), frame(PRIORITY, 0, 1, &[0; 4])], Stream(1, SIZE)),
        ("PING of 6", vec![frame(PING, 0, 0, &[0; 6])], Conn(SIZE)),
        ("SETTINGS of 3", vec![frame(SETTINGS, 0, 0, &[0; 3])], Conn(SIZE)),
        ("SETTINGS ACK of 6", vec![frame(SETTINGS, 1, 0, &[0; 6])], Conn(SIZE)),
        ("GOAWAY of 7", vec![frame(GOAWAY, 0, 0, &[0; 7])], Conn(SIZE)),
        ("GOAWAY with a text", vec![frame(GOAWAY, 0, 0, &[0; 20])], Fine),
        ("WINDOW_UPDATE of 3", vec![frame(WINDOW_UPDATE, 0, 0, &[0; 3])], Conn(SIZE)),
        ("DATA on 0", vec![frame(DATA, 0, 0, b"x")], Conn(PROTOCOL)),
        ("HEADERS on 0", vec![headers(5, 0, &block(&GET))], Conn(PROTOCOL)),
        ("PRIORITY on 0", vec![frame(PRIORITY, 0, 0, &[0; 5])], Conn(PROTOCOL)),
        ("RST_STREAM on 0", vec![frame(RST_STREAM, 0, 0, &[0; 4])], Conn(PROTOCOL)),
        ("SETTINGS on 1", vec![frame(SETTINGS, 0, 1, &[])], Conn(PROTOCOL)),
        ("PING on 1", vec![frame(PING, 0, 1, &[0; 8])], Conn(PROTOCOL)),
        ("GOAWAY on 1", vec![frame(GOAWAY, 0, 1, &[0; 8])], Conn(PROTOCOL)),
        ("PUSH_PROMISE", vec![post(1), frame(PUSH_PROMISE, 4, 1, &[0; 8])], Conn(PROTOCOL)),
    ] {
        check(what, &frames, &expected);
    }
}

#[test]
fn streams_have_their_states() {
    let end = |stream| frame(DATA, END_STREAM, stream, b"");
    let reset = |stream| frame(RST_STREAM, 0, stream, &8u32.to_be_bytes());
    for (what, frames, expected) in [
        ("DATA on idle", vec![frame(DATA, 0, 1, b"x")], Conn(PROTOCOL)),
        ("RST_STREAM on idle", vec![reset(1)], Conn(PROTOCOL)),
        ("WINDOW_UPDATE on idle", vec![window(1, 1)], Conn(PROTOCOL)),
        ("PRIORITY on idle", vec![frame(PRIORITY, 0, 1, &[0; 5])], Fine),
        ("DATA after the end", vec![get(1), frame(DATA, 0, 1, b"x")], Stream(1, CLOSED)),
        ("DATA after DATA's end", vec![post(1), end(1), end(1)], Stream(1, CLOSED)),
        ("HEADERS after the end", vec![get(1), get(1)], Stream(1, CLOSED)),
        ("WINDOW_UPDATE after the end", vec![get(1), window(1, 1)], Fine),
        ("RST_STREAM after the end", vec![get(1), reset(1)], Fine),
        ("PRIORITY after the end", vec![get(1), frame(PRIORITY, 0, 1, &[0; 5])], Fine),
        ("DATA after RST_STREAM", vec![post(1), reset(1), end(1)], Conn(CLOSED)),
        ("HEADERS after RST_STREAM", vec![post(1), reset(1), get(1)], Conn(CLOSED)),
        ("WINDOW_UPDATE after RST_STREAM", vec![post(1), reset(1), window(1, 1)], Fine),
        ("RST_STREAM twice", vec![post(1), reset(1), reset(1)], Fine),
        ("an even id", vec![get(2)], Conn(PROTOCOL)),
        ("ids that go back", vec![get(5), get(3)], Conn(PROTOCOL)),
        ("ids with gaps", vec![get(5), get(11)], Fine),
        ("CONTINUATION alone", vec![frame(CONTINUATION, 4, 1, &[])], Conn(PROTOCOL)),
    ] {
        check(what, &frames, &expected);
    }
}

#[test]
fn late_frames_on_a_stream_that_was_reset_from_here_are_dropped() {
    let mut server = server();
    receive(&mut server, &post(1)).unwrap();
    let Some(Event::Request { stream, .. }) = server.next_event() else { panic!() };
    server.reset(stream, Code::CANCEL);
    assert_eq!(resets_of(&take_output(&mut server)), [(1, Code::CANCEL)]);
    let late = [frame(DATA, 0, 1, b"x"), headers(5, 1, &block(&[("x-sum", "1")])), get(3)];
    assert_eq!(verdict(&mut server, &late.concat()), Fine);
    assert!(matches!(events_of(&mut server)[..], [Event::Request { .. }]));
}

#[test]
fn a_stream_that_ended_on_both_sides_is_closed() {
    for (frame, expected) in [
        (get(1), Conn(CLOSED)),
        (frame(DATA, 1, 1, b""), Conn(CLOSED)),
        (window(1, 1), Fine),
        (frame(RST_STREAM, 0, 1, &[0; 4]), Fine),
    ] {
        let mut server = server();
        receive(&mut server, &get(1)).unwrap();
        let Some(Event::Request { stream, .. }) = server.next_event() else { panic!() };
        assert!(server.send_response(stream, StatusCode::OK, &map(&[]), true));
        assert_eq!(server.streams_open(), 0);
        assert_eq!(verdict(&mut server, &frame), expected, "{frame:?}");
    }
}

#[test]
fn header_blocks_come_in_one_piece_and_can_be_decoded() {
    let block = block(&GET);
    let (first, second) = block.split_at(10);
    let begun = || headers(END_STREAM, 1, first);
    for (what, frames, expected) in [
        ("continued", vec![begun(), frame(CONTINUATION, 4, 1, second)], Fine),
        (
            "continued twice",
            vec![begun(), frame(CONTINUATION, 0, 1, &[]), frame(CONTINUATION, 4, 1, second)],
            Fine,
        ),
        ("interrupted by PING", vec![begun(), frame(PING, 0, 0, &[0; 8])], Conn(PROTOCOL)),
        ("interrupted by an unknown kind", vec![begun(), frame(99, 0, 1, &[])], Conn(PROTOCOL)),
        ("continued on another stream", vec![begun(), frame(9, 4, 3, second)], Conn(PROTOCOL)),
        ("continued after its end", vec![get(1), frame(9, 4, 1, &[])], Conn(PROTOCOL)),
        ("an index that is not there", vec![headers(5, 1, &[0xff, 0x10])], Conn(COMPRESSION)),
        ("cut off", vec![headers(5, 1, &block[..block.len() - 1])], Conn(COMPRESSION)),
        ("table too large", vec![headers(5, 1, &[0x3f, 0xe2, 0x1f])], Conn(COMPRESSION)),
    ] {
        check(what, &frames, &expected);
    }
}

#[test]
fn padding_and_priority_fit_into_their_frames() {
    let padded = |length: u8, content: &[u8]| {
        let mut payload = vec![length];
        payload.extend_from_slice(content);
        payload.extend(std::iter::repeat_n(0, usize::from(length)));
        payload
    };
    let depends = |on: u32, content: &[u8]| [&on.to_be_bytes()[..], &[15], content].concat();
    let all = END_STREAM | END_HEADERS;
    let block = block(&GET);
    for (what, frames, expected) in [
        ("DATA", vec![post(1), frame(DATA, PADDED, 1, &padded(9, b"abc"))], Fine),
        ("DATA of padding", vec![post(1), frame(DATA, PADDED, 1, &padded(200, b""))], Fine),
        ("DATA too long", vec![post(1), frame(DATA, PADDED, 1, &[3, 0, 0])], Conn(PROTOCOL)),
        ("DATA empty", vec![post(1), frame(DATA, PADDED, 1, &[])], Conn(SIZE)),
        ("HEADERS", vec![headers(all | PADDED, 1, &padded(9, &block))], Fine),
        ("HEADERS too long", vec![headers(all | PADDED, 1, &[200, 0, 0])], Conn(PROTOCOL)),
        ("priority", vec![headers(all | WITH_PRIORITY, 1, &depends(0, &block))], Fine),
        ("priority cut off", vec![headers(all | WITH_PRIORITY, 1, &[0; 4])], Conn(SIZE)),
        (
            "padding and priority",
            vec![headers(all | PADDED | WITH_PRIORITY, 1, &padded(4, &depends(3, &block)))],
            Fine,
        ),
        (
            "a stream that depends on itself",
            vec![headers(all | WITH_PRIORITY, 1, &depends(1, &block))],
            Stream(1, PROTOCOL),
        ),
        (
            "PRIORITY on itself",
            vec![post(1), frame(PRIORITY, 0, 1, &depends(1, &[]))],
            Stream(1, PROTOCOL),
        ),
    ] {
        check(what, &frames, &expected);
    }
}

#[test]
fn settings_have_their_ranges() {
    for (id, value, expected) in [
        (1, u32::MAX, Fine),
        (2, 0, Fine),
        (2, 1, Fine),
        (2, 2, Conn(PROTOCOL)),
        (3, 0, Fine),
        (4, 0x7fff_ffff, Fine),
        (4, 0x8000_0000, Conn(FLOW)),
        (5, 16_383, Conn(PROTOCOL)),
        (5, 16_384, Fine),
        (5, 0xff_ffff, Fine),
        (5, 0x100_0000, Conn(PROTOCOL)),
        (6, 0, Fine),
        (8, 1, Fine),
        (8, 2, Conn(PROTOCOL)),
        (0x99, u32::MAX, Fine),
    ] {
        check(&format!("setting {id} = {value}"), &[setting(id, value)], &expected);
    }
    check("8 is taken back", &[setting(8, 1), setting(8, 0)], &Conn(PROTOCOL));
    let mut client = client();
    assert_eq!(verdict(&mut client, &setting(2, 1)), Conn(PROTOCOL));
    let mut server = server();
    receive(&mut server, &setting(4, 1)).unwrap();
    let written = take_output(&mut server);
    assert_eq!(written, frame(SETTINGS, 1, 0, &[]), "settings are acknowledged");
}

#[test]
fn windows_neither_overflow_nor_grow_by_nothing() {
    for (what, frames, expected) in [
        ("0 on the connection", vec![window(0, 0)], Conn(PROTOCOL)),
        ("0 on a stream", vec![post(1), window(1, 0)], Stream(1, PROTOCOL)),
        ("overflow of the connection", vec![window(0, 0x7fff_ffff)], Conn(FLOW)),
        ("overflow of a stream", vec![post(1), window(1, 0x7fff_ffff)], Stream(1, FLOW)),
        ("up to the largest", vec![post(1), window(1, 0x7fff_ffff - 65_535)], Fine),
        (
            "overflow by settings",
            vec![post(1), window(1, 0x7fff_ffff - 65_535), setting(4, 65_536)],
            Conn(FLOW),
        ),
        ("the reserved bit is ignored", vec![window(0, 0x8000_0001)], Fine),
    ] {
        check(what, &frames, &expected);
    }
}

#[test]
fn more_data_than_the_window_is_an_error_and_padding_counts() {
    let config = || Config { stream_window: 100, ..Config::default() };
    for (payload, flags, expected) in [
        (vec![0; 100], 0, Fine),
        (vec![0; 101], 0, Stream(1, FLOW)),
        (vec![60; 101], PADDED, Stream(1, FLOW)),
    ] {
        let mut server = server_with(config());
        receive(&mut server, &post(1)).unwrap();
        assert_eq!(verdict(&mut server, &frame(DATA, flags, 1, &payload)), expected);
    }
    // What was the client's window before it knew ours is not held against it.
    let mut server = Connection::new(Role::Server, config());
    let greeting = [&PREFACE[..], &frame(SETTINGS, 0, 0, &[]), &post(1)].concat();
    receive(&mut server, &greeting).unwrap();
    assert_eq!(verdict(&mut server, &frame(DATA, 0, 1, &[0; 16_384])), Fine);
    receive(&mut server, &frame(SETTINGS, 1, 0, &[])).unwrap();
    assert_eq!(verdict(&mut server, &frame(DATA, 0, 1, &[0; 1])), Stream(1, FLOW));
    // The connection's window is given back as data is read, so it takes more than one frame at once to break it.
    let mut server = server_with(Config {
        connection_window: 65_535,
        frame_bytes_max: 1 << 20,
        ..Config::default()
    });
    receive(&mut server, &post(1)).unwrap();
    assert_eq!(verdict(&mut server, &frame(DATA, 0, 1, &[0; 65_536])), Conn(FLOW));
}

#[test]
fn requests_that_are_none_are_reset() {
    let connect = [(":method", "CONNECT"), (":authority", "web:80")];
    for (what, block, is_good) in [
        ("GET", with(&GET, &[]), true),
        ("headers", with(&GET, &[("te", "trailers"), ("x", "")]), true),
        ("no method", with(&GET[1..], &[]), false),
        ("no scheme", with(&[GET[0], GET[2], GET[3]], &[]), false),
        ("no path", with(&[GET[0], GET[1], GET[3]], &[]), false),
        ("no authority", with(&GET[..3], &[("host", "web")]), true),
        ("an empty path", with(&[GET[0], GET[1], (":path", "")], &[]), false),
        ("an asterisk", with(&[(":method", "OPTIONS"), GET[1], (":path", "*")], &[]), true),
        ("method twice", with(&GET, &[(":method", "GET")]), false),
        ("path twice", with(&GET, &[(":path", "/")]), false),
        ("a response's", with(&GET, &[(":status", "200")]), false),
        ("unknown", with(&GET, &[(":other", "1")]), false),
        ("after a header", with(&[("x", "1")], &GET), false),
        ("upper case", with(&GET, &[("X-Large", "1")]), false),
        ("a name with a space", with(&GET, &[("x y", "1")]), false),
        ("a value with a line feed", with(&GET, &[("x", "1\ny: 2")]), false),
        ("a value with a NUL", with(&GET, &[("x", "\0")]), false),
        ("a padded value", with(&GET, &[("x", " 1")]), false),
        ("connection", with(&GET, &[("connection", "close")]), false),
        ("keep-alive", with(&GET, &[("keep-alive", "1")]), false),
        ("proxy-connection", with(&GET, &[("proxy-connection", "close")]), false),
        ("transfer-encoding", with(&GET, &[("transfer-encoding", "chunked")]), false),
        ("upgrade", with(&GET, &[("upgrade", "websocket")]), false),
        ("te", with(&GET, &[("te", "gzip")]), false),
        ("the same host", with(&GET, &[("host", "WEB")]), true),
        ("another host", with(&GET, &[("host", "other")]), false),
        ("content-length 0", with(&GET, &[("content-length", "0")]), true),
        ("content-length 1", with(&GET, &[("content-length", "1")]), false),
        ("content-length -1", with(&GET, &[("content-length", "-1")]), false),
        ("content-length +0", with(&GET, &[("content-length", "+0")]), false),
        ("CONNECT", with(&connect, &[]), true),
        ("CONNECT with a path", with(&connect, &[(":path", "/")]), false),
        ("CONNECT to nowhere", with(&connect[..1], &[]), false),
        (
            "extended CONNECT, not offered",
            with(&connect, &[(":protocol", "websocket"), (":scheme", "http"), (":path", "/")]),
            false,
        ),
        (":protocol with GET", with(&GET, &[(":protocol", "websocket")]), false),
    ] {
        let expected = if is_good { Fine } else { Stream(1, PROTOCOL) };
        check(what, &[headers(5, 1, &block)], &expected);
        let mut server = server();
        receive(&mut server, &headers(5, 1, &block)).unwrap();
        let is_request = matches!(events_of(&mut server)[..], [Event::Request { .. }]);
        assert_eq!(is_request, is_good, "{what}");
    }
}

#[test]
fn extended_connect_is_taken_where_it_was_offered() {
    let mut server = server_with(Config { extended_connect: true, ..Config::default() });
    let fields = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":path", "/chat"),
        (":authority", "web"),
    ];
    receive(&mut server, &headers(4, 1, &block(&fields))).unwrap();
    let Some(Event::Request { request, .. }) = server.next_event() else { panic!() };
    let protocol = request.head().protocol.as_ref().unwrap();
    assert_eq!((&protocol.0[..], request.uri().path()), (&b"websocket"[..], "/chat"));
}

#[test]
fn content_has_the_length_that_was_announced() {
    let post = |length| headers(4, 1, &with(&POST, &[("content-length", length)]));
    let part = |flags, content: &[u8]| frame(DATA, flags, 1, content);
    let trailers = || headers(5, 1, &block(&[("x-sum", "1")]));
    for (what, frames, expected) in [
        ("as announced", vec![post("3"), part(0, b"ab"), part(1, b"c")], Fine),
        ("more", vec![post("3"), part(0, b"abcd")], Stream(1, PROTOCOL)),
        ("less", vec![post("3"), part(1, b"ab")], Stream(1, PROTOCOL)),
        ("less, then trailers", vec![post("3"), part(0, b"ab"), trailers()], Stream(1, PROTOCOL)),
        ("and trailers", vec![post("2"), part(0, b"ab"), trailers()], Fine),
        ("two numbers", vec![post("1, 2")], Stream(1, PROTOCOL)),
        ("too large", vec![post("99999999999999999999")], Stream(1, PROTOCOL)),
    ] {
        check(what, &frames, &expected);
    }
    for (second, expected) in [("3", Fine), ("4", Stream(1, PROTOCOL))] {
        let lengths = with(&POST, &[("content-length", "3"), ("content-length", second)]);
        check("twice", &[headers(4, 1, &lengths)], &expected);
    }
}

#[test]
fn trailers_end_the_stream_and_are_no_head() {
    let trailers = |flags, fields: &[(&str, &str)]| headers(flags, 1, &block(fields));
    for (what, frames, expected) in [
        ("trailers", vec![post(1), trailers(5, &[("x", "1")])], Fine),
        ("without the end", vec![post(1), trailers(4, &[("x", "1")])], Stream(1, PROTOCOL)),
        ("pseudo", vec![post(1), trailers(5, &[(":path", "/")])], Stream(1, PROTOCOL)),
        ("upper case", vec![post(1), trailers(5, &[("X", "1")])], Stream(1, PROTOCOL)),
    ] {
        check(what, &frames, &expected);
    }
}

/// What a client makes of frames after a request on stream 1.
fn check_response(what: &str, method: &Method, frames: &[Vec<u8>], expected: &Verdict) {
    let mut client = client();
    ask(&mut client, method, true);
    take_output(&mut client);
    assert_eq!(verdict(&mut client, &frames.concat()), *expected, "{what}");
}

#[test]
fn responses_follow_their_rules() {
    let head = |flags, fields: &[(&str, &str)]| headers(flags, 1, &block(fields));
    let ok = || head(4, &[(":status", "200")]);
    let end = || frame(DATA, 1, 1, b"abc");
    let get = Method::GET;
    for (what, frames, expected) in [
        ("a response", vec![ok(), end()], Fine),
        ("without content", vec![head(5, &[(":status", "200")])], Fine),
        ("informational first", vec![head(4, &[(":status", "103")]), ok(), end()], Fine),
        ("informational at the end", vec![head(5, &[(":status", "103")])], Stream(1, PROTOCOL)),
        ("101", vec![head(4, &[(":status", "101")])], Stream(1, PROTOCOL)),
        ("no status", vec![head(4, &[("x", "1")])], Stream(1, PROTOCOL)),
        ("a status of two digits", vec![head(4, &[(":status", "20")])], Stream(1, PROTOCOL)),
        ("a path", vec![head(4, &[(":status", "200"), (":path", "/")])], Stream(1, PROTOCOL)),
        (
            "connection",
            vec![head(4, &[(":status", "200"), ("connection", "x")])],
            Stream(1, PROTOCOL),
        ),
        ("DATA first", vec![end()], Stream(1, PROTOCOL)),
        ("DATA after the end", vec![ok(), end(), end()], Fine),
        ("HEADERS on a stream not opened", vec![headers(4, 3, &[0x88])], Conn(PROTOCOL)),
        ("HEADERS on an even stream", vec![headers(4, 2, &[0x88])], Conn(PROTOCOL)),
        ("DATA on a stream not opened", vec![frame(DATA, 0, 3, b"")], Conn(PROTOCOL)),
        ("PUSH_PROMISE", vec![frame(PUSH_PROMISE, 4, 1, &[0, 0, 0, 2])], Conn(PROTOCOL)),
        (
            "less than announced",
            vec![head(4, &[(":status", "200"), ("content-length", "4")]), end()],
            Stream(1, PROTOCOL),
        ),
    ] {
        check_response(what, &get, &frames, &expected);
    }
    let announced = |status| head(5, &[(":status", status), ("content-length", "4")]);
    check_response("HEAD", &Method::HEAD, &[announced("200")], &Fine);
    check_response("304", &get, &[announced("304")], &Fine);
    check_response(
        "204 with content",
        &get,
        &[head(4, &[(":status", "204")]), end()],
        &Stream(1, PROTOCOL),
    );
    check_response("GET", &get, &[announced("200")], &Stream(1, PROTOCOL));
}

#[test]
fn requests_that_the_server_did_not_look_at_are_told() {
    let mut client = client();
    let keys: Vec<StreamKey> = (0..3).map(|_| ask(&mut client, &Method::GET, true)).collect();
    let refused = frame(RST_STREAM, 0, 1, &Code::REFUSED_STREAM.0.to_be_bytes());
    let leaving = frame(GOAWAY, 0, 0, &[0, 0, 0, 3, 0, 0, 0, 0]);
    receive(&mut client, &[refused, leaving].concat()).unwrap();
    let events = events_of(&mut client);
    let unread: Vec<StreamKey> = events
        .iter()
        .filter_map(|it| match it {
            Event::Reset { stream, is_unread: true, .. } => Some(*stream),
            _ => None,
        })
        .collect();
    assert_eq!(unread, [keys[0], keys[2]]);
    assert!(!client.can_open() && !client.is_finished());
    receive(&mut client, &headers(5, 3, &[0x88])).unwrap();
    assert!(client.is_finished());
}

#[test]
fn a_server_leaves_in_two_steps_and_takes_what_was_on_its_way() {
    let mut server = server();
    receive(&mut server, &get(1)).unwrap();
    server.go_away_gracefully();
    let written = frames_of(&take_output(&mut server));
    assert_eq!(written[0].1[..4], [0x7f, 0xff, 0xff, 0xff]);
    let (ping, payload) = &written[1];
    assert_eq!(ping.kind, Kind::Ping);
    receive(&mut server, &[get(3), frame(PING, 1, 0, payload)].concat()).unwrap();
    let last = frames_of(&take_output(&mut server));
    assert_eq!(last[0].1, [0, 0, 0, 3, 0, 0, 0, 0]);
    receive(&mut server, &get(5)).unwrap();
    let requests: Vec<StreamKey> = events_of(&mut server)
        .iter()
        .filter_map(|it| match it {
            Event::Request { stream, .. } => Some(*stream),
            _ => None,
        })
        .collect();
    assert_eq!(requests.iter().map(|it| it.id()).collect::<Vec<_>>(), [1, 3]);
    for stream in requests {
        assert!(!server.is_finished());
        server.send_response(stream, StatusCode::OK, &map(&[]), true);
    }
    assert!(server.is_finished());
}

#[test]
fn an_answer_before_the_end_of_the_request_stops_it_without_an_error() {
    let mut server = server();
    receive(&mut server, &post(1)).unwrap();
    let Some(Event::Request { stream, .. }) = server.next_event() else { panic!() };
    server.stop_receiving(stream);
    assert_eq!(verdict(&mut server, &frame(DATA, 0, 1, b"unread")), Fine);
    assert!(events_of(&mut server).is_empty());
    assert!(server.send_response(stream, StatusCode::OK, &map(&[]), false));
    assert_eq!(server.send_data(stream, &mut data("body"), true), Accepted::All);
    let written = take_output(&mut server);
    let kinds: Vec<Kind> = frames_of(&written).iter().map(|it| it.0.kind).collect();
    assert_eq!(kinds, [Kind::Headers, Kind::Data, Kind::RstStream]);
    assert_eq!(resets_of(&written), [(1, Code::NO_ERROR)]);
}
