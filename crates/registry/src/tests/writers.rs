//! Two writers that decide on the same catalog: one commits, and then the other does or has a conflict.

use config_entries::intentions::Change as IntentionChange;
use model::{Compare, ConfigEntry, Folded, Record, RecordKey, Table};
use proptest::prelude::*;
use serde_json::json;

use super::properties::any_command;
use super::records::{any_record_command, check_records, made_at};
use super::*;
use crate::RecordCondition;

/// What a store does with the compares of a transaction.
fn holds(catalog: &Catalog, compare: &Compare) -> bool {
    match compare {
        Compare::Key { key, modified } => {
            let key = ObjectKey::decode(key).expect("keys are of known kinds");
            let found = catalog.revisions_of(&key).map(|it| it.1);
            found.unwrap_or_default() == *modified
        }
        Compare::NothingAdded { prefix, since } => {
            let nodes = catalog.nodes().map(|it| (ObjectKey::Node(it.name.folded()), it.created));
            let instances = catalog
                .instances()
                .map(|it| (ObjectKey::Instance(it.node.folded(), it.id.clone()), it.created));
            let checks = catalog
                .checks()
                .map(|it| (ObjectKey::Check(it.node.folded(), it.id.clone()), it.created));
            let entries =
                catalog.kv_under(&"".into()).map(|it| (ObjectKey::Kv(it.key.clone()), it.created));
            let sessions = catalog
                .sessions()
                .map(|it| (ObjectKey::Session(it.node.folded(), it.id.clone()), it.created));
            let locks = catalog.locks().map(|(session, key, since)| {
                (ObjectKey::Lock(session.clone(), key.clone()), since)
            });
            let documents =
                catalog.documents().map(|it| (ObjectKey::Document(it.key.clone()), it.created));
            let nodes = nodes.chain(documents);
            let all =
                nodes.chain(instances).chain(checks).chain(entries).chain(sessions).chain(locks);
            all.chain(made_at(catalog))
                .all(|(key, created)| !key.encode().starts_with(prefix) || created <= *since)
        }
    }
}

/// Both decide on `catalog`, `first` commits first. True if the second is committed too.
pub(super) fn race(catalog: &Catalog, first: &Command, second: &Command) -> bool {
    let decide = |command| transact(catalog, command, Timestamp(9)).unwrap_or_default();
    let (first, second) = (decide(first), decide(second));
    let mut catalog = catalog.clone();
    commit(&mut catalog, &first);
    let is_free = second.compares.iter().all(|it| holds(&catalog, it));
    if is_free {
        commit(&mut catalog, &second);
    }
    check_records(&catalog);
    is_free
}

pub(super) fn base() -> Catalog {
    let mut catalog = agent_catalog();
    run(&mut catalog, &web("web1", &["c"]), 2).expect("valid");
    run(&mut catalog, &web("web2", &[]), 3).expect("valid");
    catalog
}

fn check_of(id: &str, instance: &str) -> Command {
    Command::RegisterCheck(Check { service_id: instance.into(), ..agent_check(id) })
}

#[test]
fn nothing_is_left_on_a_node_that_goes_while_it_comes() {
    let target = CatalogTarget::Node;
    let delete = Command::DeregisterFromCatalog { node: "n1".into(), target };
    for register in [web("web3", &[]), check_of("new", ""), check_of("new", "web1")] {
        assert!(!race(&base(), &register, &delete), "{register:?}");
        assert!(!race(&base(), &delete, &register), "{register:?}");
    }
}

#[test]
fn no_check_is_left_of_an_instance_that_goes_while_it_comes() {
    let delete = Command::DeregisterService { node: "n1".into(), id: "web2".into() };
    // The second takes a check from another instance, which adds no key.
    for register in [check_of("new", "web2"), check_of("c", "web2")] {
        assert!(!race(&base(), &register, &delete), "{register:?}");
        assert!(!race(&base(), &delete, &register), "{register:?}");
    }
}

#[test]
fn verdicts_of_others_do_not_hold_up_an_instance_that_goes() {
    let delete = Command::DeregisterService { node: "n1".into(), id: "web2".into() };
    assert!(race(&base(), &status("c", CheckStatus::Passing, "ok"), &delete));
    assert!(race(&base(), &web("web1", &[]), &delete));
}

#[test]
fn a_check_that_changes_hands_moves_its_new_owner() {
    let mut catalog = base();
    let change = run(&mut catalog, &check_of("c", "web2"), 4).expect("valid").expect("changes");
    assert_eq!(change.keys.len(), 2);
    let owner = catalog.instance(&Folded::new("n1"), &"web2".into()).expect("registered");
    assert_eq!(owner.modified, change.revision);
    assert_eq!(run(&mut catalog, &check_of("c", "web2"), 5), Ok(None));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]
    /// `commit` checks that the catalog is sound: nothing refers to what is not there.
    #[test]
    fn any_two_writers_leave_a_sound_catalog(
        before in proptest::collection::vec(any_command(), 0..30),
        first in any_command(),
        second in any_command(),
    ) {
        let mut catalog = Catalog::default();
        for (at, command) in before.iter().enumerate() {
            let _ = run(&mut catalog, command, at as u64);
        }
        race(&catalog, &first, &second);
    }

    /// The same where all commands are about records and the sessions that they end with.
    #[test]
    fn any_two_writers_of_records_leave_sound_tables(
        before in proptest::collection::vec(any_record_command(), 0..20),
        first in any_record_command(),
        second in any_record_command(),
    ) {
        let mut catalog = base();
        for (at, command) in before.iter().enumerate() {
            let _ = run(&mut catalog, command, at as u64);
        }
        race(&catalog, &first, &second);
    }
}

fn entry(body: &serde_json::Value) -> Command {
    let entry = config_entries::read(body).expect("it is an entry");
    Command::PutRecord { record: Record::ConfigEntry(entry), when: RecordCondition::Always }
}

fn without_entry(kind: &str, name: &str) -> Command {
    let key = RecordKey::new(Table::ConfigEntry, &ConfigEntry::key_of(kind, name));
    Command::DeleteRecord { key, when: RecordCondition::Always }
}

#[test]
fn entries_that_make_each_other_wrong_do_not_pass() {
    let http = |name: &str| json!({"Kind": "service-defaults", "Name": name, "Protocol": "http"});
    let splitter = |name: &str, to: &str| {
        entry(
            &json!({"Kind": "service-splitter", "Name": name, "Splits": [{"Weight": 100, "Service": to}]}),
        )
    };
    let mut catalog = agent_catalog();
    for name in ["a", "b"] {
        run(&mut catalog, &entry(&http(name)), 2).expect("valid");
    }
    let router = entry(&json!({"Kind": "service-router", "Name": "a"}));
    assert!(!race(&catalog, &without_entry("service-defaults", "a"), &router));
    assert!(!race(&catalog, &router, &without_entry("service-defaults", "a")));
    // Each is right, together they lead in a circle.
    assert!(!race(&catalog, &splitter("a", "b"), &splitter("b", "a")));
    assert!(race(&catalog, &router, &web("web1", &[])));
}

#[test]
fn intentions_of_one_service_are_changed_one_after_the_other() {
    let create = |source: &str, destination: &str| {
        let body = json!({"SourceName": source, "DestinationName": destination, "Action": "allow"});
        let intention = config_entries::intentions::read_intention(&body).expect("valid");
        Command::ChangeIntention(IntentionChange::Create { intention, id: format!("id-{source}") })
    };
    let catalog = agent_catalog();
    assert!(!race(&catalog, &create("web", "db"), &create("api", "db")));
    let mut catalog = catalog;
    run(&mut catalog, &create("web", "db"), 2).expect("valid");
    run(&mut catalog, &create("api", "db"), 3).expect("valid");
    let key = ConfigEntry::key_of("service-intentions", "db");
    let entry = catalog.record::<ConfigEntry>(&key).expect("it is there");
    assert_eq!(config_entries::intentions::of_entry(entry.value).count(), 2);
    for source in ["web", "api"] {
        let change = IntentionChange::Delete { id: format!("id-{source}") };
        run(&mut catalog, &Command::ChangeIntention(change), 4).expect("valid");
    }
    assert!(catalog.record::<ConfigEntry>(&key).is_none());
}
