//! How a client connection begins: TLS, and which HTTP is spoken.

use std::io;
use std::time::Duration;

use rustls::server::Acceptor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use proxy_config::HttpListener;

use super::phase::LINGER;
use crate::stream::{DownstreamStream, Transport};
use crate::tls::ServerTls;
use crate::view::{HttpView, ListenerSlot, ListenerView};

/// Does the TLS handshake and finds out whether HTTP/2 is spoken. `None` when the listener closes meanwhile.
pub(super) async fn open_http(
    slot: &ListenerSlot,
    view: &ListenerView,
    http: &HttpView,
    config: &HttpListener,
    stream: TcpStream,
) -> io::Result<Option<(DownstreamStream, bool)>> {
    let opened = async {
        let (transport, agreed) = match &http.tls {
            None => (Transport::Tcp(stream), None),
            Some(tls) => {
                let shaken = timeout(config.head_timeout, handshake(tls, stream)).await;
                let shaken = shaken.map_err(io::Error::from).flatten();
                match &shaken {
                    Ok(_) => view.counters.ssl_handshake.inc(),
                    Err(_) => view.counters.ssl_connection_error.inc(),
                }
                let tls = shaken?;
                let agreed = tls.get_ref().1.alpn_protocol().map(|it| it == b"h2");
                (Transport::Tls(Box::new(tls)), agreed)
            }
        };
        let mut stream = DownstreamStream::new(transport, view.http_counters.clone());
        let is_http2 = match agreed {
            Some(is_http2) => is_http2,
            None => timeout(config.head_timeout, stream.detect_http2()).await??,
        };
        io::Result::Ok(Some((stream, is_http2)))
    };
    let closing = async {
        slot.closing.cancelled().await;
        sleep(LINGER).await;
    };
    tokio::select! {
        opened = opened => opened,
        () = closing => Ok(None),
    }
}

/// A fatal alert `unrecognized_name` (RFC 6066, section 3), in the clear as all is before the server's first message.
/// rustls would say `access_denied`.
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

async fn handshake(tls: &ServerTls, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    let mut first = [0];
    // TLS begins with the byte 22, HTTP with a letter.
    if stream.peek(&mut first).await? == 1 && first[0].is_ascii_alphabetic() {
        refuse_plain_http(stream).await?;
        return Err(io::Error::other("the plain HTTP request was sent to an HTTPS port"));
    }
    let mut start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let hello = start.client_hello();
    if tls.knows(hello.server_name()) {
        return start.into_stream(tls.config.clone()).await;
    }
    let error = match hello.server_name() {
        Some(name) => format!("there is no certificate for the server name {name:?}"),
        None => "the client sent no server name and there is no default certificate".to_owned(),
    };
    start.io.write_all(&UNRECOGNIZED_NAME).await?;
    start.io.shutdown().await?;
    Err(io::Error::other(error))
}

/// Bytes of a request that are read away after the answer to it: closing over unread ones would reset the connection
/// and lose the answer.
const UNREAD_BYTES_MAX: u64 = 64 * 1024;
const UNREAD_TIMEOUT: Duration = Duration::from_secs(1);

async fn refuse_plain_http(mut stream: TcpStream) -> io::Result<()> {
    let text = "the plain HTTP request was sent to an HTTPS port\n";
    let length = text.len();
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n{text}"
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    let mut unread = stream.take(UNREAD_BYTES_MAX);
    // How it ends does not matter any more.
    let _ = timeout(UNREAD_TIMEOUT, tokio::io::copy(&mut unread, &mut tokio::io::sink())).await;
    Ok(())
}
