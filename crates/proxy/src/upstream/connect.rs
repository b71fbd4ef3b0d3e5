use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use traffic::EndpointState;

use super::NoConnection;
use crate::socket::keepalive;

/// Opens a TCP connection, resolving the host first when it is a name.
pub(crate) async fn connect(
    endpoint: &EndpointState,
    limit: Duration,
) -> Result<TcpStream, NoConnection> {
    let deadline = Instant::now() + limit;
    let resolved: Vec<SocketAddr>;
    let addresses = match endpoint.socket_address() {
        Some(address) => &[address],
        None => {
            resolved = resolve(endpoint, deadline).await?;
            resolved.as_slice()
        }
    };
    let connected = async {
        let stream = TcpStream::connect(addresses).await?;
        stream.set_nodelay(true)?;
        socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive())?;
        io::Result::Ok(stream)
    };
    match timeout_at(deadline, connected).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => {
            tracing::debug!(endpoint = endpoint.id(), %error, "cannot connect");
            Err(if is_local(&error) { NoConnection::Local } else { NoConnection::Failed })
        }
        Err(_) => Err(NoConnection::TimedOut),
    }
}

/// The addresses of an endpoint that has a name. That there are none is the name service's failure, not the endpoint's.
async fn resolve(
    endpoint: &EndpointState,
    deadline: Instant,
) -> Result<Vec<SocketAddr>, NoConnection> {
    let looked_up = tokio::net::lookup_host((endpoint.host(), endpoint.port()));
    let error = match timeout_at(deadline, looked_up).await {
        Ok(Ok(addresses)) => {
            let addresses: Vec<SocketAddr> = addresses.collect();
            if !addresses.is_empty() {
                return Ok(addresses);
            }
            io::ErrorKind::NotFound.into()
        }
        Ok(Err(error)) => error,
        Err(elapsed) => elapsed.into(),
    };
    tracing::debug!(endpoint = endpoint.id(), %error, "cannot resolve the name");
    Err(NoConnection::Local)
}

/// True when this host lacks something that no endpoint could do anything about: descriptors, ports or memory.
fn is_local(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::EADDRNOTAVAIL | libc::ENOBUFS | libc::ENOMEM)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_host_lacks_is_not_the_endpoints_failure() {
        for code in [libc::EMFILE, libc::ENFILE, libc::EADDRNOTAVAIL, libc::ENOBUFS, libc::ENOMEM] {
            assert!(is_local(&io::Error::from_raw_os_error(code)), "{code}");
        }
        for code in [libc::ECONNREFUSED, libc::EHOSTUNREACH, libc::ENETUNREACH, libc::ECONNRESET] {
            assert!(!is_local(&io::Error::from_raw_os_error(code)), "{code}");
        }
    }
}
