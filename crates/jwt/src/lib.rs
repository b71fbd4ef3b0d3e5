//! # jwt: whether a web token was signed by who may sign it
//!
//! A [`Key`] is read from PEM; [`verify`] checks the signature of a token (RFC 7515, compact form) and gives its claims.
//!
//! *May touch:* nothing. *Does not know:* what claims mean, when a token ends, where keys come from.
//!
//! Invariants:
//! * No claim is seen of a token whose signature does not hold.
//! * The algorithm is one of those that the caller allows; `none` and those of shared secrets are not among them.

mod algorithm;
mod key;
#[cfg(test)]
mod tests;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

pub use algorithm::Algorithm;
pub use key::{Key, KeyError};

/// Longest token that is read.
const TOKEN_BYTES_MAX: usize = 64 * 1024;

/// Why a token is not believed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum VerifyError {
    /// It is not three parts in base64, of which two are JSON objects.
    #[error("the token is no JSON web token: {0}")]
    Malformed(&'static str),
    /// Signed in a way that is not allowed, or not known.
    #[error("the token is signed with algorithm {0:?}, which is none of {1}")]
    Algorithm(String, String),
    /// No key of ours has signed it.
    #[error("no known key has signed the token")]
    Signature,
}

/// The claims of a token that one of `keys` has signed, by one of the `allowed` algorithms.
///
/// # Errors
/// When it is no token, or nobody who may has signed it.
pub fn verify(token: &str, keys: &[Key], allowed: &[Algorithm]) -> Result<Value, VerifyError> {
    let token = token.trim();
    if token.len() > TOKEN_BYTES_MAX {
        return Err(VerifyError::Malformed("it is longer than 64 KiB"));
    }
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, signature] = parts[..] else {
        return Err(VerifyError::Malformed("it has not three parts"));
    };
    let name = match &object(header)?["alg"] {
        Value::String(name) => name.clone(),
        _ => return Err(VerifyError::Malformed("its header names no algorithm")),
    };
    let Some(algorithm) = allowed.iter().find(|it| it.name() == name) else {
        let names: Vec<&str> = allowed.iter().map(|it| it.name()).collect();
        return Err(VerifyError::Algorithm(name, names.join(", ")));
    };
    let signature = bytes(signature)?;
    let signed = &token.as_bytes()[..header.len() + 1 + claims.len()];
    if !keys.iter().any(|key| key.has_signed(*algorithm, signed, &signature)) {
        return Err(VerifyError::Signature);
    }
    object(claims)
}

fn bytes(part: &str) -> Result<Vec<u8>, VerifyError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| VerifyError::Malformed("a part is not base64url"))
}

fn object(part: &str) -> Result<Value, VerifyError> {
    match serde_json::from_slice(&bytes(part)?) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) | Err(_) => Err(VerifyError::Malformed("a part is not a JSON object")),
    }
}
