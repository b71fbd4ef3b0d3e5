//! Two connections, a client's and a server's, with a wire between them that cuts wherever it likes.

use std::collections::BTreeMap;

use http::StatusCode;
use proptest::prelude::*;

use super::*;
use crate::http2::{Accepted, Inbox};

/// Deterministic, so that a failure can be repeated.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) as usize % below.max(1)
    }
}

fn body(stream: u32, length: usize) -> Vec<u8> {
    (0..length).map(|at| (at as u32).wrapping_mul(stream) as u8).collect()
}

/// What one end sends on one stream, and how far it has come.
struct Upload {
    rest: Bytes,
    trailers: bool,
    is_done: bool,
}

impl Upload {
    fn new(stream: u32, length: usize) -> Self {
        let trailers = length % 3 == 1;
        Self { rest: body(stream, length).into(), trailers, is_done: false }
    }

    fn go_on(&mut self, end: &mut Connection, key: StreamKey, piece: usize) {
        while !self.is_done {
            let mut data = self.rest.split_to(piece.min(self.rest.len()));
            let is_last = self.rest.is_empty();
            let accepted = end.send_data(key, &mut data, is_last && !self.trailers);
            assert_ne!(accepted, Accepted::Gone);
            if accepted == Accepted::Some {
                self.rest = [&data[..], &self.rest[..]].concat().into();
                return;
            }
            if is_last {
                self.is_done = true;
                if self.trailers {
                    assert!(end.send_trailers(key, map(&[("x-sum", "42")])));
                }
            }
        }
    }
}

/// One end with what it has got.
struct End {
    connection: Connection,
    inbound: BytesMut,
    uploads: BTreeMap<u32, (StreamKey, Upload)>,
    received: BTreeMap<u32, (Vec<u8>, Inbox, bool)>,
}

impl End {
    fn new(connection: Connection) -> Self {
        Self {
            connection,
            inbound: BytesMut::new(),
            uploads: BTreeMap::new(),
            received: BTreeMap::new(),
        }
    }

    /// Moves up to `count` bytes of output to the other end.
    fn write_to(&mut self, other: &mut End, count: usize) -> bool {
        self.connection.fill_output(1);
        let mut slices = [IoSlice::new(&[]); 4];
        let filled = self.connection.output(&mut slices);
        let bytes: Vec<u8> = slices[..filled].iter().flat_map(|it| it.to_vec()).collect();
        let moved = bytes.len().min(count);
        self.connection.advance_output(moved);
        other.inbound.extend_from_slice(&bytes[..moved]);
        other.connection.receive(&mut other.inbound, 1).unwrap();
        moved > 0
    }

    fn take_events(&mut self, lengths: &[usize], piece: usize) {
        while let Some(event) = self.connection.next_event() {
            match event {
                Event::Request { stream, request, end, .. } => {
                    let told = request.headers().get("x-stream").unwrap();
                    assert_eq!(told, stream.id().to_string().as_str());
                    self.received.insert(stream.id(), (Vec::new(), Inbox::default(), end));
                    let headers = map(&[("content-type", "text/plain")]);
                    self.connection.send_response(stream, StatusCode::OK, &headers, false);
                    let length = lengths[(stream.id() / 2) as usize];
                    self.uploads
                        .insert(stream.id(), (stream, Upload::new(stream.id() + 1, length)));
                }
                Event::Response { stream, end, .. } => {
                    self.received.insert(stream.id(), (Vec::new(), Inbox::default(), end));
                }
                Event::Data { stream, data, end } => {
                    let received = self.received.get_mut(&stream.id()).unwrap();
                    received.1.push(data);
                    received.2 |= end;
                }
                Event::Trailers { stream, trailers } => {
                    assert_eq!(trailers.get("x-sum").unwrap(), "42");
                    self.received.get_mut(&stream.id()).unwrap().2 = true;
                }
                Event::Room { .. } | Event::SettingsAcked => {}
                other => panic!("{other:?}"),
            }
        }
        for (key, upload) in self.uploads.values_mut() {
            upload.go_on(&mut self.connection, *key, piece);
        }
    }

    fn read_some(&mut self, dice: &mut Dice) {
        for (id, (got, inbox, _)) in &mut self.received {
            if dice.roll(2) == 0 {
                continue;
            }
            while let Some(piece) = inbox.pop() {
                got.extend_from_slice(&piece);
                if let Some(key) = self.connection.stream_key(*id) {
                    self.connection.release_capacity(key, piece.len());
                }
            }
        }
    }
}

fn transfer(seed: u64, lengths: &[usize], windows: (u32, u32), piece: usize, wire: usize) {
    let config = |window| Config { stream_window: window, ..Config::default() };
    let mut dice = Dice(seed);
    let mut client = End::new(Connection::new(Role::Client, config(windows.0)));
    let mut server = End::new(Connection::new(Role::Server, config(windows.1)));
    let mut to_open: Vec<usize> = (0..lengths.len()).collect();
    let uri = Uri::from_static("http://web/");
    for round in 0.. {
        assert!(round < 200_000, "it does not end");
        if !to_open.is_empty() && dice.roll(3) == 0 {
            let idx = to_open.remove(0);
            let id = 2 * idx as u32 + 1;
            let mut headers = map(&[("user-agent", "test")]);
            headers.insert("x-stream", HeaderValue::from(id));
            let target = Target { method: &Method::POST, uri: &uri, protocol: None };
            let key = client.connection.send_request(target, &headers, false).unwrap();
            assert_eq!(key.id(), id);
            client.uploads.insert(id, (key, Upload::new(id, lengths[idx])));
        }
        let mut moved = client.write_to(&mut server, dice.roll(wire) + 1);
        server.take_events(lengths, piece);
        moved |= server.write_to(&mut client, dice.roll(wire) + 1);
        client.take_events(lengths, piece);
        client.read_some(&mut dice);
        server.read_some(&mut dice);
        let ends = [&client, &server];
        let is_written = ends.iter().all(|it| it.connection.output_len() == 0);
        let is_read = ends.iter().all(|it| it.received.values().all(|it| it.1.is_empty()));
        if !moved && to_open.is_empty() && is_written && is_read {
            break;
        }
    }
    for (end, add) in [(&server, 0), (&client, 1)] {
        assert_eq!(end.received.len(), lengths.len());
        for (id, (got, _, is_ended)) in &end.received {
            let expected = body(id + add, lengths[(id / 2) as usize]);
            assert!(*is_ended && *got == expected, "stream {id}: {} bytes", got.len());
        }
        assert_eq!(end.connection.streams_open(), 0);
    }
}

#[test]
fn bodies_of_all_sizes_arrive() {
    let lengths = [0, 1, 2, 100, 16_384, 16_385, 65_535, 65_536, 300_000];
    transfer(1, &lengths, (256 * 1024, 256 * 1024), 20_000, 100_000);
    transfer(2, &lengths, (1000, 70_000), 5000, 3000);
    transfer(3, &lengths[..4], (100_000, 1), 100_000, 100_000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn bodies_arrive_whole_whatever_the_windows_and_the_wire(
        seed: u64,
        lengths in proptest::collection::vec(0usize..30_000, 1..10),
        windows in (300u32..200_000, 300u32..200_000),
        piece in 1usize..30_000,
        wire in 1usize..40_000,
    ) {
        // Small pieces of large bodies only cost time.
        transfer(seed, &lengths, windows, piece.max(500), wire.max(200));
    }

    #[test]
    fn random_frames_never_panic(
        frames in proptest::collection::vec(
            (0u8..12, any::<u8>(), 0u32..8, proptest::collection::vec(any::<u8>(), 0..60)), 0..40),
        split in 1usize..50,
    ) {
        for mut connection in [server(), client()] {
            if connection.can_open() {
                ask(&mut connection, &Method::GET, false);
            }
            let bytes: Vec<u8> = frames
                .iter()
                .flat_map(|(kind, flags, stream, payload)| frame(*kind, *flags, *stream, payload))
                .collect();
            let mut buffer = BytesMut::new();
            for piece in bytes.chunks(split) {
                buffer.extend_from_slice(piece);
                let failed = connection.receive(&mut buffer, 1).is_err();
                for event in events_of(&mut connection) {
                    if let Event::Request { stream, .. } = event {
                        connection.send_response(stream, StatusCode::OK, &map(&[]), false);
                        connection.send_data(stream, &mut data("body"), stream.id() % 3 == 0);
                    }
                }
                take_output(&mut connection);
                if failed {
                    break;
                }
            }
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes: Vec<u8>) {
        for mut connection in [server(), client()] {
            let _ = receive(&mut connection, &bytes);
            take_output(&mut connection);
        }
    }
}
