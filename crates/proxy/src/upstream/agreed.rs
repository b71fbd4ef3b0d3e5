//! Connections whose version of HTTP is agreed on through ALPN when they are opened.

use std::rc::Rc;

use proxy_config::Cluster;

use super::{EndpointPool, Lease, NoConnection, OpenConnection, UpstreamVersion, http1, http2};
use crate::tls::Offer;

/// One connection finds out what the endpoint speaks; the requests that wait meanwhile take what it has agreed on.
struct Agreeing<'a>(&'a EndpointPool);

impl<'a> Agreeing<'a> {
    fn new(pool: &'a EndpointPool) -> Self {
        pool.agreeing.set(true);
        Self(pool)
    }
}

impl Drop for Agreeing<'_> {
    fn drop(&mut self) {
        self.0.agreeing.set(false);
        self.0.wake_all();
    }
}

impl Lease {
    /// A connection to the endpoint, idle or new, that speaks what the endpoint prefers.
    pub(crate) async fn acquire_agreed(
        pool: &Rc<EndpointPool>,
        cluster: &Cluster,
    ) -> Result<Lease, NoConnection> {
        loop {
            if let Some(version) = pool.agreed.get() {
                let acquired = Lease::acquire(pool, cluster, version).await;
                if let Err(NoConnection::Failed) = &acquired {
                    // It may speak something else by now.
                    pool.agreed.set(None);
                }
                return acquired;
            }
            if pool.agreeing.get() {
                pool.wait(cluster.connect_timeout, NoConnection::TimedOut).await?;
                continue;
            }
            let agreeing = Agreeing::new(pool);
            let open = OpenConnection::new(pool);
            let stream = open.connect(cluster, Offer::Either).await?;
            let version = stream.agreed().unwrap_or(UpstreamVersion::Http1);
            let lease = match version {
                UpstreamVersion::Http1 => Some(http1::over(open, stream)),
                UpstreamVersion::Http2 => {
                    http2::over(Rc::new(open), stream, cluster);
                    None
                }
            };
            pool.agreed.set(Some(version));
            drop(agreeing);
            if let Some(lease) = lease {
                return Ok(Lease::Http1(lease));
            }
        }
    }

    /// What is spoken on it.
    pub(crate) fn version(&self) -> UpstreamVersion {
        match self {
            Lease::Http1(_) => UpstreamVersion::Http1,
            Lease::Http2(_) => UpstreamVersion::Http2,
        }
    }
}
