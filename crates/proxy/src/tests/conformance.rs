//! What the RFCs ask of a proxy, with bytes on the wire: RFC 9110 (semantics) and RFC 9112 (HTTP/1.1).
//!
//! Each table holds one case a line: what is sent, and what must come of it at the client and at the endpoint.

mod http2;
mod requests;
mod responses;
mod smuggling;

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::Backend;

/// An endpoint that reads requests as strictly as can be, writes them down, and answers each with its path.
pub(super) struct Recorder {
    pub(super) backend: Backend,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// What an endpoint saw.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Seen {
    Request { head: String, body: Vec<u8> },
    Garbage(String),
}

impl Seen {
    pub(super) fn head(&self) -> &str {
        match self {
            Seen::Request { head, .. } => head,
            Seen::Garbage(text) => panic!("not a request: {text}"),
        }
    }

    pub(super) fn target(&self) -> &str {
        self.head().split(' ').nth(1).unwrap()
    }

    pub(super) fn body(&self) -> &[u8] {
        match self {
            Seen::Request { body, .. } => body,
            Seen::Garbage(text) => panic!("not a request: {text}"),
        }
    }

    /// The values of a header, joined.
    pub(super) fn header(&self, name: &str) -> Option<String> {
        let values: Vec<&str> = self
            .head()
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .filter(|(it, _)| it.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
            .collect();
        (!values.is_empty()).then(|| values.join(", "))
    }
}

impl Recorder {
    pub(super) async fn start() -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let writes = seen.clone();
        let backend = Backend::tcp(move |stream| record(stream, writes.clone())).await;
        Self { backend, seen }
    }

    /// What came since the last call.
    pub(super) fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut self.seen.lock())
    }
}

async fn record(mut stream: TcpStream, seen: Arc<Mutex<Vec<Seen>>>) {
    let mut buffer = Vec::new();
    loop {
        match read_request(&mut stream, &mut buffer).await {
            Ok(Some((head, body))) => {
                let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
                seen.lock().push(Seen::Request { head, body });
                let length = target.len();
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{target}");
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
            Ok(None) => return,
            Err(why) => {
                seen.lock().push(Seen::Garbage(why));
                return;
            }
        }
    }
}

/// `None` at the end of the stream, also in the middle of a request.
async fn read_request(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
) -> Result<Option<(String, Vec<u8>)>, String> {
    let Some(head) = read_until(stream, buffer, b"\r\n\r\n").await else { return Ok(None) };
    let head = String::from_utf8(head).map_err(|it| it.to_string())?;
    if head.replace("\r\n", "").contains(['\r', '\n']) {
        return Err(format!("a bare CR or LF in {head:?}"));
    }
    let of = |name: &str| -> Vec<String> {
        head.lines()
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .filter(|(it, _)| it.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim().to_owned())
            .collect()
    };
    let (lengths, codings) = (of("content-length"), of("transfer-encoding"));
    let body = match (lengths.as_slice(), codings.as_slice()) {
        ([], []) => Vec::new(),
        ([length], []) => {
            let length: usize = length.parse().map_err(|_| format!("length in {head:?}"))?;
            match take(stream, buffer, length).await {
                Some(body) => body,
                None => return Ok(None),
            }
        }
        ([], [coding]) if coding == "chunked" => match read_chunks(stream, buffer).await? {
            Some(body) => body,
            None => return Ok(None),
        },
        _ => return Err(format!("ambiguous framing in {head:?}")),
    };
    Ok(Some((head, body)))
}

async fn read_chunks(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
) -> Result<Option<Vec<u8>>, String> {
    let mut body = Vec::new();
    loop {
        let Some(line) = read_until(stream, buffer, b"\r\n").await else { return Ok(None) };
        let line = String::from_utf8_lossy(&line[..line.len() - 2]).into_owned();
        let size = usize::from_str_radix(&line, 16).map_err(|_| format!("chunk size {line:?}"))?;
        if size == 0 {
            loop {
                let Some(line) = read_until(stream, buffer, b"\r\n").await else {
                    return Ok(None);
                };
                if line == b"\r\n" {
                    return Ok(Some(body));
                }
            }
        }
        let Some(data) = take(stream, buffer, size + 2).await else { return Ok(None) };
        if !data.ends_with(b"\r\n") {
            return Err("a chunk does not end with CRLF".to_owned());
        }
        body.extend_from_slice(&data[..size]);
    }
}

async fn read_until(stream: &mut TcpStream, buffer: &mut Vec<u8>, end: &[u8]) -> Option<Vec<u8>> {
    loop {
        if let Some(at) = buffer.windows(end.len()).position(|it| it == end) {
            return Some(buffer.drain(..at + end.len()).collect());
        }
        if stream.read_buf(buffer).await.unwrap_or(0) == 0 {
            return None;
        }
    }
}

async fn take(stream: &mut TcpStream, buffer: &mut Vec<u8>, length: usize) -> Option<Vec<u8>> {
    while buffer.len() < length {
        if stream.read_buf(buffer).await.unwrap_or(0) == 0 {
            return None;
        }
    }
    Some(buffer.drain(..length).collect())
}

/// The statuses of the final responses in what a client read, in order.
pub(super) fn statuses(read: &str) -> Vec<u16> {
    read.split("HTTP/1.1 ")
        .skip(1)
        .filter_map(|it| it.get(..3)?.parse().ok())
        .filter(|it| *it >= 200)
        .collect()
}
