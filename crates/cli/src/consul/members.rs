//! `consul members`.

use anyhow::Context;
use regex::Regex;
use serde_json::Value;

use super::client::Ask;
use super::command::{Call, Command, Outcome, Reach};
use super::flags::{switch, text, text_or};
use super::print::{columns, field, list, pairs, row};
use crate::output::print_line;

/// What Consul ends with when no member matches.
const NO_MATCH: u8 = 2;

pub(crate) const COMMANDS: &[Command] = &[Command {
    name: "members",
    synopsis: "Lists the members of the cluster.",
    arguments: "[options]",
    flags: &[
        switch("detailed", "Show all tags of each member."),
        text("filter", "Expression that members must fit."),
        text_or("segment", "_all", "Segment of the network."),
        text_or("status", ".*", "Regular expression that a member's status must fit."),
        switch("wan", "List the servers of all datacenters."),
    ],
    reach: Reach::Agent,
    run: members,
}];

fn members(call: &Call) -> Outcome {
    let status = Regex::new(call.text("status")).context("Failed to compile status regexp")?;
    let mut ask = Ask::get("/v1/agent/members")
        .with("segment", call.text("segment"))
        .with_some("filter", call.text("filter"));
    if call.is("wan") {
        ask = ask.with("wan", "1");
    }
    let members = call.client()?.json(&ask).context("Error retrieving members")?;
    let mut members: Vec<&Value> =
        list(&members).iter().filter(|member| status.is_match(status_of(member))).collect();
    if members.is_empty() {
        return Ok(NO_MATCH);
    }
    let all_segments = call.text("segment") == "_all";
    members.sort_by_key(|member| {
        let is_client = field(&member["Tags"], "role") != "consul";
        (is_client, segment_of(member, all_segments).to_owned(), field(member, "Name").to_owned())
    });
    let mut rows = Vec::new();
    if call.is("detailed") {
        rows.push(row(&["Node", "Address", "Status", "Tags"]));
        rows.extend(members.iter().map(|member| {
            let tags = pairs(&member["Tags"], ",");
            row(&[field(member, "Name"), &address_of(member), status_of(member), &tags])
        }));
    } else {
        rows.push(row(&[
            "Node",
            "Address",
            "Status",
            "Type",
            "Build",
            "Protocol",
            "DC",
            "Partition",
            "Segment",
        ]));
        rows.extend(members.iter().map(|member| standard_row(member, all_segments)));
    }
    print_line(&columns(&rows));
    Ok(0)
}

fn standard_row(member: &Value, all_segments: bool) -> Vec<String> {
    let tags = &member["Tags"];
    let kind = match field(tags, "role") {
        "consul" => "server",
        "node" => "client",
        _ => "unknown",
    };
    let build = field(tags, "build").split(':').next().unwrap_or_default();
    let partition = match field(tags, "ap") {
        "" => "default",
        partition => partition,
    };
    row(&[
        field(member, "Name"),
        &address_of(member),
        status_of(member),
        kind,
        build,
        field(tags, "vsn"),
        field(tags, "dc"),
        partition,
        segment_of(member, all_segments),
    ])
}

fn segment_of(member: &Value, all_segments: bool) -> &str {
    let tags = &member["Tags"];
    match field(tags, "segment") {
        _ if all_segments && field(tags, "role") == "consul" => "<all>",
        "" => "<default>",
        segment => segment,
    }
}

fn address_of(member: &Value) -> String {
    let address = field(member, "Addr");
    match address.contains(':') {
        true => format!("[{address}]:{}", member["Port"]),
        false => format!("{address}:{}", member["Port"]),
    }
}

fn status_of(member: &Value) -> &'static str {
    match member["Status"].as_u64() {
        Some(1) => "alive",
        Some(2) => "leaving",
        Some(3) => "left",
        Some(4) => "failed",
        _ => "none",
    }
}
