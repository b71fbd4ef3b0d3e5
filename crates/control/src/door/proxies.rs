//! `/leno/v1/proxies`: who follows this agent, and how those do it that run elsewhere.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::workloads::{Refused, bad, json, refused};
use super::{Door, reply};
use crate::fleet::{Follow, ProxyState, Refusal, Report};
use crate::sightings::now;

/// How long a proxy is let wait for a configuration: half its lease, so that asking alone keeps it a member.
const FOLLOW_WAIT: Duration = Duration::from_secs(5);

/// Why a proxy has no private keys, for its operator.
const WITHHELD: &str = "private keys are withheld: without access control whoever reaches this agent could ask for them; turn \
                        ACLs on, or have clients show certificates (verify_incoming)";

/// The client of the connection has shown a certificate, and it was verified.
#[derive(Clone, Copy, Debug)]
pub(crate) struct VerifiedClient;

/// A proxy that follows this agent.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ProxyRow {
    /// Its name; `NAME~n` when another one has taken it over.
    pub name: String,
    /// `serving`; `leaving`, when it ends and nobody waits for it to take a configuration; `replaced`, when another proxy has
    /// taken over its name, and it has not left; `expected`, when it followed an earlier life of the agent and is not back yet.
    pub state: String,
    /// Newest revision of the catalog that its configuration is good for.
    pub acknowledged: u64,
    /// Revisions that it is behind the registry.
    pub behind: u64,
    /// Where it reports from; empty for the agent's own.
    pub address: String,
    /// Version of Leno that it runs; empty for the agent's own.
    pub version: String,
    /// Since when it follows, in milliseconds since 1970.
    pub since_ms: u64,
    /// When it was last heard of; `None` for the agent's own.
    pub heard_ms: Option<u64>,
    /// From the commit of a change to its acknowledgement, the last time, in milliseconds.
    pub acknowledge_ms: Option<f64>,
    /// The same, of which 99 % of the last 256 took at most this.
    pub acknowledge_p99_ms: Option<f64>,
    /// What it cannot do of its configuration.
    pub trouble: String,
}

impl ProxyRow {
    fn new(it: ProxyState, revision: u64) -> Self {
        let state = match (it.is_leaving, it.is_replaced, it.is_expected) {
            (true, _, _) => "leaving",
            (false, true, _) => "replaced",
            (false, false, true) => "expected",
            (false, false, false) => "serving",
        };
        let ms = |it: Duration| it.as_secs_f64() * 1000.0;
        Self {
            name: it.name,
            state: state.to_owned(),
            acknowledged: it.acknowledged.0,
            behind: revision.saturating_sub(it.acknowledged.0),
            address: it.address,
            version: it.version,
            since_ms: it.since.0,
            heard_ms: it.heard.map(|it| it.0),
            acknowledge_ms: it.last.map(ms),
            acknowledge_p99_ms: it.p99.map(ms),
            trouble: it.trouble,
        }
    }
}

impl From<Refusal> for Refused {
    fn from(it: Refusal) -> Self {
        let status = match it {
            Refusal::Wrong(_) => StatusCode::BAD_REQUEST,
            Refusal::Replaced(_) => StatusCode::CONFLICT,
            Refusal::Full => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::Unknown(_) => StatusCode::GONE,
        };
        refused(status, it.to_string())
    }
}

impl Door {
    pub(super) fn proxies(&self) -> Response<Bytes> {
        let revision = self.mesh.catalog().revision().0;
        let proxies = self.compilation.fleet().proxies();
        json(&proxies.into_iter().map(|it| ProxyRow::new(it, revision)).collect::<Vec<_>>())
    }

    /// Answers with the next configuration: at once when the proxy does not have the newest, or when there is a newer one. 204
    /// after a while: then it asks again.
    pub(super) async fn follow(
        &self,
        request: &Request<Bytes>,
    ) -> Result<Response<Bytes>, Refused> {
        let mut ask: Follow = read(request)?;
        let name = ask.name.clone();
        let address = request.extensions().get::<api::ClientIp>();
        let address = address.map_or_else(String::new, |it| it.0.to_string());
        let fleet = self.compilation.fleet();
        let mut contents = self.compilation.contents();
        let with_keys = self.may_have_keys(request);
        if !with_keys && contents.borrow().has_keys() {
            let joint = if ask.trouble.is_empty() { "" } else { "; " };
            ask.trouble = format!("{WITHHELD}{joint}{}", ask.trouble);
            if !self.has_withheld.swap(true, Ordering::Relaxed) {
                tracing::warn!(proxy = name, address, "{WITHHELD}");
            }
        }
        let admitted = fleet.follow(ask, &address, now())?;
        let drain = self.tasks.drain();
        // Who serves by a configuration of this life must be known to the next one.
        tokio::select! {
            () = fleet.remembered(&name) => {}
            () = drain.begun() => {}
        }
        let wait = tokio::time::sleep(FOLLOW_WAIT);
        tokio::pin!(wait);
        loop {
            let content = contents.borrow_and_update().clone();
            if admitted.is_leaving {
                break;
            }
            if content.revision() != admitted.taken {
                // It may have waited, and its token may be gone meanwhile.
                if let Some(refusal) = self.refusal(request) {
                    return Ok(refusal);
                }
                let mut response = reply(StatusCode::OK, "application/json", String::new());
                *response.body_mut() = content.delivery(fleet.life(), with_keys).await;
                return Ok(response);
            }
            tokio::select! {
                changed = contents.changed() => if changed.is_err() { break },
                () = admitted.ended.begun() => break,
                () = drain.begun() => break,
                () = &mut wait => break,
            }
        }
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::NO_CONTENT;
        Ok(response)
    }

    /// With access control the right was asked for; without it, nobody elsewhere is known but by a certificate.
    fn may_have_keys(&self, request: &Request<Bytes>) -> bool {
        let address = request.extensions().get::<api::ClientIp>();
        self.access.acl.settings().enabled
            || address.is_none_or(|it| it.0.to_canonical().is_loopback())
            || request.extensions().get::<VerifiedClient>().is_some()
    }

    /// Takes in what a proxy sees.
    pub(super) fn take_report(&self, request: &Request<Bytes>) -> Result<Response<Bytes>, Refused> {
        let report: Report = read(request)?;
        for sighting in self.compilation.fleet().report(report, now())? {
            self.sightings.see(sighting);
        }
        Ok(json(&true))
    }
}

fn read<T: DeserializeOwned>(request: &Request<Bytes>) -> Result<T, Refused> {
    serde_json::from_slice(request.body()).map_err(|error| bad(format!("the body: {error}")))
}
