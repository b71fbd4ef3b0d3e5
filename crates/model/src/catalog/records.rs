//! The part of the catalog that holds tables of records.

use std::collections::BTreeSet;
use std::ops::{Bound, Deref};
use std::sync::Arc;

use super::acl::token_of;
use super::{Catalog, Stored, WatchKey};
use crate::{Record, RecordKey, Revision, Table, Tabled};

/// A record as it stands in its table.
#[derive(Debug)]
pub struct Found<'a, T> {
    /// The object.
    pub value: &'a T,
    /// Revision at which it came to be.
    pub created: Revision,
    /// Revision of its last change.
    pub modified: Revision,
}

impl<T> Clone for Found<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Found<'_, T> {}

impl<T> Deref for Found<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value
    }
}

impl Catalog {
    /// A record of any table.
    #[must_use]
    pub fn record_at(&self, key: &RecordKey) -> Option<&Arc<Stored<Record>>> {
        self.records.get(key)
    }

    /// A record by its name in its table.
    #[must_use]
    pub fn record<T: Tabled>(&self, name: &str) -> Option<Found<'_, T>> {
        self.records.get(&RecordKey::new(T::TABLE, name)).map(|it| found(it))
    }

    /// All records of a table, by name.
    pub fn records<'a, T: Tabled + 'a>(
        &'a self,
    ) -> impl Iterator<Item = Found<'a, T>> + use<'a, T> {
        self.records_under("")
    }

    /// The records of a table whose names start with `prefix`, by name.
    pub fn records_under<'a, T: Tabled + 'a>(
        &'a self,
        prefix: &str,
    ) -> impl Iterator<Item = Found<'a, T>> + use<'a, T> {
        let start = RecordKey::new(T::TABLE, prefix);
        let prefix = Arc::clone(&start.name);
        self.records
            .range((Bound::Included(start), Bound::Unbounded))
            .take_while(move |(key, _)| key.table == T::TABLE && key.name.starts_with(&*prefix))
            .map(|(_, record)| found(record))
    }

    /// Revision of the last change of any record of a table.
    #[must_use]
    pub fn table_index(&self, table: Table) -> Revision {
        self.table_indexes[table as usize]
    }

    pub(super) fn put_record(&mut self, record: Stored<Record>, touched: &mut BTreeSet<WatchKey>) {
        let (key, modified) = (record.key(), record.modified);
        if let Some(token) = token_of(&record) {
            self.index_token(token);
        }
        self.touch_record(&key, modified, touched);
        self.records.insert_mut(key, Arc::new(record));
    }

    pub(super) fn delete_record(
        &mut self,
        key: &RecordKey,
        revision: Revision,
        touched: &mut BTreeSet<WatchKey>,
    ) {
        self.forget_token(key);
        if self.records.remove_mut(key) {
            self.touch_record(key, revision, touched);
        }
    }

    fn touch_record(
        &mut self,
        key: &RecordKey,
        revision: Revision,
        touched: &mut BTreeSet<WatchKey>,
    ) {
        let index = &mut self.table_indexes[key.table as usize];
        *index = revision.max(*index);
        touched.insert(WatchKey::Table(key.table));
    }
}

fn found<T: Tabled>(stored: &Stored<Record>) -> Found<'_, T> {
    let value = T::of(&stored.value).expect("a record is filed in its own table");
    Found { value, created: stored.created, modified: stored.modified }
}
