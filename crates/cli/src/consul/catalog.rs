//! `consul catalog`: nodes, services and datacenters.

use std::collections::BTreeMap;

use anyhow::Context;
use serde_json::Value;

use super::client::Ask;
use super::command::{Call, Command, Outcome, Reach};
use super::flags::{list as list_flag, switch, text};
use super::print::{aligned, columns, field, items, list, pairs, row};
use crate::list::encoded;
use crate::output::{note, print_line};

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "catalog datacenters",
        synopsis: "Lists the datacenters that are known.",
        arguments: "[options]",
        flags: &[],
        reach: Reach::Agent,
        run: datacenters,
    },
    Command {
        name: "catalog nodes",
        synopsis: "Lists the nodes of a datacenter.",
        arguments: "[options]",
        flags: &[
            switch("detailed", "Show whole IDs, tagged addresses and metadata."),
            text("filter", "Expression that nodes must fit."),
            text("near", "Node to whose distance the list is sorted."),
            list_flag("node-meta", "Metadata that nodes must have, as key=value."),
            text("service", "Name of a service that must run on the nodes."),
        ],
        reach: Reach::Agent,
        run: nodes,
    },
    Command {
        name: "catalog services",
        synopsis: "Lists the services of a datacenter.",
        arguments: "[options]",
        flags: &[
            text("filter", "Expression that services must fit."),
            text("node", "Name or ID of a node on which the services must run."),
            list_flag("node-meta", "Metadata that their nodes must have, as key=value."),
            switch("tags", "Show the tags of each service."),
        ],
        reach: Reach::Agent,
        run: services,
    },
];

fn datacenters(call: &Call) -> Outcome {
    call.no_arguments()?;
    let ask = Ask::get("/v1/catalog/datacenters");
    let all = call.client()?.json(&ask).context("Error listing datacenters")?;
    for name in list(&all).iter().filter_map(Value::as_str) {
        print_line(name);
    }
    Ok(0)
}

/// Adds the filters that `call` gives.
fn filtered(call: &Call, mut ask: Ask) -> Ask {
    ask = ask.with_some("filter", call.text("filter"));
    for (key, value) in call.pairs("node-meta") {
        ask = ask.with("node-meta", format!("{key}:{value}"));
    }
    ask
}

fn nodes(call: &Call) -> Outcome {
    call.no_arguments()?;
    let service = call.text("service");
    let (path, meta, failed) = match service {
        "" => ("/v1/catalog/nodes".to_owned(), "Meta", "Error listing nodes"),
        name => {
            let path = format!("/v1/catalog/service/{}", encoded(name));
            (path, "NodeMeta", "Error listing nodes for service")
        }
    };
    let ask = filtered(call, Ask::get(path)).with_some("near", call.text("near"));
    let nodes = call.client()?.json(&ask).context(failed)?;
    if list(&nodes).is_empty() {
        note("No nodes match the given query - try expanding your search.");
        return Ok(0);
    }
    let mut rows = Vec::new();
    if call.is("detailed") {
        rows.push(row(&["Node", "ID", "Address", "DC", "TaggedAddresses", "Meta"]));
    } else {
        rows.push(row(&["Node", "ID", "Address", "DC"]));
    }
    for node in list(&nodes) {
        let id = field(node, "ID");
        let shown = [field(node, "Node"), id, field(node, "Address"), field(node, "Datacenter")];
        if call.is("detailed") {
            let mut cells = row(&shown);
            cells.extend([pairs(&node["TaggedAddresses"], ", "), pairs(&node[meta], ", ")]);
            rows.push(cells);
        } else {
            let short = id.split('-').next().unwrap_or(id);
            rows.push(row(&[shown[0], short, shown[2], shown[3]]));
        }
    }
    print_line(&columns(&rows));
    Ok(0)
}

fn services(call: &Call) -> Outcome {
    call.no_arguments()?;
    let client = call.client()?;
    let mut services: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let texts = |tags: &[Value]| -> Vec<String> {
        tags.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    match call.text("node") {
        "" => {
            let ask = filtered(call, Ask::get("/v1/catalog/services"));
            let all = client.json(&ask).context("Error listing services")?;
            for (name, tags) in all.as_object().into_iter().flatten() {
                services.insert(name.clone(), texts(list(tags)));
            }
        }
        node => {
            let ask = filtered(call, Ask::get(format!("/v1/catalog/node/{}", encoded(node))));
            let node = client.json(&ask).context("Error listing services for node")?;
            for service in node["Services"].as_object().into_iter().flatten().map(|it| it.1) {
                let name = field(service, "Service").to_owned();
                services.entry(name).or_default().extend(texts(items(service, "Tags")));
            }
        }
    }
    if services.is_empty() {
        note("No services match the given query - try expanding your search.");
        return Ok(0);
    }
    if !call.is("tags") {
        services.keys().for_each(|name| print_line(name));
        return Ok(0);
    }
    let rows = services.into_iter().map(|(name, mut tags)| {
        tags.sort();
        vec![name, tags.join(",")]
    });
    print_line(aligned(&rows.collect::<Vec<_>>(), 6).trim());
    Ok(0)
}
