//! `consul services`: register, deregister, export.

use std::net::IpAddr;

use anyhow::{Context, bail, ensure};
use serde_json::{Map, Value, json};

use super::client::{Ask, Client};
use super::command::{Call, Command, Outcome, Reach, refuse};
use super::document;
use super::flags::{Kind, flag, list as list_flag, text, text_or};
use super::print::{columns, field, items, json, list, row};
use crate::list::encoded;
use crate::output::print_line;

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "services register",
        synopsis: "Registers services with the agent, by files or by flags.",
        arguments: "[options] [FILE...]",
        flags: &[
            text("address", "Address of the service."),
            text("id", "ID of the service; the name if left out."),
            text("kind", "Kind of the service, if it is a proxy or a gateway."),
            list_flag("meta", "Metadata of the service, as key=value."),
            text("name", "Name of the service."),
            flag("port", Kind::Number(0), "Port of the service."),
            text("socket", "Path of the Unix socket on which the service listens."),
            list_flag("tag", "Tag of the service."),
            list_flag("tagged-address", "Another address of the service, as NAME=HOST:PORT."),
        ],
        reach: Reach::Agent,
        run: register,
    },
    Command {
        name: "services deregister",
        synopsis: "Deregisters services from the agent, by files or by ID.",
        arguments: "[options] [FILE...]",
        flags: &[text("id", "ID of the service; not with files.")],
        reach: Reach::Agent,
        run: deregister,
    },
    Command {
        name: "services export",
        synopsis: "Exports a service to peers.",
        arguments: "[options] -name NAME -consumer-peers PEER[,PEER...]",
        flags: &[
            text("consumer-partitions", "Partitions that may use it, with commas between."),
            text("consumer-peers", "Peers that may use it, with commas between."),
            text("name", "Name of the service."),
        ],
        reach: Reach::Agent,
        run: export,
    },
    Command {
        name: "services exported-services",
        synopsis: "Lists the services that are exported, and to whom.",
        arguments: "[options]",
        flags: &[
            text("consumerPartition", "List only what this partition may use."),
            text("consumerPeer", "List only what this peer may use."),
            text_or("format", "pretty", "Form of the output, pretty or json."),
        ],
        reach: Reach::Agent,
        run: exported,
    },
    Command {
        name: "services imported-services",
        synopsis: "Lists the services that peers export to this cluster.",
        arguments: "[options]",
        flags: &[text_or("format", "pretty", "Form of the output, pretty or json.")],
        reach: Reach::Agent,
        run: imported,
    },
];

fn register(call: &Call) -> Outcome {
    let files = call.positional();
    let by_flags = from_flags(call)?;
    let is_named = !call.text("name").is_empty();
    ensure!(
        is_named || !files.is_empty(),
        "Service registration requires at least one argument or flags."
    );
    ensure!(
        !is_named || files.is_empty(),
        "Service registration requires arguments or -id, not both."
    );
    let mut services = document::services(files).context("Error")?;
    services.iter_mut().for_each(|service| complete(service, &by_flags));
    if services.is_empty() {
        services.push(by_flags);
    }
    let client = call.client()?;
    for service in services {
        let name = text_of(&service, "name");
        let ask = Ask::put("/v1/agent/service/register").json(&Value::Object(service));
        client.done(&ask).with_context(|| format!("Error registering service {name:?}"))?;
        print_line(&format!("Registered service: {name}"));
    }
    Ok(0)
}

/// A field of a service, whose name is the API's without regard to case.
fn text_of(service: &Map<String, Value>, name: &str) -> String {
    let found = service.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
    found.and_then(|(_, value)| value.as_str()).unwrap_or_default().to_owned()
}

fn from_flags(call: &Call) -> anyhow::Result<Map<String, Value>> {
    let mut service = Map::new();
    for (name, flag) in [
        ("Kind", "kind"),
        ("ID", "id"),
        ("Name", "name"),
        ("Address", "address"),
        ("SocketPath", "socket"),
    ] {
        if !call.text(flag).is_empty() {
            service.insert(name.to_owned(), call.text(flag).into());
        }
    }
    if call.number("port") != 0 {
        service.insert("Port".to_owned(), call.number("port").into());
    }
    if call.has("tag") {
        service.insert("Tags".to_owned(), call.list("tag").into());
    }
    if call.has("meta") {
        let pairs =
            call.pairs("meta").into_iter().map(|(key, value)| (key.to_owned(), Value::from(value)));
        service.insert("Meta".to_owned(), pairs.collect::<Value>());
    }
    if call.has("tagged-address") {
        let mut addresses = Map::new();
        for (name, address) in call.pairs("tagged-address") {
            addresses.insert(name.to_owned(), tagged_address(address)?);
        }
        service.insert("TaggedAddresses".to_owned(), Value::Object(addresses));
    }
    Ok(service)
}

fn tagged_address(text: &str) -> anyhow::Result<Value> {
    let failed = || format!("Invalid Tagged Address: {text:?} is not HOST:PORT");
    if text.parse::<IpAddr>().is_ok() {
        return Ok(json!({"Address": text, "Port": 0}));
    }
    let (host, port) = text.rsplit_once(':').with_context(failed)?;
    let port: u16 = port.parse().with_context(failed)?;
    Ok(json!({"Address": host.trim_matches(['[', ']']), "Port": port}))
}

/// Adds to a service of a file what flags say and it does not; tags and metadata of both hold.
fn complete(service: &mut Map<String, Value>, by_flags: &Map<String, Value>) {
    for (name, value) in by_flags {
        let same = |key: &&String| key.eq_ignore_ascii_case(name);
        let known = service.keys().find(same).cloned().unwrap_or_else(|| name.clone());
        match (service.get_mut(&known), value) {
            (Some(Value::Array(all)), Value::Array(more)) => all.extend(more.iter().cloned()),
            (Some(Value::Object(all)), Value::Object(more)) => {
                all.extend(more.iter().map(|(key, value)| (key.clone(), value.clone())));
            }
            (Some(_), _) => {}
            (None, _) => {
                service.insert(known, value.clone());
            }
        }
    }
}

fn deregister(call: &Call) -> Outcome {
    let files = call.positional();
    let id = call.text("id");
    ensure!(
        !files.is_empty() || !id.is_empty(),
        "Service deregistration requires at least one argument or -id."
    );
    ensure!(
        files.is_empty() || id.is_empty(),
        "Service deregistration requires arguments or -id, not both."
    );
    let mut ids = vec![id.to_owned()];
    if !files.is_empty() {
        let services = document::services(files).context("Error")?;
        ids = services
            .iter()
            .map(|service| match text_of(service, "id") {
                id if id.is_empty() => text_of(service, "name"),
                id => id,
            })
            .collect();
    }
    let client = call.client()?;
    for id in ids.iter().filter(|id| !id.is_empty()) {
        let ask = Ask::put(format!("/v1/agent/service/deregister/{}", encoded(id)));
        client.done(&ask).with_context(|| format!("Error registering service {id:?}"))?;
        print_line(&format!("Deregistered service: {id}"));
    }
    Ok(0)
}

/// Names in a list with commas.
fn names<'t>(text: &'t str, what: &str) -> anyhow::Result<Vec<&'t str>> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<&str> = text.split(',').collect();
    ensure!(names.iter().all(|name| !name.is_empty()), "Invalid {what} \"\"");
    Ok(names)
}

fn export(call: &Call) -> Outcome {
    let name = call.text("name");
    ensure!(!name.is_empty(), "Missing the required -name flag");
    let (peers, partitions) = (call.text("consumer-peers"), call.text("consumer-partitions"));
    if peers.is_empty() && partitions.is_empty() {
        bail!("Missing the required -consumer-peers flag");
    }
    let consumers = names(peers, "peer")?.into_iter().map(|peer| json!({"Peer": peer}));
    let others = names(partitions, "partition")?;
    let others = others.into_iter().map(|partition| json!({"Partition": partition}));
    let consumers: Vec<Value> = consumers.chain(others).collect();
    let client = call.client()?;
    let entry = match call.text("partition") {
        "" => "default",
        partition => partition,
    };
    write_export(&client, entry, name, consumers)?;
    let quoted = |what: &str, names: &str| format!("to {what} {names:?}");
    let told = match (peers, partitions) {
        ("", partitions) => quoted("partitions", partitions),
        (peers, "") => quoted("peers", peers),
        (peers, partitions) => {
            format!("{} and {}", quoted("peers", peers), quoted("partitions", partitions))
        }
    };
    print_line(&format!("Successfully exported service {name:?} {told}"));
    Ok(0)
}

/// Adds consumers of a service to the entry that says what is exported.
fn write_export(
    client: &Client,
    entry: &str,
    service: &str,
    consumers: Vec<Value>,
) -> anyhow::Result<()> {
    let ask = Ask::get(format!("/v1/config/exported-services/{}", encoded(entry)));
    let failed = || format!("Error reading config entry exported-services/{entry}");
    let mut config = match client.find(&ask).with_context(failed)? {
        Some(config) => config,
        None => json!({"Kind": "exported-services", "Name": entry, "Services": []}),
    };
    let index = config["ModifyIndex"].as_u64().unwrap_or(0);
    if !config["Services"].is_array() {
        config["Services"] = json!([]);
    }
    let services = config["Services"].as_array_mut().context("it was made a list above")?;
    match services.iter_mut().find(|it| field(it, "Name") == service) {
        Some(known) => {
            let mut all = items(known, "Consumers").to_vec();
            all.extend(consumers.into_iter().filter(|new| {
                let same = |old: &Value| {
                    ["Peer", "Partition"].iter().all(|it| field(old, it) == field(new, it))
                };
                !items(known, "Consumers").iter().any(same)
            }));
            known["Consumers"] = Value::Array(all);
        }
        None => services.push(json!({"Name": service, "Consumers": consumers})),
    }
    let ask = Ask::put("/v1/config").with("cas", index).json(&config);
    let written = client.verdict(&ask).context("Error writing config entry")?;
    ensure!(written, "Config entry was changed during update. Please try again");
    Ok(())
}

fn check_format(call: &Call) -> anyhow::Result<bool> {
    match call.text("format") {
        "json" => Ok(true),
        "pretty" => Ok(false),
        _ => refuse("Invalid format, valid formats are {pretty|json}"),
    }
}

fn exported(call: &Call) -> Outcome {
    let is_json = check_format(call)?;
    let ask = Ask::get("/v1/exported-services");
    let all = call.client()?.json(&ask).context("Error reading exported services")?;
    let (peer, partition) = (call.text("consumerPeer"), call.text("consumerPartition"));
    let mut services: Vec<Value> = list(&all).to_vec();
    if !peer.is_empty() || !partition.is_empty() {
        services.retain_mut(|service| {
            let consumers = &mut service["Consumers"];
            let mut keep = |name: &str, wanted: &str| {
                if let Some(all) = consumers[name].as_array_mut() {
                    all.retain(|it| it.as_str() == Some(wanted));
                }
                !items(consumers, name).is_empty()
            };
            let by_peer = keep("Peers", peer);
            keep("Partitions", partition) || by_peer
        });
    }
    if services.is_empty() {
        print_line("No exported services found");
        return Ok(0);
    }
    if is_json {
        print_line(&json(&Value::Array(services), "    "));
        return Ok(0);
    }
    let mut rows = vec![row(&["Service", "Consumer"])];
    for service in &services {
        let name = field(service, "Service");
        for (kind, what) in [("Peers", "Peer"), ("Partitions", "Partition")] {
            let consumers = items(&service["Consumers"], kind).iter().filter_map(Value::as_str);
            rows.extend(consumers.map(|it| row(&[name, &format!("{what}: {it}")])));
        }
    }
    print_line(&columns(&rows));
    Ok(0)
}

fn imported(call: &Call) -> Outcome {
    let is_json = check_format(call)?;
    let ask = Ask::get("/v1/imported-services");
    let all = call.client()?.json(&ask).context("Error reading imported services")?;
    if list(&all).is_empty() {
        print_line("No imported services found");
        return Ok(0);
    }
    if is_json {
        print_line(&json(&all, "    "));
        return Ok(0);
    }
    let mut rows = vec![row(&["Service", "Source Peer"])];
    rows.extend(list(&all).iter().map(|it| row(&[field(it, "Service"), field(it, "SourcePeer")])));
    print_line(&columns(&rows));
    Ok(0)
}
