//! A configuration on its way to a proxy that runs elsewhere: JSON, with the private keys beside it.
//!
//! An agent and a proxy may be of different versions. What a proxy does not know may be a condition of a route or a limit, and
//! leaving it out would let through what it holds back; so a delivery is taken as it is meant, or refused as a whole:
//!
//! * A field that the proxy does not know is left out when its value is empty (`null`, `false`, `0`, `""`, `[]`, `{}`): a field that
//!   is added to the contract must mean the same as before when it is empty. With any other value the delivery is refused, and the
//!   error names the fields.
//! * A variant that the proxy does not know, and a field that it needs and does not get, are errors.
//! * What cannot be told so (a known field that means something else) needs another [`FORM`].

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::ProxyConfig;

#[cfg(test)]
mod tests;

/// The form of deliveries that this version writes and reads.
pub const FORM: u32 = 1;
/// Unknown fields that an error names.
const NAMED_MAX: usize = 5;

/// What was delivered.
#[derive(Debug)]
pub struct Received {
    /// The life of the agent that sent it; revisions of another one cannot be compared with it.
    pub agent: String,
    /// The configuration, with its private keys.
    pub config: ProxyConfig,
}

/// A delivery cannot be taken; what the proxy had before holds.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// It is not one.
    #[error("the agent's answer is not a configuration")]
    Envelope(#[source] serde_json::Error),
    /// It is of another form.
    #[error(
        "the agent sends configurations of form {0}, and this proxy reads form {FORM}; run both in one version"
    )]
    Form(u32),
    /// Something in it cannot be read.
    #[error(
        "this proxy cannot read the agent's configuration; if the agent is newer, upgrade the proxy"
    )]
    Config(#[source] serde_json::Error),
    /// It says what this proxy does not know.
    #[error("the agent's configuration says what this proxy does not know: {}; upgrade the proxy", .0.join(", "))]
    Unknown(Vec<String>),
}

#[derive(Serialize)]
struct Outgoing<'a> {
    form: u32,
    agent: &'a str,
    config: &'a ProxyConfig,
    private_keys: BTreeMap<&'a str, &'a str>,
}

#[derive(Deserialize)]
struct Incoming<'a> {
    agent: String,
    #[serde(borrow)]
    config: &'a RawValue,
    #[serde(default)]
    private_keys: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Form {
    form: u32,
}

/// Writes a configuration with its private keys for a proxy. `agent` is this life of the agent.
#[must_use]
pub fn deliver(config: &ProxyConfig, agent: &str) -> Vec<u8> {
    let key = |it: &'_ crate::Secret| !it.private_key.0.is_empty();
    let keys = config.secrets.iter().filter(|it| key(it.1));
    let private_keys = keys.map(|(name, it)| (name.as_str(), it.private_key.0.as_str())).collect();
    write(config, agent, private_keys)
}

/// As [`deliver`], without the private keys.
#[must_use]
pub fn deliver_without_keys(config: &ProxyConfig, agent: &str) -> Vec<u8> {
    write(config, agent, BTreeMap::new())
}

fn write(config: &ProxyConfig, agent: &str, private_keys: BTreeMap<&str, &str>) -> Vec<u8> {
    let outgoing = Outgoing { form: FORM, agent, config, private_keys };
    serde_json::to_vec(&outgoing).expect("resources have string keys only")
}

/// Reads what [`deliver`] wrote.
///
/// # Errors
/// When it cannot be taken as it is meant.
pub fn receive(bytes: &[u8]) -> Result<Received, DeliveryError> {
    let Form { form } = serde_json::from_slice(bytes).map_err(DeliveryError::Envelope)?;
    if form != FORM {
        return Err(DeliveryError::Form(form));
    }
    let Incoming { agent, config: raw, mut private_keys } =
        serde_json::from_slice(bytes).map_err(DeliveryError::Envelope)?;
    let mut config: ProxyConfig = serde_json::from_str(raw.get()).map_err(DeliveryError::Config)?;
    // An agent of the same version writes the same text, so nothing else has to be looked at then.
    let again = serde_json::to_string(&config).expect("resources have string keys only");
    if again != raw.get() {
        let unknown = unknown_fields(raw.get(), &again)?;
        if !unknown.is_empty() {
            return Err(DeliveryError::Unknown(unknown));
        }
    }
    for (name, secret) in &mut config.secrets {
        if let Some(key) = private_keys.remove(name) {
            Arc::make_mut(secret).private_key.0 = key;
        }
    }
    Ok(Received { agent, config })
}

/// Paths of fields in `theirs` that are not in `ours` and say something.
fn unknown_fields(theirs: &str, ours: &str) -> Result<Vec<String>, DeliveryError> {
    let value = |text: &str| serde_json::from_str(text).map_err(DeliveryError::Config);
    let (theirs, ours): (Value, Value) = (value(theirs)?, value(ours)?);
    let mut found = Vec::new();
    compare(&theirs, &ours, "", &mut found);
    Ok(found)
}

fn compare(theirs: &Value, ours: &Value, path: &str, found: &mut Vec<String>) {
    if found.len() >= NAMED_MAX {
        return;
    }
    match (theirs, ours) {
        (Value::Object(theirs), Value::Object(ours)) => {
            for (name, value) in theirs {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                match ours.get(name) {
                    Some(known) => compare(value, known, &path, found),
                    None if is_empty(value) => {}
                    None => found.push(path),
                }
            }
        }
        (Value::Array(theirs), Value::Array(ours)) => {
            for (idx, (value, known)) in theirs.iter().zip(ours).enumerate() {
                compare(value, known, &format!("{path}[{idx}]"), found);
            }
        }
        _ => {}
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(it) => !it,
        Value::Number(it) => it.as_f64() == Some(0.0),
        Value::String(it) => it.is_empty(),
        Value::Array(it) => it.is_empty(),
        Value::Object(it) => it.is_empty(),
    }
}
