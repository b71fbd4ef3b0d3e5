//! Entries from the JSON that clients write.

mod chains;
mod forms;
mod intentions;
mod rules;

use model::{Catalog, ConfigEntry, Object, Record, Revision};
use serde_json::{Value, json};

use super::*;

/// A catalog with these entries, written one after the other without asking whether they fit.
pub(crate) fn catalog(entries: &[Value]) -> Catalog {
    let mut catalog = Catalog::default();
    for (idx, entry) in entries.iter().enumerate() {
        let entry = read(entry).expect("it can be read");
        let operation = Object::Record(Record::ConfigEntry(entry)).put();
        let change = catalog.change_of(Revision(idx as u64 + 1), &[operation]);
        let (_, errors) = catalog.apply(&change);
        assert!(errors.is_empty(), "{errors:?}");
    }
    catalog
}

pub(crate) fn http(service: &str) -> Value {
    json!({"Kind": "service-defaults", "Name": service, "Protocol": "http"})
}

/// What is wrong with an entry, alone or among others.
pub(crate) fn verdict(entry: &Value, others: &[Value]) -> Result<(), String> {
    let entry = read(entry).map_err(|it| it.to_string())?;
    validate(&entry)?;
    let catalog = catalog(others);
    let overlay = Overlay::new(&catalog, &entry.kind, &entry.name, Some(&entry));
    check_graph(&overlay, &entry.kind, &entry.name)
}

pub(crate) fn body(entry: &Value) -> Value {
    read(entry).expect("it can be read").body
}

#[test]
fn entries_are_found_in_any_letter_case_and_what_is_asked_for_is_noted() {
    let catalog = catalog(&[http("Web"), http("db")]);
    assert_eq!(catalog.entry("service-defaults", "wEB").map(|it| it.name.as_str()), Some("Web"));
    let changed = read(&json!({"Kind": "service-defaults", "Name": "web"})).expect("valid");
    let overlay = Overlay::new(&catalog, "service-defaults", "web", Some(&changed));
    assert_eq!(protocol_of(&overlay, "Web"), "tcp");
    assert_eq!(protocol_of(&overlay, "db"), "http");
    assert_eq!(protocol_of(&overlay, "none"), "tcp");
    let key = |kind: &str, name: &str| ConfigEntry::key_of(kind, name);
    let asked = [
        key("proxy-defaults", "global"),
        key("service-defaults", "db"),
        key("service-defaults", "none"),
    ];
    assert_eq!(overlay.asked().into_iter().collect::<Vec<_>>(), asked);
}
