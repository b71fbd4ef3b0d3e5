//! `consul rtt`: estimates by network coordinates.

use anyhow::{Context, bail};
use serde_json::Value;

use super::client::{Ask, Client};
use super::command::{Call, Command, Outcome, Reach};
use super::flags::switch;
use super::print::{field, items, list};
use crate::output::print_line;

pub(crate) const COMMANDS: &[Command] = &[Command {
    name: "rtt",
    synopsis: "Estimates the round trip time between two nodes, or from a node to the agent.",
    arguments: "[options] NODE [NODE]",
    flags: &[switch("wan", "Between servers of datacenters, named NODE.DATACENTER.")],
    reach: Reach::Agent,
    run: rtt,
}];

/// A coordinate, and the network that it belongs to: two of different networks cannot be compared.
type Placed = (String, Value);

fn rtt(call: &Call) -> Outcome {
    let nodes = call.positional();
    if nodes.is_empty() || nodes.len() > 2 {
        return call.wrong_use("One or two node names must be specified");
    }
    let client = call.client()?;
    let is_wan = call.is("wan");
    let second = match nodes.get(1) {
        Some(node) => node.clone(),
        None => {
            let own = client.json(&Ask::get("/v1/agent/self"));
            let own = own.context("Unable to look up agent info")?;
            let (name, config) = (field(&own["Config"], "NodeName").to_owned(), &own["Config"]);
            if is_wan { format!("{name}.{}", field(config, "Datacenter")) } else { name }
        }
    };
    let places = |node: &str| if is_wan { wan(&client, node) } else { lan(&client, node) };
    let (from, to) = (places(&nodes[0])?, places(&second)?);
    let both = from.iter().find_map(|(network, place)| {
        let (_, other) = to.iter().find(|(other, _)| other == network)?;
        Some((place, other))
    });
    let Some((from, to)) = both else {
        let missing = if from.is_empty() { &nodes[0] } else { &second };
        bail!("Could not find a coordinate for node {missing:?}");
    };
    let milliseconds = distance_s(from, to).context("a coordinate is not one")? * 1000.0;
    let source = if is_wan { "WAN" } else { "LAN" };
    print_line(&format!(
        "Estimated {} <-> {second} rtt: {milliseconds:.3} ms (using {source} coordinates)",
        nodes[0]
    ));
    Ok(0)
}

fn lan(client: &Client, node: &str) -> anyhow::Result<Vec<Placed>> {
    let all = client.json(&Ask::get("/v1/coordinate/nodes"));
    let all = all.context("Error getting coordinates")?;
    let of_node = list(&all).iter().filter(|it| field(it, "Node").eq_ignore_ascii_case(node));
    Ok(of_node.map(|it| (field(it, "Segment").to_owned(), it["Coord"].clone())).collect())
}

fn wan(client: &Client, node: &str) -> anyhow::Result<Vec<Placed>> {
    let parts: Vec<&str> = node.split('.').collect();
    let [name, datacenter] = parts[..] else {
        bail!("Node names must be specified as <node name>.<datacenter> with -wan");
    };
    let all = client.json(&Ask::get("/v1/coordinate/datacenters"));
    let all = all.context("Error getting coordinates")?;
    let there = list(&all).iter().filter(|it| field(it, "Datacenter") == datacenter);
    let placed = there.flat_map(|area| {
        let of_node = items(area, "Coordinates").iter();
        let of_node = of_node.filter(|it| field(it, "Node").eq_ignore_ascii_case(name));
        of_node.map(|it| (field(area, "AreaID").to_owned(), it["Coord"].clone()))
    });
    Ok(placed.collect())
}

/// Vivaldi's distance, in seconds: that of the vectors, with both heights, and with both adjustments unless that makes it
/// negative (Dabek et al. 2004; Serf's adjustments).
fn distance_s(from: &Value, to: &Value) -> Option<f64> {
    let vector = |it: &Value| -> Option<Vec<f64>> {
        it["Vec"].as_array()?.iter().map(Value::as_f64).collect()
    };
    let (a, b) = (vector(from)?, vector(to)?);
    let number = |name: &str| Some(from[name].as_f64()? + to[name].as_f64()?);
    let squares = a.iter().zip(&b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
    let raw = squares.sqrt() + number("Height")?;
    let adjusted = raw + number("Adjustment")?;
    Some(if adjusted > 0.0 { adjusted } else { raw })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_distance_is_that_of_the_vectors_with_heights_and_adjustments() {
        let place = |x: f64, adjustment: f64| json!({"Vec": [x, 0.0], "Height": 0.001, "Adjustment": adjustment});
        let between = |a, b| distance_s(&a, &b).unwrap();
        assert!((between(place(0.0, 0.0), place(0.01, 0.0)) - 0.012).abs() < 1e-9);
        assert!((between(place(0.0, 0.001), place(0.01, 0.0)) - 0.013).abs() < 1e-9);
        assert!((between(place(0.0, -1.0), place(0.01, 0.0)) - 0.012).abs() < 1e-9);
        assert_eq!(distance_s(&json!({}), &json!({})), None);
    }
}
