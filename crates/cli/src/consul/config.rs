//! `consul config`: config entries.

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use super::client::Ask;
use super::command::{Call, Command, Outcome, Reach};
use super::document;
use super::flags::{Flag, Kind, flag, switch, text};
use super::print::{field, json, list};
use crate::list::encoded;
use crate::output::print_line;

const KIND: Flag = text("kind", "Kind of the entry, such as service-defaults.");
const NAME: Flag = text("name", "Name of the entry.");
const CAS: Flag = switch("cas", "Only if its index is still -modify-index; 0: if there is none.");
const INDEX: Flag = flag("modify-index", Kind::Unsigned, "Index for -cas.");

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "config write",
        synopsis: "Writes a config entry, from a file or from standard input (-).",
        arguments: "[options] FILE",
        flags: &[CAS, INDEX],
        reach: Reach::Agent,
        run: write,
    },
    Command {
        name: "config read",
        synopsis: "Prints a config entry as JSON.",
        arguments: "[options] -kind KIND -name NAME",
        flags: &[KIND, NAME],
        reach: Reach::Agent,
        run: read,
    },
    Command {
        name: "config list",
        synopsis: "Lists the names of the config entries of a kind.",
        arguments: "[options] -kind KIND",
        flags: &[KIND, text("filter", "Expression that entries must fit.")],
        reach: Reach::Agent,
        run: list_entries,
    },
    Command {
        name: "config delete",
        synopsis: "Removes a config entry.",
        arguments: "[options] -kind KIND -name NAME",
        flags: &[KIND, NAME, CAS, INDEX, text("filename", "File of the entry, for kind and name.")],
        reach: Reach::Agent,
        run: delete,
    },
];

/// Kind and name, or what there is instead in the file.
fn kind_and_name(call: &Call) -> anyhow::Result<(String, String)> {
    let (kind, name) = (call.text("kind"), call.text("name"));
    ensure!(!kind.is_empty(), "Must specify the -kind parameter");
    ensure!(!name.is_empty(), "Must specify the -name parameter");
    Ok((kind.to_owned(), name.to_owned()))
}

fn identity(entry: &Value) -> anyhow::Result<(String, String)> {
    let text = |name: &str| document::value(entry, name).as_str().unwrap_or_default().to_owned();
    let (kind, name) = (text("kind"), text("name"));
    ensure!(!kind.is_empty(), "Payload does not contain a kind/Kind key at the top level");
    // Of these kinds there is one entry; its name may be left out.
    let name = match kind.as_str() {
        "mesh" if name.is_empty() => "mesh".to_owned(),
        "proxy-defaults" if name.is_empty() => "global".to_owned(),
        _ => name,
    };
    Ok((kind, name))
}

fn path(kind: &str, name: &str) -> String {
    format!("/v1/config/{}/{}", encoded(kind), encoded(name))
}

fn write(call: &Call) -> Outcome {
    let [source] = call.positional() else {
        bail!("Must provide exactly one positional argument to specify the config entry to write");
    };
    let entry = document::read(source).context("Failed to decode config entry input")?;
    let (kind, name) = identity(&entry).context("Failed to decode config entry input")?;
    let mut ask = Ask::put("/v1/config").json(&entry);
    if call.is("cas") {
        ask = ask.with("cas", call.unsigned("modify-index"));
    }
    let failed = || format!("Error writing config entry {kind}/{name}");
    let written = call.client()?.verdict(&ask).with_context(failed)?;
    ensure!(written, "Config entry not updated: {kind}/{name}");
    print_line(&format!("Config entry written: {kind}/{name}"));
    Ok(0)
}

fn read(call: &Call) -> Outcome {
    let (kind, name) = kind_and_name(call)?;
    let entry = call.client()?.json(&Ask::get(path(&kind, &name)));
    let entry = entry.with_context(|| format!("Error reading config entry {kind}/{name}"))?;
    print_line(&json(&entry, "    "));
    Ok(0)
}

fn list_entries(call: &Call) -> Outcome {
    let kind = call.text("kind");
    ensure!(!kind.is_empty(), "Must specify the -kind parameter");
    let ask = Ask::get(format!("/v1/config/{}", encoded(kind)));
    let all = call.client()?.json(&ask.with_some("filter", call.text("filter")));
    let all = all.with_context(|| format!("Error listing config entries for kind {kind:?}"))?;
    list(&all).iter().for_each(|entry| print_line(field(entry, "Name")));
    Ok(0)
}

fn delete(call: &Call) -> Outcome {
    let (kind, name) = match call.text("filename") {
        "" => kind_and_name(call)?,
        file => {
            let entry = document::read(file);
            let entry = entry.context("Failed to decode config entry input")?;
            identity(&entry).context("Failed to decode config entry input")?
        }
    };
    let failed = || format!("Error deleting config entry {kind}/{name}");
    let mut ask = Ask::delete(path(&kind, &name));
    let client = call.client()?;
    if call.is("cas") {
        ask = ask.with("cas", call.unsigned("modify-index"));
        let deleted = client.verdict(&ask).with_context(failed)?;
        ensure!(deleted, "Config entry not deleted: {kind}/{name}");
    } else {
        client.done(&ask).with_context(failed)?;
    }
    print_line(&format!("Config entry deleted: {kind}/{name}"));
    Ok(0)
}
