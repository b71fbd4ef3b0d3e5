//! `/v1/connect/intentions`: who may call whom, and `/v1/agent/connect/authorize`.

use std::collections::BTreeMap;

use acl::{Access as Right, DefaultPolicy, Resource};
use config_entries::intentions::{self, Change, Intention, Side, deciding};
use filter::{Fields, INTENTION};
use http::{Method, StatusCode};
use model::ConfigEntry;
use model::go::quote;
use percent_encoding::percent_decode_str;
use registry::Command;
use serde_json::Value;

use super::config::{index, watched};
use super::read::{Read, with_index};
use super::response::Reply;
use super::write::{Door, word};
use super::{Answer, Call, Outcome, decode};
use crate::json::JsonWriter;

/// Callers are services of the mesh; Consul knows no others.
const SOURCE_TYPE: &str = "consul";

/// `GET` and `POST /v1/connect/intentions`
pub(super) fn all(call: &Call<'_>) -> Outcome {
    if *call.request.method() == Method::POST {
        return create(call);
    }
    let read = Read::of(call)?;
    let filter = call.filter(&INTENTION)?;
    Ok(read.reply(index(call), watched, || {
        call.json(|w| {
            w.array(|w| {
                for it in intentions::all(call.catalog()) {
                    if sees(call, &it) && filter.matches(&Fields(&it.show())) {
                        show(w, call, &it);
                    }
                }
            });
        })
    }))
}

fn create(call: &Call<'_>) -> Outcome {
    require_writable(call)?;
    let intention = decode::intention(call.request.body())?;
    let id = (call.context.fresh_id)();
    let done = call.json(|w| w.object(|w| w.string_field("ID", &id)));
    Ok(write(call, Change::Create { intention, id }, done))
}

fn require_writable(call: &Call<'_>) -> Result<(), Reply> {
    call.refuse_tenancy()?;
    call.require_our_datacenter()
}

fn write(call: &Call<'_>, change: Change, done: Reply) -> Answer {
    let stale = word("false", call.query.has("pretty"));
    Answer::Write(Command::ChangeIntention(change), Door::Config { done, stale })
}

/// `GET`, `PUT` and `DELETE /v1/connect/intentions/:id`
pub(super) fn by_id(call: &Call<'_>) -> Outcome {
    let id = call.name.to_owned();
    match *call.request.method() {
        Method::PUT => {
            require_writable(call)?;
            let intention = decode::intention(call.request.body())?;
            Ok(write(call, Change::Update { intention, id }, Reply::empty()))
        }
        Method::DELETE => {
            require_writable(call)?;
            Ok(write(call, Change::Delete { id }, Reply::empty()))
        }
        _ if is_uuid(&id) => one(call, |it| it.legacy_id() == id),
        _ => {
            let id = quote(&id);
            let text = format!("failed intention lookup: index error: {id} is no UUID");
            Err(Reply::text(StatusCode::INTERNAL_SERVER_ERROR, text))
        }
    }
}

/// 8-4-4-4-12 hex digits.
fn is_uuid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups.iter().all(|group| group.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn one(call: &Call<'_>, is_wanted: impl Fn(&Intention<'_>) -> bool) -> Outcome {
    let read = Read::of(call)?;
    let found = intentions::all(call.catalog()).into_iter().find(is_wanted);
    if let Some(found) = found.as_ref().filter(|it| !sees(call, it)) {
        call.access().require(Resource::Intention, Right::Read, found.destination_name())?;
    }
    Ok(read.reply(index(call), watched, || match found {
        Some(it) => call.json(|w| show(w, call, &it)),
        None => Reply::text(StatusCode::NOT_FOUND, "Intention not found"),
    }))
}

/// `GET`, `PUT` and `DELETE /v1/connect/intentions/exact`
pub(super) fn exact(call: &Call<'_>) -> Outcome {
    let source = service(call, "source")?;
    let destination = service(call, "destination")?;
    let done = word("true", call.query.has("pretty"));
    match *call.request.method() {
        Method::PUT => {
            require_writable(call)?;
            let mut intention = decode::intention(call.request.body())?;
            intention.insert("SourceName".to_owned(), Value::String(source));
            intention.insert("DestinationName".to_owned(), Value::String(destination));
            Ok(write(call, Change::Upsert { intention }, done))
        }
        Method::DELETE => {
            require_writable(call)?;
            Ok(write(call, Change::DeleteExact { source, destination }, done))
        }
        _ => one(call, |it| {
            it.peer() == call.query.text("source-peer")
                && it.source_name().eq_ignore_ascii_case(&source)
                && it.destination_name().eq_ignore_ascii_case(&destination)
        }),
    }
}

/// `GET /v1/connect/intentions/match`
pub(super) fn matching(call: &Call<'_>) -> Outcome {
    let read = Read::of(call)?;
    let side = match call.query.first("by") {
        None => return Err(missing("by")),
        Some("source") => Side::Source,
        Some("destination") => Side::Destination,
        Some(_) => {
            let text = "'by' parameter must be one of 'source' or 'destination'";
            return Err(Reply::text(StatusCode::INTERNAL_SERVER_ERROR, text));
        }
    };
    let mut found = BTreeMap::new();
    for given in call.query.all("name") {
        let name = service_name(given);
        let name = name.map_err(|why| bad(&format!("name {}", quote(given)), &why))?;
        call.access().require(Resource::Intention, Right::Read, name)?;
        found.insert(given, intentions::matching(call.catalog(), side, name));
    }
    if found.is_empty() {
        return Err(missing("name"));
    }
    Ok(read.answer_cacheable(index(call), watched, |w| {
        w.object(|w| {
            for (name, matches) in &found {
                w.map_key(name);
                w.array(|w| matches.iter().for_each(|it| show(w, call, it)));
            }
        });
    }))
}

/// `GET /v1/connect/intentions/check`
pub(super) fn check(call: &Call<'_>) -> Outcome {
    require_writable(call)?;
    let source_type = call.query.first("source-type").unwrap_or(SOURCE_TYPE);
    if source_type != SOURCE_TYPE {
        let text = format!("unsupported SourceType: {}", quote(source_type));
        return Err(Reply::text(StatusCode::INTERNAL_SERVER_ERROR, text));
    }
    let source = service(call, "source")?;
    let destination = service(call, "destination")?;
    call.access().require(Resource::Service, Right::Read, &destination)?;
    let allowed = match deciding(call.catalog(), &source, &destination) {
        // What depends on the request is not allowed as a whole.
        Some(it) => it.allows().unwrap_or(false),
        None => allows_by_default(call),
    };
    let reply = call.json(|w| w.object(|w| w.boolean_field("Allowed", allowed)));
    Ok(Answer::Reply(with_index(reply, index(call))))
}

/// What holds where no intention says anything: what holds where no rule does.
fn allows_by_default(call: &Call<'_>) -> bool {
    let settings = call.context.acl.settings();
    !settings.enabled || settings.default_policy == DefaultPolicy::Allow
}

/// Both ends may see why they can or cannot talk.
fn sees(call: &Call<'_>, it: &Intention<'_>) -> bool {
    let may = |name: &str| call.access().may(Resource::Intention, Right::Read, name);
    may(it.source_name()) || call.access().sees(Resource::Intention, it.destination_name())
}

/// `POST /v1/agent/connect/authorize`: whether the owner of a certificate may call a service.
pub(super) fn authorize(call: &Call<'_>) -> Outcome {
    call.refuse_tenancy()?;
    let bad = |text: &str| Reply::text(StatusCode::BAD_REQUEST, text);
    let (target, uri) = decode::connect_authorization(call.request.body())?;
    if target.is_empty() {
        return Err(bad("Target service must be specified"));
    }
    call.access().require(Resource::Service, Right::Write, &target)?;
    let identity =
        Identity::read(&uri).ok_or_else(|| bad("ClientCertURI not a valid Connect identifier"))?;
    let (is_authorized, reason) = decide(call, &identity, &target);
    Ok(Answer::Reply(call.json(|w| {
        w.object(|w| {
            w.boolean_field("Authorized", is_authorized);
            w.string_field("Reason", &reason);
        });
    })))
}

fn decide(call: &Call<'_>, identity: &Identity, target: &str) -> (bool, String) {
    let ours = super::discovery_chain::trust_domain(call);
    let Identity { trust_domain, service } = identity;
    if !trust_domain.eq_ignore_ascii_case(&ours) {
        let reason = format!("Identity from an external trust domain: {trust_domain}, not {ours}");
        return (false, reason);
    }
    let Some(it) = deciding(call.catalog(), service, target) else {
        return (allows_by_default(call), "Default behavior configured by ACLs".to_owned());
    };
    let action = match it.allows() {
        Some(true) => "ALLOW",
        Some(false) => "DENY",
        None => "PERMISSIONS",
    };
    let (source, destination) = (it.source_name(), it.destination_name());
    let reason = format!("Matched intention: {action} default/{source} => default/{destination}");
    (it.allows().unwrap_or(false), reason)
}

/// Who a certificate of the mesh says that its owner is.
struct Identity {
    trust_domain: String,
    service: String,
}

impl Identity {
    /// Reads `spiffe://<trust domain>/ns/<namespace>/dc/<datacenter>/svc/<service>`.
    fn read(uri: &str) -> Option<Self> {
        let (trust_domain, path) = uri.strip_prefix("spiffe://")?.split_once('/')?;
        let parts: Vec<&str> = path.split('/').collect();
        // A partition may stand in front.
        let parts = parts.strip_prefix(&["ap", "default"]).unwrap_or(&parts);
        let ["ns", _, "dc", _, "svc", service] = parts else { return None };
        let service = percent_decode_str(service).decode_utf8().ok()?.into_owned();
        (!service.is_empty()).then(|| Self { trust_domain: trust_domain.to_owned(), service })
    }
}

/// A service that a parameter names.
///
/// # Errors
/// 500 when it is missing, or names what is not there.
fn service(call: &Call<'_>, parameter: &str) -> Result<String, Reply> {
    let given = call.query.first(parameter).ok_or_else(|| missing(parameter))?;
    let name = service_name(given);
    let name = name.map_err(|why| bad(&format!("{parameter} {}", quote(given)), &why))?;
    if name.is_empty() {
        return Err(missing(parameter));
    }
    Ok(name.to_owned())
}

fn missing(parameter: &str) -> Reply {
    let text = format!("required query parameter '{parameter}' not set");
    Reply::text(StatusCode::INTERNAL_SERVER_ERROR, text)
}

fn bad(what: &str, why: &str) -> Reply {
    Reply::text(StatusCode::INTERNAL_SERVER_ERROR, format!("{what} is invalid: {why}"))
}

/// `name`, `namespace/name` or `partition/namespace/name`, of which there is only `default` each.
fn service_name(text: &str) -> Result<&str, String> {
    let parts: Vec<&str> = text.split('/').collect();
    let (name, around) = parts.split_last().unwrap_or((&"", &[]));
    if around.len() > 2 {
        return Err("input can contain at most two '/'".to_owned());
    }
    if around.iter().all(|it| matches!(*it, "" | "default")) {
        return Ok(name);
    }
    Err("Namespaces are a Consul Enterprise feature".to_owned())
}

fn show(w: &mut JsonWriter, call: &Call<'_>, it: &Intention<'_>) {
    let key = ConfigEntry::key_of(&it.entry.kind, &it.entry.name);
    let found = call.catalog().record::<ConfigEntry>(&key);
    w.object(|w| {
        w.fields(&it.show());
        w.number_field("CreateIndex", found.map_or(0, |it| it.created.0));
        w.number_field("ModifyIndex", found.map_or(0, |it| it.modified.0));
    });
}
