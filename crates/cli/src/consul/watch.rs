//! `consul watch`: waits for changes, and prints the first state or hands each to a program.

use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use http::StatusCode;
use runtime::{Foreground, Input, Termination};
use serde_json::{Value, json};

use super::client::{Ask, Client};
use super::command::{Call, Command, Outcome, Reach, refuse};
use super::flags::{Kind, boolean, flag, list as list_flag, text};
use super::handler;
use super::print::{field, json, json_line, list};
use crate::kv::key_path;
use crate::list::encoded;
use crate::output::{note, print_line};

/// The pause after a failure, times the square of how many there were.
const RETRY: Duration = Duration::from_secs(5);
const RETRY_MAX: Duration = Duration::from_secs(180);

pub(crate) const COMMANDS: &[Command] = &[Command {
    name: "watch",
    synopsis: "Waits for changes: prints the first state, or gives each as JSON to a program's standard input.",
    arguments: "[options] [PROGRAM...]",
    flags: &[
        text("filter", "Expression that results must fit."),
        text("key", "Key to watch."),
        text("name", "Name of the events to watch; all if left out."),
        text("passingonly", "true: only instances of which all checks pass."),
        text("prefix", "Prefix of the keys to watch."),
        text("service", "Service to watch; its ID for agent_service."),
        flag("shell", Kind::Switch(true), "Run the program by a shell."),
        text("state", "State of the checks to watch."),
        list_flag("tag", "Tag that instances must have."),
        text(
            "type",
            "key, keyprefix, services, nodes, service, checks, event, connect_roots, connect_leaf or \
             agent_service.",
        ),
    ],
    reach: Reach::Agent,
    run: watch,
}];

/// By what a source says that it has changed.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Mark {
    Index(u64),
    Hash(String),
}

/// What is watched.
#[derive(Debug)]
struct Source {
    ask: Ask,
    form: Form,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    /// As it is answered.
    Whole,
    /// The only entry of a list of keys.
    Key,
    /// A list of keys.
    Keys,
    /// Events, of which only new ones count.
    Events,
    /// Marked by a hash.
    Hashed,
}

fn watch(call: &Call) -> Outcome {
    if call.text("type").is_empty() {
        return call.wrong_use("Watch type must be specified");
    }
    let source = source(call)?;
    let client = call.client()?;
    client.own()?;
    client.block_on(follow(call, &client, &source))
}

/// Which flags belong to a type.
fn flags_of(kind: &str) -> Option<&'static [&'static str]> {
    Some(match kind {
        "key" => &["key"],
        "keyprefix" => &["prefix"],
        "services" | "nodes" => &["filter"],
        "service" => &["service", "tag", "passingonly", "filter"],
        "checks" => &["service", "state", "filter"],
        "event" => &["name"],
        "connect_roots" => &[],
        "connect_leaf" | "agent_service" => &["service"],
        _ => return None,
    })
}

fn source(call: &Call) -> anyhow::Result<Source> {
    let kind = call.text("type");
    let Some(flags) = flags_of(kind) else {
        return refuse(format!("Unsupported watch type: {kind}"));
    };
    let all = ["filter", "key", "name", "passingonly", "prefix", "service", "state", "tag"];
    let wrong: Vec<&str> =
        all.into_iter().filter(|it| !flags.contains(it) && call.has(it)).collect();
    ensure!(wrong.is_empty(), "Invalid parameters: [{}]", wrong.join(" "));
    let (service, state) = (call.text("service"), call.text("state"));
    let whole = |path: String| Source {
        ask: Ask::get(path).with_some("filter", call.text("filter")),
        form: Form::Whole,
    };
    Ok(match kind {
        "key" => {
            let key = call.text("key");
            ensure!(!key.is_empty(), "Must specify a single key to watch");
            Source { ask: Ask::get(key_path(key)), form: Form::Key }
        }
        "keyprefix" => {
            let prefix = call.text("prefix");
            ensure!(!prefix.is_empty(), "Must specify a single prefix to watch");
            Source { ask: Ask::get(key_path(prefix)).with("recurse", ""), form: Form::Keys }
        }
        "services" | "nodes" => whole(format!("/v1/catalog/{kind}")),
        "service" => {
            ensure!(!service.is_empty(), "Must specify a single service to watch");
            let mut source = whole(format!("/v1/health/service/{}", encoded(service)));
            for tag in call.list("tag") {
                source.ask = source.ask.with("tag", tag);
            }
            if call.has("passingonly") {
                let only = boolean(call.text("passingonly"));
                let only = only.context("Failed to parse passingonly flag: it is true or false")?;
                source.ask = if only { source.ask.with("passing", 1) } else { source.ask };
            }
            source
        }
        "checks" => {
            ensure!(service.is_empty() || state.is_empty(), "Cannot specify service and state");
            match (service, state) {
                ("", "") => whole("/v1/health/state/any".to_owned()),
                ("", state) => whole(format!("/v1/health/state/{}", encoded(state))),
                (service, _) => whole(format!("/v1/health/checks/{}", encoded(service))),
            }
        }
        "event" => Source {
            ask: Ask::get("/v1/event/list").with_some("name", call.text("name")),
            form: Form::Events,
        },
        "connect_roots" => whole("/v1/agent/connect/ca/roots".to_owned()),
        _ => {
            ensure!(!service.is_empty(), "Must specify a single service to watch");
            let (path, form) = match kind {
                "connect_leaf" => ("/v1/agent/connect/ca/leaf", Form::Whole),
                _ => ("/v1/agent/service", Form::Hashed),
            };
            Source { ask: Ask::get(format!("{path}/{}", encoded(service))), form }
        }
    })
}

/// Asks once; `last` is what the answer must differ from, unless the time for waiting is over.
async fn fetch(
    client: &Client,
    source: &Source,
    last: Option<&Mark>,
) -> anyhow::Result<(Mark, Value)> {
    let ask = source.ask.clone();
    let ask = match last {
        None | Some(Mark::Index(0)) => ask,
        Some(Mark::Index(index)) => ask.with("index", index),
        Some(Mark::Hash(hash)) => ask.with("hash", hash),
    };
    let answer = client.send(&ask).await?;
    let index = Mark::Index(answer.index());
    let is_key = matches!(source.form, Form::Key | Form::Keys);
    if is_key && answer.status == StatusCode::NOT_FOUND {
        return Ok((index, Value::Null));
    }
    let value = answer.ok()?.json()?;
    Ok(match source.form {
        Form::Whole => (index, value),
        Form::Key => (index, list(&value).first().map_or(Value::Null, pair)),
        Form::Keys => (index, list(&value).iter().map(pair).collect()),
        Form::Hashed => (Mark::Hash(field(&value, "ContentHash").to_owned()), value),
        Form::Events => {
            let seen =
                |event: &Value| Some(event_index(field(event, "ID"))) == last.and_then(number);
            let all = list(&value);
            let new = all.iter().rposition(seen).map_or(0, |at| at + 1);
            (index, all[new..].to_vec().into())
        }
    })
}

fn number(mark: &Mark) -> Option<u64> {
    match mark {
        Mark::Index(index) => Some(*index),
        Mark::Hash(_) => None,
    }
}

/// An entry with the fields in the order of Consul's client.
fn pair(entry: &Value) -> Value {
    json!({
        "Key": entry["Key"],
        "CreateIndex": entry["CreateIndex"],
        "ModifyIndex": entry["ModifyIndex"],
        "LockIndex": entry["LockIndex"],
        "Flags": entry["Flags"],
        "Value": entry["Value"],
        "Session": field(entry, "Session"),
    })
}

/// The index of a list of which this is the last event: both halves of its UUID, combined.
fn event_index(id: &str) -> u64 {
    let digits = id.replace('-', "");
    let half = |range| digits.get(range).and_then(|it| u64::from_str_radix(it, 16).ok());
    half(0..16).unwrap_or(0) ^ half(16..32).unwrap_or(0)
}

async fn follow(call: &Call, client: &Client, source: &Source) -> Outcome {
    let mut termination = Termination::listen().context("cannot listen to signals")?;
    let mut last: Option<Mark> = None;
    let mut last_value = Value::Null;
    let mut failures: u32 = 0;
    loop {
        let fetched = tokio::select! {
            fetched = fetch(client, source, last.as_ref()) => fetched,
            _ = termination.next() => return Ok(0),
        };
        let (mark, value) = match fetched {
            Ok(fetched) => fetched,
            Err(error) => {
                failures = failures.saturating_add(1);
                last = None;
                let retry = RETRY.saturating_mul(failures.saturating_mul(failures)).min(RETRY_MAX);
                let kind = call.text("type");
                note(&format!(
                    "Watch errored: type={kind} error={error:#} retry={}s",
                    retry.as_secs()
                ));
                tokio::select! {
                    () = tokio::time::sleep(retry) => continue,
                    _ = termination.next() => return Ok(0),
                }
            }
        };
        failures = 0;
        if last.as_ref() == Some(&mark) {
            continue;
        }
        let was_first = last.replace(mark.clone()).is_none();
        if !was_first && last_value == value {
            continue;
        }
        if call.positional().is_empty() {
            print_line(&json(&value, "    "));
            return Ok(0);
        }
        let handled = handle(call, &mark, &value, &mut termination).await;
        if let Some(code) = handled.context("Error executing handler")? {
            return Ok(code);
        }
        last_value = value;
    }
}

/// Runs the handler; `Some` when the watch ends.
async fn handle(
    call: &Call,
    mark: &Mark,
    value: &Value,
    termination: &mut Termination,
) -> anyhow::Result<Option<u8>> {
    let index = number(mark).map(|index| index.to_string());
    let environment: Vec<(&str, &str)> =
        index.as_deref().map(|index| ("CONSUL_INDEX", index)).into_iter().collect();
    let spec = handler::spec(call.positional(), call.is("shell"), &environment);
    let input = Input::Bytes(format!("{}\n", json_line(value)).into_bytes());
    let mut child = Foreground::start(&spec, input)?;
    tokio::select! {
        exit = child.end() => match handler::complaint(exit?) {
            Some(complaint) => Err(anyhow!(complaint)),
            None => Ok(None),
        },
        _ = termination.next() => {
            handler::stop(&mut child).await;
            Ok(Some(0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_the_index_that_the_agent_gives_its_list() {
        let id = "b54fe110-7af5-cafc-d1fb-afc8ba432b1c";
        assert_eq!(event_index(id), 0xb54f_e110_7af5_cafc ^ 0xd1fb_afc8_ba43_2b1c);
        assert_eq!(event_index("short"), 0);
    }
}
