//! `leno apply`, `leno get` and `leno delete`.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use control::door::documents::{DocumentRow, DocumentsReport, File, Files};
use http::{Method, StatusCode};
use model::Severity;

use crate::args::{ApplyArguments, FilesArguments, Format, GetArguments};
use crate::client::AgentAt;
use crate::consul::GoDuration;
use crate::output::{note, print_line, print_rows};
use crate::workloads::{comes_to_rest, held_back, last_ends, still_changing, tell_held_back};

mod guarded;

pub(crate) async fn apply(arguments: ApplyArguments) -> anyhow::Result<ExitCode> {
    let Some(timeout) = arguments.timeout.clone() else { return apply_unbounded(arguments).await };
    let limit = GoDuration::parse(&timeout).and_then(|it| u64::try_from(it.0).ok());
    let limit = limit.filter(|it| *it > 0).map(Duration::from_nanos);
    let limit =
        limit.with_context(|| format!("--timeout {timeout:?} is no time, as 90s or 10m"))?;
    let agent = AgentAt::of(&arguments.files.connection)?;
    if let Ok(done) = tokio::time::timeout(limit, apply_unbounded(arguments)).await {
        return done;
    }
    for line in still_changing(&agent).await? {
        note(&format!("after {timeout}: {line}"));
    }
    bail!("not as the documents say within {timeout}; what was applied stays")
}

async fn apply_unbounded(arguments: ApplyArguments) -> anyhow::Result<ExitCode> {
    let agent = AgentAt::of(&arguments.files.connection)?;
    let ended = if arguments.wait { last_ends(&agent).await? } else { BTreeMap::new() };
    let (is_done, rows) = change(&agent, &arguments.files, "/leno/v1/apply").await?;
    let is_rolled_out = |row: &DocumentRow| ["Workload", "Rollout"].contains(&&*row.key.kind);
    let mut is_well = is_done;
    for row in rows.iter().filter(|it| is_done && is_rolled_out(it)) {
        let name = format!("{}/{}", row.key.namespace, row.key.name);
        if arguments.wait {
            let before = ended.get(&name).copied().unwrap_or_default();
            is_well &= comes_to_rest(&agent, &name, before).await;
        }
        if row.result == "unchanged" && !arguments.wait {
            tell_held_back(&agent, &name).await;
        }
    }
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub(crate) async fn delete(arguments: FilesArguments) -> anyhow::Result<ExitCode> {
    let agent = AgentAt::of(&arguments.connection)?;
    let (is_done, _) = change(&agent, &arguments, "/leno/v1/delete").await?;
    Ok(if is_done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// False when nothing was changed, when it was taken back, or with `--strict` when there are findings; both are told.
async fn change(
    agent: &AgentAt,
    arguments: &FilesArguments,
    path: &str,
) -> anyhow::Result<(bool, Vec<DocumentRow>)> {
    let files = Files { files: read(&arguments.files)?, guard: arguments.guard.clone() };
    let body = serde_json::to_vec(&files)?;
    let (status, answer) = agent.send(Method::POST, path, body).await?;
    let mut report: DocumentsReport = serde_json::from_slice(&answer).with_context(|| {
        format!("{agent} answered {status}: {}", String::from_utf8_lossy(&answer).trim())
    })?;
    if arguments.output == Format::Table {
        for row in &report.documents {
            print_line(&format!("{}/{} {}", row.key.kind.to_lowercase(), row.key.name, row.result));
            print_findings(row);
        }
    }
    let is_kept = guarded::outcome(agent, &mut report, arguments).await?;
    if arguments.output != Format::Table {
        print_rows(arguments.output, &[], Vec::new(), &serde_json::to_value(&report)?)?;
    }
    for error in &report.errors {
        note(&format!("error: {error}"));
    }
    if status != StatusCode::OK {
        note("nothing was changed");
        return Ok((false, report.documents));
    }
    if report.documents.is_empty() {
        bail!("there is no document in {}", arguments.files.join(", "));
    }
    let findings: usize = report.documents.iter().map(|row| row.diagnostics.len()).sum();
    if arguments.strict && findings > 0 {
        note("applied, with findings (--strict)");
        return Ok((false, report.documents));
    }
    Ok((is_kept, report.documents))
}

fn print_findings(row: &DocumentRow) {
    for finding in &row.diagnostics {
        print_line(&format!("  {}: {finding}", severity_word(finding.severity)));
    }
    if let Some(guard) = &row.guard {
        print_line(&format!("  {}", guarded::words(row, guard)));
    }
}

/// The word for it before a finding.
pub(crate) fn severity_word(severity: Severity) -> &'static str {
    match severity {
        Severity::Ignored => "ignored",
        Severity::Approximated => "approximated",
        Severity::Error => "error",
    }
}

pub(crate) async fn get(arguments: GetArguments) -> anyhow::Result<ExitCode> {
    let wanted_kind = arguments.kind.as_deref().map(kind).transpose()?;
    let agent = AgentAt::of(&arguments.list.connection)?;
    let answer = agent.get_json("/leno/v1/documents").await?;
    let mut report: DocumentsReport = serde_json::from_value(answer)?;
    let wanted = match arguments.files.as_slice() {
        [] => None,
        files => {
            let files = read(files)?;
            let texts = files.iter().map(|file| (file.source.as_str(), file.text.as_str()));
            let (keys, errors) = control::documents::read_keys(texts);
            if let Some(error) = errors.first() {
                bail!("{error}");
            }
            Some(keys)
        }
    };
    report.documents.retain(|row| {
        wanted.as_ref().is_none_or(|keys| keys.contains(&row.key))
            && wanted_kind.is_none_or(|kind| row.key.kind == kind)
            && arguments.name.as_ref().is_none_or(|name| row.key.name == *name)
    });
    let removed = guarded::removed(&report, |key| {
        wanted.as_ref().is_none_or(|keys| keys.contains(key))
            && wanted_kind.is_none_or(|kind| key.kind == kind)
            && arguments.name.as_ref().is_none_or(|name| key.name == *name)
    });
    removed.iter().for_each(|line| note(line));
    if report.documents.is_empty() {
        if arguments.list.output != Format::Table {
            print_rows(arguments.list.output, &[], Vec::new(), &serde_json::json!([]))?;
        }
        note("no such documents");
        return Ok(if wanted.is_some() || arguments.name.is_some() {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        });
    }
    let rows = report.documents.iter().map(|row| {
        let mut status = match row.diagnostics.len() {
            0 => "accepted".to_owned(),
            count => format!("accepted, {count} finding{}", if count == 1 { "" } else { "s" }),
        };
        if let Some(guard) = row.guard.as_ref().filter(|it| it.id > 0) {
            status = format!("{status}, guard: {}", guard.state);
        }
        let key = &row.key;
        vec![key.kind.clone(), key.namespace.clone(), key.name.clone(), status, row.source.clone()]
    });
    let header = ["kind", "namespace", "name", "status", "source"];
    let value = serde_json::to_value(&report.documents)?;
    print_rows(arguments.list.output, &header, rows.collect(), &value)?;
    if arguments.list.output == Format::Table {
        let has_workload = report.documents.iter().any(|it| it.key.kind == "Workload");
        let held = if has_workload { held_back(&agent).await? } else { BTreeMap::new() };
        for row in &report.documents {
            print_findings(row);
            let name = format!("{}/{}", row.key.namespace, row.key.name);
            if let Some(by) = held.get(&name).filter(|_| row.key.kind == "Workload") {
                print_line(&format!("  {} is held back by {by}", row.key.name));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Kinds with the other words for them that kubectl knows.
const KINDS: [(&str, &[&str]); 5] = [
    ("Ingress", &["ingress", "ingresses", "ing"]),
    ("Rollout", &["rollout", "rollouts"]),
    ("Secret", &["secret", "secrets"]),
    ("Service", &["service", "services", "svc"]),
    ("Workload", &["workload", "workloads", "wl"]),
];

/// The kind that a word means.
fn kind(word: &str) -> anyhow::Result<&'static str> {
    let word = word.to_lowercase();
    let found = KINDS.iter().find(|(_, words)| words.contains(&word.as_str()));
    let kinds: Vec<&str> = KINDS.iter().map(|(kind, _)| *kind).collect();
    found
        .map(|(kind, _)| *kind)
        .with_context(|| format!("unknown kind {word:?}; the kinds are {}", kinds.join(", ")))
}

fn read(sources: &[String]) -> anyhow::Result<Vec<File>> {
    let mut files = Vec::new();
    for source in sources {
        if source == "-" {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
            files.push(File { source: source.clone(), text });
            continue;
        }
        let path = Path::new(source);
        if path.is_dir() {
            let read = control::manifest_folder::read_folder(path)
                .with_context(|| format!("cannot read the folder {source}"))?;
            if read.is_empty() {
                bail!("there is no .yaml, .yml or .json file in {source}");
            }
            files.extend(read.into_iter().map(|(source, text)| File { source, text }));
        } else {
            let text = fs::read_to_string(path)
                .with_context(|| format!("cannot read the file {source}"))?;
            files.push(File { source: source.clone(), text });
        }
    }
    Ok(files)
}
