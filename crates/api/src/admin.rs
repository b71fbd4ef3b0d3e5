//! Our own API under `/leno/v1`, field by field in docs/api.md.

mod instances;
mod services;

use acl::{Access as Right, Resource};
use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use percent_encoding::percent_decode_str;

use crate::consul::Check;
use crate::json::JsonWriter;
use crate::{Context, Step, consul};

/// Answers a read.
type Read = fn(&consul::Call<'_>) -> consul::Outcome;

const OPERATOR: Check = Check::ByMethod(Resource::Operator);

/// What there is, those that the shell serves itself included: method, path, what it asks for, and a few words.
const ENDPOINTS: &[(&str, &str, Check, &str)] = &[
    ("GET", "/leno/v1/status", OPERATOR, "who answers, and how much it knows"),
    ("GET", "/leno/v1/services", Check::Each, "every service with the states of its instances"),
    (
        "GET",
        "/leno/v1/services/:name",
        Check::Each,
        "the instances of a service, and why each is in its state",
    ),
    (
        "GET",
        "/leno/v1/instances/:id",
        Check::Each,
        "an instance (ID or NODE/ID): its verdict, every piece of evidence, and what would change it",
    ),
    ("GET", "/leno/v1/documents", OPERATOR, "declared documents, and what became of them"),
    ("GET", "/leno/v1/guards", OPERATOR, "guarded changes, and what became of them (?id=)"),
    ("POST", "/leno/v1/apply", OPERATOR, "declare documents"),
    ("POST", "/leno/v1/delete", OPERATOR, "delete documents"),
    ("GET", "/leno/v1/workloads", OPERATOR, "supervised processes (?name=)"),
    ("GET", "/leno/v1/workloads/logs", OPERATOR, "what they wrote (?name=&copy=&lines=&after=)"),
    ("POST", "/leno/v1/workloads/start", OPERATOR, "run a workload again (?name=)"),
    ("POST", "/leno/v1/workloads/stop", OPERATOR, "drain and stop a workload (?name=)"),
    ("POST", "/leno/v1/workloads/restart", OPERATOR, "replace all copies (?name=)"),
    ("POST", "/leno/v1/workloads/scale", OPERATOR, "run so many copies (?name=&replicas=)"),
    ("POST", "/leno/v1/workloads/pause", OPERATOR, "stay at this step of a rollout (?name=)"),
    ("POST", "/leno/v1/workloads/resume", OPERATOR, "go on with a rollout (?name=)"),
    ("POST", "/leno/v1/workloads/promote", OPERATOR, "go to the end of a rollout (?name=)"),
    ("POST", "/leno/v1/workloads/undo", OPERATOR, "go back to the good release before (?name=)"),
    ("POST", "/leno/v1/workloads/retry", OPERATOR, "try again what was taken back (?name=)"),
    ("GET", "/leno/v1/rollouts", OPERATOR, "workloads and services that are rolled out (?name=)"),
    ("GET", "/leno/v1/proxies", OPERATOR, "proxies, and the configurations that they have"),
    // It hands out private keys, and who follows is waited for: not for who may only read.
    ("POST", "/leno/v1/proxies/follow", OPERATOR, "for a proxy elsewhere: its next configuration"),
    (
        "POST",
        "/leno/v1/proxies/report",
        OPERATOR,
        "for a proxy elsewhere: what it sees of endpoints",
    ),
];

/// Path and method of each.
pub(crate) fn endpoints() -> impl Iterator<Item = (&'static str, &'static str)> {
    ENDPOINTS.iter().map(|it| (it.1, it.0)).chain([("/metrics", "GET")])
}

/// What whoever asks for a path of ours must be allowed; `None` for paths of others. What lists what may be seen, and what
/// is not there, asks for nothing here.
pub(crate) fn check_of(path: &str) -> Option<Check> {
    if path == "/metrics" {
        return Some(Check::Needs(Resource::Agent, Right::Read));
    }
    if path != "/leno/v1" && !path.starts_with("/leno/v1/") {
        return None;
    }
    let found = ENDPOINTS.iter().find(|it| it.1 == path);
    Some(found.map_or(Check::Open, |it| it.2))
}

/// Answers a request to a path under `/leno/v1` that the shell does not serve itself.
pub(crate) fn handle(request: &Request<Bytes>, context: &Context<'_>, timed_out: bool) -> Step {
    if let Some(refusal) = consul::refuse(request, context, check_of(request.uri().path())) {
        return Step::Reply(refusal);
    }
    let path = request.uri().path();
    let rest = path.strip_prefix("/leno/v1").unwrap_or_default();
    let method = request.method();
    let (named, one): (_, Read) = match rest.strip_prefix("/instances/") {
        Some(id) => (Some(id), instances::one),
        None => (rest.strip_prefix("/services/"), services::one),
    };
    let response = match named.map(decoded) {
        Some(Some(name)) if !name.is_empty() && method == Method::GET => {
            return consul::handle_read(request, context, timed_out, &name, one);
        }
        Some(Some(name)) if !name.is_empty() => not_allowed(method),
        Some(Some(_)) => not_found(path),
        Some(None) => text(StatusCode::BAD_REQUEST, "the path cannot be read\n".to_owned()),
        None => match (rest, method) {
            ("/services", &Method::GET) => {
                return consul::handle_read(request, context, timed_out, "", services::list);
            }
            ("" | "/", &Method::GET) => json(index()),
            ("/status", &Method::GET) => json(status(context)),
            ("" | "/" | "/status" | "/services", method) => not_allowed(method),
            _ => not_found(path),
        },
    };
    Step::Reply(response)
}

fn decoded(escaped: &str) -> Option<String> {
    percent_decode_str(escaped).decode_utf8().ok().map(Into::into)
}

fn not_allowed(method: &Method) -> Response<Bytes> {
    let mut response =
        text(StatusCode::METHOD_NOT_ALLOWED, format!("method {method} not allowed\n"));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
    response
}

fn not_found(path: &str) -> Response<Bytes> {
    let text_of = format!("there is nothing at {path}; /leno/v1 lists what there is\n");
    text(StatusCode::NOT_FOUND, text_of)
}

/// `GET /leno/v1`: the endpoints.
fn index() -> Vec<u8> {
    let mut writer = JsonWriter::new(true);
    writer.object(|w| {
        w.key("Endpoints");
        w.array(|w| {
            for (method, path, _, about) in ENDPOINTS {
                w.object(|w| {
                    w.string_field("Method", method);
                    w.string_field("Path", path);
                    w.string_field("About", about);
                });
            }
        });
    });
    let mut body = writer.into_bytes();
    body.push(b'\n');
    body
}

/// `GET /leno/v1/status`: who answers, and how much it knows, at which revision.
fn status(context: &Context<'_>) -> Vec<u8> {
    let Context { catalog, agent, .. } = context;
    let count = |number: usize| number as u64;
    let mut writer = JsonWriter::new(true);
    writer.object(|w| {
        w.string_field("version", &agent.leno_version);
        w.string_field("consul_version", &agent.consul_version);
        w.string_field("node", agent.node_name.as_str());
        w.string_field("node_id", &agent.node_id);
        w.string_field("datacenter", &agent.datacenter);
        w.boolean_field("dev", agent.dev);
        w.number_field("revision", catalog.revision().0);
        w.number_field("nodes", count(catalog.node_count()));
        w.number_field("services", count(catalog.services().count()));
        w.number_field("instances", count(catalog.instance_count()));
        w.number_field("checks", count(catalog.check_count()));
        w.number_field("documents", count(catalog.documents().count()));
    });
    let mut body = writer.into_bytes();
    body.push(b'\n');
    body
}

fn json(body: Vec<u8>) -> Response<Bytes> {
    response(StatusCode::OK, "application/json", body)
}

fn text(status: StatusCode, text: String) -> Response<Bytes> {
    response(status, "text/plain; charset=utf-8", text.into_bytes())
}

fn response(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
