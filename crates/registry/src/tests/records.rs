//! Tables of records: conditions, events in their order, queries that end with their sessions, two writers.

use std::collections::BTreeSet;

use model::{
    AclAuthMethod, AclBindingRule, AclPolicy, AclRole, AclToken, ConfigEntry, Coordinate, Event,
    Object, PreparedQuery, QueryTemplate, Record, RecordKey, Session, SessionId, Setting, Table,
    Tabled, TrafficSplit, VirtualAddress,
};
use proptest::prelude::*;
use serde_json::json;

use super::writers::{base, race};
use super::*;
use crate::RecordCondition;

/// Sessions of the node that the fixtures of writers have.
const SESSIONS: [&str; 2] = ["session0-n1", "session1-n1"];

fn session(id: &str) -> Session {
    Session { id: id.into(), node: "n1".into(), ..Session::default() }
}

fn query(id: &str, name: &str, session: &str, is_template: bool) -> PreparedQuery {
    let kind = if is_template { "name_prefix_match".to_owned() } else { String::new() };
    PreparedQuery {
        id: id.into(),
        name: name.into(),
        session: session.into(),
        template: QueryTemplate { kind, ..QueryTemplate::default() },
        ..PreparedQuery::default()
    }
}

fn put(record: impl Tabled) -> Command {
    Command::PutRecord { record: record.into_record(), when: RecordCondition::Always }
}

fn setting(name: &str, body: u8) -> Setting {
    Setting { name: name.into(), body: json!(body) }
}

fn event(name: &str) -> Event {
    Event { id: format!("id-of-{name}"), name: name.into(), ..Event::default() }
}

/// Any command about records, or about the sessions that queries end with.
pub(super) fn any_record_command() -> impl Strategy<Value = Command> {
    let id = || prop::sample::select(vec!["q0", "q1", "q2", "q3"]);
    let names = vec!["", "a", "A", "b", "q1", "Q2"];
    let queries = (id(), prop::sample::select(names), prop::option::of(0..2_usize), any::<bool>())
        .prop_map(|(id, name, bound, is_template)| {
            query(id, name, bound.map_or("", |at| SESSIONS[at]), is_template)
        });
    let condition = || {
        prop_oneof![
            6 => Just(RecordCondition::Always),
            1 => Just(RecordCondition::Exists),
            2 => (0..12_u64).prop_map(|at| RecordCondition::ModifiedAt(Revision(at))),
        ]
    };
    let record = prop_oneof![
        4 => queries.prop_map(Record::PreparedQuery),
        1 => ("[ab]", 0..2_u8).prop_map(|(name, body)| Record::Setting(setting(&name, body))),
        1 => ("n[12]", 0..2_u8).prop_map(|(node, at)| Record::Coordinate(Coordinate {
            node: node.as_str().into(),
            vec: vec![f64::from(at)],
            ..Coordinate::default()
        })),
    ];
    let key = prop_oneof![
        3 => id().prop_map(|id| RecordKey::new(Table::PreparedQuery, id)),
        1 => "[ab]".prop_map(|name| RecordKey::new(Table::Setting, &name)),
    ];
    let session = || prop::sample::select(SESSIONS.to_vec());
    prop_oneof![
        6 => (record, condition()).prop_map(|(record, when)| Command::PutRecord { record, when }),
        2 => (key, condition()).prop_map(|(key, when)| Command::DeleteRecord { key, when }),
        2 => "[ab]".prop_map(|name| Command::FireEvent(event(&name))),
        2 => session().prop_map(|id| Command::CreateSession(self::session(id))),
        1 => session().prop_map(|id| Command::EndSession(id.into())),
    ]
}

/// All records with the revisions at which they came to be.
pub(super) fn made_at(catalog: &Catalog) -> impl Iterator<Item = (ObjectKey, Revision)> {
    fn of<T: Tabled + 'static>(catalog: &Catalog) -> Vec<(ObjectKey, Revision)> {
        let key = |it: &T| ObjectKey::Record(RecordKey::new(T::TABLE, &it.record_name()));
        catalog.records::<T>().map(|it| (key(it.value), it.created)).collect()
    }
    Table::ALL.iter().flat_map(|table| match table {
        Table::AclAuthMethod => of::<AclAuthMethod>(catalog),
        Table::AclBindingRule => of::<AclBindingRule>(catalog),
        Table::AclPolicy => of::<AclPolicy>(catalog),
        Table::AclRole => of::<AclRole>(catalog),
        Table::AclToken => of::<AclToken>(catalog),
        Table::ConfigEntry => of::<ConfigEntry>(catalog),
        Table::Coordinate => of::<Coordinate>(catalog),
        Table::Event => of::<Event>(catalog),
        Table::PreparedQuery => of::<PreparedQuery>(catalog),
        Table::Setting => of::<Setting>(catalog),
        Table::TrafficSplit => of::<TrafficSplit>(catalog),
        Table::VirtualAddress => of::<VirtualAddress>(catalog),
    })
}

/// What the rules of the tables promise.
pub(super) fn check_records(catalog: &Catalog) {
    let times: Vec<u64> = catalog.records::<Event>().map(|it| it.time).collect();
    assert!(times.len() <= 256 && times.windows(2).all(|it| it[0] + 1 == it[1]), "{times:?}");
    let mut names = BTreeSet::new();
    for it in catalog.records::<PreparedQuery>() {
        let is_bound = it.session.is_empty() || catalog.session(&it.session).is_some();
        assert!(is_bound, "{:?} is bound to a session that is gone", it.value);
        let is_nameless = it.name.is_empty() && !it.is_template();
        assert!(is_nameless || names.insert(it.name.to_lowercase()), "{:?} twice", it.name);
    }
}

#[test]
fn a_condition_of_a_record_holds_at_the_index_of_its_last_change_only() {
    let mut catalog = Catalog::default();
    let key = RecordKey::new(Table::Setting, "s");
    let put = |body, when| Command::PutRecord { record: setting("s", body).into_record(), when };
    let delete = |when| Command::DeleteRecord { key: key.clone(), when };
    let at = |revision| RecordCondition::ModifiedAt(Revision(revision));
    let missing = Err(Rejection::RecordMissing(key.clone()));
    let stale = Err(Rejection::RecordIndexStale(key.clone()));

    assert_eq!(run(&mut catalog, &put(1, RecordCondition::Exists), 0), missing);
    assert_eq!(run(&mut catalog, &delete(RecordCondition::Exists), 0), missing);
    assert_eq!(run(&mut catalog, &put(1, at(1)), 0), stale);
    assert_eq!(run(&mut catalog, &delete(RecordCondition::Always), 0), Ok(None), "no error");
    assert!(run(&mut catalog, &put(1, at(0)), 0).unwrap().is_some());
    assert_eq!(run(&mut catalog, &put(1, at(0)), 0), stale, "it exists");
    assert_eq!(run(&mut catalog, &put(1, RecordCondition::Exists), 0), Ok(None), "it is so");
    assert!(run(&mut catalog, &put(2, at(1)), 0).unwrap().is_some());
    assert_eq!(run(&mut catalog, &delete(at(1)), 0), stale);
    assert!(run(&mut catalog, &delete(at(2)), 0).unwrap().is_some());
    assert!(catalog.record::<Setting>("s").is_none());
}

#[test]
fn a_record_touches_its_table_alone() {
    let mut catalog = agent_catalog();
    let change = run(&mut catalog, &put(setting("s", 1)), 0).unwrap().unwrap();
    let (touched, _) = Catalog::default().apply(&change);
    assert_eq!(touched.into_iter().collect::<Vec<_>>(), [WatchKey::Table(Table::Setting)]);
    assert_eq!(catalog.table_index(Table::Setting), change.revision);
    assert_eq!(catalog.table_index(Table::Event), Revision(0));
}

#[test]
fn events_have_places_without_gaps_and_the_oldest_go() {
    let mut catalog = Catalog::default();
    for number in 0..300 {
        let change = run(&mut catalog, &Command::FireEvent(event(&number.to_string())), 0);
        assert_eq!(change.unwrap().unwrap().keys.len(), if number < 256 { 1 } else { 2 });
        check_records(&catalog);
    }
    let kept: Vec<(u64, String)> =
        catalog.records::<Event>().map(|it| (it.time, it.name.clone())).collect();
    let expected: Vec<_> = (44..300).map(|at: u64| (at + 1, at.to_string())).collect();
    assert_eq!(kept, expected);
}

#[test]
fn two_that_fire_at_once_are_told_one_after_the_other() {
    let fire = |name: &str| Command::FireEvent(event(name));
    for before in [0, 1, 256] {
        let mut catalog = Catalog::default();
        for number in 0..before {
            run(&mut catalog, &fire(&number.to_string()), 0).unwrap();
        }
        assert!(!race(&catalog, &fire("a"), &fire("b")), "after {before}");
    }
}

fn with_queries() -> Catalog {
    let mut catalog = base();
    for id in SESSIONS {
        run(&mut catalog, &Command::CreateSession(session(id)), 4).unwrap();
    }
    run(&mut catalog, &put(query("q0", "a", "", false)), 5).unwrap();
    run(&mut catalog, &put(query("q1", "b", SESSIONS[0], false)), 6).unwrap();
    catalog
}

#[test]
fn two_queries_do_not_get_the_same_name_at_once() {
    let catalog = with_queries();
    let named = |id: &str| put(query(id, "x", "", false));
    // Both new, one of them renamed, both renamed.
    for (first, second) in [("q2", "q3"), ("q0", "q2"), ("q2", "q0"), ("q0", "q1"), ("q1", "q0")] {
        assert!(!race(&catalog, &named(first), &named(second)), "{first} and {second}");
    }
    // A name that one gives up at the same time is not free before it has.
    let taken = transact(&catalog, &put(query("q2", "a", "", false)), Timestamp(9));
    assert_eq!(taken, Err(Rejection::QueryNameTaken("a".into())));
}

#[test]
fn no_query_is_left_of_a_session_that_ends_while_it_is_bound() {
    let catalog = with_queries();
    let end = |at: usize| Command::EndSession(SESSIONS[at].into());
    let target = CatalogTarget::Node;
    let leave = Command::DeregisterFromCatalog { node: "n1".into(), target };
    // New, bound from now on, bound to another, and changed where it is.
    for (bind, at) in [
        (put(query("q2", "c", SESSIONS[0], false)), 0),
        (put(query("q0", "a", SESSIONS[0], false)), 0),
        (put(query("q1", "b", SESSIONS[1], false)), 1),
        (put(query("q1", "b", SESSIONS[1], false)), 0),
        (put(query("q1", "new", SESSIONS[0], false)), 0),
    ] {
        for end in [end(at), leave.clone()] {
            assert!(!race(&catalog, &bind, &end), "{bind:?}");
            assert!(!race(&catalog, &end, &bind), "{bind:?}");
        }
    }
}

#[test]
fn queries_end_with_their_session_and_others_stay() {
    let mut catalog = with_queries();
    run(&mut catalog, &Command::EndSession(SESSIONS[0].into()), 7).unwrap();
    let left: Vec<String> = catalog.records::<PreparedQuery>().map(|it| it.id.clone()).collect();
    assert_eq!(left, ["q0"]);
    assert_eq!(catalog.table_index(Table::PreparedQuery), catalog.revision());
    let refused = run(&mut catalog, &put(query("q1", "b", SESSIONS[0], false)), 8);
    assert_eq!(refused, Err(Rejection::InvalidSession(SESSIONS[0].into())));
    let gone: SessionId = SESSIONS[0].into();
    assert!(catalog.session(&gone).is_none());
}

#[test]
fn a_catalog_that_is_read_anew_has_the_same_records() {
    let mut catalog = with_queries();
    run(&mut catalog, &Command::FireEvent(event("a")), 7).unwrap();
    run(&mut catalog, &put(setting("s", 1)), 8).unwrap();
    let objects = [
        Object::Record(catalog.record::<Setting>("s").unwrap().value.clone().into_record()),
        Object::Record(catalog.records::<Event>().next().unwrap().value.clone().into_record()),
    ];
    for object in objects {
        let model::Operation::Put { key, value, .. } = object.put() else { unreachable!("a put") };
        assert_eq!(Object::decode(&key, &value).unwrap(), object);
    }
}
