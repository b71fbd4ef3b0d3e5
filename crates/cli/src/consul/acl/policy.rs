//! `consul acl policy`.

use std::fmt::Write;

use anyhow::{Context, bail, ensure};
use serde_json::{Map, Value};

use super::super::client::{Ask, Client};
use super::super::command::{Call, Command, Outcome, Reach, read_data};
use super::super::flags::{Flag, list as list_flag, text};
use super::super::print::{field, joined, list};
use super::{FORMAT, Kind, META, NO_MERGE, add_meta, line, show};
use crate::list::encoded;

pub(super) const POLICY: Kind =
    Kind { noun: "policy", all: "/v1/acl/policies", id: "ID", one: "/v1/acl/policy" };

const ID: Flag = text("id", "ID of the policy, or its beginning.");
const NAME: Flag = text("name", "Name of the policy.");
const DESCRIPTION: Flag = text("description", "What the policy is for.");
const RULES: Flag = text("rules", "The rules; @FILE or - reads them.");
const DATACENTERS: Flag = list_flag("valid-datacenter", "Datacenter in which the policy holds.");

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "acl policy create",
        synopsis: "Makes a policy.",
        arguments: "[options] -name NAME",
        flags: &[DESCRIPTION, FORMAT, META, NAME, RULES, DATACENTERS],
        reach: Reach::Agent,
        run: create,
    },
    Command {
        name: "acl policy read",
        synopsis: "Prints a policy.",
        arguments: "[options] -id ID | -name NAME",
        flags: &[FORMAT, ID, META, NAME],
        reach: Reach::Agent,
        run: read,
    },
    Command {
        name: "acl policy update",
        synopsis: "Changes a policy.",
        arguments: "[options] -id ID | -name NAME",
        flags: &[DESCRIPTION, FORMAT, ID, META, NAME, NO_MERGE, RULES, DATACENTERS],
        reach: Reach::Agent,
        run: update,
    },
    Command {
        name: "acl policy delete",
        synopsis: "Removes a policy.",
        arguments: "[options] -id ID | -name NAME",
        flags: &[ID, NAME],
        reach: Reach::Agent,
        run: |call| {
            let client = call.client()?;
            POLICY.delete(&client, &id_of(call, &client)?)
        },
    },
    Command {
        name: "acl policy list",
        synopsis: "Lists the policies.",
        arguments: "[options]",
        flags: &[FORMAT, META],
        reach: Reach::Agent,
        run: list_all,
    },
];

/// The ID that the flags mean.
fn id_of(call: &Call, client: &Client) -> anyhow::Result<String> {
    let failed = "Error determining policy ID";
    match (call.text("id"), call.text("name")) {
        ("", "") => bail!("Must specify either the -id or -name parameters"),
        ("", name) => {
            let path = format!("/v1/acl/policy/name/{}", encoded(name));
            let found = client.find(&Ask::get(path)).context(failed)?;
            let found = found.with_context(|| format!("{failed}: No such policy with name {name}"));
            Ok(field(&found?, "ID").to_owned())
        }
        (id, _) => POLICY.id(client, id).context(failed),
    }
}

/// Puts what the flags say into a policy.
fn fill(call: &Call, policy: &mut Map<String, Value>) -> anyhow::Result<()> {
    for (flag, name) in [("name", "Name"), ("description", "Description")] {
        if call.has(flag) {
            policy.insert(name.to_owned(), call.text(flag).into());
        }
    }
    if call.has("rules") {
        let rules = read_data(call.text("rules")).context("Error loading rules")?;
        let rules = String::from_utf8(rules).context("Error loading rules: they are not text")?;
        policy.insert("Rules".to_owned(), rules.into());
    }
    if call.has("valid-datacenter") {
        policy.insert("Datacenters".to_owned(), call.list("valid-datacenter").into());
    }
    Ok(())
}

fn create(call: &Call) -> Outcome {
    ensure!(!call.text("name").is_empty(), "Missing required '-name' flag");
    let mut policy = Map::new();
    fill(call, &mut policy)?;
    let ask = Ask::put(POLICY.one).json(&Value::Object(policy));
    let policy = call.client()?.json(&ask).context("Failed to create new policy")?;
    show(call, &policy, |policy| pretty(policy, call.is("meta")))
}

fn read(call: &Call) -> Outcome {
    let client = call.client()?;
    let id = id_of(call, &client)?;
    let policy = client.json(&Ask::get(POLICY.path(&id)));
    let policy = policy.with_context(|| format!("Error reading policy {id:?}"))?;
    show(call, &policy, |policy| pretty(policy, call.is("meta")))
}

fn update(call: &Call) -> Outcome {
    let client = call.client()?;
    let id = id_of(call, &client)?;
    let mut policy = Map::new();
    if !call.is("no-merge") {
        let known = client.json(&Ask::get(POLICY.path(&id)));
        let known = known.with_context(|| format!("Error reading policy {id:?}"))?;
        for name in ["Name", "Description", "Datacenters", "Rules"] {
            policy.insert(name.to_owned(), known[name].clone());
        }
    }
    policy.insert("ID".to_owned(), id.clone().into());
    fill(call, &mut policy)?;
    let ask = Ask::put(POLICY.path(&id)).json(&Value::Object(policy));
    let policy = client.json(&ask).with_context(|| format!("Error updating policy {id:?}"))?;
    show(call, &policy, |policy| pretty(policy, call.is("meta")))
}

fn list_all(call: &Call) -> Outcome {
    let all = call.client()?.json(&Ask::get(POLICY.all));
    let all = all.context("Failed to retrieve the policy list")?;
    show(call, &all, |all| {
        let mut text = String::new();
        for policy in list(all) {
            line!(text, "{}:", field(policy, "Name"));
            line!(text, "   ID:           {}", field(policy, "ID"));
            line!(text, "   Description:  {}", field(policy, "Description"));
            line!(text, "   Datacenters:  {}", joined(policy, "Datacenters", ", "));
            if call.is("meta") {
                add_meta(&mut text, policy, "   ", 14);
            }
        }
        text
    })
}

/// A policy as text; `meta`: with hash and indexes.
pub(super) fn pretty(policy: &Value, meta: bool) -> String {
    let mut text = String::new();
    line!(text, "ID:           {}", field(policy, "ID"));
    line!(text, "Name:         {}", field(policy, "Name"));
    line!(text, "Description:  {}", field(policy, "Description"));
    line!(text, "Datacenters:  {}", joined(policy, "Datacenters", ", "));
    if meta {
        add_meta(&mut text, policy, "", 14);
    }
    line!(text, "Rules:");
    text.push_str(field(policy, "Rules"));
    text
}
