//! The part of the catalog that finds tokens by their secrets and by their ends.

use std::sync::Arc;

use super::records::Found;
use super::{Catalog, ensure};
use crate::{AclToken, Record, RecordKey, Revision, Secret, Stored, Table, Tabled, Timestamp};

impl Catalog {
    /// The token whose holder shows this.
    #[must_use]
    pub fn token_by_secret(&self, secret: &str) -> Option<Found<'_, AclToken>> {
        let accessor = self.token_secrets.get(&Secret::from(secret))?;
        self.record(accessor)
    }

    /// The token that ends first, with its end.
    #[must_use]
    pub fn first_token_end(&self) -> Option<(Timestamp, &str)> {
        self.token_ends.first().map(|(at, accessor)| (*at, &**accessor))
    }

    /// Revision of the last change of anything that says what tokens may do.
    #[must_use]
    pub fn acl_index(&self) -> Revision {
        let tables = [Table::AclToken, Table::AclPolicy, Table::AclRole];
        tables.map(|it| self.table_index(it)).into_iter().max().unwrap_or_default()
    }

    pub(super) fn index_token(&mut self, token: &AclToken) {
        self.forget_token(&RecordKey::new(Table::AclToken, &token.accessor));
        let accessor: Arc<str> = token.accessor.as_str().into();
        if let Some(at) = token.expires {
            self.token_ends.insert_mut((at, Arc::clone(&accessor)));
        }
        self.token_secrets.insert_mut(token.secret.clone(), accessor);
    }

    /// Takes a token that is about to be replaced or removed out of the indexes.
    pub(super) fn forget_token(&mut self, key: &RecordKey) {
        let Some(stored) = self.records.get(key).cloned() else { return };
        let Some(token) = AclToken::of(&stored.value) else { return };
        if self.token_secrets.get(&token.secret).is_some_and(|it| *it == key.name) {
            self.token_secrets.remove_mut(&token.secret);
        }
        if let Some(at) = token.expires {
            self.token_ends.remove_mut(&(at, Arc::clone(&key.name)));
        }
    }

    pub(super) fn check_tokens(&self) -> Result<(), String> {
        let mut ends = 0;
        for token in self.records::<AclToken>() {
            let found = self.token_by_secret(token.secret.reveal());
            ensure(found.is_some_and(|it| it.accessor == token.accessor), || {
                format!("token {} is not found by its secret", token.accessor)
            })?;
            if let Some(at) = token.expires {
                ends += 1;
                let is_listed = self.token_ends.contains(&(at, token.accessor.as_str().into()));
                ensure(is_listed, || format!("the end of token {} is not known", token.accessor))?;
            }
        }
        ensure(self.token_ends.size() == ends, || "stray ends of tokens".into())?;
        let count = self.records::<AclToken>().count();
        ensure(self.token_secrets.size() == count, || "stray secrets of tokens".into())
    }
}

/// Tokens are found by more than their names.
pub(super) fn token_of(record: &Stored<Record>) -> Option<&AclToken> {
    AclToken::of(&record.value)
}
