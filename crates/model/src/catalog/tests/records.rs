//! Tables of records in a catalog: over restarts, side by side, with any name.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{ConfigEntry, Coordinate, Event, PreparedQuery, Setting, Tabled};

/// One record of each table.
fn one_of_each(name: &str) -> Vec<Record> {
    let entry = ConfigEntry {
        kind: "service-defaults".into(),
        name: name.into(),
        body: json!({"Protocol": "http"}),
    };
    let query = PreparedQuery { id: name.into(), name: "q".into(), ..PreparedQuery::default() };
    let event = Event { time: 7, name: name.into(), payload: vec![0, 255], ..Event::default() };
    let coordinate = Coordinate {
        node: name.into(),
        segment: name.into(),
        vec: vec![0.25, -1e-3],
        error: 1.5,
        ..Coordinate::default()
    };
    let records = vec![
        entry.into_record(),
        Setting { name: name.into(), body: json!([1, null, {"a": "b"}]) }.into_record(),
        event.into_record(),
        query.into_record(),
        coordinate.into_record(),
    ];
    let tables: BTreeSet<Table> = records.iter().map(|it| it.key().table).collect();
    assert!(tables.len() == records.len(), "each of another table");
    records
}

fn change(revision: u64, put: &[Record], delete: &[RecordKey]) -> Change {
    let puts = put.iter().map(|it| {
        let Operation::Put { key, value, .. } = Object::Record(it.clone()).put() else {
            unreachable!("a put is a put")
        };
        KeyChange::Put { key, value, created: Revision(revision) }
    });
    let deletes =
        delete.iter().map(|it| KeyChange::Delete { key: ObjectKey::Record(it.clone()).encode() });
    Change { revision: Revision(revision), keys: puts.chain(deletes).collect() }
}

/// What a store lists of records that were made at one revision.
fn entries(records: &[Record], at: u64) -> Vec<Entry> {
    let entry = |it: &Record| {
        let Operation::Put { key, value, .. } = Object::Record(it.clone()).put() else {
            unreachable!("a put is a put")
        };
        Entry { key, value, created: Revision(at), modified: Revision(at) }
    };
    records.iter().map(entry).collect()
}

#[test]
fn records_survive_a_restart_and_no_index_goes_back() {
    let records = one_of_each("a");
    let mut lived = Catalog::default();
    lived.apply(&change(3, &records, &[]));
    let gone = Setting { name: "gone".into(), body: json!(1) }.into_record();
    lived.apply(&change(4, std::slice::from_ref(&gone), &[]));
    lived.apply(&change(9, &[], &[gone.key()]));
    let (read, errors) = Catalog::from_entries(Revision(9), entries(&records, 3));
    assert!(errors.is_empty());
    for record in &records {
        let key = record.key();
        let stored = read.record_at(&key).unwrap();
        assert_eq!(Some(stored), lived.record_at(&key), "{key}");
        assert_eq!((&stored.value, stored.modified), (record, Revision(3)));
        assert_eq!(read.revisions_of(&ObjectKey::Record(key)), Some((Revision(3), Revision(3))));
    }
    assert_eq!(read.records::<Setting>().count(), 1);
    for table in Table::ALL {
        assert!(read.table_index(*table) >= lived.table_index(*table), "{table:?}");
    }
}

#[test]
fn the_index_of_a_table_moves_with_its_records_alone() {
    let mut catalog = Catalog::default();
    let records = one_of_each("a");
    let mut last = [0_u64; Table::ALL.len()];
    for (record, at) in records.iter().zip(1..) {
        let (touched, _) = catalog.apply(&change(at, std::slice::from_ref(record), &[]));
        let table = record.key().table;
        assert_eq!(touched, BTreeSet::from([WatchKey::Table(table)]));
        last[table as usize] = at;
        for table in Table::ALL {
            assert_eq!(catalog.table_index(*table).0, last[*table as usize], "{table:?}");
        }
    }
    let key = records[0].key();
    let (touched, _) = catalog.apply(&change(20, &[], &[key.clone(), key.clone()]));
    assert_eq!(touched, BTreeSet::from([WatchKey::Table(key.table)]));
    assert_eq!(catalog.table_index(key.table).0, 20);
    // What is not there does not go once more.
    let (touched, _) = catalog.apply(&change(21, &[], std::slice::from_ref(&key)));
    assert!(touched.is_empty());
    assert_eq!(catalog.table_index(key.table).0, 20);
    // Nodes and the like have indexes of their own.
    assert_eq!((catalog.nodes_index().0, catalog.kv_index().0), (0, 0));
}

#[test]
fn a_record_that_is_written_again_keeps_when_it_was_made() {
    let mut catalog = Catalog::default();
    let of = |body: u8| Setting { name: "s".into(), body: json!(body) }.into_record();
    catalog.apply(&change(1, &[of(1)], &[]));
    let Operation::Put { key, value, .. } = Object::Record(of(2)).put() else { unreachable!() };
    let put = KeyChange::Put { key, value, created: Revision(1) };
    catalog.apply(&Change { revision: Revision(5), keys: vec![put] });
    let found = catalog.record::<Setting>("s").unwrap();
    assert_eq!((found.created.0, found.modified.0, &found.body), (1, 5, &json!(2)));
}

#[test]
fn what_is_under_a_name_is_listed_in_order_and_of_no_other_table() {
    let mut catalog = Catalog::default();
    let names = ["b", "a", "ab", "a\0b", "", "é"];
    for (name, at) in names.iter().zip(1..) {
        catalog.apply(&change(at, &one_of_each(name), &[]));
    }
    let listed = |prefix: &str| -> Vec<String> {
        catalog.records_under::<Setting>(prefix).map(|it| it.name.clone()).collect()
    };
    assert_eq!(listed(""), ["", "a", "a\0b", "ab", "b", "é"]);
    assert_eq!(listed("a"), ["a", "a\0b", "ab"]);
    assert_eq!(listed("a\0"), ["a\0b"]);
    assert_eq!(listed("c"), Vec::<String>::new());
    assert_eq!(catalog.records::<Event>().count(), 1, "the same place in the order");
}

#[test]
fn a_record_of_an_unknown_table_is_left_out_and_told() {
    let value: Arc<[u8]> = b"{}".as_slice().into();
    let entry = |key: &str| Entry {
        key: key.into(),
        value: value.clone(),
        created: Revision(1),
        modified: Revision(1),
    };
    let keys = ["record\0later\0x", "record\0", "record", "record\0query"];
    let (catalog, errors) = Catalog::from_entries(Revision(1), keys.map(entry));
    assert_eq!((errors.len(), catalog.records::<PreparedQuery>().count()), (4, 0));
    let broken = Entry { value: b"[".as_slice().into(), ..entry("record\0query\0x") };
    let (_, errors) = Catalog::from_entries(Revision(1), [broken]);
    assert_eq!(errors[0].to_string(), "value of key record/query/x cannot be read");
}

#[test]
fn a_record_of_a_later_version_keeps_what_this_one_knows() {
    let value = br#"{"id":"x","name":"q","later":{"a":1},"service":{"service":"web","more":2}}"#;
    let read = Object::decode("record\0query\0x", value).unwrap();
    let Object::Record(Record::PreparedQuery(query)) = read else { panic!("it is a query") };
    assert_eq!((query.name.as_str(), query.service.service.as_str()), ("q", "web"));
}

proptest! {
    #[test]
    fn any_name_is_found_again(name in any::<String>()) {
        for record in one_of_each(&name) {
            let object = Object::Record(record.clone());
            let encoded = object.key().encode();
            prop_assert_eq!(ObjectKey::decode(&encoded), Some(object.key()));
            let mut catalog = Catalog::default();
            catalog.apply(&change(1, std::slice::from_ref(&record), &[]));
            let key = record.key();
            prop_assert_eq!(&catalog.record_at(&key).unwrap().value, &record);
            catalog.apply(&change(2, &[], std::slice::from_ref(&key)));
            prop_assert!(catalog.record_at(&key).is_none());
        }
    }
}
