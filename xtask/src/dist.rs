//! `cargo xtask dist`: the binary that is shipped.
//!
//! It is built twice: once so that it counts what it does, under the loads of the benchmarks, and once by those counts
//! (profile-guided optimization). What runs often is laid out together, and what runs seldom out of its way.

use std::collections::hash_map::DefaultHasher;
use std::env;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::bench;
use crate::tools::{remove_folder, root, run, say, step};

pub(crate) fn run_command() -> anyhow::Result<()> {
    let binary = build()?;
    say(&format!("\n{}", binary.display()));
    Ok(())
}

/// Builds it, and gives its path. What is up to date is not made again.
pub(crate) fn build() -> anyhow::Result<PathBuf> {
    let target = target();
    let folder = target.join("dist-profile");
    let counts = folder.join("counts");
    step("building leno so that it counts what it does");
    let counting =
        build_with(&folder.join("counting"), &format!("-Cprofile-generate={}", counts.display()))?;
    let merged = folder.join("merged");
    if is_older(&merged, &counting)? {
        step("counting, under the loads of the benchmarks");
        remove_folder(&counts)?;
        bench::data_plane::train(&counting)?;
        bench::registry::train(&counting)?;
        run(Command::new(profdata()?).arg("merge").arg("-o").arg(&merged).arg(&counts))?;
    }
    step("building leno by what was counted");
    let built = build_with(
        &folder.join("built"),
        &format!("-Cprofile-use={}", named_by_content(&merged, &folder)?.display()),
    )?;
    let shipped = target.join("dist/leno");
    fs::create_dir_all(target.join("dist"))?;
    fs::copy(&built, &shipped)
        .with_context(|| format!("cannot copy {} to {}", built.display(), shipped.display()))?;
    Ok(shipped)
}

fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Builds the binary with this flag, which build scripts and macros do not get.
fn build_with(target: &Path, flag: &str) -> anyhow::Result<PathBuf> {
    let host = host()?;
    let flags = [env::var("RUSTFLAGS").unwrap_or_default(), flag.to_owned()].join(" ");
    let built = Command::new(env!("CARGO"))
        .current_dir(root())
        .args(["build", "--profile", "dist", "--package", "cli", "--target", &host])
        .arg("--target-dir")
        .arg(target)
        .env("RUSTFLAGS", flags.trim())
        .status()
        .context("cannot run cargo")?;
    if !built.success() {
        bail!("the build failed");
    }
    Ok(target.join(host).join("dist/leno"))
}

fn host() -> anyhow::Result<String> {
    let output = run(Command::new("rustc").arg("-vV"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not tell its host")?.to_owned())
}

/// The tool that adds counts up, of the version that this compiler wants. Installed with rustup when it is missing.
fn profdata() -> anyhow::Result<PathBuf> {
    let output = run(Command::new("rustc").args(["--print", "sysroot"]))?;
    let root = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    let tool = root.join("lib/rustlib").join(host()?).join("bin/llvm-profdata");
    if !tool.is_file() {
        run(Command::new("rustup").args(["component", "add", "llvm-tools"]))
            .context("llvm-profdata is missing; install the component llvm-tools")?;
    }
    Ok(tool)
}

/// True when `file` is missing, or was made before `other`.
fn is_older(file: &Path, other: &Path) -> anyhow::Result<bool> {
    let Ok(file) = fs::metadata(file) else { return Ok(true) };
    Ok(file.modified()? < fs::metadata(other)?.modified()?)
}

/// A copy with a name that says what is in it: cargo builds again when the name is another.
fn named_by_content(merged: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    let bytes = fs::read(merged)?;
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    let named = folder.join(format!("{:016x}.profdata", hasher.finish()));
    if !named.exists() {
        fs::write(&named, bytes)?;
    }
    Ok(named)
}
