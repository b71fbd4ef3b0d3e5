//! Changes of documents that are taken back.

use model::{Catalog, Document, DocumentChange, DocumentKey, SecretSpec, Spec};

use super::run;
use crate::Command;

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

fn change(before: Option<Document>, after: Option<Document>) -> DocumentChange {
    let key = before.as_ref().or(after.as_ref()).expect("one of the two").key.clone();
    DocumentChange { key, before, after }
}

#[test]
fn a_change_is_taken_back_unless_somebody_has_changed_the_document_since() {
    let mut catalog = Catalog::default();
    let apply = |catalog: &mut Catalog, all: Vec<Document>| {
        run(catalog, &Command::ApplyDocuments(all), 1).expect("valid");
    };
    apply(&mut catalog, vec![document("a", 1), document("c", 1), document("d", 1)]);
    apply(&mut catalog, vec![document("a", 2), document("b", 2), document("c", 2)]);
    let gone = Command::DeleteDocuments(vec![document("d", 1).key]);
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
