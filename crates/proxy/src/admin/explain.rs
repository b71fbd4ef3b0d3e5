use std::sync::Arc;

use bytes::Bytes;
use http::{Response, StatusCode};
use proxy_config::{ListenerProtocol, RouteAction};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use serde_json::{Value as Json, json};
use traffic::{PickExplanation, PickRequest, RouteExplanation, Router};

use super::query::Query;
use super::{AdminView, json_with, plain};

/// The route of a request in each route table (or the one that `table` names, or that the listener in `listener` goes
/// by), and a dry pick of its endpoint. 404 when no route matches.
pub(super) fn respond(view: &AdminView<'_>, query: &Query) -> Response<Bytes> {
    let Some(host) = query.get("host").filter(|host| !host.is_empty()) else {
        let text = "usage: /explain?host=HOST[&path=/PATH][&listener=NAME|&table=NAME]\
                    [&format=json]\n";
        return plain(StatusCode::BAD_REQUEST, text.to_owned());
    };
    let path = query.get("path").filter(|path| !path.is_empty()).unwrap_or("/");
    // A client's path may carry a query; routes are matched without it.
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    let routers = match asked(view, query) {
        Ok(routers) => routers,
        Err(unknown) => return plain(StatusCode::NOT_FOUND, unknown),
    };
    let explanations: Vec<_> = routers
        .into_iter()
        .map(|router| router.explain(host, path))
        .map(|route| (dry_pick(view, &route), route))
        .collect();
    let is_found = explanations.iter().any(|(_, route)| route.route.is_some());
    let status = if is_found { StatusCode::OK } else { StatusCode::NOT_FOUND };
    if query.wants_json() {
        let list: Vec<Json> = explanations
            .iter()
            .map(|(pick, route)| json!({ "route": route, "pick": pick }))
            .collect();
        let revision = view.config.revision;
        return json_with(status, &json!({ "revision": revision, "explanations": list }));
    }
    let mut text = format!("revision {}\n", view.config.revision);
    for (pick, route) in explanations {
        text.push_str(&route.to_string());
        text.push_str(&pick_text(&route, pick));
    }
    plain(status, text)
}

/// The route tables that are asked about, or why there are none.
fn asked<'a>(view: &AdminView<'a>, query: &Query) -> Result<Vec<&'a Arc<Router>>, String> {
    let mut table = query.get("table").filter(|it| !it.is_empty());
    if let Some(name) = query.get("listener").filter(|it| !it.is_empty()) {
        let Some(listener) = view.config.listeners.get(name) else {
            return Err(unknown("listener", name, view.config.listeners.keys()));
        };
        match &listener.chains[0].protocol {
            ListenerProtocol::Http(http) => table = Some(&http.route_table),
            ListenerProtocol::Tcp(tcp) => {
                let clusters: Vec<&str> =
                    tcp.clusters.iter().map(|it| it.cluster.as_str()).collect();
                let clusters = clusters.join(", ");
                let text = format!("listener {name} has no routes: its bytes go to {clusters}\n");
                return Err(text);
            }
        }
    }
    match table {
        None => Ok(view.routers.values().collect()),
        Some(name) => match view.routers.get(name) {
            Some(router) => Ok(vec![router]),
            None => Err(unknown("route table", name, view.routers.keys())),
        },
    }
}

fn unknown<'a>(kind: &str, name: &str, known: impl Iterator<Item = &'a String>) -> String {
    let known: Vec<&str> = known.map(String::as_str).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    format!("there is no {kind} {name:?}; known: {known}\n")
}

fn dry_pick(view: &AdminView<'_>, route: &RouteExplanation) -> Option<PickExplanation> {
    let RouteAction::Forward(forward) = &route.route.as_ref()?.action else { return None };
    let cluster = view.clusters.get(forward.cluster.names().next()?)?;
    let mut rng = SmallRng::seed_from_u64(view.now_ns);
    Some(cluster.explain_pick(&PickRequest::at(view.now_ns), &mut rng))
}

fn pick_text(route: &RouteExplanation, pick: Option<PickExplanation>) -> String {
    match (pick, route.route.as_ref().map(|it| &it.action)) {
        (Some(pick), _) => pick.to_string(),
        (None, Some(RouteAction::Forward(forward))) => {
            let names: Vec<&str> = forward.cluster.names().collect();
            format!("  => none: there is no cluster {}\n", names.join(", "))
        }
        (None, _) => String::new(),
    }
}
