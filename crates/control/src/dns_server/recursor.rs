//! Asks other DNS servers about names that are not ours.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use dns::{Answer, RecursorReply, Transport};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::{read_message, write_message};

/// Port of DNS servers everywhere.
const DNS_PORT: u16 = 53;

/// Reads `ip` or `ip:port` (an IPv6 address with a port in brackets); `None` for any other text.
#[must_use]
pub fn parse_recursor(text: &str) -> Option<SocketAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let bare = text.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(text);
    bare.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, DNS_PORT))
}

/// Servers to ask, one after the other.
pub(super) struct Recursors {
    addresses: Vec<SocketAddr>,
    timeout: Duration,
}

impl Recursors {
    pub(super) fn new(addresses: Vec<SocketAddr>, timeout: Duration) -> Self {
        Self { addresses, timeout }
    }

    /// Forwards `request` as it is, by the transport that it came by. The first NOERROR or NXDOMAIN is the reply;
    /// SERVFAIL when there is none.
    pub(super) async fn ask(&self, request: &[u8], transport: Transport) -> Answer {
        for recursor in &self.addresses {
            let asked = async {
                match transport {
                    Transport::Udp => ask_by_udp(*recursor, request).await,
                    Transport::Tcp => ask_by_tcp(*recursor, request).await,
                }
            };
            match timeout(self.timeout, asked).await {
                Ok(Ok(Some(reply))) => return Answer::Reply(reply),
                Ok(Ok(None)) => tracing::debug!(%recursor, "the recursor has no answer"),
                Ok(Err(error)) => tracing::debug!(%recursor, %error, "the recursor fails"),
                Err(_) => tracing::debug!(%recursor, "the recursor does not answer in time"),
            }
        }
        dns::server_failure(request)
    }
}

/// The reply, or `None` if the recursor cannot answer. Never ends when nothing comes back.
async fn ask_by_udp(recursor: SocketAddr, request: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let any: IpAddr = match recursor {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(recursor).await?;
    socket.send(request).await?;
    let mut reply = vec![0; usize::from(u16::MAX)];
    loop {
        let length = socket.recv(&mut reply).await?;
        match dns::judge_recursor_reply(request, &reply[..length]) {
            RecursorReply::Accepted => {
                reply.truncate(length);
                return Ok(Some(reply));
            }
            RecursorReply::Failed => return Ok(None),
            RecursorReply::Unrelated => {}
        }
    }
}

/// The reply, or `None` if the recursor cannot answer.
async fn ask_by_tcp(recursor: SocketAddr, request: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let mut stream = TcpStream::connect(recursor).await?;
    write_message(&mut stream, request).await?;
    let mut reply = Vec::new();
    while read_message(&mut stream, &mut reply).await? {
        match dns::judge_recursor_reply(request, &reply) {
            RecursorReply::Accepted => return Ok(Some(reply)),
            RecursorReply::Failed => return Ok(None),
            RecursorReply::Unrelated => {}
        }
    }
    Ok(None)
}
