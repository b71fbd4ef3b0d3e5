//! # api: the doors that are asked
//!
//! HTTP in; a read of the [`Catalog`](model::Catalog), or a [`Command`](registry::Command), out. `consul` speaks
//! Consul's HTTP API, `admin` our own under `/leno/v1`; `ui` holds the pages for people under `/ui/`.
//!
//! *May touch:* HTTP types. *Does not know:* sockets, tasks, clocks, the store. A request is answered by calling
//! [`handle`] until it says [`Step::Reply`] or [`Step::Write`]; the shell waits, commits and calls again.
//!
//! Invariants:
//! * [`handle`] is a pure function of its arguments: the same catalog and request give the same step.
//! * A read writes its body straight from the catalog into one buffer; no object is cloned.
//! * A blocking read waits on the parts of the catalog that its index is made of, so no change of it is missed.

mod access;
mod admin;
mod consul;
mod json;
mod rates;
mod settings;
mod step;
mod ui;

use bytes::Bytes;
use http::{Request, Response};

pub use access::{Acl, AclSettings, AgentToken, AgentTokens, Identity, ResolveError};
pub use acl::DefaultPolicy;
pub use consul::{
    BUILD_DATE, REVISION, autopilot_of, check_of, config_entry_of, leaf_response, leaf_ttl,
    refused_by_rule, rfc3339, service_of,
};
pub use rates::{Admission, Operation, RateGate, Rates};
pub use settings::{Network, Settings, ToldPorts};
pub use step::{
    AgentInfo, BootstrapReset, ClientIp, Context, CopyFacts, Facts, InstanceFacts, LeafWanted,
    LiveCheck, Respond, Step, WriteOutcome,
};
pub use ui::{WithoutUi, page};

/// Name of the setting of the certificate authority: `Roots`, a list of [`ca::Authority`] with the active one first, and
/// `Config` and `State` as clients set them.
pub const CA: &str = "connect-ca";

/// Every endpoint, those that the shell serves itself included: its path, with a slash at its end (or `:name` in it) all
/// paths that start with it, and its methods.
pub fn endpoints() -> impl Iterator<Item = (&'static str, Vec<&'static str>)> {
    let ours = admin::endpoints().map(|(path, method)| (path, vec![method]));
    consul::endpoints().map(|(path, methods)| (path, methods.to_vec())).chain(ours)
}

/// What is said to a request that the shell serves itself and not through [`handle`]: a refusal, or nothing when whoever
/// makes it may.
#[must_use]
pub fn refuse(request: &Request<Bytes>, context: &Context<'_>) -> Option<Response<Bytes>> {
    let ours = admin::check_of(request.uri().path());
    consul::refuse(request, context, ours)
}

/// Says what is to be done for a request. `timed_out` is true when a wait that an earlier call asked for is over.
///
/// The body is whole, and the caller has bounded its size. Bad requests are answered; nothing panics.
#[must_use]
pub fn handle(request: &Request<Bytes>, context: &Context<'_>, timed_out: bool) -> Step {
    let path = request.uri().path();
    if path == "/leno/v1" || path.starts_with("/leno/v1/") {
        admin::handle(request, context, timed_out)
    } else {
        consul::handle(request, context, timed_out)
    }
}
