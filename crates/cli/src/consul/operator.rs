//! `consul operator`: servers, autopilot, usage.

use std::collections::BTreeMap;

use anyhow::{Context, bail, ensure};
use http::StatusCode;
use serde_json::{Value, json};

use super::client::{Ask, Client};
use super::command::{Call, Command, Outcome, Reach, refuse};
use super::flags::{Kind, flag, switch, text, text_or};
use super::print::{aligned, columns, field, items, json, row};
use crate::output::print_line;

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "operator raft list-peers",
        synopsis: "Lists the servers.",
        arguments: "[options]",
        flags: &[],
        reach: Reach::Agent,
        run: list_peers,
    },
    Command {
        name: "operator raft remove-peer",
        synopsis: "Removes a server that is gone.",
        arguments: "[options] -id ID | -address ADDRESS",
        flags: &[text("address", "Address of the server."), text("id", "ID of the server.")],
        reach: Reach::Agent,
        run: remove_peer,
    },
    Command {
        name: "operator raft transfer-leader",
        synopsis: "Makes another server the leader.",
        arguments: "[options]",
        flags: &[text("id", "ID of the server; any if left out.")],
        reach: Reach::Agent,
        run: transfer_leader,
    },
    Command {
        name: "operator autopilot get-config",
        synopsis: "Prints how servers are looked after.",
        arguments: "[options]",
        flags: &[],
        reach: Reach::Agent,
        run: get_config,
    },
    Command {
        name: "operator autopilot set-config",
        synopsis: "Changes how servers are looked after.",
        arguments: "[options]",
        flags: &[
            text("cleanup-dead-servers", "Remove servers that are gone: true or false."),
            text("disable-upgrade-migration", "Do not wait for a whole upgrade: true or false."),
            flag("last-contact-threshold", Kind::Duration, "Longest silence of a healthy server."),
            flag(
                "max-trailing-logs",
                Kind::Unsigned,
                "Most entries that a healthy server may lack.",
            ),
            flag("min-quorum", Kind::Unsigned, "Fewest servers that are kept."),
            text("redundancy-zone-tag", "Metadata of a node that names its zone."),
            flag(
                "server-stabilization-time",
                Kind::Duration,
                "How long a new server must be healthy.",
            ),
            text("upgrade-version-tag", "Metadata of a node that names its version."),
        ],
        reach: Reach::Agent,
        run: set_config,
    },
    Command {
        name: "operator autopilot state",
        synopsis: "Prints how the servers are.",
        arguments: "[options]",
        flags: &[text_or("format", "pretty", "Form of the output, pretty or json.")],
        reach: Reach::Agent,
        run: state,
    },
    Command {
        name: "operator usage instances",
        synopsis: "Counts services and their instances.",
        arguments: "[options]",
        flags: &[
            switch("all-datacenters", "Count those of all datacenters."),
            switch("billable", "Count those alone that Consul counts as billable."),
            switch("connect", "Count those of the mesh alone."),
        ],
        reach: Reach::Agent,
        run: instances,
    },
];

const AUTOPILOT: &str = "/v1/operator/autopilot/configuration";

fn list_peers(call: &Call) -> Outcome {
    let client = call.client()?;
    let peers = client.json(&Ask::get("/v1/operator/raft/configuration"));
    let peers = peers.context("Error getting peers: Failed to retrieve raft configuration")?;
    let indexes = last_indexes(&client);
    let servers = items(&peers, "Servers");
    let leader = servers.iter().find(|server| server["Leader"] == true);
    let newest = leader.and_then(|it| indexes.get(field(it, "ID"))).copied().unwrap_or(0);
    let mut rows = vec![row(&[
        "Node",
        "ID",
        "Address",
        "State",
        "Voter",
        "RaftProtocol",
        "Commit Index",
        "Trails Leader By",
    ])];
    for server in servers {
        let is_leader = server["Leader"] == true;
        let protocol = match field(server, "ProtocolVersion") {
            "" => "<=1",
            protocol => protocol,
        };
        let (index, behind) = match indexes.get(field(server, "ID")) {
            None => ("_".to_owned(), String::new()),
            Some(index) if is_leader => (index.to_string(), "_".to_owned()),
            Some(index) => {
                let behind = newest.saturating_sub(*index);
                let plural = if behind > 1 { "s" } else { "" };
                (index.to_string(), format!("{behind} Commit{plural}"))
            }
        };
        rows.push(row(&[
            field(server, "Node"),
            field(server, "ID"),
            field(server, "Address"),
            if is_leader { "leader" } else { "follower" },
            &server["Voter"].to_string(),
            protocol,
            &index,
            &behind,
        ]));
    }
    print_line(&columns(&rows));
    Ok(0)
}

/// The last index of each server; of none, where nobody looks after servers.
fn last_indexes(client: &Client) -> BTreeMap<String, u64> {
    let health = client.ask(&Ask::get("/v1/operator/autopilot/health"));
    // 429 says that some server is not healthy, in the same words.
    let is_told = |status| matches!(status, StatusCode::OK | StatusCode::TOO_MANY_REQUESTS);
    let health = match health {
        Ok(answer) if is_told(answer.status) => answer.json().unwrap_or_default(),
        _ => Value::Null,
    };
    let servers = items(&health, "Servers").iter();
    servers.filter_map(|it| Some((field(it, "ID").to_owned(), it["LastIndex"].as_u64()?))).collect()
}

fn remove_peer(call: &Call) -> Outcome {
    let ask = Ask::delete("/v1/operator/raft/peer");
    let (ask, what) = match (call.text("address"), call.text("id")) {
        ("", "") => {
            bail!("Error removing peer: an address or id is required for the peer to remove")
        }
        (address, "") => (ask.with("address", address), format!("address {address:?}")),
        ("", id) => (ask.with("id", id), format!("id {id:?}")),
        _ => bail!("Error removing peer: cannot give both an address and id"),
    };
    call.client()?.done(&ask).context("Error removing peer")?;
    print_line(&format!("Removed peer with {what}"));
    Ok(0)
}

fn transfer_leader(call: &Call) -> Outcome {
    let ask = Ask::post("/v1/operator/raft/transfer-leader").with_some("id", call.text("id"));
    let failed = "Error transfering leadership: Failed to transfer leadership";
    let answer = call.client()?.json(&ask).context(failed)?;
    ensure!(answer["Success"] == true, failed);
    print_line("Success");
    Ok(0)
}

fn get_config(call: &Call) -> Outcome {
    let config = call.client()?.json(&Ask::get(AUTOPILOT));
    let config = config.context("Error querying Autopilot configuration")?;
    for (name, is_text) in [
        ("CleanupDeadServers", false),
        ("LastContactThreshold", false),
        ("MaxTrailingLogs", false),
        ("MinQuorum", false),
        ("ServerStabilizationTime", false),
        ("RedundancyZoneTag", true),
        ("DisableUpgradeMigration", false),
        ("UpgradeVersionTag", true),
    ] {
        let value = match &config[name] {
            Value::String(text) if !is_text => text.clone(),
            Value::Null if is_text => "\"\"".to_owned(),
            other => other.to_string(),
        };
        print_line(&format!("{name} = {value}"));
    }
    Ok(0)
}

fn set_config(call: &Call) -> Outcome {
    let client = call.client()?;
    let config = client.json(&Ask::get(AUTOPILOT));
    let mut config = config.context("Error querying Autopilot configuration")?;
    for (flag, name) in [
        ("cleanup-dead-servers", "CleanupDeadServers"),
        ("disable-upgrade-migration", "DisableUpgradeMigration"),
    ] {
        if call.has(flag) {
            let value = super::flags::boolean(call.text(flag));
            let value = value.with_context(|| format!("-{flag} is true or false"))?;
            config[name] = value.into();
        }
    }
    for (flag, name) in [("max-trailing-logs", "MaxTrailingLogs"), ("min-quorum", "MinQuorum")] {
        if call.has(flag) {
            config[name] = call.unsigned(flag).into();
        }
    }
    for (flag, name) in [
        ("last-contact-threshold", "LastContactThreshold"),
        ("server-stabilization-time", "ServerStabilizationTime"),
        ("redundancy-zone-tag", "RedundancyZoneTag"),
        ("upgrade-version-tag", "UpgradeVersionTag"),
    ] {
        if call.has(flag) {
            config[name] = call.text(flag).into();
        }
    }
    let index = config["ModifyIndex"].as_u64().unwrap_or(0);
    let ask = Ask::put(AUTOPILOT).with("cas", index).json(&config);
    if client.verdict(&ask).context("Error setting Autopilot configuration")? {
        print_line("Configuration updated!");
        return Ok(0);
    }
    print_line("Configuration could not be atomically updated, please try again");
    Ok(1)
}

fn state(call: &Call) -> Outcome {
    let is_json = match call.text("format") {
        "json" => true,
        "pretty" => false,
        other => return refuse(format!("Unknown format: {other}")),
    };
    let state = call.client()?.json(&Ask::get("/v1/operator/autopilot/state"));
    let state = state.context("Error querying Autopilot state")?;
    if is_json {
        print_line(&json(&state, "    "));
        return Ok(0);
    }
    let number = |name: &str| state[name].as_u64().unwrap_or(0);
    print_line(&format!("Healthy:                      {}", state["Healthy"]));
    print_line(&format!("Failure Tolerance:            {}", number("FailureTolerance")));
    print_line(&format!("Optimistic Failure Tolerance: {}", number("OptimisticFailureTolerance")));
    print_line(&format!("Leader:                       {}", field(&state, "Leader")));
    for (name, title) in [("Voters", "Voters:"), ("ReadReplicas", "Read Replicas:")] {
        let servers = items(&state, name);
        if name == "Voters" || !servers.is_empty() {
            print_line(title);
        }
        let servers = servers.iter().filter_map(Value::as_str);
        servers.for_each(|server| print_line(&format!("   {server}")));
    }
    print_line("Servers:");
    let servers = state["Servers"].as_object().into_iter().flatten();
    let servers: BTreeMap<&String, &Value> = servers.collect();
    servers.into_values().for_each(print_server);
    print_line("");
    Ok(0)
}

fn print_server(server: &Value) {
    print_line(&format!("   {}", field(server, "ID")));
    for (title, name) in [
        ("Name", "Name"),
        ("Address", "Address"),
        ("Version", "Version"),
        ("Status", "Status"),
        ("Node Type", "NodeType"),
        ("Node Status", "NodeStatus"),
        ("Healthy", "Healthy"),
        ("Last Contact", "LastContact"),
        ("Last Term", "LastTerm"),
        ("Last Index", "LastIndex"),
    ] {
        let value = match &server[name] {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        };
        print_line(&format!("      {:<16} {value}", format!("{title}:")));
    }
    let meta = server["Meta"].as_object().into_iter().flatten();
    let meta: BTreeMap<&String, &Value> = meta.collect();
    if !meta.is_empty() {
        print_line("      Meta");
    }
    for (key, value) in meta {
        print_line(&format!("         {}: {value}", json!(key)));
    }
}

fn instances(call: &Call) -> Outcome {
    call.no_arguments()?;
    let (billable, connect) = (call.is("billable"), call.is("connect"));
    ensure!(!billable || !connect, "Cannot specify both -billable and -connect flags");
    let all = call.is("all-datacenters");
    let ask = Ask::get("/v1/operator/usage").with_mark("global", all);
    let usage = call.client()?.json(&ask).context("Error fetching usage information")?;
    let usage: BTreeMap<&String, &Value> =
        usage["Usage"].as_object().into_iter().flatten().collect();
    let count = |value: &Value| value.as_u64().unwrap_or(0);
    if !connect {
        let of = |usage: &Value| count(&usage["BillableServiceInstances"]);
        let total: u64 = usage.values().map(|usage| of(usage)).sum();
        print_line(&format!("Billable Service Instances Total: {total}"));
        for (datacenter, usage) in &usage {
            print_line(&format!("{datacenter} Billable Service Instances: {}", of(usage)));
        }
        print_line("\nBillable Services");
        let rows = usage.iter().map(|(datacenter, usage)| {
            [(**datacenter).clone(), count(&usage["Services"]).to_string(), of(usage).to_string()]
        });
        print_counts("Services", rows.collect(), all);
        print_line("");
    }
    if !billable {
        print_line("Connect Services");
        let rows = usage.iter().flat_map(|(datacenter, usage)| {
            let kinds = usage["ConnectServiceInstances"].as_object().into_iter().flatten();
            let kinds: BTreeMap<&String, &Value> = kinds.collect();
            let row = |(kind, instances): (&String, &Value)| {
                [(**datacenter).clone(), kind.clone(), count(instances).to_string()]
            };
            kinds.into_iter().map(row).collect::<Vec<_>>()
        });
        print_counts("Type", rows.collect(), all);
    }
    Ok(0)
}

/// Rows of datacenter, service or kind, and count; the datacenter, and the sum, only if there are several.
fn print_counts(second: &str, rows: Vec<[String; 3]>, with_datacenters: bool) {
    let sum = |at: usize| {
        rows.iter().map(|row| row[at].parse::<u64>().unwrap_or(0)).sum::<u64>().to_string()
    };
    let totals =
        ["Total".to_owned(), if second == "Services" { sum(1) } else { String::new() }, sum(2)];
    let mut table = vec![row(&["Datacenter", second, "Service instances"])];
    table.extend(rows.into_iter().map(Vec::from));
    if with_datacenters {
        table.push(row(&["", "", ""]));
        table.push(Vec::from(totals));
    } else {
        for row in &mut table {
            row.remove(0);
        }
    }
    print_line(aligned(&table, 6).trim());
}
