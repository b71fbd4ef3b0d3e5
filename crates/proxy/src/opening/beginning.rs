use std::io;
use std::net::SocketAddr;

use bytes::{Buf, BytesMut};
use codec::client_hello::{self, ClientHello, ClientHelloReader};
use codec::proxy_protocol;
use proxy_config::{ProxyProtocolIn, TransportMatch};
use socket2::SockRef;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use traffic::chain::Opening;

use super::{ClientFacts, Opened};
use crate::snapshot::SharedListener;
use crate::stats::ListenerCounters;
use crate::stream::Transport;

/// One read usually holds all that comes before a connection's own protocol, and its first message with it.
const READ_BYTES: usize = 4096;

/// A connection whose chain is not known yet.
pub(super) struct Beginning {
    pub(super) stream: TcpStream,
    /// What was read and not used.
    pub(super) read: BytesMut,
    pub(super) facts: ClientFacts,
}

impl Beginning {
    pub(super) fn new(
        stream: TcpStream,
        peer: SocketAddr,
        listener: &SharedListener,
    ) -> io::Result<Self> {
        let local = if listener.local_address.ip().is_unspecified() {
            stream.local_addr()?
        } else {
            listener.local_address
        };
        let facts =
            ClientFacts { remote: peer, direct_remote: peer, local, server_name: None, tls: None };
        Ok(Self { stream, read: BytesMut::new(), facts })
    }

    /// As a connection without TLS.
    pub(super) fn opened(self) -> Opened {
        let transport = Transport::Tcp(self.stream);
        Opened { transport, read_ahead: self.read.freeze(), facts: self.facts }
    }

    /// Reads more; `false` when the client has ended.
    async fn read_more(&mut self) -> io::Result<bool> {
        self.read.reserve(READ_BYTES);
        Ok(self.stream.read_buf(&mut self.read).await? > 0)
    }

    /// Reads the PROXY protocol header; gives whether there was one.
    async fn read_header(&mut self, asked: ProxyProtocolIn) -> io::Result<bool> {
        loop {
            match proxy_protocol::read(&self.read).map_err(io::Error::other)? {
                proxy_protocol::Start::Header { header, length } => {
                    self.read.advance(length);
                    if let Some(told) = header.addresses {
                        self.facts.remote = told.source;
                        self.facts.local = told.destination;
                    }
                    return Ok(true);
                }
                proxy_protocol::Start::NoHeader if asked.is_optional => return Ok(false),
                proxy_protocol::Start::NoHeader => {
                    return Err(io::Error::other("there is no PROXY protocol header"));
                }
                proxy_protocol::Start::Incomplete => {}
            }
            if !self.read_more().await? {
                // An optional header that does not come to its end is the client's own word.
                let is_own = asked.is_optional && !self.read.is_empty();
                return if is_own { Ok(false) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        }
    }

    /// Reads the first message of TLS; `None` when the client speaks something else.
    async fn read_hello(&mut self) -> io::Result<Option<ClientHello>> {
        let mut reader = ClientHelloReader::default();
        loop {
            match reader.advance(&self.read) {
                client_hello::Start::Tls(hello) => return Ok(Some(hello)),
                client_hello::Start::NotTls => return Ok(None),
                client_hello::Start::Incomplete => {}
            }
            if !self.read_more().await? {
                let is_nothing = self.read.is_empty();
                return if is_nothing {
                    Err(io::ErrorKind::UnexpectedEof.into())
                } else {
                    Ok(None)
                };
            }
        }
    }

    /// The port that the connection was made to, before any redirection of the kernel's.
    fn destination_port(&self, was_told: bool) -> u16 {
        if was_told {
            return self.facts.local.port();
        }
        let socket = SockRef::from(&self.stream);
        let original = match self.facts.direct_remote {
            SocketAddr::V4(_) => socket.original_dst_v4(),
            SocketAddr::V6(_) => socket.original_dst_v6(),
        };
        // Without a redirection the kernel says that there is none.
        let original = original.ok().and_then(|it| it.as_socket());
        original.unwrap_or(self.facts.local).port()
    }
}

/// Reads as much as the listener's chains ask for, and chooses one.
pub(super) async fn chosen_chain(
    beginning: &mut Beginning,
    listener: &SharedListener,
    counters: &ListenerCounters,
) -> io::Result<Option<usize>> {
    let mut was_told = false;
    if let Some(asked) = listener.config.proxy_protocol {
        was_told = beginning
            .read_header(asked)
            .await
            .inspect_err(|_| counters.downstream_cx_proxy_proto_error.inc())?;
    }
    let matcher = &listener.matcher;
    let destination_port = if matcher.needs_destination_port() {
        beginning.destination_port(was_told)
    } else {
        beginning.facts.local.port()
    };
    let hello = if matcher.needs_first_bytes(destination_port) {
        beginning.read_hello().await?
    } else {
        None
    };
    let transport = if hello.is_some() { TransportMatch::Tls } else { TransportMatch::Plain };
    let hello = hello.unwrap_or_default();
    let found = matcher.find(&Opening {
        destination_port,
        server_name: hello.server_name.as_deref(),
        transport,
        application_protocols: &hello.protocols,
        source: beginning.facts.remote.ip(),
    });
    beginning.facts.server_name = hello.server_name.map(Into::into);
    Ok(found.or(listener.default_chain))
}
