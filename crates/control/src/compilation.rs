//! Keeps the proxy configuration at the newest revision of the catalog.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use compiler::{Compiler, ENTRY_GROUP};
use model::{Diagnostic, DocumentKey, Revision};
use proxy_config::ProxyConfig;
use runtime::{Pace, Tasks};
use tokio::sync::{OnceCell, watch};

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
    contents: watch::Receiver<Arc<Content>>,
    diagnostics: Arc<ArcSwap<Vec<(DocumentKey, Diagnostic)>>>,
    fleet: Fleet,
}

/// What proxies have to do, until that changes: revisions that change nothing for them have no content of their own.
pub struct Content {
    config: Arc<ProxyConfig>,
    delivery: OnceCell<Bytes>,
    without_keys: OnceCell<Bytes>,
}

impl fmt::Debug for Content {
    /// What is written holds private keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content").field("revision", &self.revision()).finish_non_exhaustive()
    }
}

impl Content {
    fn new(config: Arc<ProxyConfig>) -> Arc<Self> {
        Arc::new(Self { config, delivery: OnceCell::new(), without_keys: OnceCell::new() })
    }

    /// The first revision that has it.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.config.revision
    }

    /// Private keys belong to it.
    #[must_use]
    pub fn has_keys(&self) -> bool {
        self.config.secrets.values().any(|it| !it.private_key.0.is_empty())
    }

    /// It as it is sent to proxies, with private keys or without: written once, when the first one asks for it.
    pub async fn delivery(&self, life: &str, with_keys: bool) -> Bytes {
        let (delivery, deliver): (_, fn(&ProxyConfig, &str) -> Vec<u8>) = if with_keys {
            (&self.delivery, proxy_config::deliver)
        } else {
            (&self.without_keys, proxy_config::deliver_without_keys)
        };
        let write = || async {
            let (config, life) = (Arc::clone(&self.config), life.to_owned());
            // Some 10 ms for ten thousand endpoints.
            let written = tokio::task::spawn_blocking(move || deliver(&config, &life)).await;
            Bytes::from(written.expect("writing does not panic, and nobody aborts it"))
        };
        delivery.get_or_init(write).await.clone()
    }
}

impl Compilation {
    /// Compiles the catalog as it is now and starts to follow it.
    #[must_use]
    pub fn start(mesh: &Mesh, mut compiler: Compiler, tasks: &Tasks) -> Self {
        let first = compiler.compile(&mesh.catalog());
        tell(&[], &first.diagnostics);
        let fleet = Fleet::default();
        fleet.compiled(first.config.revision, false, runtime::monotonic());
        let (contents_sender, contents) = watch::channel(Content::new(Arc::clone(&first.config)));
        let (sender, configs) = watch::channel(first.config);
        let diagnostics = Arc::new(ArcSwap::from_pointee(first.diagnostics));
        let told = Told {
            configs: sender,
            contents: contents_sender,
            diagnostics: Arc::clone(&diagnostics),
            fleet: fleet.clone(),
        };
        let following = follow(mesh.clone(), compiler, told);
        let drain = tasks.drain();
        tasks.spawn("compiler", async move {
            tokio::select! {
                () = following => {}
                () = drain.begun() => {}
            }
        });
        Self { configs, contents, diagnostics, fleet }
    }

    /// Follows the configuration.
    #[must_use]
    pub fn configs(&self) -> watch::Receiver<Arc<ProxyConfig>> {
        self.configs.clone()
    }

    /// Follows what proxies have to do: it changes only when that does.
    #[must_use]
    pub fn contents(&self) -> watch::Receiver<Arc<Content>> {
        self.contents.clone()
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

/// Who is told of a compilation.
struct Told {
    configs: watch::Sender<Arc<ProxyConfig>>,
    contents: watch::Sender<Arc<Content>>,
    diagnostics: Arc<ArcSwap<Vec<(DocumentKey, Diagnostic)>>>,
    fleet: Fleet,
}

async fn follow(mesh: Mesh, mut compiler: Compiler, told: Told) {
    let mut revisions = mesh.revisions();
    // The catalog may have moved between the first compilation and now.
    revisions.mark_changed();
    let mut pace = Pace::new(REST_MIN);
    while revisions.changed().await.is_ok() {
        revisions.borrow_and_update();
        pace.begin();
        let compiled = compiler.compile(&mesh.catalog());
        tell(&told.diagnostics.load(), &compiled.diagnostics);
        told.diagnostics.store(Arc::new(compiled.diagnostics));
        let before = told.configs.borrow().clone();
        let is_same = compiled.config.is_same_content(&before);
        let committed = mesh.published_after(before.revision).unwrap_or_else(runtime::monotonic);
        told.fleet.compiled(compiled.config.revision, is_same, committed);
        if !is_same {
            told.contents.send_replace(Content::new(Arc::clone(&compiled.config)));
        }
        told.configs.send_replace(compiled.config);
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
