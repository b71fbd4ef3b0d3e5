//! Consul's HTTP API: all of its groups; the table is in [`route`].
//!
//! A request goes through [`handle`]: the path and query are checked as Go's server would, [`route`] finds the
//! endpoint, the endpoint gives an [`Answer`], and every reply gets the headers that all have.

mod access;
mod acl_objects;
mod acl_shapes;
mod agent;
mod agent_check;
mod agent_health;
mod agent_self;
mod agent_service;
mod auth_method;
mod catalog;
mod certificates;
mod config;
mod content_hash;
mod coordinate;
mod decode;
mod discovery_chain;
mod event;
mod grants;
mod health;
mod intentions;
mod kv;
mod logins;
mod operator;
mod params;
mod path;
mod peering;
mod query;
mod read;
mod response;
mod route;
mod select;
mod session;
mod shapes;
mod status;
mod tokens;
mod txn;
mod ui;
mod vet;
mod virtual_address;
mod write;

pub use agent_self::{BUILD_DATE, REVISION};

use bytes::Bytes;
use filter::{Filter, Schema};
use http::header::{ALLOW, LOCATION};
use http::{Method, Request, Response, StatusCode};
use model::{Catalog, CheckId, Record, Revision, Secret, Timestamp, WatchKey};
use registry::{Command, RecordCondition};
use serde_json::Value;

pub(crate) use self::access::{Access, Check};
pub use self::certificates::{leaf_ttl, rfc3339};
pub(crate) use self::params::Query;
use self::params::Wait;
use self::path::Place;
pub(crate) use self::read::Read;
use self::response::Manner;
pub(crate) use self::response::Reply;
pub(crate) use self::route::endpoints;
use self::route::{Endpoint, Target};
use self::vet::Vet;
use self::write::Door;
use crate::json::JsonWriter;
use crate::{Acl, AgentInfo, AgentToken, ClientIp, Context, LeafWanted, LiveCheck, Settings, Step};

/// Longest filter that is read: what fits into a URL that other servers would take.
const FILTER_BYTES_MAX: usize = 8192;

/// The form of a body: what the client asks for, and `--dev`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    is_pretty: bool,
    is_dev: bool,
}

impl Form {
    fn is_indented(self) -> bool {
        self.is_pretty || self.is_dev
    }

    fn body(self, fill: impl FnOnce(&mut JsonWriter)) -> Vec<u8> {
        let mut writer = JsonWriter::new(self.is_indented());
        fill(&mut writer);
        let mut body = writer.into_bytes();
        if self.is_pretty {
            body.push(b'\n');
        }
        body
    }
}

/// A request to an endpoint, taken apart.
pub(crate) struct Call<'a> {
    request: &'a Request<Bytes>,
    context: &'a Context<'a>,
    query: &'a Query,
    /// What the path names, after the endpoint's own part: a service, a node, an id.
    name: &'a str,
    timed_out: bool,
    access: Access,
}

impl<'a> Call<'a> {
    pub(crate) fn catalog(&self) -> &'a Catalog {
        self.context.catalog
    }

    /// What whoever asks may do.
    pub(crate) fn access(&self) -> &Access {
        &self.access
    }

    /// What came with the request beside its text.
    pub(crate) fn extension<T: Clone + Send + Sync + 'static>(&self) -> Option<&'a T> {
        self.request.extensions().get()
    }

    /// The time.
    pub(crate) fn now(&self) -> Timestamp {
        self.context.now
    }

    /// What a check of the agent said last.
    pub(crate) fn live_check(&self, id: &CheckId) -> Option<&'a LiveCheck> {
        self.context.live_checks.get(id)
    }

    pub(crate) fn agent(&self) -> &'a AgentInfo {
        self.context.agent
    }

    /// A body, in the form that the client (or `--dev`) asks for.
    fn body(&self, fill: impl FnOnce(&mut JsonWriter)) -> Vec<u8> {
        self.form().body(fill)
    }

    fn form(&self) -> Form {
        Form { is_pretty: self.query.has("pretty"), is_dev: self.agent().dev }
    }

    /// 200 with the JSON that `fill` writes.
    pub(crate) fn json(&self, fill: impl FnOnce(&mut JsonWriter)) -> Reply {
        Reply::json(self.body(fill))
    }

    /// The parameter `filter`.
    ///
    /// # Errors
    /// 500 when it is no filter for rows of `schema`.
    fn filter(&self, schema: &'static Schema) -> Result<Filter, Reply> {
        let failed = |text: String| Reply::text(StatusCode::INTERNAL_SERVER_ERROR, text);
        let text = self.query.text("filter");
        if text.len() > FILTER_BYTES_MAX {
            return Err(failed(format!("Filter is longer than {FILTER_BYTES_MAX} bytes")));
        }
        Filter::parse(text, schema).map_err(|error| failed(error.to_string()))
    }

    /// # Errors
    /// 400 when the request speaks of namespaces or partitions, which are not there.
    fn refuse_tenancy(&self) -> Result<(), Reply> {
        let kinds = [
            ("ns", "X-Consul-Namespace", "Namespaces"),
            ("partition", "X-Consul-Partition", "Partitions"),
        ];
        for (parameter, header, what) in kinds {
            let given_header = self.request.headers().get(header).is_some_and(|it| !it.is_empty());
            let source = if !self.query.text(parameter).is_empty() {
                format!("query parameter: \"{parameter}\"")
            } else if given_header {
                format!("header: \"{header}\"")
            } else {
                continue;
            };
            let text = format!("Invalid {source} - {what} are a Consul Enterprise feature");
            return Err(Reply::text(StatusCode::BAD_REQUEST, text));
        }
        Ok(())
    }

    /// # Errors
    /// 500 when the request is for another datacenter than ours: we know of none.
    fn require_our_datacenter(&self) -> Result<(), Reply> {
        let given = match self.query.text("datacenter") {
            "" => self.query.text("dc"),
            given => given,
        };
        if given.is_empty() || given.eq_ignore_ascii_case(&self.agent().datacenter) {
            return Ok(());
        }
        Err(Reply::text(StatusCode::INTERNAL_SERVER_ERROR, "No path to datacenter"))
    }
}

/// What an endpoint says.
#[allow(
    clippy::large_enum_variant,
    reason = "there is one a request, and it is taken apart at once"
)]
pub(crate) enum Answer {
    Reply(Reply),
    Wait(Vec<WatchKey>, Wait),
    Leaf(LeafWanted),
    /// The agent is to have another token of its own.
    AgentToken(AgentToken, Secret),
    Write(Command, Door),
}

/// An endpoint's errors are replies too.
pub(crate) type Outcome = Result<Answer, Reply>;

/// The response with a certificate: the fields that its JSON has, and the index that a client waits on.
#[must_use]
pub fn leaf_response(
    request: &Request<Bytes>,
    acl: &Acl,
    fields: &[(&'static str, String)],
    index: u64,
    is_pretty: bool,
) -> Response<Bytes> {
    let mut w = JsonWriter::new(is_pretty);
    w.object(|w| {
        for (name, value) in fields {
            w.string_field(name, value);
        }
        w.number_field("CreateIndex", index);
        w.number_field("ModifyIndex", index);
    });
    let reply = read::with_index(Reply::json(w.into_bytes()), Revision(index));
    read::with_cache_hit(reply).finish(Manner::of(request, acl))
}

/// The commands of a service's definition, in the form of the body of `agent/service/register`.
///
/// # Errors
/// What is wrong with it.
pub fn service_of(definition: &Value, agent: &AgentInfo) -> Result<Vec<Command>, String> {
    let read = decode::service_registration(definition.to_string().as_bytes(), agent);
    read.map(|it| vec![Command::RegisterService(it)]).map_err(|bad| bad.text)
}

/// The command of a check's definition, in the form of the body of `agent/check/register`.
///
/// # Errors
/// What is wrong with it.
pub fn check_of(definition: &Value, agent: &AgentInfo) -> Result<Command, String> {
    let read = decode::check_registration(definition.to_string().as_bytes(), agent);
    read.map(Command::RegisterCheck).map_err(|bad| bad.text)
}

/// The command that writes a configuration entry as a configuration file says, unless there is one of its kind and name.
///
/// # Errors
/// What is wrong with it.
pub fn config_entry_of(entry: &Value) -> Result<Command, String> {
    let entry = config_entries::read(entry).map_err(|error| error.to_string())?;
    let record = Record::ConfigEntry(entry);
    Ok(Command::PutRecord { record, when: RecordCondition::ModifiedAt(Revision(0)) })
}

/// The command that sets autopilot as a configuration file says, unless somebody has set it.
///
/// # Errors
/// What is wrong with it.
pub fn autopilot_of(settings: &Value) -> Result<Command, String> {
    operator::autopilot_command(settings)
}

/// Answers a request to any path that is not ours under `/leno`.
pub(crate) fn handle(request: &Request<Bytes>, context: &Context<'_>, timed_out: bool) -> Step {
    to_step(answer(request, context, timed_out), Manner::of(request, context.acl))
}

/// Answers a read of our own by the rules of Consul's: its parameters, blocking, headers and compression. `name` is what
/// the path names.
pub(crate) fn handle_read(
    request: &Request<Bytes>,
    context: &Context<'_>,
    timed_out: bool,
    name: &str,
    endpoint: fn(&Call<'_>) -> Outcome,
) -> Step {
    let outcome = match Query::parse(request.uri().query().unwrap_or_default()) {
        Some(query) => Access::of(request, context, &query, Check::Each, name).and_then(|access| {
            let call = Call { request, context, query: &query, name, timed_out, access };
            marked(endpoint(&call), &call)
        }),
        None => Err(Reply::text(StatusCode::BAD_REQUEST, "the query string cannot be read")),
    };
    to_step(outcome, Manner::of(request, context.acl))
}

fn to_step(outcome: Outcome, manner: Manner) -> Step {
    match outcome {
        Ok(Answer::Reply(reply)) | Err(reply) => Step::Reply(reply.finish(manner)),
        Ok(Answer::Wait(keys, Wait { timeout, jitter_max })) => {
            Step::Wait { keys, timeout, jitter_max }
        }
        Ok(Answer::Leaf(wanted)) => Step::Leaf(wanted),
        Ok(Answer::Write(command, door)) => {
            let reply = move |outcome, context: &Context<'_>| {
                door.reply(outcome, context.catalog).finish(manner)
            };
            Step::Write(command, Box::new(reply))
        }
        Ok(Answer::AgentToken(which, secret)) => {
            let reply = move |outcome: Result<(), String>| {
                let reply = match outcome {
                    Ok(()) => Reply::empty(),
                    Err(why) => Reply::text(StatusCode::INTERNAL_SERVER_ERROR, why),
                };
                reply.finish(manner)
            };
            Step::AgentToken(which, secret, Box::new(reply))
        }
    }
}

fn answer(request: &Request<Bytes>, context: &Context<'_>, timed_out: bool) -> Outcome {
    let path = match path::read(request.uri().path()) {
        Place::At(path) => path,
        Place::Moved(to) => return Err(moved(request, &to)),
        Place::Unreadable => {
            return Err(Reply::text(StatusCode::BAD_REQUEST, ""));
        }
    };
    let (route, name) = match route::find(&path) {
        Target::Found(route, name) => (route, name),
        Target::Moved(to) => return Err(moved(request, &to)),
        Target::Unknown => return Err(unknown(&path)),
    };
    let Some(query) = Query::parse(request.uri().query().unwrap_or_default()) else {
        return Err(Reply::text(StatusCode::INTERNAL_SERVER_ERROR, ""));
    };
    if request.method() == Method::OPTIONS {
        return Err(Reply::empty().with(ALLOW, &route.allowed()));
    }
    if !route.methods.contains(&request.method().as_str()) {
        let text = format!("method {} not allowed", request.method());
        let reply = Reply::text(StatusCode::METHOD_NOT_ALLOWED, text);
        return Err(reply.with(ALLOW, &route.allowed_instead()));
    }
    let is_off = !context.acl.settings().enabled;
    if is_off && matches!(route.endpoint, Endpoint::Acl(_)) {
        return Err(Reply::text(StatusCode::UNAUTHORIZED, "ACL support disabled"));
    }
    let access = Access::of(request, context, &query, route.check, name)?;
    let call = Call { request, context, query: &query, name, timed_out, access };
    match route.endpoint {
        Endpoint::Here(endpoint) | Endpoint::Acl(endpoint) => {
            vetted(marked(endpoint(&call), &call)?, &call, route.check)
        }
        Endpoint::Later => {
            let text = format!("{path} is not supported by this version of Leno");
            Err(Reply::text(StatusCode::NOT_IMPLEMENTED, text))
        }
    }
}

/// Says of an answer from which something was left out that it is not whole.
fn marked(outcome: Outcome, call: &Call<'_>) -> Outcome {
    match outcome {
        Ok(Answer::Reply(reply)) => Ok(Answer::Reply(call.access.marked(reply))),
        outcome => outcome,
    }
}

/// A write through an endpoint that asks for no permission of its own is vetted by what it changes.
fn vetted(answer: Answer, call: &Call<'_>, check: Check) -> Outcome {
    let Answer::Write(command, door) = &answer else { return Ok(answer) };
    if check != Check::Each {
        return Ok(answer);
    }
    let vet = Vet { catalog: call.catalog(), access: &call.access };
    if let (Command::Transact(operations), Door::Txn(door)) = (command, door) {
        let denied = vet.transaction(operations);
        return if denied.is_empty() { Ok(answer) } else { Err(door.refused(&denied)) };
    }
    vet.command(command).map_err(|denied| access::refused(&denied))?;
    Ok(answer)
}

/// What is said to a request that the shell would serve itself: a refusal, or nothing when it may.
pub(crate) fn refuse(
    request: &Request<Bytes>,
    context: &Context<'_>,
    ours: Option<Check>,
) -> Option<Response<Bytes>> {
    let path = match path::read(request.uri().path()) {
        Place::At(path) => path,
        Place::Moved(_) | Place::Unreadable => String::new(),
    };
    let check = || {
        let (check, name) = match (ours, route::find(&path)) {
            (Some(check), _) => (check, ""),
            (None, Target::Found(route, name)) => (route.check, name),
            (None, Target::Moved(_) | Target::Unknown) => (Check::Open, ""),
        };
        let query = Query::parse(request.uri().query().unwrap_or_default()).unwrap_or_default();
        Access::of(request, context, &query, check, name).map(|_| ())
    };
    let refusal = check().err()?;
    Some(refusal.finish(Manner::of(request, context.acl)))
}

/// The refusal of a request to a path that is blocked, or of a write from another network than those that may write; `None`
/// when it may go on. Asked once for each request, whoever answers it.
#[must_use]
pub fn refused_by_rule(
    request: &Request<Bytes>,
    settings: &Settings,
    acl: &Acl,
) -> Option<Response<Bytes>> {
    let refusal = |text: &str| {
        Some(Reply::text(StatusCode::FORBIDDEN, text).finish(Manner::of(request, acl)))
    };
    // As routing reads it: an escaped letter is the letter.
    let decoded = percent_encoding::percent_decode_str(request.uri().path()).decode_utf8_lossy();
    if settings.blocked_paths.iter().any(|it| decoded.starts_with(it.as_str())) {
        return refusal("Endpoint is blocked by agent configuration");
    }
    let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if reads || settings.write_networks.is_empty() {
        return None;
    }
    let from = request.extensions().get::<ClientIp>();
    // A socket in the file system has permissions of its own.
    let is_inside = from.is_none_or(|it| settings.write_networks.iter().any(|n| n.contains(it.0)));
    if is_inside { None } else { refusal("Access is restricted") }
}

fn unknown(path: &str) -> Reply {
    let text = if path.contains("/v1/") {
        "Invalid URL path: not a recognized HTTP API endpoint\n"
    } else {
        "Invalid URL path: if attempting to use the HTTP API, ensure the path starts with '/v1/'\n"
    };
    Reply::text(StatusCode::NOT_FOUND, text)
}

/// Go's redirect: a small page for GET, nothing for other methods.
fn moved(request: &Request<Bytes>, path: &str) -> Reply {
    let to = match request.uri().query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let page = match *request.method() {
        Method::GET => {
            let escaped = to.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            let escaped = escaped.replace('"', "&#34;").replace('\'', "&#39;");
            format!("<a href=\"{escaped}\">Moved Permanently</a>.\n\n")
        }
        _ => String::new(),
    };
    Reply::html(StatusCode::MOVED_PERMANENTLY, page).with(LOCATION, &to)
}
