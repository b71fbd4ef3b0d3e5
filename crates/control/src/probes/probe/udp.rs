use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use model::CheckDefinition;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::dial;
use super::{ProbeResult, TIMEOUT_DEFAULT, timeout_of};

/// Sends an empty datagram. A reply passes, and so does silence: only "nobody listens there" (ICMP)
/// and other errors fail.
pub(super) async fn probe(definition: &CheckDefinition) -> ProbeResult {
    let target = &definition.udp;
    let limit = timeout_of(definition, TIMEOUT_DEFAULT);
    match timeout(limit, exchange(target)).await {
        Ok(Err(reason)) => ProbeResult::critical(reason),
        Ok(Ok(())) | Err(_) => ProbeResult::passing(format!("UDP connect {target}: Success")),
    }
}

async fn exchange(target: &str) -> Result<(), String> {
    let (host, port) = dial::split_host_port("udp", target).map_err(|error| error.to_string())?;
    let addresses = dial::resolve("udp", host, port).await.map_err(|error| error.to_string())?;
    let address = addresses[0];
    let failed = |act: &str, error: io::Error| format!("{act} {address}: {}", dial::reason(&error));
    let local: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(local).await.map_err(|error| failed("dial udp", error))?;
    socket.connect(address).await.map_err(|error| failed("dial udp", error))?;
    socket.send(&[]).await.map_err(|error| failed("write udp", error))?;
    socket.recv(&mut [0; 1]).await.map_err(|error| failed("read udp", error))?;
    Ok(())
}
