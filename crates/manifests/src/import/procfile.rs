use serde_json::json;

use super::{Draft, Imported, Names, finish};
use crate::fields::{At, Report};
use crate::source_name;

/// Makes a workload of each line `name: command` of a `Procfile`.
///
/// `source` is the name of the text for people; `folder` is what commands run in, an absolute path, or empty when it is not
/// known. Commands are run by the shell. Only `web`, and what refers to `PORT`, is registered as a service; `release` is a job that
/// the others wait for, as Heroku runs it.
#[must_use]
pub fn procfile(text: &str, source: &str, folder: &str) -> Imported {
    let mut report = Report::new(source_name(source));
    let mut names = Names::default();
    let mut drafts = Vec::new();
    for (line, text) in (1..).zip(text.trim_start_matches('\u{feff}').lines()) {
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let at = At { path: String::new(), line };
        let Some((name, command)) = split(text) else {
            let message = "is no line of the form `name: command`: passed over";
            report.ignored(&at, message, "a name is of letters, digits, `-` and `_`");
            continue;
        };
        if let Some(given) = names.give(name, &at, &mut report) {
            drafts.push(draft(given, command, folder));
            if drafts.last().is_some_and(|it| it.name == "release") {
                report.approximated(&at, "is run as a job that the others wait for", "");
            }
        }
    }
    if drafts.iter().any(|it| it.name == "release") {
        for draft in drafts.iter_mut().filter(|it| it.name != "release") {
            draft.set("dependsOn", Some(json!(["release"])));
        }
    }
    if drafts.is_empty() {
        let at = At { path: String::new(), line: 0 };
        report.error(&at, "names no process", "write lines of the form `web: ./web --port $PORT`");
        let (findings, rest) = report.finish();
        return Imported { documents: None, findings: [findings, rest].concat() };
    }
    finish(drafts, report)
}

fn split(line: &str) -> Option<(&str, &str)> {
    let (name, command) = line.split_once(':')?;
    let is_fine = |it: char| it.is_ascii_alphanumeric() || it == '-' || it == '_';
    let (name, command) = (name.trim_end(), command.trim());
    (!name.is_empty() && name.chars().all(is_fine) && !command.is_empty())
        .then_some((name, command))
}

fn draft(name: String, command: &str, folder: &str) -> Draft {
    let mut draft = Draft::new(name);
    if draft.name == "release" {
        draft.set("type", Some("Job"));
    }
    draft.set("command", Some(command));
    draft.set("workingDir", (!folder.is_empty()).then_some(folder));
    let wants_port = command.contains("$PORT") || command.contains("${PORT");
    if draft.name != "web" && draft.name != "release" && !wants_port {
        draft.set("service", Some("None"));
    }
    draft
}
