//! `leno import`: files of other supervisors as documents.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};

use crate::args::{ImportArguments, ImportWhat};
use crate::documents::severity_word;
use crate::output::{note, print};
use crate::validate::read_file;

/// Documents go to standard output, what was not taken over to standard error. Exit code 1 when the file cannot be read as what it
/// is said to be.
pub(crate) fn run(what: &ImportWhat) -> anyhow::Result<ExitCode> {
    let (ImportWhat::Procfile(arguments) | ImportWhat::Compose(arguments)) = what;
    let text = read_file(&arguments.file)?;
    let folder = folder(arguments)?;
    let imported = match what {
        ImportWhat::Procfile(_) => manifests::import::procfile(&text, &arguments.file, &folder),
        ImportWhat::Compose(_) => manifests::import::compose(&text, &arguments.file, &folder),
    };
    for finding in &imported.findings {
        note(&format!("{}: {finding}", severity_word(finding.severity)));
    }
    let Some(documents) = imported.documents else {
        bail!("{} cannot be imported", arguments.file);
    };
    print(&documents);
    Ok(ExitCode::SUCCESS)
}

/// The absolute path of the folder that commands run in; empty when none is known.
fn folder(arguments: &ImportArguments) -> anyhow::Result<String> {
    let folder = match (&arguments.working_dir, arguments.file.as_str()) {
        (Some(folder), _) => folder.clone(),
        (None, "-") => return Ok(String::new()),
        (None, file) => Path::new(file).parent().map(PathBuf::from).unwrap_or_default(),
    };
    // The parent of a bare name is empty, and means here.
    let folder = if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder };
    let absolute = std::path::absolute(&folder)
        .with_context(|| format!("cannot tell where {} is", folder.display()))?;
    absolute.into_os_string().into_string().ok().context("the folder's path is not UTF-8")
}
