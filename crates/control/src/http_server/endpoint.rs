//! Where the HTTP API is served: TCP, TCP with TLS, a socket in the file system.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_rustls::TlsAcceptor;

use crate::listen::{ListenError, listen};

/// A place where the HTTP API is served.
#[derive(Clone, Debug)]
pub enum HttpEndpoint {
    /// An address; port 0 lets the system choose.
    Tcp(SocketAddr),
    /// An address, with TLS.
    Tls(SocketAddr, Arc<rustls::ServerConfig>),
    /// A socket in the file system. What lies there and is a socket that nobody listens on is replaced.
    Unix(UnixEndpoint),
}

/// A socket in the file system.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct UnixEndpoint {
    /// Its path.
    pub path: PathBuf,
    /// Its permissions; `None` for what the process gives to files.
    pub mode: Option<u32>,
    /// Its owner's number.
    pub user: Option<u32>,
    /// Its group's number.
    pub group: Option<u32>,
}

/// A bound socket.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, #[allow(dead_code, reason = "it removes the file in the end")] SocketFile),
}

/// The file of a socket, removed in the end.
#[derive(Debug)]
pub(super) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody else may have removed it; there is nothing to be done about a failure.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Listener {
    pub(super) fn tcp(address: SocketAddr) -> Result<Self, ListenError> {
        listen("HTTP API", address).map(Listener::Tcp)
    }

    pub(super) fn unix(endpoint: &UnixEndpoint) -> Result<Self, ListenError> {
        let path = &endpoint.path;
        let failed = |source| ListenError::Socket { path: path.clone(), source };
        remove_stale(path).map_err(failed)?;
        let listener = UnixListener::bind(path).map_err(failed)?;
        let file = SocketFile(path.clone());
        if endpoint.user.is_some() || endpoint.group.is_some() {
            chown(path, endpoint.user, endpoint.group).map_err(failed)?;
        }
        if let Some(mode) = endpoint.mode {
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(path, permissions).map_err(failed)?;
        }
        Ok(Listener::Unix(listener, file))
    }

    pub(super) fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Listener::Tcp(listener) => listener.local_addr().ok(),
            Listener::Unix(..) => None,
        }
    }

    /// The next connection, and the address that it comes from.
    pub(super) async fn accept(&self) -> io::Result<(Connection, Option<IpAddr>)> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, from) = listener.accept().await?;
                Ok((Connection::Tcp(stream), Some(from.ip().to_canonical())))
            }
            Listener::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                Ok((Connection::Unix(stream), None))
            }
        }
    }
}

/// Removes the socket of an agent that is no more. One that somebody listens on, and any other file, is left.
fn remove_stale(path: &Path) -> io::Result<()> {
    let Ok(found) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !found.file_type().is_socket() {
        return Err(io::Error::other(
            "there is a file that is no socket; remove it or name another",
        ));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path)
        }
        Err(error) => Err(error),
        Ok(_) => Err(io::Error::other("another process listens on it")),
    }
}

/// A connection.
#[derive(Debug)]
pub(super) enum Connection {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<tokio_rustls::server::TlsStream<TcpStream>>),
}

impl Connection {
    /// The client has shown a certificate: the endpoint takes none that it does not verify.
    pub(super) fn is_verified(&self) -> bool {
        match self {
            Connection::Tls(stream) => stream.get_ref().1.peer_certificates().is_some(),
            Connection::Tcp(_) | Connection::Unix(_) => false,
        }
    }

    /// Shakes hands where the endpoint speaks TLS.
    pub(super) async fn secured(self, tls: Option<&TlsAcceptor>) -> io::Result<Self> {
        match (self, tls) {
            (Connection::Tcp(stream), Some(tls)) => {
                Ok(Connection::Tls(Box::new(tls.accept(stream).await?)))
            }
            (stream, _) => Ok(stream),
        }
    }
}

/// Calls a method of whichever stream it is.
macro_rules! on_each {
    ($stream:expr, $it:ident => $call:expr) => {
        match $stream {
            Connection::Tcp($it) => $call,
            Connection::Unix($it) => $call,
            Connection::Tls($it) => $call,
        }
    };
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        on_each!(self.get_mut(), it => Pin::new(it).poll_read(context, buffer))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        on_each!(self.get_mut(), it => Pin::new(it).poll_write(context, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_each!(self.get_mut(), it => Pin::new(it).poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_each!(self.get_mut(), it => Pin::new(it).poll_shutdown(context))
    }
}
