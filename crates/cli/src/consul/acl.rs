//! `consul acl`: tokens, policies, roles, auth methods and binding rules.

pub(crate) mod auth_method;
pub(crate) mod binding_rule;
mod links;
pub(crate) mod policy;
pub(crate) mod role;
pub(crate) mod templated_policy;
pub(crate) mod token;

use std::fmt::Write;

use anyhow::{Context, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::client::{Ask, Client};
use super::command::{Call, Command, Outcome, Reach, read_data, read_source, refuse};
use super::flags::{Flag, switch, text_or};
use super::print::{field, json, list};
use crate::list::encoded;
use crate::output::print_line;

/// The form of the output.
const FORMAT: Flag = text_or("format", "pretty", "Form of the output, pretty or json.");
/// Whether indexes and hashes are printed.
const META: Flag = switch("meta", "Print its hash and indexes as well.");
/// Whether an update keeps what it does not name.
const NO_MERGE: Flag = switch("no-merge", "Forget what is not given anew.");
/// Bytes of the text of a whole UUID.
const UUID_BYTES: usize = 36;

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "acl bootstrap",
        synopsis: "Makes the first token, which may do everything; can be done once.",
        arguments: "[options] [FILE_OF_A_SECRET]",
        flags: &[FORMAT],
        reach: Reach::Agent,
        run: bootstrap,
    },
    Command {
        name: "acl set-agent-token",
        synopsis: "Gives the agent a token: default, agent, recovery, replication, dns or \
                   config_file_service_registration.",
        arguments: "[options] TYPE TOKEN",
        flags: &[],
        reach: Reach::Agent,
        run: set_agent_token,
    },
];

fn bootstrap(call: &Call) -> Outcome {
    let mut ask = Ask::put("/v1/acl/bootstrap");
    match call.positional() {
        [] => {}
        [file] => {
            let secret = read_source(file).context("Error reading provided token")?;
            let secret = String::from_utf8_lossy(&secret).trim().to_owned();
            ask = ask.json(&json!({"BootstrapSecret": secret}));
        }
        _ => bail!("This command takes up to one argument"),
    }
    let token = call.client()?.json(&ask).context("Failed ACL bootstrapping")?;
    show(call, &token, |token| token::pretty(token, false))
}

fn set_agent_token(call: &Call) -> Outcome {
    let (kind, token) = match call.positional() {
        [] => return refuse("Error! Missing TYPE and TOKEN arguments"),
        [_] => return refuse("Error! Missing TOKEN argument"),
        [kind, token] => (kind.as_str(), read_data(token).context("Error!")?),
        more => {
            return refuse(format!("Error! Too many arguments: expected 2 got {}", more.len()));
        }
    };
    let name = match kind {
        "recovery" => "agent_recovery",
        "default" | "agent" | "replication" | "dns" | "config_file_service_registration" => kind,
        _ => return refuse("Unknown token type"),
    };
    let token = String::from_utf8_lossy(&token).trim().to_owned();
    let ask = Ask::put(format!("/v1/agent/token/{name}")).json(&json!({"Token": token}));
    let failed = || format!("Failed to set ACL token {kind:?}");
    call.client()?.done(&ask).with_context(failed)?;
    print_line(&format!("ACL token {kind:?} set successfully"));
    Ok(0)
}

/// Prints a value in the form that is asked for.
fn show(call: &Call, value: &Value, pretty: impl Fn(&Value) -> String) -> Outcome {
    match call.text("format") {
        "json" => print_line(&json(value, "    ")),
        "pretty" => {
            let text = pretty(value);
            if !text.is_empty() {
                print_line(&text);
            }
        }
        other => return refuse(format!("Unknown format: {other}")),
    }
    Ok(0)
}

/// Adds a line to a text in memory.
macro_rules! line {
    ($text:expr, $($arguments:tt)*) => {
        // Writing to memory does not fail.
        let _ = writeln!($text, $($arguments)*);
    };
}
use line;

/// The lines about hash and indexes, with names of a common width.
fn add_meta(text: &mut String, value: &Value, indent: &str, width: usize) {
    if let Some(hash) = value["Hash"].as_str() {
        let bytes = STANDARD.decode(hash).unwrap_or_default();
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        line!(text, "{indent}{:<width$}{digits}", "Hash:");
    }
    line!(text, "{indent}{:<width$}{}", "Create Index:", value["CreateIndex"]);
    line!(text, "{indent}{:<width$}{}", "Modify Index:", value["ModifyIndex"]);
}

/// A kind of object, for looking it up by a part of its ID.
struct Kind {
    /// What it is called in sentences.
    noun: &'static str,
    /// The path of the list of all.
    all: &'static str,
    /// The field of the ID.
    id: &'static str,
    /// The path before an ID.
    one: &'static str,
}

impl Kind {
    /// The whole ID that begins with `partial`.
    fn id(&self, client: &Client, partial: &str) -> anyhow::Result<String> {
        if partial.len() == UUID_BYTES {
            return Ok(partial.to_owned());
        }
        let all = client.json(&Ask::get(self.all))?;
        let mut fitting =
            list(&all).iter().map(|it| field(it, self.id)).filter(|id| id.starts_with(partial));
        let found = fitting.next();
        let noun = self.noun;
        let found = found.with_context(|| format!("No such {noun} ID with prefix: {partial}"))?;
        ensure!(fitting.next().is_none(), "Partial {noun} ID is not unique");
        Ok(found.to_owned())
    }

    /// The whole ID that `-id` means, for commands that need it.
    fn id_flag(&self, call: &Call, client: &Client) -> anyhow::Result<String> {
        ensure!(!call.text("id").is_empty(), "Must specify the -id parameter");
        let id = self.id(client, call.text("id"));
        id.with_context(|| format!("Error determining {} ID", self.noun))
    }

    fn path(&self, id: &str) -> String {
        format!("{}/{}", self.one, encoded(id))
    }

    fn delete(&self, client: &Client, id: &str) -> Outcome {
        let noun = self.noun;
        let failed = || format!("Error deleting {noun} {id:?}");
        client.done(&Ask::delete(self.path(id))).with_context(failed)?;
        let mut name = noun.to_owned();
        name[..1].make_ascii_uppercase();
        print_line(&format!("{name} {id:?} deleted successfully"));
        Ok(0)
    }
}
