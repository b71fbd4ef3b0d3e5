use std::collections::BTreeMap;

use model::{Document, DocumentChange, DocumentKey, Object, ObjectKey};

use super::Draft;
use crate::rivals::{find_rivals, rules};
use crate::{DocumentsChange, Rejection};

impl Draft<'_> {
    pub(super) fn change_documents(&mut self, change: &DocumentsChange) -> Result<(), Rejection> {
        for (key, modified) in &change.read_at {
            let object = ObjectKey::Document(key.clone());
            let now = self.catalog.revisions_of(&object).map(|it| it.1).unwrap_or_default();
            if now != *modified {
                return Err(Rejection::DocumentChanged(key.clone()));
            }
            self.depend_on(&object);
        }
        if change.put.iter().any(rules) {
            self.depend_on_rivals();
            let others = self.catalog.documents().map(|it| &it.value);
            let others = others.filter(|it| !change.delete.contains(&it.key));
            let rivals = find_rivals(&change.put, others);
            if !rivals.is_empty() {
                return Err(Rejection::Rivals(rivals));
            }
        }
        for document in &change.put {
            self.put(Object::Document(document.clone()));
        }
        for key in &change.delete {
            self.delete_document(key);
        }
        Ok(())
    }

    fn delete_document(&mut self, key: &DocumentKey) {
        if self.catalog.document(key).is_some() {
            self.delete(&ObjectKey::Document(key.clone()));
        }
    }

    /// Somebody else's later change stays, and so does what could not be beside it.
    pub(super) fn restore_documents(&mut self, changes: &[DocumentChange]) {
        let catalog = self.catalog;
        let current = |key: &DocumentKey| catalog.document(key).map(|it| &it.value);
        let is_left =
            |it: &&DocumentChange| !Document::say_the_same(current(&it.key), it.after.as_ref());
        let (back, gone): (Vec<&DocumentChange>, Vec<&DocumentChange>) =
            changes.iter().filter(|it| !is_left(it)).partition(|it| it.before.is_some());
        let mut there: BTreeMap<&DocumentKey, &Document> =
            catalog.documents().map(|it| (&it.key, &it.value)).collect();
        for change in gone {
            there.remove(&change.key);
            self.delete_document(&change.key);
        }
        for document in back.into_iter().filter_map(|it| it.before.as_ref()) {
            if rules(document) {
                self.depend_on_rivals();
                let others = there.values().copied();
                if !find_rivals(std::slice::from_ref(document), others).is_empty() {
                    continue;
                }
                there.insert(&document.key, document);
            }
            self.put(Object::Document(document.clone()));
        }
    }

    /// Notes that the decision depends on all documents of which only one of two can rule.
    fn depend_on_rivals(&mut self) {
        self.depend_on_all(ObjectKey::documents_prefix());
        let catalog = self.catalog;
        for document in catalog.documents().filter(|it| rules(it)) {
            self.depend_on(&ObjectKey::Document(document.key.clone()));
        }
    }
}
