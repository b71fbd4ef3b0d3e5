//! Golden files: `tests/golden/*.http` hold requests with the steps that they lead to. `UPDATE_GOLDEN=1` rewrites the
//! steps and keeps the requests.

use std::fmt::Write;
use std::path::Path;

use api::{Step, WriteOutcome};
use bytes::Bytes;
use http::{Request, Response};

use model::{Revision, Timestamp};
use registry::{Command, decide};

use crate::fixture::{World, request};

/// Runs the requests of a file against `world`, each by itself.
pub(crate) fn check(name: &str, world: &World) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    let expected = std::fs::read_to_string(&path).unwrap();
    let actual = answered(&expected, world);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, actual).unwrap();
        return;
    }
    for (expected, actual) in expected.split("### ").zip(actual.split("### ")) {
        assert_eq!(expected, actual, "in {name}; UPDATE_GOLDEN=1 accepts it");
    }
    assert_eq!(expected, actual, "in {name}; UPDATE_GOLDEN=1 accepts it");
}

/// The file anew: a request is its line after `### `, its headers, an empty line and a body; `---` ends it.
fn answered(file: &str, world: &World) -> String {
    let mut blocks = file.split("### ");
    let mut text = blocks.next().unwrap().to_owned();
    for block in blocks {
        let asked = block.split_once("---\n").map_or(block, |(asked, _)| asked).trim_end();
        let (line, rest) = asked.split_once('\n').unwrap_or((asked, ""));
        let (headers, body) = match rest.strip_prefix('\n') {
            Some(body) => ("", body),
            None => rest.split_once("\n\n").unwrap_or((rest, "")),
        };
        let (method, path) = line.split_once(' ').unwrap();
        let mut request: Request<Bytes> = request(method, path, body);
        for header in headers.lines() {
            let (name, value) = header.split_once(": ").unwrap();
            let name: http::HeaderName = name.parse().unwrap();
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        writeln!(text, "### {asked}\n---\n{}", shown(world, &request)).unwrap();
    }
    text
}

fn shown(world: &World, request: &Request<Bytes>) -> String {
    match world.step(request, false) {
        Step::Reply(response) => shown_response(&response),
        Step::Wait { keys, timeout, jitter_max } => {
            format!("wait {timeout:?} and up to {jitter_max:?} for {keys:?}\n")
        }
        Step::Leaf(wanted) => format!("{wanted:?}\n"),
        Step::AgentToken(..) => unreachable!("access control is off"),
        Step::Write(command, reply) => {
            let revision = Revision(world.catalog.revision().0 + 1);
            let outcome = match (&command, decide(&world.catalog, &command, Timestamp(1000))) {
                (Command::Transact(_), Ok(decision)) => WriteOutcome::Done(revision, decision.read),
                (Command::Transact(_), Err(rejection)) => WriteOutcome::Rejected(rejection),
                _ => WriteOutcome::Done(world.catalog.revision(), Vec::new()),
            };
            let response = reply(outcome, &world.context());
            format!("{command:#?}\n{}", shown_response(&response))
        }
    }
}

fn shown_response(response: &Response<Bytes>) -> String {
    let mut headers: Vec<String> = response
        .headers()
        .iter()
        .map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap()))
        .collect();
    headers.sort();
    let body = str::from_utf8(response.body()).unwrap();
    format!("{}\n{}\n{body}\n", response.status(), headers.concat())
}

#[test]
fn agent() {
    check("agent.http", &World::full());
}

#[test]
fn agent_writes() {
    check("agent_writes.http", &World::full());
}

#[test]
fn catalog() {
    check("catalog.http", &World::full());
}

#[test]
fn health() {
    check("health.http", &World::full());
}

#[test]
fn status() {
    check("status.http", &World::full());
}

#[test]
fn keys_and_values() {
    check("kv.http", &World::of_keys());
}

#[test]
fn sessions() {
    check("session.http", &World::of_sessions());
}

#[test]
fn transactions() {
    check("txn.http", &World::of_keys());
}

#[test]
fn errors() {
    check("errors.http", &World::full());
}

#[test]
fn admin() {
    check("admin.http", &World::full());
}
