//! Takes a request from a client and finds out what is to be done with it.

use std::rc::Rc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use proxy_config::RouteAction;
use traffic::normalized_host;

use crate::body::ResponseBody;
use crate::connection::Client;
use crate::exchange::Exchange;
use crate::forward::{self, Forwarded, Way};
use crate::incoming::{Incoming, Upgrade};
use crate::reply::{self, Refusal};
use crate::tunnel;
use crate::view::{ListenerKind, ListenerView};

/// Answers a request. Never fails: what goes wrong becomes a response. `upgrade` is where the connection may go on as a
/// tunnel.
pub(crate) async fn answer(
    client: Rc<Client>,
    request: Request<Incoming>,
    upgrade: Option<Upgrade>,
) -> Response<ResponseBody> {
    let view = client.slot.view();
    let is_grpc = is_grpc(request.headers());
    let exchange = Exchange::new(client, view.clone(), &request, is_grpc);
    route(&view, request, upgrade, Box::new(exchange)).await
}

async fn route(
    view: &ListenerView,
    request: Request<Incoming>,
    upgrade: Option<Upgrade>,
    exchange: Box<Exchange>,
) -> Response<ResponseBody> {
    let (ListenerKind::Http(http), Some(config)) = (&view.kind, view.http()) else {
        // The listener speaks bytes now; this connection is about to end.
        return reply::refuse(Refusal::NoRoute, exchange);
    };
    // HTTP/1.1 heads are counted as they are parsed.
    if request.headers().len() > config.headers_max as usize {
        return reply::refuse(Refusal::TooManyHeaders, exchange);
    }
    let authority = match authority(&request) {
        Ok(authority) => authority,
        Err(why) => return reply::refuse(Refusal::BadRequest(why), exchange),
    };
    // A host that is not text is in no route table.
    let host = authority.to_str().unwrap_or_default();
    let is_connect = request.method() == Method::CONNECT;
    let path = if is_connect { "/" } else { request.uri().path() };
    if is_connect && !config.forward_proxy {
        return reply::no_route(host, path, false, exchange);
    }
    if has_dot_segment(path) {
        return reply::refuse(Refusal::BadRequest("the path has dot segments\n"), exchange);
    }
    let Some(found) = http.table.router.find_index(host, path) else {
        let is_unknown_service = config.forward_proxy && !http.table.router.has_host(host);
        return reply::no_route(host, path, is_unknown_service, exchange);
    };
    let route = &http.table.router.routes()[found];
    match &route.action {
        RouteAction::Forward(forward) => {
            let own = http.table.routes[found].as_ref();
            let own = own.expect("the routes of a table are in the order of its router's");
            let plan = &http.table.router.plans()[found];
            let Some(chosen) = own.choose(plan, request.headers(), &exchange.client.worker) else {
                let status = forward.cluster_not_found_status;
                return reply::refuse(Refusal::NoCluster(status), exchange);
            };
            if is_connect {
                let tunnel = tunnel::connect(upgrade, chosen.cluster, forward, exchange);
                return Box::pin(tunnel).await;
            }
            let (parts, body) = request.into_parts();
            forward::forward(
                Forwarded {
                    parts,
                    body,
                    upgrade,
                    authority,
                    chosen,
                    way: Way { route: forward, plan, own },
                    idle_timeout: config.stream_idle_timeout,
                    is_ingress: !config.forward_proxy,
                },
                exchange,
            )
            .await
        }
        RouteAction::Respond { status, body } => {
            let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::OK);
            reply::text(status, Bytes::copy_from_slice(body.as_bytes()), exchange)
        }
        RouteAction::Redirect(redirect) => {
            let path = request.uri().path_and_query().map_or("/", |it| it.as_str());
            let port = redirect.port.unwrap_or(443);
            reply::redirect_to_https(redirect.status, &normalized_host(host), port, path, exchange)
        }
    }
}

/// True when a segment of the path is `.` or `..`, also percent-encoded: an endpoint that resolves it (RFC 3986, section
/// 5.2.4) would serve another path than the one that was routed. Clients resolve them before they ask.
fn has_dot_segment(path: &str) -> bool {
    path.split('/').any(|segment| {
        let mut rest = segment.as_bytes();
        let mut dots = 0;
        while dots < 3 {
            rest = match rest {
                [b'.', rest @ ..] | [b'%', b'2', b'e' | b'E', rest @ ..] => rest,
                _ => break,
            };
            dots += 1;
        }
        rest.is_empty() && (dots == 1 || dots == 2)
    })
}

/// Who the request is meant for: the target's authority if it has one, else `Host` (RFC 9112, section 3.2).
fn authority(request: &Request<Incoming>) -> Result<HeaderValue, &'static str> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err("more than one Host\n");
    }
    if let Some(authority) = request.uri().authority() {
        // What comes before `@` is a name and a password, for the client alone.
        let text = authority.as_str();
        let text = text.rsplit_once('@').map_or(text, |(_, host)| host);
        return HeaderValue::from_str(text).map_err(|_| "the authority is not a header value\n");
    }
    match host {
        Some(host) => Ok(host.clone()),
        None if request.version() == Version::HTTP_10 => Ok(HeaderValue::from_static("")),
        None => Err("no Host\n"),
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let rest =
        headers.get(CONTENT_TYPE).and_then(|it| it.as_bytes().strip_prefix(b"application/grpc"));
    // `application/grpc-web` is another protocol, over any HTTP.
    rest.is_some_and(|it| matches!(it.first(), None | Some(b'+' | b';' | b' ' | b'\t')))
}
