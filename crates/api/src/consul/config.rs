//! `/v1/config`: configuration entries, and `/v1/exported-services`.

use std::collections::{BTreeMap, BTreeSet};

use acl::Access as Right;
use config_entries::view::{Exported, ExportedService, view};
use config_entries::{Lookup, find, shown_body};
use http::{Method, StatusCode};
use model::go::quote;
use model::{ConfigEntry, Found, Record, RecordKey, Revision, Table, Tabled, WatchKey};
use registry::{Command, RecordCondition};

use super::params::parse_index;
use super::read::Read;
use super::response::Reply;
use super::vet::entry_permission;
use super::write::{Door, word};
use super::{Answer, Call, Outcome, decode};
use crate::json::JsonWriter;

/// What wakes who waits for entries.
pub(super) fn watched() -> Vec<WatchKey> {
    vec![WatchKey::Table(Table::ConfigEntry)]
}

/// When any entry last changed.
pub(super) fn index(call: &Call<'_>) -> Revision {
    call.catalog().table_index(Table::ConfigEntry)
}

/// `PUT /v1/config`
pub(super) fn apply(call: &Call<'_>) -> Outcome {
    call.refuse_tenancy()?;
    call.require_our_datacenter()?;
    let entry = decode::config_entry(call.request.body())?;
    let when = condition(call)?;
    let is_pretty = call.query.has("pretty");
    let door = Door::Config { done: word("true", is_pretty), stale: word("false", is_pretty) };
    Ok(Answer::Write(Command::PutRecord { record: Record::ConfigEntry(entry), when }, door))
}

/// `GET` and `DELETE /v1/config/:kind` and `/v1/config/:kind/:name`
pub(super) fn answer(call: &Call<'_>) -> Outcome {
    let is_delete = *call.request.method() == Method::DELETE;
    match (call.name.split_once('/'), is_delete) {
        (Some((kind, name)), false) => one(call, kind, name),
        (None, false) => list(call, call.name),
        (Some((kind, name)), true) => delete(call, kind, name),
        (None, true) => {
            let text = "Must provide both a kind and name to delete";
            Err(Reply::text(StatusCode::NOT_FOUND, text))
        }
    }
}

fn one(call: &Call<'_>, kind: &str, name: &str) -> Outcome {
    let read = Read::of(call)?;
    require_kind(kind, StatusCode::INTERNAL_SERVER_ERROR)?;
    if let Some((resource, name)) = entry_permission(kind, name, Right::Read) {
        call.access().require(resource, Right::Read, name)?;
    }
    let found = call.catalog().record::<ConfigEntry>(&ConfigEntry::key_of(kind, name));
    Ok(read.reply(index(call), watched, || match found {
        Some(entry) => call.json(|w| show(w, &entry)),
        None => {
            let (kind, name) = (quote(kind), quote(name));
            let text = format!("Config entry not found for {kind} / {name}");
            Reply::text(StatusCode::NOT_FOUND, text)
        }
    }))
}

/// All of a kind; without a kind, all.
fn list(call: &Call<'_>, kind: &str) -> Outcome {
    let read = Read::of(call)?;
    if !kind.is_empty() {
        require_kind(kind, StatusCode::INTERNAL_SERVER_ERROR)?;
    }
    let prefix = if kind.is_empty() { String::new() } else { ConfigEntry::key_of(kind, "") };
    Ok(read.reply(index(call), watched, || {
        let entries = call.catalog().records_under::<ConfigEntry>(&prefix).filter(|it| {
            entry_permission(&it.kind, &it.value.name, Right::Read)
                .is_none_or(|(resource, name)| call.access().sees(resource, name))
        });
        call.json(|w| w.array(|w| entries.for_each(|it| show(w, &it))))
    }))
}

fn delete(call: &Call<'_>, kind: &str, name: &str) -> Outcome {
    call.refuse_tenancy()?;
    call.require_our_datacenter()?;
    require_kind(kind, StatusCode::BAD_REQUEST)?;
    let when = condition(call)?;
    let key = RecordKey::new(ConfigEntry::TABLE, &ConfigEntry::key_of(kind, name));
    let is_pretty = call.query.has("pretty");
    let stale = word("false", is_pretty);
    let done = match when {
        RecordCondition::ModifiedAt(_) if call.catalog().record_at(&key).is_none() => {
            return Ok(Answer::Reply(stale));
        }
        RecordCondition::ModifiedAt(_) => word("true", is_pretty),
        RecordCondition::Always | RecordCondition::Exists => word("{}", is_pretty),
    };
    Ok(Answer::Write(Command::DeleteRecord { key, when }, Door::Config { done, stale }))
}

/// # Errors
/// There is no such kind.
fn require_kind(kind: &str, status: StatusCode) -> Result<(), Reply> {
    find(kind).map(|_| ()).map_err(|text| Reply::text(status, text))
}

/// The parameter `cas`.
///
/// # Errors
/// 500 with Go's text when it is no number.
fn condition(call: &Call<'_>) -> Result<RecordCondition, Reply> {
    let text = call.query.text("cas");
    match parse_index(text) {
        _ if text.is_empty() => Ok(RecordCondition::Always),
        Some(index) => Ok(RecordCondition::ModifiedAt(Revision(index))),
        None => {
            let text = format!("strconv.ParseUint: parsing {}: invalid syntax", quote(text));
            Err(Reply::text(StatusCode::INTERNAL_SERVER_ERROR, text))
        }
    }
}

fn show(w: &mut JsonWriter, entry: &Found<'_, ConfigEntry>) {
    w.object(|w| {
        w.fields(shown_body(entry.value));
        w.number_field("CreateIndex", entry.created.0);
        w.number_field("ModifyIndex", entry.modified.0);
    });
}

/// `GET /v1/exported-services`: what others see, `*` resolved.
pub(super) fn exported_services(call: &Call<'_>) -> Outcome {
    let read = Read::of(call)?;
    let entries = call.catalog().entries("exported-services");
    let services: Vec<_> =
        entries.into_iter().flat_map(|it| view::<Exported>(it).services).collect();
    let (mut index, mut keys) = (index(call), watched());
    if services.iter().any(|it| it.name == "*") {
        index = index.max(call.catalog().services_index());
        keys.push(WatchKey::Services);
    }
    let keys = || keys;
    Ok(read.reply(index, keys, || {
        let consumers = consumers_by_service(call, &services);
        call.json(|w| {
            w.array(|w| {
                for (name, peers) in &consumers {
                    w.object(|w| {
                        w.string_field("Service", name);
                        w.key("Consumers");
                        w.object(|w| w.strings_field("Peers", peers.iter().map(String::as_str)));
                    });
                }
            });
        })
    }))
}

fn consumers_by_service(
    call: &Call<'_>,
    services: &[ExportedService],
) -> BTreeMap<String, BTreeSet<String>> {
    let mut consumers: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for service in services {
        let names: Vec<String> = if service.name == "*" {
            let known = call.catalog().services().map(|(_, it)| it.name.to_string());
            known.filter(|it| it != "consul").collect()
        } else {
            vec![service.name.clone()]
        };
        for name in names {
            let peers = service.consumers.iter().map(|it| it.peer.clone());
            consumers.entry(name).or_default().extend(peers.filter(|it| !it.is_empty()));
        }
    }
    consumers.retain(|_, peers| !peers.is_empty());
    consumers
}
