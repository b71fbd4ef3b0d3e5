//! `ClusterLoadAssignment`.

use std::collections::BTreeSet;
use std::net::IpAddr;

use proxy_config::{Endpoint, EndpointHealth, Endpoints, Locality};

use super::cluster::Discovery;
use super::fields::{Field, Message};
use super::{matching, read_host_and_port, read_place, schema};

/// What is being read of one cluster.
struct Assignment {
    endpoints: Endpoints,
    /// Weights as written; the contract's are smaller.
    weights: Vec<u32>,
    ids: BTreeSet<String>,
    discovery: Discovery,
}

pub(crate) fn read(field: &Field<'_>, cluster: &str, discovery: Discovery) -> Option<Endpoints> {
    let mut it = field.message(&schema::LOAD_ASSIGNMENT)?;
    // Envoy asks for it and then uses the cluster's own.
    let name = it.text("cluster_name").unwrap_or_default();
    if name.is_empty() {
        let message = "must not be empty";
        it.at("cluster_name").error(message, format!("write {cluster:?}"));
    }
    let mut assignment = Assignment {
        endpoints: Endpoints::default(),
        weights: Vec::new(),
        ids: BTreeSet::new(),
        discovery,
    };
    if let Some(mut policy) = it.message("policy", &schema::ASSIGNMENT_POLICY) {
        let factor = policy.u32_in("overprovisioning_factor", 1..=u32::MAX);
        assignment.endpoints.overprovisioning_percent = factor.unwrap_or(140);
        policy.refuse("drop_overloads", "no share of requests is dropped", "remove it");
    }
    for field in it.items("endpoints") {
        read_locality(&field, &mut assignment);
    }
    let count = assignment.endpoints.endpoints.len();
    if discovery == Discovery::LogicalDns && count != 1 {
        let message = format!("LOGICAL_DNS takes one endpoint, not {count}");
        it.at("endpoints").error(message, "keep one, or use STRICT_DNS");
    }
    close_gaps(&mut assignment.endpoints.localities);
    scale_weights(&mut assignment, field);
    Some(assignment.endpoints)
}

/// Lowers priorities so that none is skipped, which changes nothing about their order.
fn close_gaps(localities: &mut [Locality]) {
    let used: BTreeSet<u32> = localities.iter().map(|it| it.priority).collect();
    for locality in localities {
        let before = used.range(..locality.priority).count();
        locality.priority = u32::try_from(before).unwrap_or(u32::MAX);
    }
}

fn scale_weights(assignment: &mut Assignment, field: &Field<'_>) {
    let heaviest = assignment.weights.iter().copied().max().unwrap_or(1);
    let divisor = heaviest.div_ceil(u32::from(u16::MAX));
    if divisor > 1 {
        let message = format!("weights over 65535 are divided by {divisor}");
        field.approximated(message, "write smaller ones");
    }
    for (endpoint, weight) in assignment.endpoints.endpoints.iter_mut().zip(&assignment.weights) {
        endpoint.weight = u16::try_from(weight / divisor).unwrap_or(u16::MAX).max(1);
    }
}

fn read_locality(field: &Field<'_>, assignment: &mut Assignment) {
    let Some(mut it) = field.message(&schema::LOCALITY_ENDPOINTS) else { return };
    let place = it.message("locality", &schema::LOCALITY).map(read_place).unwrap_or_default();
    let locality = Locality {
        place,
        priority: it.u32_in("priority", 0..=128).unwrap_or(0),
        weight: it.u32_in("load_balancing_weight", 1..=u32::MAX),
        source: None,
    };
    const REMEDY: &str = "list the endpoints in lb_endpoints";
    it.forbid("leds_cluster_locality_config", "endpoints are not asked for from a server", REMEDY);
    it.forbid("load_balancer_endpoints", "is not supported", REMEDY);
    it.skip(&["metadata", "proximity"]);
    let Ok(idx) = u16::try_from(assignment.endpoints.localities.len()) else {
        field.error("there are more than 65536 localities", "join some of them");
        return;
    };
    assignment.endpoints.localities.push(locality);
    for field in it.items("lb_endpoints") {
        let Some((mut endpoint, weight)) = read_endpoint(&field, assignment.discovery) else {
            continue;
        };
        endpoint.locality = idx;
        endpoint.id = new_id(&endpoint, &mut assignment.ids);
        assignment.endpoints.endpoints.push(endpoint);
        assignment.weights.push(weight);
    }
}

/// `host:port`, with a number when it is there already.
fn new_id(endpoint: &Endpoint, ids: &mut BTreeSet<String>) -> String {
    let address = match endpoint.host.contains(':') {
        true => format!("[{}]:{}", endpoint.host, endpoint.port),
        false => format!("{}:{}", endpoint.host, endpoint.port),
    };
    let mut id = address.clone();
    let mut number = 1;
    while !ids.insert(id.clone()) {
        number += 1;
        id = format!("{address}#{number}");
    }
    id
}

fn read_endpoint(field: &Field<'_>, discovery: Discovery) -> Option<(Endpoint, u32)> {
    let mut it = field.message(&schema::LB_ENDPOINT)?;
    it.forbid("endpoint_name", "endpoints have no names here", "write the endpoint");
    let metadata = it.take("metadata").map(|it| matching::read_subset(&it)).unwrap_or_default();
    let weight = it.u32_in("load_balancing_weight", 1..=u32::MAX).unwrap_or(1);
    let states = [
        ("UNKNOWN", 0, EndpointHealth::Healthy),
        ("HEALTHY", 1, EndpointHealth::Healthy),
        ("UNHEALTHY", 2, EndpointHealth::Unhealthy),
        ("DRAINING", 3, EndpointHealth::Draining),
        ("TIMEOUT", 4, EndpointHealth::Unhealthy),
        ("DEGRADED", 5, EndpointHealth::Degraded),
    ];
    let health = it.choice("health_status", &states).unwrap_or_default();
    let mut endpoint = it.required("endpoint")?.message(&schema::ENDPOINT)?;
    let (host, port, at) = read_host_and_port(&endpoint.required("address")?)?;
    if port == 0 {
        at.error("there is no port 0 to send to", "give port_value another number");
    }
    if discovery == Discovery::Static && host.parse::<IpAddr>().is_err() {
        let message = format!("{host:?} is not an IP address");
        at.error(message, "write one, or give the cluster the type STRICT_DNS");
    }
    let hostname = endpoint.text("hostname").unwrap_or_default().to_owned();
    let health_check_port = read_health_check_port(&mut endpoint);
    endpoint.refuse("additional_addresses", "an endpoint has one address", "list it as another");
    // A name for statistics alone.
    endpoint.skip(&["observability_name"]);
    let endpoint = Endpoint {
        host,
        port,
        health,
        hostname,
        metadata,
        health_check_port,
        ..Endpoint::default()
    };
    Some((endpoint, weight))
}

fn read_health_check_port(endpoint: &mut Message<'_>) -> Option<u16> {
    let mut it = endpoint.message("health_check_config", &schema::ENDPOINT_HEALTH)?;
    let port = it.u32_in("port_value", 0..=65_535).filter(|it| *it > 0)?;
    u16::try_from(port).ok()
}
