use std::future::Future;
use std::time::Duration;

use model::{CheckDefinition, CheckStatus, CheckType};

mod dial;
mod duration_text;
mod grpc;
mod h2ping;
mod http;
mod script;
mod tail;
mod tcp;
#[cfg(test)]
mod tests;
mod tls;
mod udp;

use tls::Tls;

/// Timeout when a check gives none (Consul's default for everything but scripts).
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
/// Longer timeouts mean "never" and would only overflow clocks.
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);

/// What one run of a check saw.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ProbeResult {
    pub(super) status: CheckStatus,
    /// For people: at most the bytes that the check keeps of what it read, and a line around them.
    pub(super) output: String,
}

impl ProbeResult {
    fn passing(output: impl Into<String>) -> Self {
        Self { status: CheckStatus::Passing, output: output.into() }
    }

    fn critical(output: impl Into<String>) -> Self {
        Self { status: CheckStatus::Critical, output: output.into() }
    }
}

/// Runs checks.
pub(super) trait Prober: Send + Sync + 'static {
    /// Runs a check once, within its timeout.
    fn probe(&self, definition: &CheckDefinition) -> impl Future<Output = ProbeResult> + Send;
}

/// Runs checks over the network of this machine.
pub(super) struct Network {
    script_checks: bool,
    tls: Tls,
}

impl Network {
    /// Certificates are checked against the roots of the operating system.
    pub(super) fn new(script_checks: bool) -> Self {
        Self { script_checks, tls: Tls::with_native_roots() }
    }
}

impl Prober for Network {
    async fn probe(&self, definition: &CheckDefinition) -> ProbeResult {
        match definition.check_type() {
            Some(CheckType::Http) => http::probe(definition, &self.tls).await,
            Some(CheckType::Tcp) => tcp::probe(definition, &self.tls).await,
            Some(CheckType::Udp) => udp::probe(definition).await,
            Some(CheckType::Grpc) => grpc::probe(definition, &self.tls).await,
            Some(CheckType::H2Ping) => h2ping::probe(definition, &self.tls).await,
            Some(CheckType::Script) if self.script_checks => script::probe(definition).await,
            Some(CheckType::Script) => ProbeResult::critical(
                "Scripts are disabled on this agent; to enable, configure 'enable_script_checks' to \
                 true",
            ),
            Some(CheckType::Docker) => {
                ProbeResult::critical("Docker checks are not supported by this agent")
            }
            Some(CheckType::OsService) => {
                ProbeResult::critical("OS service checks are not supported by this agent")
            }
            Some(CheckType::Alias | CheckType::Ttl) | None => {
                ProbeResult::critical("There is nothing to run for this check")
            }
        }
    }
}

/// The timeout of one run.
fn timeout_of(definition: &CheckDefinition, default: Duration) -> Duration {
    match definition.timeout {
        Duration::ZERO => default,
        asked => asked.min(TIMEOUT_MAX),
    }
}
