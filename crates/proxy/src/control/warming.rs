use std::sync::Arc;
use std::time::Duration;

use proxy_config::{ProxyConfig, Resolution};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::{COMMANDS_MAX, ControlCommand, Controller, NewSockets, Sockets, log};
use crate::error::ProxyError;

/// For the first answers to names; a name service that is down keeps no proxy from serving what needs none.
const NAMES_TIMEOUT: Duration = Duration::from_secs(5);

/// The first picks are to be right: before, the names of endpoints are looked up, and those with health checks have
/// one result each. Meanwhile connections wait in the queues of the kernel.
impl Controller {
    /// True when a cluster has something to wait for.
    pub(super) fn must_warm(&self) -> bool {
        self.asked.clusters.keys().any(|name| has_to_warm(&self.asked, name))
    }

    /// Gives the workers the clusters, but no listeners.
    pub(super) async fn publish_unserved(&mut self) -> Result<(), ProxyError> {
        let config = self.names.resolved(&self.asked);
        let Some((sockets, _)) = &self.unserved else { return Ok(()) };
        let sockets = sockets.clone();
        // What is wrong is told when the listeners are there.
        self.publish(config, &sockets, NewSockets::new()).await?;
        self.show_warming();
        Ok(())
    }

    /// Waits for the first results, then serves. `None` when the proxy ended.
    pub(super) async fn warm(
        &mut self,
        commands: &mut mpsc::Receiver<ControlCommand>,
    ) -> Option<()> {
        if self.unserved.is_none() {
            return Some(());
        }
        let deadline = Instant::now() + NAMES_TIMEOUT;
        self.hold(self.names.first_answers(), deadline, commands).await?;
        if let Err(error) = self.publish_unserved().await {
            log(&error);
            return None;
        }
        let deadline = Instant::now() + self.checks.first_results_within();
        self.hold(self.checks.first_results(), deadline, commands).await?;
        let (sockets, new): (Sockets, NewSockets) = self.unserved.take()?;
        let config = self.names.resolved(&self.asked);
        match self.publish(config, &sockets, new).await {
            Ok(errors) => errors.iter().for_each(log),
            Err(error) => {
                log(&error);
                return None;
            }
        }
        self.shared.is_warm.send_replace(true);
        Some(())
    }

    /// Gives clusters that are new in `config` their first results before a request can go there: they are added to
    /// what holds now, where no route leads to them. `None` when the proxy ended.
    pub(super) async fn warm_new(
        &mut self,
        config: &ProxyConfig,
        commands: &mut mpsc::Receiver<ControlCommand>,
    ) -> Option<()> {
        let is_new =
            |name: &&String| !self.asked.clusters.contains_key(*name) && has_to_warm(config, name);
        let new: Vec<&String> = config.clusters.keys().filter(is_new).collect();
        if new.is_empty() || self.workers.is_empty() {
            return Some(());
        }
        let mut both = ProxyConfig::clone(&self.asked);
        for name in new {
            both.clusters.insert(name.clone(), config.clusters[name].clone());
            both.endpoints.insert(name.clone(), config.endpoints[name].clone());
        }
        for (name, secret) in &config.secrets {
            both.secrets.entry(name.clone()).or_insert_with(|| secret.clone());
        }
        let both = Arc::new(both);
        self.names.follow(&both, &self.shared.stats);
        let deadline = Instant::now() + NAMES_TIMEOUT;
        self.hold(self.names.first_answers(), deadline, commands).await?;
        // What is wrong with it is told when the whole change is taken.
        if let Err(error) = self.update(both).await {
            log(&error);
        }
        let deadline = Instant::now() + self.checks.first_results_within();
        self.hold(self.checks.first_results(), deadline, commands).await
    }

    /// Waits for `ready`, but not beyond the deadline; commands that come meanwhile are obeyed afterwards. `None` when
    /// the proxy shall end.
    async fn hold(
        &mut self,
        ready: impl Future<Output = ()>,
        deadline: Instant,
        commands: &mut mpsc::Receiver<ControlCommand>,
    ) -> Option<()> {
        let mut ready = std::pin::pin!(ready);
        loop {
            tokio::select! {
                () = &mut ready => return Some(()),
                () = sleep_until(deadline) => {
                    let clusters: Vec<String> = self.names.waiting().into_iter().collect();
                    tracing::warn!(?clusters, "serving before every name and check has a result");
                    return Some(());
                }
                command = commands.recv(), if self.held.len() < COMMANDS_MAX => match command {
                    Some(ControlCommand::Drain { deadline, begun, reply }) => {
                        self.unserved = None;
                        self.drain(deadline, &begun, reply, commands).await;
                        return None;
                    }
                    Some(command) => self.held.push_back(command),
                    None => return None,
                },
            }
        }
    }

    /// Lets the admin surface say what is waited for.
    fn show_warming(&self) {
        let published = self.shared.published.load();
        let clusters = published.snapshot.clusters.iter();
        let unchecked = clusters.filter(|(_, it)| !it.cluster().health_checks.is_empty());
        let mut warming = self.names.waiting();
        warming.extend(unchecked.map(|(name, _)| name.clone()));
        self.shared.published.rcu(|it| {
            let (snapshot, listeners) = (it.snapshot.clone(), it.listeners.clone());
            let (warming, departed) = (warming.clone(), it.departed.clone());
            crate::handle::Published { snapshot, listeners, warming, departed }
        });
    }
}

/// True when requests must not go to the cluster before names are looked up or checks are made.
fn has_to_warm(config: &ProxyConfig, cluster: &str) -> bool {
    let has_endpoints = config.endpoints.get(cluster).is_some_and(|it| !it.endpoints.is_empty());
    has_endpoints
        && config.clusters.get(cluster).is_some_and(|it| {
            matches!(it.resolution, Resolution::Strict { .. }) || !it.health_checks.is_empty()
        })
}
