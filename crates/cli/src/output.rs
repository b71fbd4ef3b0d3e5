//! What is printed, and how.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::OnceLock;

use comfy_table::{ContentArrangement, Table, presets};
use proxy::LogLevels;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, reload};

use crate::agent;
use crate::args::{Arguments, Command, Format};

mod followed;

/// The first error of standard output.
static FAILED: OnceLock<io::Error> = OnceLock::new();

/// Prints to standard output. A closed pipe (`leno … | head`) is no error; of others, [`finish`] tells.
pub(crate) fn print(text: &str) {
    print_bytes(text.as_bytes());
}

/// The same for bytes that may be no text.
pub(crate) fn print_bytes(bytes: &[u8]) {
    keep_error(io::stdout().lock().write_all(bytes));
}

fn keep_error(result: io::Result<()>) {
    if let Err(error) = result
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        let _ = FAILED.set(error);
    }
}

/// Flushes standard output.
///
/// # Errors
/// When something of what was printed was lost, on a full disk for example.
pub(crate) fn finish() -> io::Result<()> {
    keep_error(io::stdout().lock().flush());
    FAILED.get().map_or(Ok(()), |error| Err(io::Error::new(error.kind(), error.to_string())))
}

/// Are colors wanted on this stream? Only on a terminal, and not with `NO_COLOR` (<https://no-color.org>).
pub(crate) fn has_colors(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty())
}

/// Prints a line to standard output.
pub(crate) fn print_line(line: &str) {
    print(&format!("{line}\n"));
}

/// Prints a line to standard error.
pub(crate) fn note(line: &str) {
    let _ = io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}

/// Prints an error with its causes; exit code 1.
pub(crate) fn fail(error: &anyhow::Error) -> ExitCode {
    let mut text = format!("error: {error}");
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        // Some errors repeat their cause in their own text.
        if !text.contains(&cause) {
            text.push_str(&format!("\n  because: {cause}"));
        }
    }
    note(&text);
    ExitCode::FAILURE
}

/// Prints rows: a table, or the values as they are.
pub(crate) fn print_rows(
    format: Format,
    header: &[&str],
    rows: Vec<Vec<String>>,
    value: &serde_json::Value,
) -> anyhow::Result<()> {
    match format {
        Format::Table => {
            let mut table = Table::new();
            table
                .load_style(presets::NOTHING)
                .set_content_arrangement(ContentArrangement::Disabled);
            table.set_header(header.iter().map(|it| it.to_uppercase()).collect::<Vec<_>>());
            for row in rows {
                table.add_row(row);
            }
            for line in table.to_string().lines() {
                print_line(line.trim_end());
            }
        }
        Format::Json => print_line(&serde_json::to_string_pretty(value)?),
        Format::Yaml => print(&serde_saphyr::to_string(value)?),
    }
    Ok(())
}

/// Logs go to standard error. The agent and the proxy say what they do (`info`); other commands speak up for warnings only.
/// Gives what changes that at run time.
pub(crate) fn set_up_logging(arguments: &Arguments) -> LogLevels {
    let default = match &arguments.command {
        Command::Agent(_) => "info",
        Command::Proxy(options) => &options.log_level,
        _ => "warn",
    };
    let (told, told_json) = match &arguments.command {
        Command::Agent(options) => agent::told_log(options),
        _ => (None, false),
    };
    let told = told.as_deref().map(filter_of);
    let filter = arguments.log.as_deref().or(told.as_deref()).unwrap_or(default);
    log_by(filter, default, arguments.log_json || told_json)
}

/// Logs to standard error what `level` lets through, a word of Consul's.
pub(crate) fn log_to_stderr(level: &str, is_json: bool) {
    log_by(&filter_of(level), "info", is_json);
}

/// Libraries that tell of each frame at the level `debug`.
const CHATTY: [&str; 6] = ["h2", "hyper", "hyper_util", "rustls", "tonic", "tower"];

/// The filter that a word of Consul's means, in any letter case; `info` if it is none. With `debug` libraries are as quiet
/// as they are with `info`.
fn filter_of(word: &str) -> String {
    let known = ["trace", "debug", "info", "warn", "error", "off"];
    let word = if word.eq_ignore_ascii_case("err") { "error" } else { word };
    let level = known.into_iter().find(|it| it.eq_ignore_ascii_case(word)).unwrap_or("info");
    let quiet = CHATTY.map(|it| format!(",{it}=info")).concat();
    if level == "debug" { level.to_owned() + &quiet } else { level.to_owned() }
}

fn log_by(filter: &str, default: &str, is_json: bool) -> LogLevels {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|error| {
        note(&format!("--log {filter:?} is not a filter ({error}); logging at {default}"));
        EnvFilter::new(default)
    });
    let (filter, handle) = reload::Layer::new(filter);
    let ansi = has_colors(&io::stderr());
    let layer = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(ansi);
    let registry = tracing_subscriber::registry().with(followed::layer());
    if is_json {
        registry.with(layer.json().with_filter(filter)).init();
    } else {
        registry.with(layer.with_target(false).with_filter(filter)).init();
    }
    LogLevels::new(move |directives| {
        if let Some(directives) = directives {
            let filter = EnvFilter::try_new(directives).map_err(|error| error.to_string())?;
            handle.reload(filter).map_err(|error| error.to_string())?;
            tracing::info!(directives, "what is logged was changed");
        }
        handle.with_current(ToString::to_string).map_err(|error| error.to_string())
    })
}
