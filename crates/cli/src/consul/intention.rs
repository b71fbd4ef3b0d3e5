//! `consul intention`: which service may call which.

use anyhow::{Context, bail, ensure};
use serde_json::{Map, Value, json};

use super::client::{Ask, Client};
use super::command::{Call, Command, Outcome, Reach, read_source, refuse};
use super::flags::{list as list_flag, switch, text_or};
use super::print::{columns, field, items, json, list, row, time};
use crate::list::encoded;
use crate::output::{note, print_line};

/// What `list` and `check` end with where Consul does not end with 1.
const OTHER_FAILURE: u8 = 2;

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "intention create",
        synopsis: "Allows a service, or forbids it, to call another.",
        arguments: "[options] SOURCE DESTINATION | -file FILE...",
        flags: &[
            switch("allow", "Allow it; what is done if neither is given."),
            switch("deny", "Forbid it."),
            switch("file", "Read intentions from files of JSON; - is standard input."),
            list_flag("meta", "Metadata of the intention, as key=value."),
            switch("replace", "Replace an intention of the same services."),
        ],
        reach: Reach::Agent,
        run: create,
    },
    Command {
        name: "intention get",
        synopsis: "Prints an intention.",
        arguments: "[options] SOURCE DESTINATION | ID",
        flags: &[],
        reach: Reach::Agent,
        run: get,
    },
    Command {
        name: "intention delete",
        synopsis: "Removes an intention.",
        arguments: "[options] SOURCE DESTINATION | ID",
        flags: &[],
        reach: Reach::Agent,
        run: delete,
    },
    Command {
        name: "intention list",
        synopsis: "Lists the intentions.",
        arguments: "[options]",
        flags: &[],
        reach: Reach::Agent,
        run: list_all,
    },
    Command {
        name: "intention match",
        synopsis: "Lists the intentions that concern a service, in the order in which they count.",
        arguments: "[options] SERVICE",
        flags: &[
            switch("destination", "The service is called; what is meant if neither is given."),
            switch("source", "The service calls."),
        ],
        reach: Reach::Agent,
        run: match_service,
    },
    Command {
        name: "intention check",
        synopsis: "Says whether a service may call another: ends with 0 if so, with 1 if not.",
        arguments: "[options] SOURCE DESTINATION",
        flags: &[text_or("source-type", "consul", "Kind of the source.")],
        reach: Reach::Agent,
        run: check,
    },
];

/// `web => db (allow)`.
fn shown(intention: &Value) -> String {
    let what = match items(intention, "Permissions").len() {
        0 => field(intention, "Action").to_owned(),
        1 => "1 permission".to_owned(),
        count => format!("{count} permissions"),
    };
    format!("{} => {} ({what})", end(intention, "Source"), end(intention, "Destination"))
}

/// One of the services, with its namespace where that is not the usual one.
fn end(intention: &Value, which: &str) -> String {
    let name = field(intention, &format!("{which}Name"));
    match field(intention, &format!("{which}NS")) {
        "" | "default" => name.to_owned(),
        namespace => format!("{namespace}/{name}"),
    }
}

fn exact(ask: Ask, source: &str, destination: &str) -> Ask {
    ask.with("source", source).with("destination", destination)
}

const ALL: &str = "/v1/connect/intentions";
const EXACT: &str = "/v1/connect/intentions/exact";

fn from_arguments(call: &Call) -> anyhow::Result<Vec<Value>> {
    if call.is("file") {
        let mut intentions = Vec::new();
        for file in call.positional() {
            let bytes = read_source(file)?;
            let intention: Value =
                serde_json::from_slice(&bytes).with_context(|| format!("{file} is not JSON"))?;
            intentions.push(intention);
        }
        return Ok(intentions);
    }
    let [source, destination] = call.positional() else {
        bail!("Must specify two arguments: source and destination");
    };
    let mut intention = Map::new();
    for (which, service) in [("Source", source), ("Destination", destination)] {
        let (namespace, name) = match service.split_once('/') {
            Some((namespace, name)) => (namespace, name),
            None => ("", service.as_str()),
        };
        let wrong = || format!("Invalid intention {}", which.to_lowercase());
        ensure!(!name.contains('/'), "{}: target can contain at most one '/'", wrong());
        if !namespace.is_empty() {
            intention.insert(format!("{which}NS"), namespace.into());
        }
        intention.insert(format!("{which}Name"), name.into());
    }
    intention.insert("SourceType".into(), "consul".into());
    let action = if call.is("deny") { "deny" } else { "allow" };
    intention.insert("Action".into(), action.into());
    if call.has("meta") {
        let meta = call.pairs("meta").into_iter();
        let meta = meta.map(|(key, value)| (key.to_owned(), Value::from(value)));
        intention.insert("Meta".into(), meta.collect());
    }
    Ok(vec![Value::Object(intention)])
}

fn create(call: &Call) -> Outcome {
    ensure!(!call.is("allow") || !call.is("deny"), "Only one of -allow or -deny may be specified.");
    let intentions = from_arguments(call).context("Error")?;
    let client = call.client()?;
    for intention in intentions {
        let text = shown(&intention);
        let (source, destination) = (end(&intention, "Source"), end(&intention, "Destination"));
        if !call.is("replace") {
            let known = client.find(&exact(Ask::get(EXACT), &source, &destination));
            let known = known.with_context(|| format!("Error creating intention {text:?}"))?;
            if let Some(known) = known {
                return refuse(format!(
                    "Error creating intention {text:?}: duplicate intention found: {}; -replace \
                     replaces it",
                    shown(&known)
                ));
            }
        }
        // Metadata is taken by the older way alone, which replaces nothing.
        let ask = match intention["Meta"].as_object() {
            Some(meta) if !meta.is_empty() && !call.is("replace") => Ask::post(ALL),
            _ => exact(Ask::put(EXACT), &source, &destination),
        };
        let ask = ask.json(&intention);
        client.done(&ask).with_context(|| format!("Error creating intention {text:?}"))?;
        print_line(&format!("Created: {text}"));
        note("it is kept and answered, and nothing in Leno's data plane enforces it yet");
    }
    Ok(0)
}

/// The intention that the arguments name, and the request that removes it.
fn named(call: &Call, client: &Client) -> anyhow::Result<(Value, Ask)> {
    let (found, removal, missing) = match call.positional() {
        [id] => {
            let path = format!("/v1/connect/intentions/{}", encoded(id));
            let found = client.find(&Ask::get(path.clone()));
            (found, Ask::delete(path), format!("Intention with ID {id:?} not found."))
        }
        [source, destination] => (
            client.find(&exact(Ask::get(EXACT), source, destination)),
            exact(Ask::delete(EXACT), source, destination),
            format!("Intention with source {source:?} and destination {destination:?} not found."),
        ),
        _ => bail!("Must specify two arguments: source and destination, or one ID"),
    };
    let found = found.context("Error reading the intention")?;
    Ok((found.context(missing)?, removal))
}

fn get(call: &Call) -> Outcome {
    let (intention, _) = named(call, &call.client()?)?;
    let mut rows = vec![
        vec!["Source:".to_owned(), end(&intention, "Source")],
        vec!["Destination:".to_owned(), end(&intention, "Destination")],
    ];
    for name in ["Action", "ID", "Description"] {
        if !field(&intention, name).is_empty() {
            rows.push(row(&[&format!("{name}:"), field(&intention, name)]));
        }
    }
    let mut meta: Vec<_> = intention["Meta"].as_object().into_iter().flatten().collect();
    meta.sort_by_key(|(key, _)| *key);
    for (key, value) in meta {
        rows.push(row(&[&format!("Meta[{key}]:"), value.as_str().unwrap_or_default()]));
    }
    rows.push(vec!["Created At:".to_owned(), time(field(&intention, "CreatedAt"))]);
    print_line(&columns(&rows));
    if !items(&intention, "Permissions").is_empty() {
        print_line(&format!("Permissions:\n{}", json(&intention["Permissions"], "  ")));
    }
    Ok(0)
}

fn delete(call: &Call) -> Outcome {
    let client = call.client()?;
    let (_, removal) = named(call, &client)?;
    client.done(&removal).context("Error deleting the intention")?;
    print_line("Intention deleted.");
    Ok(0)
}

fn list_all(call: &Call) -> Outcome {
    let all = call.client()?.json(&Ask::get(ALL));
    let all = all.context("Failed to retrieve the intentions list")?;
    if list(&all).is_empty() {
        note("There are no intentions.");
        return Ok(OTHER_FAILURE);
    }
    let mut rows = vec![row(&["ID", "Source", "Action", "Destination", "Precedence"])];
    for intention in list(&all) {
        rows.push(row(&[
            field(intention, "ID"),
            field(intention, "SourceName"),
            field(intention, "Action"),
            field(intention, "DestinationName"),
            &intention["Precedence"].to_string(),
        ]));
    }
    print_line(&columns(&rows));
    Ok(0)
}

fn match_service(call: &Call) -> Outcome {
    let [service] = call.positional() else {
        bail!("Error: command requires exactly one argument: src or dst");
    };
    ensure!(
        !call.is("source") || !call.is("destination"),
        "Error: only one of -source or -destination may be specified"
    );
    let by = if call.is("source") { "source" } else { "destination" };
    let ask = Ask::get("/v1/connect/intentions/match").with("by", by).with("name", service);
    let matches = call.client()?.json(&ask).context("Error matching the connection")?;
    for intention in items(&matches, service) {
        print_line(&shown(intention));
    }
    Ok(0)
}

fn check(call: &Call) -> Outcome {
    match is_allowed(call) {
        Ok(true) => print_line("Allowed"),
        Ok(false) => {
            print_line("Denied");
            return Ok(1);
        }
        Err(error) => {
            note(&format!("{error:#}"));
            return Ok(OTHER_FAILURE);
        }
    }
    Ok(0)
}

fn is_allowed(call: &Call) -> anyhow::Result<bool> {
    let [source, destination] = call.positional() else {
        bail!("Error: command requires exactly two arguments: src and dst");
    };
    let kind = call.text("source-type");
    ensure!(kind == "consul", "Error: source-type {kind:?} is not supported: must be \"consul\"");
    let ask = exact(Ask::get("/v1/connect/intentions/check"), source, destination);
    let ask = ask.with("source-type", kind);
    let answer = call.client()?.json(&ask).context("Error checking the connection")?;
    let allowed = answer["Allowed"].as_bool();
    allowed.with_context(|| format!("the agent did not say so: {}", json!(answer)))
}
