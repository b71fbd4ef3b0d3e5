use std::collections::BTreeMap;
use std::time::Duration;

use http::Request;
use proxy_config::{Balancing, HashInput, HashPolicy, RingHash};

use super::support::{Backend, Client, Setup, TestBody, empty, text};

fn hashed(input: HashInput) -> impl FnOnce(&mut proxy_config::Forward, &mut proxy_config::Cluster) {
    move |forward, cluster| {
        cluster.balancing = Balancing::RingHash(RingHash::default());
        forward.hash = vec![HashPolicy { input, terminal: false }];
    }
}

async fn backends() -> [Backend; 3] {
    [Backend::text("a").await, Backend::text("b").await, Backend::text("c").await]
}

fn get(path: &str, header: Option<(&str, &str)>) -> Request<TestBody> {
    let mut request = Request::get(path).header("host", "web");
    if let Some((name, value)) = header {
        request = request.header(name, value);
    }
    request.body(empty()).unwrap()
}

/// Two values go to an endpoint each, every time, and some two of many go to different ones.
async fn check(input: HashInput, request: impl Fn(u32) -> Request<TestBody>) {
    let backends = backends().await;
    let addresses = backends.each_ref().map(|it| it.address);
    let setup = Setup::new().listener("in").route_with("web", "/", &addresses, hashed(input));
    let proxy = setup.start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    let mut places: BTreeMap<u32, String> = BTreeMap::new();
    for _ in 0..3 {
        for value in 0..12 {
            let place = text(client.send(request(value)).await.into_body()).await;
            let before = places.entry(value).or_insert_with(|| place.clone());
            assert_eq!(*before, place);
        }
    }
    let first = &places[&0];
    assert!(places.values().any(|it| it != first));
}

#[tokio::test]
async fn a_header_places_a_request() {
    let input = HashInput::Header { name: "x-user".to_owned(), rewrite: None };
    check(input, |value| get("/", Some(("x-user", &value.to_string())))).await;
}

#[tokio::test]
async fn a_query_parameter_places_a_request() {
    let input = HashInput::Query("user".to_owned());
    check(input, |value| get(&format!("/?a=b&user=%20{value}"), None)).await;
}

#[tokio::test]
async fn a_cookie_places_a_request() {
    let (name, path) = ("user".to_owned(), String::new());
    let input = HashInput::Cookie { name, ttl: None, path };
    check(input, |value| get("/", Some(("cookie", &format!("a=b; user={value}"))))).await;
}

#[tokio::test]
async fn a_client_without_the_cookie_is_given_one_that_leads_to_the_same_endpoint() {
    let backends = backends().await;
    let addresses = backends.each_ref().map(|it| it.address);
    let (name, path) = ("user".to_owned(), "/shop".to_owned());
    let input = HashInput::Cookie { name, ttl: Some(Duration::from_secs(9)), path };
    let setup = Setup::new().listener("in").route_with("web", "/", &addresses, hashed(input));
    let proxy = setup.start();
    for _ in 0..4 {
        let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
        let response = client.send(get("/", None)).await;
        let given = response.headers()["set-cookie"].to_str().unwrap().to_owned();
        assert!(given.ends_with("; Max-Age=9; Path=/shop; HttpOnly"), "{given}");
        let place = text(response.into_body()).await;
        let cookie = given.split(';').next().unwrap();
        let mut other = Client::http1(proxy.local_addr("in").unwrap()).await;
        let again = other.send(get("/", Some(("cookie", cookie)))).await;
        assert!(again.headers().get("set-cookie").is_none());
        assert_eq!(text(again.into_body()).await, place);
    }
}

#[tokio::test]
async fn the_address_of_a_client_places_all_its_requests() {
    let backends = backends().await;
    let addresses = backends.each_ref().map(|it| it.address);
    let change = hashed(HashInput::SourceIp);
    let proxy = Setup::new().listener("in").route_with("web", "/", &addresses, change).start();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..6 {
        let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
        seen.insert(client.get("web", "/").await.1);
    }
    assert_eq!(seen.len(), 1);
}
