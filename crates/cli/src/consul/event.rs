//! `consul event`.

use anyhow::{Context, ensure};
use regex::Regex;

use super::client::Ask;
use super::command::{Call, Command, Outcome, Reach};
use super::flags::text;
use super::print::field;
use crate::list::encoded;
use crate::output::print_line;

pub(crate) const COMMANDS: &[Command] = &[Command {
    name: "event",
    synopsis: "Fires an event, with or without a payload.",
    arguments: "[options] -name NAME [PAYLOAD]",
    flags: &[
        text("name", "Name of the event."),
        text("node", "Regular expression of the nodes that are to get it."),
        text("service", "Regular expression of the services whose nodes are to get it."),
        text("tag", "Regular expression of a tag of the service; with -service."),
    ],
    reach: Reach::Agent,
    run: event,
}];

fn event(call: &Call) -> Outcome {
    let name = call.text("name");
    if name.is_empty() {
        return call.wrong_use("Event name must be specified");
    }
    let mut ask = Ask::put(format!("/v1/event/fire/{}", encoded(name)));
    for filter in ["node", "service", "tag"] {
        let expression = call.text(filter);
        let failed = || format!("Failed to compile {filter} filter regexp");
        Regex::new(expression).with_context(failed)?;
        ask = ask.with_some(filter, expression);
    }
    ensure!(
        call.text("tag").is_empty() || !call.text("service").is_empty(),
        "Cannot provide tag filter without service filter."
    );
    match call.positional() {
        [] => {}
        [payload] => ask = ask.bytes(payload.clone()),
        _ => return call.wrong_use("Too many command line arguments."),
    }
    let client = call.client()?;
    client.own()?;
    let fired = client.json(&ask).context("Error firing event")?;
    print_line(&format!("Event ID: {}", field(&fired, "ID")));
    Ok(0)
}
