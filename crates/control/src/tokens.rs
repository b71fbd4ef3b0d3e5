//! What the agent does about access control: prepares it at the start, keeps its own tokens in a file, removes tokens whose
//! time is over.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use acl::GLOBAL_MANAGEMENT;
use api::{Acl, WriteOutcome};
pub use api::{AclSettings, AgentToken, AgentTokens, DefaultPolicy};
use model::{AclToken, Grants, Secret, Table, Timestamp, WatchKey};
use registry::Command;
use runtime::Drain;
use tokio::time::sleep;

use crate::mesh::Mesh;

/// Consul's names of the files, in the folder of the data.
const TOKENS_FILE: &str = "acl-tokens.json";
const RESET_FILE: &str = "acl-bootstrap-reset";
/// How long a token that could not be removed is left alone.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// The longest sleep before another look at the clock, which may be set.
const SLEEP_MAX: Duration = Duration::from_mins(10);

/// How access control is to be.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AclOptions {
    /// Its rules.
    pub settings: AclSettings,
    /// The agent's own tokens.
    pub tokens: AgentTokens,
    /// Secret of the first token of management, unless there was one before.
    pub initial_management: Option<Secret>,
    /// Keep tokens that the agent is given while it runs.
    pub keeps_tokens: bool,
}

/// Access control at this agent, with the files that belong to it.
#[derive(Debug)]
pub(crate) struct AgentAccess {
    pub(crate) acl: Arc<Acl>,
    options: AclOptions,
    file: Option<TokenFile>,
    pub(crate) reset: Option<ResetFile>,
}

impl AgentAccess {
    /// `folder` is where the data lies; `None` in memory, where nothing is kept.
    ///
    /// # Errors
    /// When the tokens that were kept cannot be read.
    pub(crate) fn open(options: AclOptions, folder: Option<&Path>) -> io::Result<Self> {
        let file = folder.filter(|_| options.keeps_tokens).map(TokenFile::in_folder);
        let tokens = match &file {
            Some(file) => file.load(&options.tokens)?,
            None => options.tokens.clone(),
        };
        let acl = Arc::new(Acl::new(options.settings, tokens));
        Ok(Self { acl, options, file, reset: folder.map(ResetFile::in_folder) })
    }

    /// Gives the agent another token of its own, once it is kept.
    pub(crate) async fn give(&self, which: AgentToken, secret: Secret) -> Result<(), String> {
        let mut tokens = self.acl.tokens();
        tokens.set(which, secret.clone());
        if let Some(file) = self.file.clone() {
            let configured = self.options.tokens.clone();
            let kept = tokio::task::spawn_blocking(move || file.save(&tokens, &configured)).await;
            let kept = kept.map_err(|error| error.to_string())?;
            kept.map_err(|error| format!("Failed to persist ACL tokens: {error}"))?;
        }
        self.acl.set_token(which, secret);
        Ok(())
    }

    /// [`prepare`] again, after what the mesh holds was replaced.
    pub(crate) async fn prepare(&self, mesh: &Mesh) -> Result<(), String> {
        prepare(mesh, &self.options).await
    }
}

/// Makes what every mesh with access control has.
///
/// # Errors
/// When it cannot be written.
async fn prepare(mesh: &Mesh, options: &AclOptions) -> Result<(), String> {
    if !options.settings.enabled {
        return Ok(());
    }
    let management = options.initial_management.as_ref().map(|secret| AclToken {
        accessor: uuid::Uuid::new_v4().to_string(),
        secret: secret.clone(),
        description: "Initial Management Token".to_owned(),
        grants: Grants { policies: vec![GLOBAL_MANAGEMENT.id.to_owned()], ..Grants::default() },
        created: Timestamp(runtime::unix_ms()),
        ..AclToken::default()
    });
    match mesh.run(Command::PrepareAcl(management)).await {
        WriteOutcome::Done(..) => Ok(()),
        WriteOutcome::Rejected(rejection) => Err(rejection.to_string()),
        WriteOutcome::Failed(why) => Err(why),
    }
}

/// The file with the tokens that the agent was given while it ran.
#[derive(Clone, Debug)]
pub(crate) struct TokenFile(PathBuf);

impl TokenFile {
    pub(crate) fn in_folder(folder: &Path) -> Self {
        Self(folder.join(TOKENS_FILE))
    }

    /// The tokens in it, over those of the configuration.
    ///
    /// # Errors
    /// When it cannot be read, or holds something else.
    pub(crate) fn load(&self, configured: &AgentTokens) -> io::Result<AgentTokens> {
        let mut tokens = configured.clone();
        let text = match fs::read(&self.0) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(tokens),
            Err(error) => return Err(error),
        };
        let kept: BTreeMap<String, String> = serde_json::from_slice(&text)?;
        for (name, secret) in kept {
            let Some(which) = AgentToken::from_name(&name) else {
                return Err(io::Error::other(format!("there is no token {name:?} of an agent")));
            };
            if !configured.get(which).is_empty() && configured.get(which).reveal() != secret {
                tracing::warn!(
                    token = which.name(),
                    "the token that the agent was given while it ran is used instead of the configured one"
                );
            }
            tokens.set(which, secret.into());
        }
        Ok(tokens)
    }

    /// Writes all tokens that `configured` does not say; nobody else can read the file, and it is whole at any time.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn save(&self, tokens: &AgentTokens, configured: &AgentTokens) -> io::Result<()> {
        let told = |(which, secret): &(AgentToken, &Secret)| configured.get(*which) != **secret;
        let pairs = tokens.iter().filter(told);
        let pairs: BTreeMap<&str, &str> =
            pairs.map(|(which, secret)| (which.name(), secret.reveal())).collect();
        let unfinished = self.0.with_extension("new");
        match fs::remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        file.write_all(&serde_json::to_vec(&pairs)?)?;
        file.sync_all()?;
        fs::rename(unfinished, &self.0)
    }
}

/// The file by which whoever runs the agent lets the first token of management be made again: it holds the index that the
/// refusal names.
#[derive(Clone, Debug)]
pub(crate) struct ResetFile(PathBuf);

impl ResetFile {
    pub(crate) fn in_folder(folder: &Path) -> Self {
        Self(folder.join(RESET_FILE))
    }

    pub(crate) fn index(&self) -> Option<u64> {
        fs::read_to_string(&self.0).ok()?.trim().parse().ok()
    }

    /// It counts once.
    pub(crate) fn forget(&self) {
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::warn!(%error, path = %self.0.display(), "the file cannot be removed");
        }
    }
}

/// Removes each token when its time is over, until the drain begins.
pub(crate) async fn expire<C: Fn() -> Timestamp>(mesh: Mesh, clock: C, drain: Drain) {
    let mut changed = mesh.watch(&[WatchKey::Table(Table::AclToken)]);
    loop {
        let catalog = mesh.catalog();
        let first = catalog.first_token_end().map(|(at, accessor)| (at, accessor.to_owned()));
        drop(catalog);
        let now = clock();
        let rest = match first {
            Some((at, accessor)) if at <= now => {
                if remove(&mesh, accessor, now).await {
                    continue;
                }
                Some(RETRY_AFTER)
            }
            Some((at, _)) => Some(at.since(now).min(SLEEP_MAX)),
            None => None,
        };
        let over = async {
            match rest {
                Some(rest) => sleep(rest).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = changed.changed() => {}
            () = over => {}
            () = drain.begun() => return,
        }
    }
}

async fn remove(mesh: &Mesh, accessor: String, at: Timestamp) -> bool {
    let command = Command::ExpireToken { accessor: accessor.clone(), at };
    match mesh.run(command).await {
        WriteOutcome::Done(..) => {
            tracing::info!(accessor, "a token's time is over");
            true
        }
        WriteOutcome::Rejected(rejection) => {
            tracing::error!(accessor, %rejection, "a token whose time is over cannot be removed");
            false
        }
        WriteOutcome::Failed(why) => {
            tracing::warn!(accessor, why, "a token whose time is over could not be removed yet");
            false
        }
    }
}

#[cfg(test)]
mod tests;
