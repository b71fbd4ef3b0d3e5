//! Small things that several commands need.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};

/// Prints a line.
pub(crate) fn say(text: &str) {
    let _ = io::stdout().lock().write_all(format!("{}\n", text.trim_end()).as_bytes());
}

/// Prints the heading of a step.
pub(crate) fn step(name: &str) {
    say(&format!("\n== {name}"));
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    let xtask = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().expect("xtask lies in the root").to_owned()
}

/// Removes a folder with all that is in it; it is well when it is not there.
pub(crate) fn remove_folder(folder: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Sends a signal to a process that was started here and not waited for.
pub(crate) fn signal(process: &Child, signal: Signal) -> anyhow::Result<()> {
    let pid = i32::try_from(process.id()).ok().and_then(Pid::from_raw);
    Ok(kill_process(pid.context("a process id")?, signal)?)
}

/// Runs a command and returns its output; a failure carries what it printed.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<Output> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot run {name}"))?;
    if output.status.success() {
        return Ok(output);
    }
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let last: Vec<&str> = text.lines().rev().take(15).collect();
    let last: Vec<&str> = last.into_iter().rev().collect();
    bail!("{name} failed ({}):\n{}", output.status, last.join("\n"))
}
