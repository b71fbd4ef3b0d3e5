//! A connection against bytes, and against another connection.

mod limits;
mod rules;
mod transfer;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderName, HeaderValue, Method, Uri};
use std::io::IoSlice;

use super::frame::{Head, Kind, PREFACE};
use super::{Code, Config, Connection, ConnectionError, Event, Role, StreamKey, Target};
use crate::message::HeaderMap;

/// Codes of kinds of frames.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const WITH_PRIORITY: u8 = 32;

/// A frame, whatever is in it.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.put_uint(payload.len() as u64, 3);
    bytes.put_u8(kind);
    bytes.put_u8(flags);
    bytes.put_u32(stream);
    bytes.put_slice(payload);
    bytes
}

/// A header block without tables and codes.
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.put_u8(0);
        for text in [name, value] {
            assert!(text.len() < 127);
            bytes.put_u8(text.len() as u8);
            bytes.put_slice(text.as_bytes());
        }
    }
    bytes
}

const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "web")];
const POST: [(&str, &str); 4] =
    [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "web")];

fn with(fields: &[(&'static str, &'static str)], more: &[(&'static str, &'static str)]) -> Vec<u8> {
    block(&[fields, more].concat())
}

fn get(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &block(&GET))
}

fn post(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &block(&POST))
}

fn take_output(connection: &mut Connection) -> Vec<u8> {
    let mut written = Vec::new();
    loop {
        connection.fill_output(1);
        let mut slices = [IoSlice::new(&[]); 8];
        let count = connection.output(&mut slices);
        let bytes: Vec<u8> = slices[..count].iter().flat_map(|it| it.to_vec()).collect();
        if bytes.is_empty() {
            return written;
        }
        connection.advance_output(bytes.len());
        written.extend_from_slice(&bytes);
    }
}

fn frames_of(mut bytes: &[u8]) -> Vec<(Head, Vec<u8>)> {
    bytes = bytes.strip_prefix(PREFACE).unwrap_or(bytes);
    let mut frames = Vec::new();
    while let Some(head) = Head::parse(bytes) {
        frames.push((head, bytes[9..9 + head.length].to_vec()));
        bytes = &bytes[9 + head.length..];
    }
    assert!(bytes.is_empty());
    frames
}

fn events_of(connection: &mut Connection) -> Vec<Event> {
    std::iter::from_fn(|| connection.next_event()).collect()
}

fn receive(connection: &mut Connection, bytes: &[u8]) -> Result<(), ConnectionError> {
    let mut bytes = BytesMut::from(bytes);
    connection.receive(&mut bytes, 1)
}

/// A server whose client has greeted.
fn server_with(config: Config) -> Connection {
    let mut server = Connection::new(Role::Server, config);
    receive(&mut server, PREFACE).unwrap();
    receive(&mut server, &frame(SETTINGS, 0, 0, &[])).unwrap();
    receive(&mut server, &frame(SETTINGS, 1, 0, &[])).unwrap();
    take_output(&mut server);
    events_of(&mut server);
    server
}

fn server() -> Connection {
    server_with(Config::default())
}

/// A client whose server has greeted.
fn client() -> Connection {
    let mut client = Connection::new(Role::Client, Config::default());
    receive(&mut client, &frame(SETTINGS, 0, 0, &[])).unwrap();
    receive(&mut client, &frame(SETTINGS, 1, 0, &[])).unwrap();
    take_output(&mut client);
    events_of(&mut client);
    client
}

fn ask(client: &mut Connection, method: &Method, end: bool) -> StreamKey {
    let uri = Uri::from_static("http://web/path");
    let target = Target { method, uri: &uri, protocol: None };
    client.send_request(target, &HeaderMap::new(), end).unwrap()
}

fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    fields
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect()
}

/// The code of `GOAWAY` in what was written, if there is one.
fn code_of_go_away(written: &[u8]) -> Option<Code> {
    frames_of(written)
        .iter()
        .filter(|(head, _)| head.kind == Kind::GoAway)
        .map(|(_, payload)| Code(u32::from_be_bytes(payload[4..8].try_into().unwrap())))
        .next_back()
}

fn resets_of(written: &[u8]) -> Vec<(u32, Code)> {
    frames_of(written)
        .iter()
        .filter(|(head, _)| head.kind == Kind::RstStream)
        .map(|(head, it)| (head.stream, Code(u32::from_be_bytes(it[..].try_into().unwrap()))))
        .collect()
}

fn data(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}
