use std::io;
use std::net::SocketAddr;

/// The proxy, or a part of it, could not do as it was told.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// A listener could not be opened.
    #[error("listener {listener} cannot listen on {address}")]
    Listen {
        /// Name of the listener.
        listener: String,
        /// Where it should listen.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// Two listeners want one address; the second one in order of names does not get it.
    #[error("listener {listener} wants {address}, which listener {holder} has")]
    AddressTaken {
        /// The listener that is left out.
        listener: String,
        /// The address.
        address: SocketAddr,
        /// The listener that has it.
        holder: String,
    },
    /// A listener's certificate cannot be used.
    #[error("listener {listener} cannot show a certificate")]
    Secret {
        /// Name of the listener.
        listener: String,
        /// Why not.
        source: SecretError,
    },
    /// A cluster's TLS cannot be set up; its connections fail.
    #[error("cluster {cluster} cannot use TLS")]
    ClusterSecret {
        /// Name of the cluster.
        cluster: String,
        /// Why not.
        source: SecretError,
    },
    /// A filter chain's conditions cannot be kept; it is never chosen by them.
    #[error("listener {listener} cannot choose a filter chain: {problem}")]
    Chain {
        /// Name of the listener.
        listener: String,
        /// What is wrong.
        problem: traffic::chain::ChainProblem,
    },
    /// The admin server could not be opened.
    #[error("the admin server cannot listen on {address}")]
    Admin {
        /// Where it should listen.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The access log could not be opened.
    #[error("the access log cannot be opened")]
    AccessLog {
        /// Why not.
        source: io::Error,
    },
    /// A thread could not be started.
    #[error("cannot start thread {name}")]
    Thread {
        /// Name of the thread.
        name: String,
        /// Why not.
        source: io::Error,
    },
    /// A worker has ended: the proxy is being drained, or the worker failed.
    #[error("a worker of the proxy has ended")]
    WorkerGone,
}

/// A secret cannot be used for TLS.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// No secret of that name was sent.
    #[error("there is no secret {secret}")]
    Missing {
        /// Name of the secret.
        secret: String,
    },
    /// There is no certificate in it.
    #[error("secret {secret} holds no certificate")]
    Empty {
        /// Name of the secret.
        secret: String,
    },
    /// Clients must show a certificate, and it is not said whom they must have it from.
    #[error("client certificates are required, and no secret says whom to trust")]
    NoTrust,
    /// A certificate cannot be trusted as an authority.
    #[error("a certificate in the trust bundle of secret {secret} cannot be used")]
    Trust {
        /// Name of the secret.
        secret: String,
        /// Why not.
        source: rustls::Error,
    },
    /// A condition on names cannot be used.
    #[error("a condition on the names of a certificate cannot be used: {reason}")]
    Pattern {
        /// What is wrong with it.
        reason: String,
    },
    /// A certificate cannot be read.
    #[error("the certificate in secret {secret} cannot be read")]
    Certificate {
        /// Name of the secret.
        secret: String,
        /// Why not.
        source: rustls_pki_types::pem::Error,
    },
    /// The private key cannot be read.
    #[error("the private key in secret {secret} cannot be read")]
    PrivateKey {
        /// Name of the secret.
        secret: String,
        /// Why not.
        source: rustls_pki_types::pem::Error,
    },
    /// Certificate and key do not belong together, or are of a kind that is not supported.
    #[error("certificate and key in secret {secret} cannot be used together")]
    Pair {
        /// Name of the secret.
        secret: String,
        /// Why not.
        source: rustls::Error,
    },
}
