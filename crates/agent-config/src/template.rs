//! Templates for addresses, as Consul's files have them: `{{ GetInterfaceIP "eth0" }}`.
//!
//! The functions are those of go-sockaddr, and what they give is what they give there, but for the places that say otherwise.
//! Of the language of Go's templates there are pipelines, parentheses, texts and numbers; nothing is assigned or repeated.

use std::net::IpAddr;

mod functions;
mod networks;
mod parse;
mod selection;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use functions::{private, public};
pub(crate) use networks::is_of_rfc;

use functions::{Value, evaluate};
use parse::{Part, parse};

/// An address of a network interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InterfaceAddress {
    /// Name of the interface: `eth0`.
    pub name: String,
    /// The address.
    pub ip: IpAddr,
    /// Leading bits of the address that are its network: at most 32, or 128.
    pub network_bits: u8,
    /// The interface is up.
    pub is_up: bool,
    /// It leads back to the machine.
    pub is_loopback: bool,
    /// It leads to one other machine.
    pub is_point_to_point: bool,
    /// It can be sent to all at once.
    pub is_broadcast: bool,
    /// It can be sent to groups.
    pub is_multicast: bool,
    /// Packets for addresses that no other route is for leave by it.
    pub has_default_route: bool,
}

/// What is wrong with a template.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TemplateError {
    /// It cannot be read.
    #[error("{0}")]
    Syntax(String),
    /// It calls what is not there.
    #[error("there is no function {name}; there are {}", functions::NAMES.join(", "))]
    UnknownFunction {
        /// What it calls.
        name: String,
    },
    /// It calls a function with what that does not take.
    #[error("{function}: {reason}")]
    Call {
        /// The function.
        function: String,
        /// Why not.
        reason: String,
    },
    /// What it gives is no text.
    #[error(
        "it gives a list of interfaces: end it in | attr \"address\" for the first, \
         or in | join \"address\" \" \" for all"
    )]
    List,
}

/// Whether there is a template in a text.
pub(crate) fn is_template(text: &str) -> bool {
    text.contains("{{")
}

/// The text with what its templates give on a machine with those addresses in their place.
///
/// # Errors
/// When a template cannot be read, or a function does not take what it is called with.
pub fn expand(text: &str, machine: &[InterfaceAddress]) -> Result<String, TemplateError> {
    let mut expanded = String::new();
    for part in parse(text)? {
        match part {
            Part::Text(text) => expanded.push_str(text),
            Part::Pipeline(pipeline) => match evaluate(&pipeline, machine)? {
                Value::Text(text) => expanded.push_str(&text),
                Value::Number(number) => expanded.push_str(&number.to_string()),
                Value::Addresses(_) => return Err(TemplateError::List),
            },
        }
    }
    Ok(expanded)
}
