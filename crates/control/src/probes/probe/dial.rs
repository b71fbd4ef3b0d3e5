use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};

/// A connection, with or without TLS.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Why a target could not be reached. The texts are Go's, as users of Consul know them.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    #[error("dial {network}: address {address}: missing port in address")]
    NoPort { network: &'static str, address: String },
    #[error("dial {network}: lookup {host}: {reason}")]
    Lookup { network: &'static str, host: String, reason: String },
    #[error("dial tcp {address}: connect: {reason}")]
    Connect { address: String, reason: String },
    #[error("tls: {0:?} is not a valid server name")]
    ServerName(String),
    #[error("tls: {0}")]
    Handshake(String),
    #[error("dial tcp {0}: i/o timeout")]
    Timeout(String),
}

/// Host (IPv6 without brackets) and port of `address`.
pub(super) fn split_host_port<'a>(
    network: &'static str,
    address: &'a str,
) -> Result<(&'a str, u16), DialError> {
    let no_port = || DialError::NoPort { network, address: address.to_owned() };
    let (host, port) = address.rsplit_once(':').ok_or_else(no_port)?;
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = match bracketed {
        Some(host) => host,
        None if host.contains(':') => return Err(no_port()),
        // As in Go, no host means this machine.
        None if host.is_empty() => "localhost",
        None => host,
    };
    Ok((host, port.parse().map_err(|_| no_port())?))
}

/// The addresses of a target; never empty.
pub(super) async fn resolve(
    network: &'static str,
    host: &str,
    port: u16,
) -> Result<Vec<SocketAddr>, DialError> {
    let failed = |reason| DialError::Lookup { network, host: host.to_owned(), reason };
    let found: Vec<SocketAddr> =
        lookup_host((host, port)).await.map_err(|error| failed(reason(&error)))?.collect();
    if found.is_empty() { Err(failed("no such host".into())) } else { Ok(found) }
}

/// Connects to the first address that answers. The caller holds the deadline.
pub(super) async fn connect(host: &str, port: u16) -> Result<TcpStream, DialError> {
    let addresses = resolve("tcp", host, port).await?;
    let mut first_error = None;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => {
                first_error.get_or_insert(DialError::Connect {
                    address: address.to_string(),
                    reason: reason(&error),
                });
            }
        }
    }
    Err(first_error.expect("there is at least one address"))
}

/// What the system says, in its usual words and without its number: `connection refused`.
pub(super) fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".into(),
        io::ErrorKind::ConnectionReset => "connection reset by peer".into(),
        io::ErrorKind::HostUnreachable => "no route to host".into(),
        io::ErrorKind::NetworkUnreachable => "network is unreachable".into(),
        io::ErrorKind::TimedOut => "i/o timeout".into(),
        _ => {
            let text = error.to_string();
            text.split(" (os error").next().unwrap_or_default().to_owned()
        }
    }
}
