//! Requests of any method, with what the shell does for them on one machine without other writers.

use std::sync::atomic::{AtomicU64, Ordering};

use api::{Context, Step, WriteOutcome};
use bytes::Bytes;
use http::{Request, Response};
use model::Timestamp;
use registry::{Command, decide};
use serde_json::Value;

use crate::fixture::{World, request};

/// UUIDs of which no two are the same.
fn fresh_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("{:08x}-0000-4000-8000-0f3a00000000", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// An answer, its body as text.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) status: u16,
    pub(crate) text: String,
}

impl Told {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }
}

impl PartialEq<(u16, &str)> for Told {
    fn eq(&self, other: &(u16, &str)) -> bool {
        (self.status, self.text.as_str()) == *other
    }
}

impl World {
    /// The reply to a request that does not wait; its write is made.
    pub(crate) fn respond(&mut self, request: &Request<Bytes>) -> Response<Bytes> {
        let context = Context { fresh_id, ..self.context() };
        match api::handle(request, &context, false) {
            Step::Reply(response) => response,
            Step::Wait { .. } => panic!("{} waits", request.uri()),
            Step::Leaf(_) => panic!("{} wants a certificate", request.uri()),
            Step::AgentToken(..) => panic!("{} sets a token of the agent", request.uri()),
            Step::Write(command, reply) => {
                let outcome = self.commit(&command);
                reply(outcome, &self.context())
            }
        }
    }

    pub(crate) fn exchange(&mut self, method: &str, path: &str, body: &str) -> Told {
        let response = self.respond(&request(method, path, body));
        let text = String::from_utf8(response.body().to_vec()).unwrap();
        Told { status: response.status().as_u16(), text }
    }

    /// What a read says that is well.
    pub(crate) fn read(&mut self, path: &str) -> Value {
        let told = self.exchange("GET", path, "");
        assert_eq!(told.status, 200, "GET {path}: {told:?}");
        told.json()
    }

    pub(crate) fn commit(&mut self, command: &Command) -> WriteOutcome {
        match decide(&self.catalog, command, Timestamp(1000)) {
            Err(rejection) => WriteOutcome::Rejected(rejection),
            Ok(decision) => {
                if !decision.txn.is_noop() {
                    self.apply(self.catalog.revision().0 + 1, decision.txn.operations);
                }
                WriteOutcome::Done(self.catalog.revision(), decision.read)
            }
        }
    }

    /// The index of a read, also of one that waits for news.
    pub(crate) fn index(&mut self, path: &str) -> u64 {
        let response = self.respond(&request("GET", path, ""));
        response.headers()["x-consul-index"].to_str().unwrap().parse().unwrap()
    }

    /// True when a read with this index in its path waits.
    pub(crate) fn waits(&self, path: &str) -> bool {
        matches!(self.step(&request("GET", path, ""), false), Step::Wait { .. })
    }
}
