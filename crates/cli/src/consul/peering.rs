//! `consul peering`: connections to other clusters.

use anyhow::{Context, ensure};
use serde_json::{Map, Value, json};

use super::client::Ask;
use super::command::{Call, Command, Outcome, Reach, refuse};
use super::flags::{Flag, list as list_flag, text, text_or};
use super::print::{columns, field, items, json_line, list, pairs, row};
use crate::list::encoded;
use crate::output::print_line;

const NAME: Flag = text("name", "Name of the peer in this cluster.");
const FORMAT: Flag = text_or("format", "pretty", "Form of the output, pretty or json.");
const META: Flag = list_flag("meta", "Metadata of the peering, as key=value.");

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "peering generate-token",
        synopsis: "Makes a token with which another cluster connects to this one.",
        arguments: "[options] -name PEER",
        flags: &[
            NAME,
            FORMAT,
            META,
            text("server-external-addresses", "Addresses of the servers, with commas between."),
        ],
        reach: Reach::Agent,
        run: generate,
    },
    Command {
        name: "peering establish",
        synopsis: "Connects to the cluster that made a token.",
        arguments: "[options] -name PEER -peering-token TOKEN",
        flags: &[NAME, META, text("peering-token", "The token.")],
        reach: Reach::Agent,
        run: establish,
    },
    Command {
        name: "peering list",
        synopsis: "Lists the peers.",
        arguments: "[options]",
        flags: &[FORMAT],
        reach: Reach::Agent,
        run: list_all,
    },
    Command {
        name: "peering read",
        synopsis: "Prints what is known about a peer.",
        arguments: "[options] -name PEER",
        flags: &[NAME, FORMAT],
        reach: Reach::Agent,
        run: read,
    },
    Command {
        name: "peering delete",
        synopsis: "Ends the connection to a peer.",
        arguments: "[options] -name PEER",
        flags: &[NAME],
        reach: Reach::Agent,
        run: delete,
    },
    Command {
        name: "peering exported-services",
        synopsis: "Lists the services that are exported to a peer.",
        arguments: "[options] -name PEER",
        flags: &[NAME, FORMAT],
        reach: Reach::Agent,
        run: exported,
    },
];

fn name(call: &Call) -> anyhow::Result<&str> {
    let name = call.text("name");
    ensure!(!name.is_empty(), "Missing the required -name flag");
    Ok(name)
}

fn is_json(call: &Call) -> anyhow::Result<bool> {
    match call.text("format") {
        "json" => Ok(true),
        "pretty" => Ok(false),
        _ => refuse("Invalid format, valid formats are {pretty|json}"),
    }
}

fn path(name: &str) -> String {
    format!("/v1/peering/{}", encoded(name))
}

fn request(call: &Call, name: &str) -> Map<String, Value> {
    let mut request = Map::new();
    request.insert("PeerName".into(), name.into());
    if call.has("meta") {
        let meta = call.pairs("meta").into_iter();
        let meta = meta.map(|(key, value)| (key.to_owned(), Value::from(value)));
        request.insert("Meta".into(), meta.collect());
    }
    request
}

fn generate(call: &Call) -> Outcome {
    let name = name(call)?;
    let is_json = is_json(call)?;
    let mut request = request(call, name);
    if !call.text("server-external-addresses").is_empty() {
        let addresses: Vec<&str> = call.text("server-external-addresses").split(',').collect();
        request.insert("ServerExternalAddresses".into(), addresses.into());
    }
    let ask = Ask::post("/v1/peering/token").json(&Value::Object(request));
    let failed = || format!("Error generating peering token for {name}");
    let made = call.client()?.json(&ask).with_context(failed)?;
    let token = field(&made, "PeeringToken");
    if is_json {
        print_line(&json_line(&json!({"PeeringToken": token})));
    } else {
        print_line(token);
    }
    Ok(0)
}

fn establish(call: &Call) -> Outcome {
    let name = name(call)?;
    let token = call.text("peering-token");
    ensure!(!token.is_empty(), "Missing the required -peering-token flag");
    let mut request = request(call, name);
    request.insert("PeeringToken".into(), token.into());
    let ask = Ask::post("/v1/peering/establish").json(&Value::Object(request));
    let failed = || format!("Error establishing peering for {name}");
    call.client()?.done(&ask).with_context(failed)?;
    print_line(&format!("Successfully established peering connection with {name}"));
    Ok(0)
}

fn list_all(call: &Call) -> Outcome {
    let is_json = is_json(call)?;
    let all = call.client()?.json(&Ask::get("/v1/peerings"));
    let all = all.context("Error listing peerings")?;
    let mut peers: Vec<Value> = list(&all).to_vec();
    peers.sort_by(|a, b| field(a, "Name").cmp(field(b, "Name")));
    if is_json {
        print_line(&json_line(&Value::Array(peers)));
        return Ok(0);
    }
    if peers.is_empty() {
        print_line("There are no peering connections.");
        return Ok(0);
    }
    let mut rows = vec![row(&["Name", "State", "Imported Svcs", "Exported Svcs", "Meta"])];
    for peer in &peers {
        let count = |name: &str| items(&peer["StreamStatus"], name).len().to_string();
        rows.push(row(&[
            field(peer, "Name"),
            field(peer, "State"),
            &count("ImportedServices"),
            &count("ExportedServices"),
            &pairs(&peer["Meta"], ","),
        ]));
    }
    print_line(&columns(&rows));
    Ok(0)
}

fn read(call: &Call) -> Outcome {
    let name = name(call)?;
    let is_json = is_json(call)?;
    let found = call.client()?.find(&Ask::get(path(name))).context("Error reading peering")?;
    let Some(peer) = found else {
        return refuse(format!("No peering with name {name} found."));
    };
    if is_json {
        print_line(&json_line(&peer));
        return Ok(0);
    }
    print_line(&format!("Name:         {}", field(&peer, "Name")));
    print_line(&format!("ID:           {}", field(&peer, "ID")));
    if !field(&peer, "DeletedAt").is_empty() {
        print_line(&format!("DeletedAt:    {}", field(&peer, "DeletedAt")));
    }
    print_line(&format!("State:        {}", field(&peer, "State")));
    let meta = pairs(&peer["Meta"], "\n    ");
    if !meta.is_empty() {
        print_line(&format!("Meta:\n    {meta}"));
    }
    print_line(&format!("\nPeer ID:               {}", field(&peer, "PeerID")));
    print_line(&format!("Peer Server Name:      {}", field(&peer, "PeerServerName")));
    print_line(&format!("Peer CA Pems:          {}", items(&peer, "PeerCAPems").len()));
    let addresses = super::print::joined(&peer, "PeerServerAddresses", "\n    ");
    if !addresses.is_empty() {
        print_line(&format!("Peer Server Addresses:\n    {addresses}"));
    }
    let count = |name: &str| items(&peer["StreamStatus"], name).len();
    print_line(&format!("\nImported Services: {}", count("ImportedServices")));
    print_line(&format!("Exported Services: {}", count("ExportedServices")));
    print_line(&format!("\nCreate Index: {}", peer["CreateIndex"]));
    print_line(&format!("Modify Index: {}\n", peer["ModifyIndex"]));
    Ok(0)
}

fn delete(call: &Call) -> Outcome {
    let name = name(call)?;
    let failed = || format!("Error deleting peering for {name}");
    call.client()?.done(&Ask::delete(path(name))).with_context(failed)?;
    print_line(&format!("Successfully submitted peering connection, {name}, for deletion"));
    Ok(0)
}

fn exported(call: &Call) -> Outcome {
    let name = name(call)?;
    let is_json = is_json(call)?;
    let found = call.client()?.find(&Ask::get(path(name))).context("Error reading peering")?;
    let Some(peer) = found else {
        return refuse(format!("No peering with name {name} found."));
    };
    let services = items(&peer["StreamStatus"], "ExportedServices");
    if is_json {
        print_line(&json_line(&services.to_vec().into()));
    } else if services.is_empty() {
        print_line("No services are exported to this peer.");
    } else {
        services.iter().filter_map(Value::as_str).for_each(print_line);
    }
    Ok(0)
}
