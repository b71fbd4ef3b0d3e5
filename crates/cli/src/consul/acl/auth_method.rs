//! `consul acl auth-method`.

use std::fmt::Write;

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use super::super::client::{Ask, Client};
use super::super::command::{Call, Command, Outcome, Reach, read_data};
use super::super::flags::{Flag, Kind, flag, text};
use super::super::print::{field, json, list};
use super::{FORMAT, META, NO_MERGE, add_meta, line, show};
use crate::list::encoded;
use crate::output::print_line;

const NAME: Flag = text("name", "Name of the auth method.");
const CONFIG: Flag = text("config", "Its configuration as JSON; @FILE or - reads it.");
const DESCRIPTION: Flag = text("description", "What the auth method is for.");
const DISPLAY_NAME: Flag = text("display-name", "Name that people are shown.");
const CA_CERT: Flag = text("kubernetes-ca-cert", "CA of the API server, in PEM; @FILE reads it.");
const HOST: Flag = text("kubernetes-host", "Address of Kubernetes' API server.");
const JWT: Flag = text("kubernetes-service-account-jwt", "Token with which it may be asked.");
const MAX_TTL: Flag = flag("max-token-ttl", Kind::Duration, "How long its tokens are valid.");
const LOCALITY: Flag = text("token-locality", "Where its tokens are valid: local or global.");
const NAME_FORMAT: Flag = text("token-name-format", "Form of its tokens' descriptions.");

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "acl auth-method create",
        synopsis: "Makes an auth method.",
        arguments: "[options] -name NAME -type TYPE",
        flags: &[
            CONFIG,
            DESCRIPTION,
            DISPLAY_NAME,
            FORMAT,
            CA_CERT,
            HOST,
            JWT,
            MAX_TTL,
            META,
            NAME,
            LOCALITY,
            NAME_FORMAT,
            text("type", "Type of the auth method, such as kubernetes or jwt."),
        ],
        reach: Reach::Agent,
        run: create,
    },
    Command {
        name: "acl auth-method read",
        synopsis: "Prints an auth method.",
        arguments: "[options] -name NAME",
        flags: &[FORMAT, META, NAME],
        reach: Reach::Agent,
        run: read,
    },
    Command {
        name: "acl auth-method update",
        synopsis: "Changes an auth method.",
        arguments: "[options] -name NAME",
        flags: &[
            CONFIG,
            DESCRIPTION,
            DISPLAY_NAME,
            FORMAT,
            CA_CERT,
            HOST,
            JWT,
            MAX_TTL,
            META,
            NAME,
            NO_MERGE,
            LOCALITY,
            NAME_FORMAT,
        ],
        reach: Reach::Agent,
        run: update,
    },
    Command {
        name: "acl auth-method delete",
        synopsis: "Removes an auth method, and the tokens that it gave.",
        arguments: "[options] -name NAME",
        flags: &[NAME],
        reach: Reach::Agent,
        run: delete,
    },
    Command {
        name: "acl auth-method list",
        synopsis: "Lists the auth methods.",
        arguments: "[options]",
        flags: &[FORMAT, META],
        reach: Reach::Agent,
        run: list_all,
    },
];

fn path(name: &str) -> String {
    format!("/v1/acl/auth-method/{}", encoded(name))
}

fn name(call: &Call) -> anyhow::Result<&str> {
    let name = call.text("name");
    ensure!(!name.is_empty(), "Must specify the -name parameter");
    Ok(name)
}

fn find(client: &Client, name: &str) -> anyhow::Result<Value> {
    let found = client.find(&Ask::get(path(name)));
    let found = found.with_context(|| format!("Error reading auth method {name:?}"))?;
    found.with_context(|| format!("Auth method not found with name {name:?}"))
}

/// Puts what the flags say into a method.
fn fill(call: &Call, method: &mut Value) -> anyhow::Result<()> {
    for (flag, name) in [
        ("description", "Description"),
        ("display-name", "DisplayName"),
        ("max-token-ttl", "MaxTokenTTL"),
        ("token-locality", "TokenLocality"),
        ("token-name-format", "TokenNameFormat"),
    ] {
        if !call.text(flag).is_empty() {
            method[name] = call.text(flag).into();
        }
    }
    let kubernetes = [
        ("kubernetes-host", "Host"),
        ("kubernetes-ca-cert", "CACert"),
        ("kubernetes-service-account-jwt", "ServiceAccountJWT"),
    ];
    if call.has("config") {
        let is_alone = kubernetes.iter().all(|(flag, _)| !call.has(flag));
        ensure!(is_alone, "Cannot use command line arguments with '-config' flags");
        let config = read_data(call.text("config")).context("Error loading configuration file")?;
        let config: Value =
            serde_json::from_slice(&config).context("Error parsing JSON configuration file")?;
        method["Config"] = config;
        return Ok(());
    }
    for (flag, name) in kubernetes {
        if call.has(flag) {
            let value = match flag {
                "kubernetes-ca-cert" => {
                    let value = read_data(call.text(flag));
                    let value = value.with_context(|| format!("Invalid '-{flag}' value"))?;
                    String::from_utf8(value).context("Kubernetes CA Cert is not text")?
                }
                _ => call.text(flag).to_owned(),
            };
            method["Config"][name] = value.into();
        }
    }
    if method["Type"] == "kubernetes" {
        for (flag, name) in kubernetes {
            ensure!(!field(&method["Config"], name).is_empty(), "Missing required '-{flag}' flag");
        }
    }
    Ok(())
}

fn create(call: &Call) -> Outcome {
    for flag in ["type", "name"] {
        if call.text(flag).is_empty() {
            return call.wrong_use(&format!("Missing required '-{flag}' flag"));
        }
    }
    let mut method = json!({"Name": call.text("name"), "Type": call.text("type")});
    fill(call, &mut method)?;
    let ask = Ask::put("/v1/acl/auth-method").json(&method);
    let method = call.client()?.json(&ask).context("Failed to create new auth method")?;
    show(call, &method, |method| pretty(method, call.is("meta")))
}

fn read(call: &Call) -> Outcome {
    let method = find(&call.client()?, name(call)?)?;
    show(call, &method, |method| pretty(method, call.is("meta")))
}

fn update(call: &Call) -> Outcome {
    let name = name(call)?;
    let client = call.client()?;
    let known = find(&client, name)?;
    let mut method = match call.is("no-merge") {
        true => json!({"Name": name, "Type": known["Type"]}),
        false => known,
    };
    fill(call, &mut method)?;
    let ask = Ask::put(path(name)).json(&method);
    let failed = || format!("Error updating auth method {name:?}");
    let method = client.json(&ask).with_context(failed)?;
    show(call, &method, |method| pretty(method, call.is("meta")))
}

fn delete(call: &Call) -> Outcome {
    let name = name(call)?;
    if !call.positional().is_empty() {
        bail!("Should have no non-flag arguments.");
    }
    let failed = || format!("Error deleting auth method {name:?}");
    call.client()?.done(&Ask::delete(path(name))).with_context(failed)?;
    print_line(&format!("Auth method {name:?} deleted successfully"));
    Ok(0)
}

fn list_all(call: &Call) -> Outcome {
    let all = call.client()?.json(&Ask::get("/v1/acl/auth-methods"));
    let all = all.context("Failed to retrieve the auth method list")?;
    show(call, &all, |all| {
        let mut text = String::new();
        for method in list(all) {
            line!(text, "{}:", field(method, "Name"));
            line!(text, "   Type:         {}", field(method, "Type"));
            if !field(method, "DisplayName").is_empty() {
                line!(text, "   DisplayName:  {}", field(method, "DisplayName"));
            }
            line!(text, "   Description:  {}", field(method, "Description"));
            if call.is("meta") {
                add_meta(&mut text, method, "   ", 14);
            }
        }
        text
    })
}

fn pretty(method: &Value, meta: bool) -> String {
    let mut text = String::new();
    line!(text, "Name:          {}", field(method, "Name"));
    line!(text, "Type:          {}", field(method, "Type"));
    if !field(method, "DisplayName").is_empty() {
        line!(text, "DisplayName:   {}", field(method, "DisplayName"));
    }
    line!(text, "Description:   {}", field(method, "Description"));
    for name in ["MaxTokenTTL", "TokenLocality"] {
        let value = field(method, name);
        if !value.is_empty() && value != "0s" {
            line!(text, "{:<15}{value}", format!("{name}:"));
        }
    }
    if meta {
        add_meta(&mut text, method, "", 15);
    }
    line!(text, "Config:");
    text.push_str(&json(&method["Config"], "  "));
    text
}
