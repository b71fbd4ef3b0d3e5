//! Changes of single intentions, each a change of the entry that it is a part of.

use model::ConfigEntry;
use model::go::quote;
use serde_json::{Map, Value};

use super::{KIND, NAMESPACE, arrange, of_entry};
use crate::kinds;
use crate::schema::{self, Unreadable};
use crate::{INTENTION, Lookup};

/// A change of one intention.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// Makes one that is known by a new id.
    Create {
        /// Its fields, as [`read_intention`] gave them.
        intention: Map<String, Value>,
        /// Its id.
        id: String,
    },
    /// Changes the one with this id.
    Update {
        /// Its fields, as [`read_intention`] gave them.
        intention: Map<String, Value>,
        /// Its id.
        id: String,
    },
    /// Makes or changes the one between these two services.
    Upsert {
        /// Its fields, as [`read_intention`] gave them; the names are those that count.
        intention: Map<String, Value>,
    },
    /// Removes the one with this id.
    Delete {
        /// Its id.
        id: String,
    },
    /// Removes the one between these two services; none is no error.
    DeleteExact {
        /// Who calls.
        source: String,
        /// Who is called.
        destination: String,
    },
}

/// Reads an intention that a client wrote.
///
/// # Errors
/// What Go's decoder, or Consul, would say of it.
pub fn read_intention(body: &Value) -> Result<Map<String, Value>, String> {
    let Value::Object(object) = body else {
        return Err(
            "json: cannot unmarshal value into Go value of type structs.Intention".to_owned()
        );
    };
    let ours = ["CreateIndex", "ModifyIndex", "Hash"];
    let fields = schema::read(&INTENTION, object, &ours).map_err(
        |Unreadable { unknown, mismatches }| match (unknown.first(), mismatches.first()) {
            (_, Some(mismatch)) => mismatch.clone(),
            (Some(field), None) => format!("json: unknown field {}", quote(field)),
            (None, None) => String::new(),
        },
    )?;
    for (name, what) in [
        ("SourceNS", "Namespaces"),
        ("DestinationNS", "Namespaces"),
        ("SourcePartition", "Partitions"),
        ("DestinationPartition", "Partitions"),
    ] {
        if !matches!(text(&fields, name), "" | NAMESPACE) {
            return Err(format!("{name}: {what} are a Consul Enterprise feature"));
        }
    }
    Ok(fields)
}

/// The name of the service whose entry a change is about, and the entry as it is to be: `None` when nothing of it is left.
/// `now` is the time in RFC 3339.
///
/// # Errors
/// A sentence about why the change cannot be made.
pub fn apply(
    lookup: &dyn Lookup,
    change: &Change,
    now: &str,
) -> Result<(String, Option<ConfigEntry>), String> {
    match change {
        Change::Create { intention, id } => create(lookup, intention, id, now),
        Change::Update { intention, id } => update(lookup, intention, id, now),
        Change::Upsert { intention } => upsert(lookup, intention),
        Change::Delete { id } => {
            let entry = find(lookup, id)?;
            Ok(without(entry, |source| text(source, "LegacyID") == id))
        }
        Change::DeleteExact { source, destination } => match lookup.entry(KIND, destination) {
            Some(entry) => Ok(without(entry, |it| text(it, "Name").eq_ignore_ascii_case(source))),
            None => Ok((destination.clone(), None)),
        },
    }
}

fn create(
    lookup: &dyn Lookup,
    intention: &Map<String, Value>,
    id: &str,
    now: &str,
) -> Result<(String, Option<ConfigEntry>), String> {
    if !text(intention, "ID").is_empty() {
        return Err("ID must be empty when creating a new intention".to_owned());
    }
    let destination = text(intention, "DestinationName");
    let before = lookup.entry(KIND, destination);
    if let Some(before) = before {
        require_legacy(before)?;
        let name = text(intention, "SourceName");
        if of_entry(before).any(|it| it.source_name().eq_ignore_ascii_case(name)) {
            return Err(format!("duplicate intention found: {name} => {destination}"));
        }
    }
    let source = legacy_source(intention, id, now, now)?;
    Ok(with(destination, before, |sources| sources.push(Value::Object(source))))
}

fn update(
    lookup: &dyn Lookup,
    intention: &Map<String, Value>,
    id: &str,
    now: &str,
) -> Result<(String, Option<ConfigEntry>), String> {
    let before = find(lookup, id)?;
    require_legacy(before)?;
    let destination = text(intention, "DestinationName");
    if !destination.is_empty() && !destination.eq_ignore_ascii_case(&before.name) {
        return Err("cannot modify DestinationName for an intention once it exists".to_owned());
    }
    let created = of_entry(before)
        .find(|it| it.legacy_id() == id)
        .map_or(now, |it| it.text("LegacyCreateTime"));
    let source = legacy_source(intention, id, created, now)?;
    Ok(with(&before.name, Some(before), |sources| {
        for it in sources.iter_mut().filter(|it| it["LegacyID"] == id) {
            *it = Value::Object(source.clone());
        }
    }))
}

fn upsert(
    lookup: &dyn Lookup,
    intention: &Map<String, Value>,
) -> Result<(String, Option<ConfigEntry>), String> {
    let destination = text(intention, "DestinationName");
    let before = lookup.entry(KIND, destination);
    let meta = intention.get("Meta").filter(|it| it.as_object().is_some_and(|it| !it.is_empty()));
    if before.is_some() && meta.is_some() {
        return Err("Meta must not be specified".to_owned());
    }
    let mut source = Map::new();
    for (from, to) in [
        ("SourceName", "Name"),
        ("SourcePeer", "Peer"),
        ("Action", "Action"),
        ("Permissions", "Permissions"),
        ("Description", "Description"),
        ("SourceType", "Type"),
    ] {
        if let Some(value) = intention.get(from) {
            source.insert(to.to_owned(), value.clone());
        }
    }
    let name = text(&source, "Name").to_owned();
    let peer = text(&source, "Peer").to_owned();
    let (destination, entry) = with(destination, before, |sources| {
        for it in sources.iter_mut().filter_map(Value::as_object_mut) {
            // From now on they are parts of the entry, not intentions of their own.
            for ours in ["LegacyID", "LegacyCreateTime", "LegacyUpdateTime"] {
                it.remove(ours);
            }
        }
        let same = |it: &&mut Value| {
            it["Name"].as_str().is_some_and(|it| it.eq_ignore_ascii_case(&name))
                && it["Peer"].as_str().unwrap_or_default() == peer
        };
        match sources.iter_mut().find(same) {
            Some(it) => *it = Value::Object(source),
            None => sources.push(Value::Object(source)),
        }
    });
    let entry = entry.map(|mut entry| {
        if let (Some(meta), Some(body)) = (meta, entry.body.as_object_mut()) {
            body.insert("Meta".to_owned(), meta.clone());
        }
        entry
    });
    Ok((destination, entry))
}

/// The entry with an intention of this id.
fn find<'a>(lookup: &'a dyn Lookup, id: &str) -> Result<&'a ConfigEntry, String> {
    let entries = lookup.entries(KIND).into_iter();
    let mut found = entries.filter(|entry| of_entry(entry).any(|it| it.legacy_id() == id));
    found.next().ok_or_else(|| format!("Cannot modify non-existent intention: '{id}'"))
}

/// Whoever wrote the whole entry has taken its intentions over.
fn require_legacy(entry: &ConfigEntry) -> Result<(), String> {
    if of_entry(entry).all(|it| !it.legacy_id().is_empty()) {
        return Ok(());
    }
    Err(format!(
        "cannot use legacy intention API to edit intentions with a destination of {} after editing them via a service-intentions config entry",
        quote(&entry.name)
    ))
}

fn legacy_source(
    intention: &Map<String, Value>,
    id: &str,
    created: &str,
    updated: &str,
) -> Result<Map<String, Value>, String> {
    let says = |name: &str| intention.get(name).is_some_and(|it| it != &Value::Array(Vec::new()));
    if says("Permissions") {
        return Err("Permissions cannot be set by legacy intentions".to_owned());
    }
    if says("SourcePeer") {
        return Err("Sources[0].Peer cannot be set by legacy intentions".to_owned());
    }
    let texts = [
        ("Name", text(intention, "SourceName")),
        ("Action", text(intention, "Action")),
        ("LegacyID", id),
        ("Type", text(intention, "SourceType")),
        ("Description", text(intention, "Description")),
        ("LegacyCreateTime", created),
        ("LegacyUpdateTime", updated),
    ];
    let texts = texts.into_iter().filter(|it| !it.1.is_empty());
    let mut source: Map<String, Value> =
        texts.map(|(name, text)| (name.to_owned(), Value::from(text))).collect();
    if let Some(meta) = intention.get("Meta") {
        source.insert("LegacyMeta".to_owned(), meta.clone());
    }
    Ok(source)
}

/// The entry of a service with its sources changed.
fn with(
    destination: &str,
    before: Option<&ConfigEntry>,
    change: impl FnOnce(&mut Vec<Value>),
) -> (String, Option<ConfigEntry>) {
    let (name, mut fields) = match before {
        Some(entry) => (entry.name.clone(), entry.body.as_object().cloned().unwrap_or_default()),
        None => (destination.to_owned(), Map::new()),
    };
    fields.insert("Kind".to_owned(), Value::from(KIND));
    fields.insert("Name".to_owned(), Value::from(name.as_str()));
    let sources = fields.entry("Sources").or_insert_with(|| Value::Array(Vec::new()));
    if !sources.is_array() {
        *sources = Value::Array(Vec::new());
    }
    if let Value::Array(sources) = sources {
        change(sources);
    }
    arrange(&name, &mut fields);
    let schema = kinds::find(KIND).expect("it is one of the kinds").schema;
    let body = Value::Object(schema::show(schema, &fields));
    let entry = ConfigEntry { kind: KIND.to_owned(), name: name.clone(), body };
    (name, Some(entry))
}

/// The entry of a service without some of its sources; `None` when it has no others.
fn without(
    entry: &ConfigEntry,
    goes: impl Fn(&Map<String, Value>) -> bool,
) -> (String, Option<ConfigEntry>) {
    let (name, changed) = with(&entry.name, Some(entry), |sources| {
        sources.retain(|it| !it.as_object().is_some_and(&goes));
    });
    let is_empty = changed.as_ref().is_none_or(|it| of_entry(it).next().is_none());
    (name, changed.filter(|_| !is_empty))
}

fn text<'a>(fields: &'a Map<String, Value>, name: &str) -> &'a str {
    fields.get(name).and_then(Value::as_str).unwrap_or_default()
}
