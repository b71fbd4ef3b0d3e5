//! `leno proxy --agent`: the data plane on a machine without an agent, which does what an agent elsewhere says.
//!
//! Two conversations go on, each over a connection of its own: one asks for the next configuration and acknowledges the one before
//! ([`follow`]), the other tells what changes of what the proxy sees ([`reports`]). While the agent cannot be reached, the proxy
//! serves by what it has.

use std::collections::BTreeMap;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use proxy::{LogLevels, Proxy, ProxyHandle, ProxyOptions, Quit};
use proxy_config::{EndpointUse, HostUses, ProxyConfig};
use runtime::{Drain, Hangup, LogRotation, Tasks, Termination};
use tokio::sync::Notify;

use self::follow::{Follower, Listeners};
use self::link::Link;
use crate::args::ProxyArguments;
use crate::client::token;
use crate::data_plane::{drain, proxy_options, release_unused_code};

mod follow;
mod link;
mod reports;

const ADMIN: std::net::SocketAddr =
    std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 15_000);
/// How long telling the agent that this is the end may take: if it does not hear it, the lease ends.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);

/// What both conversations share.
pub(crate) struct Shared {
    name: String,
    /// Tells this life of the proxy from others of its name.
    life: String,
    proxy: ProxyHandle,
    /// Messages so far.
    told: AtomicU64,
    /// The agent knows this life.
    is_joined: AtomicBool,
    /// Told when it turned out not to.
    rejoin: Notify,
    /// Begins when the first configuration is taken, and it is said where the proxy listens.
    served: Drain,
    /// Begins when the proxy drains: it takes no new connection and no configuration any more. Not before that is so in all
    /// workers, for nobody waits then for requests to be decided by a newer configuration.
    leaving: Drain,
}

impl Shared {
    fn new(name: Option<String>, proxy: ProxyHandle) -> anyhow::Result<Arc<Self>> {
        let name = name.or_else(runtime::host_name);
        Ok(Arc::new(Self {
            name: name.context("this machine has no host name; give the proxy one with --name")?,
            life: format!("{:032x}", rand::random::<u128>()),
            proxy,
            told: AtomicU64::new(0),
            is_joined: AtomicBool::new(false),
            rejoin: Notify::new(),
            served: Drain::new(),
            leaving: Drain::new(),
        }))
    }

    /// What the proxy sees now of the endpoints that it has sent something to, and of the virtual hosts that were asked for, and
    /// the number under which that is told: what is told under a higher one was read later.
    fn look(&self) -> (u64, BTreeMap<String, EndpointUse>, HostUses) {
        let at = self.told.fetch_add(1, Ordering::SeqCst) + 1;
        let mut uses = self.proxy.endpoint_uses();
        uses.retain(|_, it| {
            it.active + it.connections + it.successes + it.failures + it.duration_sum_us > 0
        });
        (at, uses, self.proxy.host_uses())
    }
}

/// Runs until a signal ends it.
pub(crate) async fn serve(
    agent: &str,
    arguments: &ProxyArguments,
    log_levels: LogLevels,
) -> anyhow::Result<ExitCode> {
    let mut termination = Termination::listen().context("cannot listen to signals")?;
    let mut hangup = Hangup::listen().context("cannot listen to signals")?;
    let mut rotation = LogRotation::listen().context("cannot listen to signals")?;
    let remote = &arguments.remote;
    let token = token(remote.token.clone());
    let [asking, telling] = [Link::to(agent, &token)?, Link::to(agent, &token)?];
    let asked_to_quit = Arc::new(Notify::new());
    let on_quit = asked_to_quit.clone();
    let options = ProxyOptions {
        admin: arguments.admin.map_or(Some(ADMIN), |it| it.address()),
        quit: Some(Quit::new(move || on_quit.notify_one())),
        log_levels: Some(log_levels),
        awaits_config: true,
        ..proxy_options(arguments)?
    };
    let proxy = Proxy::start(options, Arc::new(ProxyConfig::default()))
        .context("the proxy does not start")?;
    if let Some(admin) = proxy.admin_addr() {
        tracing::info!("proxy admin    http://{admin}");
    }
    let shared = Shared::new(remote.name.clone(), proxy.clone())?;
    tracing::info!(agent, name = shared.name, "waiting for the configuration of the agent");
    let tasks = Tasks::new();
    let follower = Follower::new(shared.clone(), asking, Listeners::of(remote));
    tasks.spawn("following", follower.run(tasks.drain()));
    tasks.spawn("reports", reports::run(shared.clone(), telling, tasks.drain()));
    let mut is_ready = false;
    let mut getting_ready = pin!(async {
        shared.served.begun().await;
        proxy.warmed().await
    });
    let mut releasing = pin!(release_unused_code());
    loop {
        tokio::select! {
            warm = getting_ready.as_mut(), if !is_ready => {
                is_ready = true;
                if warm {
                    runtime::release_unused_code();
                    tracing::info!("ready");
                }
            }
            never = releasing.as_mut() => match never {},
            () = asked_to_quit.notified() => {
                shared.leaving.begin();
                tasks.shut_down(LEAVE_TIMEOUT).await;
                return Ok(ExitCode::SUCCESS);
            }
            signal = termination.next() => {
                tracing::info!(signal = signal.name(), "draining; once more ends it at once");
                break;
            }
            () = hangup.next() => tracing::info!("SIGHUP: the agent says what to do; there is no file"),
            () = rotation.next() => proxy.reopen_access_logs(),
        }
    }
    let (begun, drain_time_s) = (&shared.leaving, arguments.drain_time_s);
    let code = drain(&proxy, begun, drain_time_s, &asked_to_quit, &mut termination).await;
    shared.leaving.begin();
    tasks.shut_down(LEAVE_TIMEOUT).await;
    Ok(code)
}
