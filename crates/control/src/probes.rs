//! The checks of the agent's own node: run, judged by the [`registry`], and told to the [`Mesh`].
//!
//! One task for each check that was registered with the agent. Results stay in memory; only a
//! changed verdict becomes a command. Aliases and TTLs wait for a change or a deadline instead of
//! polling.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::LiveCheck;
use model::{CheckId, CheckStatus, NodeName, ServiceId};
use registry::CheckRun;
use runtime::Tasks;
use tokio::sync::watch;

use crate::mesh::Mesh;
use probe::Prober;
use reconciler::Reconciler;
use runners::Runners;

mod live;
mod probe;
mod reap;
mod reconciler;
mod runner;
mod runners;
#[cfg(test)]
mod tests;
mod truth;

/// What the probes may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProbeOptions {
    /// Run checks that are scripts; without it they are critical.
    pub script_checks: bool,
    /// Most probes that run at the same time; others wait for their turn.
    pub probes_at_once_max: usize,
}

impl Default for ProbeOptions {
    /// No scripts; 512 probes at once: with one socket each they take half of the usual 1024 file
    /// descriptors, and with 10 ms each they are 50 000 runs a second.
    fn default() -> Self {
        Self { script_checks: false, probes_at_once_max: 512 }
    }
}

/// The checks of one node.
pub struct Probes;

impl Probes {
    /// Starts to run the checks that are registered with the agent on `node`, now and later. They
    /// end with the drain of `tasks`.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn start(mesh: Mesh, node: NodeName, options: ProbeOptions, tasks: &Tasks) -> ProbesHandle {
        let prober = probe::Network::new(options.script_checks);
        start(mesh, prober, node, options, tasks)
    }
}

/// What others ask of the probes. A cheap clone.
#[derive(Clone)]
pub struct ProbesHandle {
    node: NodeName,
    runners: Arc<Runners>,
}

impl ProbesHandle {
    /// The freshest results where they differ from the catalog: outputs that did not come with a
    /// new verdict, and verdicts that could not be written yet. A check without an entry is as the
    /// catalog says.
    #[must_use]
    pub fn live_checks(&self) -> Arc<BTreeMap<CheckId, LiveCheck>> {
        self.runners.live().snapshot()
    }

    /// How often a check of an instance has failed in a row by now, by its probes; that of the worst.
    #[must_use]
    pub fn failed_in_row(&self, service: &ServiceId) -> u32 {
        self.runners.failed_in_row(service)
    }

    /// A heartbeat of a TTL check was committed: its time starts anew. Also to be called when the
    /// check was registered again, with the status and output that it has. No effect on a check
    /// that is not a TTL check of this agent.
    pub fn heartbeat(&self, id: &CheckId, status: CheckStatus, output: String) {
        self.runners.heartbeat(id, status, output);
    }

    /// How the checks of an instance go, or with an empty id those of the node; nothing for another node.
    #[must_use]
    pub fn runs(&self, node: &NodeName, service: &ServiceId) -> Vec<CheckRun> {
        if node.folded() == self.node.folded() { self.runners.runs(service) } else { Vec::new() }
    }

    /// Changes whenever a check has run, or lapsed, and what that led to is true.
    #[must_use]
    pub fn ran(&self) -> watch::Receiver<u64> {
        self.runners.ran()
    }

    /// Somebody saw an instance fail or recover: runs its checks now instead of at their next turn,
    /// at most ten times a second each. No effect for another node's instance.
    pub fn probe_now(&self, node: &NodeName, service: &ServiceId) {
        if node.folded() == self.node.folded() {
            self.runners.hurry(service);
        }
    }

    /// The process of an instance ended: until [`ProbesHandle::release`] its probed checks are critical for this
    /// reason, whoever answers at its address. What a probe under way saw of it does not count any more.
    pub fn hold(&self, service: &ServiceId, reason: &str) {
        self.runners.hold(service, reason);
    }

    /// The instance has a process again: its checks are probed anew. No effect if it was not held.
    pub fn release(&self, service: &ServiceId) {
        self.runners.release(service);
    }
}

fn start<T: truth::Truth, P: Prober>(
    truth: T,
    prober: P,
    node: NodeName,
    options: ProbeOptions,
    tasks: &Tasks,
) -> ProbesHandle {
    let runners = Arc::new(Runners::default());
    let handle = ProbesHandle { node: node.clone(), runners: Arc::clone(&runners) };
    tasks.spawn("check reaper", reap::run(truth.clone(), node.clone(), tasks.drain()));
    let reconciler =
        Reconciler::new(truth, prober, node, runners, options.probes_at_once_max, tasks.clone());
    tasks.spawn("check reconciler", reconciler.run());
    handle
}
