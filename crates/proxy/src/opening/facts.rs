use std::net::SocketAddr;

use codec::proxy_protocol::Addresses;
use http::HeaderValue;
use rustls::ServerConnection;

use crate::tls::{ServerTls, TlsFacts};

/// What is known of a client from its connection.
#[derive(Debug)]
pub(crate) struct ClientFacts {
    /// The client: what a PROXY protocol header says, else the peer of the connection.
    pub(crate) remote: SocketAddr,
    /// The peer of the connection.
    pub(crate) direct_remote: SocketAddr,
    /// Where the client connected to: what a PROXY protocol header says, else this side of the connection.
    pub(crate) local: SocketAddr,
    /// Server name that the client asked for, in lower case.
    pub(crate) server_name: Option<Box<str>>,
    /// `None` without TLS.
    pub(crate) tls: Option<Box<TlsFacts>>,
}

impl ClientFacts {
    /// What `x-forwarded-client-cert` is set to; it is removed when `None`.
    pub(crate) fn forwarded_certificate(&self) -> Option<&HeaderValue> {
        self.tls.as_ref()?.forwarded.as_ref()
    }

    /// What a PROXY protocol header to an endpoint says.
    pub(crate) fn addresses(&self) -> Addresses {
        Addresses { source: self.remote, destination: self.local }
    }

    pub(super) fn note_handshake(&mut self, tls: &ServerTls, connection: &ServerConnection) {
        self.server_name = connection.server_name().map(|it| it.to_ascii_lowercase().into());
        self.tls = Some(Box::new(TlsFacts::new(tls, connection)));
    }
}
