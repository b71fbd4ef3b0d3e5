use std::collections::BTreeSet;
use std::time::Duration;

use http::Request;
use proxy_config::{CookieAffinity, Forward};

use super::support::{Backend, Client, Setup, empty, text};

fn kept(strict: bool) -> impl FnOnce(&mut Forward, &mut proxy_config::Cluster) {
    move |forward, _| {
        let (name, path) = ("stay".to_owned(), "/".to_owned());
        let ttl = Duration::from_secs(60);
        forward.affinity = Some(CookieAffinity { name, ttl, path, strict });
    }
}

async fn ask(client: &mut Client, cookie: Option<&str>) -> (u16, String, Option<String>) {
    let mut request = Request::get("/").header("host", "web");
    if let Some(cookie) = cookie {
        request = request.header("cookie", format!("other=1; {cookie}"));
    }
    let response = client.send(request.body(empty()).unwrap()).await;
    let given = response.headers().get("set-cookie").map(|it| it.to_str().unwrap().to_owned());
    (response.status().as_u16(), text(response.into_body()).await, given)
}

#[tokio::test]
async fn a_client_with_the_cookie_keeps_its_endpoint() {
    let backends = [Backend::text("a").await, Backend::text("b").await, Backend::text("c").await];
    let addresses = backends.each_ref().map(|it| it.address);
    let setup = Setup::new().listener("in").route_with("web", "/", &addresses, kept(false));
    let proxy = setup.start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    let (_, first, given) = ask(&mut client, None).await;
    let given = given.unwrap();
    assert!(given.ends_with("; Max-Age=60; Path=/; HttpOnly"), "{given}");
    let cookie = given.split(';').next().unwrap();
    for _ in 0..6 {
        assert_eq!(ask(&mut client, Some(cookie)).await, (200, first.clone(), None));
    }
    let mut others = BTreeSet::new();
    for _ in 0..6 {
        others.insert(ask(&mut client, None).await.1);
    }
    assert!(others.len() > 1);
}

#[tokio::test]
async fn when_the_endpoint_is_gone_another_is_given_or_none() {
    let (a, b) = (Backend::text("a").await, Backend::text("b").await);
    let gone = "127.0.0.1:9";
    let cookie = format!("stay={}", traffic::affinity_cookie(gone, None));
    for (strict, status) in [(false, 200), (true, 503)] {
        let setup = Setup::new().listener("in").route_with(
            "web",
            "/",
            &[a.address, b.address],
            kept(strict),
        );
        let proxy = setup.start();
        let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
        let (got, _, given) = ask(&mut client, Some(&cookie)).await;
        assert_eq!(got, status);
        assert_eq!(given.is_some(), !strict);
        let own = format!("stay={}", traffic::affinity_cookie(&b.address.to_string(), None));
        assert_eq!(ask(&mut client, Some(&own)).await, (200, "b".to_owned(), None));
    }
}
