//! `consul login` and `consul logout`: tokens for identities that others have proven.

use std::fs;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::client::Ask;
use super::command::{Call, Command, Outcome, Reach, write_secret};
use super::flags::{list as list_flag, text};
use super::print::field;

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "login",
        synopsis: "Gets a token for a bearer token, and writes it to a file.",
        arguments: "[options] -method NAME -bearer-token-file FILE -token-sink-file FILE",
        flags: &[
            text("bearer-token-file", "File of the bearer token."),
            list_flag("meta", "Metadata of the token, as key=value."),
            text("method", "Name of the auth method."),
            text("token-sink-file", "File to write the token to."),
            text("type", "Type of the auth method; it is found by its name anyway."),
        ],
        reach: Reach::Agent,
        run: login,
    },
    Command {
        name: "logout",
        synopsis: "Destroys the token, which `consul login` got.",
        arguments: "[options]",
        flags: &[],
        reach: Reach::Agent,
        run: logout,
    },
];

fn login(call: &Call) -> Outcome {
    ensure!(call.positional().is_empty(), "Should have no non-flag arguments.");
    for flag in ["method", "token-sink-file", "bearer-token-file"] {
        ensure!(!call.text(flag).is_empty(), "Missing required '-{flag}' flag");
    }
    let file = call.text("bearer-token-file");
    let bearer = fs::read_to_string(file).with_context(|| format!("open {file}"))?;
    ensure!(!bearer.trim().is_empty(), "No bearer token found in {file}");
    let meta = call.pairs("meta").into_iter();
    let meta: Value = meta.map(|(key, value)| (key.to_owned(), Value::from(value))).collect();
    let body = json!({
        "AuthMethod": call.text("method"), "BearerToken": bearer.trim(), "Meta": meta,
    });
    // Who logs in has no token yet; one in the environment must not decide.
    let client = call.client()?.with_token("")?;
    let token = client.json(&Ask::post("/v1/acl/login").json(&body)).context("Error logging in")?;
    let sink = call.text("token-sink-file");
    let failed = || "Error writing token to file sink".to_owned();
    // Written beside it and then renamed: readers see the old token or the new one.
    let new = format!("{sink}.{}.new", std::process::id());
    write_secret(&new, field(&token, "SecretID").as_bytes()).with_context(failed)?;
    fs::rename(&new, sink).with_context(failed)?;
    Ok(0)
}

fn logout(call: &Call) -> Outcome {
    ensure!(call.positional().is_empty(), "Should have no non-flag arguments.");
    call.client()?.done(&Ask::post("/v1/acl/logout")).context("Error destroying token")?;
    Ok(0)
}
