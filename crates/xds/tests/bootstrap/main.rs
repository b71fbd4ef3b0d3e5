//! Envoy's bootstrap files from outside: a text in, a configuration and findings out.

#![allow(clippy::unwrap_used, reason = "a test may fail")]
#![allow(clippy::disallowed_methods, reason = "golden files are files")]

mod errors;
mod golden;
mod meaning;
mod robust;

use xds::bootstrap::{Bootstrap, Finding, ReadError};

/// Reads a file without others.
fn read(text: &str) -> Result<(Bootstrap, Vec<Finding>), ReadError> {
    xds::bootstrap::read(text, &mut |name| Err(format!("{name} is not there")))
}

/// A file with these clusters, as items of a list.
fn with_clusters(clusters: &str) -> String {
    format!("static_resources:\n  clusters:\n{}", indented(clusters, 2))
}

/// A file with an HTTP listener that has these fields, and a cluster `web`. `{routes}` are the routes of one virtual
/// host, where the fields bring no `route_config`.
fn with_http(fields: &str, routes: &str) -> String {
    let manager = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3";
    let router = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
    let filters = if fields.contains("http_filters:") {
        String::new()
    } else {
        format!("http_filters: [{{ name: router, typed_config: {{ \"@type\": {router} }} }}]\n")
    };
    let table = if fields.contains("route_config:") {
        String::new()
    } else {
        format!(
            "route_config:\n  virtual_hosts:\n  - name: all\n    domains: ['*']\n    routes:\n{}",
            indented(routes, 4)
        )
    };
    let config = format!(
        "\"@type\": {manager}.HttpConnectionManager\nstat_prefix: test\n{filters}{table}{}",
        indented(fields, 0)
    );
    format!(
        "static_resources:\n  clusters:\n  - name: web\n  listeners:\n  - name: l\n    address: \
         {{ socket_address: {{ address: 127.0.0.1, port_value: 80 }} }}\n    filter_chains:\n    \
         - filters:\n      - name: http\n        typed_config:\n{}",
        indented(&config, 10)
    )
}

fn indented(text: &str, by: usize) -> String {
    text.lines().map(|line| format!("{:by$}{line}\n", "")).collect()
}
