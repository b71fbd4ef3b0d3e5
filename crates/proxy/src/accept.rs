//! Takes connections from a listening socket, up to the listener's limit.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::opening::{self, Listening};
use crate::snapshot::SharedListener;
use crate::stats::{ListenerCounters, Shard};
use crate::view::{ListenerSlot, ListenerView};
use crate::worker::Worker;

/// Pause after an accept that failed for want of file descriptors or memory.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(50);

/// A listening socket of a worker and the listener that its connections belong to.
pub(crate) struct Acceptor {
    worker: Rc<Worker>,
    listening: RefCell<Rc<Listening>>,
    stopping: CancellationToken,
    closed: CancellationToken,
}

impl Acceptor {
    pub(crate) fn start(
        worker: Rc<Worker>,
        shared: Arc<SharedListener>,
        counters: Shard<ListenerCounters>,
        views: Vec<ListenerView>,
        socket: TcpListener,
    ) -> Rc<Self> {
        let chains = views.into_iter().map(|view| Rc::new(ListenerSlot::new(view))).collect();
        let closing = CancellationToken::new();
        let listening = Rc::new(Listening { shared, counters, chains, closing });
        let acceptor = Rc::new(Self {
            worker,
            listening: RefCell::new(listening),
            stopping: CancellationToken::new(),
            closed: CancellationToken::new(),
        });
        let task = acceptor.clone();
        let counted = acceptor.worker.count_connection();
        tokio::task::spawn_local(async move {
            task.clone().run(socket).await;
            task.closed.cancel();
            drop(counted);
        });
        acceptor
    }

    /// Goes on under a changed listener. Connections go on as well, unless their chain is gone or speaks another
    /// protocol now: then they end as those of a removed listener do.
    pub(crate) fn replace(
        &self,
        shared: Arc<SharedListener>,
        counters: Shard<ListenerCounters>,
        views: Vec<ListenerView>,
    ) {
        let mut listening = self.listening.borrow_mut();
        let mut before = listening.chains.clone();
        let mut taken_over = |view: ListenerView| {
            let same = |slot: &Rc<ListenerSlot>| slot.view().chain().name == view.chain().name;
            let slot = before.iter().position(same).map(|at| before.remove(at));
            match slot {
                Some(slot) if slot.view().speaks_like(&view) => {
                    slot.replace(view);
                    slot
                }
                Some(slot) => {
                    slot.close();
                    Rc::new(ListenerSlot::new(view))
                }
                None => Rc::new(ListenerSlot::new(view)),
            }
        };
        let chains = views.into_iter().map(&mut taken_over).collect();
        before.iter().for_each(|slot| slot.close());
        let closing = listening.closing.clone();
        *listening = Rc::new(Listening { shared, counters, chains, closing });
    }

    /// Takes no more connections; those that are open end as soon as they can.
    pub(crate) fn stop(&self) {
        self.stopping.cancel();
        let listening = self.listening.borrow();
        listening.closing.cancel();
        listening.chains.iter().for_each(|slot| slot.close());
    }

    /// Resolves when the socket is closed.
    pub(crate) async fn stopped(&self) {
        self.closed.cancelled().await;
    }

    fn local_address(&self) -> SocketAddr {
        self.listening.borrow().shared.local_address
    }

    async fn run(self: Rc<Self>, socket: TcpListener) {
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.stopping.cancelled() => break,
                accepted = socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => self.admit(stream, peer).await,
                Err(error) => {
                    self.listening.borrow().counters.downstream_cx_accept_error.inc();
                    tracing::warn!(address = %self.local_address(), %error, "accept failed");
                    sleep(PAUSE_AFTER_ERROR).await;
                }
            }
        }
        // Who is in the queue has been accepted by the kernel and would see a reset.
        if let Err(error) = self.empty(socket) {
            tracing::warn!(address = %self.local_address(), %error, "connections are lost");
        }
    }

    /// Serves all that wait in the queue. The kernel is asked, not tokio, which would say that there are none left after
    /// 128 (its budget for one poll), or when it has not been told of the last ones yet.
    fn empty(&self, socket: TcpListener) -> io::Result<()> {
        let socket = socket.into_std()?;
        loop {
            match socket.accept() {
                Ok((stream, peer)) => {
                    stream.set_nonblocking(true)?;
                    self.serve(TcpStream::from_std(stream)?, peer, None);
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return Ok(()),
                    // The client has left the queue; the next one may still be there.
                    io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted => {}
                    _ => return Err(error),
                },
            }
        }
    }

    /// Waits while the listener has as many connections as it may have. Meanwhile others wait in the queue, so that
    /// each worker goes over the limit by at most this one, which is not served yet.
    async fn admit(&self, stream: TcpStream, peer: SocketAddr) {
        let connections = self.listening.borrow().shared.connections.clone();
        let permit = match Semaphore::try_acquire_owned(Arc::clone(&connections)) {
            Ok(permit) => Some(permit),
            Err(_) => {
                self.listening.borrow().counters.downstream_cx_overflow.inc();
                tokio::select! {
                    biased;
                    () = self.stopping.cancelled() => None,
                    permit = connections.acquire_owned() => permit.ok(),
                }
            }
        };
        self.serve(stream, peer, permit);
    }

    fn serve(&self, stream: TcpStream, peer: SocketAddr, permit: Option<OwnedSemaphorePermit>) {
        let counted = self.worker.count_connection();
        let listening = self.listening.borrow().clone();
        let worker = self.worker.clone();
        tokio::task::spawn_local(async move {
            opening::serve(worker, listening, stream, peer, permit).await;
            drop(counted);
        });
    }
}
