//! What configuration entries make of routes and clusters.

mod clusters;
mod documents;
mod findings;
mod routes;

use model::Record;
use proxy_config::{Cluster, ClusterChoice, Forward};

use super::*;

pub(super) fn entry(body: &Value) -> Object {
    let read = config_entries::read(body).expect("it can be read");
    config_entries::validate(&read).expect("it obeys the rules");
    Object::Record(Record::ConfigEntry(read))
}

pub(super) fn http(service: &str) -> Value {
    json!({"Kind": "service-defaults", "Name": service, "Protocol": "http"})
}

/// Subsets `v1` and `v2` by the version in the metadata.
pub(super) fn versions(service: &str) -> Value {
    json!({
        "Kind": "service-resolver", "Name": service,
        "Subsets": {
            "v1": {"Filter": "Service.Meta.version == 1"},
            "v2": {"Filter": "Service.Meta.version == 2"},
        },
    })
}

fn versioned(id: &str, service: &str, version: &str) -> Object {
    let meta = meta(&[("version", version)]);
    Object::Instance(Instance { meta, ..instance(id, service, 80) })
}

/// `web` in two versions and `api`, and these entries.
fn world(entries: &[Value]) -> World {
    let instances = [
        versioned("web-1", "web", "1"),
        versioned("web-2", "web", "2"),
        versioned("api-1", "api", "1"),
    ];
    let mut world = World::with([node("n1")].into_iter().chain(instances));
    entries.iter().for_each(|it| world.put(entry(it)));
    world
}

fn routes_of<'a>(compiled: &'a Compiled, host: &str) -> &'a [Route] {
    let hosts = &compiled.config.route_tables[OUTBOUND].virtual_hosts;
    let found = hosts.iter().find(|it| it.domains.iter().any(|it| it == host));
    &found.unwrap_or_else(|| panic!("{host} has routes")).routes
}

fn forward(route: &Route) -> &Forward {
    match &route.action {
        RouteAction::Forward(forward) => forward,
        other => panic!("{other:?} sends nothing on"),
    }
}

/// The only cluster that a host's only route leads to.
fn target<'a>(compiled: &'a Compiled, host: &str) -> &'a Cluster {
    let [route] = routes_of(compiled, host) else { panic!("{host} has one route") };
    match &forward(route).cluster {
        ClusterChoice::One(name) => &compiled.config.clusters[name],
        other => panic!("{other:?} is not one cluster"),
    }
}

/// Endpoints of a cluster as `id priority`, with `!` for those that are not to be used.
fn by_priority(compiled: &Compiled, cluster: &str) -> Vec<String> {
    let found = &compiled.config.endpoints[cluster];
    let priority =
        |locality: u16| found.localities.get(usize::from(locality)).map_or(0, |it| it.priority);
    let show = |it: &proxy_config::Endpoint| {
        let bad = if it.health == EndpointHealth::Healthy { "" } else { "!" };
        format!("{}{bad} {}", it.id.trim_start_matches("n1/"), priority(it.locality))
    };
    found.endpoints.iter().map(show).collect()
}

#[test]
fn a_service_without_entries_keeps_what_it_has() {
    let mut world = world(&[]);
    let before = world.compile().config;
    world.put(entry(&http("other")));
    world.put(entry(&versions("third")));
    let after = world.compile().config;
    for name in ["web", "api"] {
        assert!(Arc::ptr_eq(&before.clusters[name], &after.clusters[name]));
        let host = |config: &ProxyConfig| {
            let hosts = &config.route_tables[OUTBOUND].virtual_hosts;
            hosts.iter().find(|it| it.name == name).cloned()
        };
        assert_eq!(host(&before), host(&after));
    }
}

#[test]
fn what_goes_takes_its_effect_along() {
    let mut world = world(&[]);
    let before = world.compile();
    let put = entry(&versions("web"));
    world.put(put.clone());
    world.put(entry(&json!({
        "Kind": "service-splitter", "Name": "web",
        "Splits": [{"Weight": 100, "ServiceSubset": "v1"}],
    })));
    world.put(entry(&http("web")));
    let with = world.compile();
    assert_eq!(by_priority(&with, "web/v1"), ["web-1 0"]);
    for (kind, name) in
        [("service-splitter", "web"), ("service-resolver", "web"), ("service-defaults", "web")]
    {
        let body = json!({"Kind": kind, "Name": name, "Splits": [{"Weight": 100}]});
        let body =
            if kind == "service-splitter" { body } else { json!({"Kind": kind, "Name": name}) };
        world.delete(&entry(&body).key());
    }
    let after = world.compile();
    assert_eq!(before.config.clusters, after.config.clusters);
    assert_eq!(before.config.endpoints, after.config.endpoints);
    assert_eq!(before.config.route_tables, after.config.route_tables);
}

#[test]
fn a_change_of_an_instance_moves_the_clusters_that_it_is_in_and_no_other() {
    let mut world = world(&[
        versions("web"),
        json!({
            "Kind": "service-resolver", "Name": "api",
            "Failover": {"*": {"Service": "web", "ServiceSubset": "v2"}},
        }),
        http("web"),
        http("api"),
        json!({
            "Kind": "service-splitter", "Name": "web",
            "Splits": [{"Weight": 50, "ServiceSubset": "v1"}, {"Weight": 50, "ServiceSubset": "v2"}],
        }),
    ]);
    let before = world.compile().config;
    world.put(check("1", "web-2", CheckStatus::Critical));
    let compiled = world.compile();
    let after = &compiled.config;
    assert_eq!(by_priority(&compiled, "web/v2"), ["web-2! 0"]);
    assert_eq!(by_priority(&compiled, "api"), ["api-1 0", "web-2! 1"]);
    assert!(Arc::ptr_eq(&before.endpoints["web/v1"], &after.endpoints["web/v1"]));
    for name in ["web/v1", "web/v2", "api"] {
        assert!(Arc::ptr_eq(&before.clusters[name], &after.clusters[name]), "{name}");
    }
    assert!(Arc::ptr_eq(&before.route_tables[OUTBOUND], &after.route_tables[OUTBOUND]));
}

#[test]
fn routes_and_clusters_name_the_entries_that_made_them() {
    let mut world = world(&[
        versions("web"),
        http("web"),
        json!({
            "Kind": "service-splitter", "Name": "web",
            "Splits": [{"Weight": 100, "ServiceSubset": "v1"}],
        }),
    ]);
    let compiled = world.compile();
    assert_eq!(routes_of(&compiled, "web")[0].source.object, "service-splitter/web");
    assert_eq!(routes_of(&compiled, "web")[0].source.revision, world.catalog.revision());
    assert_eq!(compiled.config.clusters["web/v1"].source.object, "service-resolver/web");
    world.put(entry(&json!({"Kind": "service-router", "Name": "web"})));
    let compiled = world.compile();
    assert_eq!(routes_of(&compiled, "web")[0].source.object, "service-router/web");
    world.put(entry(&json!({
        "Kind": "service-defaults", "Name": "api", "LocalConnectTimeoutMs": 7,
        "LocalRequestTimeoutMs": 8,
    })));
    let compiled = world.compile();
    assert_eq!(target(&compiled, "api").source.object, "service-defaults/api");
    assert_eq!(routes_of(&compiled, "api")[0].source.object, "service-defaults/api");
}
