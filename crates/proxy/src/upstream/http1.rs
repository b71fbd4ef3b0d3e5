use std::rc::Rc;
use std::time::Instant;

use http::{Request, Response};
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use proxy_config::Cluster;

use super::{EndpointPool, NoConnection, OpenConnection, Wire};
use crate::body::RequestBody;
use crate::incoming::Incoming;
use crate::tls::Offer;

/// Largest response head that is accepted: what hyper needs for its read buffer, and twice what Envoy accepts.
const RESPONSE_HEAD_BYTES_MAX: usize = 128 * 1024;
/// Most headers of a response; Envoy's default is 100.
const RESPONSE_HEADERS_MAX: usize = 200;

/// A connection that waits for a request.
pub(super) struct Idle {
    sender: SendRequest<RequestBody>,
    open: Rc<OpenConnection>,
    pub(super) since: Instant,
}

impl Idle {
    /// hyper reads an idle connection, so a close by the other side is seen here.
    pub(super) fn is_usable(&self) -> bool {
        self.sender.is_ready()
    }
}

pub(crate) struct Lease {
    sender: SendRequest<RequestBody>,
    open: Rc<OpenConnection>,
    pub(super) is_reused: bool,
}

pub(super) async fn acquire(
    pool: &Rc<EndpointPool>,
    cluster: &Cluster,
) -> Result<Lease, NoConnection> {
    loop {
        if let Some(lease) = reuse(pool) {
            return Ok(lease);
        }
        if pool.open.get() < cluster.connections_max {
            return open(pool, cluster).await;
        }
        pool.wait(cluster.connect_timeout, NoConnection::Overflow).await?;
    }
}

fn reuse(pool: &EndpointPool) -> Option<Lease> {
    loop {
        let idle = pool.http1_idle.borrow_mut().pop()?;
        if idle.is_usable() {
            return Some(Lease { sender: idle.sender, open: idle.open, is_reused: true });
        }
    }
}

async fn open(pool: &Rc<EndpointPool>, cluster: &Cluster) -> Result<Lease, NoConnection> {
    // Counted from here on, so that connections being set up are within the bound too.
    let open = Rc::new(OpenConnection::new(pool));
    let stream = open.connect(cluster, Offer::Http1).await?;
    over(open, stream).await
}

/// Speaks HTTP/1.1 on a connection.
pub(super) async fn over(open: Rc<OpenConnection>, stream: Wire) -> Result<Lease, NoConnection> {
    open.pool.counters.upstream_cx_http1_total.inc();
    let (sender, connection) = Builder::new()
        .max_header_size(RESPONSE_HEAD_BYTES_MAX)
        .max_headers(RESPONSE_HEADERS_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_| NoConnection::Failed)?;
    let task_open = open.clone();
    tokio::task::spawn_local(async move {
        // Its error reaches the request that was under way; without one there is nobody to tell.
        let _ = connection.with_upgrades().await;
        drop(task_open);
    });
    Ok(Lease { sender, open, is_reused: false })
}

impl Lease {
    pub(super) async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, TrySendError<Request<RequestBody>>> {
        let response = self.sender.try_send_request(request).await?;
        Ok(response.map(Incoming::from))
    }

    pub(super) fn release(mut self, now: Instant) {
        if self.sender.is_ready() {
            return self.park(now);
        }
        if self.sender.is_closed() {
            return;
        }
        // The response came before the end of the request, or the end was read in two steps.
        tokio::task::spawn_local(async move {
            if self.sender.ready().await.is_ok() {
                self.park(now);
            }
        });
    }

    /// What a tunnel keeps, so that the connection stays counted.
    pub(crate) fn into_open(self) -> Rc<OpenConnection> {
        self.open
    }

    fn park(self, now: Instant) {
        let pool = self.open.pool.clone();
        if pool.retired.get() {
            return;
        }
        pool.http1_idle.borrow_mut().push(Idle {
            sender: self.sender,
            open: self.open,
            since: now,
        });
        pool.wake_one();
    }
}
