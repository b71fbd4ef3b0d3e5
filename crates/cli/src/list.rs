//! `leno services`, `leno catalog`, `leno members` and `leno explain`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Context, bail};
use http::{StatusCode, Uri};
use serde_json::Value;

use crate::args::{
    CatalogArguments, CatalogWhat, ExplainArguments, ExplainWhat, Format, ListArguments,
    ServicesArguments,
};
use crate::client::{AgentAt, get_admin};
use crate::explain_instance;
use crate::output::{note, print, print_rows};

pub(crate) async fn services(arguments: ServicesArguments) -> anyhow::Result<ExitCode> {
    let agent = AgentAt::of(&arguments.list.connection)?;
    let Some(service) = &arguments.service else {
        return list_services(&agent, &arguments.list).await;
    };
    let path = format!("/v1/health/service/{}", encoded(service));
    let value = agent.get_json(&path).await?;
    let entries = value.as_array().map(Vec::as_slice).unwrap_or_default();
    if entries.is_empty() {
        if arguments.list.output != Format::Table {
            print_rows(arguments.list.output, &[], Vec::new(), &value)?;
        }
        note(&format!("no instance of {service} is registered"));
        return Ok(ExitCode::FAILURE);
    }
    let spared = spared(&agent, service, arguments.list.output).await?;
    let rows = entries.iter().map(|it| instance_row(it, &spared)).collect();
    let header = ["instance", "node", "address", "state", "weight", "tags", "why"];
    print_rows(arguments.list.output, &header, rows, &value)?;
    Ok(ExitCode::SUCCESS)
}

/// Why instances are in use that proxies see fail, by node and id: what Consul's answer has no place for.
async fn spared(agent: &AgentAt, service: &str, format: Format) -> anyhow::Result<Spared> {
    if format != Format::Table {
        return Ok(Spared::new());
    }
    let value = agent.get_json(&format!("/leno/v1/services/{}", encoded(service))).await?;
    let instances = value.as_array().map(Vec::as_slice).unwrap_or_default();
    let found = instances.iter().filter_map(|it| {
        let reasons = it["Reasons"].as_array()?;
        let spared = reasons.iter().find(|it| it["State"] == "passing")?;
        Some(((text(&it["Node"]), text(&it["ID"])), text(&spared["Text"])))
    });
    Ok(found.collect())
}

type Spared = BTreeMap<(String, String), String>;

pub(crate) fn encoded(segment: &str) -> String {
    segment
        .bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

fn instance_row(entry: &Value, spared: &Spared) -> Vec<String> {
    let service = &entry["Service"];
    let own = text(&service["Address"]);
    let host = if own.is_empty() { text(&entry["Node"]["Address"]) } else { own };
    let checks = entry["Checks"].as_array().map(Vec::as_slice).unwrap_or_default();
    let rank = |check: &Value| match text(&check["Status"]).as_str() {
        _ if text(&check["Type"]) == "maintenance" => 3,
        "critical" => 2,
        "warning" => 1,
        _ => 0,
    };
    let worst = checks.iter().max_by_key(|check| rank(check));
    let rank = worst.map_or(0, rank);
    let state = ["passing", "warning", "critical", "maintenance"][rank];
    let key = (text(&entry["Node"]["Node"]), text(&service["ID"]));
    let spared = spared.get(&key).filter(|_| rank == 0).cloned().unwrap_or_default();
    let why = worst.filter(|_| rank > 0).map_or(spared, |check| {
        let output = text(&check["Output"]);
        let reason = if output.is_empty() { text(&check["Notes"]) } else { output };
        let reason = reason.lines().next().unwrap_or("not checked yet").to_owned();
        format!("{}: {reason}", text(&check["CheckID"]))
    });
    let weight = match rank {
        0 => service["Weights"]["Passing"].to_string(),
        1 => service["Weights"]["Warning"].to_string(),
        _ => "0".to_owned(),
    };
    vec![
        text(&service["ID"]),
        text(&entry["Node"]["Node"]),
        format!("{host}:{}", service["Port"].as_u64().unwrap_or(0)),
        state.into(),
        weight,
        joined(&service["Tags"]),
        why,
    ]
}

async fn list_services(agent: &AgentAt, arguments: &ListArguments) -> anyhow::Result<ExitCode> {
    let value = agent.get_json("/leno/v1/services").await?;
    let services = value.as_array().map(Vec::as_slice).unwrap_or_default();
    let rows = services.iter().map(|service| {
        let count = |state: &str| service[state].as_u64().unwrap_or(0);
        let states = ["Passing", "Warning", "Critical", "Maintenance"];
        let states = states.iter().filter(|state| count(state) > 0);
        let states = states.map(|state| format!("{} {}", count(state), state.to_lowercase()));
        vec![
            text(&service["Name"]),
            count("Instances").to_string(),
            states.collect::<Vec<_>>().join(", "),
            joined(&service["Tags"]),
        ]
    });
    print_rows(
        arguments.output,
        &["service", "instances", "states", "tags"],
        rows.collect(),
        &value,
    )?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn catalog(arguments: CatalogArguments) -> anyhow::Result<ExitCode> {
    let agent = AgentAt::of(&arguments.list.connection)?;
    match arguments.what {
        CatalogWhat::Services => list_services(&agent, &arguments.list).await,
        CatalogWhat::Nodes => {
            let value = agent.get_json("/v1/catalog/nodes").await?;
            let nodes = value.as_array().map(Vec::as_slice).unwrap_or_default();
            let rows = nodes.iter().map(|node| {
                let fields = ["Node", "ID", "Address", "Datacenter"];
                fields.iter().map(|field| text(&node[*field])).collect()
            });
            let header = ["node", "id", "address", "datacenter"];
            print_rows(arguments.list.output, &header, rows.collect(), &value)?;
            Ok(ExitCode::SUCCESS)
        }
        CatalogWhat::Datacenters => {
            let value = agent.get_json("/v1/catalog/datacenters").await?;
            let names = value.as_array().map(Vec::as_slice).unwrap_or_default();
            let rows = names.iter().map(|name| vec![text(name)]).collect();
            print_rows(arguments.list.output, &["datacenter"], rows, &value)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

pub(crate) async fn members(arguments: ListArguments) -> anyhow::Result<ExitCode> {
    let agent = AgentAt::of(&arguments.connection)?;
    let value = agent.get_json("/v1/agent/members").await?;
    let members = value.as_array().map(Vec::as_slice).unwrap_or_default();
    let rows = members.iter().map(|member| {
        let status = match member["Status"].as_u64() {
            Some(1) => "alive",
            Some(2) => "leaving",
            Some(3) => "left",
            Some(4) => "failed",
            _ => "none",
        };
        vec![
            text(&member["Name"]),
            format!("{}:{}", text(&member["Addr"]), member["Port"]),
            status.into(),
            text(&member["Tags"]["dc"]),
        ]
    });
    print_rows(
        arguments.output,
        &["node", "address", "status", "datacenter"],
        rows.collect(),
        &value,
    )?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn explain(arguments: ExplainArguments) -> anyhow::Result<ExitCode> {
    if let Some(ExplainWhat::Instance { id, list }) = &arguments.what {
        return explain_instance::run(id, list).await;
    }
    let given = arguments.url.unwrap_or_default();
    let url: Uri =
        given.parse().with_context(|| format!("{given:?} is not a URL such as http://web/cart"))?;
    let Some(host) = url.host() else {
        bail!("{given:?} names no host; write it as http://web/cart");
    };
    let path = format!(
        "/explain?listener={}&host={}&path={}",
        encoded(&arguments.listener),
        encoded(host),
        encoded(url.path())
    );
    let (status, body) = get_admin(&arguments.proxy_admin, &path).await?;
    let text = String::from_utf8_lossy(&body);
    match status {
        StatusCode::OK => {
            print(&text);
            Ok(ExitCode::SUCCESS)
        }
        // Why nobody would answer the request is an answer too.
        StatusCode::NOT_FOUND => {
            print(&text);
            Ok(ExitCode::FAILURE)
        }
        _ => bail!("{}{path}: {status}: {}", arguments.proxy_admin, text.trim()),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn joined(tags: &Value) -> String {
    let tags = tags.as_array().map(Vec::as_slice).unwrap_or_default();
    tags.iter().map(text).collect::<Vec<_>>().join(",")
}
