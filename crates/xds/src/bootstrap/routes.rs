//! `RouteConfiguration`: virtual hosts, conditions of routes, redirects and direct responses.

use std::collections::BTreeSet;

use proxy_config::{
    Conditions, HeaderChanges, Hedging, Mirror, PathMatch, PathRewrite, Redirect, RetryPolicy,
    Route, RouteAction, RouteTable, VirtualHost,
};

use super::fields::{Field, Message};
use super::filters::{self, HttpFilters, Overrides};
use super::{Build, forward, headers, matching, retry, schema, tls};

/// What a route takes from its virtual host and from its table.
pub(crate) struct Around<'c> {
    pub(crate) chain: &'c HttpFilters,
    pub(crate) table: Level,
    pub(crate) host: Level,
    pub(crate) retry: Option<RetryPolicy>,
    pub(crate) hedging: Option<Hedging>,
    pub(crate) body_bytes_max: Option<u32>,
    pub(crate) attempt_count_in_request: bool,
    pub(crate) attempt_count_in_response: bool,
    /// The changes of the most specific level come last, so that they win.
    pub(crate) specific_last: bool,
}

/// What a table and its virtual hosts both have.
#[derive(Clone, Default)]
pub(crate) struct Level {
    pub(crate) headers: HeaderChanges,
    pub(crate) overrides: Overrides,
    pub(crate) mirrors: Vec<Mirror>,
}

pub(crate) fn read<'a>(
    field: &Field<'a>,
    chain: &HttpFilters,
    build: &mut Build<'a>,
) -> Option<RouteTable> {
    let mut it = field.message(&schema::ROUTE_CONFIGURATION)?;
    let name = it.text("name").unwrap_or_default().to_owned();
    // In a file clusters are looked up, unless this says otherwise.
    let looks_up = it.bool("validate_clusters").unwrap_or(true);
    let known = build.references.len();
    it.refuse("vhds", "virtual hosts are not asked for from a server", "list them here");
    // A port never takes part in the choice of a virtual host.
    it.skip(&["ignore_port_in_host_matching", "max_direct_response_body_size_bytes", "metadata"]);
    it.forbid("vhost_header", "hosts are taken from the request's host", "remove it");
    let mut around = Around {
        chain,
        table: read_level(&mut it, chain, build),
        host: Level::default(),
        retry: None,
        hedging: None,
        body_bytes_max: None,
        attempt_count_in_request: false,
        attempt_count_in_response: false,
        specific_last: it.is("most_specific_header_mutations_wins"),
    };
    let mut domains = BTreeSet::new();
    let fields = it.items("virtual_hosts");
    let read = |it: &Field<'a>| read_host(it, &mut around, &mut domains, build);
    let virtual_hosts = fields.iter().filter_map(read).collect();
    if !looks_up {
        build.references[known..].iter_mut().for_each(|it| it.may_dangle = true);
    }
    Some(RouteTable { name, virtual_hosts })
}

fn read_level<'a>(it: &mut Message<'a>, chain: &HttpFilters, build: &mut Build<'a>) -> Level {
    let mirrors = it.items("request_mirror_policies");
    Level {
        headers: headers::read(it),
        overrides: filters::read_overrides(it, chain),
        mirrors: mirrors.iter().filter_map(|it| forward::read_mirror(it, build)).collect(),
    }
}

fn read_host<'a>(
    field: &Field<'a>,
    around: &mut Around<'_>,
    taken: &mut BTreeSet<String>,
    build: &mut Build<'a>,
) -> Option<VirtualHost> {
    let mut it = field.message(&schema::VIRTUAL_HOST)?;
    let name = it.required_text("name")?.to_owned();
    let domains = read_domains(&mut it, taken);
    around.host = read_level(&mut it, around.chain, build);
    filters::read_old_cors(&mut it, &mut around.host.overrides);
    around.retry = it.take("retry_policy").and_then(|it| retry::read(&it));
    around.hedging = it.take("hedge_policy").and_then(|it| retry::read_hedging(&it));
    around.body_bytes_max = read_buffer_limit(&mut it);
    around.attempt_count_in_request = it.is("include_request_attempt_count");
    around.attempt_count_in_response = it.is("include_attempt_count_in_response");
    it.forbid("matcher", "routes are not chosen by a matcher tree", "list them in routes");
    it.refuse("virtual_clusters", "statistics are counted for each cluster", "remove it");
    it.refuse("rate_limits", "there is no rate limit service", "use local_ratelimit");
    it.skip(&["metadata"]);
    let require_tls = [("NONE", 0, false), ("EXTERNAL_ONLY", 1, true), ("ALL", 2, true)];
    let requires_tls = it.choice("require_tls", &require_tls).unwrap_or(false);
    if requires_tls && it.at("require_tls").value.as_str() == Some("EXTERNAL_ONLY") {
        let message = "requests from inside are redirected too";
        it.at("require_tls").approximated(message, "write ALL if that is wanted");
    }
    let routes = it.items("routes");
    let routes = routes.iter().filter_map(|it| read_route(it, around, build)).collect();
    Some(VirtualHost { name, domains, routes, require_tls: requires_tls })
}

pub(crate) fn read_buffer_limit(it: &mut Message<'_>) -> Option<u32> {
    let old = it.u32("per_request_buffer_limit_bytes");
    let new = it.take("request_body_buffer_limit");
    let new = new.and_then(|it| it.number_in(0..=i64::from(u32::MAX)));
    new.and_then(|it| u32::try_from(it).ok()).or(old)
}

/// Domains in lower case and without a port.
fn read_domains(it: &mut Message<'_>, taken: &mut BTreeSet<String>) -> Vec<String> {
    let fields = it.items("domains");
    if fields.is_empty() {
        it.at("domains").error("there is no domain", "add one, `*` for any");
    }
    let mut domains: Vec<String> = Vec::new();
    for field in fields {
        let Some(text) = field.text() else { continue };
        let domain = without_port(text).to_ascii_lowercase();
        let inner = domain.strip_prefix('*').or_else(|| domain.strip_suffix('*'));
        if domain.is_empty() || inner.unwrap_or(&domain).contains('*') {
            let remedy = "write `example.com`, `*.example.com`, `example.*` or `*`";
            field.error(format!("{text:?} is no domain"), remedy);
        } else if domains.contains(&domain) {
            // The same name with and without a port is one here.
        } else if !taken.insert(domain.clone()) {
            let message = format!("another virtual host has the domain {domain:?}");
            field.error(message, "remove it from one of the two; ports do not tell them apart");
        } else {
            domains.push(domain);
        }
    }
    domains
}

fn without_port(domain: &str) -> &str {
    match domain.rsplit_once(':') {
        Some((host, port))
            if port == "*" || (!port.is_empty() && port.bytes().all(|b| b.is_ascii_digit())) =>
        {
            host
        }
        _ => domain,
    }
}

fn read_route<'a>(field: &Field<'a>, around: &Around<'_>, build: &mut Build<'a>) -> Option<Route> {
    let mut it = field.message(&schema::ROUTE)?;
    let name = it.text("name").unwrap_or_default().to_owned();
    let matched = it.required("match").and_then(|it| read_match(&it));
    let own = headers::read(&mut it);
    let mut overrides = filters::read_overrides(&mut it, around.chain);
    let body_bytes_max = read_buffer_limit(&mut it).or(around.body_bytes_max);
    it.skip(&["metadata", "stat_prefix"]);
    it.refuse("decorator", "spans are not reported", "remove it");
    it.refuse("tracing", "spans are not reported", "remove it");
    let ways = ["route", "redirect", "direct_response", "filter_action", "non_forwarding_action"];
    let (way, action) = it.required_one_of(&ways)?;
    let action = match way {
        "route" => {
            let forward = forward::read(&action, &mut overrides, body_bytes_max, around, build);
            RouteAction::Forward(Box::new(forward?))
        }
        "redirect" => RouteAction::Redirect(read_redirect(&action)?),
        "direct_response" => read_direct_response(&action)?,
        _ => {
            action.error("there is nothing that would answer", "use route or direct_response");
            return None;
        }
    };
    let overrides = overrides.over(&around.host.overrides).over(&around.table.overrides);
    let (path, conditions) = matched?;
    let mut levels = [&own, &around.host.headers, &around.table.headers];
    if around.specific_last {
        levels.reverse();
    }
    Some(Route {
        name,
        path,
        conditions,
        action,
        headers: headers::chain(levels),
        filters: overrides.filters,
        source: field.source(),
    })
}

/// `RouteMatch`.
fn read_match(field: &Field<'_>) -> Option<(PathMatch, Conditions)> {
    let mut it = field.message(&schema::ROUTE_MATCH)?;
    const MESSAGE: &str = "this condition is not supported, and must not be dropped";
    const REMEDY: &str = "match by path, headers or query";
    for name in ["tls_context", "dynamic_metadata", "filter_state", "cookies"] {
        it.forbid(name, MESSAGE, REMEDY);
    }
    let mut conditions = Conditions {
        ignore_path_case: !it.bool("case_sensitive").unwrap_or(true),
        methods: Vec::new(),
        headers: matching::read_headers(&mut it, "headers"),
        query: it.items("query_parameters").iter().filter_map(matching::read_query).collect(),
        grpc: it.take("grpc").is_some(),
        connect: false,
        per_million: it.take("runtime_fraction").and_then(|it| it.runtime_fraction()),
    };
    let ways = [
        "prefix",
        "path",
        "safe_regex",
        "path_separated_prefix",
        "connect_matcher",
        "path_match_policy",
    ];
    let (way, field) = it.required_one_of(&ways)?;
    let text = |it: &Field<'_>| it.text().map(str::to_owned);
    let path = match way {
        "prefix" => PathMatch::Prefix(text(&field)?),
        "path" => PathMatch::Exact(text(&field)?),
        "safe_regex" => PathMatch::Regex(matching::read_regex(&field)?),
        "path_separated_prefix" => {
            let prefix = field.text()?;
            if !prefix.starts_with('/') || prefix.ends_with('/') || prefix.contains(['?', '#']) {
                let remedy = "begin it with `/` and leave out `?`, `#` and the last `/`";
                field.error(format!("{prefix:?} is no prefix of segments"), remedy);
            }
            PathMatch::PathPrefix(prefix.to_owned())
        }
        "connect_matcher" => {
            conditions.connect = true;
            PathMatch::Prefix(String::new())
        }
        _ => read_template(&field)?,
    };
    Some((path, conditions))
}

/// The only extension that matches paths.
fn read_template(field: &Field<'_>) -> Option<PathMatch> {
    let mut it = field.message(&schema::TYPED_EXTENSION)?;
    it.required_text("name");
    let (kind, config) = it.required("typed_config")?.typed()?;
    if kind != "extensions.path.match.uri_template.v3.UriTemplateMatchConfig" {
        config.error(format!("{kind} is not supported"), "use UriTemplateMatchConfig");
        return None;
    }
    let mut template = config.message(&schema::URI_TEMPLATE_MATCH)?;
    template.required_text("path_template").map(|it| PathMatch::Template(it.to_owned()))
}

/// `RedirectAction`.
fn read_redirect(field: &Field<'_>) -> Option<Redirect> {
    let mut it = field.message(&schema::REDIRECT)?;
    let scheme = match it.one_of(&["https_redirect", "scheme_redirect"]) {
        Some(("https_redirect", field)) => field.bool()?.then(|| "https".to_owned()),
        Some((_, field)) => Some(field.text()?.to_owned()),
        None => None,
    };
    let codes = [
        ("MOVED_PERMANENTLY", 0, 301),
        ("FOUND", 1, 302),
        ("SEE_OTHER", 2, 303),
        ("TEMPORARY_REDIRECT", 3, 307),
        ("PERMANENT_REDIRECT", 4, 308),
    ];
    let path =
        match it.one_of(&["path_redirect", "prefix_rewrite", "regex_rewrite", "path_rewrite"]) {
            None => PathRewrite::Keep,
            Some(("path_redirect", field)) => PathRewrite::Whole(field.text()?.to_owned()),
            Some(("prefix_rewrite", field)) => PathRewrite::Prefix(field.text()?.to_owned()),
            Some(("regex_rewrite", field)) => {
                let (pattern, substitution) = matching::read_substitution(&field)?;
                PathRewrite::Regex { pattern, substitution }
            }
            Some((_, field)) => {
                field.error("formatted paths are not supported", "use regex_rewrite");
                return None;
            }
        };
    let port = it.u32_in("port_redirect", 0..=65_535).filter(|it| *it > 0);
    Some(Redirect {
        status: it.choice("response_code", &codes).unwrap_or(301),
        scheme,
        host: it.text("host_redirect").filter(|it| !it.is_empty()).map(str::to_owned),
        port: port.and_then(|it| u16::try_from(it).ok()),
        path,
        strip_query: it.is("strip_query"),
    })
}

/// `DirectResponseAction`.
fn read_direct_response(field: &Field<'_>) -> Option<RouteAction> {
    let mut it = field.message(&schema::DIRECT_RESPONSE)?;
    let status = it.required("status")?.number_in(200..=599)?;
    it.refuse("body_format", "the body is sent as it is", "write it in body");
    let body = it.take("body").and_then(|it| tls::read_source(&it)).unwrap_or_default();
    Some(RouteAction::Respond { status: u16::try_from(status).ok()?, body })
}
