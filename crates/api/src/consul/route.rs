//! The table of endpoints: which paths there are, with which methods, and who answers.

use ::acl::{Access as Right, Resource};

use super::{
    Call, Check, Outcome, agent, agent_check, agent_health, agent_self, agent_service,
    virtual_address,
};
use super::{
    acl_objects, catalog, certificates, config, coordinate, discovery_chain, event, health,
    intentions, kv, logins, operator, peering, query, session, status, tokens, txn, ui,
};

/// Who answers a route.
#[derive(Clone, Copy)]
pub(super) enum Endpoint {
    Here(fn(&Call<'_>) -> Outcome),
    /// As `Here`, but 401 where access control is off.
    Acl(fn(&Call<'_>) -> Outcome),
    /// 501: Consul has it, this version of Leno does not, or its shell serves it.
    Later,
}

/// One line of the table.
pub(super) struct Route {
    /// A path; with a slash at its end, all paths that start with it.
    pattern: &'static str,
    pub(super) methods: &'static [&'static str],
    pub(super) endpoint: Endpoint,
    /// What whoever asks must be allowed. The test `every_route` says for each what comes of it.
    pub(super) check: Check,
}

impl Route {
    /// Value of the header `Allow`.
    pub(super) fn allowed(&self) -> String {
        format!("OPTIONS,{}", self.methods.join(","))
    }

    /// Value of the header `Allow` where another method was used.
    pub(super) fn allowed_instead(&self) -> String {
        // In Consul this endpoint alone chooses by method itself, and does not name what all allow.
        if self.pattern == "/v1/query/" { self.methods.join(",") } else { self.allowed() }
    }
}

/// Pattern and methods of each.
pub(crate) fn endpoints() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    ROUTES.iter().map(|it| (it.pattern, it.methods))
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
    check: Check,
    endpoint: fn(&Call<'_>) -> Outcome,
) -> Route {
    Route { pattern, methods, check, endpoint: Endpoint::Here(endpoint) }
}

const fn later(pattern: &'static str, methods: &'static [&'static str], check: Check) -> Route {
    Route { pattern, methods, check, endpoint: Endpoint::Later }
}

const fn acl(
    pattern: &'static str,
    methods: &'static [&'static str],
    check: Check,
    endpoint: fn(&Call<'_>) -> Outcome,
) -> Route {
    Route { pattern, methods, check, endpoint: Endpoint::Acl(endpoint) }
}

const OPEN: Check = Check::Open;
const KNOWN: Check = Check::Known;
const EACH: Check = Check::Each;
const AGENT_READ: Check = Check::Needs(Resource::Agent, Right::Read);
const AGENT_WRITE: Check = Check::Needs(Resource::Agent, Right::Write);
const OPERATOR_READ: Check = Check::Needs(Resource::Operator, Right::Read);
const OPERATOR_WRITE: Check = Check::Needs(Resource::Operator, Right::Write);
const OPERATOR: Check = Check::ByMethod(Resource::Operator);
const KEYRING: Check = Check::ByMethod(Resource::Keyring);
const ACL_READ: Check = Check::Needs(Resource::Acl, Right::Read);
const ACL_WRITE: Check = Check::Needs(Resource::Acl, Right::Write);
const ACL: Check = Check::ByMethod(Resource::Acl);
const PEERING: Check = Check::ByMethod(Resource::Peering);
const SERVICE_READ: Check = Check::Named(Resource::Service, Right::Read);
const SERVICE_WRITE: Check = Check::Named(Resource::Service, Right::Write);

#[rustfmt::skip]
static ROUTES: &[Route] = &[
    here("/v1/agent/self", GET, AGENT_READ, agent_self::own),
    here("/v1/agent/version", GET, OPEN, agent_self::version),
    here("/v1/agent/members", GET, EACH, agent_self::members),
    here("/v1/agent/reload", PUT, AGENT_WRITE, agent::reload),
    here("/v1/agent/maintenance", PUT, EACH, agent::maintenance),
    here("/v1/agent/services", GET, EACH, agent_service::list),
    here("/v1/agent/service/", GET, EACH, agent_service::one),
    here("/v1/agent/service/register", PUT, EACH, agent_service::register),
    here("/v1/agent/service/deregister/", PUT, EACH, agent_service::deregister),
    here("/v1/agent/service/maintenance/", PUT, EACH, agent_service::maintenance),
    here("/v1/agent/checks", GET, EACH, agent_check::list),
    here("/v1/agent/check/register", PUT, EACH, agent_check::register),
    here("/v1/agent/check/deregister/", PUT, EACH, agent_check::deregister),
    here("/v1/agent/check/pass/", PUT, EACH, agent_check::pass),
    here("/v1/agent/check/warn/", PUT, EACH, agent_check::warn),
    here("/v1/agent/check/fail/", PUT, EACH, agent_check::fail),
    here("/v1/agent/check/update/", PUT, EACH, agent_check::update),
    here("/v1/agent/health/service/id/", GET, EACH, agent_health::by_id),
    here("/v1/agent/health/service/name/", GET, EACH, agent_health::by_name),
    here("/v1/agent/connect/ca/roots", GET, OPEN, certificates::agent_roots),
    here("/v1/agent/connect/ca/leaf/", GET, SERVICE_WRITE, agent::leaf),
    here("/v1/catalog/register", PUT, EACH, catalog::register),
    here("/v1/catalog/deregister", PUT, EACH, catalog::deregister),
    here("/v1/catalog/datacenters", GET, OPEN, catalog::datacenters),
    here("/v1/catalog/nodes", GET, EACH, catalog::nodes),
    here("/v1/catalog/services", GET, EACH, catalog::services),
    here("/v1/catalog/service/", GET, EACH, catalog::service),
    here("/v1/catalog/connect/", GET, EACH, catalog::connect),
    here("/v1/catalog/node/", GET, EACH, catalog::node),
    here("/v1/catalog/node-services/", GET, EACH, catalog::node_services),
    here("/v1/catalog/gateway-services/", GET, EACH, catalog::gateway_services),
    here("/v1/health/node/", GET, EACH, health::node),
    here("/v1/health/checks/", GET, EACH, health::checks),
    here("/v1/health/state/", GET, EACH, health::state),
    here("/v1/health/service/", GET, EACH, health::service),
    here("/v1/health/connect/", GET, EACH, health::connect),
    here("/v1/health/ingress/", GET, EACH, health::ingress),
    here("/v1/kv/", GET_PUT_DELETE, EACH, kv::answer),
    here("/v1/session/create", PUT, EACH, session::create),
    here("/v1/session/destroy/", PUT, EACH, session::destroy),
    here("/v1/session/renew/", PUT, EACH, session::renew),
    here("/v1/session/info/", GET, EACH, session::info),
    here("/v1/session/node/", GET, EACH, session::of_node),
    here("/v1/session/list", GET, EACH, session::list),
    here("/v1/txn", PUT, EACH, txn::run),
    here("/v1/status/leader", GET, OPEN, status::leader),
    here("/v1/status/peers", GET, OPEN, status::peers),
    here("/v1/coordinate/datacenters", GET, OPEN, coordinate::datacenters),
    here("/v1/coordinate/nodes", GET, EACH, coordinate::nodes),
    here("/v1/coordinate/node/", GET, EACH, coordinate::node),
    here("/v1/coordinate/update", PUT, EACH, coordinate::update),
    here("/v1/operator/raft/configuration", GET, OPERATOR_READ, operator::raft_configuration),
    here("/v1/connect/ca/roots", GET, OPEN, certificates::roots),
    here("/v1/connect/ca/configuration", GET_PUT, OPERATOR, certificates::configuration),

    acl("/v1/acl/auth-method", PUT, ACL_WRITE, logins::create_method),
    acl("/v1/acl/auth-method/", GET_PUT_DELETE, ACL, logins::method),
    acl("/v1/acl/auth-methods", GET, ACL_READ, logins::methods),
    acl("/v1/acl/binding-rule", PUT, ACL_WRITE, logins::create_rule),
    acl("/v1/acl/binding-rule/", GET_PUT_DELETE, ACL, logins::rule),
    acl("/v1/acl/binding-rules", GET, ACL_READ, logins::rules),
    acl("/v1/acl/bootstrap", PUT, OPEN, tokens::bootstrap),
    acl("/v1/acl/login", POST, OPEN, logins::login),
    acl("/v1/acl/logout", POST, KNOWN, logins::logout),
    acl("/v1/acl/policies", GET, ACL_READ, acl_objects::policies),
    acl("/v1/acl/policy", PUT, ACL_WRITE, acl_objects::create_policy),
    acl("/v1/acl/policy/", GET_PUT_DELETE, ACL, acl_objects::policy),
    acl("/v1/acl/policy/name/", GET, ACL_READ, acl_objects::policy_by_name),
    acl("/v1/acl/replication", GET, ACL_READ, acl_objects::replication),
    acl("/v1/acl/role", PUT, ACL_WRITE, acl_objects::create_role),
    acl("/v1/acl/role/", GET_PUT_DELETE, ACL, acl_objects::role),
    acl("/v1/acl/role/name/", GET, ACL_READ, acl_objects::role_by_name),
    acl("/v1/acl/roles", GET, ACL_READ, acl_objects::roles),
    acl("/v1/acl/templated-policies", GET, ACL_READ, acl_objects::templates),
    acl("/v1/acl/templated-policy/name/", GET, ACL_READ, acl_objects::template),
    acl("/v1/acl/templated-policy/preview/", POST, ACL_READ, acl_objects::preview),
    acl("/v1/acl/token", PUT, ACL_WRITE, tokens::create),
    acl("/v1/acl/token/", GET_PUT_DELETE, ACL, tokens::one),
    acl("/v1/acl/token/self", GET, KNOWN, tokens::own),
    acl("/v1/acl/tokens", GET, ACL_READ, tokens::list),
    acl("/v1/agent/token/", PUT, AGENT_WRITE, tokens::of_agent),
    acl("/v1/internal/acl/authorize", POST, KNOWN, tokens::authorize),

    here("/v1/agent/connect/authorize", POST, EACH, intentions::authorize),
    here("/v1/agent/force-leave/", PUT, OPERATOR_WRITE, agent::force_leave),
    here("/v1/agent/host", GET, OPERATOR_READ, agent::shell),
    here("/v1/agent/join/", PUT, AGENT_WRITE, agent::join),
    later("/v1/agent/leave", PUT, AGENT_WRITE),
    later("/v1/agent/metrics", GET, AGENT_READ),
    here("/v1/agent/metrics/stream", GET, AGENT_READ, agent::shell),
    here("/v1/agent/monitor", GET, AGENT_READ, agent::monitor),
    here("/v1/config", PUT, EACH, config::apply),
    here("/v1/config/", GET_DELETE, EACH, config::answer),
    here("/v1/connect/intentions", GET_POST, EACH, intentions::all),
    here("/v1/connect/intentions/", GET_PUT_DELETE, EACH, intentions::by_id),
    here("/v1/connect/intentions/check", GET, EACH, intentions::check),
    here("/v1/connect/intentions/exact", GET_PUT_DELETE, EACH, intentions::exact),
    here("/v1/connect/intentions/match", GET, EACH, intentions::matching),
    here("/v1/discovery-chain/", GET_POST, SERVICE_READ, discovery_chain::answer),
    here("/v1/event/fire/", PUT, EACH, event::fire),
    here("/v1/event/list", GET, EACH, event::list),
    here("/v1/exported-services", GET, Check::Needs(Resource::Mesh, Right::Read), config::exported_services),
    here("/v1/internal/federation-state/", GET, OPERATOR_READ, ui::federation_state),
    here("/v1/internal/federation-states", GET, OPERATOR_READ, ui::federation),
    here("/v1/internal/federation-states/mesh-gateways", GET, OPERATOR_READ, ui::federation),
    here("/v1/internal/service-virtual-ip", PUT, Check::Needs(Resource::Mesh, Right::Write), virtual_address::assign),
    here("/v1/internal/ui/nodes", GET, EACH, ui::nodes),
    here("/v1/internal/ui/node/", GET, EACH, ui::node),
    here("/v1/internal/ui/services", GET, EACH, ui::services),
    here("/v1/internal/ui/catalog-overview", GET, OPERATOR_READ, ui::overview),
    later("/v1/internal/ui/", GET, EACH),
    here("/v1/operator/autopilot/configuration", GET_PUT, OPERATOR, operator::autopilot_configuration),
    here("/v1/operator/autopilot/health", GET, OPERATOR_READ, operator::autopilot_health),
    here("/v1/operator/autopilot/state", GET, OPERATOR_READ, operator::autopilot_state),
    here("/v1/operator/keyring", GET_POST_PUT_DELETE, KEYRING, operator::keyring),
    here("/v1/operator/raft/peer", DELETE, OPERATOR_WRITE, operator::remove_raft_peer),
    here("/v1/operator/raft/transfer-leader", POST, OPERATOR_WRITE, operator::transfer_leader),
    here("/v1/operator/usage", GET, OPERATOR_READ, operator::usage),
    here("/v1/peering/", GET_DELETE, PEERING, peering::one),
    here("/v1/peering/establish", POST, PEERING, peering::refuse),
    here("/v1/peering/token", POST, PEERING, peering::refuse),
    here("/v1/peerings", GET, PEERING, peering::list),
    here("/v1/query", GET_POST, EACH, query::all),
    here("/v1/query/", GET_PUT_DELETE, EACH, query::one),
    here("/v1/snapshot", GET_PUT, ACL_WRITE, agent::snapshot),
];
