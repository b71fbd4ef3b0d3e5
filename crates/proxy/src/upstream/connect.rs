use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use codec::proxy_protocol::{self, Addresses};
use proxy_config::ProxyProtocolVersion;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use traffic::EndpointState;

use super::{NoConnection, UpstreamStream};
use crate::dns::{self, Lookup};
use crate::socket::keepalive;
use crate::tls::{ClientTls, Offer};

/// What is spoken to the endpoints of a cluster before its protocol.
#[derive(Clone, Debug, Default)]
pub(crate) struct UpstreamTransport {
    /// `None` for plain text.
    pub(crate) tls: Option<Arc<ClientTls>>,
    /// Connections begin with a header of this version.
    pub(crate) proxy_protocol: Option<ProxyProtocolVersion>,
    /// How names are looked up; the same for all clusters.
    pub(crate) lookup: Lookup,
}

/// Whom a connection is for, as far as connections differ by it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct ForWhom {
    /// Server name of TLS, where it is the host of the request.
    pub(crate) host: Option<Rc<str>>,
    /// What a PROXY protocol header says.
    pub(crate) addresses: Option<Addresses>,
}

impl UpstreamTransport {
    /// True when connections of one can be used for the other.
    pub(crate) fn is_same(&self, other: &UpstreamTransport) -> bool {
        let same_tls = match (&self.tls, &other.tls) {
            (None, None) => true,
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (Some(_), None) | (None, Some(_)) => false,
        };
        same_tls && self.proxy_protocol == other.proxy_protocol
    }

    /// True when any request can use any connection.
    pub(crate) fn is_for_anybody(&self) -> bool {
        self.proxy_protocol.is_none() && !self.takes_host()
    }

    /// True when the server name of TLS is the host of the request.
    pub(crate) fn takes_host(&self) -> bool {
        self.tls.as_ref().is_some_and(|it| it.is_name_from_host)
    }
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) struct ConnectFailure {
    pub(crate) why: NoConnection,
    /// What TLS says; Envoy's `upstream_transport_failure_reason`.
    pub(crate) reason: Option<String>,
}

impl From<NoConnection> for ConnectFailure {
    fn from(why: NoConnection) -> Self {
        Self { why, reason: None }
    }
}

/// Opens a connection within `limit`, resolving the host first when it is a name, up to the end of the TLS handshake.
pub(crate) async fn connect(
    endpoint: &EndpointState,
    transport: &UpstreamTransport,
    for_whom: &ForWhom,
    offer: Offer,
    limit: Duration,
) -> Result<UpstreamStream, ConnectFailure> {
    connect_to_port(endpoint, endpoint.port(), transport, for_whom, offer, limit).await
}

/// The same to another port of the endpoint.
pub(crate) async fn connect_to_port(
    endpoint: &EndpointState,
    port: u16,
    transport: &UpstreamTransport,
    for_whom: &ForWhom,
    offer: Offer,
    limit: Duration,
) -> Result<UpstreamStream, ConnectFailure> {
    let deadline = Instant::now() + limit;
    let resolved: Vec<SocketAddr>;
    let addresses = match endpoint.socket_address() {
        Some(address) => &[SocketAddr::new(address.ip(), port)],
        None => {
            resolved = resolve(endpoint, port, &transport.lookup, deadline).await?;
            resolved.as_slice()
        }
    };
    let connected = async {
        let mut stream = TcpStream::connect(addresses).await?;
        stream.set_nodelay(true)?;
        socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive())?;
        if let Some(version) = transport.proxy_protocol {
            introduce(&mut stream, version, for_whom).await?;
        }
        io::Result::Ok(stream)
    };
    let stream = match timeout_at(deadline, connected).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(endpoint = endpoint.id(), %error, "cannot connect");
            dns::forget(endpoint.host());
            let why = if is_local(&error) { NoConnection::Local } else { NoConnection::Failed };
            return Err(why.into());
        }
        Err(_) => {
            dns::forget(endpoint.host());
            return Err(NoConnection::TimedOut.into());
        }
    };
    let Some(tls) = &transport.tls else { return Ok(UpstreamStream::Tcp(stream)) };
    match timeout_at(deadline, tls.handshake(stream, offer, for_whom.host.as_deref())).await {
        Ok(Ok(stream)) => Ok(UpstreamStream::Tls(Box::new(stream))),
        Ok(Err(reason)) => {
            tracing::debug!(endpoint = endpoint.id(), reason, "the TLS handshake failed");
            Err(ConnectFailure { why: NoConnection::Failed, reason: Some(reason) })
        }
        Err(_) => Err(NoConnection::TimedOut.into()),
    }
}

/// Writes the PROXY protocol header: whom the connection is for, or that it is for this proxy itself.
async fn introduce(
    stream: &mut TcpStream,
    version: ProxyProtocolVersion,
    for_whom: &ForWhom,
) -> io::Result<()> {
    let version = match version {
        ProxyProtocolVersion::V1 => proxy_protocol::Version::V1,
        ProxyProtocolVersion::V2 => proxy_protocol::Version::V2,
    };
    let mut header = Vec::new();
    proxy_protocol::write(version, for_whom.addresses.as_ref(), &mut header);
    stream.write_all(&header).await
}

/// The addresses of an endpoint that has a name. That there are none is the name service's failure, not the endpoint's.
async fn resolve(
    endpoint: &EndpointState,
    port: u16,
    lookup: &Lookup,
    deadline: Instant,
) -> Result<Vec<SocketAddr>, NoConnection> {
    let error = match timeout_at(deadline, dns::addresses(lookup, endpoint.host())).await {
        Ok(Ok(found)) => {
            return Ok(found.into_iter().map(|it| SocketAddr::new(it, port)).collect());
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
