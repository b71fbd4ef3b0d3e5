//! The table of endpoints: which paths there are, with which methods, and who answers.

use super::{Call, Outcome, agent, agent_check, agent_health, agent_self, agent_service};
use super::{
    catalog, certificates, config, coordinate, discovery_chain, event, health, intentions, kv,
    operator, peering, query, session, status, txn, ui,
};

/// Who answers a route.
#[derive(Clone, Copy)]
pub(super) enum Endpoint {
    Here(fn(&Call<'_>) -> Outcome),
    /// 401: there are no access control lists.
    AclDisabled,
    /// 501: Consul has it, this version of Leno does not, or its shell serves it.
    Later,
}

/// One line of the table.
pub(super) struct Route {
    /// A path; with a slash at its end, all paths that start with it.
    pattern: &'static str,
    pub(super) methods: &'static [&'static str],
    pub(super) endpoint: Endpoint,
}

impl Route {
    /// Value of the header `Allow`.
    pub(super) fn allowed(&self) -> String {
        format!("OPTIONS,{}", self.methods.join(","))
    }
}

/// What a path leads to.
pub(super) enum Target<'p> {
    /// A route, and the rest of the path after its pattern.
    Found(&'static Route, &'p str),
    /// The path with a slash at its end leads somewhere.
    Moved(String),
    Unknown,
}

/// The longest pattern that fits wins, as in Go's `ServeMux`.
pub(super) fn find(path: &str) -> Target<'_> {
    let lacks_slash = |pattern: &str| pattern.strip_suffix('/') == Some(path);
    let mut best: Option<(&'static Route, &str)> = None;
    let mut is_moved = false;
    for route in ROUTES {
        is_moved |= lacks_slash(route.pattern);
        let Some(rest) = path.strip_prefix(route.pattern) else { continue };
        if rest.is_empty() {
            return Target::Found(route, rest);
        }
        let is_longer = best.is_none_or(|(best, _)| best.pattern.len() < route.pattern.len());
        if route.pattern.ends_with('/') && is_longer {
            best = Some((route, rest));
        }
    }
    match best {
        _ if is_moved => Target::Moved(format!("{path}/")),
        Some((route, rest)) => Target::Found(route, rest),
        None => Target::Unknown,
    }
}

const GET: &[&str] = &["GET"];
const PUT: &[&str] = &["PUT"];
const POST: &[&str] = &["POST"];
const DELETE: &[&str] = &["DELETE"];
const GET_POST: &[&str] = &["GET", "POST"];
const GET_PUT: &[&str] = &["GET", "PUT"];
const GET_DELETE: &[&str] = &["GET", "DELETE"];
const GET_PUT_DELETE: &[&str] = &["GET", "PUT", "DELETE"];
const GET_POST_PUT_DELETE: &[&str] = &["GET", "POST", "PUT", "DELETE"];

const fn here(
    pattern: &'static str,
    methods: &'static [&'static str],
    endpoint: fn(&Call<'_>) -> Outcome,
) -> Route {
    Route { pattern, methods, endpoint: Endpoint::Here(endpoint) }
}

const fn later(pattern: &'static str, methods: &'static [&'static str]) -> Route {
    Route { pattern, methods, endpoint: Endpoint::Later }
}

const fn acl(pattern: &'static str, methods: &'static [&'static str]) -> Route {
    Route { pattern, methods, endpoint: Endpoint::AclDisabled }
}

#[rustfmt::skip]
static ROUTES: &[Route] = &[
    here("/v1/agent/self", GET, agent_self::own),
    here("/v1/agent/version", GET, agent_self::version),
    here("/v1/agent/members", GET, agent_self::members),
    here("/v1/agent/reload", PUT, agent::reload),
    here("/v1/agent/maintenance", PUT, agent::maintenance),
    here("/v1/agent/services", GET, agent_service::list),
    here("/v1/agent/service/", GET, agent_service::one),
    here("/v1/agent/service/register", PUT, agent_service::register),
    here("/v1/agent/service/deregister/", PUT, agent_service::deregister),
    here("/v1/agent/service/maintenance/", PUT, agent_service::maintenance),
    here("/v1/agent/checks", GET, agent_check::list),
    here("/v1/agent/check/register", PUT, agent_check::register),
    here("/v1/agent/check/deregister/", PUT, agent_check::deregister),
    here("/v1/agent/check/pass/", PUT, agent_check::pass),
    here("/v1/agent/check/warn/", PUT, agent_check::warn),
    here("/v1/agent/check/fail/", PUT, agent_check::fail),
    here("/v1/agent/check/update/", PUT, agent_check::update),
    here("/v1/agent/health/service/id/", GET, agent_health::by_id),
    here("/v1/agent/health/service/name/", GET, agent_health::by_name),
    here("/v1/agent/connect/ca/roots", GET, certificates::agent_roots),
    here("/v1/agent/connect/ca/leaf/", GET, agent::leaf),
    here("/v1/catalog/register", PUT, catalog::register),
    here("/v1/catalog/deregister", PUT, catalog::deregister),
    here("/v1/catalog/datacenters", GET, catalog::datacenters),
    here("/v1/catalog/nodes", GET, catalog::nodes),
    here("/v1/catalog/services", GET, catalog::services),
    here("/v1/catalog/service/", GET, catalog::service),
    here("/v1/catalog/connect/", GET, catalog::connect),
    here("/v1/catalog/node/", GET, catalog::node),
    here("/v1/catalog/node-services/", GET, catalog::node_services),
    here("/v1/catalog/gateway-services/", GET, catalog::gateway_services),
    here("/v1/health/node/", GET, health::node),
    here("/v1/health/checks/", GET, health::checks),
    here("/v1/health/state/", GET, health::state),
    here("/v1/health/service/", GET, health::service),
    here("/v1/health/connect/", GET, health::connect),
    here("/v1/health/ingress/", GET, health::ingress),
    here("/v1/kv/", GET_PUT_DELETE, kv::answer),
    here("/v1/session/create", PUT, session::create),
    here("/v1/session/destroy/", PUT, session::destroy),
    here("/v1/session/renew/", PUT, session::renew),
    here("/v1/session/info/", GET, session::info),
    here("/v1/session/node/", GET, session::of_node),
    here("/v1/session/list", GET, session::list),
    here("/v1/txn", PUT, txn::run),
    here("/v1/status/leader", GET, status::leader),
    here("/v1/status/peers", GET, status::peers),
    here("/v1/coordinate/datacenters", GET, coordinate::datacenters),
    here("/v1/coordinate/nodes", GET, coordinate::nodes),
    here("/v1/coordinate/node/", GET, coordinate::node),
    here("/v1/coordinate/update", PUT, coordinate::update),
    here("/v1/operator/raft/configuration", GET, operator::raft_configuration),
    here("/v1/connect/ca/roots", GET, certificates::roots),
    here("/v1/connect/ca/configuration", GET_PUT, certificates::configuration),

    acl("/v1/acl/auth-method", PUT),
    acl("/v1/acl/auth-method/", GET_PUT_DELETE),
    acl("/v1/acl/auth-methods", GET),
    acl("/v1/acl/binding-rule", PUT),
    acl("/v1/acl/binding-rule/", GET_PUT_DELETE),
    acl("/v1/acl/binding-rules", GET),
    acl("/v1/acl/bootstrap", PUT),
    acl("/v1/acl/login", POST),
    acl("/v1/acl/logout", POST),
    acl("/v1/acl/policies", GET),
    acl("/v1/acl/policy", PUT),
    acl("/v1/acl/policy/", GET_PUT_DELETE),
    acl("/v1/acl/policy/name/", GET),
    acl("/v1/acl/replication", GET),
    acl("/v1/acl/role", PUT),
    acl("/v1/acl/role/", GET_PUT_DELETE),
    acl("/v1/acl/role/name/", GET),
    acl("/v1/acl/roles", GET),
    acl("/v1/acl/templated-policies", GET),
    acl("/v1/acl/templated-policy/name/", GET),
    acl("/v1/acl/templated-policy/preview/", POST),
    acl("/v1/acl/token", PUT),
    acl("/v1/acl/token/", GET_PUT_DELETE),
    acl("/v1/acl/token/self", GET),
    acl("/v1/acl/tokens", GET),
    acl("/v1/agent/token/", PUT),
    acl("/v1/internal/acl/authorize", POST),

    here("/v1/agent/connect/authorize", POST, intentions::authorize),
    here("/v1/agent/force-leave/", PUT, agent::force_leave),
    here("/v1/agent/host", GET, agent::shell),
    here("/v1/agent/join/", PUT, agent::join),
    later("/v1/agent/leave", PUT),
    later("/v1/agent/metrics", GET),
    here("/v1/agent/metrics/stream", GET, agent::shell),
    here("/v1/agent/monitor", GET, agent::monitor),
    here("/v1/config", PUT, config::apply),
    here("/v1/config/", GET_DELETE, config::answer),
    here("/v1/connect/intentions", GET_POST, intentions::all),
    here("/v1/connect/intentions/", GET_PUT_DELETE, intentions::by_id),
    here("/v1/connect/intentions/check", GET, intentions::check),
    here("/v1/connect/intentions/exact", GET_PUT_DELETE, intentions::exact),
    here("/v1/connect/intentions/match", GET, intentions::matching),
    here("/v1/discovery-chain/", GET_POST, discovery_chain::answer),
    here("/v1/event/fire/", PUT, event::fire),
    here("/v1/event/list", GET, event::list),
    here("/v1/exported-services", GET, config::exported_services),
    here("/v1/internal/federation-state/", GET, ui::federation_state),
    here("/v1/internal/federation-states", GET, ui::federation),
    here("/v1/internal/federation-states/mesh-gateways", GET, ui::federation),
    later("/v1/internal/service-virtual-ip", PUT),
    here("/v1/internal/ui/nodes", GET, ui::nodes),
    here("/v1/internal/ui/node/", GET, ui::node),
    here("/v1/internal/ui/services", GET, ui::services),
    here("/v1/internal/ui/catalog-overview", GET, ui::overview),
    later("/v1/internal/ui/", GET),
    here("/v1/operator/autopilot/configuration", GET_PUT, operator::autopilot_configuration),
    here("/v1/operator/autopilot/health", GET, operator::autopilot_health),
    here("/v1/operator/autopilot/state", GET, operator::autopilot_state),
    here("/v1/operator/keyring", GET_POST_PUT_DELETE, operator::keyring),
    here("/v1/operator/raft/peer", DELETE, operator::remove_raft_peer),
    here("/v1/operator/raft/transfer-leader", POST, operator::transfer_leader),
    here("/v1/operator/usage", GET, operator::usage),
    here("/v1/peering/", GET_DELETE, peering::one),
    here("/v1/peering/establish", POST, peering::refuse),
    here("/v1/peering/token", POST, peering::refuse),
    here("/v1/peerings", GET, peering::list),
    here("/v1/query", GET_POST, query::all),
    here("/v1/query/", GET_PUT_DELETE, query::one),
    here("/v1/snapshot", GET_PUT, agent::snapshot),
];
