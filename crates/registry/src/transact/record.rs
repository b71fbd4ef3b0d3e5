use model::{
    Event, Object, ObjectKey, PreparedQuery, Record, RecordKey, Revision, SessionId, Table, Tabled,
};

use super::draft::Draft;
use crate::{RecordCondition, Rejection};

/// Events that are kept, as Consul's agents do.
const EVENTS_MAX: usize = 256;

impl Draft<'_> {
    pub(super) fn put_record(
        &mut self,
        record: &Record,
        when: RecordCondition,
    ) -> Result<(), Rejection> {
        self.require_record(&record.key(), when)?;
        match record {
            Record::PreparedQuery(query) => self.check_query(query)?,
            Record::AclToken(token) => self.check_token(token)?,
            Record::AclPolicy(policy) => self.check_policy(policy)?,
            Record::AclRole(role) => self.check_role(role)?,
            Record::AclBindingRule(rule) => self.check_binding_rule(rule)?,
            Record::AclAuthMethod(method) => self.check_auth_method(method)?,
            Record::ConfigEntry(entry) => self.check_config_entry(entry)?,
            Record::Coordinate(_) | Record::Event(_) | Record::Setting(_) => {}
        }
        self.put(Object::Record(record.clone()));
        Ok(())
    }

    pub(super) fn delete_record(
        &mut self,
        key: &RecordKey,
        when: RecordCondition,
    ) -> Result<(), Rejection> {
        self.require_record(key, when)?;
        self.release_acl(key)?;
        let Some(stored) = self.catalog.record_at(key) else { return Ok(()) };
        if let Record::ConfigEntry(entry) = &stored.value {
            self.check_without_config_entry(entry)?;
        }
        self.delete(&ObjectKey::Record(key.clone()));
        Ok(())
    }

    fn require_record(&mut self, key: &RecordKey, when: RecordCondition) -> Result<(), Rejection> {
        self.depend_on(&ObjectKey::Record(key.clone()));
        let modified = self.catalog.record_at(key).map(|it| it.modified);
        match when {
            RecordCondition::Always => Ok(()),
            RecordCondition::Exists if modified.is_some() => Ok(()),
            RecordCondition::Exists => Err(Rejection::RecordMissing(key.clone())),
            RecordCondition::ModifiedAt(expected) => {
                if modified.unwrap_or(Revision(0)) == expected {
                    Ok(())
                } else {
                    Err(Rejection::RecordIndexStale(key.clone()))
                }
            }
        }
    }

    /// Its session lives, and no other query is found by its name. Who writes another query at the same time adds a
    /// record, or changes one that this compares.
    fn check_query(&mut self, query: &PreparedQuery) -> Result<(), Rejection> {
        if !query.session.is_empty() {
            let Some(session) = self.catalog.session(&query.session) else {
                return Err(Rejection::InvalidSession(query.session.to_string()));
            };
            let key = ObjectKey::Session(session.node.folded(), query.session.clone());
            self.depend_on(&key);
            let before = self.catalog.record::<PreparedQuery>(&query.id);
            if before.is_some_and(|it| it.session != query.session) {
                // No record is added, so whoever ends the session would not see it.
                self.touch_session(&query.session);
            }
        }
        let catalog = self.catalog;
        self.depend_on_table(PreparedQuery::TABLE);
        for other in catalog.records::<PreparedQuery>().filter(|it| it.id != query.id) {
            let is_same = other.name.to_lowercase() == query.name.to_lowercase();
            if is_same && other.is_template() == query.is_template() {
                match (query.name.as_str(), query.is_template()) {
                    ("", false) => {}
                    ("", true) => return Err(Rejection::QueryCatchAllTaken(other.id.clone())),
                    (name, _) => return Err(Rejection::QueryNameTaken(name.to_owned())),
                }
            }
            if other.id == query.name {
                return Err(Rejection::QueryNameIsId(query.name.clone()));
            }
        }
        Ok(())
    }

    /// Notes that the decision depends on all that a table holds.
    pub(super) fn depend_on_table(&mut self, table: Table) {
        self.depend_on_all(ObjectKey::record_prefix(table, ""));
    }

    /// The next in the order; the oldest goes.
    pub(super) fn fire_event(&mut self, event: &Event) {
        let catalog = self.catalog;
        self.depend_on_table(Event::TABLE);
        let times: Vec<u64> = catalog.records::<Event>().map(|it| it.time).collect();
        let time = times.last().map_or(1, |last| last + 1);
        let too_many = (times.len() + 1).saturating_sub(EVENTS_MAX);
        for time in &times[..too_many] {
            let old = Event { time: *time, ..Event::default() };
            self.delete(&ObjectKey::Record(Record::Event(old).key()));
        }
        self.put(Object::Record(Record::Event(Event { time, ..event.clone() })));
    }

    /// Queries that are bound to a session go with it.
    pub(super) fn end_queries_of(&mut self, session: &SessionId) {
        let catalog = self.catalog;
        self.depend_on_table(PreparedQuery::TABLE);
        for query in catalog.records::<PreparedQuery>().filter(|it| it.session == *session) {
            self.delete(&ObjectKey::Record(RecordKey::new(Table::PreparedQuery, &query.id)));
        }
    }
}
