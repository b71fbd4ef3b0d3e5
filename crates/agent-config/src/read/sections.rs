//! The sections of the settings, one function each.

use std::net::IpAddr;

use crate::config::{
    AclConfig, AclTokens, Addresses, ConnectConfig, DefaultPolicy, DnsConfig, HttpConfig,
    LenoConfig, Limits, Listen, Ports, RateLimits, RateMode, TlsConfig, UnixSockets,
};
use crate::resolve::ip_of;
use crate::section::{Findings, Section};

/// Leno's own section.
pub(super) fn leno(root: &mut Section<'_>, found: &mut Findings) -> LenoConfig {
    let Some(mut section) = root.section(found, "leno") else { return LenoConfig::default() };
    let mut address = |found: &mut Findings, name: &str| {
        let text = section.text(found, name)?;
        match text.as_str() {
            "off" => Some(None),
            text => match text.parse() {
                Ok(address) => Some(Some(address)),
                Err(_) => {
                    let text = format!("{text:?} is neither IP:PORT nor off");
                    found.error(section.path_of(name), text);
                    None
                }
            },
        }
    };
    let mut config = LenoConfig {
        ingress: address(found, "ingress"),
        ingress_tls: address(found, "ingress_tls"),
        outbound: address(found, "outbound"),
        proxy_admin: address(found, "proxy_admin"),
        ui: address(found, "ui"),
        manifests: section.text(found, "manifests").filter(|it| !it.is_empty()).map(Into::into),
        ..LenoConfig::default()
    };
    if let Some(mut guard) = section.section(found, "guard") {
        config.guard = guard.text(found, "default");
        config.guard_kinds = guard.text_map(found, "kinds").unwrap_or_default();
        guard.finish(found);
    }
    section.finish(found);
    config
}

pub(super) fn addresses(root: &mut Section<'_>, found: &mut Findings) -> Addresses {
    let Some(mut section) = root.section(found, "addresses") else { return Addresses::default() };
    let mut listens = |found: &mut Findings, name: &str| {
        let text = section.text(found, name).unwrap_or_default();
        let field = section.path_of(name);
        text.split_whitespace().filter_map(|word| listen(word, &field, found)).collect()
    };
    let addresses = Addresses {
        dns: listens(found, "dns"),
        http: listens(found, "http"),
        https: listens(found, "https"),
    };
    section.ignore(found, &["grpc", "grpc_tls"]);
    section.finish(found);
    addresses
}

fn listen(word: &str, field: &str, found: &mut Findings) -> Option<Listen> {
    if let Some(path) = word.strip_prefix("unix://") {
        return Some(Listen::Unix(path.into()));
    }
    match ip_of(word) {
        Some(ip) => Some(Listen::Ip(ip)),
        None => {
            let text = format!("{word:?} is neither an IP address nor unix:///PATH");
            found.error(field.to_owned(), text);
            None
        }
    }
}

pub(super) fn ports(root: &mut Section<'_>, found: &mut Findings) -> Ports {
    let Some(mut section) = root.section(found, "ports") else { return Ports::default() };
    let mut port = |found: &mut Findings, name: &str| {
        let given = section.integer(found, name)?;
        if given <= 0 {
            return Some(None);
        }
        let port = u16::try_from(given).ok();
        if port.is_none() {
            found.error(section.path_of(name), format!("{given} is not a port: -1 to 65535"));
        }
        Some(port)
    };
    let ports = Ports {
        dns: port(found, "dns"),
        http: port(found, "http"),
        https: port(found, "https"),
        serf_lan: port(found, "serf_lan"),
        serf_wan: port(found, "serf_wan"),
        server: port(found, "server"),
        sidecar_min: port(found, "sidecar_min_port"),
        sidecar_max: port(found, "sidecar_max_port"),
    };
    for name in ["grpc", "grpc_tls"] {
        if section.integer(found, name).is_some_and(|it| it > 0) {
            found.ignored(section.path_of(name), "xDS is not served on a port in this version");
        }
    }
    section.ignore(found, &["expose_min_port", "expose_max_port", "rpc"]);
    section.finish(found);
    ports
}

pub(super) fn dns(root: &mut Section<'_>, found: &mut Findings) -> DnsConfig {
    let mut config = DnsConfig {
        domain: root.text(found, "domain").filter(|it| !it.is_empty()),
        alt_domain: root.text(found, "alt_domain").filter(|it| !it.is_empty()),
        recursors: root.texts(found, "recursors").unwrap_or_default(),
        ..DnsConfig::default()
    };
    config.recursors.extend(root.text(found, "recursor"));
    let Some(mut section) = root.section(found, "dns_config") else { return config };
    config.recursor_timeout = section.duration(found, "recursor_timeout");
    config.only_passing = section.flag(found, "only_passing").unwrap_or_default();
    config.node_ttl = section.duration(found, "node_ttl");
    if let Some(ttls) = section.text_map(found, "service_ttl") {
        for (service, text) in ttls {
            match model::go::parse_duration(&text) {
                Ok(ttl) => config.service_ttl.push((service, ttl)),
                Err(error) => {
                    found.error(format!("dns_config.service_ttl.{service}"), error.to_string());
                }
            }
        }
    }
    config.a_record_limit = section.count(found, "a_record_limit", 4096);
    config.udp_answer_limit = section.count(found, "udp_answer_limit", 4096);
    config.enable_truncate = section.flag(found, "enable_truncate");
    config.disable_compression = section.flag(found, "disable_compression").unwrap_or_default();
    config.node_meta_txt = section.flag(found, "enable_additional_node_meta_txt");
    if let Some(mut soa) = section.section(found, "soa") {
        for (at, name) in ["refresh", "retry", "expire", "min_ttl"].into_iter().enumerate() {
            let seconds = soa.count(found, name, u64::from(u32::MAX));
            config.soa[at] = seconds.and_then(|it| u32::try_from(it).ok());
        }
        soa.finish(found);
    }
    section.accept(&["allow_stale", "max_stale", "use_cache", "cache_max_age"]);
    section.ignore(found, &["recursor_strategy", "prefer_namespace"]);
    section.finish(found);
    config
}

pub(super) fn http(root: &mut Section<'_>, found: &mut Findings) -> HttpConfig {
    let Some(mut section) = root.section(found, "http_config") else {
        return HttpConfig::default();
    };
    let mut config = HttpConfig {
        block_endpoints: section.texts(found, "block_endpoints").unwrap_or_default(),
        response_headers: section.text_map(found, "response_headers").unwrap_or_default(),
        max_header_bytes: section.count(found, "max_header_bytes", 1 << 24),
        ..HttpConfig::default()
    };
    for text in section.texts(found, "allow_write_http_from").unwrap_or_default() {
        match network(&text) {
            Some(network) => config.allow_write_from.push(network),
            None => {
                let field = section.path_of("allow_write_http_from");
                found.error(field, format!("{text:?} is not a network such as 127.0.0.0/8"));
            }
        }
    }
    section.accept(&["use_cache"]);
    section.finish(found);
    config
}

/// `IP/BITS`.
fn network(text: &str) -> Option<(IpAddr, u8)> {
    let (ip, bits) = text.split_once('/')?;
    let (ip, bits): (IpAddr, u8) = (ip.parse().ok()?, bits.parse().ok()?);
    (bits <= if ip.is_ipv4() { 32 } else { 128 }).then_some((ip, bits))
}

pub(super) fn limits(root: &mut Section<'_>, found: &mut Findings) -> Limits {
    let Some(mut section) = root.section(found, "limits") else { return Limits::default() };
    let most_bytes = 4 << 20;
    let mut limits = Limits {
        http_max_conns_per_client: section.count(found, "http_max_conns_per_client", 1 << 20),
        https_handshake_timeout: section.duration(found, "https_handshake_timeout"),
        kv_max_value_size: section.count(found, "kv_max_value_size", most_bytes),
        txn_max_req_len: section.count(found, "txn_max_req_len", most_bytes),
        ..Limits::default()
    };
    if let Some(mut rates) = section.section(found, "request_limits") {
        let mode = match rates.text(found, "mode").as_deref() {
            None | Some("" | "disabled") => RateMode::Disabled,
            Some("permissive") => RateMode::Permissive,
            Some("enforcing") => RateMode::Enforcing,
            Some(other) => {
                let text = format!("{other:?} is none of disabled, permissive, enforcing");
                found.error(rates.path_of("mode"), text);
                RateMode::Disabled
            }
        };
        let mut rate = |found: &mut Findings, name: &str| {
            rates.float(found, name).filter(|it| it.is_finite() && *it >= 0.0)
        };
        limits.rates = RateLimits {
            mode,
            read_rate: rate(found, "read_rate"),
            write_rate: rate(found, "write_rate"),
        };
        rates.finish(found);
    }
    section.accept(&[
        "rpc_client_timeout",
        "rpc_handshake_timeout",
        "rpc_max_burst",
        "rpc_max_conns_per_client",
        "rpc_rate",
    ]);
    section.finish(found);
    limits
}

pub(super) fn tls(root: &mut Section<'_>, found: &mut Findings) -> TlsConfig {
    let mut config = TlsConfig::default();
    read_tls(root, found, &mut config, "tls_min_version");
    let verify = root.flag(found, "verify_incoming").unwrap_or_default();
    let verify_https = root.flag(found, "verify_incoming_https").unwrap_or_default();
    config.verify_incoming = verify || verify_https;
    root.ignore(found, &["tls_cipher_suites", "verify_incoming_rpc", "verify_outgoing"]);
    root.ignore(found, &["verify_server_hostname", "tls_prefer_server_cipher_suites"]);
    let Some(mut section) = root.section(found, "tls") else { return config };
    for name in ["defaults", "https"] {
        let Some(mut part) = section.section(found, name) else { continue };
        read_tls(&mut part, found, &mut config, "tls_min_version");
        config.verify_incoming =
            part.flag(found, "verify_incoming").unwrap_or(config.verify_incoming);
        part.accept(&["verify_outgoing", "verify_server_hostname"]);
        part.ignore(found, &["tls_cipher_suites"]);
        part.finish(found);
    }
    section.ignore(found, &["grpc", "internal_rpc"]);
    section.finish(found);
    config
}

fn read_tls(
    section: &mut Section<'_>,
    found: &mut Findings,
    config: &mut TlsConfig,
    version: &str,
) {
    let mut file = |name: &str| section.text(found, name).filter(|it| !it.is_empty());
    let [ca_file, ca_path, cert_file, key_file] =
        ["ca_file", "ca_path", "cert_file", "key_file"].map(|name| file(name).map(Into::into));
    config.ca_file = ca_file.or(config.ca_file.take());
    config.ca_path = ca_path.or(config.ca_path.take());
    config.cert_file = cert_file.or(config.cert_file.take());
    config.key_file = key_file.or(config.key_file.take());
    if let Some(given) = section.text(found, version) {
        match given.as_str() {
            "TLSv1_2" | "TLSv1_3" | "tls12" | "tls13" | "" => config.min_version = Some(given),
            other => {
                let text = format!("{other:?} is neither TLSv1_2 nor TLSv1_3, the versions spoken");
                found.error(section.path_of(version), text);
            }
        }
    }
}

pub(super) fn unix_sockets(root: &mut Section<'_>, found: &mut Findings) -> UnixSockets {
    let Some(mut section) = root.section(found, "unix_sockets") else {
        return UnixSockets::default();
    };
    let mode = section.text(found, "mode").and_then(|text| {
        let mode = u32::from_str_radix(&text, 8).ok().filter(|it| *it <= 0o777);
        if mode.is_none() {
            let text = format!("{text:?} is not a mode of a file, such as \"0660\"");
            found.error(section.path_of("mode"), text);
        }
        mode
    });
    let sockets = UnixSockets {
        user: section.text(found, "user"),
        group: section.text(found, "group"),
        mode,
    };
    section.finish(found);
    sockets
}

pub(super) fn acl(root: &mut Section<'_>, found: &mut Findings) -> AclConfig {
    let Some(mut section) = root.section(found, "acl") else { return AclConfig::default() };
    let default_policy = match section.text(found, "default_policy").as_deref() {
        None | Some("allow" | "") => DefaultPolicy::Allow,
        Some("deny") => DefaultPolicy::Deny,
        Some(other) => {
            let text = format!("{other:?} is neither allow nor deny");
            found.error(section.path_of("default_policy"), text);
            DefaultPolicy::Deny
        }
    };
    let mut config = AclConfig {
        enabled: section.flag(found, "enabled").unwrap_or_default(),
        default_policy,
        enable_token_persistence: section
            .flag(found, "enable_token_persistence")
            .unwrap_or_default(),
        enable_key_list_policy: section.flag(found, "enable_key_list_policy").unwrap_or_default(),
        tokens: AclTokens::default(),
    };
    if let Some(mut tokens) = section.section(found, "tokens") {
        let mut token = |found: &mut Findings, names: [&str; 2]| {
            let [new, old] = names.map(|name| tokens.text(found, name).filter(|it| !it.is_empty()));
            new.or(old)
        };
        config.tokens = AclTokens {
            initial_management: token(found, ["initial_management", "master"]),
            agent: token(found, ["agent", "agent"]),
            agent_recovery: token(found, ["agent_recovery", "agent_master"]),
            default: token(found, ["default", "default"]),
            replication: token(found, ["replication", "replication"]),
            dns: token(found, ["dns", "dns"]),
            config_file_service_registration: token(
                found,
                ["config_file_service_registration", "config_file_registration"],
            ),
        };
        tokens.ignore(found, &["managed_service_provider"]);
        tokens.finish(found);
    }
    section.accept(&[
        "down_policy",
        "policy_ttl",
        "role_ttl",
        "token_ttl",
        "enable_token_replication",
    ]);
    section.ignore(found, &["msp_disable_bootstrap"]);
    section.finish(found);
    config
}

pub(super) fn connect(root: &mut Section<'_>, found: &mut Findings) -> ConnectConfig {
    let Some(mut section) = root.section(found, "connect") else { return ConnectConfig::default() };
    let mut config = ConnectConfig { enabled: section.flag(found, "enabled"), cluster_id: None };
    if let Some(mut ca) = section.section(found, "ca_config") {
        config.cluster_id = ca.text(found, "cluster_id");
        ca.ignore_rest(found);
    }
    section.ignore(found, &["ca_provider", "enable_mesh_gateway_wan_federation"]);
    section.ignore(found, &["enable_serverless_plugin", "test_ca_leaf_root_change_spread"]);
    section.finish(found);
    config
}
