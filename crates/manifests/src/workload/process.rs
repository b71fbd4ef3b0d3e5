use model::WorkloadSpec;
use model::workload::{
    CommandLine, GIVEN_VARIABLES, Limits, PortChoice, RunAs, Variable, references,
};

use crate::fields::{At, Field, Fields, Report, nearest};
use crate::node::Content;
use crate::values::{bytes, thousandths, whole};

/// Linux refuses a longer argument or variable (`MAX_ARG_STRLEN`, 32 pages of 4 KiB, with the zero behind it).
const TEXT_BYTES_MAX: usize = 131_071;
/// Memory that no process starts with less than.
const MEMORY_BYTES_MIN: u64 = 1 << 20;
/// More than any machine has: 1024 processors.
const CPU_MILLIS_MAX: u32 = 1024 * 1000;
/// `PID_MAX_LIMIT` of Linux.
const PROCESSES_MAX: u32 = 4_194_304;
/// Linux's own upper bound of `fs.nr_open`.
const OPEN_FILES_MAX: u32 = 1_073_741_816;
const SIZE_BYTES_MAX: u64 = 1 << 60;

/// Reads what is run and with what. Port and service were read before.
pub(super) fn read(fields: &mut Fields<'_>, spec: &mut WorkloadSpec, report: &mut Report<'_>) {
    spec.env = read_env(fields, spec.port, report);
    let known = known_variables(spec);
    if let Some(field) = fields.require("command", report) {
        let args = fields.take("args");
        let command = read_command(&field, args.as_ref(), &known, report);
        spec.command = command.unwrap_or_default();
    } else {
        fields.skip(&["args"]);
    }
    if let Some(field) = fields.take("workingDir")
        && let Some(text) = field.text(report)
    {
        check_text(text, &field.at, report);
        if !text.starts_with('/') {
            let message = format!("`{text}` is not an absolute path");
            report.error(
                &field.at,
                message,
                "begin it with `/`: the agent has a folder of its own",
            );
        }
        text.clone_into(&mut spec.working_dir);
    }
    spec.run_as = fields.take("user").and_then(|it| read_user(&it, report));
    if let Some(field) = fields.take("resources") {
        spec.limits = read_limits(&field, report);
    }
}

/// Names that a command may refer to.
pub(super) fn known_variables(spec: &WorkloadSpec) -> Vec<&str> {
    let mut names: Vec<&str> = given_variables(spec.port).collect();
    names.extend(spec.env.iter().map(|it| it.name.as_str()));
    names
}

fn given_variables(port: PortChoice) -> impl Iterator<Item = &'static str> {
    let has_port = port != PortChoice::None;
    GIVEN_VARIABLES.into_iter().filter(move |it| has_port || *it != "PORT")
}

/// Reads a command: a list is executed, a text goes to the shell. `args` follow a list.
pub(super) fn read_command(
    field: &Field<'_>,
    args: Option<&Field<'_>>,
    known: &[&str],
    report: &mut Report<'_>,
) -> Option<CommandLine> {
    if let Some(text) = field.node.text() {
        if text.trim().is_empty() {
            report.error(&field.at, "is empty", "name the program and its arguments");
        }
        check_text(text, &field.at, report);
        check_shell(text, &field.at, known, report);
        if let Some(args) = args {
            let message = "a text for the shell takes no arguments";
            report.error(&args.at, message, "write them in the text, or `command` as a list");
        }
        return Some(CommandLine::Shell(text.to_owned()));
    }
    let Content::List(_) = &field.node.content else {
        let message = format!("must be a list or a string, not {}", field.node.kind());
        report.error(&field.at, message, "write for example [./web, --listen, \"$(PORT)\"]");
        return None;
    };
    let mut items = field.items(report);
    if items.first().is_none_or(|it| it.node.text() == Some("")) {
        report.error(&field.at, "names no program", "write for example [./web]");
    }
    if let Some(args) = args {
        items.extend(args.items(report));
    }
    let mut words = Vec::new();
    for item in items {
        let Some(word) = item.text(report) else { continue };
        check_text(word, &item.at, report);
        check_references(word, &item.at, known, report);
        words.push(word.to_owned());
    }
    Some(CommandLine::Exec(words))
}

/// What the kernel would not take.
fn check_text(text: &str, at: &At, report: &mut Report<'_>) {
    if text.contains('\0') {
        report.error(at, "holds a zero byte, which no argument can", "remove it");
    }
    if text.len() > TEXT_BYTES_MAX {
        let message = format!("{} bytes are more than the {TEXT_BYTES_MAX} allowed", text.len());
        report.error(at, message, "put it into a file");
    }
}

/// To a shell `$(PORT)` is the output of a program `PORT`, which nobody means.
fn check_shell(text: &str, at: &At, known: &[&str], report: &mut Report<'_>) {
    if let Some(name) = references(text).find(|it| known.contains(it)) {
        let message = format!("to the shell `$({name})` is the output of a program {name}");
        report.error(at, message, format!("write ${name}, or `command` as a list"));
    }
}

/// Says of names that nothing will replace.
fn check_references(text: &str, at: &At, known: &[&str], report: &mut Report<'_>) {
    for name in references(text).filter(|it| is_identifier(it) && !known.contains(it)) {
        let remedy = match nearest(name, known) {
            Some(meant) => format!("did you mean `$({meant})`?"),
            None => format!("add it to `env`, or write $$({name}) if it is to stay"),
        };
        report.ignored(at, format!("`$({name})` names no variable: it stays as it is"), remedy);
    }
}

fn is_identifier(text: &str) -> bool {
    !text.starts_with(|it: char| it.is_ascii_digit()) && !text.is_empty() && is_plain(text, b"_")
}

fn is_plain(text: &str, more: &[u8]) -> bool {
    text.bytes().all(|it| it.is_ascii_alphanumeric() || more.contains(&it))
}

/// Reads `env`: a map of strings, or a list of `{name, value}`. No value is repeated in a finding.
fn read_env(fields: &mut Fields<'_>, port: PortChoice, report: &mut Report<'_>) -> Vec<Variable> {
    let Some(field) = fields.take("env") else { return Vec::new() };
    let pairs = match &field.node.content {
        Content::List(_) => {
            let items = field.items(report);
            items.iter().filter_map(|it| read_variable(it, report)).collect()
        }
        Content::Null
        | Content::Bool(_)
        | Content::Number(_)
        | Content::String(_)
        | Content::Map(_) => field.texts(report),
    };
    let mut known: Vec<&str> = given_variables(port).collect();
    let mut env: Vec<Variable> = Vec::new();
    for (name, value, at) in pairs {
        check_text(value, &at, report);
        if name.is_empty()
            || !is_plain(name, b"_.-")
            || name.starts_with(|it: char| it.is_ascii_digit())
        {
            let message = format!("`{name}` is not a name of a variable");
            report.error(&at, message, "use letters, digits and `_`, not a digit first");
        } else if given_variables(port).any(|it| it == name) {
            let remedy = match name {
                "PORT" => "remove it: it is what `port` says, chosen for each copy with Auto",
                _ => "remove it",
            };
            report.error(&at, format!("`{name}` is given to every copy by the agent"), remedy);
        } else if env.iter().any(|it| it.name == name) {
            report.error(&at, format!("`{name}` is set twice"), "keep one of the two");
        }
        check_references(value, &at, &known, report);
        known.push(name);
        env.push(Variable { name: name.to_owned(), value: value.to_owned() });
    }
    env
}

fn read_variable<'a>(item: &Field<'a>, report: &mut Report<'_>) -> Option<(&'a str, &'a str, At)> {
    let mut fields = item.fields(report)?;
    let name = fields.require("name", report).and_then(|it| it.text(report));
    let value = fields.take("value");
    if let Some(from) = fields.take("valueFrom") {
        report.error(&from.at, "values are not taken from elsewhere", "write `value`");
    }
    fields.finish(report);
    let value = match value {
        Some(value) => value.text(report)?,
        None => "",
    };
    Some((name?, value, item.at.clone()))
}

fn read_user(field: &Field<'_>, report: &mut Report<'_>) -> Option<RunAs> {
    let text = match &field.node.content {
        Content::Number(number) => number.to_string(),
        Content::Null
        | Content::Bool(_)
        | Content::String(_)
        | Content::List(_)
        | Content::Map(_) => field.text(report)?.to_owned(),
    };
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text.as_str(), None),
    };
    if !is_account(user) || group.is_some_and(|it| !is_account(it)) {
        let remedy = "write a name or a number, and a group behind a colon: www-data, 1000:1000";
        report.error(&field.at, format!("`{text}` is not a user"), remedy);
        return None;
    }
    Some(RunAs { user: user.to_owned(), group: group.map(str::to_owned) })
}

/// A number, or a name as `useradd` takes it, also with capitals and dots.
fn is_account(text: &str) -> bool {
    if text.starts_with(|it: char| it.is_ascii_digit()) {
        // The last number means "none" to the kernel.
        return text.parse::<u32>().is_ok_and(|it| it != u32::MAX);
    }
    let name = text.strip_suffix('$').unwrap_or(text);
    !name.is_empty() && text.len() <= 32 && !name.starts_with(['-', '.']) && is_plain(name, b"_.-")
}

fn read_limits(field: &Field<'_>, report: &mut Report<'_>) -> Limits {
    let Some(mut fields) = field.fields(report) else { return Limits::default() };
    let memory = fields.take("memory");
    let cpu = fields.take("cpu");
    let processes = fields.take("processes");
    let open_files = fields.take("openFiles");
    let core = fields.take("coreSize");
    for name in ["limits", "requests"] {
        let because = ("has no effect here", "write `memory` and `cpu` directly under `resources`");
        fields.refuse(name, &[], because, report);
    }
    fields.finish(report);
    let memory = memory.and_then(|it| bytes(&it, MEMORY_BYTES_MIN..=SIZE_BYTES_MAX, report));
    let open_files = open_files.and_then(|it| whole(&it, 16..=OPEN_FILES_MAX, report));
    Limits {
        memory_bytes: memory,
        cpu_millis: cpu.and_then(|it| thousandths(&it, 1..=CPU_MILLIS_MAX, report)),
        processes: processes.and_then(|it| whole(&it, 1..=PROCESSES_MAX, report)),
        open_files: open_files.map(u64::from),
        core_bytes: core.and_then(|it| bytes(&it, 0..=SIZE_BYTES_MAX, report)),
    }
}
