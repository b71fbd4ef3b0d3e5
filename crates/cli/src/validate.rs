//! `leno validate`: what would become of a bootstrap file.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::process::ExitCode;

use anyhow::Context;
use xds::bootstrap::{Finding, ReadError, Severity};

use crate::args::ValidateArguments;
use crate::bootstrap_file::read_text;
use crate::output::{note, print_rows};

/// Exit code 0 when the file can be used, with `--strict` when all of it is honored.
pub(crate) fn run(arguments: &ValidateArguments) -> anyhow::Result<ExitCode> {
    let text = read_file(&arguments.file)?;
    let findings = match read_text(&text, &mut BTreeSet::new()) {
        Ok((_, findings)) => findings,
        Err(ReadError::Wrong { findings }) => findings,
        Err(error) => {
            return Err(error).with_context(|| format!("{} cannot be used", arguments.file));
        }
    };
    let row = |it: &Finding| {
        let kind = it.severity.as_str().to_owned();
        vec![kind, it.path.clone(), it.message.clone(), it.remedy.clone()]
    };
    let is_json = arguments.output != crate::args::Format::Table;
    if is_json || !findings.is_empty() {
        let rows = findings.iter().map(row).collect();
        let value = serde_json::to_value(&findings)?;
        print_rows(arguments.output, &["kind", "field", "what", "remedy"], rows, &value)?;
    }
    Ok(verdict(arguments, &findings))
}

fn verdict(arguments: &ValidateArguments, findings: &[Finding]) -> ExitCode {
    let count = |of: &[Severity]| findings.iter().filter(|it| of.contains(&it.severity)).count();
    let errors = count(&[Severity::Error]);
    let unhonored = count(&[Severity::Ignored, Severity::Approximated]);
    let file = &arguments.file;
    if errors > 0 {
        note(&format!("error: {file} cannot be used: {errors} errors"));
        return ExitCode::FAILURE;
    }
    if arguments.strict && unhonored > 0 {
        note(&format!("error: {file}: {unhonored} fields are not honored as they are written"));
        return ExitCode::FAILURE;
    }
    note(&format!("{file} can be used"));
    ExitCode::SUCCESS
}

/// The text of a file, or of standard input for `-`.
pub(crate) fn read_file(file: &str) -> anyhow::Result<String> {
    if file != "-" {
        return fs::read_to_string(file).with_context(|| format!("cannot read {file}"));
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
    Ok(text)
}
