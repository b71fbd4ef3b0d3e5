use std::io;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use rustls::ProtocolVersion;
use rustls::server::{Accepted, Acceptor};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::StartHandshake;
use tokio_rustls::server::TlsStream;

use crate::stats::ListenerCounters;
use crate::tls::{ServerTls, TlsFacts, TlsSocket, is_other_name};

/// A first message of TLS usually fits; rustls has a bound of its own.
const READ_BYTES: usize = 4096;

/// A fatal alert `unrecognized_name` (RFC 6066, section 3), in the clear as all is before the server's first message.
/// rustls would say `access_denied`.
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// Does the server's side of the handshake; `read` was read already.
pub(super) async fn handshake(
    tls: &ServerTls,
    mut stream: TcpStream,
    mut read: BytesMut,
    speaks_http: bool,
) -> io::Result<TlsStream<TlsSocket>> {
    let mut acceptor = Acceptor::default();
    let mut is_first = true;
    let accepted = loop {
        if read.is_empty() {
            read.reserve(READ_BYTES);
            if stream.read_buf(&mut read).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        // TLS begins with the byte 22, HTTP with a letter.
        if is_first && speaks_http && read[0].is_ascii_alphabetic() {
            refuse_plain_http(stream).await?;
            return Err(io::Error::other("the plain HTTP request was sent to an HTTPS port"));
        }
        is_first = false;
        if let Some(accepted) = feed(&mut acceptor, &mut read, &mut stream).await? {
            break accepted;
        }
    };
    drop(read);
    let hello = accepted.client_hello();
    if tls.knows(hello.server_name()) {
        return finish(accepted, stream, tls, speaks_http).await;
    }
    let error = match hello.server_name() {
        Some(name) => format!("there is no certificate for the server name {name:?}"),
        None => "the client sent no server name and there is no default certificate".to_owned(),
    };
    stream.write_all(&UNRECOGNIZED_NAME).await?;
    stream.shutdown().await?;
    Err(io::Error::other(error))
}

/// The rest of the handshake. In TLS 1.3 it ends with the server's session ticket, which no client waits for: it goes out
/// with the answer to the first request, or with the end of the connection. Where no request is certain to come, it is
/// held back only when the first bytes have come already.
async fn finish(
    accepted: Accepted,
    stream: TcpStream,
    tls: &ServerTls,
    speaks_http: bool,
) -> io::Result<TlsStream<TlsSocket>> {
    let shaking = StartHandshake::from_parts(accepted, TlsSocket::gathering(stream));
    match shaking.into_stream(tls.config.clone()).into_fallible().await {
        Ok(mut stream) => {
            let (socket, connection) = stream.get_mut();
            socket.stop_gathering();
            let is_asked = speaks_http || !connection.wants_read();
            let only_ticket = connection.protocol_version() == Some(ProtocolVersion::TLSv1_3);
            if !(is_asked && only_ticket) {
                socket.flush().await?;
            }
            Ok(stream)
        }
        Err((error, mut socket)) => {
            socket.stop_gathering();
            // The client may have gone; what failed was something else.
            let _ = socket.flush().await;
            Err(error)
        }
    }
}

/// Gives rustls all that was read; what follows the first message it keeps for the connection.
async fn feed(
    acceptor: &mut Acceptor,
    read: &mut BytesMut,
    stream: &mut TcpStream,
) -> io::Result<Option<Accepted>> {
    while !read.is_empty() {
        let taken = acceptor.read_tls(&mut read.as_ref())?;
        if taken == 0 {
            // The client has closed the TLS connection and goes on all the same.
            return Err(io::ErrorKind::InvalidData.into());
        }
        read.advance(taken);
    }
    match acceptor.accept() {
        Ok(accepted) => Ok(accepted),
        Err((error, mut alert)) => {
            let mut bytes = Vec::new();
            alert.write_all(&mut bytes)?;
            stream.write_all(&bytes).await?;
            Err(io::Error::new(io::ErrorKind::InvalidData, error))
        }
    }
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

/// Counts a handshake, under Envoy's names.
pub(super) fn count(
    counters: &ListenerCounters,
    shaken: Result<Option<&TlsFacts>, &io::Error>,
    tls: &ServerTls,
) {
    let error = match shaken {
        Ok(Some(facts)) => return count_success(counters, facts, tls),
        Ok(None) => return,
        Err(error) => error,
    };
    counters.ssl_connection_error.inc();
    let error = error.get_ref().and_then(|it| it.downcast_ref::<rustls::Error>());
    match error {
        Some(rustls::Error::NoCertificatesPresented) => counters.ssl_fail_verify_no_cert.inc(),
        Some(error) if is_other_name(error) => counters.ssl_fail_verify_san.inc(),
        Some(rustls::Error::InvalidCertificate(_)) => counters.ssl_fail_verify_error.inc(),
        Some(_) | None => {}
    }
}

fn count_success(counters: &ListenerCounters, facts: &TlsFacts, tls: &ServerTls) {
    counters.ssl_handshake.inc();
    if facts.is_resumed {
        counters.ssl_session_reused.inc();
    }
    if facts.peer.is_none() && tls.asks_for_certificate {
        counters.ssl_no_certificate.inc();
    }
    if let Some(cipher) = facts.cipher {
        counters.ssl_ciphers.at(u64::from(u16::from(cipher))).inc();
    }
    match facts.version {
        "TLSv1.2" => counters.ssl_versions[0].inc(),
        "TLSv1.3" => counters.ssl_versions[1].inc(),
        _ => {}
    }
}
