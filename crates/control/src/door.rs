//! What stands behind the HTTP server: takes a request through `api` (and the `/leno/v1` documents through
//! `manifests`) until there is an answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use api::{
    Admission, AgentInfo, Context, LeafWanted, LiveCheck, Operation, RateGate, Respond, Step,
    WriteOutcome,
};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use model::{Catalog, Check, CheckId, CheckStatus, CheckType, NodeName, Timestamp, WatchKey};
use parking_lot::Mutex;
use registry::{Command, Rejection};
use runtime::{Drain, Tasks};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::agent::{Again, Reload};
use crate::authority::Leaves;
use crate::compilation::Compilation;
use crate::guards::{GuardDefaults, Guards};
use crate::http_server::Clients;
use crate::mesh::{Mesh, Watcher};
use crate::metrics::Metrics;
use crate::probes::ProbesHandle;
use crate::sessions::SessionsHandle;
use crate::sightings::SightingsHandle;
use crate::tokens::{AgentAccess, ResetFile};
use crate::workloads::Workloads;
use crate::{host, monitor, snapshots, streams};

pub mod documents;
mod guarded;
mod instances;
mod memo;
pub mod proxies;
#[cfg(test)]
mod tests;
pub mod workloads;

pub(crate) use memo::Memo;
use memo::Question;

/// How long reading the configuration again may take: some files, and a registration for each definition.
const RELOAD_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);
/// What is below tells of an instance what only the shell knows of it.
const INSTANCES: &str = "/leno/v1/instances/";
/// The same of who of a service is spared.
const SERVICES: &str = "/leno/v1/services/";
const TEXT: &str = "text/plain; charset=utf-8";

/// Everything that a request may need. Shared by all connections.
pub struct Door {
    /// The truth.
    pub mesh: Mesh,
    /// This agent.
    pub agent: AgentInfo,
    /// What must be there after the whole truth was replaced.
    pub(crate) again: Arc<Again>,
    /// One snapshot at a time: each is in memory several times over.
    pub(crate) snapshot_turn: Arc<Semaphore>,
    /// Its probes.
    pub probes: ProbesHandle,
    /// Keeps the sessions.
    pub sessions: SessionsHandle,
    /// What proxies see.
    pub sightings: SightingsHandle,
    /// The processes that are looked after.
    pub workloads: Workloads,
    /// What the compiler made of the truth, for the status of documents.
    pub compilation: Compilation,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Where commands are run to their end, whatever becomes of the client. Their drain ends waiting queries.
    pub tasks: Tasks,
    /// Begins when a client asks the agent to leave.
    pub leave: Drain,
    /// Certificates that were issued here.
    pub(crate) leaves: Leaves,
    /// Asks the agent's owner to read the configuration again.
    pub(crate) reload: mpsc::Sender<Reload>,
    /// Answers of the current revision.
    pub(crate) memo: Memo,
    /// Access control.
    pub(crate) access: Arc<AgentAccess>,
    /// Rates of requests.
    pub(crate) gate: Mutex<RateGate>,
    /// Connections of clients.
    pub(crate) clients: Clients,
    /// The agent follows a manifest folder, which then owns the documents that it declared.
    pub follows_folder: bool,
    /// Watches over changes of documents.
    pub guards: Guards,
    /// How long changes are guarded that do not say it.
    pub guard_defaults: GuardDefaults,
    /// It was said that proxies elsewhere get no private keys.
    pub(crate) has_withheld: AtomicBool,
}

impl Door {
    /// Answers a request; a blocking query resolves when there is news or its time is over.
    pub async fn answer(&self, request: Request<Bytes>) -> Response<Bytes> {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let refusal = api::refused_by_rule(&request, &self.agent.settings, &self.access.acl);
        let refusal = refusal.or_else(|| refused_to_pages(&request));
        let mut response = match refusal.or_else(|| self.beyond_rate(&request)) {
            Some(refusal) => refusal,
            None => self.answer_within(request).await,
        };
        let headers = self.agent.settings.response_headers.iter().cloned();
        response.headers_mut().extend(headers);
        self.metrics.count_response(response.status());
        tracing::debug!(%method, %path, status = response.status().as_u16(), "HTTP request");
        response
    }

    /// The refusal of a request that is beyond the rates.
    fn beyond_rate(&self, request: &Request<Bytes>) -> Option<Response<Bytes>> {
        let operation = Operation::of(request)?;
        let admission = self.gate.lock().admit(operation, runtime::monotonic());
        match admission {
            Admission::Within => None,
            Admission::Beyond => {
                self.metrics.count_beyond_rate();
                tracing::debug!(path = request.uri().path(), ?operation, "beyond the rate limit");
                None
            }
            Admission::Refused => {
                self.metrics.count_beyond_rate();
                let (status, text) = operation.refusal();
                Some(reply(status, TEXT, text.to_owned()))
            }
        }
    }

    async fn answer_within(&self, request: Request<Bytes>) -> Response<Bytes> {
        if let Some(page) = api::page(&request, &self.agent.settings) {
            return page;
        }
        match (request.method().as_str(), request.uri().path()) {
            ("GET", "/v1/agent/monitor") => self.monitor(&request).await,
            ("GET", "/v1/agent/metrics/stream") => self.metrics_stream(&request).await,
            ("GET", "/v1/agent/host") => self.host(&request).await,
            ("GET" | "PUT", "/v1/snapshot") => self.snapshot(request).await,
            ("PUT", "/v1/acl/bootstrap") => self.bootstrap_acl(request).await,
            ("GET" | "HEAD", "/metrics" | "/v1/agent/metrics")
            | ("PUT", "/v1/agent/leave" | "/v1/agent/reload")
            | ("GET", "/leno/v1/documents" | "/leno/v1/guards")
            | ("POST", "/leno/v1/apply" | "/leno/v1/delete") => match self.refusal(&request) {
                Some(refusal) => refusal,
                None => self.serve(&request).await,
            },
            ("GET", path) if path.starts_with(INSTANCES) => self.instances(request).await,
            ("GET", path) if path.starts_with(SERVICES) => self.service(request).await,
            (_, path) if is_of_workloads(path) => match self.refusal(&request) {
                Some(refusal) => refusal,
                None => self.workloads(&request).await,
            },
            _ => self.ask_api(&request).await,
        }
    }

    /// Serves what the shell serves by itself, to whom may ask for it.
    async fn serve(&self, request: &Request<Bytes>) -> Response<Bytes> {
        match (request.method().as_str(), request.uri().path()) {
            ("GET" | "HEAD", "/metrics") => self.prometheus(),
            ("GET", "/v1/agent/metrics") if wants_prometheus(request) => self.prometheus_if_on(),
            ("GET", "/v1/agent/metrics") => self.metrics_as_json(),
            ("PUT", "/v1/agent/leave") => self.leave(),
            ("PUT", "/v1/agent/reload") => self.reload().await,
            ("GET", "/leno/v1/documents") => self.list_documents(),
            ("GET", "/leno/v1/guards") => self.list_guards(request),
            ("POST", "/leno/v1/apply") => self.apply_documents(request.body()).await,
            ("POST", "/leno/v1/delete") => self.delete_documents(request.body()).await,
            _ => self.ask_api(request).await,
        }
    }

    /// Runs a command and counts it. It is run to its end, and the probes hear of it, also when the caller is dropped
    /// because its client went away.
    pub async fn run(&self, command: Command) -> WriteOutcome {
        let (sender, outcome) = oneshot::channel();
        let (mesh, probes) = (self.mesh.clone(), self.probes.clone());
        let sessions = self.sessions.clone();
        let metrics = Arc::clone(&self.metrics);
        self.tasks.spawn("command", async move {
            let beats = Heartbeats::of(&command);
            let maintenance = Maintenance::of(&command);
            let renewed = match &command {
                Command::RenewSession(id) => Some(id.clone()),
                _ => None,
            };
            let mut outcome = mesh.run(command).await;
            if let (Some(id), WriteOutcome::Done(..)) = (renewed, &outcome)
                && !sessions.renew(&id)
            {
                outcome = WriteOutcome::Rejected(Rejection::UnknownSession(id.to_string()));
            }
            metrics.count_command(&outcome);
            if let WriteOutcome::Done(..) = &outcome {
                beats.tell(&mesh.catalog(), &probes);
                if let Some(maintenance) = maintenance {
                    maintenance.log();
                }
            }
            // Nobody waits when the client has gone.
            let _ = sender.send(outcome);
        });
        let lost = |_| WriteOutcome::Failed("the command was not run to its end".into());
        outcome.await.unwrap_or_else(lost)
    }

    async fn ask_api(&self, request: &Request<Bytes>) -> Response<Bytes> {
        let arrived = runtime::monotonic();
        let mut wait: Option<Waiting> = None;
        let mut timed_out = false;
        loop {
            let catalog = self.mesh.catalog();
            let live_checks = self.probes.live_checks();
            let context = self.context(&catalog, &live_checks);
            // Whether the time is over is not part of the question, so an answer for that is neither kept nor recalled.
            let question = if timed_out { None } else { self.question(request, &context) };
            let recalled =
                question.as_ref().and_then(|it| self.memo.recall(it, catalog.revision()));
            if let Some(response) = recalled {
                return response;
            }
            match api::handle(request, &context, timed_out) {
                Step::Reply(response) => {
                    if let Some(question) = question {
                        self.memo.keep(question, catalog.revision(), &response);
                    }
                    return response;
                }
                Step::Leaf(wanted) => {
                    drop((catalog, live_checks));
                    return self.leaf(request, &wanted).await;
                }
                Step::AgentToken(which, secret, then) => {
                    return then(self.access.give(which, secret).await);
                }
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

    /// What an answer to a request may depend on; `None` when that is more than what is in it.
    fn question(&self, request: &Request<Bytes>, context: &Context<'_>) -> Option<Question> {
        let acl = &self.access.acl;
        if !acl.settings().enabled {
            return Question::of(request, "");
        }
        let secret = acl.secret_of(request);
        let identity = acl.resolve(context.catalog, context.agent, &secret, context.now).ok()?;
        // Time alone can make it nobody's, and time is not part of the question.
        if identity.ends() { None } else { Question::of(request, secret.reveal()) }
    }

    /// What is said to a request that is served here without the door being asked; nothing when it may be served.
    fn refusal(&self, request: &Request<Bytes>) -> Option<Response<Bytes>> {
        let catalog = self.mesh.catalog();
        let live_checks = self.probes.live_checks();
        api::refuse(request, &self.context(&catalog, &live_checks))
    }

    /// Whoever runs the agent may have said that there may be another first token.
    async fn bootstrap_acl(&self, mut request: Request<Bytes>) -> Response<Bytes> {
        let reset = self.access.reset.as_ref();
        if let Some(index) = reset.and_then(ResetFile::index) {
            request.extensions_mut().insert(api::BootstrapReset(index));
        }
        let had_reset = request.extensions().get::<api::BootstrapReset>().is_some();
        let response = self.ask_api(&request).await;
        if let Some(reset) = reset.filter(|_| had_reset && response.status() == StatusCode::OK) {
            reset.forget();
        }
        response
    }

    /// Waits for a change; true when there was none in time.
    async fn wait(&self, waiting: &mut Waiting) -> bool {
        let _blocked = self.metrics.blocked();
        let drain = self.tasks.drain();
        let deadline = tokio::time::Instant::from_std(waiting.deadline);
        tokio::select! {
            changed = tokio::time::timeout_at(deadline, waiting.watcher.changed()) => changed.is_err(),
            () = drain.begun() => true,
        }
    }

    async fn write(&self, command: Command, then: Respond) -> Response<Bytes> {
        let outcome = self.run(command).await;
        let catalog = self.mesh.catalog();
        let live_checks = self.probes.live_checks();
        then(outcome, &self.context(&catalog, &live_checks))
    }

    fn context<'a>(
        &'a self,
        catalog: &'a Catalog,
        live_checks: &'a BTreeMap<CheckId, LiveCheck>,
    ) -> Context<'a> {
        let fresh_id = || uuid::Uuid::new_v4().to_string();
        let now = Timestamp(runtime::unix_ms());
        Context { catalog, agent: &self.agent, live_checks, acl: &self.access.acl, now, fresh_id }
    }

    /// Metrics through Consul's endpoint, which may be told not to.
    fn prometheus_if_on(&self) -> Response<Bytes> {
        if self.agent.settings.prometheus {
            return self.prometheus();
        }
        let text = "Prometheus is not enabled since its retention time is not positive";
        reply(StatusCode::UNSUPPORTED_MEDIA_TYPE, "text/plain; charset=utf-8", text.to_owned())
    }

    fn prometheus(&self) -> Response<Bytes> {
        let mut text = self.metrics.prometheus(&self.mesh.catalog(), &self.agent);
        text.push_str(&self.compilation.fleet().prometheus());
        reply(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text)
    }

    fn metrics_as_json(&self) -> Response<Bytes> {
        let now = runtime::unix_ms();
        self.consul_reply(self.metrics.json(&self.mesh.catalog(), &self.agent, now))
    }

    /// True when the door lets the request through to the shell; else its refusal.
    async fn admitted(&self, request: &Request<Bytes>) -> Result<(), Response<Bytes>> {
        // Parameters and permissions are the door's; it says nothing when all is well.
        let answer = self.ask_api(request).await;
        if answer.status() == StatusCode::NO_CONTENT { Ok(()) } else { Err(answer) }
    }

    async fn monitor(&self, request: &Request<Bytes>) -> Response<Bytes> {
        if let Err(refusal) = self.admitted(request).await {
            return refusal;
        }
        let query = request.uri().query().unwrap_or_default();
        let given = |name: &str| {
            let pair = query.split('&').map(|it| it.split_once('=').unwrap_or((it, "")));
            pair.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value)
        };
        // The door has checked that it is one.
        let level = given("loglevel").and_then(monitor::level_of).unwrap_or(tracing::Level::INFO);
        match monitor::follow(level, given("logjson").is_some()) {
            Ok(lines) => {
                let lines = streams::until(&self.tasks, lines);
                streams::response(lines, "text/plain; charset=utf-8")
            }
            Err(error) => reply(StatusCode::SERVICE_UNAVAILABLE, TEXT, error.to_string()),
        }
    }

    async fn metrics_stream(&self, request: &Request<Bytes>) -> Response<Bytes> {
        if let Err(refusal) = self.admitted(request).await {
            return refusal;
        }
        let (metrics, mesh) = (Arc::clone(&self.metrics), self.mesh.clone());
        let agent = self.agent.clone();
        let read = move || metrics.json(&mesh.catalog(), &agent, runtime::unix_ms());
        streams::response(streams::metrics(&self.tasks, read), "application/json")
    }

    async fn host(&self, request: &Request<Bytes>) -> Response<Bytes> {
        if let Err(refusal) = self.admitted(request).await {
            return refusal;
        }
        let now_ns = runtime::unix_ms().saturating_mul(1_000_000);
        self.consul_reply(host::describe(now_ns).to_string())
    }

    async fn snapshot(&self, request: Request<Bytes>) -> Response<Bytes> {
        if let Err(refusal) = self.admitted(&request).await {
            return refusal;
        }
        let Ok(turn) = Arc::clone(&self.snapshot_turn).try_acquire_owned() else {
            let text = "another snapshot is being saved or restored; try again when it is done";
            return reply(StatusCode::SERVICE_UNAVAILABLE, TEXT, text.to_owned());
        };
        let done = if request.method() == http::Method::PUT {
            // It is done to its end, also when the client goes away in the middle.
            let (sender, done) = oneshot::channel();
            let (mesh, again) = (self.mesh.clone(), Arc::clone(&self.again));
            self.tasks.spawn("snapshot restore", async move {
                let restored =
                    snapshots::restore(&mesh, request.into_body(), again.own_node()).await;
                let restored = match restored {
                    Ok(()) => again.register(&mesh).await.map_err(|error| error.to_string()),
                    Err(error) => Err(error.to_string()),
                };
                drop(turn);
                let _ = sender.send(restored);
            });
            let lost = |_| Err("the restore was not run to its end".to_owned());
            done.await.unwrap_or_else(lost).map(|()| self.consul_reply(String::new()))
        } else {
            let saved = snapshots::save(&self.mesh).await.map_err(|error| error.to_string());
            drop(turn);
            saved
        };
        done.unwrap_or_else(|text| reply(StatusCode::INTERNAL_SERVER_ERROR, TEXT, text))
    }

    async fn leaf(&self, request: &Request<Bytes>, wanted: &LeafWanted) -> Response<Bytes> {
        let (datacenter, drain) = (&self.agent.datacenter, self.tasks.drain());
        let acl = &self.access.acl;
        match self.leaves.answer(request, wanted, &self.mesh, datacenter, acl, &drain).await {
            // The client may have waited long, and may not get it any more.
            Ok(response) => self.refusal(request).unwrap_or(response),
            Err(error) => reply(StatusCode::INTERNAL_SERVER_ERROR, TEXT, error.to_string()),
        }
    }

    async fn reload(&self) -> Response<Bytes> {
        let (answer, told) = oneshot::channel();
        let asked = async {
            self.reload.send(Reload(answer)).await.ok()?;
            told.await.ok()
        };
        match tokio::time::timeout(RELOAD_TIMEOUT, asked).await {
            Ok(Some(Ok(()))) => self.consul_reply(String::new()),
            Ok(Some(Err(reason))) => reply(StatusCode::INTERNAL_SERVER_ERROR, TEXT, reason),
            Ok(None) | Err(_) => {
                let reason = "the configuration was not read again in time".to_owned();
                reply(StatusCode::INTERNAL_SERVER_ERROR, TEXT, reason)
            }
        }
    }

    /// The agent drains after this answer.
    fn leave(&self) -> Response<Bytes> {
        tracing::info!("a client asked the agent to leave");
        self.leave.begin();
        self.consul_reply(String::new())
    }
}

/// What a command says about TTL checks: each of them gets its whole time again.
pub(crate) struct Heartbeats {
    /// A heartbeat itself.
    beat: Option<(CheckId, CheckStatus, String)>,
    /// TTL checks that are registered, perhaps again. If the definition is another now, their tasks start anew.
    registered: Vec<(NodeName, CheckId)>,
}

impl Heartbeats {
    pub(crate) fn of(command: &Command) -> Self {
        let beat = match command {
            Command::SetCheckStatus { id, status, output, .. } => {
                Some((id.clone(), *status, output.clone()))
            }
            _ => None,
        };
        let checks = match command {
            Command::RegisterService(registration) => registration.checks.as_slice(),
            Command::RegisterCheck(check) => std::slice::from_ref(check),
            _ => &[],
        };
        let is_ttl = |check: &&Check| {
            let definition = check.definition.as_ref();
            definition.and_then(|it| it.check_type()) == Some(CheckType::Ttl)
        };
        let registered =
            checks.iter().filter(is_ttl).map(|it| (it.node.clone(), it.id.clone())).collect();
        Self { beat, registered }
    }

    pub(crate) fn tell(self, catalog: &Catalog, probes: &ProbesHandle) {
        if let Some((id, status, output)) = self.beat {
            probes.heartbeat(&id, status, output);
        }
        for (node, id) in self.registered {
            // One that has lapsed stays so until a real heartbeat comes.
            if let Some(check) = catalog.check(&node.folded(), &id)
                && check.status != CheckStatus::Critical
            {
                probes.heartbeat(&id, check.status, check.output.clone());
            }
        }
    }
}

/// A blocking query between two looks at the catalog.
struct Waiting {
    keys: Vec<WatchKey>,
    watcher: Watcher,
    deadline: Instant,
}

fn wants_prometheus(request: &Request<Bytes>) -> bool {
    let asks = |it: &str| it == "format=prometheus";
    let accept = request.headers().get(http::header::ACCEPT).and_then(|it| it.to_str().ok());
    request.uri().query().is_some_and(|query| query.split('&').any(asks))
        || accept.is_some_and(|it| {
            it.contains("application/openmetrics-text") || it.contains("text/plain; version=")
        })
}

impl Door {
    /// 200 with JSON, and with the headers that everything of Consul's has.
    fn consul_reply(&self, body: String) -> Response<Bytes> {
        let policy = match self.access.acl.settings().default_policy {
            api::DefaultPolicy::Allow => "allow",
            api::DefaultPolicy::Deny => "deny",
        };
        consul_reply(body, policy)
    }
}

fn consul_reply(body: String, policy: &'static str) -> Response<Bytes> {
    let mut response = reply(StatusCode::OK, "application/json", body);
    let headers = response.headers_mut();
    headers.insert(http::header::VARY, http::HeaderValue::from_static("Accept-Encoding"));
    let policy = http::HeaderValue::from_static(policy);
    headers.insert("x-consul-default-acl-policy", policy);
    response
}

/// A node or instance that goes into maintenance or comes out of it, for the log.
struct Maintenance {
    node: String,
    service: Option<String>,
    reason: Option<String>,
}

impl Maintenance {
    fn of(command: &Command) -> Option<Self> {
        let Command::SetMaintenance { node, service, reason } = command else { return None };
        let service = service.as_ref().map(ToString::to_string);
        Some(Self { node: node.to_string(), service, reason: reason.clone() })
    }

    fn log(&self) {
        let (node, service) = (self.node.as_str(), self.service.as_deref());
        match &self.reason {
            Some(reason) => tracing::info!(node, service, reason, "entered maintenance mode"),
            None => tracing::info!(node, service, "left maintenance mode"),
        }
    }
}

/// A page in somebody's browser may send requests here without being asked, under whatever name its site has; documents start
/// processes, so it may not write them. Programs do not say where they come from, as browsers do.
fn refused_to_pages(request: &Request<Bytes>) -> Option<Response<Bytes>> {
    let is_ours = request.uri().path().starts_with("/leno/v1/");
    let header = |name: &str| request.headers().get(name).and_then(|it| it.to_str().ok());
    let is_from_page = header("origin").is_some() || header("sec-fetch-site").is_some();
    (is_ours && is_from_page && request.method() != http::Method::GET).then(|| {
        let text = "pages in browsers may not write here; use the command line\n";
        reply(StatusCode::FORBIDDEN, TEXT, text.to_owned())
    })
}

fn is_of_workloads(path: &str) -> bool {
    let rest = path.strip_prefix("/leno/v1/").unwrap_or_default();
    let of =
        |what: &str| rest.strip_prefix(what).is_some_and(|it| it.is_empty() || it.starts_with('/'));
    rest == "rollouts" || of("proxies") || of("workloads")
}

fn reply(status: StatusCode, content_type: &'static str, body: String) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    let content_type = http::HeaderValue::from_static(content_type);
    response.headers_mut().insert(http::header::CONTENT_TYPE, content_type);
    response
}
