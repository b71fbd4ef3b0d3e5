//! The real clients that the tests talk to, set up below `target/peers` through their own package managers.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::tools::{root, run, say};

/// What could be set up.
pub(crate) struct Peers {
    /// Folder that holds them; the tests get it as `LENO_PEERS`.
    pub(crate) folder: PathBuf,
    /// What could not, and why.
    pub(crate) left_out: Vec<(&'static str, String)>,
}

/// Sets one peer up below the given folder.
type SetUp = fn(&Path) -> anyhow::Result<()>;

/// Sets up every peer that can be.
pub(crate) fn set_up() -> anyhow::Result<Peers> {
    let folder = root().join("target/peers");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut left_out = Vec::new();
    let peers: [(&'static str, SetUp); 3] = [
        ("the Go client of Consul", go_client),
        ("the Python clients (py-consul, dnspython)", python_clients),
        ("the Node client of Consul", node_client),
    ];
    for (name, set_up) in peers {
        match set_up(&folder) {
            Ok(()) => say(&format!("ready: {name}")),
            Err(error) => {
                say(&format!("left out: {name}: {error:#}"));
                let reason = format!("{error:#}").lines().next().unwrap_or_default().to_owned();
                left_out.push((name, reason));
            }
        }
    }
    if env::var_os("LENO_REQUIRE_PEERS").is_some_and(|it| it == "1") && !left_out.is_empty() {
        bail!("LENO_REQUIRE_PEERS=1, and {} of the peers could not be set up", left_out.len());
    }
    Ok(Peers { folder, left_out })
}

/// Builds the Go program against the real client library.
fn go_client(folder: &Path) -> anyhow::Result<()> {
    let source = root().join("tests/interop/consul-go");
    run(Command::new("go")
        .current_dir(source)
        .args(["build", "-mod=readonly", "-o"])
        .arg(folder.join("consul-register"))
        .arg("."))?;
    Ok(())
}

fn python_clients(folder: &Path) -> anyhow::Result<()> {
    let requirements = root().join("tests/interop/python/requirements.txt");
    let venv = folder.join("venv");
    if !is_stale(&venv, &[&requirements])? {
        return Ok(());
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
    run(Command::new(venv.join("bin/pip"))
        .args(["install", "--quiet", "--disable-pip-version-check", "--requirement"])
        .arg(&requirements))?;
    mark_fresh(&venv, &[&requirements])
}

fn node_client(folder: &Path) -> anyhow::Result<()> {
    let source = root().join("tests/interop/node");
    let node = folder.join("node");
    let files = [source.join("package.json"), source.join("package-lock.json")];
    let files = [files[0].as_path(), files[1].as_path()];
    if !is_stale(&node, &files)? {
        return Ok(());
    }
    fs::create_dir_all(&node)?;
    for file in files {
        let name = file.file_name().context("it is a file")?;
        fs::copy(file, node.join(name))
            .with_context(|| format!("cannot copy {}", file.display()))?;
    }
    run(Command::new("npm").current_dir(&node).args([
        "ci",
        "--no-audit",
        "--no-fund",
        "--loglevel=error",
    ]))?;
    mark_fresh(&node, &files)
}

/// What a folder was made from is kept beside what was made.
fn stamp(files: &[&Path]) -> anyhow::Result<String> {
    let texts: Vec<String> = files
        .iter()
        .map(|file| {
            fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
        })
        .collect::<Result<_, _>>()?;
    Ok(texts.join("\n--\n"))
}

fn is_stale(folder: &Path, files: &[&Path]) -> anyhow::Result<bool> {
    Ok(fs::read_to_string(folder.join(".made-from")).ok() != Some(stamp(files)?))
}

fn mark_fresh(folder: &Path, files: &[&Path]) -> anyhow::Result<()> {
    Ok(fs::write(folder.join(".made-from"), stamp(files)?)?)
}
