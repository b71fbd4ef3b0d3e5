//! Follows a folder of documents: what is in it is declared, what leaves it is removed.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use api::WriteOutcome;
use model::{Diagnostic, DocumentKey};
use notify::{RecursiveMode, Watcher as _};
use registry::Command;
use runtime::Tasks;
use tokio::sync::mpsc;

use crate::agent::AgentError;
use crate::documents::{Reading, read_all};
use crate::mesh::Mesh;

/// Editors and `git checkout` write several files in a row: wait until it has been quiet for so long.
const QUIET: Duration = Duration::from_millis(200);
/// Where documents of the folder say that they come from, before the path.
const SOURCE_PREFIX: &str = "manifests:";

/// A folder whose documents are applied.
pub struct ManifestFolder {
    path: PathBuf,
}

impl ManifestFolder {
    /// Applies the folder as it is now.
    ///
    /// # Errors
    /// When it cannot be read, or a document in it is wrong; nothing is applied then.
    pub async fn open(path: &Path, mesh: &Mesh) -> Result<Self, AgentError> {
        let folder = Self { path: path.to_owned() };
        match folder.apply(mesh).await {
            Ok(()) => Ok(folder),
            Err(Failure::Read(source)) => {
                Err(AgentError::Manifests { path: path.to_owned(), source })
            }
            Err(Failure::Documents(errors)) => Err(AgentError::Documents(errors)),
            Err(Failure::Write(error)) => Err(AgentError::Register(error)),
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
        let watcher = notify::recommended_watcher(move |_| {
            // One waiting event is enough: the folder is read whole.
            let _ = sender.try_send(());
        });
        let watching = watcher.and_then(|mut watcher| {
            watcher.watch(&self.path, RecursiveMode::Recursive).map(|()| watcher)
        });
        let _watcher = match watching {
            Ok(watcher) => watcher,
            Err(error) => {
                tracing::error!(%error, path = %self.path.display(), "cannot watch the manifests");
                return;
            }
        };
        // What changed between the first reading and now.
        let mut changed = Some(());
        while changed.is_some() {
            while tokio::time::timeout(QUIET, events.recv()).await.is_ok_and(|it| it.is_some()) {}
            match self.apply(&mesh).await {
                Ok(()) => {}
                Err(Failure::Read(error)) => {
                    tracing::error!(%error, path = %self.path.display(), "cannot read the manifests");
                }
                Err(Failure::Documents(errors)) => {
                    for error in errors {
                        tracing::error!("the manifests are not applied: {error}");
                    }
                }
                Err(Failure::Write(error)) => {
                    tracing::error!(error, "the manifests are not applied")
                }
            }
            changed = events.recv().await;
        }
    }

    async fn apply(&self, mesh: &Mesh) -> Result<(), Failure> {
        let files = read_folder(&self.path).map_err(Failure::Read)?;
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
        write(mesh, Command::ApplyDocuments(documents)).await?;
        if gone.is_empty() { Ok(()) } else { write(mesh, Command::DeleteDocuments(gone)).await }
    }
}

enum Failure {
    Read(io::Error),
    Documents(Vec<Diagnostic>),
    Write(String),
}

async fn write(mesh: &Mesh, command: Command) -> Result<(), Failure> {
    match mesh.run(command).await {
        WriteOutcome::Done(_) => Ok(()),
        WriteOutcome::Rejected(rejection) => Err(Failure::Write(rejection.to_string())),
        WriteOutcome::Failed(error) => Err(Failure::Write(error)),
    }
}

/// All `.yaml`, `.yml` and `.json` files below a folder, sorted by path; hidden files and folders (such as the
/// `..data` of a mounted ConfigMap) are left out.
///
/// # Errors
/// When the folder or a file cannot be read, or is not UTF-8.
pub fn read_folder(folder: &Path) -> io::Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder)?.map(|entry| entry.map(|it| it.path())).collect::<Result<_, _>>()?;
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        let is_manifest =
            path.extension().is_some_and(|it| it == "yaml" || it == "yml" || it == "json");
        if path.is_dir() {
            files.extend(read_folder(&path)?);
        } else if is_manifest {
            let text = fs::read_to_string(&path).map_err(|error| {
                io::Error::new(error.kind(), format!("{}: {error}", path.display()))
            })?;
            files.push((path.display().to_string(), text));
        }
    }
    Ok(files)
}
