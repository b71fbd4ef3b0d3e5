//! `/v1/operator`: what operators ask about the servers. There is one, and where truth lies is no raft: what is about
//! a cluster of Consul's own servers is answered for this one, or refused with the reason.

use std::collections::BTreeMap;

use http::{Method, StatusCode};
use model::{Catalog, Record, Revision, Setting};
use registry::{Command, RecordCondition};
use serde_json::{Map, Value, json};

use super::read::{Read, with_contact};
use super::response::Reply;
use super::status::server_address;
use super::write::Door;
use super::{Answer, Call, Outcome, decode};
use crate::json::JsonWriter;

/// Name of the setting that holds the configuration of autopilot.
const AUTOPILOT: &str = "autopilot";

fn failed(text: impl Into<String>) -> Reply {
    Reply::text(StatusCode::INTERNAL_SERVER_ERROR, text.into())
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

/// `DELETE /v1/operator/raft/peer`: there is but this server, and it does not go.
pub(super) fn remove_raft_peer(call: &Call<'_>) -> Outcome {
    call.require_our_datacenter()?;
    let agent = call.agent();
    let (id, address) = (call.query.text("id"), call.query.text("address"));
    let (what, given, own) = match (id, address) {
        ("", "") => {
            let text = "Must specify either ?id with the server's ID or ?address with IP:port of \
                        peer to remove";
            return Err(Reply::text(StatusCode::BAD_REQUEST, text));
        }
        (id, "") => ("id", id, agent.node_id.clone()),
        ("", address) => ("address", address, server_address(agent)),
        _ => {
            let text = "Must specify only one of ?id or ?address";
            return Err(Reply::text(StatusCode::BAD_REQUEST, text));
        }
    };
    if given == own {
        return Err(failed(
            "this is the only server, and cannot be removed; stop the agent instead",
        ));
    }
    Err(failed(format!("{what} \"{given}\" was not found in the Raft configuration")))
}

/// `POST /v1/operator/raft/transfer-leader`
pub(super) fn transfer_leader(call: &Call<'_>) -> Outcome {
    call.require_our_datacenter()?;
    let id = call.query.text("id");
    if !id.is_empty() && id != call.agent().node_id {
        return Err(failed(format!("id \"{id}\" was not found in the Raft configuration")));
    }
    Err(failed("cannot find peer: this is the only server, so there is nobody to lead instead"))
}

fn autopilot_defaults() -> Map<String, Value> {
    let defaults = json!({
        "CleanupDeadServers": true,
        "LastContactThreshold": "200ms",
        "MaxTrailingLogs": 250,
        "MinQuorum": 0,
        "ServerStabilizationTime": "10s",
        "RedundancyZoneTag": "",
        "DisableUpgradeMigration": false,
        "UpgradeVersionTag": "",
    });
    match defaults {
        Value::Object(defaults) => defaults,
        _ => unreachable!("it is written as an object"),
    }
}

/// `GET` and `PUT /v1/operator/autopilot/configuration`: kept for who asks; there are no servers to be looked after.
pub(super) fn autopilot_configuration(call: &Call<'_>) -> Outcome {
    call.require_our_datacenter()?;
    let stored = call.catalog().record::<Setting>(AUTOPILOT);
    if call.request.method() == Method::PUT {
        return set_autopilot(call);
    }
    let mut config = autopilot_defaults();
    if let Some(Value::Object(stored)) = stored.map(|it| &it.value.body) {
        config.extend(stored.clone());
    }
    let (created, modified) =
        stored.map_or((Revision(1), Revision(1)), |it| (it.created, it.modified));
    config.insert("CreateIndex".into(), created.0.into());
    config.insert("ModifyIndex".into(), modified.0.into());
    Ok(Answer::Reply(call.json(|w| w.value(&Value::Object(config)))))
}

/// The command that sets autopilot as a file says, unless it is set.
pub(super) fn autopilot_command(settings: &Value) -> Result<Command, String> {
    let given = match settings {
        Value::Object(given) => {
            given.iter().map(|(key, it)| (key.replace('_', ""), it.clone())).collect()
        }
        _ => Map::new(),
    };
    let body = Value::Object(given).to_string();
    let read = decode::autopilot(body.as_bytes()).map_err(|bad| bad.text)?;
    let mut config = autopilot_defaults();
    for (name, value) in &mut config {
        let is_given = settings.as_object().is_some_and(|settings| {
            settings.keys().any(|key| key.replace('_', "").eq_ignore_ascii_case(name))
        });
        if let (true, Some(it)) = (is_given, read.get(name)) {
            *value = it.clone();
        }
    }
    let record = Record::Setting(Setting { name: AUTOPILOT.into(), body: Value::Object(config) });
    Ok(Command::PutRecord { record, when: RecordCondition::ModifiedAt(Revision(0)) })
}

fn set_autopilot(call: &Call<'_>) -> Outcome {
    let given = decode::autopilot(call.request.body())?;
    let mut config = autopilot_defaults();
    // What is not given is what Go's decoder leaves it at: nothing.
    for (name, value) in &mut config {
        *value = given.get(name).cloned().unwrap_or_else(|| blank(value));
    }
    let record = Record::Setting(Setting { name: AUTOPILOT.into(), body: Value::Object(config) });
    let when = match call.query.first("cas") {
        None => RecordCondition::Always,
        Some(text) => {
            let index: u64 = text.parse().map_err(|_| {
                Reply::text(StatusCode::BAD_REQUEST, format!("Error parsing cas value: {text:?}"))
            })?;
            // One that was never written is at index 1.
            let is_written = call.catalog().record::<Setting>(AUTOPILOT).is_some();
            RecordCondition::ModifiedAt(Revision(match index {
                1 if !is_written => 0,
                _ if !is_written => u64::MAX,
                index => index,
            }))
        }
    };
    let door = if call.query.has("cas") {
        Door::Kv { is_pretty: call.query.has("pretty") }
    } else {
        Door::Agent
    };
    Ok(Answer::Write(Command::PutRecord { record, when }, door))
}

fn blank(value: &Value) -> Value {
    match value {
        Value::Bool(_) => json!(false),
        Value::Number(_) => json!(0),
        Value::String(text) if text.ends_with('s') => json!("0s"),
        _ => json!(""),
    }
}

/// `GET /v1/operator/autopilot/health`: a server that answers is well.
pub(super) fn autopilot_health(call: &Call<'_>) -> Outcome {
    call.require_our_datacenter()?;
    Ok(Answer::Reply(call.json(|w| {
        w.object(|w| {
            w.boolean_field("Healthy", true);
            w.number_field("FailureTolerance", 0_u32);
            w.key("Servers");
            w.array(|w| server_health(w, call));
        });
    })))
}

fn server_health(w: &mut JsonWriter, call: &Call<'_>) {
    let agent = call.agent();
    w.object(|w| {
        w.string_field("ID", &agent.node_id);
        w.string_field("Name", agent.node_name.as_str());
        w.string_field("Address", &server_address(agent));
        w.string_field("SerfStatus", "alive");
        w.string_field("Version", &agent.consul_version);
        w.boolean_field("Leader", true);
        w.string_field("LastContact", "0s");
        w.number_field("LastTerm", 1_u32);
        w.number_field("LastIndex", call.catalog().revision().0);
        w.boolean_field("Healthy", true);
        w.boolean_field("Voter", true);
        w.string_field("StableSince", &super::rfc3339(agent.started));
    });
}

/// `GET /v1/operator/autopilot/state`
pub(super) fn autopilot_state(call: &Call<'_>) -> Outcome {
    call.require_our_datacenter()?;
    let agent = call.agent();
    Ok(Answer::Reply(call.json(|w| {
        w.object(|w| {
            w.boolean_field("Healthy", true);
            w.number_field("FailureTolerance", 0_u32);
            w.number_field("OptimisticFailureTolerance", 0_u32);
            w.key("Servers");
            w.object(|w| {
                w.map_key(&agent.node_id);
                server_state(w, call);
            });
            w.string_field("Leader", &agent.node_id);
            w.strings_field("Voters", [agent.node_id.as_str()]);
        });
    })))
}

fn server_state(w: &mut JsonWriter, call: &Call<'_>) {
    let agent = call.agent();
    w.object(|w| {
        w.string_field("ID", &agent.node_id);
        w.string_field("Name", agent.node_name.as_str());
        w.string_field("Address", &server_address(agent));
        w.string_field("NodeStatus", "alive");
        w.string_field("Version", &agent.consul_version);
        w.string_field("LastContact", "0s");
        w.number_field("LastTerm", 1_u32);
        w.number_field("LastIndex", call.catalog().revision().0);
        w.boolean_field("Healthy", true);
        w.string_field("StableSince", &super::rfc3339(agent.started));
        w.boolean_field("ReadReplica", false);
        w.string_field("Status", "leader");
        w.key("Meta");
        w.object(|_| {});
        w.string_field("NodeType", "voter");
    });
}

/// `/v1/operator/keyring`: nothing here is encrypted by gossip keys, for there is no gossip.
pub(super) fn keyring(call: &Call<'_>) -> Outcome {
    let relays = call.query.text("relay-factor");
    if !relays.is_empty() && !matches!(relays.parse::<u8>(), Ok(0..=5)) {
        let text = "Error parsing relay factor: it is a number between 0 and 5";
        return Err(Reply::text(StatusCode::BAD_REQUEST, text));
    }
    if call.query.has("local-only") && call.request.method() != Method::GET {
        let text = "local-only is only supported for GET requests";
        return Err(Reply::text(StatusCode::BAD_REQUEST, text));
    }
    Err(failed("keyring is empty: Leno has no gossip, and so no gossip keys"))
}

/// Kinds that are counted, as Consul names them.
const KINDS: [&str; 6] = [
    "api-gateway",
    "connect-native",
    "connect-proxy",
    "ingress-gateway",
    "mesh-gateway",
    "terminating-gateway",
];

/// `GET /v1/operator/usage`
pub(super) fn usage(call: &Call<'_>) -> Outcome {
    let read = Read::of(call)?;
    let catalog = call.catalog();
    let index = catalog.nodes_index().max(catalog.services_index());
    let reply = call.json(|w| {
        w.object(|w| {
            w.key("Usage");
            w.object(|w| {
                w.map_key(&call.agent().datacenter);
                counts(w, catalog);
            });
            query_meta(w, index, false);
        });
    });
    Ok(read.at_once(index, with_contact(reply)))
}

fn counts(w: &mut JsonWriter, catalog: &Catalog) {
    let mut of_kind: BTreeMap<&str, u64> = KINDS.iter().map(|kind| (*kind, 0)).collect();
    let mut billable = 0_u64;
    for instance in catalog.instances() {
        let kind = if instance.connect_native { "connect-native" } else { instance.kind.as_str() };
        if let Some(count) = of_kind.get_mut(kind) {
            *count += 1;
        }
        billable += u64::from(instance.kind.is_empty() && instance.id.as_str() != "consul");
    }
    w.object(|w| {
        w.number_field("Services", catalog.service_count() as u64);
        w.number_field("ServiceInstances", catalog.instance_count() as u64);
        w.key("ConnectServiceInstances");
        w.object(|w| {
            for (kind, count) in &of_kind {
                w.map_key(kind);
                w.number(*count);
            }
        });
        w.number_field("BillableServiceInstances", billable);
        w.number_field("Nodes", catalog.node_count() as u64);
    });
}

/// What Go's `QueryMeta` is in a body.
pub(super) fn query_meta(w: &mut JsonWriter, index: Revision, is_filtered: bool) {
    w.number_field("Index", index.0);
    w.number_field("LastContact", 0_u32);
    w.boolean_field("KnownLeader", true);
    w.string_field("ConsistencyLevel", "leader");
    w.boolean_field("NotModified", false);
    w.number_field("Backend", 0_u32);
    w.boolean_field("ResultsFilteredByACLs", is_filtered);
}
