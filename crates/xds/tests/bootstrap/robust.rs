//! Nothing that a file holds makes the reader panic, and what it says of itself is bounded.

use std::path::Path;
use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Map, Value};

use crate::read;

/// The good files, and those of `corpus/`: inputs that once were, or might be, too much.
static FILES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut texts = Vec::new();
    for folder in ["tests/golden", "corpus"] {
        let mut paths: Vec<_> = std::fs::read_dir(root.join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|it| it == "yaml" || it == "json"))
            .collect();
        paths.sort();
        texts.extend(paths.iter().map(|path| std::fs::read_to_string(path).unwrap()));
    }
    assert!(texts.len() > 10, "the files are there");
    texts
});

/// Those of the files that can be parsed.
static TREES: LazyLock<Vec<Value>> =
    LazyLock::new(|| FILES.iter().filter_map(|text| serde_saphyr::from_str(text).ok()).collect());

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z0-9.:*/-]{0,12}".prop_map(Value::from),
        Just(Value::from("type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault")),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key(), inner), 0..4)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Fields of Envoy, so that readers are reached.
fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("@type".to_owned()),
        "[a-z_]{1,8}",
        prop::sample::select(vec![
            "static_resources",
            "clusters",
            "listeners",
            "name",
            "typed_config",
            "route",
            "match",
            "value",
            "default_value",
            "filters",
            "filter_chains",
            "load_assignment",
            "address",
        ])
        .prop_map(str::to_owned),
    ]
}

/// Puts `value` in the place of the `nth` value of a tree, counted in depth.
fn replace_nth(tree: &mut Value, nth: &mut usize, value: &Value) {
    if *nth == 0 {
        tree.clone_from(value);
    }
    *nth = nth.wrapping_sub(1);
    match tree {
        Value::Array(items) => items.iter_mut().for_each(|it| replace_nth(it, nth, value)),
        Value::Object(map) => map.values_mut().for_each(|it| replace_nth(it, nth, value)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn every_file_of_the_corpus_is_read_or_refused() {
    for text in FILES.iter() {
        let _ = read(text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_is_read_or_refused(value in values()) {
        let _ = read(&value.to_string());
    }

    #[test]
    fn a_good_file_with_any_value_in_any_place_is_read_or_refused(
        file in 0_usize..100,
        place in 0_usize..600,
        value in values(),
    ) {
        let mut tree = TREES[file % TREES.len()].clone();
        replace_nth(&mut tree, &mut place.clone(), &value);
        let _ = read(&tree.to_string());
    }

    #[test]
    fn a_good_file_with_bytes_changed_is_read_or_refused(
        file in 0_usize..100,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = FILES[file % FILES.len()].clone().into_bytes();
        for (index, byte) in changes {
            let place = index.index(bytes.len());
            bytes[place] = byte;
        }
        let _ = read(&String::from_utf8_lossy(&bytes));
    }
}
