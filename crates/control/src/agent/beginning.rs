//! What an agent writes at its start because it was told so, unless it is there.

use api::WriteOutcome;
use registry::{Command, Rejection};
use serde_json::Value;

use super::AgentError;
use crate::mesh::Mesh;

/// Writes the configuration entries that the agent was told. An entry may need another, as a route needs its service's
/// protocol, wherever that stands in the files: those that are refused are tried once more when others were written.
pub(super) async fn write_entries(mesh: &Mesh, entries: &[Value]) -> Result<(), AgentError> {
    let mut left: Vec<&Value> = entries.iter().collect();
    loop {
        let before = left.len();
        let mut refused = None;
        let mut again = Vec::new();
        for entry in left {
            let what = format!("configuration entry {}", named(entry));
            if let Err(error) = write_unless_there(mesh, &what, api::config_entry_of(entry)).await {
                refused = refused.or(Some(error));
                again.push(entry);
            }
        }
        match refused {
            None => return Ok(()),
            Some(error) if again.len() == before => return Err(error),
            Some(_) => left = again,
        }
    }
}

/// Which of the entries are wrong, and why.
pub(super) fn wrong_entries(entries: &[Value]) -> impl Iterator<Item = AgentError> {
    entries.iter().filter_map(|entry| {
        let reason = api::config_entry_of(entry).err()?;
        Some(AgentError::Define { what: format!("configuration entry {}", named(entry)), reason })
    })
}

/// Kind and name of a configuration entry, for people.
fn named(entry: &Value) -> String {
    let value = |name: &str| {
        let mut fields = entry.as_object().into_iter().flatten();
        let found = fields.find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.and_then(|(_, it)| it.as_str()).unwrap_or("?").to_owned()
    };
    format!("{}/{}", value("kind"), value("name"))
}

/// Writes what the agent was told, unless somebody has written another.
pub(super) async fn write_unless_there(
    mesh: &Mesh,
    what: &str,
    command: Result<Command, String>,
) -> Result<(), AgentError> {
    let define = |reason| AgentError::Define { what: what.to_owned(), reason };
    match mesh.run(command.map_err(define)?).await {
        WriteOutcome::Done(..) | WriteOutcome::Rejected(Rejection::RecordIndexStale(_)) => Ok(()),
        WriteOutcome::Rejected(rejection) => Err(define(rejection.to_string())),
        WriteOutcome::Failed(reason) => Err(define(reason)),
    }
}
