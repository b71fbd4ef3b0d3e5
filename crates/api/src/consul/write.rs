//! What a client is told about its write.

use http::StatusCode;
use model::{Catalog, RecordKey, Revision, Table};
use registry::{AclRejection, Rejection, TxnRead};

use super::response::Reply;
use super::tokens::written;
use super::txn::TxnDoor;
use super::{Call, Form, virtual_address};
use crate::WriteOutcome;

/// Through which endpoints a write came: the same refusal has another status at each.
#[derive(Debug)]
pub(crate) enum Door {
    /// `/v1/agent`: done is an empty body; what does not exist is 404.
    Agent,
    /// `/v1/catalog`: done is `true`; almost every refusal is 500.
    Catalog {
        /// The client wants a line break after `true`.
        is_pretty: bool,
    },
    /// `/v1/kv`: done is `true`, and `false` that a condition did not hold.
    Kv {
        /// The client wants a line break after either.
        is_pretty: bool,
    },
    /// `/v1/txn`.
    Txn(TxnDoor),
    /// What is said when it is done; every refusal is 500.
    Said {
        /// That.
        done: Reply,
    },
    /// `/v1/query`.
    Query {
        /// What is said when it is done.
        done: Reply,
    },
    /// `/v1/config` and `/v1/connect/intentions`: almost every refusal is 500.
    Config {
        /// What is said when it is done.
        done: Reply,
        /// What is said when the entry was changed since the client read it.
        stale: Reply,
    },
    /// `/v1/internal/service-virtual-ip`.
    VirtualAddresses(Form),
    /// `/v1/acl`: what was written is the answer.
    Stored(Stored),
    /// `/v1/session`.
    Session {
        /// What is said when it is done.
        done: Reply,
    },
}

/// What was written, and how it is shown.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(super) key: RecordKey,
    pub(super) form: Form,
    /// A token is shown with the name that its secret had of old.
    pub(super) with_id: bool,
}

impl Stored {
    pub(super) fn new(call: &Call<'_>, key: RecordKey) -> Self {
        Self { key, form: call.form(), with_id: false }
    }

    fn shown(&self, catalog: &Catalog) -> Reply {
        match catalog.record_at(&self.key) {
            Some(record) => {
                Reply::json(self.form.body(|w| written(w, catalog, record, self.with_id)))
            }
            None => {
                let text = "it was written, and somebody has deleted it since";
                Reply::text(StatusCode::INTERNAL_SERVER_ERROR, text)
            }
        }
    }
}

impl Door {
    pub(super) fn reply(self, outcome: WriteOutcome, catalog: &Catalog) -> Reply {
        match (outcome, &self) {
            (WriteOutcome::Done(..), Door::Stored(stored)) => stored.shown(catalog),
            (outcome, _) => self.answer(outcome),
        }
    }

    fn answer(self, outcome: WriteOutcome) -> Reply {
        match outcome {
            WriteOutcome::Done(revision, read) => self.done(revision, &read),
            WriteOutcome::Rejected(rejection) => self.refused(&rejection),
            WriteOutcome::Failed(text) => Reply::text(StatusCode::INTERNAL_SERVER_ERROR, text),
        }
    }

    fn done(self, revision: Revision, read: &[TxnRead]) -> Reply {
        match self {
            Door::Agent | Door::Stored(_) => Reply::empty(),
            Door::Catalog { is_pretty } | Door::Kv { is_pretty } => word("true", is_pretty),
            Door::Session { done }
            | Door::Said { done }
            | Door::Query { done }
            | Door::Config { done, .. } => done,
            Door::Txn(door) => door.done(revision, read),
            Door::VirtualAddresses(form) => virtual_address::assigned(form, Some(read)),
        }
    }

    fn refused(self, rejection: &Rejection) -> Reply {
        match (self, rejection) {
            (Door::Config { stale, .. }, Rejection::RecordIndexStale(_)) => stale,
            (Door::VirtualAddresses(form), Rejection::NoVirtualAddress(_)) => {
                virtual_address::assigned(form, None)
            }
            (door, _) => door.explained(rejection),
        }
    }

    fn explained(&self, rejection: &Rejection) -> Reply {
        let text = match (self, rejection) {
            (Door::Txn(door), Rejection::Transaction(refused)) => return door.refused(refused),
            (
                Door::Kv { is_pretty },
                Rejection::KvIndexStale { .. }
                | Rejection::RecordIndexStale(_)
                | Rejection::KvLockHeld(_)
                | Rejection::KvLockDelayed(_)
                | Rejection::KvLockNotHeld(_),
            ) => return word("false", *is_pretty),
            (Door::Kv { .. }, Rejection::SessionMissing | Rejection::InvalidSession(_)) => {
                format!("raft apply failed: {rejection}")
            }
            (Door::Session { .. }, Rejection::NodeMissing) => "Must provide Node".to_owned(),
            (
                Door::Session { .. },
                Rejection::SessionNodeMissing
                | Rejection::SessionCheckMissing(_)
                | Rejection::SessionCheckCritical(_),
            ) => format!("apply failed: {rejection}"),
            (Door::Query { .. }, Rejection::RecordMissing(key)) => {
                format!("Cannot modify non-existent prepared query: '{}'", key.name)
            }
            (
                Door::Query { .. },
                Rejection::InvalidSession(_)
                | Rejection::QueryNameTaken(_)
                | Rejection::QueryNameIsId(_)
                | Rejection::QueryCatchAllTaken,
            ) => format!("raft apply failed: {rejection}"),
            (Door::Stored(_), Rejection::RecordIndexStale(key)) if key.table == Table::AclToken => {
                AclRejection::AccessorTaken.to_string()
            }
            _ => rejection.to_string(),
        };
        Reply::text(self.status(rejection), text)
    }

    fn status(&self, rejection: &Rejection) -> StatusCode {
        match (self, rejection) {
            // Consul takes such names and fails later, in DNS or in its store; here they are the client's error.
            (_, Rejection::ControlCharacters { .. } | Rejection::NameTooLong { .. }) => {
                StatusCode::BAD_REQUEST
            }
            (
                Door::Agent,
                Rejection::UnknownService(_)
                | Rejection::UnknownCheck(_)
                | Rejection::ServiceDoesNotExist(_),
            ) => StatusCode::NOT_FOUND,
            (Door::Agent, Rejection::AnyAddress) => StatusCode::BAD_REQUEST,
            (Door::Session { .. }, Rejection::UnknownSession(_)) => StatusCode::NOT_FOUND,
            (_, Rejection::Acl(AclRejection::Bootstrapped(_))) => StatusCode::FORBIDDEN,
            (
                Door::Agent
                | Door::Catalog { .. }
                | Door::Kv { .. }
                | Door::Session { .. }
                | Door::Said { .. }
                | Door::Query { .. }
                | Door::Config { .. }
                | Door::Stored(_)
                | Door::VirtualAddresses(_)
                | Door::Txn(_),
                Rejection::NodeMissing
                | Rejection::AddressMissing
                | Rejection::BadNodeId(_)
                | Rejection::NodeConflict(_)
                | Rejection::ServiceNameMissing
                | Rejection::ServiceNameMissingWithId
                | Rejection::AnyAddress
                | Rejection::CheckOfOtherNode { .. }
                | Rejection::CheckOfUnknownService { .. }
                | Rejection::SidecarPortsTaken { .. }
                | Rejection::SidecarPortsOff
                | Rejection::NoVirtualAddress(_)
                | Rejection::ServiceDoesNotExist(_)
                | Rejection::UnknownService(_)
                | Rejection::UnknownCheck(_)
                | Rejection::KvIndexStale { .. }
                | Rejection::KvLockHeld(_)
                | Rejection::KvLockDelayed(_)
                | Rejection::KvLockNotHeld(_)
                | Rejection::SessionMissing
                | Rejection::InvalidSession(_)
                | Rejection::UnknownSession(_)
                | Rejection::SessionNodeMissing
                | Rejection::SessionCheckMissing(_)
                | Rejection::SessionCheckCritical(_)
                | Rejection::KvMissing(_)
                | Rejection::KvExists(_)
                | Rejection::ObjectMissing(_)
                | Rejection::ObjectIndexStale { .. }
                | Rejection::ServiceNotRegistered
                | Rejection::KvNothingToCheck { .. }
                | Rejection::KvOtherIndex { .. }
                | Rejection::KvOtherSession { .. }
                | Rejection::RecordMissing(_)
                | Rejection::RecordIndexStale(_)
                | Rejection::ConfigEntry(_)
                | Rejection::QueryNameTaken(_)
                | Rejection::QueryNameIsId(_)
                | Rejection::QueryCatchAllTaken
                | Rejection::Acl(_)
                | Rejection::DocumentChanged(_)
                | Rejection::Rivals(_)
                | Rejection::Transaction(_),
            ) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// One word of JSON.
pub(super) fn word(word: &str, is_pretty: bool) -> Reply {
    Reply::json(format!("{word}{}", if is_pretty { "\n" } else { "" }).into_bytes())
}
