//! A client that speaks just enough HTTP/1.1, on a blocking socket, so that its threads may wait exactly.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use socket2::{Domain, Socket, Type};

/// What a browser sends, beside `Host`.
pub(super) const BROWSER_HEADERS: [&str; 11] = [
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language: en-US,en;q=0.5",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Referer: https://shop.example.com/catalog/items?page=3",
    "Cookie: session=7d1f0c6e5a4b4c1f9e8d; theme=dark; consent=all",
    "Upgrade-Insecure-Requests: 1",
    "Sec-Fetch-Dest: document",
    "Sec-Fetch-Mode: navigate",
    "Sec-Fetch-Site: same-origin",
    "Cache-Control: no-cache",
];
/// The name in the certificate.
pub(super) const SERVER_NAME: &str = "localhost";
/// An answer that takes longer has failed.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// A read takes at most so much: the 10 MiB of a large answer in some 40 reads.
const READ_BYTES: usize = 256 << 10;
/// The head of an answer; a proxy adds a few headers to the backend's few.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// The request that every scenario of our own generator sends.
pub(super) fn request(path: &str, close: bool) -> Vec<u8> {
    let connection = if close { "Connection: close\r\n" } else { "" };
    let headers = BROWSER_HEADERS.join("\r\n");
    format!("GET {path} HTTP/1.1\r\nHost: {SERVER_NAME}\r\n{connection}{headers}\r\n\r\n")
        .into_bytes()
}

/// TLS 1.3 with the cipher that all proxies share, a full handshake each time, and the certificate verified. Only X25519 is
/// offered for the exchange of keys: some proxies would choose a post-quantum group, which not all have and which costs more.
pub(super) fn tls_config(certificate: &Path) -> anyhow::Result<Arc<ClientConfig>> {
    let certificate = CertificateDer::from_pem_file(certificate)
        .with_context(|| format!("cannot read {}", certificate.display()))?;
    let mut roots = RootCertStore::empty();
    roots.add(certificate)?;
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites = vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256];
    provider.kx_groups = vec![aws_lc_rs::kx_group::X25519];
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Where a client connects, and how.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) address: SocketAddr,
    pub(super) tls: Option<Arc<ClientConfig>>,
}

/// One connection.
pub(super) struct Client {
    stream: Stream,
    buffer: Vec<u8>,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// What is of interest in an answer.
#[derive(Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Bytes of the body, all of which have been read.
    pub(super) bytes: usize,
    /// Whether the server closes the connection after it.
    pub(super) closes: bool,
}

impl Client {
    /// Connects, from a given source address if there is one: each has its own 28,000 ports.
    pub(super) fn open(target: &Target, source: Option<IpAddr>) -> anyhow::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        if let Some(source) = source {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        socket
            .connect_timeout(&target.address.into(), ANSWER_TIMEOUT)
            .with_context(|| format!("cannot connect to {}", target.address))?;
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
        let stream = match &target.tls {
            None => Stream::Plain(stream),
            Some(config) => {
                let name = ServerName::try_from(SERVER_NAME)?;
                let tls = ClientConnection::new(Arc::clone(config), name)?;
                Stream::Tls(Box::new(StreamOwned::new(tls, stream)))
            }
        };
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// Sends a request and reads the whole answer.
    pub(super) fn exchange(&mut self, request: &[u8]) -> anyhow::Result<Answer> {
        self.write(request)?;
        self.buffer.clear();
        let mut head = None;
        while head.is_none() {
            if self.buffer.len() > HEAD_BYTES_MAX {
                bail!("the answer's head is too long");
            }
            self.fill(HEAD_BYTES_MAX)?;
            head = parse_head(&self.buffer)?;
        }
        let head = head.context("the loop above ends with one")?;
        self.buffer.drain(..head.bytes);
        let mut read = self.buffer.len();
        while read < head.body_bytes {
            if self.buffer.len() >= READ_BYTES {
                self.buffer.clear();
            }
            read += self.fill(READ_BYTES)?;
        }
        if read > head.body_bytes {
            bail!("{read} bytes came, where {} were announced", head.body_bytes);
        }
        Ok(Answer { status: head.status, bytes: read, closes: head.closes })
    }

    /// The body of the last answer, or its last 256 KiB; gone from the client, and with it its buffer.
    pub(super) fn take_body(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    /// Sends a request and expects success with so many bytes.
    pub(super) fn expect(&mut self, request: &[u8], bytes: usize) -> anyhow::Result<Answer> {
        let answer = self.exchange(request)?;
        if answer.status != 200 || answer.bytes != bytes {
            bail!("the answer was {} with {} bytes", answer.status, answer.bytes);
        }
        Ok(answer)
    }

    fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let written = match &mut self.stream {
            Stream::Plain(stream) => stream.write_all(bytes),
            Stream::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        };
        written.context("cannot send the request")
    }

    fn fill(&mut self, more: usize) -> anyhow::Result<usize> {
        let start = self.buffer.len();
        self.buffer.resize(start + more, 0);
        let read = match &mut self.stream {
            Stream::Plain(stream) => stream.read(&mut self.buffer[start..]),
            Stream::Tls(stream) => stream.read(&mut self.buffer[start..]),
        };
        let read = read.context("cannot read the answer")?;
        self.buffer.truncate(start + read);
        if read == 0 {
            bail!("the server closed the connection before the answer was whole");
        }
        Ok(read)
    }
}

#[derive(Debug, PartialEq)]
struct Head {
    status: u16,
    bytes: usize,
    body_bytes: usize,
    closes: bool,
}

/// Reads the head of an answer, once it is whole.
fn parse_head(buffer: &[u8]) -> anyhow::Result<Option<Head>> {
    let Some(end) = buffer.windows(4).position(|it| it == b"\r\n\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(&buffer[..end]).context("the head is not text")?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|it| it.split(' ').nth(1)?.parse().ok());
    let mut head =
        Head { status: status.context("no status")?, bytes: end + 4, body_bytes: 0, closes: false };
    let mut length = None;
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { bail!("not a header: {line}") };
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.parse().context("not a length")?);
        } else if name.eq_ignore_ascii_case("connection") {
            head.closes = value.eq_ignore_ascii_case("close");
        }
    }
    head.body_bytes = length.context("the answer tells no length")?;
    Ok(Some(head))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_once_it_is_whole() {
        let text = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\nconnection: close\r\n\r\nabc";
        let head = Head { status: 200, bytes: 58, body_bytes: 12, closes: true };
        assert_eq!(parse_head(text).expect("it is good"), Some(head));
        assert_eq!(parse_head(&text[..57]).expect("it is not bad"), None);
    }

    #[test]
    fn an_answer_without_length_is_an_error() {
        assert!(parse_head(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(parse_head(b"HTTP/1.1 OK\r\ncontent-length: 1\r\n\r\n").is_err());
    }
}
