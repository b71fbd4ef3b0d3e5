use std::error::Error;
use std::time::Duration;

use model::{CheckDefinition, CheckStatus};
use registry::output_bytes_max;
use runtime::{ChildSpec, Exit};

use super::duration_text::GoDuration;
use super::tail::text_of;
use super::{ProbeResult, timeout_of};

/// Timeout when a script gives none.
const SCRIPT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

/// Runs the program with its arguments: exit code 0 passes, 1 warns, all else fails.
pub(super) async fn probe(definition: &CheckDefinition) -> ProbeResult {
    let Some((program, arguments)) = definition.args.split_first() else {
        return ProbeResult::critical("There is no program to run");
    };
    let spec = ChildSpec {
        program: program.into(),
        arguments: arguments.iter().map(Into::into).collect(),
        ..ChildSpec::default()
    };
    let limit = timeout_of(definition, SCRIPT_TIMEOUT_DEFAULT);
    let done = match runtime::run_command(&spec, limit, output_bytes_max(definition)).await {
        Ok(done) => done,
        Err(error) => {
            let reason = error.source().map(|source| format!(": {source}")).unwrap_or_default();
            return ProbeResult::critical(format!("{error}{reason}"));
        }
    };
    let mut output = text_of(&done.tail);
    if done.written > done.tail.len() as u64 {
        let (kept, written) = (done.tail.len(), done.written);
        output = format!("Captured {kept} of {written} bytes\n...\n{output}");
    }
    let status = match done.exit {
        Some(Exit::Code(0)) => CheckStatus::Passing,
        Some(Exit::Code(1)) => CheckStatus::Warning,
        Some(Exit::Code(_) | Exit::Signal(_)) => CheckStatus::Critical,
        None => {
            let separator = if output.is_empty() { "" } else { "\n\n" };
            output = format!("Timed out ({}) running check{separator}{output}", GoDuration(limit));
            CheckStatus::Critical
        }
    };
    ProbeResult { status, output }
}
