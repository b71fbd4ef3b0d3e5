//! `leno agent`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use agent_config::{AgentConfig, Listen, Source};
use anyhow::{Context, bail};
use control::agent::{
    AgentOptions, Balancing, CompilerSettings, Ending, LeastRequest, PeakEwma, Reload,
};
use model::Diagnostic;
use proxy::ProxyOptions;
use runtime::{Hangup, Termination};

use crate::args::{AddressOrOff, AgentArguments, BalancingWord};
use crate::node::Node;

mod files;
mod options;
mod tls;

/// What an agent was told, so that it can be read again.
pub(crate) struct Told {
    /// Files and folders, in order.
    pub(crate) paths: Vec<PathBuf>,
    /// Flags in the form of files, which come last.
    pub(crate) flags: Vec<Source>,
    /// Flags that files cannot say, and what goes without saying.
    pub(crate) over: fn(&mut AgentConfig, &AgentArguments) -> Option<Diagnostic>,
    /// Those flags.
    pub(crate) arguments: AgentArguments,
}

impl Told {
    pub(crate) fn read(&self) -> anyhow::Result<(AgentConfig, Vec<Diagnostic>)> {
        let (mut config, mut findings) = files::load(&self.paths, &self.flags)?;
        findings.extend((self.over)(&mut config, &self.arguments));
        Ok((config, findings))
    }
}

/// Reads files and folders, and says what of them is not honored.
///
/// # Errors
/// All that is wrong with them.
pub(crate) fn check_files(paths: &[PathBuf]) -> anyhow::Result<Vec<Diagnostic>> {
    let (config, findings) = files::load(paths, &[])?;
    if config.data_dir.is_none() && !config.dev {
        bail!("data_dir cannot be empty");
    }
    checked_options(&config, CompilerSettings::default())?;
    Ok(findings)
}

/// What an agent is told, with all that it defines.
///
/// # Errors
/// What is wrong with it.
fn checked_options(
    config: &AgentConfig,
    settings: CompilerSettings,
) -> anyhow::Result<AgentOptions> {
    let options = options::agent_options(config, settings)?;
    let wrong = options.wrong_definitions();
    if wrong.is_empty() {
        return Ok(options);
    }
    let lines: Vec<String> = wrong.iter().map(ToString::to_string).collect();
    bail!("the configuration is wrong:\n  {}", lines.join("\n  "))
}

/// What the files of `leno agent` say of its log: how much, and whether as JSON. What is wrong with the files is said when
/// they are read for the agent.
pub(crate) fn told_log(arguments: &AgentArguments) -> (Option<String>, bool) {
    match files::load(&arguments.config, &[]) {
        Ok((config, _)) => (config.log_level, config.log_json),
        Err(_) => (None, false),
    }
}

pub(crate) async fn run(arguments: AgentArguments) -> anyhow::Result<ExitCode> {
    let paths = arguments.config.clone();
    run_as(Told { paths, flags: Vec::new(), over, arguments }).await
}

/// Runs an agent until it is told to end.
pub(crate) async fn run_as(told: Told) -> anyhow::Result<ExitCode> {
    let mut termination = Termination::listen().context("cannot listen to signals")?;
    let mut hangup = Hangup::listen().context("cannot listen to signals")?;
    let (config, findings) = told.read()?;
    for finding in findings {
        tracing::warn!("configuration: {finding}");
    }
    let options = checked_options(&config, compiler_settings(&config, &told.arguments))?;
    let starting = Node::start(options, proxy_options(&config, &told.arguments)?);
    let mut node = tokio::select! {
        node = starting => node?,
        signal = termination.next() => {
            tracing::info!(signal = signal.name(), "ended before the agent was ready");
            return Ok(ExitCode::from(signal.exit_code()));
        }
    };
    let pid_file = config.pid_file.clone().map(PidFile::write).transpose()?;
    say_where(&node, &config);
    let code = until_the_end(&mut node, &told, &mut termination, &mut hangup).await;
    let ended = tokio::select! {
        () = node.shut_down() => Ok(code),
        signal = termination.next() => {
            tracing::warn!(signal = signal.name(), "ended at once");
            Ok(ExitCode::from(signal.exit_code()))
        }
    };
    drop(pid_file);
    ended
}

/// A file with the number of this process, removed in the end.
struct PidFile(PathBuf);

impl PidFile {
    fn write(path: PathBuf) -> anyhow::Result<Self> {
        std::fs::write(&path, std::process::id().to_string())
            .with_context(|| format!("cannot write the process id to {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Another agent may have written its own meanwhile.
        let own = std::process::id().to_string();
        if std::fs::read_to_string(&self.0).is_ok_and(|it| it.trim() == own) {
            let _ = std::fs::remove_file(&self.0);
        }
    }
}

/// What the flags of `leno agent` say goes before what files say.
fn over(config: &mut AgentConfig, arguments: &AgentArguments) -> Option<Diagnostic> {
    config.dev |= arguments.dev;
    let variable = || std::env::var_os("LENO_DATA_DIR").filter(|it| !it.is_empty());
    let told = arguments.data_dir.clone();
    config.data_dir = told.or(config.data_dir.take()).or_else(|| variable().map(PathBuf::from));
    if let Some(http) = arguments.http {
        config.addresses.http = vec![Listen::Ip(http.ip())];
        config.ports.http = Some(Some(http.port()));
    }
    match arguments.dns {
        Some(AddressOrOff::At(dns)) => {
            config.addresses.dns = vec![Listen::Ip(dns.ip())];
            config.ports.dns = Some(Some(dns.port()));
        }
        Some(AddressOrOff::Off) => config.ports.dns = Some(None),
        None => {}
    }
    config.node_name = arguments.node.clone().or(config.node_name.take());
    config.datacenter = arguments.datacenter.clone().or(config.datacenter.take());
    config.advertise = arguments.advertise.or(config.advertise);
    config.enable_script_checks |= arguments.enable_script_checks;
    config.dns.recursors.extend(arguments.recursor.iter().cloned());
    let limit = &mut config.limits.http_max_conns_per_client;
    *limit = arguments.connections_per_client.or(*limit);
    let leno = &mut config.leno;
    leno.manifests = arguments.manifests.clone().or(leno.manifests.take());
    for told in &arguments.guard_default {
        match told.split_once('=') {
            Some((kind, window)) => leno.guard_kinds.push((kind.to_owned(), window.to_owned())),
            None => leno.guard = Some(told.clone()),
        }
    }
    let (http, tls) = if config.dev {
        (([127, 0, 0, 1], 10_000), ([127, 0, 0, 1], 10_443))
    } else {
        (([0, 0, 0, 0], 80), ([0, 0, 0, 0], 443))
    };
    for (told, given, default) in [
        (&mut leno.ingress, arguments.ingress, http),
        (&mut leno.ingress_tls, arguments.ingress_tls, tls),
        (&mut leno.outbound, arguments.outbound, ([127, 0, 0, 1], 15_001)),
        (&mut leno.proxy_admin, arguments.proxy_admin, ([127, 0, 0, 1], 15_000)),
    ] {
        let given = given.map(AddressOrOff::address).or(*told);
        *told = Some(given.unwrap_or(Some(SocketAddr::from(default))));
    }
    None
}

/// `consul agent` advertises an address of this machine when it is told none.
pub(crate) fn advertise(config: &mut AgentConfig) -> Option<Diagnostic> {
    if config.advertise.is_some() || config.dev {
        return None;
    }
    match files::machine() {
        Ok(machine) => agent_config::advertise(config, &machine),
        Err(error) => Some(agent_config::advertised_local(&format!("{error:#}"))),
    }
}

/// Waits for a reason to end; returns the exit code that goes with it.
async fn until_the_end(
    node: &mut Node,
    told: &Told,
    termination: &mut Termination,
    hangup: &mut Hangup,
) -> ExitCode {
    loop {
        tokio::select! {
            signal = termination.next() => {
                tracing::info!(signal = signal.name(), "draining; once more ends it at once");
                return ExitCode::SUCCESS;
            }
            () = hangup.next() => {
                if let Err(error) = reload(node, told).await {
                    tracing::error!("nothing is reloaded: {error}");
                }
            }
            Reload(answer) = node.agent.reload_asked() => {
                if answer.is_closed() {
                    continue;
                }
                // Nobody waits when the client has gone.
                let _ = answer.send(reload(node, told).await);
            }
            ending = node.agent.ending() => match ending {
                Ending::Left => {
                    tracing::info!("draining, as a client asked the agent to leave");
                    return ExitCode::SUCCESS;
                }
                Ending::StoreLost => {
                    tracing::error!("the store is lost, and with it the agent; see above, then start it again");
                    return ExitCode::FAILURE;
                }
            },
        }
    }
}

/// How long reading the files again may take; signals wait for it.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads the files again, within its deadline.
async fn reload(node: &Node, told: &Told) -> Result<(), String> {
    match tokio::time::timeout(RELOAD_TIMEOUT, reload_files(node, told)).await {
        Ok(done) => done,
        Err(_) => Err("reading the configuration again took too long".to_owned()),
    }
}

/// Reads the files again. Services and checks are registered anew; what else is told counts from the next start.
async fn reload_files(node: &Node, told: &Told) -> Result<(), String> {
    let (config, findings) = told.read().map_err(|error| format!("{error:#}"))?;
    for finding in findings {
        tracing::warn!("configuration: {finding}");
    }
    let settings = compiler_settings(&config, &told.arguments);
    checked_options(&config, settings).map_err(|error| format!("{error:#}"))?;
    let replaced = node.agent.definitions.replace(&options::definitions(&config)).await;
    replaced.map_err(|error| error.to_string())?;
    tracing::info!("the configuration is reloaded");
    Ok(())
}

/// Logs where the node listens.
fn say_where(node: &Node, config: &AgentConfig) {
    let agent = &node.agent;
    tracing::info!(
        node = %agent.info.node_name,
        data = %if config.dev { "in memory".to_owned() } else { options::data_dir(config).display().to_string() },
        "agent started"
    );
    if let Some(http) = agent.http {
        tracing::info!("HTTP API       http://{http}");
    }
    if let Some(ui) = agent.ui {
        tracing::info!("UI             http://{ui}/ui/");
    }
    if let Some(dns) = agent.dns {
        tracing::info!("DNS            {dns} (UDP and TCP)");
    }
    for (what, name) in [
        ("ingress        http", "ingress"),
        ("ingress (TLS)  https", "ingress-https"),
        ("mesh           http", "outbound"),
    ] {
        if let Some(address) = node.listener(name) {
            tracing::info!("{what}://{address}");
        }
    }
    if let Some(admin) = node.proxy.admin_addr() {
        tracing::info!("proxy admin    http://{admin}");
    }
    tracing::info!("ready");
}

fn compiler_settings(config: &AgentConfig, arguments: &AgentArguments) -> CompilerSettings {
    let leno = &config.leno;
    CompilerSettings {
        ingress_http: leno.ingress.flatten(),
        ingress_https: leno.ingress_tls.flatten(),
        outbound: leno.outbound.flatten(),
        datacenter: config.datacenter.clone().unwrap_or_else(|| "dc1".to_owned()),
        dns_domains: dns_domains(config),
        balancing: match arguments.balance {
            BalancingWord::Random => Balancing::Random,
            BalancingWord::RoundRobin => Balancing::RoundRobin,
            BalancingWord::Weighted => Balancing::Weighted,
            BalancingWord::LeastRequest => Balancing::LeastRequest(LeastRequest::default()),
            BalancingWord::PeakEwma => Balancing::PeakEwma(PeakEwma::default()),
        },
        ..CompilerSettings::default()
    }
}

/// The domains that DNS answers for, as parts of the name of a host.
fn dns_domains(config: &AgentConfig) -> Vec<String> {
    let first = config.dns.domain.as_deref().unwrap_or("consul");
    let domains = [Some(first), config.dns.alt_domain.as_deref()].into_iter().flatten();
    domains
        .map(|it| it.trim_matches('.').to_ascii_lowercase())
        .filter(|it| !it.is_empty())
        .collect()
}

fn proxy_options(config: &AgentConfig, arguments: &AgentArguments) -> anyhow::Result<ProxyOptions> {
    let workers = match arguments.workers {
        Some(workers) => usize::from(workers),
        None => std::thread::available_parallelism().context("cannot count the cores")?.get(),
    };
    Ok(ProxyOptions {
        workers,
        admin: config.leno.proxy_admin.flatten(),
        access_log: arguments.access_log.as_deref().map(proxy::access_log::Target::parse),
        seed: arguments.seed,
        ..ProxyOptions::default()
    })
}
