//! Our own API under `/leno/v1`.

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};

use crate::json::JsonWriter;
use crate::{Context, Step};

/// Answers a request to a path under `/leno/v1` that the shell does not serve itself.
pub(crate) fn handle(request: &Request<Bytes>, context: &Context<'_>) -> Step {
    Step::Reply(match (request.uri().path(), request.method()) {
        ("/leno/v1/status", &Method::GET) => json(status(context)),
        ("/leno/v1/status", method) => {
            let mut response =
                text(StatusCode::METHOD_NOT_ALLOWED, format!("method {method} not allowed\n"));
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
            response
        }
        (path, _) => text(StatusCode::NOT_FOUND, format!("there is nothing at {path}\n")),
    })
}

/// `GET /leno/v1/status`: who answers, and how much it knows, at which revision.
fn status(context: &Context<'_>) -> Vec<u8> {
    let Context { catalog, agent, live_checks: _ } = context;
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
