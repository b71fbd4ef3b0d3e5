use codec::message::HeaderMap;
use http::{HeaderName, HeaderValue};
use proxy_config::HeaderChange;

use super::HeaderEdits;
use crate::format::tests::known;

fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    let line = |(name, value): &(&'static str, &'static str)| {
        (HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    lines.iter().map(line).collect()
}

fn two(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn append(name: &str, value: &str) -> HeaderChange {
    let (name, value) = two(name, value);
    HeaderChange::Append(name, value)
}

fn overwrite(name: &str, value: &str) -> HeaderChange {
    let (name, value) = two(name, value);
    HeaderChange::Overwrite(name, value)
}

fn changed(changes: &[HeaderChange], before: &[(&'static str, &'static str)]) -> HeaderMap {
    let (edits, problems) = HeaderEdits::new(changes);
    assert!(problems.is_empty(), "{problems:?}");
    let mut headers = map(before);
    let values = edits.values(&known());
    edits.apply(&mut headers, values);
    headers
}

#[test]
fn changes_are_made_in_order() {
    let absent = |name: &str| HeaderChange::AppendIfAbsent(name.to_owned(), "new".to_owned());
    let present = |name: &str| HeaderChange::OverwriteIfPresent(name.to_owned(), "new".to_owned());
    let before = [("a", "1"), ("b", "1"), ("b", "2"), ("c", "1")];
    let after = changed(
        &[
            append("a", "2"),
            overwrite("b", "3"),
            absent("c"),
            absent("d"),
            present("c"),
            present("e"),
            HeaderChange::Remove("d".to_owned()),
            append("d", "again"),
        ],
        &before,
    );
    let expected = [("a", "1"), ("a", "2"), ("b", "3"), ("c", "new"), ("d", "again")];
    assert_eq!(after, map(&expected));
}

#[test]
fn values_are_made_of_facts() {
    let after = changed(
        &[
            overwrite("x-peer", "%UPSTREAM_HOST%"),
            append("x-share", "50%%"),
            append("x-both", "%REQ(user-agent)% via %PROTOCOL%"),
            overwrite("x-odd", "%REQ(x-odd)%"),
            append("x-none", "%REQ(x-missing)%"),
        ],
        &[],
    );
    let mut expected =
        map(&[("x-peer", "10.0.2.1:80"), ("x-share", "50%"), ("x-both", "nsq2http via HTTP/2")]);
    expected.insert("x-odd", HeaderValue::from_bytes(b"a\" 200 -[\\\t\xff~").unwrap());
    assert_eq!(after, expected);
}

#[test]
fn what_a_client_says_goes_when_the_proxy_has_nothing_to_say() {
    let nothing = "%DOWNSTREAM_PEER_URI_SAN%";
    let after = changed(
        &[
            overwrite("x-identity", nothing),
            HeaderChange::OverwriteIfPresent("x-other".to_owned(), nothing.to_owned()),
            append("x-kept", nothing),
        ],
        &[("x-identity", "admin"), ("x-other", "admin"), ("x-kept", "1")],
    );
    assert_eq!(after, map(&[("x-kept", "1")]));
}

#[test]
fn what_must_not_be_changed_is_refused() {
    let remove = |name: &str| HeaderChange::Remove(name.to_owned());
    let (edits, problems) = HeaderEdits::new(&[
        append(":path", "/"),
        overwrite("Host", "a"),
        remove("host"),
        remove(":method"),
        remove("content-length"),
        overwrite("transfer-encoding", "chunked"),
        append("a b", "1"),
        append("x", "a\nb"),
        append("x", "%PROTOCOL%\n"),
        append("x", "%NONSENSE%"),
    ]);
    assert!(edits.is_empty());
    assert_eq!(problems.len(), 10, "{problems:#?}");
    assert!(problems[0].contains("pseudo-header") && problems[1].contains("host rewrite"));
    assert!(problems[9].contains("at byte 0"), "{}", problems[9]);
}

#[test]
fn constant_values_need_no_facts() {
    let (edits, _) = HeaderEdits::new(&[append("x", "1"), append("y", "%REQ(a?b)%")]);
    let names: Vec<&str> = edits.request_headers().map(HeaderName::as_str).collect();
    assert_eq!(names, ["a", "b"]);
    let mut headers = HeaderMap::new();
    edits.apply(&mut headers, crate::EditValues::default());
    assert_eq!(headers, map(&[("x", "1")]));
}
