//! Listening sockets that the workers of this process share, and nobody else.
//!
//! The first socket of a group is bound *without* `SO_REUSEPORT`: the kernel then refuses an address that any other
//! socket holds, also one that would share it. Only then is the option set on it, which lets the others of the group
//! join. There is no moment at which the address is free in between.

use std::io;
use std::net::{SocketAddr, TcpListener};

use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

/// Connections that wait to be accepted, per worker. The kernel caps it at `net.core.somaxconn`, 4096 by default.
const BACKLOG: i32 = 4096;

/// How long a peer may be silent before the kernel asks whether it is still there, and how often it asks then.
/// Tunnels have no other time limit.
const KEEPALIVE_TIME: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// What the kernel does to find peers that are gone without a word.
pub(crate) fn keepalive() -> TcpKeepalive {
    TcpKeepalive::new().with_time(KEEPALIVE_TIME).with_interval(KEEPALIVE_INTERVAL)
}

/// Binds `count` listening sockets to one address. With port 0 the system chooses one port for all of them.
pub(crate) fn bind_group(address: SocketAddr, count: usize) -> io::Result<Vec<TcpListener>> {
    let first = open(address)?;
    first.bind(&address.into())?;
    first.set_reuse_port(true)?;
    first.listen(BACKLOG)?;
    let first = TcpListener::from(first);
    let bound = first.local_addr()?;
    let mut sockets = Vec::with_capacity(count);
    sockets.push(first);
    while sockets.len() < count {
        let next = open(bound)?;
        next.set_reuse_port(true)?;
        next.bind(&bound.into())?;
        next.listen(BACKLOG)?;
        sockets.push(next.into());
    }
    Ok(sockets)
}

fn open(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of an earlier process may still be in TIME_WAIT; they do not own the address.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // `[::]` and `0.0.0.0` are two listeners, so that one does not take the other's port.
        socket.set_only_v6(true)?;
    }
    // Linux hands these down to accepted connections, which saves the calls for each.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&keepalive())?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_shares_one_port_that_no_second_group_can_join() {
        let group = bind_group("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        let address = group[0].local_addr().unwrap();
        assert!(group.iter().all(|it| it.local_addr().unwrap() == address));
        let second = bind_group(address, 2).map(|_| ());
        assert_eq!(second.unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(group);
        bind_group(address, 2).unwrap();
    }

    #[test]
    fn a_foreign_socket_that_allows_sharing_is_still_a_conflict() {
        let foreign = open("127.0.0.1:0".parse().unwrap()).unwrap();
        foreign.set_reuse_port(true).unwrap();
        foreign.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        foreign.listen(1).unwrap();
        let address = foreign.local_addr().unwrap().as_socket().unwrap();
        let ours = bind_group(address, 2).map(|_| ());
        assert_eq!(ours.unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
