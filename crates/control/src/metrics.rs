//! What the agent counts, and its text for Prometheus.

use std::fmt::Write;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use api::{AgentInfo, WriteOutcome};
use model::{Catalog, CheckStatus};

const STATUSES: [CheckStatus; 3] =
    [CheckStatus::Passing, CheckStatus::Warning, CheckStatus::Critical];

/// Counters of one agent. Adding is a relaxed atomic operation.
#[derive(Debug, Default)]
pub struct Metrics {
    responses: [AtomicU64; 5],
    commands_done: AtomicU64,
    commands_rejected: AtomicU64,
    commands_failed: AtomicU64,
    beyond_rate: AtomicU64,
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
            WriteOutcome::Done(..) => &self.commands_done,
            WriteOutcome::Rejected(_) => &self.commands_rejected,
            WriteOutcome::Failed(_) => &self.commands_failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// A request was beyond the rate limits.
    pub fn count_beyond_rate(&self) {
        self.beyond_rate.fetch_add(1, Ordering::Relaxed);
    }

    /// A blocking query waits while the guard lives.
    pub fn blocked(&self) -> Blocked<'_> {
        self.blocked.fetch_add(1, Ordering::Relaxed);
        Blocked(self)
    }

    /// The text for Prometheus. Reads counts and atomics only.
    #[must_use]
    pub fn prometheus(&self, catalog: &Catalog, agent: &AgentInfo) -> String {
        let mut text = String::with_capacity(4096);
        for family in self.families(catalog, agent) {
            let (kind, suffix) = match family.kind {
                Kind::Gauge => ("gauge", ""),
                Kind::Counter => ("counter", "_total"),
            };
            let name = format!("{}{suffix}", family.name.replace('.', "_"));
            let _ = write!(text, "# HELP {name} {}\n# TYPE {name} {kind}\n", family.help);
            for Sample { value, label } in family.samples {
                let _ =
                    writeln!(text, "{name}{{{}=\"{}\"}} {value}", family.label, escaped(&label));
            }
        }
        text
    }

    /// The same as `agent/metrics` of Consul gives it. Counters count from the start of the agent, not over the last
    /// ten seconds, so their `Rate` is left at 0. `now` is in milliseconds since the Unix epoch.
    #[must_use]
    pub fn json(&self, catalog: &Catalog, agent: &AgentInfo, now: u64) -> String {
        let (mut gauges, mut counters) = (Vec::new(), Vec::new());
        for family in self.families(catalog, agent) {
            for Sample { value, label } in family.samples {
                let labels = serde_json::json!({ family.label: label });
                match family.kind {
                    Kind::Gauge => gauges.push(serde_json::json!({
                        "Name": family.name, "Value": value, "Labels": labels,
                    })),
                    Kind::Counter => {
                        let one = u64::from(value > 0);
                        counters.push(serde_json::json!({
                            "Name": family.name, "Count": value, "Rate": 0, "Sum": value,
                            "Min": one, "Max": one, "Mean": one, "Stddev": 0, "Labels": labels,
                        }));
                    }
                }
            }
        }
        // Consul's libraries put the host's name into those of the process; dashboards know them so.
        let host = runtime::host_name().unwrap_or_default();
        let memory = runtime::memory_use();
        for (name, value) in [("alloc_bytes", memory.resident), ("sys_bytes", memory.mapped)] {
            let name = format!("consul.{host}.runtime.{name}");
            gauges.push(serde_json::json!({ "Name": name, "Value": value, "Labels": {} }));
        }
        let all = serde_json::json!({
            "Timestamp": go_time(now),
            "Gauges": gauges, "Points": [], "Counters": counters, "Samples": [],
        });
        all.to_string()
    }

    fn families(&self, catalog: &Catalog, agent: &AgentInfo) -> Vec<Family> {
        let count = |number: usize| number as u64;
        let one = |name, help, value| {
            let samples = vec![Sample { value, label: agent.datacenter.clone() }];
            Family { name, help, kind: Kind::Gauge, label: "datacenter", samples }
        };
        let blocked = self.blocked.load(Ordering::Relaxed).max(0).unsigned_abs();
        let checks = STATUSES.into_iter().map(|status| Sample {
            value: count(catalog.check_count_by(status)),
            label: status.to_string(),
        });
        let sample = |label: String, counter: &AtomicU64| Sample {
            value: counter.load(Ordering::Relaxed),
            label,
        };
        let responses = self.responses.iter().zip(1..);
        let responses = responses.map(|(counter, class)| sample(format!("{class}xx"), counter));
        let commands = vec![
            sample("done".into(), &self.commands_done),
            sample("rejected".into(), &self.commands_rejected),
            sample("failed".into(), &self.commands_failed),
        ];
        let services = count(catalog.service_count());
        let documents = count(catalog.document_count());
        vec![
            one("consul.state.nodes", "Nodes.", count(catalog.node_count())),
            one("consul.state.services", "Services.", services),
            one("consul.state.service_instances", "Instances.", count(catalog.instance_count())),
            // Alerts that people have for Consul ask for these.
            one("consul.autopilot.healthy", "The agent answers, so it is healthy.", 1),
            one("consul.server.isLeader", "The agent is the one server of its store.", 1),
            one("consul.raft.peers", "Servers of the store.", 1),
            one("leno.catalog_revision", "Revision of the catalog.", catalog.revision().0),
            one("leno.blocked_queries", "Blocking queries that wait.", blocked),
            one("leno.documents", "Declared documents.", documents),
            Family {
                name: "leno.checks",
                help: "Checks by status.",
                kind: Kind::Gauge,
                label: "status",
                samples: checks.collect(),
            },
            Family {
                name: "leno.http_responses",
                help: "Answers of the HTTP API.",
                kind: Kind::Counter,
                label: "code",
                samples: responses.collect(),
            },
            Family {
                name: "leno.requests_beyond_rate",
                help: "Requests beyond the rate limits, refused or not.",
                kind: Kind::Counter,
                label: "datacenter",
                samples: vec![sample(agent.datacenter.clone(), &self.beyond_rate)],
            },
            Family {
                name: "leno.commands",
                help: "Commands by what came of them.",
                kind: Kind::Counter,
                label: "result",
                samples: commands,
            },
        ]
    }
}

/// What is counted under one name.
struct Family {
    /// As Consul writes it; Prometheus has `_` for each dot, and counters end in `_total`.
    name: &'static str,
    help: &'static str,
    kind: Kind,
    /// The one label that its samples have.
    label: &'static str,
    samples: Vec<Sample>,
}

#[derive(Clone, Copy)]
enum Kind {
    Gauge,
    Counter,
}

struct Sample {
    value: u64,
    label: String,
}

/// A label value as Prometheus wants it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// A time as Go prints it, in UTC: `2026-01-31 23:59:59 +0000 UTC`.
fn go_time(unix_ms: u64) -> String {
    let seconds = unix_ms / 1000;
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Days to a date by Howard Hinnant's `civil_from_days`: years begin in March, so that leap days come last.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year_of_era = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} +0000 UTC")
}

/// A blocking query that waits.
#[derive(Debug)]
pub struct Blocked<'a>(&'a Metrics);

impl Drop for Blocked<'_> {
    fn drop(&mut self) {
        self.0.blocked.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_in_go() {
        assert_eq!(go_time(0), "1970-01-01 00:00:00 +0000 UTC");
        assert_eq!(go_time(951_782_399_000), "2000-02-28 23:59:59 +0000 UTC");
        assert_eq!(go_time(951_782_400_000), "2000-02-29 00:00:00 +0000 UTC");
        assert_eq!(go_time(1_798_761_599_999), "2026-12-31 23:59:59 +0000 UTC");
    }
}
