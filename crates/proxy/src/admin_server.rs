//! The admin server: HTTP/1.1 on the control thread, so that no scrape takes time from a worker.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::admin;
use crate::error::ProxyError;
use crate::handle::Shared;
use crate::socket;

/// Scrapers and people, not traffic.
const CONNECTIONS_MAX: usize = 64;
/// For a request head, and between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// Pause after an accept that failed for want of file descriptors or memory.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(50);

/// Starts the server on the current thread, and says where it listens.
pub(crate) fn start(address: SocketAddr, shared: Arc<Shared>) -> Result<SocketAddr, ProxyError> {
    let failed = |source| {
        let source = runtime::naming_port_owner(address.port(), source);
        ProxyError::Admin { address, source }
    };
    let mut group = socket::bind_group(address, 1).map_err(failed)?;
    let listener = group.pop().expect("a group of one has one socket");
    let local = listener.local_addr().map_err(failed)?;
    let listener = TcpListener::from_std(listener).map_err(failed)?;
    tokio::task::spawn_local(accept(listener, shared));
    Ok(local)
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = connections.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let shared = shared.clone();
                tokio::task::spawn_local(async move {
                    serve(stream, &shared).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the admin server cannot accept");
                sleep(PAUSE_AFTER_ERROR).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, shared: &Shared) {
    let answer = service_fn(async |request: Request<Incoming>| {
        let uri = request.uri();
        let response: Response<Bytes> = shared.with_admin_view(|view| {
            admin::respond(request.method(), uri.path(), uri.query(), view)
        });
        Ok::<_, Infallible>(response.map(Full::new))
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), answer)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "admin connection ended");
    }
}
