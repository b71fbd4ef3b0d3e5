//! Files of the corpus, as users write them and as nobody should: what is made of them is read or refused, and ends.

use proptest::prelude::*;

use super::robustness::take;
use super::*;

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../corpus/", $name)))),*]
    };
}

/// Those whose names begin with `good` are read.
const FILES: &[(&str, &str)] = files! {
    "bad_keys.json",
    "bad_sorts.json",
    "good_dev.json",
    "good_everything.json",
    "good_from_hcl.json",
    "good_letter_case.json",
    "good_server.json",
    "good_services.json",
    "good_test_server.json",
};

/// Bytes that mean something in JSON, or in a setting.
const TELLING: &[u8] = b"{}[]\",:\\0-9.eE tfn:/\xc3\xff";

fn value_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// Reads what is still JSON.
fn take_bytes(bytes: &[u8]) {
    if let Ok(value) = serde_json::from_slice::<Value>(bytes) {
        take(&[value]);
    }
}

#[test]
fn files_of_the_corpus_are_read_or_refused_as_their_names_say() {
    for (name, text) in FILES {
        let value = value_of(text);
        let source = Source { name: (*name).into(), value: value.clone() };
        let merged = merge(&[source]).unwrap();
        match read(&merged) {
            Ok(_) => assert!(name.starts_with("good"), "{name} is read"),
            Err(findings) => {
                assert!(name.starts_with("bad"), "{name}: {findings:?}");
                // Each setting of it is wrong.
                assert!(findings.len() >= value.as_object().unwrap().len(), "{name}: {findings:?}");
            }
        }
        take(&[value]);
    }
}

#[test]
fn any_two_files_of_the_corpus_are_merged() {
    for (_, first) in FILES {
        for (_, second) in FILES {
            take(&[value_of(first), value_of(second), json!({})]);
        }
    }
}

#[test]
fn every_byte_of_a_file_may_be_another() {
    for (_, text) in FILES {
        for at in 0..text.len() {
            let mut bytes = text.as_bytes().to_vec();
            // Each place gets some of the telling bytes, so that all come everywhere and the test ends soon.
            for telling in TELLING.iter().skip(at % 8).step_by(8) {
                bytes[at] = *telling;
                take_bytes(&bytes);
            }
            bytes.remove(at);
            take_bytes(&bytes);
        }
    }
}

/// All places of a value, as JSON pointers.
fn places(value: &Value) -> Vec<String> {
    let mut found = vec![String::new()];
    let mut below = |name: &str, value: &Value| {
        let name = name.replace('~', "~0").replace('/', "~1");
        found.extend(places(value).into_iter().map(|rest| format!("/{name}{rest}")));
    };
    match value {
        Value::Object(object) => object.iter().for_each(|(name, value)| below(name, value)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, value)| below(&at.to_string(), value));
        }
        _ => {}
    }
    found
}

#[test]
fn every_setting_may_be_of_any_sort() {
    let sorts = [
        Value::Null,
        json!(true),
        json!(-1),
        json!(1e300),
        json!(""),
        json!("x"),
        json!([]),
        json!([{}]),
        json!([[]]),
        json!({}),
        json!({"x": {"x": []}}),
        json!(u64::MAX),
    ];
    for (_, text) in FILES {
        let value = value_of(text);
        for (at, place) in places(&value).iter().enumerate() {
            // Each place gets some of the sorts, so that all come everywhere and the test ends soon.
            for sort in sorts.iter().skip(at % 3).step_by(3) {
                let mut changed = value.clone();
                *changed.pointer_mut(place).unwrap() = sort.clone();
                take(&[changed]);
            }
        }
    }
}

proptest! {
    /// Parts of one file in the places of parts of another.
    #[test]
    fn what_chance_makes_of_the_corpus_is_read_or_refused(
        which in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        moves in prop::collection::vec(
            (any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..5),
    ) {
        let (mut value, other) = (value_of(which.0.get(FILES).1), value_of(which.1.get(FILES).1));
        let from_all = places(&other);
        for (to, from) in moves {
            let to_all = places(&value);
            let part = other.pointer(from.get(&from_all).as_str()).unwrap().clone();
            *value.pointer_mut(to.get(&to_all).as_str()).unwrap() = part;
        }
        take(&[value]);
    }
}
