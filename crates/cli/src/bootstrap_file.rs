//! A bootstrap file and the files that it names.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use xds::bootstrap::{self, Bootstrap, Finding, ReadError, Severity};

use crate::usable;

/// A larger file is no certificate and no text of an answer.
const NAMED_BYTES_MAX: u64 = 4 << 20;

/// A bootstrap file.
pub(crate) struct BootstrapFile {
    path: PathBuf,
    /// What it said when it was last read whole.
    text: String,
    /// The files that it named then.
    named: BTreeSet<PathBuf>,
}

impl BootstrapFile {
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), text: String::new(), named: BTreeSet::new() }
    }

    /// The files that it names.
    pub(crate) fn named(&self) -> &BTreeSet<PathBuf> {
        &self.named
    }

    /// Reads it. What was read before is kept when it is wrong.
    ///
    /// # Errors
    /// When it, or a secret that it names, cannot be used.
    pub(crate) fn read(&mut self) -> anyhow::Result<(Bootstrap, Vec<Finding>)> {
        let path = self.path.display();
        let text = fs::read_to_string(&self.path)
            .with_context(|| format!("cannot read {path}; give a file with --config"))?;
        let found = self.take(&text)?;
        self.text = text;
        Ok(found)
    }

    /// Reads only the files that it names once more.
    ///
    /// # Errors
    /// When one of them cannot be used.
    pub(crate) fn read_named(&mut self) -> anyhow::Result<(Bootstrap, Vec<Finding>)> {
        let text = std::mem::take(&mut self.text);
        let found = self.take(&text);
        self.text = text;
        found
    }

    fn take(&mut self, text: &str) -> anyhow::Result<(Bootstrap, Vec<Finding>)> {
        let path = self.path.display();
        let mut named = BTreeSet::new();
        match read_text(text, &mut named) {
            Ok(found) => {
                self.named = named;
                Ok(found)
            }
            Err(error) => bail!("{path} cannot be used:\n{error}"),
        }
    }
}

/// Reads a bootstrap, and collects the files that it names. What is given out can be used.
pub(crate) fn read_text(
    text: &str,
    named: &mut BTreeSet<PathBuf>,
) -> Result<(Bootstrap, Vec<Finding>), ReadError> {
    let (bootstrap, mut findings) = bootstrap::read(text, &mut |name| {
        named.insert(PathBuf::from(name));
        read_named(name).map_err(|error| format!("{error:#}"))
    })?;
    findings.extend(usable::check(&bootstrap.config));
    if findings.iter().any(|it| it.severity == Severity::Error) {
        Err(ReadError::Wrong { findings })
    } else {
        Ok((bootstrap, findings))
    }
}

fn read_named(name: &str) -> anyhow::Result<String> {
    let length = fs::metadata(name)?.len();
    if length > NAMED_BYTES_MAX {
        bail!("{length} bytes are more than the {NAMED_BYTES_MAX} allowed");
    }
    Ok(fs::read_to_string(name)?)
}

/// Tells when something changes in the folders of files. Folders, because files are replaced by renaming, and in
/// Kubernetes by a link next to them.
pub(crate) struct Watch {
    watcher: Option<RecommendedWatcher>,
    sender: mpsc::Sender<()>,
    changes: mpsc::Receiver<()>,
    folders: BTreeSet<PathBuf>,
}

impl Watch {
    /// Without files there is nothing to watch, and no thread that does.
    pub(crate) fn start(files: &BTreeSet<PathBuf>) -> Self {
        // One change that was not looked at yet stands for all.
        let (sender, changes) = mpsc::channel(1);
        let mut watch = Self { watcher: None, sender, changes, folders: BTreeSet::new() };
        watch.follow(files);
        watch
    }

    /// Watches these files from now on. Files that cannot be watched are still read on SIGHUP.
    pub(crate) fn follow(&mut self, files: &BTreeSet<PathBuf>) {
        let folders: BTreeSet<PathBuf> = files.iter().map(|it| folder_of(it)).collect();
        if folders == self.folders {
            return;
        }
        if let Err(error) = self.watch(&folders) {
            tracing::warn!(%error, "certificates cannot be watched; send SIGHUP when they change");
        }
        self.folders = folders;
    }

    fn watch(&mut self, folders: &BTreeSet<PathBuf>) -> notify::Result<()> {
        let watcher = match &mut self.watcher {
            Some(watcher) => watcher,
            none => {
                let sender = self.sender.clone();
                none.insert(notify::recommended_watcher(move |event: notify::Result<Event>| {
                    // Reading is no change; that of this process would wake it forever.
                    if !matches!(event, Ok(Event { kind: EventKind::Access(_), .. })) {
                        let _ = sender.try_send(());
                    }
                })?)
            }
        };
        for gone in self.folders.difference(folders) {
            // It may have been removed, and with it its watch.
            let _ = watcher.unwatch(gone);
        }
        for new in folders.difference(&self.folders) {
            watcher.watch(new, RecursiveMode::NonRecursive)?;
        }
        Ok(())
    }

    /// The next change. Cancel-safe.
    pub(crate) async fn next(&mut self) {
        // `self` holds a sender, so there is always an end that may send.
        self.changes.recv().await;
    }
}

fn folder_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(folder) if folder != Path::new("") => folder.to_owned(),
        Some(_) | None => PathBuf::from("."),
    }
}
