//! Nothing that is made of the corpus does harm: reading ends, without a panic, with a value or with an error inside the text.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// Bytes that mean something somewhere in HCL or JSON.
const TELLING: &[u8] = b"{}[]\"\\=,:<#/*$\n\r -.0xeEu\0\xEF\xFF";

fn corpus() -> Vec<(&'static str, &'static [u8])> {
    let documents = DOCUMENTS.iter().map(|(name, text, _)| (*name, *text));
    let tables = [VALUES, ERRORS].into_iter().flat_map(cases);
    documents.chain(tables.map(|(name, text, _)| (name, text.as_bytes()))).collect()
}

/// What holds of any bytes.
fn read(bytes: &[u8]) {
    let lines = 1 + bytes.iter().filter(|it| **it == b'\n').count();
    match parse(bytes) {
        Ok(value) => {
            let root = value.as_object().expect("the root is an object");
            for labels in 0..3 {
                for name in root.keys() {
                    let _ = blocks(root, name, labels);
                }
            }
            let flat = flatten(&value, |_| Repeated::Merged);
            assert_eq!(flatten(&flat, |_| Repeated::Merged), flat);
            // What is written as JSON reads as the same value.
            assert_eq!(parse_json(value.to_string().as_bytes()).as_ref(), Ok(&value));
        }
        Err(error) => {
            assert!((1..=lines).contains(&error.line), "{error}");
            assert!((1..=bytes.len() + 1).contains(&error.column), "{error}");
            assert!(!error.expected.is_empty() && error.found.len() < 200, "{error}");
        }
    }
    let _ = parse_json(bytes);
    let _ = parse_hcl(bytes);
}

#[test]
fn every_beginning_of_the_corpus_is_read_to_its_end() {
    for (_, text) in corpus() {
        for end in 0..=text.len() {
            read(&text[..end]);
        }
    }
}

#[test]
fn every_byte_of_the_corpus_may_be_another() {
    for (_, text) in corpus() {
        for at in 0..text.len() {
            let mut bytes = text.to_vec();
            // Each place gets some of the telling bytes, so that all come everywhere and the test ends soon.
            for telling in TELLING.iter().skip(at % 5).step_by(5) {
                bytes[at] = *telling;
                read(&bytes);
            }
            bytes.remove(at);
            read(&bytes);
        }
    }
}

proptest! {
    #[test]
    fn what_chance_makes_of_the_corpus_does_no_harm(
        files in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        cuts in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        changes in vec((any::<prop::sample::Index>(), prop_oneof![
            any::<u8>(),
            prop::sample::select(TELLING.to_vec()),
        ]), 0..8),
    ) {
        let corpus = corpus();
        let first = files.0.get(&corpus).1;
        let second = files.1.get(&corpus).1;
        let mut bytes = first[..cuts.0.index(first.len() + 1)].to_vec();
        bytes.extend_from_slice(&second[cuts.1.index(second.len() + 1)..]);
        for (at, byte) in changes {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        read(&bytes);
    }

    #[test]
    fn any_string_survives_quotes(text in any::<String>().prop_filter("no zero", |it| !it.contains('\0'))) {
        let quoted: String = text.chars().map(|it| format!("\\U{:08x}", u32::from(it))).collect();
        let value = parse(format!("a = \"{quoted}\"").as_bytes()).unwrap();
        prop_assert_eq!(&value["a"], &Value::String(text.clone()));
        let json = json!({"a": text}).to_string();
        prop_assert_eq!(&parse(json.as_bytes()).unwrap()["a"], &value["a"]);
    }
}
