//! What an agent is to be, by what it was told in files and on the command line.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use agent_config::{AclConfig, AgentConfig, LenoConfig, Listen, RateMode};
use anyhow::{Context, anyhow, bail};
use control::agent::{
    AgentOptions, ApiSettings, CompilerSettings, Locality, Network, Rates, SidecarPorts, ToldPorts,
};
use control::definitions::Definitions;
use control::dns_server::{DnsConfig, DnsOptions, Domain, parse_recursor};
use control::guards::{GuardDefaults, parse_window};
use control::http_server::{HttpEndpoint, UnixEndpoint};
use control::tokens::{AclOptions, AclSettings, AgentToken, DefaultPolicy};

use http::{HeaderName, HeaderValue};

use super::tls;

/// Ports of Consul's.
const HTTP_PORT: u16 = 8500;
const DNS_PORT: u16 = 8600;
/// Connections of one address to the HTTP API that Consul takes.
const CONNECTIONS_PER_CLIENT_MAX: u64 = 200;
/// Where the data lies when nobody says so.
const DATA_DIR: &str = "./leno-data";

/// Options of an agent.
///
/// # Errors
/// When a file that is named cannot be used, or there is no name for the node.
pub(crate) fn agent_options(
    config: &AgentConfig,
    compiler: CompilerSettings,
) -> anyhow::Result<AgentOptions> {
    let (http, more_http) = http_endpoints(config)?;
    let mut dns = dns_addresses(config)?.into_iter();
    let node_name = match &config.node_name {
        Some(name) => name.clone(),
        None => host_name()?,
    };
    Ok(AgentOptions {
        dev: config.dev,
        data_dir: data_dir(config),
        http,
        more_http,
        ui_http: config.leno.ui.flatten().filter(|_| is_ui_on(config)),
        dns: dns.next(),
        more_dns: dns.collect(),
        dns_options: dns_options(config)?,
        node_name,
        node_id: config.node_id.clone(),
        node_meta: config.node_meta.clone(),
        locality: config.locality.clone().map(|(region, zone)| Locality { region, zone }),
        datacenter: config.datacenter.clone().unwrap_or_else(|| "dc1".to_owned()),
        advertise: config.advertise.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)).to_string(),
        manifests: config.leno.manifests.clone(),
        guards: guard_defaults(&config.leno)?,
        script_checks: config.enable_script_checks,
        definitions: definitions(config),
        connections_per_client_max: usize::try_from(
            config.limits.http_max_conns_per_client.unwrap_or(CONNECTIONS_PER_CLIENT_MAX),
        )?,
        rates: rates(config),
        handshake_timeout: config.limits.https_handshake_timeout,
        head_bytes_max: config.http.max_header_bytes.map(usize::try_from).transpose()?,
        config_entries: config.config_entries.clone(),
        autopilot: config.autopilot.clone(),
        cluster_id: config.connect.cluster_id.clone(),
        acl: acl_options(&config.acl),
        api: api_settings(config)?,
        compiler,
    })
}

/// Kinds of documents whose changes can be guarded.
const GUARDED_KINDS: [&str; 3] = ["Ingress", "Secret", "Service"];

fn guard_defaults(told: &LenoConfig) -> anyhow::Result<GuardDefaults> {
    let window = |text: &str| parse_window(text).map_err(|it| anyhow!("leno.guard: {it}"));
    let mut kinds = BTreeMap::new();
    for (kind, text) in &told.guard_kinds {
        let Some(known) = GUARDED_KINDS.iter().find(|it| it.eq_ignore_ascii_case(kind)) else {
            let known = GUARDED_KINDS.join(", ");
            bail!("leno.guard.kinds: {kind:?} cannot be guarded; those that can are {known}");
        };
        kinds.insert((*known).to_owned(), window(text)?);
    }
    let window = told.guard.as_deref().map(window).transpose()?.unwrap_or_default();
    Ok(GuardDefaults { window, kinds })
}

/// The folder of the data.
pub(crate) fn data_dir(config: &AgentConfig) -> PathBuf {
    config.data_dir.clone().unwrap_or_else(|| PathBuf::from(DATA_DIR))
}

/// Services and checks of the configuration.
pub(crate) fn definitions(config: &AgentConfig) -> Definitions {
    Definitions {
        services: config.services.clone(),
        checks: config.checks.clone(),
        script_checks: config.enable_local_script_checks || config.enable_script_checks,
    }
}

fn acl_options(config: &AclConfig) -> AclOptions {
    let tokens = &config.tokens;
    let given = [
        (AgentToken::Default, &tokens.default),
        (AgentToken::Agent, &tokens.agent),
        (AgentToken::AgentRecovery, &tokens.agent_recovery),
        (AgentToken::Replication, &tokens.replication),
        (AgentToken::ConfigFileRegistration, &tokens.config_file_service_registration),
        (AgentToken::Dns, &tokens.dns),
    ];
    let given = given.into_iter().filter_map(|(which, token)| Some((which, token.as_deref()?)));
    AclOptions {
        settings: AclSettings {
            enabled: config.enabled,
            default_policy: match config.default_policy {
                agent_config::DefaultPolicy::Allow => DefaultPolicy::Allow,
                agent_config::DefaultPolicy::Deny => DefaultPolicy::Deny,
            },
            key_list: config.enable_key_list_policy,
        },
        tokens: given.map(|(which, secret)| (which, secret.into())).collect(),
        initial_management: tokens.initial_management.as_deref().map(Into::into),
        keeps_tokens: config.enable_token_persistence,
    }
}

fn api_settings(config: &AgentConfig) -> anyhow::Result<ApiSettings> {
    let default = ApiSettings::default();
    let bytes = |given: Option<u64>, default: usize| given.map_or(Ok(default), usize::try_from);
    let limits = &config.limits;
    let networks = config.http.allow_write_from.iter();
    Ok(ApiSettings {
        wait_default: config.default_query_time.unwrap_or(default.wait_default),
        wait_max: config.max_query_time.unwrap_or(default.wait_max),
        session_ttl_min: config.session_ttl_min.unwrap_or(default.session_ttl_min),
        kv_value_bytes_max: bytes(limits.kv_max_value_size, default.kv_value_bytes_max)?,
        txn_bytes_max: bytes(limits.txn_max_req_len, default.txn_bytes_max)?,
        blocked_paths: config.http.block_endpoints.clone(),
        write_networks: networks.map(|(ip, bits)| Network { ip: *ip, bits: *bits }).collect(),
        response_headers: response_headers(config)?,
        check_output_bytes_max: config
            .check_output_max_size
            .map_or(default.check_output_bytes_max, |it| u32::try_from(it).unwrap_or(u32::MAX)),
        ports: told_ports(config),
        sidecar_ports: sidecar_ports(config)?,
        connect: config.connect.enabled.unwrap_or(true),
        peering: config.peering_enabled.unwrap_or(true),
        coordinates: !config.disable_coordinates,
        prometheus: config.prometheus_retention.is_none_or(|it| !it.is_zero()),
        ui: is_ui_on(config),
    })
}

fn is_ui_on(config: &AgentConfig) -> bool {
    config.ui.unwrap_or(true) && config.leno.ui != Some(None)
}

fn response_headers(config: &AgentConfig) -> anyhow::Result<Vec<(HeaderName, HeaderValue)>> {
    let headers = config.http.response_headers.iter().map(|(name, value)| {
        let wrong = || format!("http_config.response_headers: {name:?} cannot be a header");
        let value = HeaderValue::from_str(value).with_context(wrong)?;
        Ok((HeaderName::try_from(name.as_str()).with_context(wrong)?, value))
    });
    headers.collect()
}

fn told_ports(config: &AgentConfig) -> ToldPorts {
    let (default, ports) = (ToldPorts::default(), &config.ports);
    let or = |given: Option<Option<u16>>, default| given.flatten().unwrap_or(default);
    ToldPorts {
        server: or(ports.server, default.server),
        serf_lan: or(ports.serf_lan, default.serf_lan),
        serf_wan: or(ports.serf_wan, default.serf_wan),
    }
}

/// Ports for proxies that do not say theirs; none when either end is told to be none.
fn sidecar_ports(config: &AgentConfig) -> anyhow::Result<SidecarPorts> {
    let default = SidecarPorts::default();
    let first = config.ports.sidecar_min.unwrap_or(Some(default.first));
    let last = config.ports.sidecar_max.unwrap_or(Some(default.last));
    match (first, last) {
        (Some(first), Some(last)) if first > last => bail!(
            "ports.sidecar_min_port is {first}, above ports.sidecar_max_port, which is {last}"
        ),
        (Some(first), Some(last)) => Ok(SidecarPorts { first, last }),
        _ => Ok(SidecarPorts::NONE),
    }
}

fn rates(config: &AgentConfig) -> Rates {
    let told = &config.limits.rates;
    if told.mode == RateMode::Disabled {
        return Rates::default();
    }
    let enforce = told.mode == RateMode::Enforcing;
    Rates { enforce, reads: told.read_rate, writes: told.write_rate }
}

/// The first plain address, and all other endpoints.
fn http_endpoints(config: &AgentConfig) -> anyhow::Result<(Option<SocketAddr>, Vec<HttpEndpoint>)> {
    let mut plain = Vec::new();
    let mut others = Vec::new();
    let port = config.ports.http.unwrap_or(Some(HTTP_PORT));
    for listen in places(&config.addresses.http, config) {
        match (listen, port) {
            (Listen::Ip(ip), Some(port)) => plain.push(SocketAddr::new(ip, port)),
            (Listen::Ip(_), None) => {}
            (Listen::Unix(path), _) => others.push(HttpEndpoint::Unix(socket(config, path)?)),
        }
    }
    // As with Consul, a port without a certificate is no error: nothing listens there.
    if let (Some(Some(port)), Some(tls)) = (config.ports.https, tls::server(&config.tls)?) {
        for listen in places(&config.addresses.https, config) {
            match listen {
                Listen::Ip(ip) => {
                    others.push(HttpEndpoint::Tls(SocketAddr::new(ip, port), Arc::clone(&tls)));
                }
                Listen::Unix(path) => {
                    bail!(
                        "addresses.https: TLS on the socket {} is not supported; use addresses.http",
                        path.display()
                    );
                }
            }
        }
    }
    let mut plain = plain.into_iter();
    let first = plain.next();
    let endpoints = plain.map(HttpEndpoint::Tcp).chain(others).collect();
    Ok((first, endpoints))
}

/// Where something listens that may have addresses of its own.
fn places(own: &[Listen], config: &AgentConfig) -> Vec<Listen> {
    if !own.is_empty() {
        return own.to_vec();
    }
    let clients = config.client_addrs.iter().map(|ip| Listen::Ip(*ip));
    let clients: Vec<Listen> = clients.collect();
    if clients.is_empty() { vec![Listen::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST))] } else { clients }
}

fn socket(config: &AgentConfig, path: PathBuf) -> anyhow::Result<UnixEndpoint> {
    let sockets = &config.unix_sockets;
    let number = |what: &str, given: &Option<String>| match given.as_deref() {
        None | Some("") => Ok(None),
        Some(text) => match text.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => id_of(what, text).map(Some),
        },
    };
    Ok(UnixEndpoint {
        path,
        mode: sockets.mode,
        user: number("passwd", &sockets.user)?,
        group: number("group", &sockets.group)?,
    })
}

/// The number of a user or group by its name, out of `/etc/passwd` or `/etc/group`.
fn id_of(file: &str, name: &str) -> anyhow::Result<u32> {
    let text = fs::read_to_string(format!("/etc/{file}"))
        .with_context(|| format!("unix_sockets: cannot look up {name:?}"))?;
    let found = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
    });
    found.with_context(|| format!("unix_sockets: there is no {name:?} in /etc/{file}"))
}

fn dns_addresses(config: &AgentConfig) -> anyhow::Result<Vec<SocketAddr>> {
    let Some(port) = config.ports.dns.unwrap_or(Some(DNS_PORT)) else { return Ok(Vec::new()) };
    let mut addresses = Vec::new();
    for place in places(&config.addresses.dns, config) {
        match place {
            Listen::Ip(ip) => addresses.push(SocketAddr::new(ip, port)),
            Listen::Unix(path) => bail!(
                "addresses.dns: {} is no IP address, and DNS is not served on sockets",
                path.display()
            ),
        }
    }
    Ok(addresses)
}

fn dns_options(config: &AgentConfig) -> anyhow::Result<DnsOptions> {
    let dns = &config.dns;
    let mut recursors = Vec::new();
    for text in &dns.recursors {
        let recursor = parse_recursor(text);
        recursors.push(recursor.with_context(|| {
            format!("the recursor {text:?} is neither an IP address nor IP:PORT")
        })?);
    }
    let default = DnsOptions::default();
    let mut rules = DnsConfig {
        datacenter: config.datacenter.clone().unwrap_or_else(|| "dc1".to_owned()),
        only_passing: dns.only_passing,
        node_ttl: dns.node_ttl.unwrap_or_default(),
        service_ttl: dns.service_ttl.iter().map(|(name, ttl)| (name, *ttl)).collect(),
        disable_compression: dns.disable_compression,
        ..default.config
    };
    if let Some(domain) = &dns.domain {
        rules.domain = Domain::new(domain)?;
    }
    rules.alt_domain = dns.alt_domain.as_deref().map(Domain::new).transpose()?;
    rules.enable_truncate = dns.enable_truncate.unwrap_or(rules.enable_truncate);
    rules.node_meta_txt = dns.node_meta_txt.unwrap_or(rules.node_meta_txt);
    let count = |given: Option<u64>, default| given.map_or(Ok(default), usize::try_from);
    rules.a_record_limit = count(dns.a_record_limit, rules.a_record_limit)?;
    rules.udp_answer_limit = count(dns.udp_answer_limit, rules.udp_answer_limit)?;
    let soa = &mut rules.soa;
    let times = [&mut soa.refresh_s, &mut soa.retry_s, &mut soa.expire_s, &mut soa.min_ttl_s];
    for (time, given) in times.into_iter().zip(dns.soa) {
        *time = given.unwrap_or(*time);
    }
    Ok(DnsOptions {
        config: rules,
        recursors,
        recursor_timeout: dns.recursor_timeout.unwrap_or(default.recursor_timeout),
    })
}

fn host_name() -> anyhow::Result<String> {
    runtime::host_name().context("this machine has no host name; name the node with --node")
}
