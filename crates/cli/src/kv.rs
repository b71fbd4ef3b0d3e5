//! `leno kv`: values under keys.

use std::fs;
use std::io::Read;
use std::process::ExitCode;

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::Value;

use crate::args::{Connection, Format, KvWhat, ListArguments};
use crate::client::AgentAt;
use crate::list::encoded;
use crate::output::{note, print_bytes, print_line, print_rows};

pub(crate) async fn run(what: KvWhat) -> anyhow::Result<ExitCode> {
    match what {
        KvWhat::Get { key, recurse: false, keys: false, list, .. } => get(&key, &list).await,
        KvWhat::Get { key, recurse: true, list, .. } => get_under(&key, &list).await,
        KvWhat::Get { key, separator, list, .. } => get_keys(&key, &separator, &list).await,
        KvWhat::Put { key, value, flags, cas, connection } => {
            put(&key, value_of(&value)?, (flags, cas), &connection).await
        }
        KvWhat::Delete { key, recurse, cas, connection } => {
            delete(&key, recurse, cas, &connection).await
        }
    }
}

async fn get(key: &str, list: &ListArguments) -> anyhow::Result<ExitCode> {
    if key.is_empty() {
        bail!("no key is given; with --recurse or --keys it may be left out");
    }
    let is_raw = list.output == Format::Table;
    let query = if is_raw { "raw" } else { "" };
    let Some(body) = ask(key, query, &list.connection).await? else {
        note(&format!("no key {key} exists"));
        return Ok(ExitCode::FAILURE);
    };
    if is_raw {
        print_bytes(&body);
        print_line("");
    } else {
        print_rows(list.output, &[], Vec::new(), &read(&body)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn get_under(prefix: &str, list: &ListArguments) -> anyhow::Result<ExitCode> {
    print_under(prefix, "recurse", list, |entry| {
        let value = STANDARD.decode(entry["Value"].as_str().unwrap_or_default());
        print_bytes(entry["Key"].as_str().unwrap_or_default().as_bytes());
        print_bytes(b":");
        print_bytes(&value.context("the agent's answer holds a value that is not base64")?);
        print_line("");
        Ok(())
    })
    .await
}

async fn get_keys(prefix: &str, separator: &str, list: &ListArguments) -> anyhow::Result<ExitCode> {
    let query = format!("keys&separator={}", encoded(separator));
    print_under(prefix, &query, list, |key| {
        print_line(key.as_str().unwrap_or_default());
        Ok(())
    })
    .await
}

/// Prints what the agent lists under `prefix`; in a table, each with `print`.
async fn print_under(
    prefix: &str,
    query: &str,
    list: &ListArguments,
    print: impl Fn(&Value) -> anyhow::Result<()>,
) -> anyhow::Result<ExitCode> {
    let Some(body) = ask(prefix, query, &list.connection).await? else {
        note(&format!("no key starts with {prefix:?}"));
        return Ok(ExitCode::FAILURE);
    };
    let found = read(&body)?;
    if list.output == Format::Table {
        found.as_array().into_iter().flatten().try_for_each(print)?;
    } else {
        print_rows(list.output, &[], Vec::new(), &found)?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn put(
    key: &str,
    value: Vec<u8>,
    (flags, cas): (u64, Option<u64>),
    connection: &Connection,
) -> anyhow::Result<ExitCode> {
    let cas = cas.map_or(String::new(), |index| format!("&cas={index}"));
    let query = format!("flags={flags}{cas}");
    if !write(Method::PUT, key, &query, value, connection).await? {
        note(&format!("error: {key} was not written: it was changed since that index"));
        return Ok(ExitCode::FAILURE);
    }
    print_line(&format!("Success! Data written to: {key}"));
    Ok(ExitCode::SUCCESS)
}

async fn delete(
    key: &str,
    recurse: bool,
    cas: Option<u64>,
    connection: &Connection,
) -> anyhow::Result<ExitCode> {
    let query = match cas {
        _ if recurse => "recurse".to_owned(),
        Some(index) => format!("cas={index}"),
        None => String::new(),
    };
    if !write(Method::DELETE, key, &query, Vec::new(), connection).await? {
        note(&format!("error: {key} was not deleted: it was changed since that index"));
        return Ok(ExitCode::FAILURE);
    }
    let what = if recurse { "keys with prefix" } else { "key" };
    print_line(&format!("Success! Deleted {what}: {key}"));
    Ok(ExitCode::SUCCESS)
}

fn value_of(value: &str) -> anyhow::Result<Vec<u8>> {
    if value == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).context("cannot read standard input")?;
        return Ok(bytes);
    }
    match value.strip_prefix('@') {
        Some(file) => fs::read(file).with_context(|| format!("cannot read {file}")),
        None => Ok(value.as_bytes().to_vec()),
    }
}

fn path_of(key: &str, query: &str) -> String {
    format!("{}?{query}", key_path(key))
}

/// The path of a key in the HTTP API, written so that no server cleans it.
pub(crate) fn key_path(key: &str) -> String {
    let path: Vec<String> = key.split('/').map(encoded).collect();
    // A slash that would be cleaned away is written as its code.
    let path = path.join("/").replace("//", "/%2F");
    let path = path.strip_prefix('/').map_or(path.clone(), |rest| format!("%2F{rest}"));
    format!("/v1/kv/{path}")
}

/// `None` when there is nothing of the kind.
async fn ask(key: &str, query: &str, connection: &Connection) -> anyhow::Result<Option<Bytes>> {
    let agent = AgentAt::of(connection)?;
    let (status, body) = agent.send(Method::GET, &path_of(key, query), Bytes::new()).await?;
    match status {
        StatusCode::OK => Ok(Some(body)),
        StatusCode::NOT_FOUND => Ok(None),
        _ => bail!("{agent}: {status}: {}", String::from_utf8_lossy(&body).trim()),
    }
}

/// False when a condition did not hold.
async fn write(
    method: Method,
    key: &str,
    query: &str,
    value: Vec<u8>,
    connection: &Connection,
) -> anyhow::Result<bool> {
    let agent = AgentAt::of(connection)?;
    let (status, body) = agent.send(method, &path_of(key, query), value).await?;
    if status != StatusCode::OK {
        bail!("{agent}: {status}: {}", String::from_utf8_lossy(&body).trim());
    }
    Ok(body.trim_ascii() == b"true")
}

fn read(body: &[u8]) -> anyhow::Result<Value> {
    serde_json::from_slice(body).context("the agent did not answer with JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_written_so_that_no_server_cleans_them() {
        for (key, path) in [
            ("a/b c", "/v1/kv/a/b%20c?q"),
            ("/a", "/v1/kv/%2Fa?q"),
            ("a//b", "/v1/kv/a/%2Fb?q"),
            ("a/", "/v1/kv/a/?q"),
            ("", "/v1/kv/?q"),
            ("ä?&", "/v1/kv/%C3%A4%3F%26?q"),
        ] {
            assert_eq!(path_of(key, "q"), path);
        }
    }
}
