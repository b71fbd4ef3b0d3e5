use http::{HeaderName, HeaderValue};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    lines.iter().map(|(name, value)| (*name, FieldValue::from_static(value))).collect()
}

fn written(map: &HeaderMap, left_out: &[&str]) -> String {
    let mut out = BytesMut::new();
    map.write_to(&mut out, left_out);
    String::from_utf8(out.to_vec()).unwrap()
}

#[test]
fn lines_are_found_by_their_names_and_written_in_their_order() {
    let mut headers = map(&[("accept", "*/*"), ("x-a", "1"), ("cookie", "a=1"), ("x-a", "2")]);
    assert_eq!(headers.get("x-a").unwrap(), "1");
    assert_eq!(headers.get_all("x-a").map(FieldValue::as_bytes).collect::<Vec<_>>(), [b"1", b"2"]);
    assert!(!headers.contains_key("x-b") && headers.get("").is_none());
    headers.insert("cookie", FieldValue::from_static("longer"));
    headers.insert("x-a", FieldValue::from_static("3"));
    headers.append("via", FieldValue::from_static("1.1 a"));
    assert_eq!(written(&headers, &[]), "accept: */*\r\nx-a: 3\r\ncookie: longer\r\nvia: 1.1 a\r\n");
    assert_eq!(
        written(&headers, &["x-a", "none"]),
        "accept: */*\r\ncookie: longer\r\nvia: 1.1 a\r\n"
    );
    assert!(headers.remove("accept") && !headers.remove("accept"));
    assert_eq!(headers, map(&[("via", "1.1 a"), ("cookie", "longer"), ("x-a", "3")]));
}

#[test]
fn lines_that_are_read_are_spelled_as_usual() {
    let block = b"Sec-Fetch-Mode: navigate\r\nX-A:1\r\nx-b:  2\t\r\nX-C:\r\nx-d: \r\nx-e:\t5\r\n";
    let mut headers = HeaderMap::new();
    let mut reading = headers.read();
    let mut at = 0;
    for line in block.split_inclusive(|it| *it == b'\n') {
        let colon = line.iter().position(|it| *it == b':').unwrap();
        let value = line[colon + 1..].trim_ascii();
        let skipped = line[colon + 1..].iter().take_while(|it| matches!(it, b' ' | b'\t')).count();
        let start = at + colon + 1 + if value.is_empty() { 0 } else { skipped };
        let is_plain = line[colon + 1..] == *format!(" {}\r\n", value.escape_ascii()).as_bytes();
        let [at32, name_bytes, start, value_bytes] =
            [at, colon, start, value.len()].map(|it| it as u32);
        reading.push(&LineRead { at: at32, name_bytes, value: start, value_bytes, is_plain });
        at += line.len();
    }
    reading.finish(block);
    let expected = "sec-fetch-mode: navigate\r\nx-a: 1\r\nx-b: 2\r\nx-c: \r\nx-d: \r\nx-e: 5\r\n";
    assert_eq!(written(&headers, &[]), expected);
    assert_eq!(headers.get("sec-fetch-mode").unwrap(), "navigate");
    assert!(headers.get("Sec-Fetch-Mode").is_none());
}

#[test]
fn there_is_an_end_to_the_lines() {
    let mut headers = HeaderMap::new();
    for _ in 0..LINES_MAX {
        headers.try_append("a", FieldValue::from_static("")).unwrap();
    }
    assert_eq!(headers.try_append("a", FieldValue::from_static("")), Err(TooManyHeaders));
    headers.append("a", FieldValue::from_static(""));
    assert_eq!(headers.len(), LINES_MAX);
    // What is there is replaced all the same.
    headers.insert("a", FieldValue::from_static("longer"));
    assert_eq!((headers.len(), headers.get("a").unwrap().as_bytes()), (1, &b"longer"[..]));
}

#[derive(Clone, Debug)]
enum Act {
    Append(usize, String),
    Insert(usize, String),
    Remove(usize),
    Clear,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        (0..NAMES.len(), "[a-z]{0,3}").prop_map(|(name, value)| Act::Append(name, value)),
        (0..NAMES.len(), "[a-z]{0,3}").prop_map(|(name, value)| Act::Insert(name, value)),
        (0..NAMES.len()).prop_map(Act::Remove),
        Just(Act::Clear),
    ]
}

const NAMES: [&str; 5] = ["a", "b", "x-long-name", "content-length", "x-lonb-name"];

proptest! {
    #[test]
    fn names_become_lower_case_and_nothing_else_does(
        before in "[ -~]{0,9}",
        name in "[!#$%&'*+.^_`|~0-9A-Za-z-]{0,40}",
        after in "[ -~\u{80}-\u{ff}]{0,9}",
    ) {
        let mut text = format!("{before}{name}{after}").into_bytes();
        make_lower(&mut text, before.len()..before.len() + name.len());
        let expected = format!("{before}{}{after}", name.to_ascii_lowercase());
        prop_assert_eq!(text, expected.into_bytes());
    }

    /// What is read, changed and written is what a list of lines becomes by the same changes.
    #[test]
    fn what_is_read_and_changed_is_written_so(
        read in vec((0..NAMES.len(), "[ \t]{0,2}", "([!-~]([ -~]{0,9}[!-~])?)?", "[ \t]{0,2}"), 0..8),
        acts in vec(act(), 0..6),
        left_out in 0..NAMES.len(),
    ) {
        let block: String = read.iter()
            .map(|(name, before, value, after)| format!("{}:{before}{value}{after}\r\n", NAMES[*name].to_ascii_uppercase()))
            .collect();
        let mut ours = HeaderMap::new();
        let head = format!("{block}\r\n");
        crate::http1::read_lines(head.as_bytes(), &mut ours).unwrap();
        let mut theirs: Vec<(usize, String)> =
            read.into_iter().map(|(name, _, value, _)| (name, value)).collect();
        for act in acts {
            match act {
                Act::Append(name, value) => {
                    ours.append(NAMES[name], FieldValue::new(value.as_bytes()).unwrap());
                    theirs.push((name, value));
                }
                Act::Insert(name, value) => {
                    ours.insert(NAMES[name], FieldValue::new(value.as_bytes()).unwrap());
                    match theirs.iter().position(|it| it.0 == name) {
                        Some(at) => {
                            theirs[at].1 = value;
                            let mut place = 0;
                            theirs.retain(|it| {
                                place += 1;
                                it.0 != name || place == at + 1
                            });
                        }
                        None => theirs.push((name, value)),
                    }
                }
                Act::Remove(name) => {
                    ours.retain(|it| it.as_str() != NAMES[name]);
                    theirs.retain(|it| it.0 != name);
                }
                Act::Clear => {}
            }
        }
        let expected: String = theirs.iter()
            .filter(|it| it.0 != left_out)
            .map(|(name, value)| format!("{}: {value}\r\n", NAMES[*name]))
            .collect();
        prop_assert_eq!(written(&ours, &[NAMES[left_out], "none"]), expected);
    }

    /// Against the map of the `http` crate, whatever is done to both.
    #[test]
    fn it_does_what_another_map_does(acts in vec(act(), 0..30)) {
        let (mut ours, mut theirs) = (HeaderMap::new(), http::HeaderMap::new());
        for act in acts {
            match act {
                Act::Append(name, value) => {
                    let value = HeaderValue::from_str(&value).unwrap();
                    ours.append(NAMES[name], &value);
                    theirs.append(HeaderName::from_static(NAMES[name]), value);
                }
                Act::Insert(name, value) => {
                    let value = HeaderValue::from_str(&value).unwrap();
                    ours.insert(NAMES[name], &value);
                    theirs.insert(HeaderName::from_static(NAMES[name]), value);
                }
                Act::Remove(name) => {
                    prop_assert_eq!(ours.remove(NAMES[name]), theirs.remove(NAMES[name]).is_some());
                }
                Act::Clear => {
                    ours.clear();
                    theirs.clear();
                }
            }
            prop_assert_eq!(ours.len(), theirs.len());
            for name in NAMES {
                let ours: Vec<&[u8]> = ours.get_all(name).map(FieldValue::as_bytes).collect();
                let theirs: Vec<&[u8]> =
                    theirs.get_all(name).iter().map(HeaderValue::as_bytes).collect();
                prop_assert_eq!(ours, theirs);
            }
            let lines: String = ours.iter()
                .map(|(name, value)| format!("{name}: {}\r\n", value.to_str().unwrap()))
                .collect();
            prop_assert_eq!(written(&ours, &[]), lines);
        }
    }
}
