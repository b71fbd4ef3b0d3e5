//! What comes before a connection's own protocol: the PROXY protocol header, the choice of a filter chain, and TLS.
//!
//! Bytes are read ahead only where something here asks for them, and what was read is handed on. Bound of what is read
//! ahead: the longest PROXY protocol header and the longest first message of TLS, 48 KiB, for as long as the listener's
//! `opening_timeout` lets a client take.

mod beginning;
mod facts;
mod handshake;

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

pub(crate) use facts::ClientFacts;

use self::beginning::{Beginning, chosen_chain};
use crate::connection::{self, LINGER};
use crate::observe::ConnectionCount;
use crate::snapshot::SharedListener;
use crate::stats::{ListenerCounters, Shard};
use crate::stream::Transport;
use crate::tcp;
use crate::tls::{ServerTls, TlsSocket};
use crate::view::{ListenerKind, ListenerSlot, ListenerView};
use crate::worker::Worker;

/// A listener as a worker has it at one time.
pub(crate) struct Listening {
    pub(crate) shared: Arc<SharedListener>,
    pub(crate) counters: Shard<ListenerCounters>,
    /// One for each of the listener's chains.
    pub(crate) chains: Vec<Rc<ListenerSlot>>,
    /// The listener is gone: who has not come to a chain yet is let go.
    pub(crate) closing: CancellationToken,
}

impl Listening {
    /// The chain of every connection, when it speaks plain text and nothing comes before.
    fn needs_nothing(&self) -> Option<Rc<ListenerSlot>> {
        let slot = &self.chains[self.shared.only_chain?];
        slot.view().tls().is_none().then(|| slot.clone())
    }
}

/// A connection's place in the listener's limit and counters.
pub(crate) type Place = (ConnectionCount, Option<OwnedSemaphorePermit>);

/// A connection that has come to its chain.
pub(crate) struct Opened {
    pub(crate) transport: Transport,
    /// Bytes of its own protocol that were read already.
    pub(crate) read_ahead: Bytes,
    pub(crate) facts: ClientFacts,
}

/// Serves a connection until it ends.
pub(crate) async fn serve(
    worker: Rc<Worker>,
    listening: Rc<Listening>,
    stream: TcpStream,
    peer: SocketAddr,
    permit: Option<OwnedSemaphorePermit>,
) {
    let place = (ConnectionCount::new(&listening.counters, runtime::monotonic()), permit);
    let shared = listening.shared.clone();
    let come = match listening.needs_nothing() {
        Some(slot) => Beginning::new(stream, peer, &shared).map(|it| Some((slot, it.opened()))),
        // Boxed: it is large, and the connection's task is as large as the largest of what it does.
        None => Box::pin(come_to_chain(&listening, stream, peer)).await,
    };
    let served = match come {
        Ok(Some((slot, opened))) => {
            // The connection looks into the slot from here on: it must not keep an old configuration alive.
            drop(listening);
            let view = slot.view();
            match &view.kind {
                ListenerKind::Http(_) => {
                    connection::serve_http(worker, &slot, view, opened, place).await
                }
                ListenerKind::Tcp(_) => {
                    Box::pin(tcp::serve(&worker, view, opened, place)).await;
                    Ok(())
                }
            }
        }
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    if let Err(error) = served {
        tracing::debug!(listener = shared.config.name, %peer, %error, "connection ended");
    }
}

/// `None` when no chain is for the connection, or the listener closes meanwhile.
async fn come_to_chain(
    listening: &Listening,
    stream: TcpStream,
    peer: SocketAddr,
) -> io::Result<Option<(Rc<ListenerSlot>, Opened)>> {
    let opened = async {
        let begun = begin(listening, stream, peer).await?;
        let Some((chain, beginning)) = begun else { return Ok(None) };
        let slot = listening.chains[chain].clone();
        let opened = open(&slot.view(), beginning).await?;
        Ok(Some((slot, opened)))
    };
    let closing = async {
        listening.closing.cancelled().await;
        sleep(LINGER).await;
    };
    tokio::select! {
        opened = opened => opened,
        () = closing => Ok(None),
    }
}

/// Reads what the choice of a chain asks for, and chooses.
async fn begin(
    listening: &Listening,
    stream: TcpStream,
    peer: SocketAddr,
) -> io::Result<Option<(usize, Beginning)>> {
    let (shared, counters) = (&listening.shared, &listening.counters);
    let mut beginning = Beginning::new(stream, peer, shared)?;
    if let Some(chain) = shared.only_chain {
        return Ok(Some((chain, beginning)));
    }
    let waiting = PreActive::new(counters.clone());
    let chosen = chosen_chain(&mut beginning, shared, counters);
    let limit = shared.config.opening_timeout;
    let chosen = if limit.is_zero() {
        chosen.await?
    } else {
        timeout(limit, chosen).await.unwrap_or_else(|elapsed| {
            counters.downstream_pre_cx_timeout.inc();
            Err(elapsed.into())
        })?
    };
    drop(waiting);
    if chosen.is_none() {
        counters.no_filter_chain_match.inc();
    }
    Ok(chosen.map(|chain| (chain, beginning)))
}

/// Does the TLS handshake where the chain asks for one.
async fn open(view: &ListenerView, beginning: Beginning) -> io::Result<Opened> {
    let Some(tls) = view.tls() else { return Ok(beginning.opened()) };
    let Beginning { stream, read, mut facts } = beginning;
    let stream = shake(view, tls, stream, read, &mut facts).await?;
    let transport = Transport::Tls(Box::new(stream));
    Ok(Opened { transport, read_ahead: Bytes::new(), facts })
}

async fn shake(
    view: &ListenerView,
    tls: &ServerTls,
    stream: TcpStream,
    read: bytes::BytesMut,
    facts: &mut ClientFacts,
) -> io::Result<tokio_rustls::server::TlsStream<TlsSocket>> {
    let speaks_http = view.http().is_some();
    let limit = match view.http() {
        Some(http) => http.head_timeout,
        None => view.shared.config.opening_timeout,
    };
    let limit = if limit.is_zero() { Duration::MAX } else { limit };
    let shaken = timeout(limit, handshake::handshake(tls, stream, read, speaks_http)).await;
    let shaken = shaken.map_err(io::Error::from).flatten();
    if let Ok(stream) = &shaken {
        facts.note_handshake(tls, stream.get_ref().1);
    }
    handshake::count(&view.counters, shaken.as_ref().map(|_| facts.tls.as_deref()), tls);
    shaken
}

/// Counts a connection whose beginning is being read.
struct PreActive(Shard<ListenerCounters>);

impl PreActive {
    fn new(counters: Shard<ListenerCounters>) -> Self {
        counters.downstream_pre_cx_active.inc();
        Self(counters)
    }
}

impl Drop for PreActive {
    fn drop(&mut self) {
        self.0.downstream_pre_cx_active.dec();
    }
}
