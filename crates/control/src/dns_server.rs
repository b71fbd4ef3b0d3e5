//! The sockets of DNS: UDP and TCP on one address. What is answered is decided in the room `dns`.

mod recursor;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use acl::Authorizer;
use dns::{Answer, Transport};
use model::{Catalog, Timestamp};
use runtime::{Drain, Tasks};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

pub use dns::{DnsConfig, Domain};
use recursor::Recursors;
pub use recursor::parse_recursor;

/// Most requests by UDP that wait for a recursor: a socket and a task each. Those beyond get SERVFAIL.
const UDP_RECURSIONS_MAX: usize = 512;
/// Most TCP connections: each may hold a message of 64 KiB and its reply, 32 MiB in all. Those beyond are closed.
const TCP_CONNECTIONS_MAX: usize = 256;
/// How long a whole message may take to come, or its reply to go.
const TCP_MESSAGE_TIMEOUT: Duration = Duration::from_secs(10);
/// Buffer for pipelined requests; a larger one bypasses it.
const TCP_BUFFER_BYTES: usize = 4096;
/// How long a datagram may wait for the socket's send buffer.
const UDP_SEND_TIMEOUT: Duration = Duration::from_secs(1);
/// Pause after an error of a socket (no file descriptors, no memory), which is likely to come again at once.
const ERROR_PAUSE: Duration = Duration::from_millis(50);
/// How often a port that is free for both is looked for when the system chooses.
const PORT_ATTEMPTS: u32 = 16;

/// What may be found with a secret.
pub type WhoMay = Arc<dyn Fn(&Catalog, &str) -> Arc<Authorizer> + Send + Sync>;

/// How to answer, and whom to ask about foreign names.
#[derive(Clone, Debug)]
pub struct DnsOptions {
    /// The rules of answering. `recursion` is set by the server: true when there are recursors.
    pub config: DnsConfig,
    /// Servers that are asked about names outside of our zones, in this order. None: such names are refused.
    pub recursors: Vec<SocketAddr>,
    /// How long each of them may take.
    pub recursor_timeout: Duration,
}

impl Default for DnsOptions {
    fn default() -> Self {
        Self {
            config: DnsConfig::default(),
            recursors: Vec::new(),
            recursor_timeout: Duration::from_secs(2),
        }
    }
}

/// The DNS server cannot run.
#[derive(Debug, thiserror::Error)]
pub enum DnsServerError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address} ({protocol})")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// `UDP` or `TCP`.
        protocol: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// A DNS server with its sockets open.
#[derive(Debug)]
pub struct DnsServer {
    udp: UdpSocket,
    tcp: TcpListener,
    address: SocketAddr,
    options: DnsOptions,
}

impl DnsServer {
    /// Opens UDP and TCP on `address`; with port 0 on one port that the system chooses. Must be called within a
    /// tokio runtime.
    ///
    /// # Errors
    /// When one of the two cannot be had.
    pub fn bind(address: SocketAddr, mut options: DnsOptions) -> Result<Self, DnsServerError> {
        options.config.recursion = !options.recursors.is_empty();
        let mut attempt = 1;
        loop {
            match bind_both(address) {
                Ok((udp, tcp, address)) => return Ok(Self { udp, tcp, address, options }),
                // The system chose the port for TCP; for UDP it may be somebody else's.
                Err(DnsServerError::Listen { source, .. })
                    if address.port() == 0
                        && source.kind() == io::ErrorKind::AddrInUse
                        && attempt < PORT_ATTEMPTS =>
                {
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The address of both sockets.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until the drain begins. `catalog` gives what is true now; it is called for every request.
    /// `who` says what may be found with a secret, with an empty one by everybody.
    pub async fn run<C>(self, catalog: C, who: WhoMay, tasks: Tasks)
    where
        C: Fn() -> Arc<Catalog> + Clone + Send + Sync + 'static,
    {
        let Self { udp, tcp, address, options } = self;
        let recursors = Recursors::new(options.recursors, options.recursor_timeout);
        let door = Arc::new(Door { catalog, who, config: options.config, recursors });
        tracing::debug!(%address, "DNS is served");
        tokio::join!(serve_udp(udp, door.clone(), &tasks), serve_tcp(tcp, door, &tasks));
    }
}

fn bind_both(address: SocketAddr) -> Result<(UdpSocket, TcpListener, SocketAddr), DnsServerError> {
    let failed = |address: SocketAddr, protocol| {
        move |source| {
            let source = runtime::naming_port_owner(address.port(), source);
            DnsServerError::Listen { address, protocol, source }
        }
    };
    let tcp = open_tcp(address).map_err(failed(address, "TCP"))?;
    let address = tcp.local_addr().map_err(failed(address, "TCP"))?;
    let udp = open_udp(address).map_err(failed(address, "UDP"))?;
    Ok((udp, tcp, address))
}

fn open_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

fn open_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = std::net::UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

/// What both sockets need to answer.
struct Door<C> {
    catalog: C,
    who: WhoMay,
    config: DnsConfig,
    recursors: Recursors,
}

impl<C: Fn() -> Arc<Catalog>> Door<C> {
    fn answer(&self, request: &[u8], transport: Transport) -> Answer {
        let catalog = (self.catalog)();
        let now = Timestamp(runtime::unix_ms());
        let who = |secret: &str| (self.who)(&catalog, secret);
        dns::answer(request, &catalog, &who, &self.config, transport, &mut rand::rng(), now)
    }
}

/// Answers in the loop itself: a read of memory is cheaper than a task. Only recursion is spawned.
async fn serve_udp<C>(socket: UdpSocket, door: Arc<Door<C>>, tasks: &Tasks)
where
    C: Fn() -> Arc<Catalog> + Send + Sync + 'static,
{
    let socket = Arc::new(socket);
    let recursions = Arc::new(Semaphore::new(UDP_RECURSIONS_MAX));
    let drain = tasks.drain();
    let mut begun = pin!(drain.begun());
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        let received = tokio::select! {
            biased;
            () = &mut begun => return,
            received = socket.recv_from(&mut buffer) => received,
        };
        let (request, client) = match received {
            Ok((length, client)) => (&buffer[..length], client),
            Err(error) => {
                tracing::debug!(%error, "DNS cannot receive");
                sleep(ERROR_PAUSE).await;
                continue;
            }
        };
        match door.answer(request, Transport::Udp) {
            Answer::Reply(reply) => send(&socket, &reply, client).await,
            Answer::Drop => {}
            Answer::Recurse => match recursions.clone().try_acquire_owned() {
                Ok(permit) => {
                    let (socket, door, request) = (socket.clone(), door.clone(), request.to_vec());
                    tasks.spawn("DNS recursion", async move {
                        let reply = door.recursors.ask(&request, Transport::Udp).await;
                        if let Answer::Reply(reply) = reply {
                            send(&socket, &reply, client).await;
                        }
                        drop(permit);
                    });
                }
                Err(_) => {
                    if let Answer::Reply(reply) = dns::server_failure(request) {
                        send(&socket, &reply, client).await;
                    }
                }
            },
        }
    }
}

/// Sends a datagram. One that cannot be sent is lost, as any may be: the client asks again.
async fn send(socket: &UdpSocket, reply: &[u8], client: SocketAddr) {
    match timeout(UDP_SEND_TIMEOUT, socket.send_to(reply, client)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::debug!(%client, %error, "a DNS reply is lost"),
        Err(_) => tracing::debug!(%client, "a DNS reply is lost: the send buffer is full"),
    }
}

async fn serve_tcp<C>(listener: TcpListener, door: Arc<Door<C>>, tasks: &Tasks)
where
    C: Fn() -> Arc<Catalog> + Send + Sync + 'static,
{
    let connections = Arc::new(Semaphore::new(TCP_CONNECTIONS_MAX));
    let drain = tasks.drain();
    let mut begun = pin!(drain.begun());
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut begun => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, client) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "DNS cannot accept a connection");
                sleep(ERROR_PAUSE).await;
                continue;
            }
        };
        let Ok(permit) = connections.clone().try_acquire_owned() else {
            tracing::debug!(%client, "a DNS connection is closed: there are too many");
            continue;
        };
        let (door, drain) = (door.clone(), drain.clone());
        tasks.spawn("DNS connection", async move {
            if let Err(error) = serve_connection(stream, &door, &drain).await {
                tracing::debug!(%client, %error, "a DNS connection ended early");
            }
            drop(permit);
        });
    }
}

/// Answers the messages of a connection in their order, until the client closes it, sends what is no DNS, or is
/// slow: a deadline for each whole message holds against one byte a second too.
async fn serve_connection<C>(stream: TcpStream, door: &Door<C>, drain: &Drain) -> io::Result<()>
where
    C: Fn() -> Arc<Catalog>,
{
    stream.set_nodelay(true)?;
    let mut stream = BufReader::with_capacity(TCP_BUFFER_BYTES, stream);
    let mut request = Vec::new();
    loop {
        let received = tokio::select! {
            () = drain.begun() => return Ok(()),
            received = timeout(TCP_MESSAGE_TIMEOUT, read_message(&mut stream, &mut request)) => {
                received
            }
        };
        match received {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) | Err(_) => return Ok(()),
            Ok(Err(error)) => return Err(error),
        }
        let answer = match door.answer(&request, Transport::Tcp) {
            Answer::Recurse => door.recursors.ask(&request, Transport::Tcp).await,
            answer => answer,
        };
        let Answer::Reply(reply) = answer else { return Ok(()) };
        timeout(TCP_MESSAGE_TIMEOUT, write_message(&mut stream, &reply)).await??;
    }
}

/// Reads a message into `message`; false when the stream ended before it began.
async fn read_message(
    stream: &mut (impl AsyncReadExt + Unpin),
    message: &mut Vec<u8>,
) -> io::Result<bool> {
    let length = match stream.read_u16().await {
        Ok(length) => length,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
        Err(error) => return Err(error),
    };
    message.clear();
    message.resize(usize::from(length), 0);
    stream.read_exact(message).await?;
    Ok(true)
}

/// Writes a message after its length, in one write.
async fn write_message(
    stream: &mut (impl AsyncWriteExt + Unpin),
    message: &[u8],
) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    let mut bytes = Vec::with_capacity(2 + message.len());
    bytes.extend(length.to_be_bytes());
    bytes.extend(message);
    stream.write_all(&bytes).await
}
