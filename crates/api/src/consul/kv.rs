//! `/v1/kv`: what clients keep under keys.

use std::sync::Arc;

use acl::{Access as Right, Resource};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{Method, StatusCode};
use model::{KvEntry, KvKey, Revision, Stored, WatchKey};
use registry::{Command, KvCondition};

use super::read::Read;
use super::response::Reply;
use super::write::Door;
use super::{Answer, Call, Outcome};
use crate::json::JsonWriter;
use model::go::quote;

/// `GET`, `PUT` and `DELETE /v1/kv/:key`
pub(super) fn answer(call: &Call<'_>) -> Outcome {
    match *call.request.method() {
        Method::PUT => set(call),
        Method::DELETE => delete(call),
        _ if call.query.has("keys") => keys(call),
        _ if call.query.has("recurse") => list(call),
        _ => get(call),
    }
}

fn get(call: &Call<'_>) -> Outcome {
    let read = Read::of(call)?;
    let key = key(call)?;
    call.access().require(Resource::Key, Right::Read, key.as_str())?;
    let entry = call.catalog().kv(&key);
    let index = entry.map_or(call.catalog().kv_index(), |it| it.modified);
    let watched = || vec![WatchKey::Kv(key.clone())];
    Ok(read.reply(index, watched, || match entry {
        None => nothing(),
        Some(entry) if call.query.has("raw") => Reply::bytes(&entry.value.value),
        Some(entry) => call.json(|w| w.array(|w| shape(w, entry))),
    }))
}

fn list(call: &Call<'_>) -> Outcome {
    let read = Read::of(call)?;
    let prefix = KvKey::from(call.name);
    require_list(call, &prefix)?;
    let index = call.catalog().kv_index_under(&prefix);
    let watched = || vec![WatchKey::KvUnder(prefix.clone())];
    Ok(read.reply(index, watched, || {
        let entries = call.catalog().kv_under(&prefix);
        let entries: Vec<_> = entries.filter(|it| sees(call, it)).collect();
        if entries.is_empty() {
            return nothing();
        }
        call.json(|w| w.array(|w| entries.into_iter().for_each(|entry| shape(w, entry))))
    }))
}

fn keys(call: &Call<'_>) -> Outcome {
    let read = Read::of(call)?;
    let prefix = KvKey::from(call.name);
    require_list(call, &prefix)?;
    let index = call.catalog().kv_index_under(&prefix);
    // Consul takes this spelling, too.
    let separator = match call.query.text("separator") {
        "" => call.query.text("seperator"),
        given => given,
    };
    let watched = || vec![WatchKey::KvUnder(prefix.clone())];
    Ok(read.reply(index, watched, || {
        let found = cut_keys(call, &prefix, separator);
        if found.is_empty() && !prefix.is_empty() {
            return nothing();
        }
        call.json(|w| w.array(|w| found.into_iter().for_each(|key| w.string(key))))
    }))
}

/// The keys under a prefix, each cut behind the first separator after it and named once.
fn cut_keys<'a>(call: &Call<'a>, prefix: &KvKey, separator: &str) -> Vec<&'a str> {
    let prefix_bytes = prefix.as_str().len();
    let mut found: Vec<&str> = Vec::new();
    for entry in call.catalog().kv_under(prefix).filter(|it| sees(call, it)) {
        let key = entry.key.as_str();
        let cut = match key[prefix_bytes..].find(separator) {
            Some(at) if !separator.is_empty() => &key[..prefix_bytes + at + separator.len()],
            _ => key,
        };
        // Keys are in order, so those that are cut alike follow each other.
        if found.last() != Some(&cut) {
            found.push(cut);
        }
    }
    found
}

/// Where the agent is told so, listing needs more than seeing each key.
fn require_list(call: &Call<'_>, prefix: &KvKey) -> Result<(), Reply> {
    if !call.context.acl.settings().key_list {
        return Ok(());
    }
    call.access().require(Resource::Key, Right::List, prefix.as_str())
}

fn sees(call: &Call<'_>, entry: &KvEntry) -> bool {
    call.access().sees(Resource::Key, entry.key.as_str())
}

fn set(call: &Call<'_>) -> Outcome {
    call.refuse_tenancy()?;
    call.require_our_datacenter()?;
    let key = key(call)?;
    refuse_conflict(call, &["cas", "acquire", "release"])?;
    let flags = number(call, "flags")?.unwrap_or(0);
    let cas = number(call, "cas")?;
    let body = call.request.body();
    let bytes_max = call.agent().settings.kv_value_bytes_max;
    if body.len() > bytes_max {
        return Err(too_large(body.len(), bytes_max, "kv_max_value_size"));
    }
    let when = match (call.query.first("acquire"), call.query.first("release")) {
        (Some(session), _) => KvCondition::Acquire(session.into()),
        (None, Some(session)) => KvCondition::Release(session.into()),
        (None, None) => condition(cas),
    };
    let entry = KvEntry { key, value: Arc::from(&body[..]), flags, ..KvEntry::default() };
    write(call, Command::SetKv { entry, when })
}

fn delete(call: &Call<'_>) -> Outcome {
    call.refuse_tenancy()?;
    call.require_our_datacenter()?;
    refuse_conflict(call, &["recurse", "cas"])?;
    if call.query.has("recurse") {
        return write(call, Command::DeleteKvUnder(call.name.into()));
    }
    let key = key(call)?;
    let cas = number(call, "cas")?;
    write(call, Command::DeleteKv { key, when: condition(cas) })
}

fn write(call: &Call<'_>, command: Command) -> Outcome {
    Ok(Answer::Write(command, Door::Kv { is_pretty: call.query.has("pretty") }))
}

fn condition(cas: Option<u64>) -> KvCondition {
    cas.map_or(KvCondition::Always, |index| KvCondition::ModifiedAt(Revision(index)))
}

/// # Errors
/// 400 when the path has none.
fn key(call: &Call<'_>) -> Result<KvKey, Reply> {
    match call.name {
        "" => Err(Reply::text(StatusCode::BAD_REQUEST, "Missing key name")),
        name => Ok(name.into()),
    }
}

/// # Errors
/// 400 when more than one of these parameters is given.
fn refuse_conflict(call: &Call<'_>, parameters: &[&str]) -> Result<(), Reply> {
    if parameters.iter().filter(|it| call.query.has(it)).count() < 2 {
        return Ok(());
    }
    let text = format!("Conflicting flags: {}\n", call.query.encode());
    Err(Reply::text(StatusCode::BAD_REQUEST, text))
}

/// A parameter that is a number of 64 bits; `None` when it is not given.
///
/// # Errors
/// 500 with Go's text when it is none.
fn number(call: &Call<'_>, parameter: &str) -> Result<Option<u64>, Reply> {
    let Some(text) = call.query.first(parameter) else { return Ok(None) };
    let is_digits = !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    match text.parse() {
        Ok(number) if is_digits => Ok(Some(number)),
        _ => {
            let why = if is_digits { "value out of range" } else { "invalid syntax" };
            let text = format!("strconv.ParseUint: parsing {}: {why}", quote(text));
            Err(Reply::text(StatusCode::INTERNAL_SERVER_ERROR, text))
        }
    }
}

pub(super) fn too_large(bytes: usize, bytes_max: usize, limit: &str) -> Reply {
    let text = format!(
        "Request body({bytes} bytes) too large, max size: {bytes_max} bytes. See \
         https://developer.hashicorp.com/docs/agent/config/config-files#{limit}."
    );
    Reply::text(StatusCode::PAYLOAD_TOO_LARGE, text)
}

/// What is said of a key that is not there, and of a prefix that no key has.
fn nothing() -> Reply {
    Reply::empty().with_status(StatusCode::NOT_FOUND)
}

fn shape(w: &mut JsonWriter, entry: &Stored<KvEntry>) {
    shape_at(w, entry, (entry.created, entry.modified));
}

/// An entry with the revisions of its making and of its last change.
pub(super) fn shape_at(
    w: &mut JsonWriter,
    entry: &KvEntry,
    (created, modified): (Revision, Revision),
) {
    w.object(|w| {
        w.number_field("LockIndex", entry.lock_index);
        w.string_field("Key", entry.key.as_str());
        w.number_field("Flags", entry.flags);
        w.key("Value");
        match &entry.value[..] {
            // Clients take either for an empty value.
            [] => w.null(),
            value => w.string(&STANDARD.encode(value)),
        }
        w.string_field_if_any("Session", entry.session.as_str());
        w.number_field("CreateIndex", created.0);
        w.number_field("ModifyIndex", modified.0);
    });
}
