//! # ca: who may hold which identity
//!
//! An [`Authority`] is a root certificate with its key; it issues a [`Leaf`] to a service: an X.509 certificate whose only
//! name is the service's SPIFFE id.
//!
//! *May touch:* keys. `now` is an argument; serial numbers and keys come from the cryptographic library's own source of
//! random numbers, because a key that is a function of a seed is no key. *Does not know:* who asks, where keys are stored.
//!
//! Invariants:
//! * Keys are not printed: `Debug` leaves them out.
//! * A leaf never outlives its root.

mod authority;
mod leaf;
#[cfg(test)]
mod tests;

pub use authority::Authority;
pub use leaf::{LEAF_TTL, Leaf};

/// A certificate cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// The library refused: a name that cannot stand in a certificate, or a key that cannot be read.
    #[error("cannot make a certificate for {name}")]
    Certificate {
        /// Whose.
        name: String,
        /// Why.
        source: rcgen::Error,
    },
    /// A root certificate that was given cannot be used.
    #[error("the root certificate cannot be used: {why}")]
    Given {
        /// What is wrong with it.
        why: String,
    },
    /// A name that would be another's identity, or none, in a SPIFFE id.
    #[error("{name:?} cannot be part of an identity: it is empty or has one of / ? # % in it")]
    Name {
        /// The name.
        name: String,
    },
    /// There are no random numbers.
    #[error("the source of random numbers fails")]
    Random,
    /// The root is not valid any more, or not yet.
    #[error("the root certificate is not valid at this time")]
    RootExpired,
}
