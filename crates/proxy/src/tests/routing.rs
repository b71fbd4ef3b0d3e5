//! Which route a request takes, and what is answered in an endpoint's place.

use std::net::SocketAddr;

use proxy_config::{
    Conditions, EscapedSlashes, HeaderMatch, PathMatch, PathRewrite, QueryMatch, Redirect, Route,
    RouteAction, ValueMatch,
};

use super::support::{Backend, Client, Setup, raw, text};

fn respond(body: &str) -> RouteAction {
    RouteAction::Respond { status: 200, body: body.to_owned() }
}

fn redirect(change: impl FnOnce(&mut Redirect)) -> RouteAction {
    let mut redirect = Redirect {
        status: 302,
        scheme: None,
        host: None,
        port: None,
        path: PathRewrite::Keep,
        strip_query: false,
    };
    change(&mut redirect);
    RouteAction::Redirect(redirect)
}

fn route(name: &str, change: impl FnOnce(&mut Conditions)) -> Route {
    let mut route = Route::new(name, PathMatch::Prefix("/".to_owned()), respond(name));
    change(&mut route.conditions);
    route
}

async fn get(address: SocketAddr, path: &str) -> (u16, Option<String>) {
    let response = Client::http1(address).await.ask("GET", path, &[]).await;
    let location = response.headers().get("location").map(|it| it.to_str().unwrap().to_owned());
    (response.status().as_u16(), location)
}

#[tokio::test]
async fn the_first_route_whose_conditions_all_hold_is_taken() {
    let header = |name: &str, value: &str| HeaderMatch {
        name: name.to_owned(),
        value: ValueMatch::exact(value),
        invert: false,
        missing_as_empty: false,
    };
    let proxy = Setup::new()
        .listener("in")
        .action("web", "/", respond("rest"))
        .table(|table| {
            let routes = &mut table.virtual_hosts[0].routes;
            let rest = routes.pop().unwrap();
            routes.push(route("method", |it| it.methods.push("PUT".to_owned())));
            routes.push(route("header", |it| it.headers.push(header("x-a", "1"))));
            routes.push(route("internal", |it| it.headers.push(header(":authority", "web:1"))));
            routes.push(route("query", |it| {
                it.query.push(QueryMatch { name: "q".to_owned(), value: ValueMatch::exact("1") });
            }));
            routes.push(route("never", |it| it.per_million = Some(0)));
            routes.push(route("grpc", |it| it.grpc = true));
            routes.push(rest);
        })
        .start();
    let address = proxy.local_addr("in").unwrap();
    for mut client in [Client::http1(address).await, Client::http2(address).await] {
        for (method, path, headers, expected) in [
            ("PUT", "/", &[][..], "method"),
            ("GET", "/", &[("x-a", "1")], "header"),
            ("GET", "/", &[("x-a", "2")], "rest"),
            ("GET", "/?q=1", &[], "query"),
            ("GET", "/?q=2", &[], "rest"),
            ("GET", "/", &[("content-type", "application/grpc+proto")], "grpc"),
        ] {
            let response = client.ask(method, path, headers).await;
            assert_eq!(text(response.into_body()).await, expected, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn a_share_of_the_requests_takes_a_route() {
    let proxy = Setup::new()
        .listener("in")
        .action("web", "/", respond("rest"))
        .table(|table| {
            let share = route("share", |it| it.per_million = Some(500_000));
            table.virtual_hosts[0].routes.insert(0, share);
        })
        .start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    let mut taken = 0;
    for _ in 0..200 {
        taken += u32::from(client.get("web", "/").await.1 == "share");
    }
    // Ten standard deviations to both sides.
    assert!((30..170).contains(&taken), "{taken}");
}

#[tokio::test]
async fn a_virtual_host_that_requires_tls_sends_clients_there() {
    let proxy = Setup::new()
        .http_listener("edge", |_| {})
        .http_listener("mesh", |http| http.client_address.is_edge = false)
        .action("web", "/", respond("safe"))
        .table(|table| table.virtual_hosts[0].require_tls = true)
        .start();
    let edge = proxy.local_addr("edge").unwrap();
    assert_eq!(get(edge, "/a?b").await, (301, Some("https://web/a?b".to_owned())));
    let told = [("x-forwarded-proto", "https")];
    let mut client = Client::http1(edge).await;
    assert_eq!(client.get_with(&told).await.status(), 301, "it is not believed");
    let mut client = Client::http1(proxy.local_addr("mesh").unwrap()).await;
    assert_eq!(client.get_with(&told).await.status(), 200, "a proxy of one's own is believed");
}

#[tokio::test]
async fn redirects_change_what_they_say_and_keep_the_rest() {
    let proxy = Setup::new()
        .listener("in")
        .action("web", "/host", redirect(|it| it.host = Some("other".to_owned())))
        .action("web", "/scheme", RouteAction::Redirect(Redirect::to_https(308, 8443)))
        .action(
            "web",
            "/old",
            redirect(|it| {
                it.path = PathRewrite::Prefix("/new".to_owned());
                it.strip_query = true;
                it.status = 303;
            }),
        )
        .start();
    let address = proxy.local_addr("in").unwrap();
    for (path, status, location) in [
        ("/host/a?b=c", 302, "http://other/host/a?b=c"),
        ("/scheme/a", 308, "https://web:8443/scheme/a"),
        ("/old/a?b=c", 303, "http://web/new/a"),
    ] {
        assert_eq!(get(address, path).await, (status, Some(location.to_owned())), "{path}");
    }
}

#[tokio::test]
async fn paths_are_made_normal_before_they_are_matched_and_sent_on() {
    let echo = Backend::echo().await;
    let proxy = Setup::new()
        .http_listener("keep", |_| {})
        .http_listener("resolve", |http| {
            http.path.resolve = true;
            http.path.merge_slashes = true;
            http.path.escaped_slashes = EscapedSlashes::UnescapeAndForward;
        })
        .http_listener("reject", |http| http.path.escaped_slashes = EscapedSlashes::Reject)
        .http_listener("redirect", |http| {
            http.path.escaped_slashes = EscapedSlashes::UnescapeAndRedirect;
        })
        .route("web", "/a", &[echo.address])
        .start();
    let at = |name: &str| proxy.local_addr(name).unwrap();
    let mut client = Client::http1(at("resolve")).await;
    let (status, seen) = client.get("web", "/x/..//a%2Fb/./%63?q=/../x").await;
    assert_eq!((status, seen.lines().next().unwrap()), (200, "GET /a/b/c?q=/../x"));
    assert_eq!(client.get("web", "/a/../x").await.0, 404, "matched as it is sent on");
    assert_eq!(get(at("keep"), "/a/../x").await.0, 400);
    assert_eq!(get(at("keep"), "/a/b%2Fc").await.0, 200);
    assert_eq!(get(at("reject"), "/a/b%2Fc").await.0, 400);
    assert_eq!(get(at("redirect"), "/a%2fb?q").await, (307, Some("/a/b?q".to_owned())));
}

#[tokio::test]
async fn a_port_in_the_host_is_taken_away_where_that_is_asked_for() {
    let echo = Backend::echo().await;
    let proxy = Setup::new()
        .http_listener("in", |http| http.strip_port = true)
        .route("web", "/", &[echo.address])
        .start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    let (_, seen) = client.get("web:8080", "/").await;
    assert!(seen.contains("host: web\n"), "{seen}");
}

#[tokio::test]
async fn http_1_0_is_refused_where_that_is_asked_for() {
    let proxy = Setup::new()
        .http_listener("in", |http| http.accept_http_10 = false)
        .action("web", "/", respond("here"))
        .start();
    let address = proxy.local_addr("in").unwrap();
    let read = raw(address, b"GET / HTTP/1.0\r\nhost: web\r\n\r\n").await;
    assert!(read.starts_with("HTTP/1.0 426 ") && read.contains("upgrade: HTTP/1.1\r\n"), "{read}");
    assert_eq!(get(address, "/").await.0, 200);
}

#[tokio::test]
async fn a_direct_answer_may_be_empty() {
    let proxy = Setup::new()
        .listener("in")
        .action("web", "/", RouteAction::Respond { status: 503, body: String::new() })
        .start();
    let response = Client::http1(proxy.local_addr("in").unwrap()).await.get_with(&[]).await;
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["content-length"], "0");
    assert!(response.headers().contains_key("date"));
    assert!(!response.headers().contains_key("content-type"));
}

#[tokio::test]
async fn connect_is_served_where_a_listener_lists_it() {
    let endpoint = Backend::tcp(|mut stream| async move {
        use tokio::io::AsyncWriteExt;
        let _ = stream.write_all(b"hello").await;
    })
    .await;
    let proxy = Setup::new()
        .http_listener("with", |http| http.upgrades.push("connect".to_owned()))
        .http_listener("without", |_| {})
        .route("web", "/", &[endpoint.address])
        .start();
    let ask = b"CONNECT web:80 HTTP/1.1\r\nhost: web:80\r\nconnection: close\r\n\r\n";
    let read = raw(proxy.local_addr("with").unwrap(), ask).await;
    assert!(read.starts_with("HTTP/1.1 200 ") && read.ends_with("\r\n\r\nhello"), "{read}");
    let read = raw(proxy.local_addr("without").unwrap(), ask).await;
    assert!(read.starts_with("HTTP/1.1 404 "), "{read}");
}
