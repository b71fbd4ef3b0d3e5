//! Keeps the proxy configuration at the newest revision of the catalog.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use compiler::{Compiler, ENTRY_GROUP};
use model::{Diagnostic, DocumentKey, Revision};
use proxy_config::ProxyConfig;
use runtime::{Pace, Tasks};
use tokio::sync::watch;

use crate::fleet::Fleet;
use crate::mesh::Mesh;

/// Least rest between two compilations: under a storm of changes 100 snapshots a second are enough, and a lone
/// change is compiled at once.
const REST_MIN: Duration = Duration::from_millis(10);
/// How long a document's status may wait for the compiler.
const REACH_TIMEOUT: Duration = Duration::from_secs(5);

/// The newest compiled configuration. A cheap clone.
#[derive(Clone)]
pub struct Compilation {
    configs: watch::Receiver<Arc<ProxyConfig>>,
    diagnostics: Arc<ArcSwap<Vec<(DocumentKey, Diagnostic)>>>,
    fleet: Fleet,
}

impl Compilation {
    /// Compiles the catalog as it is now and starts to follow it.
    #[must_use]
    pub fn start(mesh: &Mesh, mut compiler: Compiler, tasks: &Tasks) -> Self {
        let first = compiler.compile(&mesh.catalog());
        tell(&[], &first.diagnostics);
        let (sender, configs) = watch::channel(first.config);
        let diagnostics = Arc::new(ArcSwap::from_pointee(first.diagnostics));
        let following = follow(mesh.clone(), compiler, sender, Arc::clone(&diagnostics));
        let drain = tasks.drain();
        tasks.spawn("compiler", async move {
            tokio::select! {
                () = following => {}
                () = drain.begun() => {}
            }
        });
        Self { configs, diagnostics, fleet: Fleet::default() }
    }

    /// Follows the configuration.
    #[must_use]
    pub fn configs(&self) -> watch::Receiver<Arc<ProxyConfig>> {
        self.configs.clone()
    }

    /// The proxies that follow the configuration.
    #[must_use]
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// What the compiler found about one document.
    #[must_use]
    pub fn diagnostics_of(&self, key: &DocumentKey) -> Vec<Diagnostic> {
        let all = self.diagnostics.load();
        all.iter().filter(|(of, _)| of == key).map(|(_, diagnostic)| diagnostic.clone()).collect()
    }

    /// Waits until the configuration is at least of this revision (5 s at most).
    pub async fn reached(&self, revision: Revision) {
        let mut configs = self.configs.clone();
        let reached = configs.wait_for(|config| config.revision >= revision);
        let _ = tokio::time::timeout(REACH_TIMEOUT, reached).await;
    }
}

async fn follow(
    mesh: Mesh,
    mut compiler: Compiler,
    sender: watch::Sender<Arc<ProxyConfig>>,
    diagnostics: Arc<ArcSwap<Vec<(DocumentKey, Diagnostic)>>>,
) {
    let mut revisions = mesh.revisions();
    // The catalog may have moved between the first compilation and now.
    revisions.mark_changed();
    let mut pace = Pace::new(REST_MIN);
    while revisions.changed().await.is_ok() {
        revisions.borrow_and_update();
        pace.begin();
        let compiled = compiler.compile(&mesh.catalog());
        tell(&diagnostics.load(), &compiled.diagnostics);
        diagnostics.store(Arc::new(compiled.diagnostics));
        sender.send_replace(compiled.config);
        pace.rest().await;
    }
}

/// Logs what is new of configuration entries. Who writes one is answered as Consul does, and has no other place to read
/// it; a document's findings are in its status.
fn tell(before: &[(DocumentKey, Diagnostic)], now: &[(DocumentKey, Diagnostic)]) {
    if before == now {
        return;
    }
    let is_about_entry = |it: &&(DocumentKey, Diagnostic)| it.0.group == ENTRY_GROUP;
    let told: BTreeSet<(&DocumentKey, &str, &str)> = before
        .iter()
        .filter(is_about_entry)
        .map(|(key, it)| (key, it.field.as_str(), it.message.as_str()))
        .collect();
    for (key, finding) in now.iter().filter(is_about_entry) {
        if !told.contains(&(key, finding.field.as_str(), finding.message.as_str())) {
            tracing::warn!(entry = %key, %finding, "not honored as it is written");
        }
    }
}
