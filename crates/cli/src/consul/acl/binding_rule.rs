//! `consul acl binding-rule`.

use std::fmt::Write;

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use super::super::client::Ask;
use super::super::command::{Call, Command, Outcome, Reach};
use super::super::flags::{Flag, list as list_flag, text, text_or};
use super::super::print::{field, list};
use super::{FORMAT, Kind, META, NO_MERGE, add_meta, line, show};

const RULE: Kind = Kind {
    noun: "binding rule",
    all: "/v1/acl/binding-rules",
    id: "ID",
    one: "/v1/acl/binding-rule",
};

const ID: Flag = text("id", "ID of the rule, or its beginning.");
const BIND_NAME: Flag = text("bind-name", "Name that is bound; ${var} stands for an attribute.");
const BIND_VARS: Flag = list_flag("bind-vars", "Variable of a templated policy, as NAME=VALUE.");
const DESCRIPTION: Flag = text("description", "What the rule is for.");
const SELECTOR: Flag = text("selector", "Expression that an identity's attributes must fit.");

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "acl binding-rule create",
        synopsis: "Makes a binding rule.",
        arguments: "[options] -method NAME -bind-name NAME",
        flags: &[
            BIND_NAME,
            text_or(
                "bind-type",
                "service",
                "What is bound: service, node, role, policy, templated-policy.",
            ),
            BIND_VARS,
            DESCRIPTION,
            FORMAT,
            META,
            text("method", "Name of the auth method."),
            SELECTOR,
        ],
        reach: Reach::Agent,
        run: create,
    },
    Command {
        name: "acl binding-rule read",
        synopsis: "Prints a binding rule.",
        arguments: "[options] -id ID",
        flags: &[FORMAT, ID, META],
        reach: Reach::Agent,
        run: read,
    },
    Command {
        name: "acl binding-rule update",
        synopsis: "Changes a binding rule.",
        arguments: "[options] -id ID",
        flags: &[
            BIND_NAME,
            text("bind-type", "What is bound: service, node, role, policy, templated-policy."),
            BIND_VARS,
            DESCRIPTION,
            FORMAT,
            ID,
            META,
            NO_MERGE,
            SELECTOR,
        ],
        reach: Reach::Agent,
        run: update,
    },
    Command {
        name: "acl binding-rule delete",
        synopsis: "Removes a binding rule.",
        arguments: "[options] -id ID",
        flags: &[ID],
        reach: Reach::Agent,
        run: |call| {
            let client = call.client()?;
            RULE.delete(&client, &RULE.id_flag(call, &client)?)
        },
    },
    Command {
        name: "acl binding-rule list",
        synopsis: "Lists the binding rules.",
        arguments: "[options]",
        flags: &[FORMAT, META, text("method", "Name of an auth method; of all if left out.")],
        reach: Reach::Agent,
        run: list_all,
    },
];

/// Puts what the flags say into a rule.
fn fill(call: &Call, rule: &mut Value) -> anyhow::Result<()> {
    for (flag, name) in
        [("description", "Description"), ("bind-type", "BindType"), ("bind-name", "BindName")]
    {
        if !call.text(flag).is_empty() {
            rule[name] = call.text(flag).into();
        }
    }
    if call.has("selector") {
        rule["Selector"] = call.text("selector").into();
    }
    for (key, value) in call.pairs("bind-vars") {
        if !key.eq_ignore_ascii_case("name") {
            bail!("no template has a variable {key:?}");
        }
        rule["BindVars"] = json!({"Name": value});
    }
    Ok(())
}

fn create(call: &Call) -> Outcome {
    for flag in ["method", "bind-name"] {
        if call.text(flag).is_empty() {
            return call.wrong_use(&format!("Missing required '-{flag}' flag"));
        }
    }
    let mut rule = json!({"AuthMethod": call.text("method")});
    fill(call, &mut rule)?;
    let ask = Ask::put(RULE.one).json(&rule);
    let rule = call.client()?.json(&ask).context("Failed to create new binding rule")?;
    show(call, &rule, |rule| pretty(rule, "", call.is("meta")))
}

fn read(call: &Call) -> Outcome {
    let client = call.client()?;
    let id = RULE.id_flag(call, &client)?;
    let rule = client.find(&Ask::get(RULE.path(&id)));
    let rule = rule.with_context(|| format!("Error reading binding rule {id:?}"))?;
    let rule = rule.with_context(|| format!("Binding rule not found with ID {id:?}"))?;
    show(call, &rule, |rule| pretty(rule, "", call.is("meta")))
}

fn update(call: &Call) -> Outcome {
    let client = call.client()?;
    ensure!(
        !call.text("id").is_empty(),
        "Cannot update a binding rule without specifying the -id parameter"
    );
    let id = RULE.id_flag(call, &client)?;
    let known = client.find(&Ask::get(RULE.path(&id)));
    let known = known.context("Error when retrieving current binding rule")?;
    let known = known.with_context(|| format!("Binding rule not found with ID {id:?}"))?;
    let mut rule = known;
    if call.is("no-merge") {
        for flag in ["bind-type", "bind-name"] {
            if call.text(flag).is_empty() {
                return call.wrong_use(&format!("Missing required '-{flag}' flag"));
            }
        }
        rule = json!({"ID": id, "AuthMethod": rule["AuthMethod"]});
    }
    fill(call, &mut rule)?;
    let ask = Ask::put(RULE.path(&id)).json(&rule);
    let failed = || format!("Error updating binding rule {id:?}");
    let rule = client.json(&ask).with_context(failed)?;
    show(call, &rule, |rule| pretty(rule, "", call.is("meta")))
}

fn list_all(call: &Call) -> Outcome {
    let ask = Ask::get(RULE.all).with_some("authmethod", call.text("method"));
    let all = call.client()?.json(&ask).context("Failed to retrieve the binding rule list")?;
    show(call, &all, |all| {
        let mut text = String::new();
        for rule in list(all) {
            line!(text, "{}:", field(rule, "ID"));
            text.push_str(&pretty(rule, "   ", call.is("meta")));
        }
        text
    })
}

/// A rule as text, without its ID if it is indented.
fn pretty(rule: &Value, indent: &str, meta: bool) -> String {
    let mut text = String::new();
    for name in ["ID", "AuthMethod", "Description", "BindType", "BindName"] {
        if name != "ID" || indent.is_empty() {
            line!(text, "{indent}{:<14}{}", format!("{name}:"), field(rule, name));
        }
    }
    let variable = field(&rule["BindVars"], "Name");
    if !variable.is_empty() {
        line!(text, "{indent}BindVars:     \n{indent}   - Name: {variable}");
    }
    line!(text, "{indent}Selector:     {}", field(rule, "Selector"));
    if meta {
        add_meta(&mut text, rule, indent, 14);
    }
    text
}
