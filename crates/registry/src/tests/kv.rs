//! Keys and values: conditions, and any sequence of writes against a map.

use std::collections::BTreeMap;

use model::{Catalog, KvEntry, Revision, Timestamp};
use proptest::prelude::*;

use super::run;
use crate::{Command, KvCondition, KvOperation, Rejection, TxnObject, TxnOperation, decide};

fn entry(key: &str, value: &str) -> KvEntry {
    KvEntry { key: key.into(), value: value.as_bytes().into(), ..KvEntry::default() }
}

fn set(key: &str, value: &str, when: KvCondition) -> Command {
    Command::SetKv { entry: entry(key, value), when }
}

fn modified(catalog: &Catalog, key: &str) -> u64 {
    catalog.kv(&key.into()).map_or(0, |it| it.modified.0)
}

fn at(index: u64) -> KvCondition {
    KvCondition::ModifiedAt(Revision(index))
}

#[test]
fn a_condition_holds_at_the_index_of_the_last_change_only() {
    let mut catalog = Catalog::default();
    let stale = |act: &'static str| Err(Rejection::KvIndexStale { act, key: "a".into() });
    assert_eq!(run(&mut catalog, &set("a", "1", at(7)), 0).map(|_| ()), stale("set"));
    run(&mut catalog, &set("a", "1", at(0)), 0).unwrap();
    assert_eq!(run(&mut catalog, &set("a", "2", at(0)), 0).map(|_| ()), stale("set"));
    let index = modified(&catalog, "a");
    run(&mut catalog, &set("a", "2", at(index)), 0).unwrap();
    let delete = |when| Command::DeleteKv { key: "a".into(), when };
    assert_eq!(run(&mut catalog, &delete(at(index)), 0).map(|_| ()), stale("delete"));
    assert_eq!(run(&mut catalog, &delete(at(0)), 0).map(|_| ()), stale("delete"));
    let index = modified(&catalog, "a");
    run(&mut catalog, &delete(at(index)), 0).unwrap();
    assert_eq!(catalog.kv_count(), 0);
    // What is not there is deleted already, whatever is expected of it.
    assert_eq!(run(&mut catalog, &delete(at(9)), 0), Ok(None));
}

#[test]
fn the_same_value_is_no_change_and_other_flags_are_one() {
    let mut catalog = Catalog::default();
    run(&mut catalog, &set("a", "1", KvCondition::Always), 0).unwrap();
    assert_eq!(run(&mut catalog, &set("a", "1", KvCondition::Always), 0), Ok(None));
    let flagged = Command::SetKv {
        entry: KvEntry { flags: 1, ..entry("a", "1") },
        when: KvCondition::Always,
    };
    assert!(run(&mut catalog, &flagged, 0).unwrap().is_some());
}

#[test]
fn the_index_of_a_prefix_never_goes_back() {
    let mut catalog = Catalog::default();
    let always = || KvCondition::Always;
    for key in ["a/1", "a/2", "b"] {
        run(&mut catalog, &set(key, "", always()), 0).unwrap();
    }
    let index = |catalog: &Catalog, prefix: &str| catalog.kv_index_under(&prefix.into()).0;
    assert_eq!((index(&catalog, "a/"), index(&catalog, "b"), index(&catalog, "")), (2, 3, 3));
    // Nothing was ever there: all changes count.
    assert_eq!(index(&catalog, "c"), 3);
    let delete = |key: &str| Command::DeleteKv { key: key.into(), when: always() };
    run(&mut catalog, &delete("a/2"), 0).unwrap();
    assert_eq!((index(&catalog, "a/"), index(&catalog, "b"), index(&catalog, "")), (4, 3, 4));
    run(&mut catalog, &Command::DeleteKvUnder("a".into()), 0).unwrap();
    assert_eq!((index(&catalog, "a/"), index(&catalog, "b"), index(&catalog, "")), (5, 3, 5));
    run(&mut catalog, &set("a/3", "", always()), 0).unwrap();
    assert_eq!(index(&catalog, "a/"), 6);
}

#[derive(Clone, Debug)]
enum Write {
    Set(String, u8),
    Delete(String),
    DeleteUnder(String),
}

fn any_write() -> impl Strategy<Value = Write> {
    let key = || "[ab/\u{0}\u{e4}]{0,3}";
    prop_oneof![
        4 => (key(), 0..3u8).prop_map(|(key, value)| Write::Set(key, value)),
        2 => key().prop_map(Write::Delete),
        1 => key().prop_map(Write::DeleteUnder),
    ]
}

proptest! {
    #[test]
    fn writes_do_what_they_do_to_a_map(writes in prop::collection::vec(any_write(), 0..40)) {
        let (mut catalog, mut map) = (Catalog::default(), BTreeMap::<String, u8>::new());
        let always = || KvCondition::Always;
        for write in writes {
            let command = match &write {
                Write::Set(key, value) => set(key, &value.to_string(), always()),
                Write::Delete(key) => Command::DeleteKv { key: key.as_str().into(), when: always() },
                Write::DeleteUnder(prefix) => Command::DeleteKvUnder(prefix.as_str().into()),
            };
            run(&mut catalog, &command, 0).unwrap();
            match write {
                Write::Set(key, value) => {
                    map.insert(key, value);
                }
                Write::Delete(key) => {
                    map.remove(&key);
                }
                Write::DeleteUnder(prefix) => map.retain(|key, _| !key.starts_with(&prefix)),
            }
            let kept: Vec<(String, Vec<u8>)> = catalog
                .kv_under(&"".into())
                .map(|it| (it.key.to_string(), it.value.value.to_vec()))
                .collect();
            let expected: Vec<(String, Vec<u8>)> =
                map.iter().map(|(key, value)| (key.clone(), value.to_string().into_bytes())).collect();
            prop_assert_eq!(kept, expected);
        }
    }
}

fn txn(operations: Vec<KvOperation>) -> Command {
    Command::Transact(operations.into_iter().map(TxnOperation::Kv).collect())
}

fn put(key: &str, value: &str) -> KvOperation {
    KvOperation::Set { entry: entry(key, value), when: KvCondition::Always }
}

#[test]
fn operations_of_a_transaction_see_those_before_them() {
    let mut catalog = Catalog::default();
    run(&mut catalog, &set("a", "old", KvCondition::Always), 0).unwrap();
    let operations = vec![
        KvOperation::Get("a".into()),
        put("a", "new"),
        KvOperation::Get("a".into()),
        put("b", "1"),
        KvOperation::GetUnder("".into()),
        KvOperation::Delete { key: "b".into(), when: KvCondition::Always },
        KvOperation::CheckNotExists("b".into()),
        KvOperation::GetOrEmpty("b".into()),
    ];
    let decision = decide(&catalog, &txn(operations.clone()), Timestamp(0)).unwrap();
    let read: Vec<(String, String, Option<u64>)> = decision
        .read
        .iter()
        .map(|it| {
            let TxnObject::Kv(entry) = &it.object else { panic!("{it:?}") };
            let value = String::from_utf8_lossy(&entry.value).into_owned();
            (entry.key.to_string(), value, it.modified.map(|it| it.0))
        })
        .collect();
    let row = |key: &str, value: &str, modified| (key.to_owned(), value.to_owned(), modified);
    let expected = [
        row("a", "old", Some(1)),
        row("a", "", None),
        row("a", "new", None),
        row("b", "", None),
        row("a", "new", None),
        row("b", "1", None),
        row("b", "", Some(0)),
    ];
    assert_eq!(read, expected);
    run(&mut catalog, &txn(operations), 0).unwrap();
    assert_eq!(catalog.kv_count(), 1);
}

#[test]
fn a_transaction_is_done_whole_or_says_all_that_cannot_be_done() {
    let mut catalog = Catalog::default();
    let command = txn(vec![
        put("a", "1"),
        KvOperation::Get("none".into()),
        put("b", "1"),
        KvOperation::CheckNotExists("a".into()),
    ]);
    let refused = run(&mut catalog, &command, 0).unwrap_err();
    let missing = Rejection::KvMissing("none".into());
    let exists = Rejection::KvExists("a".into());
    assert_eq!(refused, Rejection::Transaction(vec![(1, missing), (3, exists)]));
    assert_eq!(catalog.kv_count(), 0);
}
