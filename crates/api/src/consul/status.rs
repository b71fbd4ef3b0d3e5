//! `/v1/status`: who leads, in a cluster of one.

use super::{Answer, Call, Outcome};
use crate::AgentInfo;

/// An address with a port, as Go joins them.
pub(super) fn join_port(address: &str, port: u16) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

pub(super) fn server_address(agent: &AgentInfo) -> String {
    join_port(&agent.address, agent.settings.ports.server)
}

/// `GET /v1/status/leader`
pub(super) fn leader(call: &Call<'_>) -> Outcome {
    call.require_our_datacenter()?;
    Ok(Answer::Reply(call.json(|w| w.string(&server_address(call.agent())))))
}

/// `GET /v1/status/peers`
pub(super) fn peers(call: &Call<'_>) -> Outcome {
    call.require_our_datacenter()?;
    Ok(Answer::Reply(call.json(|w| w.array(|w| w.string(&server_address(call.agent()))))))
}
