//! `/v1/agent/self`, `version`, `members`: what the agent says about itself. A subset of Consul's: what the clients
//! and the Go client's test suite read.

use acl::Resource;
use http::StatusCode;
use model::{CheckType, FlatMap, Origin};

use super::agent_service::of_agent;
use super::coordinate::{position, unmeasured};
use super::response::Reply;
use super::status::{join_port, server_address};
use super::{Answer, Call, Outcome};
use crate::AgentInfo;
use crate::json::JsonWriter;
use filter::{MEMBER, MemberRow};

/// Where Consul says which commit it was built from.
pub const REVISION: &str = "leno";
/// Builds are reproducible and so have no date; clients only want one that parses.
pub const BUILD_DATE: &str = "1970-01-01T00:00:00Z";

/// `GET /v1/agent/self`
pub(super) fn own(call: &Call<'_>) -> Outcome {
    let agent = call.agent();
    let has_acl = call.context.acl.settings().enabled;
    Ok(Answer::Reply(call.json(|w| {
        w.object(|w| {
            w.key("Config");
            config(w, agent);
            w.key("DebugConfig");
            debug_config(w, agent, has_acl);
            w.key("Coord");
            position(w, &unmeasured());
            w.key("Member");
            Member::of(agent, has_acl).write(w);
            w.key("Stats");
            stats(w, call);
            w.key("Meta");
            w.object(|w| {
                w.map_key("consul-network-segment");
                w.string("");
                w.map_key("consul-version");
                w.string(&agent.consul_version);
            });
        });
    })))
}

fn config(w: &mut JsonWriter, agent: &AgentInfo) {
    w.object(|w| {
        w.string_field("Datacenter", &agent.datacenter);
        w.string_field("PrimaryDatacenter", &agent.datacenter);
        w.string_field("NodeName", agent.node_name.as_str());
        w.string_field("NodeID", &agent.node_id);
        w.string_field("Revision", REVISION);
        w.boolean_field("Server", true);
        w.string_field("Version", &agent.consul_version);
        w.string_field("BuildDate", BUILD_DATE);
    });
}

/// Keys in the order of the alphabet: Consul makes this part from a map.
fn debug_config(w: &mut JsonWriter, agent: &AgentInfo, has_acl: bool) {
    w.object(|w| {
        w.boolean_field("ACLsEnabled", has_acl);
        w.string_field("AdvertiseAddrLAN", &agent.address);
        w.number_field("DNSPort", agent.dns_port);
        w.string_field("Datacenter", &agent.datacenter);
        w.boolean_field("DevMode", agent.dev);
        w.boolean_field("EnableRemoteScriptChecks", agent.script_checks);
        w.key("GRPCPort");
        w.literal("-1");
        w.key("GRPCTLSPort");
        w.literal("-1");
        w.number_field("HTTPPort", agent.http_port);
        w.string_field("NodeID", &agent.node_id);
        w.string_field("NodeName", agent.node_name.as_str());
        let gossip = format!("tcp://{}", join_port(&agent.address, agent.settings.ports.serf_lan));
        w.string_field("SerfAdvertiseAddrLAN", &gossip);
        w.boolean_field("ServerMode", true);
        w.string_field("Version", &agent.consul_version);
    });
}

/// All leaves are texts, as in Consul.
fn stats(w: &mut JsonWriter, call: &Call<'_>) {
    let node = call.agent().node_name.folded();
    let checks = call.catalog().checks_of_node(&node).filter(|it| it.origin == Origin::Agent);
    let types: Vec<Option<CheckType>> =
        checks.map(|it| it.definition.as_ref().and_then(|it| it.check_type())).collect();
    let count = |ttl: bool| {
        types.iter().flatten().filter(|it| (**it == CheckType::Ttl) == ttl).count().to_string()
    };
    let leader = server_address(call.agent());
    w.object(|w| {
        w.key("agent");
        w.object(|w| {
            w.string_field("check_monitors", &count(false));
            w.string_field("check_ttls", &count(true));
            w.string_field("checks", &types.len().to_string());
            w.string_field("services", &of_agent(call).count().to_string());
        });
        w.key("build");
        w.object(|w| {
            w.string_field("prerelease", "");
            w.string_field("revision", REVISION);
            w.string_field("version", &call.agent().consul_version);
            w.string_field("version_metadata", "");
        });
        w.key("consul");
        w.object(|w| {
            let has_acl = call.context.acl.settings().enabled;
            w.string_field("acl", if has_acl { "enabled" } else { "disabled" });
            w.string_field("bootstrap", "true");
            w.string_field("known_datacenters", "1");
            w.string_field("leader", "true");
            w.string_field("leader_addr", &leader);
            w.string_field("server", "true");
        });
        w.key("raft");
        w.object(|w| {
            let revision = call.catalog().revision().to_string();
            w.string_field("applied_index", &revision);
            w.string_field("commit_index", &revision);
            w.string_field("last_log_index", &revision);
            w.string_field("num_peers", "0");
            w.string_field("state", "Leader");
        });
        for name in ["runtime", "serf_lan", "serf_wan"] {
            w.key(name);
            w.object(|w| {
                if name != "runtime" {
                    w.string_field("members", "1");
                }
            });
        }
    });
}

/// `GET /v1/agent/version`
pub(super) fn version(call: &Call<'_>) -> Outcome {
    Ok(Answer::Reply(call.json(|w| {
        w.object(|w| {
            w.string_field("SHA", REVISION);
            w.string_field("BuildDate", BUILD_DATE);
            w.string_field("HumanVersion", &call.agent().consul_version);
            w.string_field("FIPS", "");
        });
    })))
}

/// `GET /v1/agent/members`: this agent alone. With `wan` under its name and port between datacenters.
pub(super) fn members(call: &Call<'_>) -> Outcome {
    let is_wan = !call.query.text("wan").is_empty();
    // All segments are the one that there is.
    if is_wan && !["", "_all"].contains(&call.query.text("segment")) {
        let text = "Cannot provide a segment with wan=true";
        return Err(Reply::text(StatusCode::BAD_REQUEST, text));
    }
    let filter = call.filter(&MEMBER)?;
    let agent = call.agent();
    let mut member = Member::of(agent, call.context.acl.settings().enabled);
    if is_wan {
        member.name = format!("{}.{}", agent.node_name, agent.datacenter);
        member.port = agent.settings.ports.serf_wan;
    }
    Ok(Answer::Reply(call.json(|w| {
        w.array(|w| {
            let sees = call.access().sees(Resource::Node, agent.node_name.as_str());
            if sees && filter.matches(&member.row()) {
                member.write(w);
            }
        });
    })))
}

/// A member of the gossip pool, as Go's `serf.Member` shows one.
struct Member<'a> {
    agent: &'a AgentInfo,
    name: String,
    port: u16,
    tags: FlatMap<String>,
}

/// The member is alive.
const ALIVE: u8 = 1;

impl<'a> Member<'a> {
    fn of(agent: &'a AgentInfo, has_acl: bool) -> Self {
        let tags = [
            ("acls", u8::from(has_acl).to_string()),
            ("bootstrap", "1".to_owned()),
            ("build", format!("{}:{REVISION}", agent.consul_version)),
            ("dc", agent.datacenter.clone()),
            ("id", agent.node_id.clone()),
            ("port", agent.settings.ports.server.to_string()),
            ("raft_vsn", "3".to_owned()),
            ("role", "consul".to_owned()),
            ("segment", String::new()),
            ("vsn", "2".to_owned()),
            ("vsn_max", "3".to_owned()),
            ("vsn_min", "2".to_owned()),
            ("wan_join_port", agent.settings.ports.serf_wan.to_string()),
        ];
        let name = agent.node_name.to_string();
        Self { agent, name, port: agent.settings.ports.serf_lan, tags: tags.into_iter().collect() }
    }

    fn row(&self) -> MemberRow<'_> {
        let address = &self.agent.address;
        MemberRow { name: &self.name, address, port: self.port, tags: &self.tags, status: ALIVE }
    }

    fn write(&self, w: &mut JsonWriter) {
        w.object(|w| {
            w.string_field("Name", &self.name);
            w.string_field("Addr", &self.agent.address);
            w.number_field("Port", self.port);
            w.key("Tags");
            w.object(|w| {
                for (key, value) in self.tags.iter() {
                    w.map_key(key);
                    w.string(value);
                }
            });
            w.number_field("Status", ALIVE);
            w.number_field("ProtocolMin", 1u32);
            w.number_field("ProtocolMax", 5u32);
            w.number_field("ProtocolCur", 2u32);
            w.number_field("DelegateMin", 2u32);
            w.number_field("DelegateMax", 5u32);
            w.number_field("DelegateCur", 4u32);
        });
    }
}
