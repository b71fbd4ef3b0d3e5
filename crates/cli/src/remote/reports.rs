//! Tells the agent what the proxy sees.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use control::fleet::{Report, Seen};
use http::StatusCode;
use proxy_config::{EndpointUse, HostUses};
use runtime::Drain;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use traffic::Evidence;

use super::Shared;
use super::link::Link;

/// How often what has changed is told: as often as the agent looks at its workloads.
const PAUSE: Duration = Duration::from_millis(250);
/// Longest pause, for a sign of life: a fifth of what the agent gives a proxy that it does not hear of.
const SILENCE_MAX: Duration = Duration::from_secs(2);
/// Least pause after an endpoint was seen failing.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Sightings of one report.
const SEEN_MAX: usize = 256;

/// Until `left` begins; that is then told, too.
pub(crate) async fn run(shared: Arc<Shared>, link: Link, left: Drain) {
    let evidence = shared.proxy.evidence();
    let mut reporter = Reporter {
        shared,
        link,
        told: BTreeMap::new(),
        told_hosts: HostUses::new(),
        told_at: Instant::now(),
        seen: Vec::new(),
        has_said_leaving: false,
    };
    let reporting = reporter.report(evidence);
    tokio::select! {
        () = reporting => {}
        () = left.begun() => {}
    }
    if reporter.shared.is_joined.load(Ordering::SeqCst) {
        // If this is not heard, the lease ends.
        let _ = reporter.tell(true).await;
    }
}

struct Reporter {
    shared: Arc<Shared>,
    link: Link,
    /// What the agent knows.
    told: BTreeMap<String, EndpointUse>,
    told_hosts: HostUses,
    told_at: Instant,
    /// What it does not know yet.
    seen: Vec<Seen>,
    has_said_leaving: bool,
}

impl Reporter {
    async fn report(&mut self, mut evidence: Option<mpsc::Receiver<Evidence>>) {
        let leaving = self.shared.leaving.clone();
        let mut is_leaving = false;
        let mut next = Instant::now() + PAUSE;
        loop {
            tokio::select! {
                seen = next_of(&mut evidence), if self.seen.len() < SEEN_MAX => {
                    self.seen.push(seen);
                    next = next.min(Instant::now() + PAUSE_MIN);
                    continue;
                }
                () = sleep_until(next) => {}
                () = leaving.begun(), if !is_leaving => is_leaving = true,
            }
            next = Instant::now() + PAUSE;
            if self.shared.is_joined.load(Ordering::SeqCst)
                && let Err(error) = self.tell(false).await
            {
                // The other conversation says it in the log.
                tracing::debug!(%error, "a report did not arrive");
                sleep(PAUSE).await;
            }
        }
    }

    /// Tells what has changed, if something has or the agent was not told anything for long.
    async fn tell(&mut self, left: bool) -> anyhow::Result<()> {
        // Asked first: with the word that it leaves goes what is under way since then.
        let leaving = self.shared.leaving.has_begun();
        let (at, uses, hosts) = self.shared.look();
        let (changed, changed_hosts) =
            (news(&mut self.told, uses), news(&mut self.told_hosts, hosts));
        let is_due = left
            || !changed.is_empty()
            || !changed_hosts.is_empty()
            || !self.seen.is_empty()
            || leaving != self.has_said_leaving
            || self.told_at.elapsed() >= SILENCE_MAX;
        if !is_due {
            return Ok(());
        }
        let report = Report {
            name: self.shared.name.clone(),
            life: self.shared.life.clone(),
            at,
            uses: changed.clone(),
            hosts: changed_hosts.clone(),
            seen: self.seen.clone(),
            leaving,
            left,
        };
        let body = serde_json::to_vec(&report)?;
        let (status, body) =
            self.link.post("/leno/v1/proxies/report", body, ANSWER_TIMEOUT).await?;
        match status {
            StatusCode::OK => {
                self.told_at = Instant::now();
                self.told.extend(changed);
                self.told_hosts.extend(changed_hosts);
                self.seen.clear();
                self.has_said_leaving = leaving;
                Ok(())
            }
            StatusCode::GONE => {
                self.shared.is_joined.store(false, Ordering::SeqCst);
                self.shared.rejoin.notify_one();
                Ok(())
            }
            _ => anyhow::bail!("{status}: {}", String::from_utf8_lossy(&body).trim()),
        }
    }
}

/// What is not as it was told; what is gone is forgotten.
fn news<T: PartialEq>(
    told: &mut BTreeMap<String, T>,
    now: BTreeMap<String, T>,
) -> BTreeMap<String, T> {
    told.retain(|id, _| now.contains_key(id));
    now.into_iter().filter(|(id, it)| told.get(id) != Some(it)).collect()
}

async fn next_of(evidence: &mut Option<mpsc::Receiver<Evidence>>) -> Seen {
    let seen = match evidence {
        Some(evidence) => evidence.recv().await,
        None => None,
    };
    match seen {
        Some(it) => Seen {
            endpoint: it.endpoint,
            kind: it.kind.as_str().to_owned(),
            ejected_ms: it.ejected_ns / 1_000_000,
        },
        // The proxy has ended.
        None => std::future::pending().await,
    }
}
