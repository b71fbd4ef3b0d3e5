//! `consul acl templated-policy`.

use std::fmt::Write;

use anyhow::{Context, ensure};
use serde_json::Value;

use super::super::client::Ask;
use super::super::command::{Call, Command, Outcome, Reach};
use super::super::flags::{Flag, list as list_flag, text};
use super::super::print::field;
use super::{FORMAT, META, line, links, policy, show};
use crate::list::encoded;

const NAME: Flag = text("name", "Name of the templated policy.");

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "acl templated-policy list",
        synopsis: "Lists the templated policies.",
        arguments: "[options]",
        flags: &[FORMAT],
        reach: Reach::Agent,
        run: list_all,
    },
    Command {
        name: "acl templated-policy read",
        synopsis: "Prints a templated policy.",
        arguments: "[options] -name NAME",
        flags: &[FORMAT, META, NAME],
        reach: Reach::Agent,
        run: read,
    },
    Command {
        name: "acl templated-policy preview",
        synopsis: "Prints the policy that a templated policy stands for.",
        arguments: "[options] -name NAME | -file FILE",
        flags: &[
            text("file", "File of one templated policy and its variables."),
            FORMAT,
            NAME,
            list_flag("var", "Variable of -name, as NAME:VALUE."),
        ],
        reach: Reach::Agent,
        run: preview,
    },
];

fn list_all(call: &Call) -> Outcome {
    let all = call.client()?.json(&Ask::get("/v1/acl/templated-policies"));
    let all = all.context("Failed to list the templated policies")?;
    show(call, &all, |all| {
        let all = all.as_object().into_iter().flatten();
        let mut names: Vec<&str> = all.map(|(_, it)| field(it, "TemplateName")).collect();
        names.sort_unstable();
        names.into_iter().fold(String::new(), |text, name| text + name + "\n")
    })
}

fn read(call: &Call) -> Outcome {
    let name = call.text("name");
    ensure!(!name.is_empty(), "Must specify the -name parameter");
    let found =
        call.client()?.find(&Ask::get(format!("/v1/acl/templated-policy/name/{}", encoded(name))));
    let found = found.with_context(|| format!("Error reading templated policy {name:?}"))?;
    let found = found.with_context(|| format!("Templated policy not found with name {name:?}"))?;
    show(call, &found, |policy| pretty(policy, call.is("meta")))
}

fn pretty(policy: &Value, meta: bool) -> String {
    let name = field(policy, "TemplateName");
    let mut text = String::new();
    line!(text, "Name:            {name}");
    let variable = match name {
        "builtin/node" => Some(("The node name.", "node-1")),
        "builtin/service" => Some(("The name of the service.", "api")),
        "builtin/api-gateway" => Some(("The api gateway service name.", "api-gateway")),
        _ => None,
    };
    if let Some((what, example)) = variable {
        line!(text, "Input variables:\n\tName: String - Required - {what}");
        line!(text, "Example usage:");
        line!(text, "\tconsul acl token create -templated-policy {name} -var name:{example}");
    } else {
        line!(text, "Input variables: None");
        line!(text, "Example usage:");
        line!(text, "\tconsul acl token create -templated-policy {name}");
    }
    if meta {
        if !field(policy, "Schema").is_empty() {
            line!(text, "Schema:\n{}\n", field(policy, "Schema"));
        }
        line!(text, "Raw Template:\n{}", field(policy, "Template"));
    }
    text
}

fn preview(call: &Call) -> Outcome {
    let (name, file) = (call.text("name"), call.text("file"));
    ensure!(
        !name.is_empty() || !file.is_empty(),
        "Cannot preview a templated policy without specifying -name or -file"
    );
    let policies = links::with_variables(name, file, &call.list("var"))?;
    let [template] = &policies[..] else {
        anyhow::bail!("Can only preview a single templated policy at a time.");
    };
    let name = encoded(field(template, "TemplateName"));
    let mut ask = Ask::post(format!("/v1/acl/templated-policy/preview/{name}"));
    if template["TemplateVariables"].is_object() {
        ask = ask.json(&template["TemplateVariables"]);
    }
    let policy = call.client()?.json(&ask);
    let policy = policy.context("Failed to generate the templated policy preview")?;
    show(call, &policy, |it| policy::pretty(it, false))
}
