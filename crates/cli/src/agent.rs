//! `leno agent`.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use control::agent::{AgentOptions, Balancing, CompilerSettings, Ending, LeastRequest, PeakEwma};
use control::dns_server::{DnsOptions, parse_recursor};
use proxy::ProxyOptions;
use runtime::{Hangup, Termination};

use crate::args::{AddressOrOff, AgentArguments, BalancingWord};
use crate::node::Node;

pub(crate) async fn run(arguments: AgentArguments) -> anyhow::Result<ExitCode> {
    let mut termination = Termination::listen().context("cannot listen to signals")?;
    let mut hangup = Hangup::listen().context("cannot listen to signals")?;
    let starting = Node::start(agent_options(&arguments)?, proxy_options(&arguments)?);
    let node = tokio::select! {
        node = starting => node?,
        signal = termination.next() => {
            tracing::info!(signal = signal.name(), "ended before the agent was ready");
            return Ok(ExitCode::from(signal.exit_code()));
        }
    };
    say_where(&node, &arguments);
    let code = until_the_end(&node, &mut termination, &mut hangup).await;
    tokio::select! {
        () = node.shut_down() => Ok(code),
        signal = termination.next() => {
            tracing::warn!(signal = signal.name(), "ended at once");
            Ok(ExitCode::from(signal.exit_code()))
        }
    }
}

/// Waits for a reason to end; returns the exit code that goes with it.
async fn until_the_end(
    node: &Node,
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
                tracing::info!("SIGHUP: nothing to reload, the manifests are followed as they change");
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

/// Logs where the node listens.
fn say_where(node: &Node, arguments: &AgentArguments) {
    let agent = &node.agent;
    tracing::info!(
        node = %agent.info.node_name,
        data = %if arguments.dev { "in memory".to_owned() } else { data_dir(arguments).display().to_string() },
        "agent started"
    );
    tracing::info!("HTTP API       http://{}", agent.http);
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

fn agent_options(arguments: &AgentArguments) -> anyhow::Result<AgentOptions> {
    let node_name = match &arguments.node {
        Some(name) if name.is_empty() => {
            bail!("--node is empty; leave it out to take the host name")
        }
        Some(name) => name.clone(),
        None => host_name()?,
    };
    let recursors = arguments.recursor.iter().map(|it| recursor(it)).collect::<Result<_, _>>()?;
    let mut dns_options = DnsOptions { recursors, ..DnsOptions::default() };
    dns_options.config.datacenter.clone_from(&arguments.datacenter);
    let (http, tls) = if arguments.dev {
        (([127, 0, 0, 1], 10_000), ([127, 0, 0, 1], 10_443))
    } else {
        (([0, 0, 0, 0], 80), ([0, 0, 0, 0], 443))
    };
    let or = |given: Option<AddressOrOff>, default: ([u8; 4], u16)| {
        given.unwrap_or(AddressOrOff::At(SocketAddr::from(default))).address()
    };
    let compiler = compiler_settings(
        arguments,
        or(arguments.ingress, http),
        or(arguments.ingress_tls, tls),
        arguments.outbound.address(),
    );
    Ok(AgentOptions {
        dev: arguments.dev,
        data_dir: data_dir(arguments),
        http: arguments.http,
        dns: arguments.dns.address(),
        dns_options,
        node_name,
        datacenter: arguments.datacenter.clone(),
        advertise: arguments.advertise.to_string(),
        manifests: arguments.manifests.clone(),
        script_checks: arguments.enable_script_checks,
        compiler,
    })
}

fn compiler_settings(
    arguments: &AgentArguments,
    ingress: Option<SocketAddr>,
    ingress_tls: Option<SocketAddr>,
    outbound: Option<SocketAddr>,
) -> CompilerSettings {
    CompilerSettings {
        ingress_http: ingress,
        ingress_https: ingress_tls,
        outbound,
        datacenter: arguments.datacenter.clone(),
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

fn proxy_options(arguments: &AgentArguments) -> anyhow::Result<ProxyOptions> {
    let workers = match arguments.workers {
        Some(workers) => usize::from(workers),
        None => std::thread::available_parallelism().context("cannot count the cores")?.get(),
    };
    Ok(ProxyOptions {
        workers,
        admin: arguments.proxy_admin.address(),
        access_log: arguments.access_log.as_deref().map(proxy::access_log::Target::parse),
        seed: arguments.seed,
        ..ProxyOptions::default()
    })
}

fn data_dir(arguments: &AgentArguments) -> PathBuf {
    let variable = || std::env::var_os("LENO_DATA_DIR").filter(|it| !it.is_empty());
    let given = arguments.data_dir.clone().or_else(|| variable().map(PathBuf::from));
    given.unwrap_or_else(|| "./leno-data".into())
}

fn host_name() -> anyhow::Result<String> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname")
        .context("cannot read the host name; name the node with --node")?;
    match name.trim() {
        "" | "(none)" => bail!("this machine has no host name; name the node with --node"),
        name => Ok(name.to_owned()),
    }
}

fn recursor(text: &str) -> anyhow::Result<SocketAddr> {
    parse_recursor(text)
        .with_context(|| format!("--recursor {text:?} is neither an IP address nor IP:PORT"))
}
