//! A process to supervise: what the document kind `Workload` asks for.
//!
//! Everything here was checked when the document was read; whoever runs it need not check again. What cannot be known from
//! the document alone (whether the program exists, whether a port is taken) is not.

mod expand;
mod health;
mod process;
mod rollout;
mod stop;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{FlatMap, ServiceName, duration_ns};

pub use expand::{expand, references};
pub use health::{HealthCheck, Probe};
pub use process::{CommandLine, Limits, Logs, RunAs, Variable};
pub use rollout::{CanaryStep, CountOrPercent, Evidence, Rollout, Strategy};
pub use stop::{Stop, StopSignal};

/// Variables that every copy is given, over what the agent itself has in its environment. A document may not set them.
///
/// `PORT`: the port to listen on, when it has one. `LENO_ADDRESS`: the address that it is registered with.
/// `LENO_WORKLOAD`, `LENO_NAMESPACE`: of the document. `LENO_REPLICA`: which copy it is, from 0. `LENO_VERSION`: the version.
pub const GIVEN_VARIABLES: [&str; 6] =
    ["PORT", "LENO_ADDRESS", "LENO_WORKLOAD", "LENO_NAMESPACE", "LENO_REPLICA", "LENO_VERSION"];

/// Metadata of an instance that says of which workload it is a copy, as `NAMESPACE/NAME`.
pub const META_WORKLOAD: &str = "leno-workload";
/// Metadata of such an instance that says which copy it is, as `RELEASE-PLACE`.
pub const META_COPY: &str = "leno-copy";

/// A process to supervise.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkloadSpec {
    /// Whether it is to run for good or to its end (`type`).
    #[serde(rename = "type")]
    pub kind: WorkloadKind,
    /// Version as it is shown, and registered as `Meta.version`. Never empty; without one in the document the first 8 digits
    /// of [`WorkloadSpec::template_hash`] as it is with an empty one.
    pub version: String,
    /// What is run: `command` with `args` behind it.
    pub command: CommandLine,
    /// Environment over the agent's, in the order written: each may refer to those before it.
    pub env: Vec<Variable>,
    /// Absolute path of the folder that it runs in; empty means the agent's. A relative program is looked up there.
    pub working_dir: String,
    /// Who it runs as (`user`); `None` means as the agent.
    pub run_as: Option<RunAs>,
    /// Copies, 1 to 1000.
    pub replicas: u32,
    /// Port of each copy.
    pub port: PortChoice,
    /// Address that copies are registered with and probed at; `None` means the node's.
    pub address: Option<IpAddr>,
    /// What copies are registered as; `None` means that they are not.
    pub service: Option<Registration>,
    /// All must pass before a copy is healthy; empty means that it is from its start on.
    pub checks: Vec<HealthCheck>,
    /// When a copy that ended is started again.
    pub restart: Restart,
    /// How a copy is stopped.
    pub stop: Stop,
    /// A copy whose checks have not passed for so long since its start has failed. 1 s to 24 h.
    #[serde(with = "duration_ns")]
    pub start_timeout: Duration,
    /// Names of workloads of the same namespace that must be healthy, or completed if they are jobs, before a copy is
    /// started. Each once, in the order written.
    pub depends_on: Vec<String>,
    /// Limits of each copy (`resources`).
    pub limits: Limits,
    /// What is kept of its output.
    pub logs: Logs,
    /// What becomes of it when the agent ends.
    pub on_agent_exit: OnAgentExit,
    /// How a changed document takes the place of the running one; of no meaning for a job.
    pub rollout: Rollout,
    /// Of a job: how long it may take, from its first start to its end with all tries; 1 s to 30 days. `None`: any time.
    // Left out where it is not given, as whatever comes later: what is written down of older documents stays what it is.
    #[serde(skip_serializing_if = "Option::is_none", with = "duration_ns::option")]
    pub active_deadline: Option<Duration>,
}

impl Default for WorkloadSpec {
    fn default() -> Self {
        Self {
            kind: WorkloadKind::default(),
            version: String::new(),
            command: CommandLine::default(),
            env: Vec::new(),
            working_dir: String::new(),
            run_as: None,
            replicas: 1,
            port: PortChoice::default(),
            address: None,
            service: None,
            checks: Vec::new(),
            restart: Restart::default(),
            stop: Stop::default(),
            start_timeout: Duration::from_secs(60),
            depends_on: Vec::new(),
            limits: Limits::default(),
            logs: Logs::default(),
            on_agent_exit: OnAgentExit::default(),
            rollout: Rollout::default(),
            active_deadline: None,
        }
    }
}

impl WorkloadSpec {
    /// 16 hexadecimal digits that change with what runs (as Kubernetes' `pod-template-hash`): version, command, environment,
    /// folder, user, port, address and limits. The version of a document that says none is made of them.
    ///
    /// FNV-1a, 64 bits, over the JSON of these: the same on every machine and in every release, as long as what is not given
    /// is left out of that JSON.
    #[must_use]
    pub fn template_hash(&self) -> String {
        let template = (
            (&self.version, &self.command, &self.env, &self.working_dir),
            (&self.run_as, &self.port, &self.address, &self.limits),
        );
        let json = serde_json::to_vec(&template).expect("these types have string keys only");
        let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        format!("{:016x}", json.iter().fold(0xcbf2_9ce4_8422_2325, step))
    }

    /// The variables of one copy: `given` (see [`GIVEN_VARIABLES`]) and those of the document, in which `$(NAME)` is
    /// replaced by what comes before.
    #[must_use]
    pub fn environment(&self, given: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut all = given.clone();
        for variable in &self.env {
            let value = expand(&variable.value, |name| all.get(name).map(String::as_str));
            all.insert(variable.name.clone(), value);
        }
        all
    }
}

/// How long a workload is meant to run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WorkloadKind {
    /// For good: it is registered, and restarted whenever it ends.
    #[default]
    Service,
    /// To its end: code 0 completes it.
    Job,
}

/// The port that a copy listens on; passed to it as `PORT`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PortChoice {
    /// It has none.
    #[default]
    None,
    /// A free one, chosen for each copy.
    Auto,
    /// This one, 1 to 65535; then there is one copy, and never two releases at once.
    Fixed(u16),
}

/// What the copies of a workload are registered as.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Registration {
    /// Name of the service.
    pub name: ServiceName,
    /// Tags in the order written, each once.
    pub tags: Vec<String>,
    /// Metadata without `version`, which is the workload's.
    pub meta: FlatMap<String>,
    /// Weight of each copy while its checks pass, 1 to 65535.
    pub weight: u16,
}

impl Default for Registration {
    fn default() -> Self {
        Self { name: ServiceName::default(), tags: Vec::new(), meta: FlatMap::default(), weight: 1 }
    }
}

/// When a copy that ended is started again, and when not any more.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Restart {
    /// After which ends.
    pub policy: RestartPolicy,
    /// Wait before the first restart; it doubles with each. 1 ms to 1 h.
    #[serde(with = "duration_ns")]
    pub delay: Duration,
    /// Longest wait, `delay` to 24 h.
    #[serde(with = "duration_ns")]
    pub delay_max: Duration,
    /// Restarts in a row before it is held until an operator says otherwise, 0 to 10,000.
    pub restarts_max: u32,
    /// A copy that ran for so long is sound: wait and count begin anew. 1 s to 24 h.
    #[serde(with = "duration_ns")]
    pub reset_after: Duration,
    /// Failed checks in a row after which a copy that was healthy is restarted; 0: never, it only gets no requests. Up to
    /// 1000.
    pub failed_checks_max: u32,
}

impl Default for Restart {
    /// The numbers of `recovery`: 100 ms doubling to 30 s, sound after 10 s, held after 16 in a row; checks restart nothing,
    /// for a copy that is slow under load would be slower after a restart.
    fn default() -> Self {
        Self {
            policy: RestartPolicy::default(),
            delay: Duration::from_millis(100),
            delay_max: Duration::from_secs(30),
            restarts_max: 16,
            reset_after: Duration::from_secs(10),
            failed_checks_max: 0,
        }
    }
}

/// After which ends a copy is started again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RestartPolicy {
    /// After every one. Not for a job.
    #[default]
    Always,
    /// After a code other than 0, or a signal.
    OnFailure,
    /// After none.
    Never,
}

/// What becomes of a workload when the agent ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnAgentExit {
    /// It is stopped.
    #[default]
    Stop,
    /// It runs on, and the next agent on this machine takes it over.
    Keep,
}

#[cfg(test)]
mod tests;
