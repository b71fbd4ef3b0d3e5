//! HTTP filters, of a listener and of its routes.

mod protection;
mod response;
mod session;

use std::collections::BTreeSet;

use proxy_config::{CookieAffinity, FilterSetting, Filters};

use super::fields::{Field, Message};
use super::schema;

/// The HTTP filters of one listener.
#[derive(Default)]
pub(crate) struct HttpFilters {
    /// Those that the contract knows as filters.
    pub(crate) filters: Filters,
    /// Those that it knows as a part of routes.
    pub(crate) of_routes: OfRoutes,
    /// The router adds no `x-envoy-` headers to responses.
    pub(crate) suppress_envoy_headers: bool,
    /// Names under which routes refer to filters.
    names: BTreeSet<String>,
}

/// Filters of Envoy that the contract knows as a part of routes.
#[derive(Clone, Default)]
pub(crate) struct OfRoutes {
    pub(crate) affinity: FilterSetting<CookieAffinity>,
    pub(crate) body_bytes_max: FilterSetting<u64>,
}

/// What a route, a virtual host or a route table says about filters.
#[derive(Clone, Default)]
pub(crate) struct Overrides {
    pub(crate) filters: Filters,
    pub(crate) of_routes: OfRoutes,
}

impl Overrides {
    /// This, and what `wider` says where this says nothing.
    pub(crate) fn over(mut self, wider: &Overrides) -> Overrides {
        fn inherit<T: Clone>(own: &mut FilterSetting<T>, wider: &FilterSetting<T>) {
            if matches!(own, FilterSetting::Inherit) {
                own.clone_from(wider);
            }
        }
        let (own, other) = (&mut self.filters, &wider.filters);
        inherit(&mut own.local_rate_limit, &other.local_rate_limit);
        inherit(&mut own.fault, &other.fault);
        inherit(&mut own.cors, &other.cors);
        inherit(&mut own.compression, &other.compression);
        inherit(&mut own.adaptive_concurrency, &other.adaptive_concurrency);
        inherit(&mut self.of_routes.affinity, &wider.of_routes.affinity);
        inherit(&mut self.of_routes.body_bytes_max, &wider.of_routes.body_bytes_max);
        self
    }
}

/// Filters that refuse requests; without them what they refuse would pass.
const AUTHORIZING: [&str; 8] = [
    ".rbac.",
    ".ext_authz.",
    ".jwt_authn.",
    ".basic_auth.",
    ".api_key_auth.",
    ".oauth2.",
    ".csrf.",
    ".gcp_authn.",
];

/// The `http_filters` of a listener.
pub(crate) fn read_chain(it: &mut Message<'_>) -> HttpFilters {
    let mut chain = HttpFilters::default();
    let fields = it.items("http_filters");
    let mut has_router = false;
    for (idx, field) in fields.iter().enumerate() {
        let is_router = read_one(field, &mut chain).unwrap_or(false);
        let is_last = idx + 1 == fields.len();
        if is_router && !is_last {
            field.error("the router must be the last filter", "move it to the end");
        }
        has_router |= is_router;
    }
    if !has_router {
        let remedy = "end http_filters with envoy.filters.http.router";
        it.at("http_filters").error("there is no router", remedy);
    }
    chain
}

/// Reads a filter; true for the router.
fn read_one(field: &Field<'_>, chain: &mut HttpFilters) -> Option<bool> {
    let mut it = field.message(&schema::HTTP_FILTER)?;
    let name = it.required_text("name")?;
    if !chain.names.insert(name.to_owned()) {
        it.at("name").error("a filter before it has this name", "choose another one");
    }
    let is_optional = it.is("is_optional");
    let is_disabled = it.is("disabled");
    it.forbid("config_discovery", "filters are not asked for from a server", "use typed_config");
    let (kind, config) = it.required("typed_config")?.typed()?;
    if kind == "extensions.filters.http.router.v3.Router" {
        read_router(&config, chain);
        return Some(true);
    }
    let mut all = Overrides {
        filters: std::mem::take(&mut chain.filters),
        of_routes: std::mem::take(&mut chain.of_routes),
    };
    let is_known = read_config(kind, &config, &mut all, is_disabled);
    chain.filters = all.filters;
    chain.of_routes = all.of_routes;
    if is_known {
        return Some(false);
    }
    if AUTHORIZING.iter().any(|it| kind.contains(it)) && !is_optional && !is_disabled {
        let message = format!("{kind} refuses requests that would pass without it");
        config.error(message, "remove it if that is wanted");
    } else {
        config.ignored(format!("the filter {kind} is not supported"), "remove it");
    }
    Some(false)
}

fn read_router(field: &Field<'_>, chain: &mut HttpFilters) {
    let Some(mut it) = field.message(&schema::ROUTER) else { return };
    // Statistics are always counted, and there are no spans.
    it.skip(&["dynamic_stats", "start_child_span", "suppress_grpc_request_failure_code_stats"]);
    chain.suppress_envoy_headers = it.is("suppress_envoy_headers");
}

/// Reads a filter's configuration, of a listener or of a route; false when it is not supported.
fn read_config(kind: &str, config: &Field<'_>, into: &mut Overrides, is_disabled: bool) -> bool {
    fn set<T>(to: &mut FilterSetting<T>, from: Option<FilterSetting<T>>, is_disabled: bool) {
        *to = match from {
            Some(_) if is_disabled => FilterSetting::Off,
            Some(setting) => setting,
            None => FilterSetting::Off,
        };
    }
    let (filters, of_routes) = (&mut into.filters, &mut into.of_routes);
    let kind = kind.strip_prefix("extensions.filters.http.").unwrap_or(kind);
    match kind {
        "local_ratelimit.v3.LocalRateLimit" => {
            set(&mut filters.local_rate_limit, protection::read_rate_limit(config), is_disabled);
        }
        "fault.v3.HTTPFault" => {
            set(&mut filters.fault, protection::read_fault(config), is_disabled);
        }
        "adaptive_concurrency.v3.AdaptiveConcurrency" => {
            let setting = protection::read_adaptive_concurrency(config);
            set(&mut filters.adaptive_concurrency, setting, is_disabled);
        }
        "cors.v3.Cors" => {
            // What holds is said by routes.
            config.message(&schema::CORS);
        }
        "cors.v3.CorsPolicy" => {
            set(&mut filters.cors, response::read_cors(config), is_disabled);
        }
        "compressor.v3.Compressor" => {
            response::read_compressor(config, &mut filters.compression, is_disabled);
        }
        "compressor.v3.CompressorPerRoute" => {
            if let Some(setting) = response::read_compressor_of_route(config) {
                filters.compression = setting;
            }
        }
        "stateful_session.v3.StatefulSession" => {
            set(&mut of_routes.affinity, session::read(config), is_disabled);
        }
        "stateful_session.v3.StatefulSessionPerRoute" => {
            set(&mut of_routes.affinity, session::read_of_route(config), is_disabled);
        }
        "buffer.v3.Buffer" => {
            set(&mut of_routes.body_bytes_max, session::read_buffer(config), is_disabled);
        }
        "buffer.v3.BufferPerRoute" => {
            let setting = session::read_buffer_of_route(config);
            set(&mut of_routes.body_bytes_max, setting, is_disabled);
        }
        _ => return false,
    }
    true
}

/// The `typed_per_filter_config` of a route, a virtual host or a route table.
pub(crate) fn read_overrides(it: &mut Message<'_>, chain: &HttpFilters) -> Overrides {
    let mut overrides = Overrides::default();
    let entries = it.take("typed_per_filter_config").map(|it| it.entries()).unwrap_or_default();
    for (name, field) in entries {
        if !chain.names.contains(name) {
            let message = format!("no filter in http_filters has the name {name:?}");
            field.ignored(message, "correct the name, or remove it");
        }
        let Some((kind, config)) = field.typed() else { continue };
        if kind == "config.route.v3.FilterConfig" {
            read_filter_config(&config, &mut overrides, name);
        } else if !read_config(kind, &config, &mut overrides, false) {
            refuse_override(kind, &config);
        }
    }
    overrides
}

fn refuse_override(kind: &str, config: &Field<'_>) {
    if AUTHORIZING.iter().any(|it| kind.contains(it)) {
        let message = format!("{kind} changes which requests are refused");
        config.error(message, "remove it if that is wanted");
    } else {
        config.ignored(format!("{kind} is not supported"), "remove it");
    }
}

/// `FilterConfig`: a configuration with a switch.
fn read_filter_config(field: &Field<'_>, overrides: &mut Overrides, name: &str) {
    let Some(mut it) = field.message(&schema::FILTER_CONFIG) else { return };
    it.skip(&["is_optional"]);
    let is_disabled = it.is("disabled");
    if let Some((kind, config)) = it.take("config").and_then(|it| it.typed()) {
        if !read_config(kind, &config, overrides, is_disabled) {
            refuse_override(kind, &config);
        }
    } else if is_disabled {
        turn_off(overrides, name, field);
    }
}

/// Turns a filter off whose kind only its usual name tells.
fn turn_off(overrides: &mut Overrides, name: &str, field: &Field<'_>) {
    let (filters, of_routes) = (&mut overrides.filters, &mut overrides.of_routes);
    match name.strip_prefix("envoy.filters.http.").unwrap_or(name) {
        "local_ratelimit" => filters.local_rate_limit = FilterSetting::Off,
        "fault" => filters.fault = FilterSetting::Off,
        "adaptive_concurrency" => filters.adaptive_concurrency = FilterSetting::Off,
        "cors" => filters.cors = FilterSetting::Off,
        "compressor" => filters.compression = FilterSetting::Off,
        "stateful_session" => of_routes.affinity = FilterSetting::Off,
        "buffer" => of_routes.body_bytes_max = FilterSetting::Off,
        _ => field.ignored("a filter of this name cannot be turned off", "name it as Envoy does"),
    }
}

/// The deprecated `cors` of virtual hosts and routes, which means the same as that filter's own configuration.
pub(crate) fn read_old_cors(it: &mut Message<'_>, overrides: &mut Overrides) {
    let Some(field) = it.take("cors") else { return };
    if matches!(overrides.filters.cors, FilterSetting::Inherit) {
        overrides.filters.cors = response::read_cors(&field).unwrap_or(FilterSetting::Off);
    }
}
