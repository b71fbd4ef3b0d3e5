//! What to do instead of a key that is not honored.

const JOIN: &str =
    "agents do not join each other: this one is a registry of its own, and sees nothing of others";
const LOG: &str = "the log goes to standard error; have what starts the agent keep it";
const METRICS: &str = "metrics are asked for: GET /v1/agent/metrics?format=prometheus";
const OLD_ACL: &str = "say it in the section acl";
const GOSSIP: &str = "there is no gossip";
const SIDECARS: &str = "call the mesh listener, with the service's name as the Host";

/// Paths of keys, or their beginnings with a `*` in the end, and what to do.
const INSTEAD: &[(&str, &str)] = &[
    ("retry_join*", JOIN),
    ("start_join*", JOIN),
    ("primary_gateways*", JOIN),
    ("watches", "run `consul watch` beside the agent, for example as a service of its own"),
    ("log_file", LOG),
    ("log_rotate_*", LOG),
    ("enable_syslog", LOG),
    ("syslog_facility", LOG),
    ("encrypt*", "there is no gossip to encrypt; the section tls is for the HTTP API"),
    ("serf_*", GOSSIP),
    ("gossip_*", GOSSIP),
    ("telemetry.statsd_address", METRICS),
    ("telemetry.statsite_address", METRICS),
    ("telemetry.dogstatsd_addr", METRICS),
    ("telemetry.circonus_*", METRICS),
    ("acl_*", OLD_ACL),
    ("ports.grpc*", SIDECARS),
    ("addresses.grpc*", SIDECARS),
    ("xds", SIDECARS),
    ("auto_encrypt", "the HTTP API has the certificates that the section tls names"),
    ("auto_config", "each agent has its own files"),
    (
        "enable_debug",
        "there are no profiles of a Go program; GET /v1/agent/host tells of the machine",
    ),
    ("connect.ca_provider", "the agent has a certificate authority of its own"),
    ("connect.ca_config.*", "PUT /v1/connect/ca/configuration changes the authority"),
    ("discard_check_output", "check_output_max_size bounds what is kept"),
    ("translate_wan_addrs", "there is one datacenter"),
    ("ui_config.metrics_*", "the pages show what the registry knows; Prometheus reads the metrics"),
];

/// What to do instead of the key at `path`; empty when there is nothing to say.
pub(crate) fn of(path: &str) -> &'static str {
    let fits = |pattern: &str| match pattern.strip_suffix('*') {
        Some(start) => path.starts_with(start),
        None => path == pattern,
    };
    INSTEAD.iter().find(|it| fits(it.0)).map_or("", |it| it.1)
}
