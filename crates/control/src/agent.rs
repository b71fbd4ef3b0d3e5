//! The agent: everything of the control plane, started and stopped in order.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use api::{AgentInfo, WriteOutcome};
use compiler::Compiler;
use model::{Catalog, Check, CheckStatus, FlatMap, Instance, Node, NodeName, Timestamp};
use parking_lot::Mutex;
use registry::{CatalogRegistration, Command, MEMBER_CHECK, Rejection};
use runtime::{Drain, Tasks};
use store::{Store, StoreError};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::authority::{self, Leaves};
use crate::compilation::Compilation;
use crate::definitions::{ConfiguredDefinitions, Definitions};
use crate::dns_server::{DnsServer, DnsServerError, WhoMay};
use crate::door::{Door, Memo};
use crate::guards::{GuardDefaults, Guards};
use crate::http_server::{Clients, HttpEndpoint, HttpServer};
use crate::listen::ListenError;
use crate::manifest_folder::ManifestFolder;
use crate::mesh::Mesh;
use crate::metrics::Metrics;
use crate::probes::{ProbeOptions, Probes, ProbesHandle};
use crate::sessions::Sessions;
use crate::sightings::{Sightings, SightingsHandle};
use crate::tokens::{self, AclOptions, AgentAccess};
use crate::workloads::{Enforcement, Place, Workloads};

mod beginning;
mod followers;
#[cfg(test)]
pub(crate) mod tests;

pub use api::{BUILD_DATE, Network, REVISION, Rates, Settings as ApiSettings, ToldPorts};
pub use compiler::Settings as CompilerSettings;
pub use model::Locality;
pub use proxy_config::{Balancing, LeastRequest, PeakEwma};
pub use registry::SidecarPorts;

/// Version of Consul's API that is spoken; clients decide by it what they may ask.
pub const CONSUL_VERSION: &str = "1.21.4";
/// How long supervised processes may take to end: the grace after SIGTERM, and a little more.
const PROCESSES_TIMEOUT: Duration = Duration::from_secs(7);
/// How long requests under way and connections may take to end; the servers give them 5 s.
const DOORS_TIMEOUT: Duration = Duration::from_secs(6);
/// How long the rest may take: none of it waits for anybody outside.
const CORE_TIMEOUT: Duration = Duration::from_secs(5);
/// Registrations under way at once when a renamed node takes over what it had: the store commits them together.
const TAKE_OVERS_AT_ONCE: usize = 64;

/// How an agent is to be.
#[derive(Clone, Debug)]
pub struct AgentOptions {
    /// Keep everything in memory.
    pub dev: bool,
    /// Data folder; not used with `dev`.
    pub data_dir: PathBuf,
    /// Address of the HTTP API; `None` where it is served on other endpoints only.
    pub http: Option<SocketAddr>,
    /// More places where the HTTP API is served.
    pub more_http: Vec<HttpEndpoint>,
    /// An address for the UI, with the HTTP API that it uses; then no other has the UI. `None` to serve it where the HTTP API
    /// is.
    pub ui_http: Option<SocketAddr>,
    /// Address of DNS, UDP and TCP; `None` for no DNS.
    pub dns: Option<SocketAddr>,
    /// More addresses of DNS.
    pub more_dns: Vec<SocketAddr>,
    /// Rules of DNS, and its recursors.
    pub dns_options: crate::dns_server::DnsOptions,
    /// Name of the node.
    pub node_name: String,
    /// UUID of the node; `None` for the one that lies beside the data, or a new one.
    pub node_id: Option<String>,
    /// Metadata of the node, beside what Consul's clients look for.
    pub node_meta: Vec<(String, String)>,
    /// Region and zone of the node.
    pub locality: Option<Locality>,
    /// Datacenter.
    pub datacenter: String,
    /// Address that others reach the node at.
    pub advertise: String,
    /// Folder of documents to follow.
    pub manifests: Option<PathBuf>,
    /// How long changes of documents are guarded that do not say it.
    pub guards: GuardDefaults,
    /// Scripts may be registered as checks.
    pub script_checks: bool,
    /// Services and checks of the agent's configuration.
    pub definitions: Definitions,
    /// Most connections of one address to the HTTP API; 0: no limit.
    pub connections_per_client_max: usize,
    /// Rates of requests.
    pub rates: api::Rates,
    /// How long a TLS handshake may take; `None` for 5 s.
    pub handshake_timeout: Option<Duration>,
    /// Most bytes of a request's head; `None` for 64 KiB.
    pub head_bytes_max: Option<usize>,
    /// Configuration entries to begin with, in Consul's form.
    pub config_entries: Vec<serde_json::Value>,
    /// Settings of autopilot to begin with, in Consul's form.
    pub autopilot: Option<serde_json::Value>,
    /// UUID of the trust domain that is made where there is none; `None` for a new one.
    pub cluster_id: Option<String>,
    /// Rules of the HTTP API.
    pub api: api::Settings,
    /// Access control.
    pub acl: AclOptions,
    /// What the compiler makes listeners for.
    pub compiler: compiler::Settings,
}

impl Default for AgentOptions {
    /// In memory, on addresses of the loopback that the system chooses.
    fn default() -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            dev: true,
            data_dir: PathBuf::new(),
            http: Some(any),
            more_http: Vec::new(),
            ui_http: None,
            more_dns: Vec::new(),
            dns: Some(any),
            dns_options: crate::dns_server::DnsOptions::default(),
            node_name: "n1".into(),
            node_id: None,
            node_meta: Vec::new(),
            locality: None,
            datacenter: "dc1".into(),
            advertise: "127.0.0.1".into(),
            manifests: None,
            guards: GuardDefaults::default(),
            script_checks: false,
            definitions: Definitions::default(),
            connections_per_client_max: 0,
            rates: api::Rates::default(),
            handshake_timeout: None,
            head_bytes_max: None,
            config_entries: Vec::new(),
            autopilot: None,
            cluster_id: None,
            api: api::Settings::default(),
            acl: AclOptions::default(),
            compiler: compiler::Settings::default(),
        }
    }
}

/// A running agent.
pub struct Agent {
    /// The truth.
    pub mesh: Mesh,
    /// The probes of its own node.
    pub probes: ProbesHandle,
    /// Takes in what proxies see of instances.
    pub sightings: SightingsHandle,
    /// The proxy configuration.
    pub compilation: Compilation,
    /// The workloads of the documents.
    pub workloads: Workloads,
    /// Address of the HTTP API; `None` where it is served on other endpoints only.
    pub http: Option<SocketAddr>,
    /// Address of the UI; `None` where it is off, or served on other endpoints only.
    pub ui: Option<SocketAddr>,
    /// Address of DNS.
    pub dns: Option<SocketAddr>,
    /// This agent, as clients see it.
    pub info: AgentInfo,
    /// Services and checks of the configuration.
    pub definitions: Arc<ConfiguredDefinitions>,
    /// Begins when a client asks the agent to leave.
    leave: Drain,
    /// Clients that ask for the configuration to be read again.
    reloads: tokio::sync::Mutex<mpsc::Receiver<Reload>>,
    phases: Phases,
    /// Folder that is removed at the end.
    temporary: Option<PathBuf>,
    #[cfg(test)]
    pub(crate) door: Arc<Door>,
}

/// The tasks of an agent, in the order in which they end: what the later ones do is needed by the earlier ones.
#[derive(Clone, Debug, Default)]
struct Phases {
    /// Supervised processes. While they end, clients can still learn that they do.
    processes: Tasks,
    /// HTTP, DNS, the folder of documents, and the commands that came through them.
    doors: Tasks,
    /// The writer of the catalog, the compiler, the probes.
    core: Tasks,
}

/// A client asks for the configuration to be read again; it is told what came of it.
#[derive(Debug)]
pub struct Reload(pub oneshot::Sender<Result<(), String>>);

/// Clients that may ask for that at once. One is enough; the others wait.
const RELOADS_MAX: usize = 4;

/// Why an agent has come to its end without being told so by its owner.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// A client asked for it, with `agent/leave`.
    Left,
    /// The store is lost: what is read is old, and nothing can be written.
    StoreLost,
}

/// An agent cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The store cannot be opened or read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// DNS cannot listen.
    #[error(transparent)]
    Dns(#[from] DnsServerError),
    /// The node's id cannot be read or written.
    #[error("cannot use the node's id in {path}")]
    NodeId {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The certificate authority cannot be set up.
    #[error("cannot set up the certificate authority: {0}")]
    Authority(String),
    /// Access control cannot be set up.
    #[error("cannot set up access control: {0}")]
    Access(String),
    /// A service or check of the configuration cannot be registered.
    #[error("cannot register {what} of the configuration: {reason}")]
    Define {
        /// Which.
        what: String,
        /// What the registry or the store said.
        reason: String,
    },
    /// The agent's own node cannot be registered.
    #[error("cannot register the node of this agent: {0}")]
    Register(String),
    /// The folder of documents cannot be read.
    #[error("cannot read the manifests in {path}")]
    Manifests {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The folder of documents cannot be applied.
    #[error("cannot apply the manifests in {path}: {reason}")]
    Apply {
        /// The folder.
        path: PathBuf,
        /// What the registry or the store said.
        reason: String,
    },
}

impl AgentOptions {
    /// What is wrong with the definitions and configuration entries that it was told, each: what can be said of them alone.
    #[must_use]
    pub fn wrong_definitions(&self) -> Vec<AgentError> {
        let mut wrong = self.definitions.commands(&self.info()).err().unwrap_or_default();
        wrong.extend(beginning::wrong_entries(&self.config_entries));
        if let Some(Err(reason)) = self.autopilot.as_ref().map(api::autopilot_of) {
            wrong.push(AgentError::Define { what: "autopilot".to_owned(), reason });
        }
        wrong
    }

    /// The agent as far as options say it: without the node's id, and the ports that the system gave.
    fn info(&self) -> AgentInfo {
        AgentInfo {
            node_name: self.node_name.as_str().into(),
            node_id: self.node_id.clone().unwrap_or_default(),
            datacenter: self.datacenter.clone(),
            address: self.advertise.clone(),
            http_port: 0,
            dns_port: 0,
            consul_version: CONSUL_VERSION.into(),
            leno_version: env!("CARGO_PKG_VERSION").into(),
            started: Timestamp(runtime::unix_ms()),
            dev: self.dev,
            script_checks: self.script_checks,
            settings: self.api.clone(),
        }
    }
}

impl Agent {
    /// Starts an agent: sockets first, so that nothing is touched when an address is taken.
    ///
    /// # Errors
    /// When an address, the data folder or the manifests cannot be used; nothing keeps running then.
    pub async fn start(options: AgentOptions) -> Result<Self, AgentError> {
        let phases = Phases::default();
        match Self::start_with(options, phases.clone()).await {
            Ok(agent) => Ok(agent),
            Err(error) => {
                phases.end().await;
                Err(error)
            }
        }
    }

    async fn start_with(options: AgentOptions, phases: Phases) -> Result<Self, AgentError> {
        let mut http_servers = Vec::new();
        if let Some(address) = options.http {
            http_servers.push(HttpServer::bind(address)?);
        }
        let http = http_servers.first().and_then(HttpServer::local_addr);
        for endpoint in &options.more_http {
            http_servers.push(HttpServer::open(endpoint)?);
        }
        let mut ui = http.filter(|_| options.api.ui);
        if let Some(address) = options.ui_http {
            http_servers.iter_mut().for_each(HttpServer::leave_out_ui);
            let server = HttpServer::bind(address)?;
            ui = server.local_addr();
            http_servers.push(server);
        }
        let mut dns_servers = Vec::new();
        for address in options.dns.iter().chain(&options.more_dns) {
            dns_servers.push(DnsServer::bind(*address, options.dns_options.clone())?);
        }
        let dns = dns_servers.first().map(DnsServer::local_addr);
        let Phases { processes, doors, core } = &phases;
        let mesh = Mesh::start(open_store(&options).await?, core).await?;
        let info = AgentInfo {
            node_id: node_id(&options, &mesh.catalog())?,
            http_port: http.map_or(0, |http| http.port()),
            dns_port: dns.map_or(0, |dns| dns.port()),
            ..options.info()
        };
        let access = Arc::new(open_access(&options)?);
        access.prepare(&mesh).await.map_err(AgentError::Access)?;
        let own = own_node(&info, &options);
        take_over(&mesh, &info, &own).await?;
        register_self(&mesh, &info, &own).await?;
        if let Some(settings) = &options.autopilot {
            let command = api::autopilot_of(settings);
            beginning::write_unless_there(&mesh, "autopilot", command).await?;
        }
        beginning::write_entries(&mesh, &options.config_entries).await?;
        if options.api.connect {
            let made = authority::ensure(&mesh, options.cluster_id.as_deref()).await;
            made.map_err(AgentError::Authority)?;
        }
        let definitions =
            ConfiguredDefinitions::register(&mesh, &info, &options.definitions).await?;
        let definitions = Arc::new(definitions);
        let probes = Probes::start(
            mesh.clone(),
            info.node_name.clone(),
            ProbeOptions {
                script_checks: options.script_checks || options.definitions.script_checks,
                ..ProbeOptions::default()
            },
            core,
        );
        let folder = match &options.manifests {
            Some(path) => Some(ManifestFolder::open(path, &mesh).await?),
            None => None,
        };
        let logs = logs_folder(&options);
        let temporary = options.dev.then(|| logs.parent().map(Path::to_owned)).flatten();
        let compilation = Compilation::start(&mesh, Compiler::new(options.compiler), core);
        if let Some(folder) = folder {
            folder.follow(mesh.clone(), doors);
        }
        let place = Place {
            node: info.node_name.clone(),
            node_id: info.node_id.clone(),
            address: info.address.clone(),
            logs,
            can_survive: !options.dev,
            scripts_may_run: options.script_checks || options.definitions.script_checks,
            enforcement: Arc::new(Enforcement::prepare(&info.node_id)),
        };
        let fleet = compilation.fleet().clone();
        let names = (!options.dev).then(|| options.data_dir.join("proxies"));
        followers::start(&fleet, names, core);
        let workloads =
            Workloads::start(mesh.clone(), probes.clone(), fleet.clone(), place, processes).await;
        let sightings =
            Sightings::start(mesh.clone(), probes.clone(), fleet, workloads.clone(), core);
        let leave = Drain::new();
        let (reload, reloads) = mpsc::channel(RELOADS_MAX);
        let door = Arc::new(Door {
            mesh: mesh.clone(),
            agent: info.clone(),
            again: Arc::new(Again {
                info: info.clone(),
                own,
                cluster_id: options.cluster_id.clone(),
                definitions: Arc::clone(&definitions),
                access: Arc::clone(&access),
            }),
            snapshot_turn: Arc::new(Semaphore::new(1)),
            probes: probes.clone(),
            sessions: Sessions::start(mesh.clone(), core),
            compilation: compilation.clone(),
            sightings: sightings.clone(),
            workloads: workloads.clone(),
            metrics: Arc::new(Metrics::default()),
            tasks: doors.clone(),
            leave: leave.clone(),
            reload,
            leaves: Leaves::default(),
            memo: Memo::default(),
            access,
            clients: Clients::new(options.connections_per_client_max),
            gate: Mutex::new(api::RateGate::new(options.rates, runtime::monotonic())),
            follows_folder: options.manifests.is_some(),
            guards: Guards::start(mesh.clone(), compilation.clone(), info.node_name.clone(), core),
            guard_defaults: options.guards.clone(),
            has_withheld: false.into(),
        });
        for mut http_server in http_servers {
            http_server.limit(options.handshake_timeout, options.head_bytes_max);
            doors.spawn("HTTP server", http_server.run(Arc::clone(&door), doors.clone()));
        }
        for dns_server in dns_servers {
            let source = mesh.clone();
            let (acl, agent) = (Arc::clone(&door.access.acl), info.clone());
            let who: WhoMay = Arc::new(move |catalog: &Catalog, secret: &str| {
                acl.dns_authorizer(catalog, &agent, secret, Timestamp(runtime::unix_ms()))
            });
            let run = dns_server.run(move || source.catalog(), who, doors.clone());
            doors.spawn("DNS server", run);
        }
        if options.acl.settings.enabled {
            let clock = || Timestamp(runtime::unix_ms());
            core.spawn("token expiry", tokens::expire(mesh.clone(), clock, core.drain()));
        }
        Ok(Self {
            mesh,
            probes,
            sightings,
            compilation,
            workloads,
            http,
            ui,
            dns,
            info,
            definitions,
            leave,
            reloads: tokio::sync::Mutex::new(reloads),
            phases,
            temporary,
            #[cfg(test)]
            door,
        })
    }

    /// Resolves when a client asks for the configuration to be read again. Cancel-safe.
    pub async fn reload_asked(&self) -> Reload {
        match self.reloads.lock().await.recv().await {
            Some(reload) => reload,
            // The doors are gone, and nobody asks any more.
            None => std::future::pending().await,
        }
    }

    /// Resolves when the agent has to end for a reason of its own. Cancel-safe.
    pub async fn ending(&self) -> Ending {
        let mut revisions = self.mesh.revisions();
        let lost = async { while revisions.changed().await.is_ok() {} };
        tokio::select! {
            () = self.leave.begun() => Ending::Left,
            () = lost => Ending::StoreLost,
        }
    }

    /// Ends all tasks in their order: supervised processes, then the servers, then the rest; each phase has its
    /// deadline, 18 s in all. Returns the names of tasks that did not end.
    pub async fn shut_down(&self) -> Vec<&'static str> {
        let left = self.phases.end().await;
        if let Some(folder) = self.temporary.clone() {
            // Nobody can read it any more who knows of it; where nothing was run there is none.
            let _ = tokio::task::spawn_blocking(|| fs::remove_dir_all(folder)).await;
        }
        left
    }
}

impl Phases {
    async fn end(&self) -> Vec<&'static str> {
        let mut left = self.processes.shut_down(PROCESSES_TIMEOUT).await;
        left.extend(self.doors.shut_down(DOORS_TIMEOUT).await);
        left.extend(self.core.shut_down(CORE_TIMEOUT).await);
        left
    }
}

/// Access control, with the tokens that were kept beside the data.
fn open_access(options: &AgentOptions) -> Result<AgentAccess, AgentError> {
    let folder = (!options.dev).then_some(options.data_dir.as_path());
    AgentAccess::open(options.acl.clone(), folder).map_err(|error| {
        let folder = options.data_dir.display();
        AgentError::Access(format!("the agent's tokens in {folder} cannot be read: {error}"))
    })
}

async fn open_store(options: &AgentOptions) -> Result<Arc<dyn Store>, AgentError> {
    if options.dev {
        return Ok(store::open_memory());
    }
    let folder = options.data_dir.clone();
    // Opening may repair what a crash left behind, which takes its time.
    let opened = tokio::task::spawn_blocking(move || store::open_redb(&folder)).await;
    Ok(opened.expect("opening a store does not panic, and nobody aborts it")?)
}

/// Where copies of workloads write. Without a data folder it is one for this process alone.
fn logs_folder(options: &AgentOptions) -> PathBuf {
    if options.dev {
        return std::env::temp_dir().join(format!("leno-{}", std::process::id())).join("logs");
    }
    options.data_dir.join("logs")
}

/// The node's UUID: made once, kept beside the data. If the file was lost, the store still knows.
fn node_id(options: &AgentOptions, catalog: &Catalog) -> Result<String, AgentError> {
    if let Some(id) = &options.node_id {
        return Ok(id.clone());
    }
    if options.dev {
        return Ok(uuid::Uuid::new_v4().to_string());
    }
    let stored = catalog.node(&NodeName::from(options.node_name.as_str()).folded());
    let stored = stored.map(|node| node.id.clone()).filter(|id| uuid::Uuid::parse_str(id).is_ok());
    let fresh = || stored.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    let path = options.data_dir.join("node-id");
    let failed = |source| AgentError::NodeId { path: path.clone(), source };
    match fs::read_to_string(&path) {
        Ok(id) if uuid::Uuid::parse_str(id.trim()).is_ok() => Ok(id.trim().to_owned()),
        Ok(_) => {
            Err(failed(io::Error::other("it is not a UUID; remove the file to get a new one")))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let id = fresh();
            write_whole(&path, &id).map_err(failed)?;
            Ok(id)
        }
        Err(error) => Err(failed(error)),
    }
}

/// Writes a file so that a crash leaves the old one or the new one, never a part.
fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    let unfinished = path.with_extension("new");
    fs::write(&unfinished, text)?;
    fs::File::open(&unfinished)?.sync_all()?;
    fs::rename(unfinished, path)
}

/// Metadata of a node record that was made by a take-over which is not finished: the id of the node that takes over.
const TAKING_OVER: &str = "leno-taking-over";

/// A record that an earlier start of this very node left behind when it was cut short.
fn is_taking_over(node: &Node, id: &str) -> bool {
    node.meta.as_ref().and_then(|meta| meta.get(TAKING_OVER)).is_some_and(|it| it == id)
}

/// A node that comes back under another name keeps what was registered on it: everything is registered under the new
/// name first, and then [`register_self`] gives the new node the id, which removes the old one. A crash in between
/// leaves both, and the next start does the rest.
async fn take_over(mesh: &Mesh, info: &AgentInfo, own: &Node) -> Result<(), AgentError> {
    let (catalog, name) = (mesh.catalog(), info.node_name.folded());
    let Some(old) = catalog.node_by_id(&info.node_id) else { return Ok(()) };
    if old.name.folded() == name {
        return Ok(());
    }
    if let Some(other) = catalog.node(&name).filter(|it| !is_taking_over(it, &info.node_id)) {
        return Err(AgentError::Register(format!(
            "the name {} is that of another node, at {}; give this one its own with --node (it was {} before)",
            info.node_name, other.address, old.name
        )));
    }
    tracing::info!(from = %old.name, to = %info.node_name, "the node was renamed");
    let (from, mut node) = (old.name.folded(), Node { id: String::new(), ..own.clone() });
    let meta = node.meta.iter().flat_map(FlatMap::iter).map(|(key, it)| (key, it.clone()));
    node.meta = Some(meta.chain([(TAKING_OVER, info.node_id.clone())]).collect());
    let moved = |check: &Check| Check { node: info.node_name.clone(), ..check.clone() };
    let of_node = catalog.checks_of_node(&from).filter(|it| it.service_id.is_empty());
    let registration = |instance, checks| CatalogRegistration {
        node: node.clone(),
        skip_node_update: true,
        instance,
        checks,
    };
    register(mesh, registration(None, of_node.map(|it| moved(it)).collect())).await?;
    let registrations: Vec<CatalogRegistration> = catalog
        .instances_of_node(&from)
        .map(|instance| {
            let checks = catalog.checks_of_instance(&from, &instance.id).map(|it| moved(it));
            let instance = Instance { node: info.node_name.clone(), ..instance.value.clone() };
            registration(Some(instance), checks.collect())
        })
        .collect();
    for some in registrations.chunks(TAKE_OVERS_AT_ONCE) {
        let registered = some.iter().map(|it| register(mesh, it.clone()));
        futures_util::future::try_join_all(registered).await?;
    }
    Ok(())
}

/// Registers the agent's own node, the service `consul` and the check `serfHealth`, as Consul's clients expect.
pub(crate) async fn register_self(
    mesh: &Mesh,
    info: &AgentInfo,
    own: &Node,
) -> Result<(), AgentError> {
    let service_meta = [("version", info.consul_version.clone())];
    let instance = Instance {
        node: info.node_name.clone(),
        id: "consul".into(),
        service: "consul".into(),
        // Nothing listens there; clients show it and do not call it.
        port: info.settings.ports.server,
        meta: Some(service_meta.into_iter().collect::<FlatMap<String>>()),
        ..Instance::default()
    };
    let check = Check {
        node: info.node_name.clone(),
        id: MEMBER_CHECK.into(),
        name: "Serf Health Status".into(),
        status: CheckStatus::Passing,
        output: "Agent alive and reachable".into(),
        ..Check::default()
    };
    let registration = CatalogRegistration {
        node: own.clone(),
        skip_node_update: false,
        instance: Some(instance),
        checks: vec![check],
    };
    register(mesh, registration).await
}

/// What an agent writes at its start, and again after the whole truth was replaced.
pub(crate) struct Again {
    info: AgentInfo,
    own: Node,
    cluster_id: Option<String>,
    definitions: Arc<ConfiguredDefinitions>,
    access: Arc<AgentAccess>,
}

impl Again {
    /// The record of the agent's node.
    pub(crate) fn own_node(&self) -> &Node {
        &self.own
    }

    pub(crate) async fn register(&self, mesh: &Mesh) -> Result<(), AgentError> {
        register_self(mesh, &self.info, &self.own).await?;
        // What every mesh with access control has may not be in what replaced it.
        self.access.prepare(mesh).await.map_err(AgentError::Access)?;
        if self.info.settings.connect {
            let made = authority::ensure(mesh, self.cluster_id.as_deref()).await;
            made.map_err(AgentError::Authority)?;
        }
        self.definitions.again().await
    }
}

fn own_node(info: &AgentInfo, options: &AgentOptions) -> Node {
    let is_ipv6 = info.address.contains(':');
    let family = if is_ipv6 { ["lan_ipv6", "wan_ipv6"] } else { ["lan_ipv4", "wan_ipv4"] };
    let tagged = ["lan", family[0], "wan", family[1]];
    let own = [
        ("consul-network-segment", String::new()),
        ("consul-version", info.consul_version.clone()),
    ];
    let told = options.node_meta.iter().map(|(key, value)| (key.as_str(), value.clone()));
    let meta = own.into_iter().chain(told);
    Node {
        id: info.node_id.clone(),
        name: info.node_name.clone(),
        address: info.address.clone(),
        tagged_addresses: Some(tagged.into_iter().map(|it| (it, info.address.clone())).collect()),
        meta: Some(meta.collect()),
        locality: options.locality.clone(),
    }
}

async fn register(mesh: &Mesh, registration: CatalogRegistration) -> Result<(), AgentError> {
    match mesh.run(Command::RegisterInCatalog(registration)).await {
        WriteOutcome::Done(..) => Ok(()),
        WriteOutcome::Rejected(Rejection::NodeConflict(reason)) => Err(AgentError::Register(
            format!("{reason}; name this agent otherwise with --node, or deregister that node"),
        )),
        WriteOutcome::Rejected(rejection) => Err(AgentError::Register(rejection.to_string())),
        WriteOutcome::Failed(error) => Err(AgentError::Register(error)),
    }
}
