//! The command line, as it is typed.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use model::Secret;

/// Leno: a service mesh in one binary.
#[derive(Debug, Parser)]
#[command(name = "leno", version, about, max_term_width = 100)]
pub(crate) struct Arguments {
    /// What is logged to standard error: error, warn, info, debug, or a filter such as `proxy=debug,info`.
    #[arg(long, global = true, env = "LENO_LOG", value_name = "FILTER", value_parser = log_filter)]
    pub(crate) log: Option<String>,
    /// Log as JSON, one object a line.
    #[arg(long, global = true)]
    pub(crate) log_json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run an agent: registry, health checks, DNS, control plane and proxy.
    Agent(Box<AgentArguments>),
    /// Run the proxy alone: by an Envoy bootstrap file, which SIGHUP reads again, or as an agent elsewhere says (--agent).
    /// SIGTERM drains.
    Proxy(Box<ProxyArguments>),
    /// Check an Envoy bootstrap file, and say what of it is not honored.
    Validate(ValidateArguments),
    /// Show all of it at work: three supervised copies of a service, found, balanced, lost and recovered.
    Demo(DemoArguments),
    /// Run a small HTTP and gRPC-health test application.
    Echo(EchoArguments),
    /// Declare documents: all of them or, if one is wrong, none.
    Apply(ApplyArguments),
    /// Show declared documents and what became of them.
    Get(GetArguments),
    /// Remove declared documents.
    Delete(FilesArguments),
    /// Turn a file of another supervisor into `Workload` documents, and say what of it is not taken over.
    Import {
        #[command(subcommand)]
        what: ImportWhat,
    },
    /// List supervised processes (workloads), or the copies of one.
    Ps(PsArguments),
    /// Run a workload again that was stopped.
    Start(OrderArguments),
    /// Drain and stop all copies of a workload.
    Stop(OrderArguments),
    /// Replace all copies of a workload by new ones, without losing a request.
    Restart(OrderArguments),
    /// Run another number of copies of a workload.
    Scale(ScaleArguments),
    /// Show what the copies of a workload wrote.
    Logs(LogsArguments),
    /// Show, steer and undo the rollout of a workload.
    Rollout {
        #[command(subcommand)]
        what: RolloutWhat,
    },
    /// List services, or the instances of one.
    Services(ServicesArguments),
    /// List the catalog.
    Catalog(CatalogArguments),
    /// Keep values under keys.
    Kv {
        #[command(subcommand)]
        what: KvWhat,
    },
    /// List the members of the cluster.
    Members(ListArguments),
    /// List the proxies that follow the agent, and how fast they take what changes.
    Proxies(ListArguments),
    /// Say where a request would go, or why an instance is in its state.
    Explain(ExplainArguments),
    /// Behave as Consul's command line does: `leno consul members`. A link named `consul` does the same.
    // The arguments are taken before these here are parsed; this line is for the help.
    #[command(disable_help_flag = true)]
    Consul {
        /// What Consul's command line takes.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Print a completion script for a shell.
    Completion {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct AgentArguments {
    /// Keep everything in memory and listen on 127.0.0.1 only.
    #[arg(long)]
    pub(crate) dev: bool,
    /// Folder for the data [env: LENO_DATA_DIR] [default: ./leno-data].
    // The variable is not clap's: with `--dev` it is no conflict, as the flag is.
    #[arg(long, conflicts_with = "dev")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Configuration in Consul's form, HCL 1 or JSON: a file, or a folder of files that end in `.hcl` or `.json`, read in
    /// the order of their names. May be given several times: what comes later wins, and flags win over all.
    // One list under two names, for the order among files and folders counts.
    #[arg(long = "config-file", visible_alias = "config-dir", value_name = "PATH")]
    pub(crate) config: Vec<PathBuf>,
    /// Address of the HTTP API [default: 127.0.0.1:8500].
    #[arg(long, value_parser = address)]
    pub(crate) http: Option<SocketAddr>,
    /// Address of DNS, or `off` [default: 127.0.0.1:8600].
    #[arg(long, value_parser = address_or_off)]
    pub(crate) dns: Option<AddressOrOff>,
    /// Address of the ingress listener, or `off` [default: 0.0.0.0:80, with --dev 127.0.0.1:10000].
    #[arg(long, value_parser = address_or_off)]
    pub(crate) ingress: Option<AddressOrOff>,
    /// Address of the ingress listener for TLS, or `off` [default: 0.0.0.0:443, with --dev 127.0.0.1:10443].
    #[arg(long, value_parser = address_or_off)]
    pub(crate) ingress_tls: Option<AddressOrOff>,
    /// Address of the mesh listener for outbound requests, or `off` [default: 127.0.0.1:15001].
    #[arg(long, value_parser = address_or_off)]
    pub(crate) outbound: Option<AddressOrOff>,
    /// Address of the proxy's admin pages, or `off` [default: 127.0.0.1:15000].
    #[arg(long, value_parser = address_or_off)]
    pub(crate) proxy_admin: Option<AddressOrOff>,
    /// Worker threads of the proxy [default: one for each core].
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) workers: Option<u16>,
    /// Write the proxy's access log to a file, or to standard output with `-`.
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    pub(crate) access_log: Option<String>,
    /// Name of this node [default: the host name].
    #[arg(long, value_parser = node_name)]
    pub(crate) node: Option<String>,
    /// Datacenter [default: dc1].
    #[arg(long, value_parser = datacenter)]
    pub(crate) datacenter: Option<String>,
    /// IP address at which others reach this node [default: 127.0.0.1].
    #[arg(long, value_parser = ip_address)]
    pub(crate) advertise: Option<IpAddr>,
    /// Folder of documents to declare and to follow.
    #[arg(long, value_name = "DIR")]
    pub(crate) manifests: Option<PathBuf>,
    /// How long changes of documents are guarded that do not say it: `60s`, or `Ingress=60s` for a kind; may be given
    /// several times [default: not at all].
    #[arg(long, value_name = "[KIND=]TIME")]
    pub(crate) guard_default: Vec<String>,
    /// Allow checks that run programs on this machine.
    #[arg(long)]
    pub(crate) enable_script_checks: bool,
    /// Connections to the HTTP API that one client address may have; 0: no limit [default: 200].
    #[arg(long, value_name = "N")]
    pub(crate) connections_per_client: Option<u64>,
    /// Resolver for names outside of the mesh, `IP` or `IP:PORT`; may be given several times.
    #[arg(long, value_name = "IP[:PORT]")]
    pub(crate) recursor: Vec<String>,
    /// How requests are balanced where nothing else is declared.
    #[arg(long, value_enum, default_value_t = BalancingWord::RoundRobin)]
    pub(crate) balance: BalancingWord,
    /// Seed of the proxy's random choices, to repeat a run.
    #[arg(long)]
    pub(crate) seed: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct ProxyArguments {
    /// Envoy bootstrap file, YAML or JSON.
    #[arg(short = 'c', long, visible_alias = "config-path", value_name = "FILE")]
    #[arg(required_unless_present = "agent", conflicts_with = "agent")]
    pub(crate) config: Option<PathBuf>,
    /// Do not start when a field is not honored as it is written.
    #[arg(long, conflicts_with = "agent")]
    pub(crate) strict: bool,
    #[command(flatten)]
    pub(crate) remote: RemoteArguments,
    /// Worker threads; 0 is one for each core [default: 0].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=1024))]
    pub(crate) concurrency: Option<u16>,
    /// What is logged: trace, debug, info, warn, error or off.
    #[arg(short = 'l', long, value_name = "LEVEL", default_value = "info", value_parser = log_level)]
    pub(crate) log_level: String,
    /// Address of the admin pages, or `off` [default: what the file says; with --agent 127.0.0.1:15000].
    #[arg(long, value_name = "ADDRESS", value_parser = address_or_off)]
    pub(crate) admin: Option<AddressOrOff>,
    /// Seconds that connections have to end after SIGTERM.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub(crate) drain_time_s: u64,
}

#[derive(Debug, Args)]
pub(crate) struct RemoteArguments {
    /// Do what this agent says, http://HOST:PORT or https://HOST:PORT, and tell it what becomes of requests.
    #[arg(long, value_name = "URL")]
    pub(crate) agent: Option<String>,
    /// Name among the agent's proxies [default: the host name].
    #[arg(long, requires = "agent")]
    pub(crate) name: Option<String>,
    /// Secret of the token to ask the agent with [env: LENO_HTTP_TOKEN or CONSUL_HTTP_TOKEN]. Other users of this machine can
    /// see flags; the variable they cannot.
    #[arg(long, value_name = "SECRET", requires = "agent")]
    pub(crate) token: Option<Secret>,
    /// Address of the mesh listener, or `off` [default: what the agent says].
    #[arg(long, value_parser = address_or_off, requires = "agent")]
    pub(crate) outbound: Option<AddressOrOff>,
    /// Address of the ingress listener, or `off` [default: what the agent says].
    #[arg(long, value_parser = address_or_off, requires = "agent")]
    pub(crate) ingress_http: Option<AddressOrOff>,
    /// Address of the ingress listener for TLS, or `off` [default: what the agent says].
    #[arg(long, value_parser = address_or_off, requires = "agent")]
    pub(crate) ingress_https: Option<AddressOrOff>,
}

/// Envoy's words, two of which are others here.
fn log_level(text: &str) -> Result<String, String> {
    match text {
        "warning" => Ok("warn".to_owned()),
        "critical" => Ok("error".to_owned()),
        other => log_filter(other),
    }
}

#[derive(Debug, Args)]
pub(crate) struct ValidateArguments {
    /// Envoy bootstrap file, YAML or JSON; `-` for standard input.
    pub(crate) file: String,
    /// Exit with 1 when a field is not honored as it is written.
    #[arg(long)]
    pub(crate) strict: bool,
    /// Form of the output.
    #[arg(short = 'o', long, value_enum, default_value_t = Format::Table)]
    pub(crate) output: Format,
}

/// An address, or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AddressOrOff {
    At(SocketAddr),
    Off,
}

impl AddressOrOff {
    pub(crate) fn address(self) -> Option<SocketAddr> {
        match self {
            AddressOrOff::At(address) => Some(address),
            AddressOrOff::Off => None,
        }
    }
}

fn address_or_off(text: &str) -> Result<AddressOrOff, String> {
    if text == "off" {
        return Ok(AddressOrOff::Off);
    }
    let expected = || format!("{text:?} is neither IP:PORT (such as 127.0.0.1:8600) nor `off`");
    text.parse().map(AddressOrOff::At).map_err(|_| expected())
}

/// Words that stand alone are levels: the library takes any other for the name of a target, and then nothing is logged.
fn log_filter(text: &str) -> Result<String, String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let mut words = text.split(',').filter(|part| !part.contains(['=', '[']));
    match words.find(|word| !LEVELS.contains(&word.trim().to_lowercase().as_str())) {
        None => Ok(text.to_owned()),
        Some(word) => Err(format!("{word:?} is no level; the levels are {}", LEVELS.join(", "))),
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let expected =
        || format!("{text:?} is not IP:PORT, such as 127.0.0.1:8500 (a host name is not accepted)");
    text.parse().map_err(|_| expected())
}

fn ip_address(text: &str) -> Result<IpAddr, String> {
    match text.parse::<IpAddr>() {
        Ok(ip) if ip.is_unspecified() => {
            Err(format!("{text} means any address; give the one at which others reach this node"))
        }
        Ok(ip) => Ok(ip),
        Err(_) => Err(format!("{text:?} is not an IP address, such as 192.0.2.7")),
    }
}

/// Consul's rule: it becomes a label of DNS names.
fn datacenter(text: &str) -> Result<String, String> {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !text.is_empty() && text.len() <= 63 && text.chars().all(is_fine) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "{text:?} has other characters than letters, digits, `-` and `_`, or more than 63"
        ))
    }
}

fn node_name(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("it is empty; leave it out to take the host name".into());
    }
    let is_odd = |c: char| c == '/' || c.is_control() || c.is_whitespace();
    match text.chars().find(|c| is_odd(*c)) {
        None => Ok(text.to_owned()),
        Some(odd) => Err(format!("{odd:?} cannot be part of a node's name")),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BalancingWord {
    Random,
    RoundRobin,
    Weighted,
    LeastRequest,
    PeakEwma,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// Exit when all has been shown: 0 if every claim held, else 1.
    #[arg(long)]
    pub(crate) once: bool,
    /// Let the system choose all ports.
    #[arg(long)]
    pub(crate) any_ports: bool,
    /// Requests per balancing policy.
    #[arg(long, default_value_t = 3000, value_parser = clap::value_parser!(u32).range(30..=1_000_000))]
    pub(crate) requests: u32,
    /// Seed of the proxy's random choices: the same seed makes the same random picks.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

#[derive(Debug, Args)]
pub(crate) struct EchoArguments {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,
    /// Name that it answers with.
    #[arg(long, default_value = "echo")]
    pub(crate) name: String,
    /// Version that it answers with. Named so because `--version` prints Leno's.
    #[arg(long = "app-version", default_value = "v1")]
    pub(crate) app_version: String,
    /// Milliseconds before each answer.
    #[arg(long, default_value_t = 0, value_name = "MS")]
    pub(crate) latency_ms: u64,
    /// Share of requests that are answered with 500, 0 to 1, evenly spread.
    #[arg(long, default_value_t = 0.0, value_parser = rate)]
    pub(crate) error_rate: f64,
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.0..=1.0).contains(&rate) => Ok(rate),
        Ok(_) | Err(_) => Err(format!("{text:?} is not a number from 0 to 1")),
    }
}

#[derive(Debug, Args)]
pub(crate) struct Connection {
    /// Address of the agent [env: LENO_HTTP_ADDR or CONSUL_HTTP_ADDR] [default: 127.0.0.1:8500].
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) http_addr: Option<String>,
    /// Secret of the token to ask with [env: LENO_HTTP_TOKEN or CONSUL_HTTP_TOKEN]. Other users of this machine can see
    /// flags; the variable they cannot.
    #[arg(long, value_name = "SECRET")]
    pub(crate) token: Option<Secret>,
}

#[derive(Debug, Args)]
pub(crate) struct ApplyArguments {
    #[command(flatten)]
    pub(crate) files: FilesArguments,
    /// Wait until each workload runs, or has completed, as its document says, and each rollout is promoted. Exit with 1 when one
    /// is taken back, held, or has failed, when an operator's order holds it back, or when it waits for what has failed or does not
    /// exist.
    #[arg(long)]
    pub(crate) wait: bool,
    /// With `--wait`: exit with 1 after so long (`10m`), and say what was waited for [default: no limit].
    #[arg(long, value_name = "TIME", requires = "wait")]
    pub(crate) timeout: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct FilesArguments {
    /// File of YAML or JSON documents, folder of such files (with the folders in it), or `-` for standard input; may be
    /// given several times.
    #[arg(short = 'f', long = "filename", required = true, value_name = "FILE")]
    pub(crate) files: Vec<String>,
    /// Exit with 1 when a field is not honored as it is written.
    #[arg(long)]
    pub(crate) strict: bool,
    /// Watch what the proxies count for so long (`60s`), take the change back if requests fail by it, and exit with 1 then;
    /// `off` for no guard [default: what the agent is told].
    #[arg(long, value_name = "TIME")]
    pub(crate) guard: Option<String>,
    /// With `--guard`: do not wait for what becomes of the change; `leno get` shows it.
    #[arg(long)]
    pub(crate) no_wait: bool,
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[arg(short = 'o', long, value_enum, default_value_t = Format::Table)]
    pub(crate) output: Format,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ImportWhat {
    /// A Procfile: lines of the form `name: command`.
    Procfile(ImportArguments),
    /// A docker-compose file: what its services say of their processes.
    Compose(ImportArguments),
}

#[derive(Debug, Args)]
pub(crate) struct ImportArguments {
    /// The file; `-` for standard input.
    pub(crate) file: String,
    /// Folder that the commands run in, unless the file names one [default: the file's; of standard input none].
    #[arg(long, value_name = "DIR")]
    pub(crate) working_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct GetArguments {
    /// Kind to show, for example `ingress` [default: all].
    pub(crate) kind: Option<String>,
    /// Name to show.
    pub(crate) name: Option<String>,
    /// Show the documents of these files.
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    pub(crate) files: Vec<String>,
    #[command(flatten)]
    pub(crate) list: ListArguments,
}

#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// Form of the output.
    #[arg(short = 'o', long, value_enum, default_value_t = Format::Table)]
    pub(crate) output: Format,
}

#[derive(Debug, Args)]
pub(crate) struct PsArguments {
    /// Workload whose copies to list: NAME or NAMESPACE/NAME.
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) list: ListArguments,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArguments {
    #[command(flatten)]
    pub(crate) workload: PsArguments,
    /// Wait for the end of the rollout under way. Exit with 0 when it is promoted (or a job has completed), and with 1 when it is
    /// taken back, held or has failed.
    #[arg(long)]
    pub(crate) wait: bool,
}

#[derive(Debug, Args)]
pub(crate) struct OrderArguments {
    /// Workload: NAME or NAMESPACE/NAME.
    pub(crate) name: String,
    /// Do not wait until it is done.
    #[arg(long)]
    pub(crate) no_wait: bool,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, Args)]
pub(crate) struct ScaleArguments {
    #[command(flatten)]
    pub(crate) order: OrderArguments,
    /// Copies.
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) replicas: u32,
}

#[derive(Debug, Args)]
pub(crate) struct LogsArguments {
    /// Workload: NAME or NAMESPACE/NAME.
    pub(crate) name: String,
    /// Show what comes, too, until it is interrupted.
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only this copy, for example `web-3-0`; the logs of copies that are gone are kept.
    #[arg(long)]
    pub(crate) copy: Option<String>,
    /// Last lines of each copy.
    #[arg(short = 'n', long, default_value_t = 100)]
    pub(crate) lines: u32,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RolloutWhat {
    /// Everything that is rolled out: workloads, and services that others run.
    List(ListArguments),
    /// How far it is, what the proxies' counters say, and what has happened.
    Status(StatusArguments),
    /// Rollouts that have ended, and why.
    History(PsArguments),
    /// Stay at this step; bad evidence still takes it back.
    Pause(OrderArguments),
    /// Go on.
    Resume(OrderArguments),
    /// Take it back, or go back to the good release before.
    Undo(OrderArguments),
    /// Try again what the document asks for, after it was taken back.
    Retry(OrderArguments),
    /// Go to the end, whatever the evidence says.
    Promote(OrderArguments),
}

#[derive(Debug, Args)]
pub(crate) struct ServicesArguments {
    /// Service whose instances to list.
    pub(crate) service: Option<String>,
    #[command(flatten)]
    pub(crate) list: ListArguments,
}

#[derive(Debug, Args)]
pub(crate) struct CatalogArguments {
    /// What to list.
    #[arg(value_enum)]
    pub(crate) what: CatalogWhat,
    #[command(flatten)]
    pub(crate) list: ListArguments,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CatalogWhat {
    Nodes,
    Services,
    Datacenters,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KvWhat {
    /// Print the value of a key, or keys and values that start with something.
    Get {
        /// Key, or with --recurse or --keys what keys start with.
        #[arg(default_value = "", hide_default_value = true)]
        key: String,
        /// All keys that start with this, each with its value.
        #[arg(long)]
        recurse: bool,
        /// All keys that start with this, without values.
        #[arg(long, conflicts_with = "recurse")]
        keys: bool,
        /// Cut keys behind the first of these, as folders are listed.
        #[arg(long, requires = "keys", default_value = "", hide_default_value = true)]
        separator: String,
        #[command(flatten)]
        list: ListArguments,
    },
    /// Set the value of a key.
    Put {
        /// Key.
        key: String,
        /// Value; `@FILE` is what a file holds, `-` what standard input does.
        #[arg(default_value = "", hide_default_value = true, allow_hyphen_values = true)]
        value: String,
        /// A number that means something to you.
        #[arg(long, default_value_t = 0)]
        flags: u64,
        /// Only if the key was last changed at this index; 0: only if it does not exist.
        #[arg(long, value_name = "INDEX")]
        cas: Option<u64>,
        #[command(flatten)]
        connection: Connection,
    },
    /// Remove a key, or all keys that start with something.
    Delete {
        /// Key, or with --recurse what keys start with.
        key: String,
        /// All keys that start with this.
        #[arg(long, conflicts_with = "cas")]
        recurse: bool,
        /// Only if the key was last changed at this index.
        #[arg(long, value_name = "INDEX")]
        cas: Option<u64>,
        #[command(flatten)]
        connection: Connection,
    },
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct ExplainArguments {
    #[command(subcommand)]
    pub(crate) what: Option<ExplainWhat>,
    /// URL, for example `http://web/cart` (mesh) or `http://shop.example.com/` with --listener ingress.
    #[arg(required = true)]
    pub(crate) url: Option<String>,
    /// Listener that the request would come in on.
    #[arg(long, default_value = "outbound", value_parser = ["outbound", "ingress"])]
    pub(crate) listener: String,
    /// Address of the proxy's admin pages.
    #[arg(long, default_value = "127.0.0.1:15000")]
    pub(crate) proxy_admin: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ExplainWhat {
    /// Why an instance is in its state: every piece of evidence, since when, and what would change it.
    Instance {
        /// Its id; NODE/ID where several nodes have one of it.
        id: String,
        #[command(flatten)]
        list: ListArguments,
    },
}

/// Form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Table,
    Json,
    Yaml,
}
