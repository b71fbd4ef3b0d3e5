//! Sockets to listen on, with errors that say who is in the way.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// Connections that the kernel keeps until they are accepted.
const BACKLOG: i32 = 4096;

/// An address cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// An address of the network.
    #[error("cannot listen on {address} for the {what}")]
    Address {
        /// What wanted it, for example `HTTP API`.
        what: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said, and who has the port if it is in use.
        source: io::Error,
    },
    /// A socket in the file system.
    #[error("cannot listen on the socket {}", path.display())]
    Socket {
        /// Its path.
        path: PathBuf,
        /// What the system said, or what is in the way.
        source: io::Error,
    },
}

/// Listens on a TCP address. Must be called within a tokio runtime.
///
/// # Errors
/// When the address cannot be had.
pub fn listen(what: &'static str, address: SocketAddr) -> Result<TcpListener, ListenError> {
    open(address).map_err(|source| {
        let source = runtime::naming_port_owner(address.port(), source);
        ListenError::Address { what, address, source }
    })
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}
