//! The rules of the house that no compiler knows: who may use whom, how long a file may be, what a room must say.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::tools::{root, say};

/// The table of arrows: each room with the rooms that it may use. ARCHITECTURE.md says why.
const ARROWS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("proxy-config", &["model"]),
    ("config-entries", &["model", "filter"]),
    ("registry", &["model", "acl", "filter", "config-entries"]),
    ("agent-config", &["model", "filter"]),
    ("ca", &["model"]),
    ("store", &["model"]),
    ("compiler", &["model", "proxy-config", "config-entries", "filter"]),
    ("traffic", &["model", "proxy-config", "codec"]),
    ("recovery", &["model", "proxy-config"]),
    ("acl", &["model", "hcl"]),
    ("api", &["model", "acl", "jwt", "registry", "proxy-config", "filter", "ca", "config-entries"]),
    ("codec", &[]),
    ("dns", &["model", "acl", "registry"]),
    ("filter", &["model"]),
    ("hcl", &[]),
    ("jwt", &[]),
    ("manifests", &["model", "registry"]),
    ("xds", &["model", "proxy-config"]),
    ("runtime", &[]),
    ("proxy", &["model", "proxy-config", "traffic", "codec", "runtime"]),
    (
        "control",
        &[
            "model",
            "proxy-config",
            "registry",
            "store",
            "compiler",
            "recovery",
            "acl",
            "api",
            "ca",
            "dns",
            "manifests",
            "runtime",
        ],
    ),
    (
        "cli",
        &[
            "agent-config",
            "control",
            "hcl",
            "manifests",
            "proxy",
            "proxy-config",
            "runtime",
            "model",
            "traffic",
            "xds",
        ],
    ),
    ("xtask", &[]),
];

/// Rooms that read no clock, open no file or socket and draw no random numbers; each has a `clippy.toml` that says so.
const PURE: &[&str] = &[
    "agent-config",
    "ca",
    "model",
    "proxy-config",
    "registry",
    "compiler",
    "config-entries",
    "traffic",
    "recovery",
    "acl",
    "api",
    "codec",
    "dns",
    "filter",
    "hcl",
    "jwt",
    "manifests",
    "xds",
];
/// What the `clippy.toml` of a pure room must forbid.
const FORBIDDEN_IN_PURE: &[&str] = &[
    "std::time::Instant::now",
    "std::time::SystemTime::now",
    "rand::rng",
    "std::fs::",
    "std::net::",
    "tokio::",
];

/// A file that is longer must say why in its first lines, with the words "long because".
const FILE_LINES_MAX: usize = 800;
/// The map must be readable in one sitting.
const ARCHITECTURE_LINES_MAX: usize = 250;
/// Names that say nothing about what a room holds.
const HOMELESS: &[&str] = &["common", "utils", "util", "types", "helpers"];

/// Checks every rule and lists every break.
pub(crate) fn run_all() -> anyhow::Result<Vec<String>> {
    let mut breaks = Vec::new();
    check_arrows(&mut breaks)?;
    check_rooms(&mut breaks)?;
    for file in tracked_files()? {
        check_file(&file, &mut breaks)?;
    }
    let architecture = fs::read_to_string(root().join("ARCHITECTURE.md"))?;
    if architecture.lines().count() > ARCHITECTURE_LINES_MAX {
        breaks.push(format!("ARCHITECTURE.md has more than {ARCHITECTURE_LINES_MAX} lines"));
    }
    Ok(breaks)
}

pub(crate) fn run() -> anyhow::Result<()> {
    let breaks = run_all()?;
    for it in &breaks {
        say(it);
    }
    if breaks.is_empty() {
        say("tidy");
        Ok(())
    } else {
        bail!("{} rules of the house are broken", breaks.len())
    }
}

fn check_arrows(breaks: &mut Vec<String>) -> anyhow::Result<()> {
    let output = super::tools::run(Command::new(env!("CARGO")).current_dir(root()).args([
        "metadata",
        "--format-version",
        "1",
        "--no-deps",
        "--offline",
    ]))?;
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let packages = metadata["packages"].as_array().context("cargo metadata lists packages")?;
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let Some(may_use) = allowed.get(name) else {
            breaks.push(format!(
                "{name}: the room is not in the table of arrows (xtask/src/tidy.rs)"
            ));
            continue;
        };
        for dependency in
            package["dependencies"].as_array().context("a package has dependencies")?
        {
            let uses = dependency["name"].as_str().unwrap_or_default();
            let is_room = dependency["path"].is_string();
            if is_room && !may_use.contains(&uses) {
                breaks.push(format!("{name} -> {uses}: the arrow is not in the table"));
            }
        }
    }
    Ok(())
}

fn check_rooms(breaks: &mut Vec<String>) -> anyhow::Result<()> {
    for entry in fs::read_dir(root().join("crates"))? {
        let folder = entry?.path();
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if HOMELESS.contains(&name.as_str()) {
            breaks.push(format!("crates/{name}: the name says nothing about what it holds"));
        }
        let main = ["src/lib.rs", "src/main.rs"].map(|it| folder.join(it));
        let Some(main) = main.iter().find(|it| it.exists()) else {
            breaks.push(format!("crates/{name}: no lib.rs and no main.rs"));
            continue;
        };
        if !fs::read_to_string(main)?.starts_with(&format!("//! # {name}: ")) {
            breaks.push(format!("crates/{name}: {} does not open with its card", main.display()));
        }
        if PURE.contains(&name.as_str()) {
            let rules = fs::read_to_string(folder.join("clippy.toml")).unwrap_or_default();
            for forbidden in FORBIDDEN_IN_PURE.iter().filter(|it| !rules.contains(**it)) {
                breaks.push(format!("crates/{name}/clippy.toml does not forbid {forbidden}"));
            }
        }
    }
    Ok(())
}

fn check_file(path: &Path, breaks: &mut Vec<String>) -> anyhow::Result<()> {
    let Ok(text) = fs::read_to_string(root().join(path)) else { return Ok(()) };
    let shown = path.display();
    if path.file_name().is_some_and(|it| it == "mod.rs") {
        breaks.push(format!("{shown}: use foo.rs beside foo/, not foo/mod.rs"));
    }
    if path.extension().is_none_or(|it| it != "rs") {
        return Ok(());
    }
    let lines = text.lines().count();
    let explains = text.lines().take(30).any(|line| line.contains("long because"));
    if lines > FILE_LINES_MAX && !explains {
        breaks.push(format!(
            "{shown}: {lines} lines, and it does not say what it is long because of"
        ));
    }
    for (number, line) in text.lines().enumerate() {
        // Put together here, so that this file does not break its own rule.
        let ignored = ["#[", "ignore"].concat();
        if line.trim_start().starts_with(&ignored) {
            breaks.push(format!("{shown}:{}: a test that does not run", number + 1));
        }
        if line.ends_with([' ', '\t']) {
            breaks.push(format!("{shown}:{}: space at the end of the line", number + 1));
        }
    }
    Ok(())
}

/// Files that git tracks or would track.
fn tracked_files() -> anyhow::Result<BTreeSet<PathBuf>> {
    let output = run_git(&["ls-files", "--cached", "--others", "--exclude-standard"])?;
    Ok(output.lines().map(PathBuf::from).collect())
}

fn run_git(arguments: &[&str]) -> anyhow::Result<String> {
    let output = super::tools::run(Command::new("git").current_dir(root()).args(arguments))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
