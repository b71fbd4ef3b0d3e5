//! `HttpConnectionManager`.

use std::sync::Arc;
use std::time::Duration;

use proxy_config::{
    ClientAddress, EscapedSlashes, HttpCodec, HttpListener, PathNormalization, RequestId,
    RouteTable, STREAM_IDLE_TIMEOUT, ServerHeader,
};
use serde_json::Value;

use super::fields::{Field, Message};
use super::filters::{self, HttpFilters};
use super::scalar::NEVER;
use super::{Build, access_log, routes, schema};

/// Envoy's bound on the streams of a client.
const STREAMS_MAX: u32 = 1024;
/// Envoy's `idle_timeout` of HTTP.
const IDLE_TIMEOUT: Duration = Duration::from_hours(1);

/// What is spoken, and whether the client's certificate is handed on.
pub(crate) fn read<'a>(
    field: &Field<'a>,
    is_tls: bool,
    build: &mut Build<'a>,
) -> Option<(HttpListener, bool)> {
    let mut it = field.message(&schema::HTTP_MANAGER)?;
    let filters = filters::read_chain(&mut it);
    let route_table = read_routes(&mut it, &filters, build).unwrap_or_default();
    let mut http = HttpListener {
        stat_prefix: it.required_text("stat_prefix").unwrap_or_default().to_owned(),
        route_table,
        codec: read_codec(&mut it),
        head_bytes_max: it.u32_in("max_request_headers_kb", 1..=8192).unwrap_or(60) * 1024,
        stream_idle_timeout: it.duration("stream_idle_timeout").unwrap_or(STREAM_IDLE_TIMEOUT),
        request_timeout: it.duration("request_timeout").unwrap_or_default(),
        accept_http_10: false,
        streams_max: STREAMS_MAX,
        client_address: read_client_address(&mut it),
        request_id: read_request_id(&mut it),
        server_header: read_server_header(&mut it),
        via: it.text("via").unwrap_or_default().to_owned(),
        path: read_path(&mut it),
        strip_port: read_strip_port(&mut it),
        upgrades: read_upgrades(&mut it),
        pass_informational: it.is("proxy_100_continue"),
        filters: filters.filters.clone(),
        access_logs: access_log::read(&mut it),
        ..HttpListener::default()
    };
    read_protocol_options(&mut it, &mut http);
    // Until its head is there a request is a stream that is idle.
    let head_timeout = it.duration("request_headers_timeout").filter(|it| !it.is_zero());
    let head_timeout = head_timeout.unwrap_or(http.stream_idle_timeout);
    http.head_timeout = if head_timeout.is_zero() { NEVER } else { head_timeout };
    refuse_rest(&mut it);
    let forwards_certificate = read_client_certificate(&mut it, is_tls);
    Some((http, forwards_certificate))
}

fn refuse_rest(it: &mut Message<'_>) {
    it.refuse("tracing", "spans are not reported", "remove it");
    it.refuse(
        "drain_timeout",
        "how long a drain may take is said on the command line",
        "use --drain-time-s",
    );
    it.refuse(
        "delayed_close_timeout",
        "a connection that ends is closed once the client has had what was sent",
        "remove it",
    );
    it.refuse("local_reply_config", "answers of the proxy itself cannot be changed", "remove it");
    it.refuse(
        "internal_address_config",
        "addresses of private networks (RFC 1918, RFC 4193, loopback) are internal",
        "remove it",
    );
    it.refuse("http3_protocol_options", "HTTP/3 is not supported", "remove it");
}

/// The name of the route table.
fn read_routes<'a>(
    it: &mut Message<'a>,
    filters: &HttpFilters,
    build: &mut Build<'a>,
) -> Option<String> {
    let ways = ["route_config", "rds", "scoped_routes"];
    let (way, field) = it.required_one_of(&ways)?;
    if way != "route_config" {
        field.error("routes are not asked for from a server", "write a route_config here");
        return None;
    }
    let table = routes::read(&field, filters, build)?;
    let mut name = if table.name.is_empty() { field.path.clone() } else { table.name.clone() };
    // Tables that are written in place may share a name.
    if build
        .config
        .route_tables
        .get(&name)
        .is_some_and(|other| other.virtual_hosts != table.virtual_hosts)
    {
        name = format!("{name}@{}", field.path);
    }
    let table = RouteTable { name: name.clone(), ..table };
    build.config.route_tables.insert(name.clone(), Arc::new(table));
    Some(name)
}

fn read_codec(it: &mut Message<'_>) -> HttpCodec {
    let codecs = [
        ("AUTO", 0, HttpCodec::Auto),
        ("HTTP1", 1, HttpCodec::Http1),
        ("HTTP2", 2, HttpCodec::Http2),
    ];
    it.choice("codec_type", &codecs).unwrap_or_default()
}

fn read_protocol_options(it: &mut Message<'_>, http: &mut HttpListener) {
    http.idle_timeout = IDLE_TIMEOUT;
    if let Some(mut common) =
        it.message("common_http_protocol_options", &schema::HTTP_PROTOCOL_COMMON)
    {
        let idle = common.duration("idle_timeout").unwrap_or(IDLE_TIMEOUT);
        http.idle_timeout = if idle.is_zero() { NEVER } else { idle };
        http.connection_duration_max =
            common.duration("max_connection_duration").unwrap_or_default();
        http.stream_duration_max = common.duration("max_stream_duration").unwrap_or_default();
        http.headers_max = common.u32_in("max_headers_count", 1..=u32::MAX).unwrap_or(100);
        http.requests_per_connection_max = common.u32("max_requests_per_connection").unwrap_or(0);
        common.forbid(
            "headers_with_underscores_action",
            "requests with such headers would pass",
            "remove it if that is wanted",
        );
    }
    if let Some(mut http1) = it.message("http_protocol_options", &schema::HTTP1_OPTIONS) {
        http.accept_http_10 = http1.is("accept_http_10");
        http1.only(
            "allow_absolute_url",
            &Value::Bool(true),
            "requests in absolute form are always taken",
        );
    }
    if let Some(mut http2) = it.message("http2_protocol_options", &schema::HTTP2_OPTIONS) {
        let streams = http2.u32_in("max_concurrent_streams", 1..=i32::MAX.unsigned_abs());
        http.streams_max = streams.unwrap_or(STREAMS_MAX);
    }
}

fn read_client_address(it: &mut Message<'_>) -> ClientAddress {
    ClientAddress {
        use_remote_address: it.is("use_remote_address"),
        trusted_hops: it.u32("xff_num_trusted_hops").unwrap_or(0),
        skip_append: it.is("skip_xff_append"),
        is_edge: false,
    }
}

fn read_request_id(it: &mut Message<'_>) -> RequestId {
    if let Some(mut extension) = it.message("request_id_extension", &schema::REQUEST_ID_EXTENSION)
        && let Some((kind, config)) = extension.take("typed_config").and_then(|it| it.typed())
    {
        // The default; what it says about traces has no meaning without them.
        if kind == "extensions.request_id.uuid.v3.UuidRequestIdConfig" {
            let uuid = config.message(&schema::UUID_REQUEST_ID);
            if let Some(mut uuid) = uuid {
                uuid.skip(&["pack_trace_reason", "use_request_id_for_trace_sampling"]);
            }
        } else {
            config.ignored(format!("{kind} is not supported"), "remove it");
        }
    }
    RequestId {
        generate: it.bool("generate_request_id").unwrap_or(true),
        preserve_external: it.is("preserve_external_request_id"),
        in_response: it.is("always_set_request_id_in_response"),
    }
}

fn read_server_header(it: &mut Message<'_>) -> ServerHeader {
    /// `ServerHeaderTransformation`.
    #[derive(Clone, Copy)]
    enum Way {
        Overwrite,
        AppendIfAbsent,
        PassThrough,
    }
    let name = it.text("server_name").filter(|it| !it.is_empty()).unwrap_or("envoy").to_owned();
    let ways = [
        ("OVERWRITE", 0, Way::Overwrite),
        ("APPEND_IF_ABSENT", 1, Way::AppendIfAbsent),
        ("PASS_THROUGH", 2, Way::PassThrough),
    ];
    match it.choice("server_header_transformation", &ways).unwrap_or(Way::Overwrite) {
        Way::Overwrite => ServerHeader::Overwrite(name),
        Way::AppendIfAbsent => ServerHeader::AppendIfAbsent(name),
        Way::PassThrough => ServerHeader::PassThrough,
    }
}

fn read_path(it: &mut Message<'_>) -> PathNormalization {
    let actions = [
        ("IMPLEMENTATION_SPECIFIC_DEFAULT", 0, EscapedSlashes::Keep),
        ("KEEP_UNCHANGED", 1, EscapedSlashes::Keep),
        ("REJECT_REQUEST", 2, EscapedSlashes::Reject),
        ("UNESCAPE_AND_REDIRECT", 3, EscapedSlashes::UnescapeAndRedirect),
        ("UNESCAPE_AND_FORWARD", 4, EscapedSlashes::UnescapeAndForward),
    ];
    PathNormalization {
        resolve: it.is("normalize_path"),
        merge_slashes: it.is("merge_slashes"),
        escaped_slashes: it
            .choice("path_with_escaped_slashes_action", &actions)
            .unwrap_or_default(),
    }
}

fn read_strip_port(it: &mut Message<'_>) -> bool {
    match it.one_of(&["strip_matching_host_port", "strip_any_host_port"]) {
        None => false,
        Some((way, field)) => {
            let strips = field.bool().unwrap_or(false);
            if strips && way == "strip_matching_host_port" {
                let message = "any port is taken away, not only the listener's";
                field.approximated(message, "write strip_any_host_port if that is wanted");
            }
            strips
        }
    }
}

/// Protocols that requests may be upgraded to, in lower case.
fn read_upgrades(it: &mut Message<'_>) -> Vec<String> {
    let mut upgrades = Vec::new();
    for field in it.items("upgrade_configs") {
        let Some(mut upgrade) = field.message(&schema::HTTP_UPGRADE) else { continue };
        let is_enabled = upgrade.bool("enabled").unwrap_or(true);
        upgrade.refuse("filters", "upgrades pass the filters of all requests", "remove it");
        let Some(name) = upgrade.required_text("upgrade_type") else { continue };
        let name = name.to_ascii_lowercase();
        if is_enabled && !upgrades.contains(&name) {
            upgrades.push(name);
        }
    }
    upgrades
}

/// Whether `x-forwarded-client-cert` is set from the client's certificate.
fn read_client_certificate(it: &mut Message<'_>, is_tls: bool) -> bool {
    const NAME: &str = "forward_client_cert_details";
    /// `ForwardClientCertDetails`.
    #[derive(Clone, Copy, PartialEq)]
    enum Details {
        Remove,
        Set,
        Pass,
    }
    let ways = [
        ("SANITIZE", 0, Details::Remove),
        ("FORWARD_ONLY", 1, Details::Pass),
        ("APPEND_FORWARD", 2, Details::Pass),
        ("SANITIZE_SET", 3, Details::Set),
        ("ALWAYS_FORWARD_ONLY", 4, Details::Pass),
    ];
    let way = it.choice(NAME, &ways).unwrap_or(Details::Remove);
    if let Some(field) = it.take("set_current_client_cert_details") {
        let details = field.message(&schema::CLIENT_CERT_DETAILS);
        if let Some(mut details) = details {
            // What is set always has the certificate's hash, its subject and its names.
            details.skip(&["subject", "uri", "dns"]);
        }
    }
    if way == Details::Pass {
        it.at(NAME).approximated(
            "what the client says about certificates is not believed; it is replaced",
            "write SANITIZE_SET, or SANITIZE to remove it",
        );
    }
    way != Details::Remove && is_tls
}
