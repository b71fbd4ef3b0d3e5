use model::{
    Coordinate, Event, Folded, Object, ObjectKey, PreparedQuery, Record, RecordKey, Revision,
    SessionId, Table, Tabled,
};

use super::draft::Draft;
use crate::{RecordCondition, Rejection};

/// Events that are kept, as Consul's agents do.
const EVENTS_MAX: usize = 256;
/// Most bytes of the payloads of all of them.
const EVENT_BYTES_MAX: usize = 8 << 20;

impl Draft<'_> {
    pub(super) fn put_record(
        &mut self,
        record: &Record,
        when: RecordCondition,
    ) -> Result<(), Rejection> {
        self.require_record(&record.key(), when)?;
        match record {
            Record::PreparedQuery(query) => self.check_query(query)?,
            Record::Coordinate(coordinate) => {
                // Who removes the node at the same time adds no record, so it is the node that is compared.
                let node = coordinate.node.folded();
                self.depend_on(&ObjectKey::Node(node.clone()));
                if self.catalog.node(&node).is_none() {
                    return Ok(());
                }
            }
            Record::AclToken(token) => self.check_token(token)?,
            Record::AclPolicy(policy) => self.check_policy(policy)?,
            Record::AclRole(role) => self.check_role(role)?,
            Record::AclBindingRule(rule) => self.check_binding_rule(rule)?,
            Record::AclAuthMethod(method) => self.check_auth_method(method)?,
            Record::ConfigEntry(entry) => self.check_config_entry(entry)?,
            Record::Event(_)
            | Record::Setting(_)
            | Record::TrafficSplit(_)
            | Record::VirtualAddress(_) => {}
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
            // It may be given this name at the same time.
            self.depend_on(&ObjectKey::Record(RecordKey::new(Table::PreparedQuery, &other.id)));
            // Queries that are no templates may have none, and are asked by their ids.
            let is_same = other.name.to_lowercase() == query.name.to_lowercase();
            match query.name.as_str() {
                "" if is_same && query.is_template() && other.is_template() => {
                    return Err(Rejection::QueryCatchAllTaken);
                }
                "" => {}
                name if is_same => return Err(Rejection::QueryNameTaken(name.to_owned())),
                _ => {}
            }
            if other.id.eq_ignore_ascii_case(&query.name) {
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
        let time = times.last().map_or(1, |last| last.saturating_add(1));
        // The oldest go, until the number and the sum of the payloads are within their bounds.
        let mut bytes: usize = catalog.records::<Event>().map(|it| it.payload.len()).sum();
        bytes += event.payload.len();
        let mut too_many = 0;
        for old in catalog.records::<Event>() {
            if times.len() - too_many < EVENTS_MAX && bytes <= EVENT_BYTES_MAX {
                break;
            }
            too_many += 1;
            bytes -= old.payload.len();
        }
        for time in &times[..too_many] {
            let old = Event { time: *time, ..Event::default() };
            self.delete(&ObjectKey::Record(Record::Event(old).key()));
        }
        self.put(Object::Record(Record::Event(Event { time, ..event.clone() })));
    }

    /// A node's coordinates go with it. Who writes one at the same time compares the node.
    pub(super) fn delete_coordinates(&mut self, node: &Folded) {
        let catalog = self.catalog;
        let under = Coordinate::key_of(&node.as_str().into(), "");
        self.depend_on_all(ObjectKey::record_prefix(Table::Coordinate, &under));
        for it in catalog.records_under::<Coordinate>(&under) {
            self.delete(&ObjectKey::Record(RecordKey::new(Table::Coordinate, &it.record_name())));
        }
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
