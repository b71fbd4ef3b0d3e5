//! Names of endpoints: how they are looked up, and what becomes of the answers.
//!
//! The system resolves (`getaddrinfo`, so `/etc/hosts`, search domains and both address families work as everywhere
//! else). It tells no time to live: a name of a cluster with [`proxy_config::Resolution::Strict`] is looked up again at
//! the cluster's own interval ([`names`]), any other when a connection is opened ([`cached`]).

mod cached;
mod names;

use std::fmt;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

pub(crate) use cached::{addresses, forget};
pub(crate) use names::Names;

/// A look-up under way.
pub type LookupFuture = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Finds the addresses of a host name.
#[derive(Clone)]
pub struct Lookup(Arc<dyn Fn(String) -> LookupFuture + Send + Sync>);

impl Lookup {
    /// Looks names up with `find`.
    pub fn new(find: impl Fn(String) -> LookupFuture + Send + Sync + 'static) -> Self {
        Self(Arc::new(find))
    }

    /// Addresses of a name, in the order of preference.
    pub(crate) async fn find(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        (self.0)(name.to_owned()).await
    }
}

impl Default for Lookup {
    /// The system's.
    fn default() -> Self {
        Self::new(|name| {
            Box::pin(async move {
                // The port is of no meaning, but the function wants one.
                let found = tokio::net::lookup_host((name, 0)).await?;
                Ok(found.map(|address| address.ip()).collect())
            })
        })
    }
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lookup")
    }
}
