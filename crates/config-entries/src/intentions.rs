//! Who may call whom: `service-intentions`, and the single intentions that they are made of.

mod edit;

use std::collections::BTreeMap;

use model::ConfigEntry;
use serde::Deserialize;
use serde_json::{Map, Value};

pub use self::edit::{Change, apply, read_intention};
use crate::entry::shown_body;
use crate::normalize::{default, each, upper_all};
use crate::view::HeaderMatch;
use crate::{INTENTION, Lookup, schema};

/// Kind of the entries that intentions are kept in, one for each service that is called.
pub const KIND: &str = "service-intentions";
/// Stands for every service.
const ANY: &str = "*";
/// The only namespace.
const NAMESPACE: &str = "default";
/// What Go writes for no time at all.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// `service-intentions`
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Consul's, one to one")]
pub struct Intentions {
    pub sources: Vec<Source>,
    #[serde(rename = "JWT")]
    pub jwt: Option<JwtRequirement>,
}

/// Whether a service may call.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Consul's, one to one")]
pub struct Source {
    pub name: String,
    pub action: String,
    pub permissions: Vec<Permission>,
    pub precedence: i64,
    #[serde(rename = "LegacyID")]
    pub legacy_id: String,
    pub r#type: String,
    pub description: String,
    pub legacy_meta: BTreeMap<String, String>,
    pub peer: String,
    pub sameness_group: String,
}

/// What of it.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Consul's, one to one")]
pub struct Permission {
    pub action: String,
    #[serde(rename = "HTTP")]
    pub http: Option<HttpPermission>,
    #[serde(rename = "JWT")]
    pub jwt: Option<JwtRequirement>,
}

/// Conditions on a request.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Consul's, one to one")]
pub struct HttpPermission {
    pub path_exact: String,
    pub path_prefix: String,
    pub path_regex: String,
    pub header: Vec<HeaderMatch>,
    pub methods: Vec<String>,
}

/// Tokens that a request must have.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Consul's, one to one")]
pub struct JwtRequirement {
    pub providers: Vec<JwtProviderReference>,
}

/// Whose tokens.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Consul's, one to one")]
pub struct JwtProviderReference {
    pub name: String,
}

/// One intention: a source of an entry.
#[derive(Clone, Copy, Debug)]
pub struct Intention<'a> {
    /// The entry that it is a part of; its name is the service that is called.
    pub entry: &'a ConfigEntry,
    /// The fields of the source.
    source: &'a Map<String, Value>,
}

/// By which of the two services intentions are looked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// The one that calls.
    Source,
    /// The one that is called.
    Destination,
}

impl<'a> Intention<'a> {
    fn text(&self, name: &str) -> &'a str {
        self.source.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// The service that calls; `*` for any.
    #[must_use]
    pub fn source_name(&self) -> &'a str {
        self.text("Name")
    }

    /// The service that is called; `*` for any.
    #[must_use]
    pub fn destination_name(&self) -> &'a str {
        &self.entry.name
    }

    /// The cluster peer that the caller is in; empty for ours.
    #[must_use]
    pub fn peer(&self) -> &'a str {
        self.text("Peer")
    }

    /// Its id, when it was made as one intention; empty otherwise.
    #[must_use]
    pub fn legacy_id(&self) -> &'a str {
        self.text("LegacyID")
    }

    /// Of several that fit the one with the highest holds.
    #[must_use]
    pub fn precedence(&self) -> i64 {
        precedence(self.source_name(), self.destination_name())
    }

    /// Whether it allows all, forbids all, or neither: then it depends on the request.
    #[must_use]
    pub fn allows(&self) -> Option<bool> {
        let has_permissions = self
            .source
            .get("Permissions")
            .and_then(Value::as_array)
            .is_some_and(|it| !it.is_empty());
        (!has_permissions).then(|| self.text("Action") == "allow")
    }

    /// Its fields as Consul shows them, without revisions.
    #[must_use]
    pub fn show(&self) -> Map<String, Value> {
        let body = shown_body(self.entry);
        let is_legacy = !self.legacy_id().is_empty();
        let mut fields = Map::new();
        let mut set = |name: &str, value: Option<&Value>| {
            if let Some(value) = value {
                fields.insert(name.to_owned(), value.clone());
            }
        };
        set("ID", self.source.get("LegacyID"));
        set("SourceName", self.source.get("Name"));
        set("SourcePeer", self.source.get("Peer"));
        set("SourceType", self.source.get("Type"));
        for name in ["Description", "Action", "Permissions"] {
            set(name, self.source.get(name));
        }
        set("JWT", body.get("JWT"));
        set("Meta", if is_legacy { self.source.get("LegacyMeta") } else { body.get("Meta") });
        set("DestinationName", Some(&Value::String(self.entry.name.clone())));
        for name in ["SourceNS", "DestinationNS"] {
            set(name, Some(&Value::String(NAMESPACE.to_owned())));
        }
        set("Precedence", Some(&Value::from(self.precedence())));
        let never = Value::String(NEVER.to_owned());
        set("CreatedAt", self.source.get("LegacyCreateTime").or(Some(&never)));
        set("UpdatedAt", self.source.get("LegacyUpdateTime").or(Some(&never)));
        schema::show(&INTENTION, &fields)
    }
}

/// Of intentions that fit, the one with the highest precedence holds: exact names before `*`, the called before the caller.
#[must_use]
pub fn precedence(source: &str, destination: &str) -> i64 {
    let most = if destination == ANY { 6 } else { 9 };
    most - i64::from(source == ANY)
}

/// The intentions of an entry, in its order.
pub fn of_entry(entry: &ConfigEntry) -> impl Iterator<Item = Intention<'_>> {
    let sources = shown_body(entry).get("Sources").and_then(Value::as_array);
    let sources = sources.into_iter().flatten().filter_map(Value::as_object);
    sources.map(move |source| Intention { entry, source })
}

/// All intentions, in the order in which they hold.
#[must_use]
pub fn all(lookup: &dyn Lookup) -> Vec<Intention<'_>> {
    let mut all: Vec<Intention<'_>> = lookup.entries(KIND).into_iter().flat_map(of_entry).collect();
    sort(&mut all);
    all
}

/// The intentions that a service is on one side of, in the order in which they hold.
#[must_use]
pub fn matching<'a>(lookup: &'a dyn Lookup, side: Side, name: &str) -> Vec<Intention<'a>> {
    let fits = |of: &str| of == ANY || of.eq_ignore_ascii_case(name);
    let mut found: Vec<Intention<'a>> = match side {
        Side::Destination => {
            let own = lookup.entry(KIND, name).filter(|_| name != ANY);
            let entries = own.into_iter().chain(lookup.entry(KIND, ANY));
            entries.flat_map(of_entry).collect()
        }
        Side::Source => all(lookup).into_iter().filter(|it| fits(it.source_name())).collect(),
    };
    sort(&mut found);
    found
}

/// The intention that holds when one service calls another, if there is one.
#[must_use]
pub fn deciding<'a>(
    lookup: &'a dyn Lookup,
    source: &str,
    destination: &str,
) -> Option<Intention<'a>> {
    let of_destination = matching(lookup, Side::Destination, destination);
    of_destination.into_iter().find(|it| {
        let of = it.source_name();
        it.peer().is_empty() && (of == ANY || of.eq_ignore_ascii_case(source))
    })
}

fn sort(all: &mut [Intention<'_>]) {
    let names = |it: &Intention<'_>| {
        (-it.precedence(), it.source_name().to_owned(), it.destination_name().to_owned())
    };
    all.sort_by_cached_key(names);
}

/// Completes an entry that a client wrote. Ids and times of single intentions are not his to give.
pub(crate) fn normalize(name: &str, fields: &mut Map<String, Value>) {
    for source in each(fields, "Sources") {
        for ours in ["LegacyID", "LegacyCreateTime", "LegacyUpdateTime"] {
            source.remove(ours);
        }
        for permission in each(source, "Permissions") {
            if let Some(Value::Object(http)) = permission.get_mut("HTTP") {
                upper_all(http, "Methods");
            }
        }
    }
    arrange(name, fields);
}

/// Completes and sorts the sources of an entry.
fn arrange(name: &str, fields: &mut Map<String, Value>) {
    for source in each(fields, "Sources") {
        default(source, "Type", "consul");
        let of = source.get("Name").and_then(Value::as_str).unwrap_or_default();
        let precedence = precedence(of, name);
        source.insert("Precedence".to_owned(), Value::from(precedence));
    }
    if let Some(Value::Array(sources)) = fields.get_mut("Sources") {
        sources.sort_by_key(|it| -it["Precedence"].as_i64().unwrap_or_default());
    }
}
