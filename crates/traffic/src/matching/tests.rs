use codec::message::HeaderMap;
use http::{HeaderName, HeaderValue};
use proxy_config::{HeaderMatch, Pattern, QueryMatch, ValueMatch};

use super::{
    Expression, FieldName, HeaderCondition, Pseudo, QueryCondition, RequestView, TextMatch,
    is_grpc_content_type, query_value,
};

fn value(pattern: Pattern, ignore_case: bool) -> ValueMatch {
    ValueMatch { pattern, ignore_case }
}

#[test]
fn texts_are_compared_as_the_pattern_says() {
    let check = |pattern: Pattern, ignore_case: bool, text: &str, expected: bool| {
        let condition = value(pattern, ignore_case);
        let found = TextMatch::new(&condition).unwrap().matches(text.as_bytes());
        assert_eq!(found, expected, "{condition:?} {text:?}");
    };
    let text = |text: &str| text.to_owned();
    check(Pattern::Present, false, "", true);
    for (text, expected, folded) in [("Web", true, true), ("wEB", false, true), ("", false, false)]
    {
        check(Pattern::Exact("Web".to_owned()), false, text, expected);
        check(Pattern::Exact("Web".to_owned()), true, text, folded);
        check(Pattern::Prefix("We".to_owned()), false, text, expected);
        check(Pattern::Prefix("We".to_owned()), true, text, folded);
        check(Pattern::Suffix("eb".to_owned()), true, text, folded);
        check(Pattern::Suffix("eb".to_owned()), false, text, expected);
        check(Pattern::Contains("e".to_owned()), false, text, expected);
        check(Pattern::Contains("e".to_owned()), true, text, folded);
    }
    check(Pattern::Contains(text("a.c")), false, "abc", false);
    check(Pattern::Contains(text("é")), true, "caféx", true);
    check(Pattern::Prefix(text("abc")), true, "ab", false);
    check(Pattern::Suffix(text("abc")), true, "bc", false);
    check(Pattern::Regex(text("a|ab")), false, "ab", true);
    check(Pattern::Regex(text("a")), true, "A", false);
    check(Pattern::Regex(text("(?i)a")), false, "A", true);
    check(Pattern::Regex(text(r"\d+")), false, "٣", false);
    check(Pattern::Regex(text(r"\p{L}+")), false, "ż", true);
    check(Pattern::Regex(text("a$")), false, "a\n", false);
    let range = Pattern::Range { start: -10, end: 0 };
    for (text, expected) in
        [("-10", true), ("-1", true), ("0", false), ("-11", false), ("", false), ("-1.5", false)]
    {
        check(range.clone(), false, text, expected);
    }
}

#[test]
fn an_expression_is_matched_in_linear_time() {
    let expression = Expression::new("(a*)*(a|aa)*b").unwrap();
    assert!(!expression.matches("a".repeat(50_000).as_bytes()));
}

#[test]
fn headers_that_are_missing_or_inverted_follow_the_contract() {
    let mut headers = HeaderMap::new();
    headers.append("x-a", HeaderValue::from_static("1"));
    headers.append("x-a", HeaderValue::from_static("2"));
    headers.append("x-empty", HeaderValue::from_static(""));
    let request = RequestView {
        method: "GET",
        path: "/p",
        query: Some("q"),
        host: "web",
        is_tls: true,
        fields: &headers,
        random: 0,
    };
    let check = |name: &str, pattern: Pattern, invert, missing_as_empty, expected| {
        let name = name.to_owned();
        let condition =
            HeaderMatch { name, value: value(pattern, false), invert, missing_as_empty };
        let holds = HeaderCondition::new(&condition).unwrap().holds(&request);
        assert_eq!(holds, expected, "{condition:?}");
    };
    let exact = |text: &str| Pattern::Exact(text.to_owned());
    check("x-a", exact("1,2"), false, false, true);
    check("x-a", exact("1"), false, false, false);
    check("x-a", exact("1"), true, false, true);
    check("x-a", Pattern::Present, false, false, true);
    check("x-a", Pattern::Present, true, false, false);
    check("x-b", Pattern::Present, false, false, false);
    check("x-b", Pattern::Present, true, false, true);
    check("x-b", exact(""), false, false, false);
    check("x-b", exact(""), false, true, true);
    check("x-b", exact("1"), true, false, false);
    check("x-b", exact("1"), true, true, true);
    check("x-empty", exact(""), false, false, true);
    check("x-empty", Pattern::Present, false, false, true);
    check(":path", exact("/p?q"), false, false, true);
    check(":scheme", exact("https"), false, false, true);
    check(":method", exact("GET"), false, false, true);
    check("Host", exact("web"), false, false, true);
    assert!(FieldName::parse(":other").is_err());
    assert_eq!(FieldName::parse("X-A"), Ok(FieldName::Header(HeaderName::from_static("x-a"))));
    assert_eq!(FieldName::parse(":Authority"), Ok(FieldName::Pseudo(Pseudo::Authority)));
}

#[test]
fn query_parameters_are_taken_as_they_stand() {
    for (query, expected) in [
        ("a=1", Some("1")),
        ("b=2&a=1&a=3", Some("1")),
        ("a", Some("")),
        ("a=", Some("")),
        ("a=x=y", Some("x=y")),
        ("aa=1", None),
        ("%61=1", None),
        ("", None),
        ("&&", None),
    ] {
        assert_eq!(query_value(query, "a"), expected, "{query}");
    }
    let condition = QueryMatch { name: "a".to_owned(), value: value(Pattern::Present, false) };
    let condition = QueryCondition::new(&condition).unwrap();
    assert!(condition.holds(Some("a")) && !condition.holds(Some("b")) && !condition.holds(None));
}

#[test]
fn grpc_is_told_by_its_content_type() {
    for (content_type, expected) in [
        ("application/grpc", true),
        ("application/grpc+proto", true),
        ("application/grpc;charset=utf-8", true),
        ("application/grpc-web", false),
        ("application/json", false),
    ] {
        assert_eq!(is_grpc_content_type(content_type.as_bytes()), expected, "{content_type}");
    }
}
