//! What becomes of guarded changes.

use std::time::Duration;

use anyhow::bail;
use control::door::documents::{DocumentRow, DocumentsReport};
use control::guards::{GuardNote, GuardReport, GuardState, Guarded};
use model::{DocumentKey, Timestamp};

use crate::args::{FilesArguments, Format};
use crate::client::AgentAt;
use crate::output::{note, print_line};

/// Pause between two questions how a guard stands.
const ASK_PAUSE: Duration = Duration::from_millis(500);
/// How long after its window a guard may end: the time in which an agent is away does not count.
const GRACE: Duration = Duration::from_mins(1);

/// Waits for the end of the guard of a change, if that is asked for, and says what it came to. False when it was undone.
pub(super) async fn outcome(
    agent: &AgentAt,
    report: &mut DocumentsReport,
    arguments: &FilesArguments,
) -> anyhow::Result<bool> {
    let Some(guard) = report.guards.first() else { return Ok(true) };
    let is_table = arguments.output == Format::Table;
    let seconds = guard.window_ms as f64 / 1000.0;
    if arguments.guard.is_none() || arguments.no_wait {
        if is_table {
            print_line(&format!("guard: watching for {seconds} s; `leno get` shows how it ends"));
        }
        return Ok(true);
    }
    note(&format!("guarded for {seconds} s"));
    let ended = wait(agent, guard).await?;
    if is_table {
        print_line(&format!("guard: {}: {}", ended.state.as_str(), ended.reason));
        for document in &ended.documents {
            print_line(&format!("  {} {}", short(&document.key), standing(document.now)));
        }
    }
    let is_kept = ended.state != GuardState::Undone;
    report.guards = vec![ended];
    Ok(is_kept)
}

/// Asks until the guard has ended. An agent that is away for a while comes back with it.
async fn wait(agent: &AgentAt, guard: &GuardReport) -> anyhow::Result<GuardReport> {
    let deadline = runtime::monotonic() + Duration::from_millis(guard.window_ms) + GRACE;
    loop {
        tokio::time::sleep(ASK_PAUSE).await;
        let asked = async {
            let answer = agent.get_json(&format!("/leno/v1/guards?id={}", guard.id)).await?;
            let found: Vec<GuardReport> = serde_json::from_value(answer)?;
            anyhow::Ok(found.into_iter().next())
        };
        let failure = match asked.await {
            Ok(Some(found)) if found.state != GuardState::Watching => return Ok(found),
            Ok(Some(_)) => None,
            Ok(None) => bail!("{agent} knows nothing of guard {} any more", guard.id),
            Err(error) => Some(error),
        };
        if runtime::monotonic() >= deadline {
            match failure {
                Some(error) => return Err(error.context("cannot say what became of the guard")),
                None => bail!("guard {} has not ended in time; see `leno get`", guard.id),
            }
        }
    }
}

/// What is said of a document's guard.
pub(super) fn words(row: &DocumentRow, guard: &GuardNote) -> String {
    if guard.id == 0 {
        return format!("guard: {}: {}", short(&row.key), guard.text);
    }
    let at = Timestamp(guard.at_ms).to_rfc3339();
    format!("guard: {} {} at {at}: {}", short(&row.key), guard.state, guard.text)
}

/// Documents that guards have removed again, and why: they are in no list.
pub(super) fn removed(
    report: &DocumentsReport,
    is_wanted: impl Fn(&DocumentKey) -> bool,
) -> Vec<String> {
    let ended = report.guards.iter().filter(|it| it.state == GuardState::Undone);
    let gone = ended.flat_map(|guard| {
        let gone = guard.documents.iter().filter(|it| it.now == Guarded::Removed);
        gone.map(move |it| (&it.key, guard))
    });
    let is_there = |key: &DocumentKey| report.documents.iter().any(|it| it.key == *key);
    gone.filter(|(key, _)| is_wanted(key) && !is_there(key))
        .map(|(key, guard)| {
            let at = Timestamp(guard.ended_ms.unwrap_or(guard.began_ms)).to_rfc3339();
            format!("guard: {} was removed again at {at}: {}", short(key), guard.reason)
        })
        .collect()
}

fn short(key: &DocumentKey) -> String {
    format!("{}/{}", key.kind.to_lowercase(), key.name)
}

fn standing(now: Guarded) -> &'static str {
    match now {
        Guarded::Changed => "is as it was applied",
        Guarded::Restored => "is as it was before",
        Guarded::Removed => "is removed again",
        Guarded::Left => "is left as it is: somebody has changed it since",
    }
}
