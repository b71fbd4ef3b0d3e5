use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use proxy_config::{HashInput, HashPolicy};
use xxhash_rust::xxh64::xxh64;

use super::{HashFacts, RequestHash};

#[derive(Default)]
struct Request {
    headers: Vec<(&'static str, &'static str)>,
    cookie: Option<&'static str>,
}

impl HashFacts for Request {
    fn header<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.headers.iter().filter(move |it| it.0 == name).map(|it| it.1.as_bytes())
    }

    fn cookie(&self, _name: &str) -> Option<&str> {
        self.cookie
    }

    fn query(&self, name: &str) -> Option<Cow<'_, str>> {
        (name == "user").then_some(Cow::Borrowed("7"))
    }

    fn source_ip(&self) -> Option<IpAddr> {
        Some(Ipv4Addr::new(10, 1, 2, 3).into())
    }

    fn connection(&self) -> String {
        "10.1.2.3:4010.0.0.1:80".to_owned()
    }
}

fn header(name: &str) -> HashInput {
    HashInput::Header { name: name.to_owned(), rewrite: None }
}

fn cookie(ttl: Option<Duration>) -> HashInput {
    HashInput::Cookie { name: "session".to_owned(), ttl, path: "/".to_owned() }
}

fn of(inputs: &[(HashInput, bool)], request: &Request) -> super::Hashed {
    let policy = |(input, terminal): &(HashInput, bool)| HashPolicy {
        input: input.clone(),
        terminal: *terminal,
    };
    let policies: Vec<_> = inputs.iter().map(policy).collect();
    RequestHash::new(&policies).unwrap().of(request)
}

fn hash(text: &str) -> u64 {
    xxh64(text.as_bytes(), 0)
}

#[test]
fn each_input_is_hashed_with_xxhash64() {
    let request = Request { headers: vec![("x-user", "ada")], cookie: Some("c1") };
    assert_eq!(hash(""), 0xef46_db37_51d8_e999);
    for (input, expected) in [
        (header("x-user"), Some(hash("ada"))),
        (header("x-other"), None),
        (cookie(None), Some(hash("c1"))),
        (HashInput::SourceIp, Some(hash("10.1.2.3"))),
        (HashInput::Query("user".to_owned()), Some(hash("7"))),
        (HashInput::Query("other".to_owned()), None),
    ] {
        let hashed = of(&[(input.clone(), false)], &request);
        assert_eq!(hashed.hash, expected, "{input:?}");
        assert!(hashed.cookies.is_empty());
    }
}

#[test]
fn parts_are_rotated_and_joined_and_a_terminal_one_ends_it() {
    let request = Request { headers: vec![("a", "1"), ("b", "2"), ("c", "3")], cookie: None };
    let all =
        [(header("a"), false), (header("none"), true), (header("b"), true), (header("c"), false)];
    // The part that is not there is terminal, and there is a hash by then.
    assert_eq!(of(&all, &request).hash, Some(hash("1")));
    let two =
        [(header("none"), true), (header("a"), false), (header("b"), true), (header("c"), false)];
    assert_eq!(of(&two, &request).hash, Some(hash("1").rotate_left(1) ^ hash("2")));
    assert_eq!(of(&[], &request).hash, None);
}

#[test]
fn the_order_of_several_values_of_a_header_does_not_matter() {
    let there = Request { headers: vec![("a", "x"), ("a", "y")], cookie: None };
    let back = Request { headers: vec![("a", "y"), ("a", "x")], cookie: None };
    let policy = [(header("a"), false)];
    assert_eq!(of(&policy, &there).hash, Some(xxh64(b"y", hash("x"))));
    assert_eq!(of(&policy, &there), of(&policy, &back));
}

#[test]
fn a_header_is_rewritten_before_it_is_hashed() {
    let input = HashInput::Header {
        name: "path".to_owned(),
        rewrite: Some((r"^/users/(\d+)/.*$".to_owned(), r"$\1".to_owned())),
    };
    let request = Request { headers: vec![("path", "/users/42/photos")], cookie: None };
    assert_eq!(of(&[(input, false)], &request).hash, Some(hash("$42")));
    let broken =
        HashInput::Header { name: "a".to_owned(), rewrite: Some(("(".to_owned(), String::new())) };
    assert!(RequestHash::new(&[HashPolicy { input: broken, terminal: false }]).is_err());
}

#[test]
fn a_client_without_a_cookie_gets_one_with_which_it_comes_back_to_the_same_hash() {
    let ttl = Duration::from_secs(60);
    let first = of(&[(cookie(Some(ttl)), false)], &Request::default());
    let given = &first.cookies[0];
    assert_eq!(given.value, format!("{:016x}", hash("10.1.2.3:4010.0.0.1:80")));
    assert_eq!((given.name.as_str(), given.path.as_str(), given.ttl), ("session", "/", ttl));
    assert_eq!(first.hash, Some(hash(&given.value)));
    assert_eq!(of(&[(cookie(None), false)], &Request::default()).hash, None);
}
