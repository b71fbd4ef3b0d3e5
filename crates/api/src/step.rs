use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use model::{
    Catalog, CheckId, CheckStatus, Folded, NodeName, Revision, Secret, ServiceId, Timestamp,
    WatchKey,
};
use proxy_config::EndpointUse;
use registry::{CheckRun, Command, Rejection, Restart, SightingsView, TxnRead};

use crate::{Acl, AgentToken, Settings};

/// Makes the response to a write of what came of it.
pub type Respond = Box<dyn FnOnce(WriteOutcome, &Context<'_>) -> Response<Bytes> + Send>;

/// What the shell must do next for a request.
#[allow(
    clippy::large_enum_variant,
    reason = "there is one a request, and it is taken apart at once"
)]
pub enum Step {
    /// Send this.
    Reply(Response<Bytes>),
    /// Nothing new yet. Wait until one of `keys` is touched or `timeout` has passed since the request arrived
    /// (the shell adds the jitter of wait/16 given here), then call `handle` again, with `timed_out` if so.
    ///
    /// The answer is about the catalog of this call: start to watch `keys`, call again with the newest catalog, and
    /// only then sleep, or a change in between is missed. A wake that brings nothing new gives another `Wait`; the
    /// time runs from the arrival of the request. No keys at all: only the time ends the wait.
    Wait {
        /// Parts of the catalog whose change may bring an answer.
        keys: Vec<WatchKey>,
        /// How long to wait in total, jitter not included.
        timeout: Duration,
        /// Most jitter to add, uniformly chosen.
        jitter_max: Duration,
    },
    /// Answer with a certificate for a service, whose key only the shell can make: see [`LeafWanted`].
    Leaf(LeafWanted),
    /// Give the agent this token of its own, keep it if such tokens are kept, then call the function with what came of
    /// it, and send its response.
    AgentToken(AgentToken, Secret, Box<dyn FnOnce(Result<(), String>) -> Response<Bytes> + Send>),
    /// Commit this command (running it again if another writer came first), then call the function with what
    /// came of it, and send its response.
    Write(Command, Respond),
}

/// A client wants the certificate of a service, of which [`crate::leaf_response`] makes the response.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeafWanted {
    /// The service.
    pub service: String,
    /// Index of the certificate that the client has; 0: it does not wait for another.
    pub seen: u64,
    /// How long it waits for another.
    pub timeout: Duration,
    /// The body is to be indented.
    pub is_pretty: bool,
}

/// What became of a command.
#[derive(Debug)]
pub enum WriteOutcome {
    /// It holds, at this revision of the catalog (unchanged if it was true already).
    /// What it read is beside that; nothing unless it is a command that reads.
    Done(Revision, Vec<TxnRead>),
    /// The registry refused it.
    Rejected(Rejection),
    /// The store failed; the text is for people.
    Failed(String),
}

/// The address that a request comes from, as an extension of the request; none for a socket in the file system.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClientIp(pub IpAddr);

/// Whoever runs the agent lets the first token of management be made again: the revision at which it was made, as an
/// extension of the request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BootstrapReset(pub u64);

/// What the shell knows of instances beside the catalog, by node and id, as an extension of a request to
/// `/leno/v1/instances/`, or to `/leno/v1/services/` of those that are spared.
#[derive(Clone, Debug, Default)]
pub struct InstanceFacts(pub Arc<BTreeMap<(Folded, ServiceId), Facts>>);

/// What the shell knows of one instance.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// How the checks go that the agent runs: the instance's, and its node's.
    pub runs: Vec<CheckRun<Timestamp>>,
    /// What proxies see, if that is anything.
    pub sightings: Option<SightingsView>,
    /// What each proxy counts of it.
    pub uses: Vec<(String, EndpointUse)>,
    /// The copy of a workload that it is.
    pub copy: Option<CopyFacts>,
}

/// A copy of a workload.
#[derive(Clone, Debug, Default)]
pub struct CopyFacts {
    /// `NAMESPACE/NAME` of the workload.
    pub workload: String,
    /// Its version.
    pub version: String,
    /// How it is: `starting`, `checking`, `ready`, …
    pub state: String,
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
    /// Its process.
    pub pid: Option<u32>,
    /// How often its process ended by itself.
    pub restarts: u32,
    /// What it or its check said last.
    pub output: String,
    /// When it is started again, if it waits for that.
    pub restart: Option<Restart>,
}

/// What a door may look at.
pub struct Context<'a> {
    /// All that is true now.
    pub catalog: &'a Catalog,
    /// This agent.
    pub agent: &'a AgentInfo,
    /// Freshest results of the agent's own checks, where they differ from the catalog (outputs of passing
    /// runs are not committed).
    pub live_checks: &'a BTreeMap<CheckId, LiveCheck>,
    /// Access control.
    pub acl: &'a Acl,
    /// The time.
    pub now: Timestamp,
    /// Makes a new UUID.
    pub fresh_id: fn() -> String,
}

/// Freshest result of a check that the agent runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LiveCheck {
    /// Verdict.
    pub status: CheckStatus,
    /// Output of the last run.
    pub output: String,
}

/// This agent, for `agent/self`, `agent/members` and `status`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AgentInfo {
    /// Name of its node.
    pub node_name: NodeName,
    /// UUID of its node.
    pub node_id: String,
    /// Datacenter.
    pub datacenter: String,
    /// Address that it tells others.
    pub address: String,
    /// Port of the HTTP API.
    pub http_port: u16,
    /// Port of DNS.
    pub dns_port: u16,
    /// Version that Consul's clients are told: the version of the API that is spoken, `1.21.4`.
    pub consul_version: String,
    /// Version of Leno itself.
    pub leno_version: String,
    /// When it was started.
    pub started: Timestamp,
    /// Started with `--dev`: in memory, output indented.
    pub dev: bool,
    /// Scripts may be registered as checks.
    pub script_checks: bool,
    /// Rules of the doors.
    pub settings: Settings,
}
