//! `Listener`: the socket, and which chain of filters a connection gets.

use std::time::Duration;

use proxy_config::{
    ChainMatch, FilterChain, Listener, ListenerProtocol, ProxyProtocolIn, TransportMatch,
};
use serde_json::Value;

use super::fields::{Field, Message};
use super::{Build, http, insert_named, read_socket_address, schema, tcp, tls};

/// Envoy's `listener_filters_timeout`.
const LISTENER_FILTERS_TIMEOUT: Duration = Duration::from_secs(15);

pub(crate) fn read<'a>(field: &Field<'a>, build: &mut Build<'a>) {
    let Some(mut it) = field.message(&schema::LISTENER) else { return };
    let Some(address) = it.required("address").and_then(|it| read_socket_address(&it)) else {
        return;
    };
    let name = match it.text("name") {
        Some(name) if !name.is_empty() => name.to_owned(),
        _ => address.to_string(),
    };
    let (mut chains, default_chain) = read_chains(&mut it, &name, build);
    if let Some(stat_prefix) = it.text("stat_prefix").filter(|it| !it.is_empty()) {
        chains.iter_mut().for_each(|chain| name_statistics(chain, stat_prefix));
    }
    let proxy_protocol = read_listener_filters(&mut it);
    let opening_timeout = it.duration("listener_filters_timeout");
    let opening_timeout = opening_timeout.unwrap_or(LISTENER_FILTERS_TIMEOUT);
    let listener = Listener {
        name: name.clone(),
        address,
        chains,
        default_chain,
        proxy_protocol,
        opening_timeout,
        connections_max: u32::MAX,
        source: field.source(),
    };
    read_rest(&mut it);
    insert_named(&mut build.config.listeners, &name, listener, field);
}

fn name_statistics(chain: &mut FilterChain, stat_prefix: &str) {
    let own = match &mut chain.protocol {
        ListenerProtocol::Http(http) => &mut http.stat_prefix,
        ListenerProtocol::Tcp(tcp) => &mut tcp.stat_prefix,
    };
    if own.is_empty() {
        stat_prefix.clone_into(own);
    }
}

/// What is the same here whatever is written, and what is not honored.
fn read_rest(it: &mut Message<'_>) {
    // Workers always have sockets of their own, which the kernel balances; `drain_type` and the direction of traffic
    // change nothing about what is served.
    it.only("enable_reuse_port", &Value::Bool(true), "workers always have sockets of their own");
    it.only("bind_to_port", &Value::Bool(true), "a listener always binds its address");
    it.skip(&["traffic_direction", "metadata", "drain_type", "stats_matcher"]);
    it.forbid(
        "filter_chain_matcher",
        "chains are not chosen by a matcher tree",
        "give each chain a filter_chain_match",
    );
    it.forbid("fcds_config", "chains are not asked for from a server", "list them here");
    it.forbid("udp_listener_config", "UDP is not supported", "remove the listener");
    it.forbid("api_listener", "there is no listener without an address", "remove the listener");
    it.forbid("internal_listener", "there is no listener without an address", "give it one");
    it.refuse(
        "per_connection_buffer_limit_bytes",
        "buffers have a bound of their own",
        "remove it",
    );
    it.refuse(
        "use_original_dst",
        "connections stay with the listener that accepted them",
        "remove it",
    );
    for field in it.items("additional_addresses") {
        field.ignored("a listener has one address", "repeat the listener with this address");
    }
}

fn read_chains<'a>(
    it: &mut Message<'a>,
    listener: &str,
    build: &mut Build<'a>,
) -> (Vec<FilterChain>, Option<FilterChain>) {
    let fields = it.items("filter_chains");
    let default = it.take("default_filter_chain");
    if fields.is_empty() && default.is_none() {
        it.at("filter_chains").error("there is no filter chain", "add one");
    }
    let named = |idx: usize| match fields.len() {
        1 => listener.to_owned(),
        _ => format!("{listener}/{idx}"),
    };
    let mut chains: Vec<FilterChain> = Vec::new();
    for (idx, field) in fields.iter().enumerate() {
        let Some(chain) = read_chain(field, named(idx), build) else { continue };
        if chains.iter().any(|other| other.matches == chain.matches) {
            let message = "a chain before it has the same conditions";
            field.error(message, "make its filter_chain_match another one");
        }
        chains.push(chain);
    }
    let default_chain = default.and_then(|field| {
        let chain = read_chain(&field, format!("{listener}/default"), build)?;
        if chain.matches != ChainMatch::default() {
            field.error("a default chain has no conditions", "remove its filter_chain_match");
        }
        Some(chain)
    });
    (chains, default_chain)
}

fn read_chain<'a>(
    field: &Field<'a>,
    default_name: String,
    build: &mut Build<'a>,
) -> Option<FilterChain> {
    let mut it = field.message(&schema::FILTER_CHAIN)?;
    let matches = it.message("filter_chain_match", &schema::FILTER_CHAIN_MATCH);
    let matches = matches.map(read_match).unwrap_or_default();
    let name = it.text("name").filter(|name| !name.is_empty());
    let name = name.map_or(default_name, str::to_owned);
    it.skip(&["metadata"]);
    if it.is("use_proxy_proto") {
        let message = "the PROXY protocol is set on the listener";
        it.at("use_proxy_proto").error(message, "add the listener filter proxy_protocol");
    }
    it.refuse(
        "transport_socket_connect_timeout",
        "a handshake has the time of the listener's filters",
        "set listener_filters_timeout",
    );
    let mut tls = it.take("transport_socket").and_then(|it| tls::read_downstream(&it, build));
    let protocol = read_network_filters(&mut it, tls.is_some(), build);
    let (protocol, forwards_certificate) = protocol?;
    if let Some(tls) = &mut tls {
        tls.forward_client_certificate = forwards_certificate;
    }
    Some(FilterChain { name, matches, tls, protocol })
}

fn read_match(mut it: Message<'_>) -> ChainMatch {
    const MESSAGE: &str = "this condition is not supported, and must not be dropped";
    const REMEDY: &str = "choose chains by port, server name, protocol or source network";
    for name in [
        "prefix_ranges",
        "address_suffix",
        "suffix_len",
        "direct_source_prefix_ranges",
        "source_type",
        "source_ports",
    ] {
        it.forbid(name, MESSAGE, REMEDY);
    }
    let destination_port = it.u32_in("destination_port", 1..=65_535);
    let mut server_names = Vec::new();
    for field in it.items("server_names") {
        let Some(name) = field.text() else { continue };
        if name.strip_prefix("*.").unwrap_or(name).contains('*') {
            let remedy = "write `example.com` or `*.example.com`";
            field.error(format!("{name:?} is no pattern of a server name"), remedy);
        }
        server_names.push(name.to_ascii_lowercase());
    }
    let transport = it.take("transport_protocol").and_then(|field| match field.text()? {
        "tls" => Some(TransportMatch::Tls),
        "raw_buffer" => Some(TransportMatch::Plain),
        "" => None,
        other => {
            field.error(format!("{other:?} is unknown"), "write `tls` or `raw_buffer`");
            None
        }
    });
    ChainMatch {
        destination_port: destination_port.and_then(|it| u16::try_from(it).ok()),
        server_names,
        transport,
        application_protocols: it.texts("application_protocols"),
        source_prefixes: it.items("source_prefix_ranges").iter().filter_map(read_cidr).collect(),
    }
}

/// `CidrRange` as `address/length`.
fn read_cidr(field: &Field<'_>) -> Option<String> {
    let mut it = field.message(&schema::CIDR_RANGE)?;
    let address = it.required("address_prefix")?;
    let Ok(ip) = address.text()?.parse::<std::net::IpAddr>() else {
        address.error("is not an IP address", "write one, such as 10.0.0.0");
        return None;
    };
    let longest = if ip.is_ipv4() { 32 } else { 128 };
    let length = it.u32_in("prefix_len", 0..=longest).unwrap_or(0);
    Some(format!("{ip}/{length}"))
}

/// What is spoken, and whether the client's certificate is handed on.
fn read_network_filters<'a>(
    it: &mut Message<'a>,
    is_tls: bool,
    build: &mut Build<'a>,
) -> Option<(ListenerProtocol, bool)> {
    let filters = it.items("filters");
    let Some((last, others)) = filters.split_last() else {
        let remedy = "add http_connection_manager or tcp_proxy";
        it.at("filters").error("there is no filter", remedy);
        return None;
    };
    for field in others {
        read_passing_filter(field);
    }
    let mut filter = last.message(&schema::NETWORK_FILTER)?;
    filter.required_text("name");
    let (kind, config) = filter.required("typed_config")?.typed()?;
    match kind {
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager" => {
            let (http, forwards) = http::read(&config, is_tls, build)?;
            Some((ListenerProtocol::Http(Box::new(http)), forwards))
        }
        "extensions.filters.network.tcp_proxy.v3.TcpProxy" => {
            Some((ListenerProtocol::Tcp(tcp::read(&config, build)?), false))
        }
        other => {
            let remedy = "end the chain with http_connection_manager or tcp_proxy";
            config.error(format!("a chain cannot end with {other}"), remedy);
            None
        }
    }
}

/// A filter before the last one. Those that refuse connections must not be dropped.
fn read_passing_filter(field: &Field<'_>) {
    let Some(mut filter) = field.message(&schema::NETWORK_FILTER) else { return };
    filter.required_text("name");
    let Some((kind, config)) = filter.required("typed_config").and_then(|it| it.typed()) else {
        return;
    };
    const AUTHORIZING: [&str; 3] = [".rbac.", ".ext_authz.", ".client_ssl_auth."];
    if AUTHORIZING.iter().any(|it| kind.contains(it)) {
        let message = format!("{kind} refuses connections that would pass without it");
        config.error(message, "remove it if that is wanted");
    } else if kind.ends_with("HttpConnectionManager") || kind.ends_with("TcpProxy") {
        config.error(format!("{kind} must be the last filter"), "move it to the end");
    } else {
        config.ignored(format!("the filter {kind} is not supported"), "remove it");
    }
}

/// Whether connections begin with a PROXY protocol header.
fn read_listener_filters(it: &mut Message<'_>) -> Option<ProxyProtocolIn> {
    let mut proxy_protocol = None;
    for field in it.items("listener_filters") {
        let Some(mut filter) = field.message(&schema::LISTENER_FILTER) else { continue };
        filter.required_text("name");
        let Some((kind, config)) = filter.required("typed_config").and_then(|it| it.typed()) else {
            continue;
        };
        match kind {
            "extensions.filters.listener.tls_inspector.v3.TlsInspector" => {
                // What connections begin with is looked at wherever a condition of a chain asks for it.
                config.message(&schema::TLS_INSPECTOR);
            }
            "extensions.filters.listener.http_inspector.v3.HttpInspector" => {
                config.message(&schema::HTTP_INSPECTOR);
                config.approximated(
                    "HTTP is told apart in the chain, not before it is chosen",
                    "choose chains by other conditions than application_protocols of plain text",
                );
            }
            "extensions.filters.listener.proxy_protocol.v3.ProxyProtocol" => {
                let Some(mut it) = config.message(&schema::PROXY_PROTOCOL_FILTER) else { continue };
                let is_optional = it.is("allow_requests_without_proxy_protocol");
                proxy_protocol = Some(ProxyProtocolIn { is_optional });
            }
            other => {
                let message = format!("the listener filter {other} is not supported");
                config.ignored(message, "remove it");
            }
        }
    }
    proxy_protocol
}
