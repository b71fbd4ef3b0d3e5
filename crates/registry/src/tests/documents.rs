//! Changes of documents that are taken back.

use model::{
    Catalog, Document, DocumentChange, DocumentKey, Revision, RolloutSpec, SecretSpec, Spec,
};

use super::run;
use super::writers::race;
use crate::{Command, DocumentsChange, Rejection};

fn document(name: &str, body: u32) -> Document {
    let kind = "Secret".to_owned();
    Document {
        key: DocumentKey { kind, name: name.to_owned(), ..DocumentKey::default() },
        api_version: "v1".to_owned(),
        body: body.into(),
        spec: Spec::Secret(SecretSpec::default()),
        diagnostics: Vec::new(),
        source: format!("{name}-{body}.yaml"),
        line: 1,
    }
}

pub(super) fn put(put: Vec<Document>) -> Command {
    Command::ChangeDocuments(DocumentsChange { put, ..DocumentsChange::default() })
}

pub(super) fn delete(delete: Vec<DocumentKey>) -> Command {
    Command::ChangeDocuments(DocumentsChange { delete, ..DocumentsChange::default() })
}

fn change(before: Option<Document>, after: Option<Document>) -> DocumentChange {
    let key = before.as_ref().or(after.as_ref()).expect("one of the two").key.clone();
    DocumentChange { key, before, after }
}

#[test]
fn a_change_is_taken_back_unless_somebody_has_changed_the_document_since() {
    let mut catalog = Catalog::default();
    let apply = |catalog: &mut Catalog, all: Vec<Document>| {
        run(catalog, &put(all), 1).expect("valid");
    };
    apply(&mut catalog, vec![document("a", 1), document("c", 1), document("d", 1)]);
    apply(&mut catalog, vec![document("a", 2), document("b", 2), document("c", 2)]);
    let gone = delete(vec![document("d", 1).key]);
    run(&mut catalog, &gone, 1).expect("valid");
    apply(&mut catalog, vec![document("c", 3)]);
    // The same again, from elsewhere, is no change.
    apply(&mut catalog, vec![Document { source: "-".into(), line: 7, ..document("a", 2) }]);
    let changes = vec![
        change(Some(document("a", 1)), Some(document("a", 2))),
        change(None, Some(document("b", 2))),
        change(Some(document("c", 1)), Some(document("c", 2))),
        change(Some(document("d", 1)), None),
    ];
    let back = Command::RestoreDocuments(changes);
    assert!(run(&mut catalog, &back, 1).expect("valid").is_some());
    let now = |name| catalog.document(&document(name, 0).key).map(|it| it.value.clone());
    assert_eq!(now("a"), Some(document("a", 1)));
    assert_eq!(now("b"), None);
    assert_eq!(now("c"), Some(document("c", 3)));
    assert_eq!(now("d"), Some(document("d", 1)));
    assert_eq!(run(&mut catalog, &back, 1), Ok(None), "it is true already");
}

#[test]
fn a_change_is_refused_when_a_document_is_not_as_it_was_read() {
    let mut catalog = Catalog::default();
    run(&mut catalog, &put(vec![document("a", 1)]), 1).expect("valid");
    let key = |name| document(name, 0).key;
    let read_at = vec![(key("a"), catalog.revision()), (key("b"), Revision::default())];
    let both = vec![document("a", 3), document("b", 3)];
    let change = DocumentsChange { put: both, read_at, ..DocumentsChange::default() };
    let change = Command::ChangeDocuments(change);
    for other in [put(vec![document("a", 2)]), put(vec![document("b", 2)]), delete(vec![key("a")])]
    {
        let mut catalog = catalog.clone();
        assert!(!race(&catalog, &other, &change), "{other:?} came first");
        run(&mut catalog, &other, 1).expect("valid");
        let refused = run(&mut catalog, &change, 1);
        assert!(matches!(refused, Err(Rejection::DocumentChanged(_))), "{refused:?}");
    }
    assert!(race(&catalog, &put(vec![document("c", 1)]), &change), "that is another one");
    assert!(run(&mut catalog, &change, 1).expect("nobody was faster").is_some());
}

/// A rollout of a service.
fn rollout(name: &str, service: &str) -> Document {
    let key = DocumentKey { kind: "Rollout".to_owned(), ..document(name, 0).key };
    let spec = RolloutSpec { service: service.into(), ..RolloutSpec::default() };
    Document { key, body: service.into(), spec: Spec::Rollout(spec.into()), ..document(name, 0) }
}

#[test]
fn of_two_that_make_rivals_at_the_same_time_one_is_refused() {
    let mut catalog = Catalog::default();
    let one = put(vec![rollout("a", "web")]);
    let other = put(vec![rollout("b", "web")]);
    assert!(!race(&catalog, &one, &other), "both were added");
    run(&mut catalog, &put(vec![rollout("a", "db"), rollout("b", "cache")]), 1).expect("valid");
    assert!(!race(&catalog, &one, &other), "both were changed");
    run(&mut catalog, &one, 1).expect("valid");
    let refused = run(&mut catalog, &other, 1);
    assert!(matches!(refused, Err(Rejection::Rivals(_))), "{refused:?}");
    // What goes in the same step is nobody's rival.
    let gone = vec![rollout("a", "web").key];
    let change =
        DocumentsChange { put: vec![rollout("b", "web")], delete: gone, ..Default::default() };
    assert!(run(&mut catalog, &Command::ChangeDocuments(change), 1).expect("valid").is_some());
}

#[test]
fn what_would_be_a_rival_is_not_restored() {
    let mut catalog = Catalog::default();
    run(&mut catalog, &put(vec![rollout("a", "db"), rollout("b", "web"), document("c", 2)]), 1)
        .expect("valid");
    let changes = vec![
        change(Some(rollout("a", "web")), Some(rollout("a", "db"))),
        change(Some(document("c", 1)), Some(document("c", 2))),
    ];
    run(&mut catalog, &Command::RestoreDocuments(changes), 1).expect("valid");
    let now = |it: &Document| catalog.document(&it.key).map(|it| it.value.clone());
    assert_eq!(now(&rollout("a", "")), Some(rollout("a", "db")));
    assert_eq!(now(&document("c", 0)), Some(document("c", 1)));
}
