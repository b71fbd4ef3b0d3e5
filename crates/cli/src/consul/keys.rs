//! `consul keygen` and `consul keyring`: keys of the gossip between agents.

use anyhow::{Context, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::client::Ask;
use super::command::{Call, Command, Outcome, Reach, usage};
use super::flags::{Kind, flag, switch, text};
use super::print::{field, list};
use crate::output::{note, print_line};

/// The longest way that Consul lets an answer take.
const RELAY_FACTOR_MAX: i64 = 5;

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "keygen",
        synopsis: "Makes a key for the encryption of gossip: 32 random bytes in base64.",
        arguments: "",
        flags: &[],
        reach: Reach::Nobody,
        run: |_| {
            print_line(&STANDARD.encode(rand::random::<[u8; 32]>()));
            Ok(0)
        },
    },
    KEYRING,
];

const KEYRING: Command = Command {
    name: "keyring",
    synopsis: "Lists, installs, chooses and removes the keys of gossip.",
    arguments: "[options]",
    flags: &[
        text("install", "Key to install."),
        switch("list", "List the keys that are installed."),
        switch("list-primary", "List the keys that are in use."),
        switch("local-only", "With -list: ask the agent alone."),
        flag("relay-factor", Kind::Number(0), "Through how many others answers may come."),
        text("remove", "Key to remove."),
        text("use", "Key to use from now on."),
    ],
    reach: Reach::Agent,
    run: keyring,
};

fn keyring(call: &Call) -> Outcome {
    let path = "/v1/operator/keyring";
    let mut actions = Vec::new();
    if call.is("list") || call.is("list-primary") {
        let ask = Ask::get(path).with_mark("local-only", call.is("local-only"));
        actions.push(("Gathering installed encryption keys...", ask));
    }
    for (flag, what, ask) in [
        ("install", "Installing new gossip encryption key...", Ask::post(path)),
        ("use", "Changing primary gossip encryption key...", Ask::put(path)),
        ("remove", "Removing gossip encryption key...", Ask::delete(path)),
    ] {
        if !call.text(flag).is_empty() {
            actions.push((what, ask.json(&json!({"Key": call.text(flag)}))));
        }
    }
    ensure!(actions.len() <= 1, "Only a single action is allowed");
    let Some((what, mut ask)) = actions.pop() else {
        note(&usage(&KEYRING));
        return Ok(1);
    };
    let factor = call.number("relay-factor");
    ensure!(
        (0..=RELAY_FACTOR_MAX).contains(&factor),
        "Error parsing relay factor: {factor} is not in range: [0, {RELAY_FACTOR_MAX}]"
    );
    if factor != 0 {
        ask = ask.with("relay-factor", factor);
    }
    let client = call.client()?;
    print_line(&format!("==> {what}"));
    let answer = client.done(&ask).context("error")?;
    if call.is("list") || call.is("list-primary") {
        let keys = if call.is("list-primary") { "PrimaryKeys" } else { "Keys" };
        print_rings(&answer.json().context("error")?, keys);
    }
    Ok(0)
}

fn print_rings(rings: &Value, keys: &str) {
    for ring in list(rings) {
        let mut pool = format!("{} (LAN)", field(ring, "Datacenter"));
        if !field(ring, "Segment").is_empty() {
            pool.push_str(&format!(" [{}]", field(ring, "Segment")));
        }
        if ring["WAN"] == true {
            "WAN".clone_into(&mut pool);
        }
        print_line(&format!("\n{pool}:"));
        for (key, nodes) in ring[keys].as_object().into_iter().flatten() {
            print_line(&format!("  {key} [{nodes}/{}]", ring["NumNodes"]));
        }
    }
}
