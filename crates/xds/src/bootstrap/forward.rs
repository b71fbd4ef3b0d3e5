//! `RouteAction`: where a request is sent and how.

use std::time::Duration;

use proxy_config::{
    ClusterChoice, Forward, HashInput, HashPolicy, Hedging, HostRewrite, Mirror, PathRewrite,
    RetryPolicy, RoutingPriority, WeightedCluster,
};

use super::fields::{Field, Message};
use super::filters::{self, Overrides};
use super::routes::Around;
use super::{Build, headers, matching, retry, schema};

/// Envoy's `timeout` of a route.
const TIMEOUT: Duration = Duration::from_secs(15);

pub(crate) fn read<'a>(
    field: &Field<'a>,
    overrides: &mut Overrides,
    body_bytes_max: Option<u32>,
    around: &Around<'_>,
    build: &mut Build<'a>,
) -> Option<Forward> {
    let mut it = field.message(&schema::ROUTE_ACTION)?;
    filters::read_old_cors(&mut it, overrides);
    let cluster = read_cluster(&mut it, build);
    let mut retry = read_retry(&mut it, around);
    if let Some(bytes) = body_bytes_max {
        retry.body_bytes_max = bytes;
    }
    let hedging = it.take("hedge_policy").and_then(|it| retry::read_hedging(&it));
    let merged = overrides.clone().over(&around.host.overrides).over(&around.table.overrides);
    let chain = &around.chain.of_routes;
    let affinity = merged.of_routes.affinity.or(&chain.affinity).cloned();
    let body_limit = merged.of_routes.body_bytes_max.or(&chain.body_bytes_max).copied();
    let mut forward = Forward {
        cluster: cluster.unwrap_or_else(|| ClusterChoice::One(String::new())),
        timeout: it.duration("timeout").unwrap_or(TIMEOUT),
        idle_timeout: it.duration("idle_timeout"),
        retry,
        hedging: hedging.or(around.hedging).unwrap_or_else(Hedging::default),
        mirrors: read_mirrors(&mut it, around, build),
        path: read_path(&mut it).unwrap_or_default(),
        host: read_host(&mut it).unwrap_or_default(),
        hash: it.items("hash_policy").iter().filter_map(read_hash).collect(),
        subset: it.take("metadata_match").map(|it| matching::read_subset(&it)).unwrap_or_default(),
        priority: it
            .choice(
                "priority",
                &[("DEFAULT", 0, RoutingPriority::Default), ("HIGH", 1, RoutingPriority::High)],
            )
            .unwrap_or_default(),
        cluster_not_found_status: it
            .choice("cluster_not_found_response_code", &NOT_FOUND_STATUSES)
            .unwrap_or(503),
        affinity,
        timing_headers: !around.chain.suppress_envoy_headers,
        attempt_count_in_request: around.attempt_count_in_request,
        attempt_count_in_response: around.attempt_count_in_response,
        body_bytes_max: body_limit.unwrap_or(0),
        ..Forward::default()
    };
    read_stream_duration(&mut it, &mut forward);
    read_upgrades(&mut it);
    refuse_rest(&mut it);
    Some(forward)
}

const NOT_FOUND_STATUSES: [(&str, i64, u16); 3] =
    [("SERVICE_UNAVAILABLE", 0, 503), ("NOT_FOUND", 1, 404), ("INTERNAL_SERVER_ERROR", 2, 500)];

fn refuse_rest(it: &mut Message<'_>) {
    it.refuse("rate_limits", "there is no rate limit service", "use local_ratelimit");
    it.refuse(
        "internal_redirect_policy",
        "redirects of endpoints are handed to the client",
        "remove it",
    );
    it.refuse("early_data_policy", "early data is not accepted", "remove it");
    it.skip(&["include_vh_rate_limits"]);
}

fn read_cluster<'a>(it: &mut Message<'a>, build: &mut Build<'a>) -> Option<ClusterChoice> {
    let ways = [
        "cluster",
        "weighted_clusters",
        "cluster_header",
        "cluster_specifier_plugin",
        "inline_cluster_specifier_plugin",
    ];
    match it.required_one_of(&ways)? {
        ("cluster", field) => build.refer(&field).map(ClusterChoice::One),
        ("cluster_header", field) => {
            let name = field.text()?.to_ascii_lowercase();
            Some(ClusterChoice::Header(name))
        }
        ("weighted_clusters", field) => read_weighted(&field, build),
        (_, field) => {
            field.error("clusters are not chosen by extensions", "use cluster");
            None
        }
    }
}

fn read_weighted<'a>(field: &Field<'a>, build: &mut Build<'a>) -> Option<ClusterChoice> {
    let mut it = field.message(&schema::WEIGHTED_CLUSTERS)?;
    // A key of a runtime that does not exist.
    it.skip(&["runtime_key_prefix"]);
    it.refuse("header_name", "one of the clusters is drawn at random", "remove it");
    it.refuse("use_hash_policy", "one of the clusters is drawn at random", "remove it");
    let mut clusters = Vec::new();
    let mut sum = 0_u64;
    for field in it.items("clusters") {
        let Some(cluster) = read_share(&field, build) else { continue };
        sum += u64::from(cluster.weight);
        clusters.push(cluster);
    }
    let total = it.u32("total_weight");
    if total.is_some_and(|it| u64::from(it) != sum) {
        let message = format!("the weights add up to {sum}");
        it.at("total_weight").error(message, "write this, or remove total_weight");
    }
    if sum == 0 || sum > u64::from(u32::MAX) {
        let message = format!("the weights add up to {sum}");
        it.at("clusters").error(message, "let them add up to 1 or more, below 2^32");
    }
    Some(ClusterChoice::Weighted(clusters))
}

fn read_share<'a>(field: &Field<'a>, build: &mut Build<'a>) -> Option<WeightedCluster> {
    let mut it = field.message(&schema::CLUSTER_WEIGHT)?;
    it.forbid("cluster_header", "a cluster with a share has a name", "use name");
    it.refuse("host_rewrite_literal", "a share has no host of its own", "set it on the route");
    it.refuse(
        "typed_per_filter_config",
        "a share has no filters of its own",
        "set it on the route",
    );
    let cluster = it.required("name").and_then(|it| build.refer(&it));
    let weight = it.required("weight").and_then(|it| it.u32());
    let subset = it.take("metadata_match").map(|it| matching::read_subset(&it));
    let headers = headers::read(&mut it);
    Some(WeightedCluster {
        cluster: cluster?,
        weight: weight?,
        headers,
        subset: subset.unwrap_or_default(),
    })
}

fn read_retry(it: &mut Message<'_>, around: &Around<'_>) -> RetryPolicy {
    it.refuse("retry_policy_typed_config", "there are no such extensions", "use retry_policy");
    let own = it.take("retry_policy").and_then(|it| retry::read(&it));
    own.or_else(|| around.retry.clone()).unwrap_or_else(RetryPolicy::none)
}

fn read_mirrors<'a>(
    it: &mut Message<'a>,
    around: &Around<'_>,
    build: &mut Build<'a>,
) -> Vec<Mirror> {
    let fields = it.items("request_mirror_policies");
    let own: Vec<Mirror> = fields.iter().filter_map(|it| read_mirror(it, build)).collect();
    // The most specific level that has any decides.
    [own, around.host.mirrors.clone(), around.table.mirrors.clone()]
        .into_iter()
        .find(|it| !it.is_empty())
        .unwrap_or_default()
}

/// `RequestMirrorPolicy`.
pub(crate) fn read_mirror<'a>(field: &Field<'a>, build: &mut Build<'a>) -> Option<Mirror> {
    let mut it = field.message(&schema::MIRROR)?;
    let share = it.take("runtime_fraction").and_then(|it| it.runtime_fraction());
    let hides_host = it.is("disable_shadow_host_suffix_append");
    it.skip(&["trace_sampled"]);
    match it.required_one_of(&["cluster", "cluster_header"])? {
        ("cluster", field) => Some(Mirror {
            cluster: build.refer(&field)?,
            per_million: share.unwrap_or(1_000_000),
            shadow_host: !hides_host,
        }),
        (_, field) => {
            field.ignored("a mirror's cluster has a name", "use cluster");
            None
        }
    }
}

fn read_path(it: &mut Message<'_>) -> Option<PathRewrite> {
    let ways = ["prefix_rewrite", "regex_rewrite", "path_rewrite_policy", "path_rewrite"];
    match it.one_of(&ways)? {
        ("prefix_rewrite", field) => {
            let prefix = field.text()?;
            Some(if prefix.is_empty() {
                PathRewrite::Keep
            } else {
                PathRewrite::Prefix(prefix.to_owned())
            })
        }
        ("regex_rewrite", field) => {
            let (pattern, substitution) = matching::read_substitution(&field)?;
            Some(PathRewrite::Regex { pattern, substitution })
        }
        ("path_rewrite_policy", field) => {
            let mut it = field.message(&schema::TYPED_EXTENSION)?;
            it.required_text("name");
            let (kind, config) = it.required("typed_config")?.typed()?;
            if kind != "extensions.path.rewrite.uri_template.v3.UriTemplateRewriteConfig" {
                config.error(format!("{kind} is not supported"), "use UriTemplateRewriteConfig");
                return None;
            }
            let mut template = config.message(&schema::URI_TEMPLATE_REWRITE)?;
            let text = template.required_text("path_template_rewrite")?;
            Some(PathRewrite::Template(text.to_owned()))
        }
        (_, field) => {
            field.error("formatted paths are not supported", "use regex_rewrite");
            None
        }
    }
}

fn read_host(it: &mut Message<'_>) -> Option<HostRewrite> {
    let ways = [
        "host_rewrite_literal",
        "auto_host_rewrite",
        "host_rewrite_header",
        "host_rewrite_path_regex",
        "host_rewrite",
    ];
    match it.one_of(&ways)? {
        ("host_rewrite_literal", field) => Some(HostRewrite::Literal(field.text()?.to_owned())),
        ("auto_host_rewrite", field) => {
            Some(if field.bool()? { HostRewrite::Endpoint } else { HostRewrite::Keep })
        }
        ("host_rewrite_header", field) => {
            Some(HostRewrite::Header(field.text()?.to_ascii_lowercase()))
        }
        ("host_rewrite_path_regex", field) => {
            let (pattern, substitution) = matching::read_substitution(&field)?;
            Some(HostRewrite::PathRegex { pattern, substitution })
        }
        (_, field) => {
            field.error("formatted hosts are not supported", "use host_rewrite_literal");
            None
        }
    }
}

/// `HashPolicy`.
fn read_hash(field: &Field<'_>) -> Option<HashPolicy> {
    let mut it = field.message(&schema::HASH_POLICY)?;
    let terminal = it.is("terminal");
    let ways = ["header", "cookie", "connection_properties", "query_parameter", "filter_state"];
    let (way, field) = it.required_one_of(&ways)?;
    let input = match way {
        "header" => {
            let mut header = field.message(&schema::HASH_HEADER)?;
            let rewrite = header.take("regex_rewrite");
            HashInput::Header {
                name: header.required_text("header_name")?.to_ascii_lowercase(),
                rewrite: rewrite.and_then(|it| matching::read_substitution(&it)),
            }
        }
        "cookie" => {
            let mut cookie = field.message(&schema::HASH_COOKIE)?;
            HashInput::Cookie {
                name: cookie.required_text("name")?.to_owned(),
                ttl: cookie.duration("ttl"),
                path: cookie.text("path").unwrap_or_default().to_owned(),
            }
        }
        "connection_properties" => {
            let mut connection = field.message(&schema::HASH_CONNECTION)?;
            connection.is("source_ip").then_some(HashInput::SourceIp)?
        }
        "query_parameter" => {
            let mut query = field.message(&schema::HASH_QUERY)?;
            HashInput::Query(query.required_text("name")?.to_owned())
        }
        _ => {
            field.ignored("there is no filter state", "hash a header, a cookie or the source");
            return None;
        }
    };
    Some(HashPolicy { input, terminal })
}

fn read_stream_duration(it: &mut Message<'_>, forward: &mut Forward) {
    let old = it.duration("max_grpc_timeout");
    let old_offset = it.take("grpc_timeout_offset");
    if let Some(field) = old_offset {
        field.ignored("the client's time limit is taken as it is", "remove it");
    }
    forward.grpc_timeout_max = old;
    let Some(mut it) = it.message("max_stream_duration", &schema::MAX_STREAM_DURATION) else {
        return;
    };
    forward.stream_duration_max = it.duration("max_stream_duration");
    forward.grpc_timeout_max = it.duration("grpc_timeout_header_max").or(old);
    it.refuse(
        "grpc_timeout_header_offset",
        "the client's time limit is taken as it is",
        "remove it",
    );
}

fn read_upgrades(it: &mut Message<'_>) {
    for field in it.items("upgrade_configs") {
        let Some(mut upgrade) = field.message(&schema::ROUTE_UPGRADE) else { continue };
        upgrade.required_text("upgrade_type");
        // A CONNECT request that a route matches is a tunnel to the endpoint.
        upgrade.skip(&["connect_config"]);
        if upgrade.bool("enabled") == Some(false) {
            upgrade.at("enabled").ignored(
                "upgrades are allowed for a listener, not for a route",
                "answer this route's upgrades at the endpoint",
            );
        }
    }
}
