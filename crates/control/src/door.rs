//! What stands behind the HTTP server: takes a request through `api` (and the `/leno/v1` documents through
//! `manifests`) until there is an answer.

use std::sync::Arc;
use std::time::Instant;

use api::{AgentInfo, Context, Respond, Step, WriteOutcome};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use model::WatchKey;
use registry::Command;
use runtime::Drain;

use crate::compilation::Compilation;
use crate::mesh::{Mesh, Watcher};
use crate::metrics::Metrics;
use crate::probes::ProbesHandle;

pub mod documents;

/// Everything that a request may need. Shared by all connections.
pub struct Door {
    /// The truth.
    pub mesh: Mesh,
    /// This agent.
    pub agent: AgentInfo,
    /// Its probes.
    pub probes: ProbesHandle,
    /// What the compiler made of the truth, for the status of documents.
    pub compilation: Compilation,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Ends waiting queries early when the agent shuts down.
    pub drain: Drain,
}

impl Door {
    /// Answers a request; a blocking query resolves when there is news or its time is over.
    pub async fn answer(&self, request: Request<Bytes>) -> Response<Bytes> {
        let response = match (request.method(), request.uri().path()) {
            (&Method::GET, "/metrics") => self.prometheus(),
            (&Method::GET, "/v1/agent/metrics") if wants_prometheus(&request) => self.prometheus(),
            (method, "/leno/v1/documents") if method == Method::GET => self.list_documents(),
            (method, "/leno/v1/apply") if method == Method::POST => {
                self.apply_documents(request.body()).await
            }
            (method, "/leno/v1/delete") if method == Method::POST => {
                self.delete_documents(request.body()).await
            }
            _ => self.ask_api(&request).await,
        };
        self.metrics.count_response(response.status());
        response
    }

    /// Runs a command and counts it.
    pub async fn run(&self, command: Command) -> WriteOutcome {
        let outcome = self.mesh.run(command).await;
        self.metrics.count_command(&outcome);
        outcome
    }

    async fn ask_api(&self, request: &Request<Bytes>) -> Response<Bytes> {
        let arrived = runtime::monotonic();
        let mut wait: Option<Waiting> = None;
        let mut timed_out = false;
        loop {
            let catalog = self.mesh.catalog();
            let live_checks = self.probes.live_checks();
            let context =
                Context { catalog: &catalog, agent: &self.agent, live_checks: &live_checks };
            match api::handle(request, &context, timed_out) {
                Step::Reply(response) => return response,
                Step::Write(command, then) => return self.write(command, then).await,
                Step::Wait { keys, timeout, jitter_max } => {
                    let waiting = wait.take().filter(|waiting| waiting.keys == keys);
                    let mut waiting = match waiting {
                        Some(waiting) => waiting,
                        None => {
                            let jitter = jitter_max.mul_f64(rand::random::<f64>());
                            let deadline = arrived + timeout + jitter;
                            let watcher = self.mesh.watch(&keys);
                            wait = Some(Waiting { keys, watcher, deadline });
                            // What changed before the watcher stood is seen by asking again.
                            if self.mesh.catalog().revision() != catalog.revision() {
                                continue;
                            }
                            wait.take().expect("it was put there two lines above")
                        }
                    };
                    drop((catalog, live_checks));
                    timed_out = self.wait(&mut waiting).await;
                    wait = Some(waiting);
                }
            }
        }
    }

    /// Waits for a change; true when there was none in time.
    async fn wait(&self, waiting: &mut Waiting) -> bool {
        let _blocked = self.metrics.blocked();
        let deadline = tokio::time::Instant::from_std(waiting.deadline);
        tokio::select! {
            changed = tokio::time::timeout_at(deadline, waiting.watcher.changed()) => changed.is_err(),
            () = self.drain.begun() => true,
        }
    }

    async fn write(&self, command: Command, then: Respond) -> Response<Bytes> {
        let heartbeat = match &command {
            Command::SetCheckStatus { id, status, output, .. } => {
                Some((id.clone(), *status, output.clone()))
            }
            _ => None,
        };
        let outcome = self.run(command).await;
        if let (Some((id, status, output)), WriteOutcome::Done(_)) = (heartbeat, &outcome) {
            self.probes.heartbeat(&id, status, output);
        }
        let catalog = self.mesh.catalog();
        let live_checks = self.probes.live_checks();
        let context = Context { catalog: &catalog, agent: &self.agent, live_checks: &live_checks };
        then(outcome, &context)
    }

    fn prometheus(&self) -> Response<Bytes> {
        let text = self.metrics.prometheus(&self.mesh.catalog(), &self.agent);
        reply(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text)
    }
}

/// A blocking query between two looks at the catalog.
struct Waiting {
    keys: Vec<WatchKey>,
    watcher: Watcher,
    deadline: Instant,
}

fn wants_prometheus(request: &Request<Bytes>) -> bool {
    request.uri().query().is_some_and(|query| query.split('&').any(|it| it == "format=prometheus"))
}

fn reply(status: StatusCode, content_type: &'static str, body: String) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    let content_type = http::HeaderValue::from_static(content_type);
    response.headers_mut().insert(http::header::CONTENT_TYPE, content_type);
    response
}
