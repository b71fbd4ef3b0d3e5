//! `/v1/status`, `/v1/coordinate` and the one endpoint of `/v1/operator` that clients look at: what they say about
//! a cluster of one.

use http::StatusCode;
use model::Revision;

use super::read::{Read, with_index};
use super::response::Reply;
use super::{Answer, Call, Outcome};
use crate::AgentInfo;
use crate::json::JsonWriter;

/// Port that Consul's servers use among themselves. Nothing listens there; clients show it and compare it.
pub(super) const SERVER_PORT: u16 = 8300;

/// An address with a port, as Go joins them.
pub(super) fn join_port(address: &str, port: u16) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

fn server_address(agent: &AgentInfo) -> String {
    join_port(&agent.address, SERVER_PORT)
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

/// `GET /v1/operator/raft/configuration`: the revision of the store stands for the log of the one server.
pub(super) fn raft_configuration(call: &Call<'_>) -> Outcome {
    call.require_our_datacenter()?;
    let agent = call.agent();
    Ok(Answer::Reply(call.json(|w| {
        w.object(|w| {
            w.key("Servers");
            w.array(|w| {
                w.object(|w| {
                    w.string_field("ID", &agent.node_id);
                    w.string_field("Node", agent.node_name.as_str());
                    w.string_field("Address", &server_address(agent));
                    w.boolean_field("Leader", true);
                    w.string_field("ProtocolVersion", "3");
                    w.boolean_field("Voter", true);
                    w.number_field("LastIndex", call.catalog().revision().0);
                });
            });
            w.number_field("Index", 1u32);
        });
    })))
}

/// `GET /v1/coordinate/datacenters`: ours, with this agent in it.
pub(super) fn coordinate_datacenters(call: &Call<'_>) -> Outcome {
    let agent = call.agent();
    Ok(Answer::Reply(call.json(|w| {
        w.array(|w| {
            w.object(|w| {
                w.string_field("Datacenter", &agent.datacenter);
                w.string_field("AreaID", "wan");
                w.key("Coordinates");
                w.array(|w| {
                    w.object(|w| {
                        w.string_field(
                            "Node",
                            &format!("{}.{}", agent.node_name, agent.datacenter),
                        );
                        w.string_field("Segment", "");
                        w.key("Coord");
                        coordinate(w);
                    });
                });
            });
        });
    })))
}

/// The coordinate of a node that has measured nothing yet: the origin of the Vivaldi space with its greatest error.
pub(super) fn coordinate(w: &mut JsonWriter) {
    w.object(|w| {
        w.key("Vec");
        w.array(|w| (0..8).for_each(|_| w.number(0u32)));
        w.key("Error");
        w.literal("1.5");
        w.number_field("Adjustment", 0u32);
        w.key("Height");
        w.literal("0.00001");
    });
}

/// `GET /v1/coordinate/nodes`: nobody measures round trips, so no node has a coordinate, and none ever comes: a
/// blocking read waits for its whole time.
pub(super) fn coordinate_nodes(call: &Call<'_>) -> Outcome {
    let read = Read::of(call)?;
    Ok(read.answer(Revision(1), Vec::new, |w| w.array(|_| {})))
}

/// `GET /v1/coordinate/node/:node`
pub(super) fn coordinate_node(call: &Call<'_>) -> Outcome {
    Read::of(call)?;
    let reply = Reply::text(StatusCode::NOT_FOUND, "");
    Ok(Answer::Reply(with_index(reply, Revision(1))))
}

/// `PUT /v1/coordinate/update`
pub(super) fn coordinate_update(_: &Call<'_>) -> Outcome {
    Err(Reply::text(StatusCode::UNAUTHORIZED, "Coordinate support disabled"))
}
