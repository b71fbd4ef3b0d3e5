//! Follows a folder of documents: what is in it is declared, what leaves it is removed.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use api::WriteOutcome;
use model::{Diagnostic, DocumentKey};
use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use registry::{Command, DocumentsChange, Rejection};
use runtime::Tasks;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::agent::AgentError;
use crate::documents::{Reading, read_all};
use crate::mesh::Mesh;

#[cfg(test)]
mod tests;

/// Editors and `git checkout` write several files in a row: wait until it has been quiet for so long.
const QUIET: Duration = Duration::from_millis(200);
/// A folder in which something changes all the time is read so often all the same.
const UNREST_MAX: Duration = Duration::from_secs(2);
/// Pause before a folder that could not be read, written or watched is looked at again.
const RETRY_PAUSE: Duration = Duration::from_secs(5);
/// Most bytes of all its files: a thousand services with a thousand lines each.
const FOLDER_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Where documents of the folder say that they come from, before the path.
pub(crate) const SOURCE_PREFIX: &str = "manifests:";

/// A folder whose documents are applied.
pub struct ManifestFolder {
    path: PathBuf,
}

impl ManifestFolder {
    /// Applies the folder as it is now. A wrong document is logged, and the agent starts with what it had: a typo must
    /// not keep a machine's registry and proxy down after a reboot.
    ///
    /// # Errors
    /// When the folder cannot be read, or the store cannot be written.
    pub async fn open(path: &Path, mesh: &Mesh) -> Result<Self, AgentError> {
        let failed = |source| AgentError::Manifests { path: path.to_owned(), source };
        let folder = Self { path: std::path::absolute(path).map_err(failed)? };
        match folder.apply(mesh).await {
            Ok(()) => Ok(folder),
            Err(Failure::Read(source)) => Err(failed(source)),
            Err(Failure::Documents(errors)) => {
                log_errors(&errors);
                Ok(folder)
            }
            Err(Failure::Write(reason)) => Err(AgentError::Apply { path: path.to_owned(), reason }),
        }
    }

    /// Applies the folder again whenever it changes. A wrong document leaves everything as it was.
    pub fn follow(self, mesh: Mesh, tasks: &Tasks) {
        let drain = tasks.drain();
        tasks.spawn("manifest folder", async move {
            tokio::select! {
                () = self.follow_changes(mesh) => {}
                () = drain.begun() => {}
            }
        });
    }

    async fn follow_changes(self, mesh: Mesh) {
        let (sender, mut events) = mpsc::channel(1);
        loop {
            // Watches hold on to folders and not to their names: after a change they are set up anew, and then the
            // folder is read, so that nothing is missed when a name leads somewhere else now.
            let watcher = self.watch(sender.clone());
            if let Err(error) = &watcher {
                let path = self.path.display();
                tracing::error!(%error, %path, "cannot watch the manifests; looking now and then");
            }
            settle(&mut events).await;
            let applied = self.apply_and_tell(&mesh).await;
            let is_done = applied && watcher.is_ok();
            tokio::select! {
                _ = events.recv() => {}
                () = sleep(RETRY_PAUSE), if !is_done => {}
            }
        }
    }

    fn watch(&self, sender: mpsc::Sender<()>) -> notify::Result<RecommendedWatcher> {
        let folder = self.path.clone();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.is_ok_and(|event| !concerns(&event, &folder)) {
                return;
            }
            // One waiting event is enough: the folder is read whole.
            let _ = sender.try_send(());
        })?;
        if let Some(parent) = self.path.parent() {
            // The folder itself may be replaced, as a symlink to the current release is.
            watcher.watch(parent, RecursiveMode::NonRecursive)?;
        }
        watcher.watch(&self.path, RecursiveMode::Recursive)?;
        Ok(watcher)
    }

    /// False when it may go better later, though no file changes.
    async fn apply_and_tell(&self, mesh: &Mesh) -> bool {
        let path = self.path.display();
        match self.apply(mesh).await {
            Ok(()) => true,
            Err(Failure::Read(error)) => {
                tracing::error!(%error, %path, "cannot read the manifests");
                false
            }
            Err(Failure::Documents(errors)) => {
                log_errors(&errors);
                true
            }
            Err(Failure::Write(error)) => {
                tracing::error!(error, %path, "the manifests are not applied");
                false
            }
        }
    }

    async fn apply(&self, mesh: &Mesh) -> Result<(), Failure> {
        let path = self.path.clone();
        let files = tokio::task::spawn_blocking(move || read_folder(&path)).await;
        let files = files.map_err(io::Error::other).flatten().map_err(Failure::Read)?;
        let Reading { mut documents, errors } =
            read_all(files.iter().map(|(path, text)| (path.as_str(), text.as_str())));
        if !errors.is_empty() {
            return Err(Failure::Documents(errors));
        }
        for document in &mut documents {
            document.source = format!("{SOURCE_PREFIX}{}", document.source);
        }
        let kept: BTreeSet<&DocumentKey> = documents.iter().map(|it| &it.key).collect();
        let gone: Vec<DocumentKey> = mesh
            .catalog()
            .documents()
            .filter(|it| it.source.starts_with(SOURCE_PREFIX) && !kept.contains(&it.key))
            .map(|it| it.key.clone())
            .collect();
        for document in &documents {
            for diagnostic in &document.diagnostics {
                tracing::warn!("{diagnostic}");
            }
        }
        let change = DocumentsChange { put: documents, delete: gone, read_at: Vec::new() };
        match mesh.run(Command::ChangeDocuments(change)).await {
            WriteOutcome::Done(..) => Ok(()),
            WriteOutcome::Rejected(Rejection::Rivals(rivals)) => Err(Failure::Documents(rivals)),
            WriteOutcome::Rejected(rejection) => Err(Failure::Write(rejection.to_string())),
            WriteOutcome::Failed(error) => Err(Failure::Write(error)),
        }
    }
}

fn log_errors(errors: &[Diagnostic]) {
    for error in errors {
        tracing::error!("the manifests are not applied: {error}");
    }
}

enum Failure {
    Read(io::Error),
    Documents(Vec<Diagnostic>),
    Write(String),
}

/// Waits until nothing has changed for a while, or has kept changing for long.
async fn settle(events: &mut mpsc::Receiver<()>) {
    let quiet = async { while timeout(QUIET, events.recv()).await.is_ok() {} };
    let _ = timeout(UNREST_MAX, quiet).await;
}

/// Is it a change of the folder? Files that are only read, by us for one, are none.
fn concerns(event: &Event, folder: &Path) -> bool {
    let is_change = match event.kind {
        EventKind::Access(kind) => kind == AccessKind::Close(AccessMode::Write),
        EventKind::Any
        | EventKind::Create(_)
        | EventKind::Modify(_)
        | EventKind::Remove(_)
        | EventKind::Other => true,
    };
    // Beside the folder, in its parent, anything may happen. An event without a path means "look for yourself".
    is_change && (event.paths.is_empty() || event.paths.iter().any(|it| it.starts_with(folder)))
}

/// All `.yaml`, `.yml` and `.json` files below a folder, sorted by path; hidden files and folders (such as the
/// `..data` of a mounted ConfigMap) are left out.
///
/// # Errors
/// When the folder or a file cannot be read, is not UTF-8 or too large, or when a symlink leads back up.
pub fn read_folder(folder: &Path) -> io::Result<Vec<(String, String)>> {
    let mut reading = FolderReading::default();
    reading.folder(folder).map(|()| reading.files)
}

#[derive(Default)]
struct FolderReading {
    files: Vec<(String, String)>,
    bytes: u64,
    /// The folders that are being read, outermost first.
    within: Vec<PathBuf>,
}

impl FolderReading {
    fn folder(&mut self, folder: &Path) -> io::Result<()> {
        let real = fs::canonicalize(folder).map_err(|error| at(folder, &error))?;
        if self.within.contains(&real) {
            return Err(at(folder, &io::Error::other("this symlink leads back up")));
        }
        self.within.push(real);
        let entries = fs::read_dir(folder).map_err(|error| at(folder, &error))?;
        let mut paths: Vec<PathBuf> =
            entries.map(|entry| entry.map(|it| it.path())).collect::<Result<_, _>>()?;
        paths.sort();
        for path in paths {
            let is_hidden = path.file_name().is_some_and(|it| it.as_encoded_bytes()[0] == b'.');
            let is_manifest =
                path.extension().is_some_and(|it| it == "yaml" || it == "yml" || it == "json");
            if is_hidden {
                continue;
            }
            if path.is_dir() {
                self.folder(&path)?;
            } else if is_manifest {
                self.file(&path).map_err(|error| at(&path, &error))?;
            }
        }
        self.within.pop();
        Ok(())
    }

    fn file(&mut self, path: &Path) -> io::Result<()> {
        // A pipe would be waited for.
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::other("it is not a file"));
        }
        let mut text = String::new();
        let left = FOLDER_BYTES_MAX - self.bytes;
        fs::File::open(path)?.take(left + 1).read_to_string(&mut text)?;
        if text.len() as u64 > left {
            let error = format!("with it, the folder holds more than {FOLDER_BYTES_MAX} bytes");
            return Err(io::Error::other(error));
        }
        self.bytes += text.len() as u64;
        self.files.push((path.display().to_string(), text));
        Ok(())
    }
}

/// An error that says which file it is about.
fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
