//! Changes of heads, by routes and by listeners.

use proxy_config::{HeaderChange, RouteAction, ServerHeader};

use super::support::{Backend, Client, Setup, text};

fn append(name: &str, value: &str) -> HeaderChange {
    HeaderChange::Append(name.to_owned(), value.to_owned())
}

fn overwrite(name: &str, value: &str) -> HeaderChange {
    HeaderChange::Overwrite(name.to_owned(), value.to_owned())
}

#[tokio::test]
async fn a_route_changes_the_heads_of_requests_and_responses_in_order() {
    let echo = Backend::echo().await;
    let proxy = Setup::new()
        .listener("in")
        .route("web", "/", &[echo.address])
        .last_route(|route| {
            route.headers.request = vec![
                append("x-a", "2"),
                HeaderChange::Remove("x-b".to_owned()),
                HeaderChange::AppendIfAbsent("x-c".to_owned(), "no".to_owned()),
                overwrite("x-from", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %REQ(x-b)%"),
                overwrite("x-route", "%PROTOCOL% %REQ(:METHOD)%"),
            ];
            route.headers.response = vec![
                overwrite("x-path", "%REQ(:PATH)% %REQ(X-C)% %RESPONSE_CODE%"),
                HeaderChange::OverwriteIfPresent("x-none".to_owned(), "1".to_owned()),
                HeaderChange::Remove("date".to_owned()),
                overwrite("date", "today"),
            ];
        })
        .start();
    let address = proxy.local_addr("in").unwrap();
    for mut client in [Client::http1(address).await, Client::http2(address).await] {
        let headers = [("x-a", "1"), ("x-b", "b"), ("x-c", "c")];
        let response = client.ask("GET", "/p?q", &headers).await;
        assert_eq!(response.headers()["x-path"], "/p?q c 200");
        assert_eq!(response.headers()["date"], "today");
        assert!(!response.headers().contains_key("x-none"));
        let seen = text(response.into_body()).await;
        for line in ["x-a: 1\nx-a: 2\n", "x-c: c\n", "x-from: 127.0.0.1 b\n"] {
            assert!(seen.contains(line), "{line:?} in {seen}");
        }
        assert!(seen.contains("x-route: HTTP/") && !seen.contains("x-b:"), "{seen}");
    }
}

#[tokio::test]
async fn answers_of_the_proxy_are_changed_as_well() {
    let proxy = Setup::new()
        .listener("in")
        .action("web", "/", RouteAction::Respond { status: 200, body: "here".to_owned() })
        .last_route(|route| route.headers.response = vec![append("x-by", "%ROUTE_NAME%")])
        .start();
    let response = Client::http1(proxy.local_addr("in").unwrap()).await.get_with(&[]).await;
    assert_eq!(response.headers()["x-by"], "/");
}

#[tokio::test]
async fn a_listener_names_itself_in_both_directions() {
    let echo = Backend::http1(|request| async move {
        let via = request.headers().get("via").cloned();
        http::Response::builder()
            .header("server", "endpoint")
            .header("x-via", via.unwrap())
            .body(super::support::full("x"))
            .unwrap()
    })
    .await;
    let overwrite = ServerHeader::Overwrite("leno".to_owned());
    let proxy = Setup::new()
        .http_listener("all", |http| {
            http.via = "edge".to_owned();
            http.server_header = overwrite;
            http.request_id.in_response = true;
        })
        .http_listener("absent", |http| {
            http.via = "edge".to_owned();
            http.server_header = ServerHeader::AppendIfAbsent("leno".to_owned());
        })
        .route("web", "/", &[echo.address])
        .action("own", "/", RouteAction::Respond { status: 200, body: String::new() })
        .start();
    let mut client = Client::http1(proxy.local_addr("all").unwrap()).await;
    let response = client.get_with(&[("x-request-id", "abc")]).await;
    let headers = response.headers();
    let expected = [("server", "leno"), ("via", "1.1 edge"), ("x-request-id", "abc")];
    for (name, value) in expected.into_iter().chain([("x-via", "1.1 edge")]) {
        assert_eq!(headers[name], value, "{name}");
    }
    let mut client = Client::http2(proxy.local_addr("absent").unwrap()).await;
    let response = client.get_with(&[]).await;
    assert_eq!(response.headers()["server"], "endpoint");
    assert_eq!(response.headers()["x-via"], "2 edge");
    assert!(!response.headers().contains_key("x-request-id"));
    let request = http::Request::get("http://own/").body(super::support::empty()).unwrap();
    assert_eq!(client.send(request).await.headers()["server"], "leno");
}
