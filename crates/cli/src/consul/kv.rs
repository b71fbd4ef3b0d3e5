//! `consul kv`: values under keys.

use anyhow::{Context, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use serde_json::{Value, json};

use super::client::{Ask, Client};
use super::command::{Call, Command, Outcome, Reach, read_data, refuse};
use super::flags::{Kind, flag, switch, text, text_or};
use super::print::{aligned, field, json, list};
use crate::kv::key_path;
use crate::output::{note, print_bytes, print_line};

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "kv get",
        synopsis: "Prints the value under a key, or what is under a prefix.",
        arguments: "[options] [KEY_OR_PREFIX]",
        flags: &[
            switch("base64", "Print values in base64."),
            switch("detailed", "Print all that is known about each key."),
            switch("keys", "Print the keys alone."),
            switch("recurse", "Print all keys with the prefix, with their values."),
            text_or("separator", "/", "With -keys: cut keys off after it, past the prefix."),
        ],
        reach: Reach::Agent,
        run: get,
    },
    Command {
        name: "kv put",
        synopsis: "Keeps a value under a key: DATA itself, @FILE, or - for standard input.",
        arguments: "[options] KEY [DATA]",
        flags: &[
            switch("acquire", "Take the lock of the key with -session."),
            switch("base64", "DATA is in base64."),
            switch("cas", "Only if the key's index is still -modify-index; 0: if there is no key."),
            flag("flags", Kind::Unsigned, "A number to keep beside the value."),
            flag("modify-index", Kind::Unsigned, "Index for -cas."),
            switch("release", "Give back the lock of the key with -session."),
            text("session", "ID of a session."),
        ],
        reach: Reach::Agent,
        run: put,
    },
    Command {
        name: "kv delete",
        synopsis: "Removes a key, or all keys with a prefix.",
        arguments: "[options] KEY_OR_PREFIX",
        flags: &[
            switch("cas", "Only if the key's index is still -modify-index."),
            flag("modify-index", Kind::Unsigned, "Index for -cas."),
            switch("recurse", "Remove all keys with the prefix."),
        ],
        reach: Reach::Agent,
        run: delete,
    },
    Command {
        name: "kv export",
        synopsis: "Prints all keys with a prefix as JSON, for `consul kv import`.",
        arguments: "[options] [KEY_OR_PREFIX]",
        flags: &[],
        reach: Reach::Agent,
        run: export,
    },
    Command {
        name: "kv import",
        synopsis: "Keeps what `consul kv export` printed: DATA itself, @FILE, or - for standard input.",
        arguments: "[options] DATA",
        flags: &[text("prefix", "Written before each key, with a slash between.")],
        reach: Reach::Agent,
        run: import,
    },
];

/// The key of `text`: keys do not begin with a slash, though people write it.
fn key_of(text: &str) -> &str {
    text.strip_prefix('/').unwrap_or(text)
}

/// `None` when there is nothing of the kind.
fn read(client: &Client, ask: &Ask) -> anyhow::Result<Option<Value>> {
    client.find(ask).context("Error querying Consul agent")
}

/// The bytes of an entry's value.
pub(crate) fn value_of(entry: &Value) -> anyhow::Result<Vec<u8>> {
    let value = STANDARD.decode(field(entry, "Value"));
    value.context("the agent's answer holds a value that is not base64")
}

fn get(call: &Call) -> Outcome {
    let key = key_of(call.argument()?.unwrap_or_default());
    let (keys, recurse) = (call.is("keys"), call.is("recurse"));
    if key.is_empty() && !keys && !recurse {
        bail!("Error! Missing KEY argument");
    }
    let client = call.client()?;
    let ask = Ask::get(key_path(key));
    if keys {
        let ask = ask.with("keys", "").with_some("separator", call.text("separator"));
        let found = read(&client, &ask)?.unwrap_or_default();
        list(&found).iter().filter_map(Value::as_str).for_each(print_line);
        return Ok(0);
    }
    if recurse {
        let found = read(&client, &ask.with("recurse", ""))?.unwrap_or_default();
        for (at, entry) in list(&found).iter().enumerate() {
            if call.is("detailed") {
                if at > 0 {
                    print_line("");
                }
                print_details(entry, call.is("base64"))?;
            } else {
                print_bytes(format!("{}:", field(entry, "Key")).as_bytes());
                print_value(entry, call.is("base64"))?;
            }
        }
        return Ok(0);
    }
    let found = read(&client, &ask)?.unwrap_or_default();
    let Some(entry) = list(&found).first() else {
        return refuse(format!("Error! No key exists at: {key}"));
    };
    if call.is("detailed") {
        print_details(entry, call.is("base64"))?;
    } else {
        print_value(entry, call.is("base64"))?;
    }
    Ok(0)
}

fn print_value(entry: &Value, base64: bool) -> anyhow::Result<()> {
    let value = value_of(entry)?;
    if base64 {
        print_bytes(STANDARD.encode(value).as_bytes());
    } else {
        print_bytes(&value);
    }
    print_line("");
    Ok(())
}

fn print_details(entry: &Value, base64: bool) -> anyhow::Result<()> {
    let session = match field(entry, "Session") {
        "" => "-",
        session => session,
    };
    let mut rows: Vec<Vec<String>> = ["CreateIndex", "Flags", "Key", "LockIndex", "ModifyIndex"]
        .iter()
        .map(|name| match &entry[*name] {
            Value::String(text) => vec![(*name).to_owned(), text.clone()],
            number => vec![(*name).to_owned(), number.to_string()],
        })
        .collect();
    rows.push(vec!["Session".to_owned(), session.to_owned()]);
    rows.push(vec!["Value".to_owned(), String::new()]);
    print_bytes(aligned(&rows, 6).as_bytes());
    print_value(entry, base64)
}

fn put(call: &Call) -> Outcome {
    let (key, data) = match call.positional() {
        [] => return refuse("Error! Missing KEY argument"),
        [key] => (key_of(key), ""),
        [key, data] => (key_of(key), data.as_str()),
        more => {
            return refuse(format!(
                "Error! Too many arguments (expected 1 or 2, got {})",
                more.len()
            ));
        }
    };
    let mut value = read_data(data).context("Error!")?;
    if call.is("base64") {
        value = STANDARD.decode(value.trim_ascii()).context("Error! Cannot base 64 decode data")?;
    }
    let (acquire, release) = (call.is("acquire"), call.is("release"));
    let session = call.text("session");
    if (acquire || release) && session.is_empty() {
        bail!("Error! Missing -session (required with -acquire and -release)");
    }
    let client = call.client()?;
    let mut ask = Ask::put(key_path(key)).bytes(value);
    if call.unsigned("flags") != 0 {
        ask = ask.with("flags", call.unsigned("flags"));
    }
    if call.is("cas") {
        let ask = ask.with("cas", call.unsigned("modify-index"));
        let failed = || format!("Error! Did not write to {key}");
        ensure!(client.verdict(&ask).with_context(failed)?, "{}: CAS failed", failed());
        print_line(&format!("Success! Data written to: {key}"));
    } else if acquire {
        let ask = ask.with("acquire", session);
        let taken = client.verdict(&ask).context("Error! Failed writing data")?;
        ensure!(taken, "Error! Did not acquire lock");
        print_line(&format!("Success! Lock acquired on: {key}"));
    } else if release {
        let ask = ask.with("release", session);
        let given_back = client.verdict(&ask).context("Error! Failed writing data")?;
        ensure!(given_back, "Error! Did not release lock");
        print_line(&format!("Success! Lock released on: {key}"));
    } else {
        client.done(&ask).context("Error! Failed writing data")?;
        print_line(&format!("Success! Data written to: {key}"));
    }
    Ok(0)
}

fn delete(call: &Call) -> Outcome {
    let key = match call.positional() {
        [] => "",
        [key] => key_of(key),
        more => return refuse(format!("Too many arguments (expected 1, got {})", more.len())),
    };
    let (cas, recurse) = (call.is("cas"), call.is("recurse"));
    let index = call.unsigned("modify-index");
    ensure!(!key.is_empty() || recurse, "Error! Missing KEY argument");
    ensure!(!cas || !recurse, "Cannot specify both -cas and -recurse!");
    ensure!(!cas || index != 0, "Must specify -modify-index with -cas!");
    ensure!(cas || index == 0, "Cannot specify -modify-index without -cas!");
    let client = call.client()?;
    let failed = || format!("Error! Did not delete key {key}");
    let ask = Ask::delete(key_path(key));
    if recurse {
        let failed = || format!("Error! Did not delete prefix {key}");
        client.done(&ask.with("recurse", "")).with_context(failed)?;
        print_line(&format!("Success! Deleted keys with prefix: {key}"));
        return Ok(0);
    }
    if cas {
        let deleted = client.verdict(&ask.with("cas", index)).with_context(failed)?;
        ensure!(deleted, "{}: CAS failed", failed());
    } else {
        client.done(&ask).with_context(failed)?;
    }
    print_line(&format!("Success! Deleted key: {key}"));
    Ok(0)
}

fn export(call: &Call) -> Outcome {
    let key = key_of(call.argument()?.unwrap_or_default());
    let ask = Ask::get(key_path(key)).with("recurse", "");
    let found = read(&call.client()?, &ask)?.unwrap_or_default();
    let entries = list(&found).iter().map(|entry| {
        // A value that is null has no bytes.
        json!({"key": entry["Key"], "flags": entry["Flags"], "value": field(entry, "Value")})
    });
    print_line(&json(&entries.collect(), "\t"));
    Ok(0)
}

fn import(call: &Call) -> Outcome {
    let data = match call.argument().context("Error!")? {
        None => return refuse("Error! Missing DATA argument"),
        Some("") => return refuse("Error! Empty DATA argument"),
        Some(data) => read_data(data).context("Error!")?,
    };
    let entries: Value = serde_json::from_slice(&data).context("Cannot unmarshal data")?;
    let Some(entries) = entries.as_array() else {
        bail!("Cannot unmarshal data: it is no list of keys");
    };
    let client = call.client()?;
    for (at, entry) in entries.iter().enumerate() {
        let name = entry["key"].as_str();
        let name = name.with_context(|| format!("Cannot unmarshal data: entry {at} has no key"))?;
        let value = STANDARD.decode(field(entry, "value"));
        let value =
            value.with_context(|| format!("Error base 64 decoding value for key {name}"))?;
        let key = match call.text("prefix").trim_end_matches('/') {
            "" => name.to_owned(),
            prefix => format!("{prefix}/{name}"),
        };
        let mut ask = Ask::put(key_path(&key)).bytes(value);
        if let Some(flags) = entry["flags"].as_u64().filter(|flags| *flags != 0) {
            ask = ask.with("flags", flags);
        }
        let failed = || format!("Error! Failed writing data for key {key}");
        let answer = client.ask(&ask).with_context(failed)?;
        if answer.status == StatusCode::PAYLOAD_TOO_LARGE {
            note(&format!("{key}: the value is too large"));
        }
        answer.ok().with_context(failed)?;
        print_line(&format!("Imported: {key}"));
    }
    Ok(0)
}
