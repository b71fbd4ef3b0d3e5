//! Values and errors from tables in files, bounds, shapes; `robustness` does harm to the corpus.

mod robustness;

use serde_json::{Map, Value, json};

use super::*;

const VALUES: &str = include_str!("../corpus/values.txt");
const ERRORS: &str = include_str!("../corpus/errors.txt");

macro_rules! documents {
    ($($name:literal),* $(,)?) => {
        &[$((
            $name,
            include_bytes!(concat!("../corpus/documents/", $name)),
            include_str!(concat!("../corpus/documents/", $name, ".value")),
        )),*]
    };
}

/// Name, text, expected value.
const DOCUMENTS: &[(&str, &[u8], &str)] = documents! {
    "agent.hcl",
    "agent.json",
    "config_entry.hcl",
    "heredocs.hcl",
    "rules.hcl",
    "windows.hcl",
};

/// The cases of a table: `=== name`, the text, `---`, what is expected of it in one line.
fn cases(table: &str) -> Vec<(&str, &str, &str)> {
    let cases: Vec<_> = table
        .split("=== ")
        .skip(1)
        .map(|case| {
            let (name, rest) = case.split_once('\n').unwrap();
            let (text, expected) = rest.split_once("---\n").unwrap();
            (name, text.strip_suffix('\n').unwrap_or(text), expected.trim_end())
        })
        .collect();
    assert!(cases.len() > 20, "the table has been read");
    cases
}

#[test]
fn texts_become_the_values_of_the_table() {
    for (name, text, expected) in cases(VALUES) {
        let value = parse(text.as_bytes()).unwrap_or_else(|it| panic!("{name}: {it}"));
        assert_eq!(value.to_string(), expected, "{name}");
    }
}

#[test]
fn errors_say_where_and_what_as_in_the_table() {
    for (name, text, expected) in cases(ERRORS) {
        match parse(text.as_bytes()) {
            Ok(value) => panic!("{name}: {value}"),
            Err(error) => assert_eq!(error.to_string(), expected, "{name}"),
        }
    }
}

#[test]
fn whole_documents_become_their_values() {
    for (name, text, expected) in DOCUMENTS {
        let value = parse(text).unwrap_or_else(|it| panic!("{name}: {it}"));
        let expected: Value = serde_json::from_str(expected).unwrap();
        assert_eq!(value, expected, "{name}: {value:#}");
    }
}

#[test]
fn json_reads_as_another_reader_reads_it() {
    let (_, text, _) = DOCUMENTS.iter().find(|it| it.0 == "agent.json").unwrap();
    let expected: Value = serde_json::from_slice(text).unwrap();
    assert_eq!(parse_json(text).unwrap().to_string(), expected.to_string());
}

#[test]
fn bytes_that_are_no_text_are_named() {
    for (bytes, expected) in [
        (
            &b"a = 1\nb = \"\xFF\""[..],
            "2:6: expected text in UTF-8, found the byte 0xFF, which is not UTF-8",
        ),
        (b"a = 1 # \xC3", "1:9: expected text in UTF-8, found the byte 0xC3, which is not UTF-8"),
        (b"a = \"\0\"", "1:6: expected text, found a zero byte"),
        (b"a = \x07", "1:5: expected a value, found the control character U+0007"),
    ] {
        assert_eq!(parse(bytes).unwrap_err().to_string(), expected);
    }
}

#[test]
fn a_text_may_be_as_long_as_the_bound_and_no_longer() {
    let mut text = vec![b' '; INPUT_BYTES_MAX];
    assert_eq!(parse(&text), Ok(json!({})));
    text.push(b' ');
    let error = parse(&text).unwrap_err();
    assert_eq!(error.to_string(), "1:1: expected at most 4194304 bytes, found 4194305 bytes");
}

#[test]
fn nesting_is_bounded_in_every_form() {
    let forms: [(&str, &str, &str); 5] = [
        ("a {", "", "}"),
        ("a = {", "", "}"),
        ("[", "", "]"),
        ("\"b\" ", "{}", ""),
        ("{\"a\":", "1", "}"),
    ];
    for (open, middle, close) in forms {
        let nested = |count: usize| {
            let before = match open {
                "[" => "a = ",
                "\"b\" " => "a ",
                _ => "",
            };
            format!("{before}{}{middle}{}", open.repeat(count), close.repeat(count))
        };
        // The object behind labels is a level too.
        let most = if middle == "{}" { DEPTH_MAX - 1 } else { DEPTH_MAX };
        parse(nested(most).as_bytes()).unwrap();
        for count in [most + 1, 100_000] {
            let error = parse(nested(count).as_bytes()).unwrap_err();
            assert_eq!(error.expected, "objects, lists and labels at most 100 deep", "{open}");
        }
    }
}

#[test]
fn what_stands_side_by_side_is_not_nested() {
    for item in ["a \"b\" c {}\n", "a = [[1]]\n", "a { b { c = [{}] } }\n"] {
        parse(item.repeat(10 * DEPTH_MAX).as_bytes()).unwrap_or_else(|it| panic!("{item}: {it}"));
    }
    let json = format!("{{\"a\": [{}{{}}]}}", "{}, [[]], ".repeat(10 * DEPTH_MAX));
    parse(json.as_bytes()).unwrap();
}

fn object(text: &str) -> Map<String, Value> {
    match parse(text.as_bytes()).unwrap() {
        Value::Object(object) => object,
        other => panic!("{other}"),
    }
}

#[test]
fn blocks_are_found_alike_in_every_form() {
    for text in [
        r#"service "web" { port = 1 } service "db" { port = 2 } service "web" { port = 3 }"#,
        r#"service { web { port = 1 } } service { db { port = 2 } web { port = 3 } }"#,
        r#"service = { web = { port = 1 } db = { port = 2 } } service "web" { port = 3 }"#,
        r#"{"service": [{"web": {"port": 1}}, {"db": [{"port": 2}], "web": {"port": 3}}]}"#,
    ] {
        let root = object(text);
        let found: Vec<_> = blocks(&root, "service", 1)
            .unwrap()
            .into_iter()
            .map(|it| (it.labels[0], it.body["port"].as_i64().unwrap()))
            .collect();
        assert_eq!(found, [("web", 1), ("db", 2), ("web", 3)], "{text}");
    }
    let root = object(r#"{"service": {"web": {"port": 1}, "db": {"port": 2}}}"#);
    assert_eq!(blocks(&root, "service", 1).unwrap().len(), 2);
    assert_eq!(blocks(&root, "service", 0).unwrap().len(), 1);
    assert_eq!(blocks(&root, "check", 1).unwrap(), []);
}

#[test]
fn what_is_no_block_is_named_with_its_path() {
    for (text, labels, expected) in [
        ("service = \"web\"", 0, "service: expected an object, found a string"),
        ("service \"web\" { port = 1 }", 2, "service.web.port: expected an object, found a number"),
        ("service = [1]", 1, "service: expected an object, found a number"),
        (r#"{"service": {"web": null}}"#, 1, "service.web: expected an object, found null"),
    ] {
        let error = blocks(&object(text), "service", labels).unwrap_err();
        assert_eq!(error.to_string(), expected, "{text}");
    }
}

#[test]
fn flattening_makes_objects_and_keeps_the_lists_that_are_asked_for() {
    let wanted = |path: &[&str]| match path {
        ["services"] | ["services", "checks"] => Repeated::Listed,
        _ => Repeated::Merged,
    };
    for (text, expected) in [
        ("ports { http = 1 } ports { dns = 2 }", json!({"ports": {"http": 1, "dns": 2}})),
        ("ports { http = 1 } ports { http = 2 }", json!({"ports": {"http": 2}})),
        ("a { b { c = 1 } } a { b { d = 2 } }", json!({"a": {"b": {"c": 1, "d": 2}}})),
        ("a { t = [1] } a { t = [2, 3] }", json!({"a": {"t": [1, 2, 3]}})),
        ("a { t = [1] } a { t = 2 }", json!({"a": {"t": [1, 2]}})),
        ("a = [] b = [[1], {c {}}]", json!({"a": [], "b": [[1], {"c": {}}]})),
        (
            "services { name = \"a\" checks { id = 1 } meta { k = \"v\" } }",
            json!({"services": [{"name": "a", "checks": [{"id": 1}], "meta": {"k": "v"}}]}),
        ),
        (
            "services = [{ name = \"a\" }, { name = \"b\" checks = [{id = 1}, {id = 2}] }]",
            json!({"services": [{"name": "a"}, {"name": "b", "checks": [{"id": 1}, {"id": 2}]}]}),
        ),
        (
            r#"{"services": {"name": "a", "checks": {"id": 1}}, "ports": {"http": 1}}"#,
            json!({"services": [{"name": "a", "checks": [{"id": 1}]}], "ports": {"http": 1}}),
        ),
    ] {
        let value = parse(text.as_bytes()).unwrap();
        assert_eq!(flatten(&value, wanted), expected, "{text}");
    }
}
