//! What is spoken to the endpoints of a cluster.

use proxy_config::{Cluster, UpstreamProtocol};

use super::fields::{Field, Message};
use super::scalar::NEVER;
use super::{schema, tls};

/// The key, and the type, of the only options that there are.
const HTTP_OPTIONS: &str = "extensions.upstreams.http.v3.HttpProtocolOptions";

pub(crate) fn read(it: &mut Message<'_>, cluster: &mut Cluster) {
    read_old(it, cluster);
    let entries =
        it.take("typed_extension_protocol_options").map(|it| it.entries()).unwrap_or_default();
    for (name, field) in entries {
        let Some((kind, config)) = field.typed() else { continue };
        if kind == HTTP_OPTIONS {
            read_options(&config, cluster);
        } else {
            let message = format!("the options {name:?} are not supported");
            field.ignored(message, "remove them");
        }
    }
}

/// The fields of the cluster itself that mean the same.
fn read_old(it: &mut Message<'_>, cluster: &mut Cluster) {
    if let Some(requests) = it.u32("max_requests_per_connection") {
        cluster.requests_per_connection_max = requests;
    }
    if let Some(common) = it.message("common_http_protocol_options", &schema::HTTP_PROTOCOL_COMMON)
    {
        read_common(common, cluster);
    }
    if let Some(http1) = it.message("http_protocol_options", &schema::HTTP1_OPTIONS) {
        drop(http1);
    }
    if let Some(field) = it.take("http2_protocol_options") {
        read_http2(&field, cluster);
        cluster.protocol = UpstreamProtocol::Http2;
    }
    let selection = [("USE_CONFIGURED_PROTOCOL", 0, false), ("USE_DOWNSTREAM_PROTOCOL", 1, true)];
    if it.choice("protocol_selection", &selection) == Some(true) {
        cluster.protocol = UpstreamProtocol::SameAsClient;
    }
    if let Some(field) = it.take("upstream_http_protocol_options") {
        read_server_name(&field, cluster);
    }
}

fn read_options(field: &Field<'_>, cluster: &mut Cluster) -> Option<()> {
    let mut it = field.message(&schema::UPSTREAM_OPTIONS)?;
    if let Some(common) = it.message("common_http_protocol_options", &schema::HTTP_PROTOCOL_COMMON)
    {
        read_common(common, cluster);
    }
    if let Some(field) = it.take("upstream_http_protocol_options") {
        read_server_name(&field, cluster);
    }
    it.refuse("http_filters", "filters are for requests before an endpoint is chosen", "remove it");
    let ways = ["explicit_http_config", "use_downstream_protocol_config", "auto_config"];
    let (way, field) = it.required_one_of(&ways)?;
    let (schema, protocol) = match way {
        "explicit_http_config" => return read_explicit(&field, cluster),
        "use_downstream_protocol_config" => {
            (&schema::DOWNSTREAM_HTTP, UpstreamProtocol::SameAsClient)
        }
        _ => (&schema::AUTO_HTTP, UpstreamProtocol::Alpn),
    };
    cluster.protocol = protocol;
    let mut it = field.message(schema)?;
    it.message("http_protocol_options", &schema::HTTP1_OPTIONS);
    if let Some(field) = it.take("http2_protocol_options") {
        read_http2(&field, cluster);
    }
    it.refuse("http3_protocol_options", "HTTP/3 is not supported", "remove it");
    Some(())
}

fn read_explicit(field: &Field<'_>, cluster: &mut Cluster) -> Option<()> {
    let mut it = field.message(&schema::EXPLICIT_HTTP)?;
    let ways = ["http_protocol_options", "http2_protocol_options", "http3_protocol_options"];
    match it.required_one_of(&ways)? {
        ("http_protocol_options", field) => {
            field.message(&schema::HTTP1_OPTIONS);
            cluster.protocol = UpstreamProtocol::Http1;
        }
        ("http2_protocol_options", field) => {
            read_http2(&field, cluster);
            cluster.protocol = UpstreamProtocol::Http2;
        }
        (_, field) => field.error("HTTP/3 is not supported", "use http2_protocol_options"),
    }
    Some(())
}

fn read_common(mut it: Message<'_>, cluster: &mut Cluster) {
    if let Some(idle) = it.duration("idle_timeout") {
        cluster.idle_timeout = if idle.is_zero() { NEVER } else { idle };
    }
    cluster.connection_duration_max = it.duration("max_connection_duration").unwrap_or_default();
    if let Some(requests) = it.u32("max_requests_per_connection") {
        cluster.requests_per_connection_max = requests;
    }
}

fn read_http2(field: &Field<'_>, cluster: &mut Cluster) {
    let Some(mut it) = field.message(&schema::HTTP2_OPTIONS) else { return };
    let streams = it.u32_in("max_concurrent_streams", 1..=i32::MAX.unsigned_abs());
    if let Some(streams) = streams {
        cluster.streams_max = streams;
    }
}

/// Which server name TLS uses, and whether the certificate must be for it.
fn read_server_name(field: &Field<'_>, cluster: &mut Cluster) {
    let Some(mut it) = field.message(&schema::UPSTREAM_HTTP_OPTIONS) else { return };
    it.refuse("override_auto_sni_header", "the server name is the request's host", "remove it");
    let (from_host, verifies) = (it.is("auto_sni"), it.is("auto_san_validation"));
    let Some(tls) = &mut cluster.tls else { return };
    tls.server_name_from_host |= from_host;
    if verifies && tls.names == [tls::any_name()] {
        tls.names.clear();
    }
}
