//! `consul version`.

use control::agent::{BUILD_DATE, CONSUL_VERSION, REVISION};
use serde_json::json;

use super::command::{Call, Command, Outcome, Reach, refuse};
use super::flags::text_or;
use super::print::json;
use crate::output::print_line;

/// The protocol of Consul 1.21's gossip: spoken, least and most understood.
const PROTOCOL: (u8, u8, u8) = (2, 2, 3);

pub(crate) const COMMANDS: &[Command] = &[Command {
    name: "version",
    synopsis: "Prints the version of Consul's interface that is spoken.",
    arguments: "[options]",
    flags: &[text_or("format", "pretty", "Form of the output, pretty or json.")],
    reach: Reach::Nobody,
    run: version,
}];

fn version(call: &Call) -> Outcome {
    let (spoken, least, most) = PROTOCOL;
    match call.text("format") {
        "pretty" => {
            print_line(&format!("Consul v{CONSUL_VERSION}"));
            print_line(&format!("Revision {REVISION}"));
            print_line(&format!("Build Date {BUILD_DATE}"));
            print_line(&format!(
                "Protocol {spoken} spoken by default, understands {least} to {most} (agent will \
                 automatically use protocol >{spoken} when speaking to compatible agents)"
            ));
            print_line("");
        }
        "json" => {
            let value = json!({
                "Version": CONSUL_VERSION,
                "Revision": REVISION,
                "Prerelease": "",
                "BuildDate": BUILD_DATE,
                "RPC": {"Default": spoken, "Min": least, "Max": most},
            });
            print_line(&json(&value, "   "));
        }
        other => return refuse(format!("Unknown format: {other}")),
    }
    Ok(0)
}
