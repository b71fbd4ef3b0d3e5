//! `/v1/health`: checks, and instances with their checks.

use http::StatusCode;
use model::{Check, CheckStatus, Folded, Instance, Node, ServiceId, Stored, WatchKey};

use super::coordinate::nearest_first;
use super::params::parse_bool;
use super::read::Read;
use super::response::Reply;
use super::select::{Kind, Selection, has_meta};
use super::shapes::{self, CheckView};
use super::{Call, Outcome};
use crate::json::JsonWriter;
use filter::{CHECK_SERVICE_NODE, HEALTH_CHECK, HealthRow};

/// `GET /v1/health/node/:node`
pub(super) fn node(call: &Call<'_>) -> Outcome {
    let read = Read::of(call)?;
    let node = Folded::new(read.name("node name")?);
    checks_where(call, read, || call.catalog().checks_of_node(&node).map(|it| &**it).collect())
}

/// `GET /v1/health/checks/:service`: without the checks of the nodes.
pub(super) fn checks(call: &Call<'_>) -> Outcome {
    let read = Read::of(call)?;
    let service = Folded::new(read.name("service name")?);
    let selection = Selection::of_node_meta(call);
    checks_where(call, read, || {
        let instances = selection.instances(call.catalog(), &service);
        instances.flat_map(|(_, it)| checks_of(call, &it.node.folded(), &it.id)).collect()
    })
}

/// `GET /v1/health/state/:state`: `any` is every state, an unknown one none.
pub(super) fn state(call: &Call<'_>) -> Outcome {
    let read = Read::of(call)?;
    let state = read.name("check state")?;
    let status = CheckStatus::parse(state);
    let meta = call.query.node_meta();
    let catalog = call.catalog();
    let has_node_meta = |check: &Check| {
        meta.is_empty() || catalog.node(&check.node.folded()).is_some_and(|it| has_meta(it, &meta))
    };
    checks_where(call, read, || {
        let all = catalog.checks().map(|it| &**it);
        all.filter(|it| state == "any" || status == Some(it.status))
            .filter(|it| has_node_meta(it))
            .collect()
    })
}

fn checks_of<'a>(
    call: &Call<'a>,
    node: &Folded,
    id: &ServiceId,
) -> impl Iterator<Item = &'a Stored<Check>> + use<'a> {
    call.catalog().checks_of_instance(node, id).map(|it| &**it)
}

/// Answers with the checks that `select` gives node by node, in Consul's order: by id on each node.
fn checks_where<'a>(
    call: &Call<'a>,
    read: Read<'_>,
    select: impl FnOnce() -> Vec<&'a Stored<Check>>,
) -> Outcome {
    let filter = call.filter(&HEALTH_CHECK)?;
    let catalog = call.catalog();
    Ok(read.answer(
        catalog.checks_index(),
        || vec![WatchKey::Checks],
        |w| {
            let mut checks = select();
            let is_same_node = |a: &&Stored<Check>, b: &&Stored<Check>| a.node == b.node;
            for of_node in checks.chunk_by_mut(is_same_node) {
                of_node.sort_by(|a, b| a.id.cmp(&b.id));
            }
            w.array(|w| {
                for check in nearest_first(call, checks.into_iter(), |it| &it.node) {
                    let owner = owner(call, check);
                    let view = CheckView::stored(check, owner);
                    if call.access().sees_check(check, owner) && filter.matches(&view.row()) {
                        shapes::check(w, &view);
                    }
                }
            });
        },
    ))
}

fn owner<'a>(call: &Call<'a>, check: &Check) -> Option<&'a Instance> {
    if check.service_id.is_empty() {
        return None;
    }
    let owner = call.catalog().instance(&check.node.folded(), &check.service_id);
    owner.map(|it| &it.value)
}

/// `GET /v1/health/service/:service`
pub(super) fn service(call: &Call<'_>) -> Outcome {
    service_health(call, Kind::All)
}

/// `GET /v1/health/connect/:service`
pub(super) fn connect(call: &Call<'_>) -> Outcome {
    service_health(call, Kind::Connect)
}

/// `GET /v1/health/ingress/:service`
pub(super) fn ingress(call: &Call<'_>) -> Outcome {
    service_health(call, Kind::Ingress)
}

fn service_health(call: &Call<'_>, kind: Kind) -> Outcome {
    let read = Read::of(call)?;
    let service = Folded::new(read.name("service name")?);
    let passing_only = passing(call)?;
    let filter = call.filter(&CHECK_SERVICE_NODE)?;
    let selection = Selection::of(call, kind)?;
    let catalog = call.catalog();
    let index = selection.index(catalog, &service);
    let datacenter = call.agent().datacenter.as_str();
    let keys = || selection.watched(catalog, &service);
    Ok(read.answer_cacheable(index, keys, |w| {
        w.array(|w| {
            let mut stored = Vec::new();
            let instances = selection.instances(catalog, &service);
            for (node, instance) in nearest_first(call, instances, |it| &it.0.name) {
                let folded = node.name.folded();
                stored.clear();
                stored.extend(checks_of(call, &folded, &ServiceId::default()));
                stored.extend(checks_of(call, &folded, &instance.id));
                let checks: Vec<&Check> = stored.iter().map(|check| &check.value).collect();
                if passing_only && checks.iter().any(|it| it.status != CheckStatus::Passing) {
                    continue;
                }
                let instance = selection.shown(catalog, instance);
                let row = HealthRow { node, datacenter, instance: &instance, checks: &checks };
                if selection.is_seen(call, &service, &instance) && filter.matches(&row) {
                    write_health(w, node, datacenter, &instance, &stored);
                }
            }
        });
    }))
}

/// Go's `structs.CheckServiceNode`.
pub(super) fn write_health(
    w: &mut JsonWriter,
    node: &Stored<Node>,
    datacenter: &str,
    instance: &Stored<Instance>,
    checks: &[&Stored<Check>],
) {
    w.object(|w| {
        w.key("Node");
        shapes::node(w, node, datacenter);
        w.key("Service");
        shapes::node_service(w, instance);
        w.key("Checks");
        w.array(|w| {
            for check in checks {
                let owner = (!check.service_id.is_empty()).then_some(&instance.value);
                shapes::check(w, &CheckView::stored(check, owner));
            }
        });
    });
}

/// The parameter `passing`: a boolean, or present without a value.
fn passing(call: &Call<'_>) -> Result<bool, Reply> {
    let bad = || Reply::text(StatusCode::BAD_REQUEST, "Invalid value for ?passing");
    match call.query.first("passing") {
        None => Ok(false),
        Some("") => Ok(true),
        Some(value) => parse_bool(value).ok_or_else(bad),
    }
}
