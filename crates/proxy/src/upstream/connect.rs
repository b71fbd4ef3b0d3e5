use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use traffic::EndpointState;

use super::NoConnection;
use crate::socket::keepalive;

/// Opens a TCP connection, resolving the host first when it is a name.
pub(crate) async fn connect(
    endpoint: &EndpointState,
    limit: Duration,
) -> Result<TcpStream, NoConnection> {
    let connected = async {
        let stream = match endpoint.socket_address() {
            Some(address) => TcpStream::connect(address).await?,
            None => TcpStream::connect((endpoint.host(), endpoint.port())).await?,
        };
        stream.set_nodelay(true)?;
        socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive())?;
        io::Result::Ok(stream)
    };
    match tokio::time::timeout(limit, connected).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => {
            tracing::debug!(endpoint = endpoint.id(), %error, "cannot connect");
            Err(NoConnection::Failed)
        }
        Err(_) => Err(NoConnection::TimedOut),
    }
}

/// Runs hyper's futures on the worker's thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalExecutor;

impl<F> hyper::rt::Executor<F> for LocalExecutor
where
    F: Future + 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}
