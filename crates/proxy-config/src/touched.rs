//! Which virtual hosts have something of an object in them.

use std::collections::{BTreeMap, BTreeSet};

use crate::{PathMatch, ProxyConfig, Route, RouteAction, Source};

/// A virtual host, and the paths of it that an object is behind.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TouchedHost {
    /// The paths as their routes match them, those that begin with a segment of their own.
    pub paths: BTreeSet<String>,
}

/// The virtual hosts, by route table and name, with routes that one of `objects` is behind ([`Source::object`]): it made the
/// route, or a cluster that the route sends requests to.
#[must_use]
pub fn touched_hosts(
    config: &ProxyConfig,
    objects: &BTreeSet<String>,
) -> BTreeMap<(String, String), TouchedHost> {
    let clusters: BTreeSet<&str> = config
        .clusters
        .values()
        .filter(|it| is_behind(&it.source, objects))
        .map(|it| it.name.as_str())
        .collect();
    let is_touched = |route: &&Route| {
        is_behind(&route.source, objects)
            || match &route.action {
                RouteAction::Forward(forward) => {
                    forward.cluster.names().any(|it| clusters.contains(it))
                }
                RouteAction::Respond { .. } | RouteAction::Redirect(_) => false,
            }
    };
    let mut found = BTreeMap::new();
    for table in config.route_tables.values() {
        for host in &table.virtual_hosts {
            let mut touched = host.routes.iter().filter(is_touched).peekable();
            if touched.peek().is_some() {
                let paths = touched.filter_map(|it| own_segment(&it.path)).collect();
                found.insert((table.name.clone(), host.name.clone()), TouchedHost { paths });
            }
        }
    }
    found
}

/// What several objects have made together is named after all of them.
fn is_behind(source: &Source, objects: &BTreeSet<String>) -> bool {
    !source.object.is_empty()
        && (objects.contains(&source.object)
            || source.object.split(", ").any(|it| objects.contains(it)))
}

/// The path of a route, if all that it matches begins with the same segment.
fn own_segment(path: &PathMatch) -> Option<String> {
    match path {
        PathMatch::Exact(path) | PathMatch::PathPrefix(path) => {
            path.strip_prefix('/').is_some_and(|it| !it.is_empty()).then(|| path.clone())
        }
        PathMatch::Prefix(path) => {
            path.strip_prefix('/').is_some_and(|it| it.contains('/')).then(|| path.clone())
        }
        PathMatch::Regex(_) | PathMatch::Template(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{Cluster, Forward, RouteTable, VirtualHost};

    fn route(path: &str, cluster: &str, object: &str) -> Route {
        let action = RouteAction::Forward(Box::new(Forward::to(cluster)));
        let source = Source { object: object.to_owned(), ..Source::default() };
        Route { source, ..Route::new("r", PathMatch::PathPrefix(path.to_owned()), action) }
    }

    fn config() -> ProxyConfig {
        let host = |name: &str, routes| VirtualHost {
            name: name.to_owned(),
            domains: vec![name.to_owned()],
            routes,
            require_tls: false,
        };
        let hosts = vec![
            host("a", vec![route("/cart", "cart", "Ingress/a"), route("/", "web", "Ingress/a")]),
            host("b", vec![route("/cart", "cart", "Ingress/b, service-router/cart")]),
            host("c", vec![route("/", "other", "Ingress/c")]),
        ];
        let table = RouteTable { name: "ingress".to_owned(), virtual_hosts: hosts };
        let cluster = |name: &str, object: &str| Cluster {
            source: Source { object: object.to_owned(), ..Source::default() },
            name: name.to_owned(),
            ..Cluster::default()
        };
        let clusters = [cluster("cart", "Service/cart"), cluster("web", "Service/web")];
        ProxyConfig {
            route_tables: [("ingress".to_owned(), Arc::new(table))].into(),
            clusters: clusters.map(|it| (it.name.clone(), Arc::new(it))).into(),
            ..ProxyConfig::default()
        }
    }

    fn touched(object: &str) -> Vec<(String, Vec<String>)> {
        let found = touched_hosts(&config(), &[object.to_owned()].into());
        let named = |((_, host), it): ((String, String), TouchedHost)| {
            (host, it.paths.into_iter().collect())
        };
        found.into_iter().map(named).collect()
    }

    #[test]
    fn an_object_touches_the_hosts_of_its_routes_and_of_those_to_its_clusters() {
        let cart = || vec!["/cart".to_owned()];
        assert_eq!(touched("Ingress/a"), [("a".to_owned(), cart())]);
        assert_eq!(touched("Service/cart"), [("a".to_owned(), cart()), ("b".to_owned(), cart())]);
        assert_eq!(touched("service-router/cart"), [("b".to_owned(), cart())]);
        assert_eq!(touched("Service/web"), [("a".to_owned(), Vec::new())]);
        assert_eq!(touched(""), []);
    }
}
