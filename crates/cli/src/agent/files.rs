//! Configuration files in Consul's form, HCL 1 or JSON: found, read and merged, with templates of addresses resolved on
//! this machine.

use std::fs;
use std::path::{Path, PathBuf};

use agent_config::template::InterfaceAddress;
use agent_config::{AgentConfig, Source};
use anyhow::{Context, bail};
use model::{Diagnostic, Severity};

/// Largest file that is read: as much as the reader of HCL takes.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Reads files and folders in the order given; of a folder, the files that end in `.json` or `.hcl`, by name. `flags` come
/// last, and win. Findings that do not keep it from running are returned.
///
/// # Errors
/// All that is wrong, one line each.
pub(crate) fn load(
    paths: &[PathBuf],
    flags: &[Source],
) -> anyhow::Result<(AgentConfig, Vec<Diagnostic>)> {
    let mut sources = Vec::new();
    for path in paths {
        for file in files_of(path)? {
            sources.push(read(&file)?);
        }
    }
    sources.extend_from_slice(flags);
    let wrong = |findings: Vec<Diagnostic>| {
        // What is not honored is no reason not to start.
        let errors = findings.iter().filter(|it| it.severity == Severity::Error);
        let lines: Vec<String> = errors.map(ToString::to_string).collect();
        anyhow::anyhow!("the configuration is wrong:\n  {}", lines.join("\n  "))
    };
    let mut merged = agent_config::merge(&sources).map_err(wrong)?;
    let placed = |mut findings: Vec<Diagnostic>| {
        for finding in &mut findings {
            if let Some(source) = agent_config::source_of(&sources, &finding.field) {
                finding.place.file.clone_from(&source.name);
            }
        }
        findings
    };
    let mut errors = Vec::new();
    if agent_config::has_templates(&merged) {
        let machine = machine().context("cannot resolve the templates of addresses")?;
        errors = agent_config::resolve(&mut merged, &machine);
    }
    match agent_config::read(&merged) {
        Ok((config, findings)) if errors.is_empty() => Ok((config, placed(findings))),
        Ok(_) => Err(wrong(placed(errors))),
        Err(findings) => {
            errors.extend(findings);
            Err(wrong(placed(errors)))
        }
    }
}

/// The addresses of this machine.
///
/// # Errors
/// When the kernel does not tell.
pub(crate) fn machine() -> anyhow::Result<Vec<InterfaceAddress>> {
    let found = runtime::interfaces().context("cannot read the addresses of network interfaces")?;
    let addresses = found.into_iter().map(|it| InterfaceAddress {
        name: it.name,
        ip: it.ip,
        network_bits: it.network_bits,
        is_up: it.is_up,
        is_loopback: it.is_loopback,
        is_point_to_point: it.is_point_to_point,
        is_broadcast: it.is_broadcast,
        is_multicast: it.is_multicast,
        has_default_route: it.has_default_route,
    });
    Ok(addresses.collect())
}

fn files_of(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let shown = path.display();
    let found = fs::metadata(path).with_context(|| format!("cannot read {shown}"))?;
    if !found.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).with_context(|| format!("cannot read the folder {shown}"))? {
        let file = entry.with_context(|| format!("cannot read the folder {shown}"))?.path();
        let is_ours = file.extension().is_some_and(|it| it == "json" || it == "hcl");
        if is_ours && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn read(file: &Path) -> anyhow::Result<Source> {
    let shown = file.display();
    let size = fs::metadata(file).with_context(|| format!("cannot read {shown}"))?.len();
    if size > FILE_BYTES_MAX {
        bail!("{shown} has {size} bytes, more than the {FILE_BYTES_MAX} that are read");
    }
    let bytes = fs::read(file).with_context(|| format!("cannot read {shown}"))?;
    let value = hcl::parse(&bytes).map_err(|error| anyhow::anyhow!("{shown}:{error}"))?;
    Ok(Source { name: shown.to_string(), value })
}
