//! What a peer may not do for ever.

use http::StatusCode;

use super::*;
use crate::http2::Accepted;

const CALM: Code = Code::ENHANCE_YOUR_CALM;

/// Sends frames until the server has had enough; how many it took.
fn count_until_calm(server: &mut Connection, mut next: impl FnMut(u32) -> Vec<u8>) -> u32 {
    for count in 0..10_000 {
        if let Err(error) = receive(server, &next(count)) {
            assert_eq!(error.code, CALM, "{error}");
            return count;
        }
        take_output(server);
        events_of(server);
    }
    panic!("there is no limit")
}

fn stream_of(count: u32) -> u32 {
    count * 2 + 1
}

#[test]
fn requests_that_are_taken_back_at_once_end_the_connection() {
    let cancel = |count| {
        let stream = stream_of(count);
        [get(stream), frame(RST_STREAM, 0, stream, &8u32.to_be_bytes())].concat()
    };
    let count = count_until_calm(&mut server(), cancel);
    assert_eq!(count, 200);
    // Who lets as many come to their end as it takes back goes on.
    let mut server = server();
    for count in 0..2000 {
        receive(&mut server, &get(stream_of(2 * count))).unwrap();
        let Some(Event::Request { stream, .. }) = server.next_event() else { panic!() };
        assert!(server.send_response(stream, StatusCode::OK, &map(&[]), true));
        receive(&mut server, &cancel(2 * count + 1)).unwrap();
        take_output(&mut server);
        events_of(&mut server);
    }
}

#[test]
fn a_client_that_makes_the_server_reset_streams_is_sent_away() {
    let provoke = |count| {
        let stream = stream_of(count);
        [post(stream), frame(WINDOW_UPDATE, 0, stream, &[0; 4])].concat()
    };
    assert_eq!(count_until_calm(&mut server(), provoke), 200);
    let malformed = |count| frame(HEADERS, 5, stream_of(count), &block(&[("x", "1")]));
    assert_eq!(count_until_calm(&mut server(), malformed), 200);
}

#[test]
fn more_streams_than_allowed_are_refused() {
    let mut server = server_with(Config { streams_max: 2, ..Config::default() });
    receive(&mut server, &[get(1), get(3), get(5)].concat()).unwrap();
    assert_eq!(resets_of(&take_output(&mut server)), [(5, Code::REFUSED_STREAM)]);
    assert_eq!((server.streams_open(), events_of(&mut server).len()), (2, 2));
    assert_eq!(count_until_calm(&mut server, |count| get(7 + 2 * count)), 99);
}

#[test]
fn frames_that_bring_nothing_end_the_connection() {
    let empty_data = |count| match count {
        0 => post(1),
        _ => frame(DATA, 0, 1, b""),
    };
    assert_eq!(count_until_calm(&mut server(), empty_data), 1 + (1000 - 8) / 8);
    for (what, repeated, expected) in [
        ("PING", frame(PING, 0, 0, &[0; 8]), 991),
        ("SETTINGS", frame(SETTINGS, 0, 0, &[]), 123),
        ("PRIORITY", frame(PRIORITY, 0, 1, &[0; 5]), 991),
        ("WINDOW_UPDATE", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]), 991),
        ("an unknown kind", frame(99, 0, 0, &[]), 991),
    ] {
        assert_eq!(count_until_calm(&mut server(), |_| repeated.clone()), expected, "{what}");
    }
}

#[test]
fn time_brings_back_what_was_used_up() {
    let mut server = server();
    for second in 1..20u64 {
        for _ in 0..400 {
            let mut ping = BytesMut::from(&frame(PING, 0, 0, &[0; 8])[..]);
            server.receive(&mut ping, second * 1_000_000_000).unwrap();
        }
        take_output(&mut server);
    }
}

#[test]
fn header_blocks_without_an_end_end_the_connection() {
    let endless = |count| match count {
        0 => frame(HEADERS, 1, 1, &block(&GET)),
        _ => frame(CONTINUATION, 0, 1, &[]),
    };
    assert_eq!(count_until_calm(&mut server(), endless), 33);
    let filler = vec![0; 16_384];
    let large = |count| match count {
        0 => frame(HEADERS, 1, 1, &filler),
        _ => frame(CONTINUATION, 0, 1, &filler),
    };
    // 64 KiB and a frame are allowed.
    assert_eq!(count_until_calm(&mut server(), large), 5);
}

#[test]
fn answers_that_are_not_read_are_bounded() {
    let mut server = server();
    let ping = frame(PING, 0, 0, &[0; 8]);
    let mut count = 0;
    let error = loop {
        let mut ping = BytesMut::from(&ping[..]);
        // Time gives back the allowance.
        match server.receive(&mut ping, count * 1_000_000_000) {
            Ok(()) => count += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((error.code, count), (CALM, 64 * 1024 / 17));
}

#[test]
fn a_head_that_is_too_large_can_be_answered() {
    let mut server = server_with(Config { header_list_bytes_max: 400, ..Config::default() });
    receive(&mut server, &get(1)).unwrap();
    assert!(matches!(server.next_event(), Some(Event::Request { .. })));
    // One that is small on the wire: the field of 62 bytes is named again and again.
    let mut bomb = vec![0x40, 1, b'x', 29];
    bomb.extend_from_slice(&[b'y'; 29]);
    bomb.extend_from_slice(&[0xbe; 10_000]);
    receive(&mut server, &frame(HEADERS, 5, 3, &[block(&GET), bomb].concat())).unwrap();
    let Some(Event::HeadTooLarge { stream }) = server.next_event() else { panic!() };
    let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    assert!(server.send_response(stream, status, &map(&[]), true));
    assert_eq!(server.streams_open(), 1);
    // The tables of both ends are still alike.
    receive(&mut server, &frame(HEADERS, 5, 5, &[block(&GET), vec![0xbe]].concat())).unwrap();
    let Some(Event::Request { request, .. }) = server.next_event() else { panic!() };
    assert_eq!(request.headers().get("x").unwrap().len(), 29);
}

#[test]
fn a_client_without_a_window_holds_a_bounded_buffer_and_is_told_of() {
    let mut server = server();
    let no_window = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    receive(&mut server, &[no_window, get(1), get(3)].concat()).unwrap();
    let streams: Vec<StreamKey> = events_of(&mut server)
        .iter()
        .filter_map(|it| match it {
            Event::Request { stream, .. } => Some(*stream),
            _ => None,
        })
        .collect();
    for stream in &streams {
        assert!(server.send_response(*stream, StatusCode::OK, &map(&[]), false));
    }
    let mut body = Bytes::from(vec![b'x'; 100_000]);
    assert_eq!(server.send_data(streams[0], &mut body, true), Accepted::Some);
    assert_eq!(body.len(), 100_000 - 64 * 1024);
    assert_eq!(server.send_data(streams[1], &mut data("small"), true), Accepted::All);
    server.fill_output(70);
    let blocked = server.blocked_longest();
    assert_eq!(blocked, Some((streams[0], 70)));
    // Half of the buffer must be sent before there is room again.
    take_output(&mut server);
    let window = |stream: u32, size: u32| frame(WINDOW_UPDATE, 0, stream, &size.to_be_bytes());
    receive(&mut server, &window(1, 32_000)).unwrap();
    take_output(&mut server);
    assert!(events_of(&mut server).is_empty());
    receive(&mut server, &window(1, 1000)).unwrap();
    take_output(&mut server);
    assert!(matches!(events_of(&mut server)[..], [Event::Room { .. }]));
    assert_eq!(server.blocked_longest().map(|it| it.0), Some(streams[0]));
    receive(&mut server, &window(3, 5)).unwrap();
    let written = frames_of(&take_output(&mut server));
    assert!(written.iter().any(|(head, it)| head.stream == 3 && it == b"small"));
}

#[test]
fn streams_take_turns() {
    let mut server = server();
    let wide = frame(SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]);
    let window = frame(WINDOW_UPDATE, 0, 0, &[0x70, 0, 0, 0]);
    receive(&mut server, &[wide, window, get(1), get(3), get(5)].concat()).unwrap();
    take_output(&mut server);
    for event in events_of(&mut server) {
        let Event::Request { stream, .. } = event else { continue };
        server.send_response(stream, StatusCode::OK, &map(&[]), false);
        let mut body = Bytes::from(vec![b'x'; 50_000]);
        assert_eq!(server.send_data(stream, &mut body, true), Accepted::All);
    }
    let order: Vec<u32> = frames_of(&take_output(&mut server))
        .iter()
        .filter(|(head, _)| head.kind == Kind::Data)
        .map(|(head, _)| head.stream)
        .collect();
    assert_eq!(order, [1, 3, 5, 1, 3, 5, 1, 3, 5, 1, 3, 5]);
}

#[test]
fn closed_streams_leave_nothing_behind() {
    let mut server = server();
    for count in 0..5000 {
        receive(&mut server, &get(stream_of(count))).unwrap();
        let Some(Event::Request { stream, .. }) = server.next_event() else { panic!() };
        server.send_response(stream, StatusCode::OK, &map(&[]), false);
        server.send_data(stream, &mut data("body"), true);
        take_output(&mut server);
        assert_eq!((server.streams_open(), stream.slot()), (0, 0));
    }
    server.rest();
}
