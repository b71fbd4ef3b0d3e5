use std::convert::Infallible;

use h2::Ping;
use model::CheckDefinition;
use tokio::time::timeout;

use super::dial::{self, DialError, Io};
use super::tls::Tls;
use super::{ProbeResult, TIMEOUT_DEFAULT, timeout_of};

/// Opens an HTTP/2 connection, with TLS unless the check says otherwise, and waits for the answer
/// to a PING.
pub(super) async fn probe(definition: &CheckDefinition, tls: &Tls) -> ProbeResult {
    let target = &definition.h2ping;
    let dialed = async {
        let (host, port) = dial::split_host_port("tcp", target)?;
        connect(host, port, definition.h2ping_use_tls, definition, tls).await
    };
    let pinged = async {
        let stream =
            dialed.await.map_err(|error| format!("Failed to dial to {target}: {error}"))?;
        ping(stream).await.map_err(|error| format!("HTTP2 ping failed: {error}"))
    };
    match timeout(timeout_of(definition, TIMEOUT_DEFAULT), pinged).await {
        Ok(Ok(())) => ProbeResult::passing("HTTP2 ping was successful"),
        Ok(Err(reason)) => ProbeResult::critical(reason),
        Err(_) => ProbeResult::critical("HTTP2 ping failed: context deadline exceeded"),
    }
}

/// A connection for HTTP/2.
pub(super) async fn connect(
    host: &str,
    port: u16,
    use_tls: bool,
    definition: &CheckDefinition,
    tls: &Tls,
) -> Result<Box<dyn Io>, DialError> {
    let stream = dial::connect(host, port).await?;
    if use_tls {
        Ok(Box::new(tls.connect(stream, host, definition, &[b"h2"]).await?))
    } else {
        Ok(Box::new(stream))
    }
}

async fn ping(stream: Box<dyn Io>) -> Result<(), h2::Error> {
    let (_requests, mut connection) = h2::client::handshake(stream).await?;
    let mut pings = connection.ping_pong().expect("it is taken once");
    tokio::select! {
        pong = pings.ping(Ping::opaque()) => pong.map(drop),
        never = drive(connection) => match never {},
    }
}

/// Moves a connection's bytes. Never ends by itself: when the connection does, whoever uses it
/// hears so.
pub(super) async fn drive<E>(connection: impl Future<Output = Result<(), E>>) -> Infallible {
    let _ = connection.await;
    std::future::pending().await
}
