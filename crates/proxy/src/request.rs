//! Takes a request from a client and finds out what is to be done with it.

mod head;
mod limits;
mod way;

use std::rc::Rc;

use codec::message::{Request, RequestParts as Parts, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, StatusCode};
use proxy_config::{HttpListener, RouteAction, path_class};
use traffic::{Redirector, RequestView, Routed, is_grpc_content_type};

use crate::access_log::{ExchangeFacts, RequestHead};
use crate::body::ResponseBody;
use crate::buffers;
use crate::connection::Client;
use crate::exchange::Exchange;
use crate::filters;
use crate::forward::{self, Forwarded};
use crate::hosts::Place;
use crate::incoming::{Incoming, Upgrade};
use crate::reply::{self, Answer, Refusal};
use crate::tunnel;
use crate::view::{HttpView, ListenerKind, ListenerView};

use self::way::Way;

pub(crate) use self::limits::{Deadline, Overdue};

/// Answers a request. Never fails: what goes wrong becomes a response. `upgrade` is where the connection may go on as a
/// tunnel.
pub(crate) async fn answer(
    client: Rc<Client>,
    request: Request<Incoming>,
    upgrade: Option<Upgrade>,
) -> Response<ResponseBody> {
    let view = client.slot.view();
    let is_grpc =
        request.headers().get(CONTENT_TYPE).is_some_and(|it| is_grpc_content_type(it.as_bytes()));
    let mut exchange = Exchange::new(client, view.clone(), &request, is_grpc);
    let limits = exchange.rules().and_then(|it| it.limits);
    let deadline = limits.and_then(|it| limits::deadline(it, request.body(), &mut exchange));
    match deadline {
        None => route(&view, request, upgrade, exchange).await,
        Some(deadline) => {
            let client = exchange.client.clone();
            let answering = route(&view, request, upgrade, exchange);
            Box::pin(limits::within(deadline, client, is_grpc, answering)).await
        }
    }
}

async fn route(
    view: &ListenerView,
    request: Request<Incoming>,
    upgrade: Option<Upgrade>,
    mut exchange: Box<Exchange>,
) -> Response<ResponseBody> {
    let (ListenerKind::Http(http), Some(config)) = (&view.kind, view.http()) else {
        // The listener speaks bytes now; this connection is about to end.
        return reply::refuse(Refusal::NoRoute, exchange);
    };
    let (mut parts, body) = request.into_parts();
    let admitted = match admit(&mut parts, config, http, &mut exchange) {
        Ok(admitted) => admitted,
        Err(answer) => return reply::answer(*answer, exchange),
    };
    let Admitted { authority, way } = admitted;
    // A host that is not text is in no route table.
    let host = authority.to_str().unwrap_or_default();
    let found = find(&parts, host, config, http, &mut exchange);
    exchange.keep(&parts.uri, Some(&authority), &parts.headers);
    if http.rules.filters.is_some() || exchange.route_rules().is_some_and(|it| it.filters.is_some())
    {
        let path = head::routed_path(&parts).to_owned();
        let passing = filters::pass(&mut parts, host, &path, &mut exchange);
        if let Err(answer) = Box::pin(passing).await {
            return reply::answer(*answer, exchange);
        }
    }
    let found = match found {
        Ok(found) => found,
        Err(answer) => return reply::answer(*answer, exchange),
    };
    if exchange.route_rules().is_some_and(|it| it.edits_request) {
        edit(&mut parts, &authority, &exchange);
        exchange.keep(&parts.uri, Some(&authority), &parts.headers);
    }
    let route = &http.table.router.routes()[found];
    match &route.action {
        RouteAction::Forward(forward) => {
            let own = http.table.routes[found].as_ref();
            let own = own.expect("the routes of a table are in the order of its router's");
            let plan = &http.table.router.plans()[found];
            let Some(chosen) = own.choose(plan, &parts.headers, &exchange.client.worker) else {
                let status = forward.cluster_not_found_status;
                return reply::refuse(Refusal::NoCluster(status), exchange);
            };
            if parts.method == Method::CONNECT {
                let tunnel = tunnel::connect(upgrade, chosen.cluster, forward, exchange);
                return Box::pin(tunnel).await;
            }
            let forwarded = Forwarded {
                parts,
                body,
                upgrade,
                authority,
                chosen,
                way: forward::Way { route: forward, plan, own },
                idle_timeout: config.stream_idle_timeout,
                accepts_trailers: way.accepts_trailers,
                wanted_upgrade: way.wanted_upgrade,
                is_trusted: way.is_trusted,
                has_orders: way.has_orders,
            };
            forward::forward(forwarded, exchange).await
        }
        RouteAction::Respond { status, body } => {
            let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::OK);
            let answer = Answer::new(status, "direct_response");
            reply::answer(answer.containing(body.clone()), exchange)
        }
        RouteAction::Redirect(_) => {
            let redirector = http.table.router.plans()[found].redirect.as_ref();
            let is_https = exchange.is_https;
            let answer = redirector.and_then(|it| redirect(it, &parts, host, is_https));
            reply::answer(answer.unwrap_or_else(no_address), exchange)
        }
    }
}

/// A request that may be routed.
struct Admitted {
    authority: HeaderValue,
    way: Way,
}

/// Checks the head and makes it one that is believed.
fn admit(
    parts: &mut Parts,
    config: &HttpListener,
    http: &HttpView,
    exchange: &mut Exchange,
) -> Result<Admitted, Box<Answer>> {
    head::check(parts, config)?;
    let authority = head::authority(parts, config.strip_port)?;
    let way =
        way::clear(&mut parts.headers, parts.version, (config, &http.rules), &exchange.client);
    exchange.remote = way.remote;
    exchange.is_https = way.is_https;
    if http.rules.response.as_ref().is_some_and(|it| it.request_id) {
        exchange.request_id = parts.headers.get(crate::headers::X_REQUEST_ID).map(buffers::copy);
    }
    head::count_forwards_down(parts)?;
    head::normalize(parts, config)?;
    Ok(Admitted { authority, way })
}

/// Looks for the route, and notes it.
fn find(
    parts: &Parts,
    host: &str,
    config: &HttpListener,
    http: &HttpView,
    exchange: &mut Exchange,
) -> Result<usize, Box<Answer>> {
    let path = head::routed_path(parts);
    if parts.method == Method::CONNECT
        && !config.forward_proxy
        && !config.upgrades.iter().any(|it| it == "connect")
    {
        return Err(reply::no_route(host, path, false).into());
    }
    let (virtual_host, routed) = http.table.router.route_in(&RequestView {
        method: parts.method.as_str(),
        path,
        query: parts.uri.query(),
        host,
        is_tls: exchange.is_https,
        fields: &parts.headers,
        random: exchange.client.worker.random_u32(),
    });
    exchange.place = Some(Place { virtual_host, class: path_class(path) });
    match routed {
        Routed::Route(found) => {
            exchange.route = Some(found);
            Ok(found)
        }
        Routed::TlsRequired => {
            let answer = redirect(&Redirector::to_https(), parts, host, false);
            Err(answer.unwrap_or_else(no_address).into())
        }
        Routed::NoRoute => Err(reply::no_route(host, path, false).into()),
        Routed::NoHost => Err(reply::no_route(host, path, config.forward_proxy).into()),
    }
}

/// The route's changes of the head.
fn edit(parts: &mut Parts, authority: &HeaderValue, exchange: &Exchange) {
    let Some((router, at)) = exchange.route() else { return };
    let edits = &router.plans()[at].request_headers;
    let head = RequestHead {
        method: &parts.method,
        uri: &parts.uri,
        version: parts.version,
        authority: Some(authority),
        headers: &parts.headers,
    };
    let now = exchange.client.worker.last_now();
    let facts = ExchangeFacts { exchange, request: Some(head), response: None, now };
    let values = edits.values(&facts);
    edits.apply(&mut parts.headers, values);
}

fn redirect(redirector: &Redirector, parts: &Parts, host: &str, is_https: bool) -> Option<Answer> {
    let target = (head::routed_path(parts), parts.uri.query());
    Answer::redirect_by(redirector, is_https, host, target)
}

fn no_address() -> Answer {
    Answer::refusal(Refusal::BadRequest("the host is not one\n"))
}
