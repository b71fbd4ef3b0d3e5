//! What the agent counts, and its text for Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use api::{AgentInfo, WriteOutcome};
use model::{Catalog, CheckStatus};

/// Counters of one agent. Adding is a relaxed atomic operation.
#[derive(Debug, Default)]
pub struct Metrics {
    responses: [AtomicU64; 5],
    commands_done: AtomicU64,
    commands_rejected: AtomicU64,
    commands_failed: AtomicU64,
    blocked: AtomicI64,
}

impl Metrics {
    /// A request was answered with this status.
    pub fn count_response(&self, status: http::StatusCode) {
        let class = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
        self.responses[class].fetch_add(1, Ordering::Relaxed);
    }

    /// A command came to this end.
    pub fn count_command(&self, outcome: &WriteOutcome) {
        let counter = match outcome {
            WriteOutcome::Done(_) => &self.commands_done,
            WriteOutcome::Rejected(_) => &self.commands_rejected,
            WriteOutcome::Failed(_) => &self.commands_failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// A blocking query waits while the guard lives.
    pub fn blocked(&self) -> Blocked<'_> {
        self.blocked.fetch_add(1, Ordering::Relaxed);
        Blocked(self)
    }

    /// The text for Prometheus. Reads the catalog and atomics only; O(checks).
    #[must_use]
    pub fn prometheus(&self, catalog: &Catalog, agent: &AgentInfo) -> String {
        let mut text = String::with_capacity(4096);
        let datacenter = escaped(&agent.datacenter);
        let one = |text: &mut String, name: &str, kind: &str, help: &str, value: u64| {
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
            let _ = writeln!(text, "{name}{{datacenter=\"{datacenter}\"}} {value}");
        };
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        one(&mut text, "consul_state_nodes", "gauge", "Nodes.", count(catalog.node_count()));
        let services = count(catalog.services().count());
        one(&mut text, "consul_state_services", "gauge", "Services.", services);
        let instances = count(catalog.instance_count());
        one(&mut text, "consul_state_service_instances", "gauge", "Instances.", instances);
        let revision = catalog.revision().0;
        one(&mut text, "leno_catalog_revision", "gauge", "Revision of the catalog.", revision);
        let blocked = self.blocked.load(Ordering::Relaxed).max(0).unsigned_abs();
        one(&mut text, "leno_blocked_queries", "gauge", "Blocking queries that wait.", blocked);
        let documents = count(catalog.documents().count());
        one(&mut text, "leno_documents", "gauge", "Declared documents.", documents);
        text.push_str("# HELP leno_checks Checks by status.\n# TYPE leno_checks gauge\n");
        for (status, number) in checks_by_status(catalog) {
            let _ = writeln!(text, "leno_checks{{status=\"{status}\"}} {number}");
        }
        text.push_str("# HELP leno_http_responses_total Answers of the HTTP API.\n");
        text.push_str("# TYPE leno_http_responses_total counter\n");
        for (idx, responses) in self.responses.iter().enumerate() {
            let (class, number) = (idx + 1, responses.load(Ordering::Relaxed));
            let _ = writeln!(text, "leno_http_responses_total{{code=\"{class}xx\"}} {number}");
        }
        text.push_str("# HELP leno_commands_total Commands by what came of them.\n");
        text.push_str("# TYPE leno_commands_total counter\n");
        let commands = [
            ("done", &self.commands_done),
            ("rejected", &self.commands_rejected),
            ("failed", &self.commands_failed),
        ];
        for (result, counter) in commands {
            let number = counter.load(Ordering::Relaxed);
            let _ = writeln!(text, "leno_commands_total{{result=\"{result}\"}} {number}");
        }
        text
    }
}

fn checks_by_status(catalog: &Catalog) -> BTreeMap<CheckStatus, u64> {
    let mut counts = BTreeMap::from([
        (CheckStatus::Passing, 0),
        (CheckStatus::Warning, 0),
        (CheckStatus::Critical, 0),
    ]);
    for check in catalog.checks() {
        *counts.entry(check.status).or_default() += 1;
    }
    counts
}

/// A label value as Prometheus wants it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// A blocking query that waits.
#[derive(Debug)]
pub struct Blocked<'a>(&'a Metrics);

impl Drop for Blocked<'_> {
    fn drop(&mut self) {
        self.0.blocked.fetch_sub(1, Ordering::Relaxed);
    }
}
