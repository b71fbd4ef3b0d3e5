use model::{Diagnostic, Severity};
use serde_json::{Map, Value};

use crate::config::AgentConfig;
use crate::resolve::ip_of;
use crate::section::{Findings, Section};

mod sections;

use sections::{acl, addresses, connect, dns, http, leno, limits, ports, tls, unix_sockets};

/// Reads merged settings (see [`crate::merge`]). Findings that are no errors name the keys that are not honored.
///
/// # Errors
/// All findings, when there is an error among them.
pub fn read(settings: &Value) -> Result<(AgentConfig, Vec<Diagnostic>), Vec<Diagnostic>> {
    let mut findings = Findings::default();
    let nothing = Map::new();
    let mut root = Section::new(settings.as_object().unwrap_or(&nothing), String::new());
    let config = read_root(&mut root, &mut findings);
    root.finish(&mut findings);
    if findings.0.iter().any(|it| it.severity == Severity::Error) {
        Err(findings.0)
    } else {
        Ok((config, findings.0))
    }
}

fn read_root(root: &mut Section<'_>, found: &mut Findings) -> AgentConfig {
    let mut config = AgentConfig {
        addresses: addresses(root, found),
        ports: ports(root, found),
        dns: dns(root, found),
        http: http(root, found),
        limits: limits(root, found),
        tls: tls(root, found),
        unix_sockets: unix_sockets(root, found),
        acl: acl(root, found),
        connect: connect(root, found),
        leno: leno(root, found),
        ..AgentConfig::default()
    };
    read_node(root, found, &mut config);
    read_definitions(root, found, &mut config);
    read_behavior(root, found, &mut config);
    read_rest(root, found, &mut config);
    config
}

fn read_node(root: &mut Section<'_>, found: &mut Findings, config: &mut AgentConfig) {
    config.node_name = root.text(found, "node_name").filter(|it| !it.is_empty());
    config.node_id = root.text(found, "node_id").filter(|it| !it.is_empty());
    config.node_meta = root.text_map(found, "node_meta").unwrap_or_default();
    let datacenter =
        |it: Option<String>| it.filter(|it| !it.is_empty()).map(|it| it.to_lowercase());
    config.datacenter = datacenter(root.text(found, "datacenter"));
    let primary = datacenter(root.text(found, "primary_datacenter"));
    if primary.is_some_and(|it| config.datacenter.as_ref().is_none_or(|own| *own != it)) {
        let text = "datacenters are not federated; this one decides for itself";
        found.ignored("primary_datacenter".into(), text);
    }
    config.data_dir = root.text(found, "data_dir").filter(|it| !it.is_empty()).map(Into::into);
    config.dev = root.flag(found, "dev").unwrap_or_default();
    if root.flag(found, "server") == Some(false) {
        let text = "there are no client agents: this one is a registry of its own, and sees nothing of others";
        found.approximated("server".into(), text);
    }
    if let Some(servers @ 2..) = root.count(found, "bootstrap_expect", 1 << 20) {
        let text = format!(
            "{servers} servers would be {servers} registries that know nothing of each other, with locks of their own: \
             run one, say 1 here, and have the others' clients use its address"
        );
        found.error("bootstrap_expect".into(), text);
    }
    config.bind = root.ip(found, "bind_addr");
    let advertise = root.ip(found, "advertise_addr");
    config.advertise = advertise.or(config.bind).filter(|it| !it.is_unspecified());
    let client = root.text(found, "client_addr").unwrap_or_default();
    for word in client.split_whitespace() {
        match ip_of(word) {
            Some(ip) => config.client_addrs.push(ip),
            None => found.error("client_addr".into(), format!("{word:?} is not an IP address")),
        }
    }
    if let Some(mut locality) = root.section(found, "locality") {
        let region = locality.text(found, "region").unwrap_or_default();
        let zone = locality.text(found, "zone").unwrap_or_default();
        locality.finish(found);
        config.locality = Some((region, zone));
    }
}

fn read_definitions(root: &mut Section<'_>, found: &mut Findings, config: &mut AgentConfig) {
    for name in ["service", "services"] {
        config.services.extend(root.objects(found, name).into_iter().map(definition));
    }
    for name in ["check", "checks"] {
        config.checks.extend(root.objects(found, name).into_iter().map(definition));
    }
    if let Some(mut entries) = root.section(found, "config_entries") {
        let bootstrap = entries.objects(found, "bootstrap");
        config.config_entries.extend(bootstrap.into_iter().cloned().map(Value::Object));
        entries.finish(found);
    }
}

/// Maps of free keys within a definition, which stay as they are.
const FREE_MAPS: [&str; 5] = ["meta", "header", "config", "nodemeta", "envoyextensions"];
/// Objects within a definition of which there is one: HCL writes them as a list.
const SINGLE: [&str; 8] =
    ["check", "connect", "expose", "locality", "meshgateway", "proxy", "sidecarservice", "weights"];

/// A definition with its keys as the HTTP API has them: files write `tagged_addresses` for `TaggedAddresses`, and the
/// decoder of the API does not look at letter case.
fn definition(object: &Map<String, Value>) -> Value {
    let pairs = object.iter().map(|(key, value)| {
        let name = key.replace('_', "").to_lowercase();
        let value = match name.as_str() {
            free if FREE_MAPS.contains(&free) => unwrapped(value).clone(),
            "taggedaddresses" => tagged(unwrapped(value)),
            single if SINGLE.contains(&single) => nested(&name, unwrapped(value)),
            _ => nested(&name, value),
        };
        (name, value)
    });
    Value::Object(pairs.collect())
}

/// What stands under `name`. A check that is part of a service has its id under another name than one alone.
fn nested(name: &str, value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            let mut whole = definition(object);
            if let (Some(fields), "check" | "checks") = (whole.as_object_mut(), name)
                && let Some(id) = fields.remove("id")
            {
                fields.insert("checkid".to_owned(), id);
            }
            whole
        }
        Value::Array(items) => Value::Array(items.iter().map(|it| nested(name, it)).collect()),
        other => other.clone(),
    }
}

/// Addresses by free names.
fn tagged(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            let pairs = object.iter().map(|(key, it)| (key.clone(), nested("", unwrapped(it))));
            Value::Object(pairs.collect())
        }
        other => other.clone(),
    }
}

/// HCL writes an object as a list of one.
fn unwrapped(value: &Value) -> &Value {
    match value {
        Value::Array(items) if items.len() == 1 && items[0].is_object() => &items[0],
        other => other,
    }
}

fn read_behavior(root: &mut Section<'_>, found: &mut Findings, config: &mut AgentConfig) {
    config.enable_script_checks = root.flag(found, "enable_script_checks").unwrap_or_default();
    config.enable_local_script_checks =
        root.flag(found, "enable_local_script_checks").unwrap_or_default();
    config.check_output_max_size = root.count(found, "check_output_max_size", 1 << 20);
    if config.check_output_max_size.is_some_and(|it| it > 4096) {
        let text = "at most 4096 bytes of a check's output are kept";
        found.approximated("check_output_max_size".into(), text);
    }
    config.default_query_time = root.duration(found, "default_query_time");
    config.max_query_time = root.duration(found, "max_query_time");
    config.session_ttl_min = root.duration(found, "session_ttl_min");
    config.log_level = root.text(found, "log_level").filter(|it| !it.is_empty());
    if let Some(level) = &config.log_level
        && !LOG_LEVELS.iter().any(|it| it.eq_ignore_ascii_case(level))
    {
        let text = format!("{level:?} is no log level: {}", LOG_LEVELS.join(", "));
        found.error("log_level".into(), text);
    }
    config.log_json = root.flag(found, "log_json").unwrap_or_default();
    config.pid_file = root.text(found, "pid_file").filter(|it| !it.is_empty()).map(Into::into);
    config.disable_coordinates = root.flag(found, "disable_coordinates").unwrap_or_default();
    config.autopilot = root.take("autopilot").cloned();
    if let Some(mut peering) = root.section(found, "peering") {
        config.peering_enabled = peering.flag(found, "enabled");
        peering.finish(found);
    }
    // The old name of `ui_config.enabled`.
    config.ui = root.flag(found, "ui");
    if let Some(mut ui) = root.section(found, "ui_config") {
        config.ui = ui.flag(found, "enabled").or(config.ui);
        ui.ignore(found, UI_IGNORED);
        ui.finish(found);
    }
    if let Some(mut telemetry) = root.section(found, "telemetry") {
        config.prometheus_retention = telemetry.duration(found, "prometheus_retention_time");
        telemetry.accept(&["disable_hostname"]);
        telemetry.ignore(found, TELEMETRY_IGNORED);
        telemetry.finish(found);
    }
}

/// Words for how much is logged.
const LOG_LEVELS: [&str; 7] = ["trace", "debug", "info", "warn", "err", "error", "off"];

const UI_IGNORED: &[&str] = &[
    "dir",
    "content_path",
    "metrics_provider",
    "metrics_provider_files",
    "metrics_provider_options_json",
    "metrics_proxy",
    "dashboard_url_templates",
    "hcp_enabled",
];

const TELEMETRY_IGNORED: &[&str] = &[
    "circonus_api_app",
    "circonus_api_token",
    "circonus_api_url",
    "circonus_broker_id",
    "circonus_broker_select_tag",
    "circonus_check_display_name",
    "circonus_check_force_metric_activation",
    "circonus_check_id",
    "circonus_check_instance_id",
    "circonus_check_search_tag",
    "circonus_check_tags",
    "circonus_submission_interval",
    "circonus_submission_url",
    "disable_compat_1.9",
    "disable_per_tenancy_usage_metrics",
    "dogstatsd_addr",
    "dogstatsd_tags",
    "enable_host_metrics",
    "filter_default",
    "metrics_prefix",
    "prefix_filter",
    "retry_failed_connection",
    "statsd_address",
    "statsite_address",
];

/// Keys about clusters of Consul's own servers, which Leno has none of, and about what it does its own way.
const IGNORED: &[&str] = &[
    "acl_agent_master_token",
    "acl_agent_token",
    "acl_datacenter",
    "acl_default_policy",
    "acl_down_policy",
    "acl_enable_key_list_policy",
    "acl_master_token",
    "acl_replication_token",
    "acl_token",
    "acl_ttl",
    "advertise_addr_ipv4",
    "advertise_addr_ipv6",
    "advertise_addr_wan",
    "advertise_addr_wan_ipv4",
    "advertise_addr_wan_ipv6",
    "advertise_reconnect_timeout",
    "audit",
    "auto_config",
    "auto_encrypt",
    "auto_reload_config",
    "cache",
    "check_update_interval",
    "cloud",
    "disable_anonymous_signature",
    "disable_http_unprintable_char_filter",
    "discard_check_output",
    "discovery_max_stale",
    "enable_acl_replication",
    "enable_agent_tls_for_checks",
    "enable_central_service_config",
    "enable_debug",
    "enable_syslog",
    "encrypt",
    "encrypt_verify_incoming",
    "encrypt_verify_outgoing",
    "gossip_lan",
    "gossip_wan",
    "license_path",
    "log_file",
    "log_rotate_bytes",
    "log_rotate_duration",
    "log_rotate_max_files",
    "partition",
    "primary_gateways",
    "primary_gateways_interval",
    "raft_boltdb",
    "raft_logstore",
    "read_replica",
    "recursor_strategy",
    "reporting",
    "retry_join",
    "retry_join_wan",
    "segment",
    "segments",
    "serf_lan",
    "serf_lan_allowed_cidrs",
    "serf_wan",
    "serf_wan_allowed_cidrs",
    "start_join",
    "start_join_wan",
    "syslog_facility",
    "tagged_addresses",
    "translate_wan_addrs",
    "ui_content_path",
    "ui_dir",
    "watches",
    "xds",
    "default_intention_policy",
];

/// Keys that ask for nothing that a single registry could do otherwise.
const ACCEPTED: &[&str] = &[
    "bootstrap",
    "disable_host_node_id",
    "disable_keyring_file",
    "disable_remote_exec",
    "disable_update_check",
    "enable_remote_exec",
    "experiments",
    // Leaving a cluster is stopping here: there is no gossip to be told.
    "leave_on_terminate",
    "non_voting_server",
    "performance",
    "protocol",
    "raft_protocol",
    "raft_snapshot_interval",
    "raft_snapshot_threshold",
    "raft_trailing_logs",
    "reconnect_timeout",
    "reconnect_timeout_wan",
    "rejoin_after_leave",
    "retry_interval",
    "retry_interval_wan",
    "retry_max",
    "retry_max_wan",
    "rpc",
    "server_name",
    "server_rejoin_age_max",
    "skip_leave_on_int",
    "skip_leave_on_interrupt",
    "sync_coordinate_interval_min",
    "sync_coordinate_rate_target",
    "use_streaming_backend",
    "version",
];

fn read_rest(root: &mut Section<'_>, found: &mut Findings, _: &mut AgentConfig) {
    root.accept(ACCEPTED);
    root.ignore(found, IGNORED);
}
