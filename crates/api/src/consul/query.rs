//! `/v1/query`: prepared queries.

use acl::{Access as Right, Resource};
use http::{Method, StatusCode};
use model::{
    FlatMap, PreparedQuery, Record, RecordKey, Revision, ServiceId, ServiceQuery, Stored, Table,
    WatchKey,
};
use registry::{
    Command, QueriedInstance, RecordCondition, find_query, instances_of_query, rendered,
};

use super::coordinate::{nearby, sort_by_distance};
use super::operator::query_meta;
use super::read::{Read, with_contact};
use super::response::Reply;
use super::vet::has_name;
use super::write::Door;
use super::{Answer, Call, Outcome, decode, health};
use crate::json::JsonWriter;

/// What is shown for a token to those who may not see it.
const HIDDEN: &str = "<hidden>";
/// A node that is near is put first when it is among so many.
const NEAR_SELF_MAX: usize = 10;

fn failed(text: impl Into<String>) -> Reply {
    Reply::text(StatusCode::INTERNAL_SERVER_ERROR, text.into())
}

/// `GET` and `POST /v1/query`
pub(super) fn all(call: &Call<'_>) -> Outcome {
    if call.request.method() == Method::POST {
        return create(call);
    }
    let read = Read::of(call)?;
    let index = call.catalog().table_index(Table::PreparedQuery);
    Ok(read.answer(index, watched, |w| {
        let found = call.catalog().records::<PreparedQuery>();
        let found = found.filter(|it| sees(call, it.value));
        w.array(|w| found.for_each(|it| shape(w, call, it.value, (it.created, it.modified))));
    }))
}

fn watched() -> Vec<WatchKey> {
    vec![WatchKey::Table(Table::PreparedQuery)]
}

fn create(call: &Call<'_>) -> Outcome {
    call.require_our_datacenter()?;
    let mut query = decode::query(call.request.body())?;
    if !query.id.is_empty() {
        return Err(failed("ID must be empty when creating a new prepared query"));
    }
    query.id = (call.context.fresh_id)();
    let done = call.json(|w| w.object(|w| w.string_field("ID", &query.id)));
    let record = Record::PreparedQuery(query);
    let command = Command::PutRecord { record, when: RecordCondition::Always };
    Ok(Answer::Write(command, Door::Query { done }))
}

/// `/v1/query/:id`, and what is below it.
pub(super) fn one(call: &Call<'_>) -> Outcome {
    let has_end = |end| call.name.strip_suffix(end).filter(|it| !it.is_empty());
    if let Some(asked) = has_end("/execute") {
        require_get(call)?;
        return execute(call, asked);
    }
    if let Some(asked) = has_end("/explain") {
        require_get(call)?;
        return explain(call, asked);
    }
    match *call.request.method() {
        Method::PUT => update(call),
        Method::DELETE => delete(call),
        _ => get(call),
    }
}

fn require_get(call: &Call<'_>) -> Result<(), Reply> {
    if call.request.method() == Method::GET {
        return Ok(());
    }
    let text = format!("method {} not allowed", call.request.method());
    let reply = Reply::text(StatusCode::METHOD_NOT_ALLOWED, text);
    Err(reply.with(http::header::ALLOW, "GET"))
}

fn require_uuid(id: &str) -> Result<(), Reply> {
    let is_uuid = id.len() == 36
        && id.char_indices().all(|(at, c)| match at {
            8 | 13 | 18 | 23 => c == '-',
            _ => c.is_ascii_hexdigit(),
        });
    if is_uuid {
        return Ok(());
    }
    Err(failed(format!("failed prepared query lookup: index error: {id:?} is not a UUID")))
}

fn get(call: &Call<'_>) -> Outcome {
    let read = Read::of(call)?;
    require_uuid(call.name)?;
    let found = call.catalog().record::<PreparedQuery>(&call.name.to_lowercase());
    if let Some(found) = found {
        require_read(call, found.value)?;
    }
    let table = call.catalog().table_index(Table::PreparedQuery);
    Ok(read.reply(found.map_or(table, |it| it.modified), watched, || match found {
        None => Reply::text(StatusCode::NOT_FOUND, "Query not found"),
        Some(it) => call.json(|w| w.array(|w| shape(w, call, it.value, (it.created, it.modified)))),
    }))
}

fn update(call: &Call<'_>) -> Outcome {
    call.require_our_datacenter()?;
    let mut query = decode::query(call.request.body())?;
    query.id = call.name.to_lowercase();
    require_uuid(&query.id)?;
    let record = Record::PreparedQuery(query);
    let command = Command::PutRecord { record, when: RecordCondition::Exists };
    Ok(Answer::Write(command, Door::Query { done: Reply::empty() }))
}

fn delete(call: &Call<'_>) -> Outcome {
    call.require_our_datacenter()?;
    let key = RecordKey::new(Table::PreparedQuery, &call.name.to_lowercase());
    let command = Command::DeleteRecord { key, when: RecordCondition::Always };
    Ok(Answer::Write(command, Door::Query { done: Reply::empty() }))
}

/// The query that is asked for, made of its template.
fn resolved(call: &Call<'_>, asked: &str) -> Result<PreparedQuery, Reply> {
    let Some(found) = find_query(call.catalog(), asked) else {
        return Err(Reply::text(StatusCode::NOT_FOUND, "Query not found"));
    };
    if found.is_template() && found.id.eq_ignore_ascii_case(asked) {
        // There is no name of which it could be made.
        let text = "prepared query templates can only be resolved up by name, not by ID";
        return Err(failed(text));
    }
    rendered(found.value, asked).map_err(|error| failed(error.to_string()))
}

/// `GET /v1/query/:id/explain`
fn explain(call: &Call<'_>, asked: &str) -> Outcome {
    let read = Read::of(call)?;
    let query = resolved(call, asked)?;
    require_read(call, &query)?;
    let index = call.catalog().table_index(Table::PreparedQuery);
    let revisions = (Revision(0), Revision(0));
    let reply = call.json(|w| {
        w.object(|w| {
            w.key("Query");
            shape(w, call, &query, revisions);
            query_meta(w, index, false);
        });
    });
    Ok(read.at_once(index, with_contact(reply)))
}

/// `GET /v1/query/:id/execute`
fn execute(call: &Call<'_>, asked: &str) -> Outcome {
    let read = Read::of(call)?;
    let limit = match call.query.text("limit") {
        "" => 0,
        text => text.parse::<i64>().map_err(|_| {
            failed(format!("Bad limit: strconv.Atoi: parsing {text:?}: invalid syntax"))
        })?,
    };
    let mut query = resolved(call, asked)?;
    query.service.connect |= call.query.has("connect");
    // What is found may be seen with the query's own token, if it has one.
    let access = call.access_with(&query.token)?;
    let mut found = instances_of_query(call.catalog(), &query.service);
    found.retain(|it| access.sees_instance(it.1));
    shuffle(&mut found, seed(&(call.context.fresh_id)()));
    let near = match call.query.text("near") {
        "" => query.service.near.as_str(),
        given => given,
    };
    put_near_first(call, &mut found, near);
    // As with Consul, one that is not above 0 is none.
    if let Ok(limit @ 1..) = usize::try_from(limit) {
        found.truncate(limit);
    }
    let datacenter = &call.agent().datacenter;
    let failovers = if found.is_empty() { failovers(&query.service, datacenter) } else { 0 };
    let is_filtered = access.is_filtered();
    let index = Revision(0);
    let ttl = query.dns_ttl.as_ref().map_or("", |it| it.text.as_str());
    let reply = call.json(|w| {
        w.object(|w| {
            w.string_field("Service", &query.service.service);
            w.key("Nodes");
            w.array(|w| found.iter().for_each(|it| node(w, call, *it)));
            w.key("DNS");
            w.object(|w| w.string_field("TTL", ttl));
            w.string_field("Datacenter", datacenter);
            w.string_field("PeerName", &query.service.peer);
            w.number_field("Failovers", failovers);
            query_meta(w, index, is_filtered);
        });
    });
    Ok(read.at_once_cacheable(index, access.marked(with_contact(reply))))
}

/// How many places were tried in vain beside our own: as in Consul, those that are not known are passed by. Of datacenters
/// ours alone is known, and it is tried once more when it is named or among the nearest; of peers none answers.
fn failovers(query: &ServiceQuery, datacenter: &str) -> u64 {
    let failover = &query.failover;
    let of_targets = failover.targets.iter().filter(|it| it.peer.is_empty());
    let named = failover.datacenters.iter().chain(of_targets.map(|it| &it.datacenter));
    let own = failover.nearest_n > 0 || named.into_iter().any(|it| it == datacenter);
    let peers = failover.targets.iter().filter(|it| !it.peer.is_empty()).count();
    u64::from(own) + peers as u64
}

fn node(w: &mut JsonWriter, call: &Call<'_>, (node, instance): QueriedInstance<'_>) {
    let name = node.name.folded();
    let catalog = call.catalog();
    let of_node = catalog.checks_of_instance(&name, &ServiceId::default());
    let checks: Vec<&Stored<_>> =
        of_node.chain(catalog.checks_of_instance(&name, &instance.id)).map(|it| &**it).collect();
    health::write_health(w, node, &call.agent().datacenter, instance, &checks);
}

/// Number of the random choices of one execution.
fn seed(id: &str) -> u64 {
    let digits: String = id.chars().filter(char::is_ascii_hexdigit).take(16).collect();
    u64::from_str_radix(&digits, 16).unwrap_or_default()
}

/// Fisher and Yates, with the numbers of SplitMix64.
fn shuffle<T>(items: &mut [T], mut state: u64) {
    for at in (1..items.len()).rev() {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let other = (mixed ^ (mixed >> 31)) % (at as u64 + 1);
        items.swap(at, usize::try_from(other).expect("it is below the length"));
    }
}

/// Sorts by the estimated round trip from a node; the node itself comes first where it is among the first.
fn put_near_first(call: &Call<'_>, found: &mut Vec<QueriedInstance<'_>>, near: &str) {
    let Some(from) = nearby(call, near) else { return };
    sort_by_distance(call, &from, found, |it| &it.0.name);
    let own = found.iter().position(|it| it.0.name.folded() == from.folded());
    if let Some(at) = own.filter(|at| *at < NEAR_SELF_MAX) {
        found.swap(0, at);
    }
}

/// True if a list may show it. One without a name is for management to see.
fn sees(call: &Call<'_>, query: &PreparedQuery) -> bool {
    call.access().writes_acl()
        || has_name(query) && call.access().sees(Resource::Query, &query.name)
}

/// Whoever knows the id of a query without a name may see it.
fn require_read(call: &Call<'_>, query: &PreparedQuery) -> Result<(), Reply> {
    if call.access().writes_acl() || !has_name(query) {
        return Ok(());
    }
    call.access().require(Resource::Query, Right::Read, &query.name)
}

fn texts(w: &mut JsonWriter, name: &'static str, list: &[String]) {
    w.key(name);
    if list.is_empty() {
        w.null();
    } else {
        w.array(|w| list.iter().for_each(|it| w.string(it)));
    }
}

fn map(w: &mut JsonWriter, name: &'static str, map: &FlatMap<String>) {
    w.key(name);
    if map.is_empty() {
        return w.null();
    }
    w.object(|w| {
        for (key, value) in map.iter() {
            w.map_key(key);
            w.string(value);
        }
    });
}

fn shape(
    w: &mut JsonWriter,
    call: &Call<'_>,
    query: &PreparedQuery,
    (created, modified): (Revision, Revision),
) {
    let token = match query.token.reveal() {
        "" => "",
        token if call.access().writes_acl() => token,
        _ => HIDDEN,
    };
    w.object(|w| {
        w.string_field("ID", &query.id);
        w.string_field("Name", &query.name);
        w.string_field("Session", query.session.as_str());
        w.string_field("Token", token);
        w.key("Template");
        w.object(|w| {
            w.string_field("Type", &query.template.kind);
            w.string_field("Regexp", &query.template.regexp);
            w.boolean_field("RemoveEmptyTags", query.template.remove_empty_tags);
        });
        w.key("Service");
        service(w, &query.service);
        w.key("DNS");
        w.object(|w| {
            w.string_field("TTL", query.dns_ttl.as_ref().map_or("", |it| it.text.as_str()));
        });
        w.number_field("CreateIndex", created.0);
        w.number_field("ModifyIndex", modified.0);
    });
}

fn service(w: &mut JsonWriter, it: &ServiceQuery) {
    w.object(|w| {
        w.string_field("Service", &it.service);
        w.string_field("SamenessGroup", "");
        w.key("Failover");
        w.object(|w| {
            w.number_field("NearestN", u64::try_from(it.failover.nearest_n).unwrap_or_default());
            texts(w, "Datacenters", &it.failover.datacenters);
            w.key("Targets");
            if it.failover.targets.is_empty() {
                w.null();
            } else {
                w.array(|w| {
                    for target in &it.failover.targets {
                        w.object(|w| {
                            w.string_field_if_any("Peer", &target.peer);
                            w.string_field_if_any("Datacenter", &target.datacenter);
                        });
                    }
                });
            }
        });
        w.boolean_field("OnlyPassing", it.only_passing);
        texts(w, "IgnoreCheckIDs", &it.ignore_check_ids);
        w.string_field("Near", &it.near);
        texts(w, "Tags", &it.tags);
        map(w, "NodeMeta", &it.node_meta);
        map(w, "ServiceMeta", &it.service_meta);
        w.boolean_field("Connect", it.connect);
        w.string_field("Peer", &it.peer);
    });
}
