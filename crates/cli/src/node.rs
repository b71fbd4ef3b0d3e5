//! One process of the mesh: an agent and a proxy that follows it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use control::agent::{Agent, AgentOptions};
use control::sightings::{Sighting, SightingKind};
use proxy::{Proxy, ProxyHandle, ProxyOptions};
use runtime::Tasks;

/// How long requests under way may take after SIGTERM.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the remaining tasks may take to end.
const SHUT_DOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// Name of the proxy inside an agent among those that follow it.
const OWN_PROXY: &str = "agent";

/// A running agent with its proxy.
pub(crate) struct Node {
    pub(crate) agent: Arc<Agent>,
    pub(crate) proxy: ProxyHandle,
    tasks: Tasks,
}

impl Node {
    /// Starts the agent, then the proxy with the agent's configuration.
    pub(crate) async fn start(agent: AgentOptions, proxy: ProxyOptions) -> anyhow::Result<Self> {
        let agent = Arc::new(Agent::start(agent).await.context("the agent does not start")?);
        let config = agent.compilation.configs().borrow().clone();
        let started = Proxy::start(proxy, config);
        let proxy = match started {
            Ok(proxy) => proxy,
            Err(error) => {
                stop(&agent).await;
                return Err(error).context("the proxy does not start");
            }
        };
        let tasks = Tasks::new();
        tasks
            .spawn("proxy configuration", follow(Arc::clone(&agent), proxy.clone(), tasks.drain()));
        tasks.spawn("proxy evidence", listen(Arc::clone(&agent), proxy.clone(), tasks.drain()));
        Ok(Self { agent, proxy, tasks })
    }

    /// Address of a listener of the proxy.
    pub(crate) fn listener(&self, name: &str) -> Option<SocketAddr> {
        self.proxy.local_addr(name)
    }

    /// Finishes what is under way, then stops everything.
    pub(crate) async fn shut_down(&self) {
        self.proxy.drain(DRAIN_TIMEOUT).await;
        self.tasks.shut_down(SHUT_DOWN_TIMEOUT).await;
        stop(&self.agent).await;
    }
}

async fn stop(agent: &Agent) {
    let left = agent.shut_down().await;
    if !left.is_empty() {
        tracing::warn!(tasks = ?left, "some tasks did not end in time");
    }
}

/// Hands each new configuration to the proxy.
async fn follow(agent: Arc<Agent>, proxy: ProxyHandle, drain: runtime::Drain) {
    let mut configs = agent.compilation.configs();
    let uses = {
        let proxy = proxy.clone();
        move || proxy.endpoint_uses()
    };
    let following = agent.compilation.fleet().join(OWN_PROXY, proxy.config().revision, uses);
    {
        let proxy = proxy.clone();
        following.tell_hosts(move || proxy.host_uses());
    }
    loop {
        let config = configs.borrow_and_update().clone();
        let revision = config.revision;
        // What cannot be done is logged by the proxy; the rest holds.
        if proxy.update(config).await.is_err() {
            return;
        }
        following.acknowledge(revision);
        tokio::select! {
            changed = configs.changed() => if changed.is_err() { return },
            () = drain.begun() => return,
        }
    }
}

/// Tells the agent what the proxy sees of its endpoints.
async fn listen(agent: Arc<Agent>, proxy: ProxyHandle, drain: runtime::Drain) {
    let Some(mut evidence) = proxy.evidence() else { return };
    loop {
        tokio::select! {
            seen = evidence.recv() => match seen {
                Some(seen) => {
                    let Some(kind) = SightingKind::parse(seen.kind.as_str()) else { continue };
                    agent.sightings.see(Sighting {
                        proxy: OWN_PROXY.to_owned(),
                        endpoint: seen.endpoint,
                        kind,
                        ejected_ms: seen.ejected_ns / 1_000_000,
                    });
                }
                None => return,
            },
            () = drain.begun() => return,
        }
    }
}
