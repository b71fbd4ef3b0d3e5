//! `consul agent` and `consul validate`: an agent by Consul's configuration files.

use std::path::PathBuf;

use super::command::{Command, Outcome, Reach, refuse};
use super::flags::{switch, text_or};

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "agent",
        synopsis: "Runs an agent.",
        arguments: "[options]",
        flags: &[],
        reach: Reach::Raw,
        run: |call| run(call.positional()),
    },
    Command {
        name: "validate",
        synopsis: "Checks configuration files, or folders of them, without starting an agent.",
        arguments: "[options] FILE_OR_DIRECTORY...",
        flags: &[
            text_or("config-format", "", "Format of all files: hcl or json."),
            switch("quiet", "Print nothing when all is well."),
        ],
        reach: Reach::Nobody,
        run: |call| {
            let paths: Vec<PathBuf> = call.positional().iter().map(PathBuf::from).collect();
            if paths.is_empty() {
                return call.wrong_use("Must specify at least one config file or directory");
            }
            validate(&paths)
        },
    },
];

/// Runs an agent until it ends.
pub(crate) fn run(_arguments: &[String]) -> Outcome {
    refuse("consul agent: reading Consul's agent flags is merged separately")
}

/// Checks configuration.
pub(crate) fn validate(_paths: &[PathBuf]) -> Outcome {
    refuse("consul validate: reading Consul's configuration files is merged separately")
}
