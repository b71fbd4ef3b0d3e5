//! The agent: everything of the control plane, started and stopped in order.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use api::{AgentInfo, WriteOutcome};
use compiler::Compiler;
use model::{Check, CheckStatus, Diagnostic, FlatMap, Instance, Node, NodeName};
use registry::{CatalogRegistration, Command};
use runtime::Tasks;
use store::{Store, StoreError};

use crate::compilation::Compilation;
use crate::dns_server::{DnsServer, DnsServerError};
use crate::door::Door;
use crate::http_server::HttpServer;
use crate::listen::ListenError;
use crate::manifest_folder::ManifestFolder;
use crate::mesh::Mesh;
use crate::metrics::Metrics;
use crate::probes::{ProbeOptions, Probes, ProbesHandle};
use crate::supervisor::Supervisor;

pub use compiler::Settings as CompilerSettings;
pub use proxy_config::Balancing;

/// Version of Consul's API that is spoken; clients decide by it what they may ask.
const CONSUL_VERSION: &str = "1.21.4";
/// How long tasks may take to end.
const SHUT_DOWN_TIMEOUT: Duration = Duration::from_secs(10);

/// How an agent is to be.
#[derive(Clone, Debug)]
pub struct AgentOptions {
    /// Keep everything in memory.
    pub dev: bool,
    /// Data folder; not used with `dev`.
    pub data_dir: PathBuf,
    /// Address of the HTTP API.
    pub http: SocketAddr,
    /// Address of DNS, UDP and TCP; `None` for no DNS.
    pub dns: Option<SocketAddr>,
    /// Rules of DNS, and its recursors.
    pub dns_options: crate::dns_server::DnsOptions,
    /// Name of the node.
    pub node_name: String,
    /// Datacenter.
    pub datacenter: String,
    /// Address that others reach the node at.
    pub advertise: String,
    /// Folder of documents to follow.
    pub manifests: Option<PathBuf>,
    /// Scripts may be registered as checks.
    pub script_checks: bool,
    /// What the compiler makes listeners for.
    pub compiler: compiler::Settings,
}

/// A running agent.
pub struct Agent {
    /// The truth.
    pub mesh: Mesh,
    /// The probes of its own node.
    pub probes: ProbesHandle,
    /// The proxy configuration.
    pub compilation: Compilation,
    /// Runs processes that register as instances.
    pub supervisor: Supervisor,
    /// Address of the HTTP API.
    pub http: SocketAddr,
    /// Address of DNS.
    pub dns: Option<SocketAddr>,
    /// This agent, as clients see it.
    pub info: AgentInfo,
    tasks: Tasks,
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
    /// A document of the folder is wrong.
    #[error("the manifests are not applied:\n{}", lines(.0))]
    Documents(Vec<Diagnostic>),
}

fn lines(diagnostics: &[Diagnostic]) -> String {
    let lines: Vec<String> = diagnostics.iter().map(|it| format!("  {it}")).collect();
    lines.join("\n")
}

impl Agent {
    /// Starts an agent: sockets first, so that nothing is touched when an address is taken.
    ///
    /// # Errors
    /// When an address, the data folder or the manifests cannot be used; nothing keeps running then.
    pub async fn start(options: AgentOptions) -> Result<Self, AgentError> {
        let tasks = Tasks::new();
        match Self::start_with(options, tasks.clone()).await {
            Ok(agent) => Ok(agent),
            Err(error) => {
                tasks.shut_down(SHUT_DOWN_TIMEOUT).await;
                Err(error)
            }
        }
    }

    async fn start_with(options: AgentOptions, tasks: Tasks) -> Result<Self, AgentError> {
        let http_server = HttpServer::bind(options.http)?;
        let dns_server = match options.dns {
            Some(address) => Some(DnsServer::bind(address, options.dns_options.clone())?),
            None => None,
        };
        let (http, dns) =
            (http_server.local_addr(), dns_server.as_ref().map(DnsServer::local_addr));
        let store = open_store(&options)?;
        let mesh = Mesh::start(store, &tasks).await?;
        let info = AgentInfo {
            node_name: options.node_name.as_str().into(),
            node_id: node_id(&options)?,
            datacenter: options.datacenter.clone(),
            address: options.advertise.clone(),
            http_port: http.port(),
            dns_port: dns.map_or(0, |dns| dns.port()),
            consul_version: CONSUL_VERSION.into(),
            leno_version: env!("CARGO_PKG_VERSION").into(),
            dev: options.dev,
            script_checks: options.script_checks,
        };
        register_self(&mesh, &info).await?;
        let probes = Probes::start(
            mesh.clone(),
            info.node_name.clone(),
            ProbeOptions { script_checks: options.script_checks, ..ProbeOptions::default() },
            &tasks,
        );
        let folder = match &options.manifests {
            Some(path) => Some(ManifestFolder::open(path, &mesh).await?),
            None => None,
        };
        let compilation = Compilation::start(&mesh, Compiler::new(options.compiler), &tasks);
        if let Some(folder) = folder {
            folder.follow(mesh.clone(), &tasks);
        }
        let door = Arc::new(Door {
            mesh: mesh.clone(),
            agent: info.clone(),
            probes: probes.clone(),
            compilation: compilation.clone(),
            metrics: Arc::new(Metrics::default()),
            drain: tasks.drain(),
        });
        tasks.spawn("HTTP server", http_server.run(door, tasks.clone()));
        if let Some(dns_server) = dns_server {
            let source = mesh.clone();
            tasks.spawn("DNS server", dns_server.run(move || source.catalog(), tasks.clone()));
        }
        let supervisor = Supervisor::new(mesh.clone(), probes.clone(), tasks.clone());
        Ok(Self { mesh, probes, compilation, supervisor, http, dns, info, tasks })
    }

    /// A proxy saw an endpoint (`node/instance id`) fail: its checks are run at once.
    pub fn suspect(&self, endpoint: &str) {
        if let Some((node, id)) = endpoint.split_once('/') {
            self.probes.probe_now(&NodeName::from(node), &id.into());
        }
    }

    /// Ends all tasks; what is under way gets 10 s. Returns the names of tasks that did not end.
    pub async fn shut_down(self) -> Vec<&'static str> {
        self.tasks.shut_down(SHUT_DOWN_TIMEOUT).await
    }
}

fn open_store(options: &AgentOptions) -> Result<Arc<dyn Store>, StoreError> {
    if options.dev { Ok(store::open_memory()) } else { store::open_redb(&options.data_dir) }
}

/// The node's UUID: made once, kept beside the data.
fn node_id(options: &AgentOptions) -> Result<String, AgentError> {
    let fresh = || uuid::Uuid::new_v4().to_string();
    if options.dev {
        return Ok(fresh());
    }
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

/// Registers the agent's own node, the service `consul` and the check `serfHealth`, as Consul's clients expect.
async fn register_self(mesh: &Mesh, info: &AgentInfo) -> Result<(), AgentError> {
    let tagged = ["lan", "lan_ipv4", "wan", "wan_ipv4"];
    let meta = [
        ("consul-network-segment", String::new()),
        ("consul-version", info.consul_version.clone()),
    ];
    let service_meta = [("version", info.consul_version.clone())];
    let node = Node {
        id: info.node_id.clone(),
        name: info.node_name.clone(),
        address: info.address.clone(),
        tagged_addresses: Some(tagged.into_iter().map(|it| (it, info.address.clone())).collect()),
        meta: Some(meta.into_iter().collect()),
        locality: None,
    };
    let instance = Instance {
        node: info.node_name.clone(),
        id: "consul".into(),
        service: "consul".into(),
        // Consul's server RPC port. Nothing listens there; clients show it and do not call it.
        port: 8300,
        meta: Some(service_meta.into_iter().collect::<FlatMap<String>>()),
        ..Instance::default()
    };
    let check = Check {
        node: info.node_name.clone(),
        id: "serfHealth".into(),
        name: "Serf Health Status".into(),
        status: CheckStatus::Passing,
        output: "Agent alive and reachable".into(),
        ..Check::default()
    };
    let registration = CatalogRegistration {
        node,
        skip_node_update: false,
        instance: Some(instance),
        checks: vec![check],
    };
    match mesh.run(Command::RegisterInCatalog(registration)).await {
        WriteOutcome::Done(_) => Ok(()),
        WriteOutcome::Rejected(rejection) => Err(AgentError::Register(rejection.to_string())),
        WriteOutcome::Failed(error) => Err(AgentError::Register(error)),
    }
}
