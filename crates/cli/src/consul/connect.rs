//! `consul connect ca`: the certificate authority of the mesh.

use anyhow::{Context, ensure};
use serde_json::Value;

use super::client::Ask;
use super::command::{Call, Command, Outcome, Reach};
use super::flags::{switch, text};
use super::print::json;
use crate::output::print_line;

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "connect ca get-config",
        synopsis: "Prints how the certificate authority is configured.",
        arguments: "[options]",
        flags: &[],
        reach: Reach::Agent,
        run: get,
    },
    Command {
        name: "connect ca set-config",
        synopsis: "Configures the certificate authority by a file of JSON.",
        arguments: "[options] -config-file FILE",
        flags: &[
            text("config-file", "File with Provider and Config."),
            switch(
                "force-without-cross-signing",
                "Also when the old authority cannot sign the new.",
            ),
        ],
        reach: Reach::Agent,
        run: set,
    },
];

const PATH: &str = "/v1/connect/ca/configuration";

fn get(call: &Call) -> Outcome {
    let config = call.client()?.json(&Ask::get(PATH));
    let config = config.context("Error querying CA configuration")?;
    print_line(&json(&config, "\t"));
    Ok(0)
}

fn set(call: &Call) -> Outcome {
    let file = call.text("config-file");
    ensure!(!file.is_empty(), "The -config-file flag is required");
    let bytes = std::fs::read(file).context("Error reading config file")?;
    let config: Value = serde_json::from_slice(&bytes).context("Error parsing config file")?;
    ensure!(config.is_object(), "Error parsing config file: it is no JSON object");
    let mut config = config;
    config["ForceWithoutCrossSigning"] = call.is("force-without-cross-signing").into();
    let ask = Ask::put(PATH).json(&config);
    call.client()?.done(&ask).context("Error setting CA configuration")?;
    print_line("Configuration updated!");
    Ok(0)
}
