//! `/v1/txn`: several reads and writes of keys, nodes, services and checks, all or none.

use std::fmt::Display;

use acl::Resource;
use http::StatusCode;
use model::{Revision, Stored};
use registry::{Command, KvOperation, TxnObject, TxnOperation, TxnRead, TxnVerb};

use super::decode::BadTransaction;
use super::read::with_contact;
use super::response::Reply;
use super::shapes::{self, CheckView};
use super::write::Door;
use super::{Access, Answer, Call, Form, Outcome, decode, kv};
use crate::json::JsonWriter;

/// Most operations.
const OPERATIONS_MAX: usize = 128;

/// `PUT /v1/txn`
pub(super) fn run(call: &Call<'_>) -> Outcome {
    call.require_our_datacenter()?;
    let body = call.request.body();
    let settings = &call.agent().settings;
    if body.len() > settings.txn_bytes_max {
        return Err(kv::too_large(body.len(), settings.txn_bytes_max, "txn_max_req_len"));
    }
    let operations = match decode::transaction(body, settings.kv_value_bytes_max) {
        Ok(operations) => operations,
        Err(BadTransaction::Request(bad)) => return Err(bad.into()),
        Err(BadTransaction::Verb { at, text }) => return Err(refused(call.form(), &[(at, text)])),
    };
    if operations.len() > OPERATIONS_MAX {
        let count = operations.len();
        let text = format!("Transaction contains too many operations ({count} > {OPERATIONS_MAX})");
        return Err(too_large(text));
    }
    let door = TxnDoor {
        is_read_only: operations.iter().all(reads),
        form: call.form(),
        datacenter: call.agent().datacenter.clone(),
        access: call.access().clone(),
    };
    Ok(Answer::Write(Command::Transact(operations), Door::Txn(door)))
}

fn reads(operation: &TxnOperation) -> bool {
    let operation = match operation {
        TxnOperation::Kv(operation) => operation,
        TxnOperation::Node(verb, _)
        | TxnOperation::Instance(verb, _)
        | TxnOperation::Check(verb, _) => return *verb == TxnVerb::Get,
    };
    match operation {
        KvOperation::Get(_)
        | KvOperation::GetOrEmpty(_)
        | KvOperation::GetUnder(_)
        | KvOperation::CheckIndex(..)
        | KvOperation::CheckSession(..)
        | KvOperation::CheckNotExists(_) => true,
        KvOperation::Set { .. } | KvOperation::Delete { .. } | KvOperation::DeleteUnder(_) => false,
    }
}

fn too_large(text: String) -> Reply {
    Reply::text(StatusCode::PAYLOAD_TOO_LARGE, text)
}

/// How a transaction is answered.
#[derive(Clone, Debug)]
pub(crate) struct TxnDoor {
    is_read_only: bool,
    form: Form,
    datacenter: String,
    /// Whoever asks; he is not told what he may not see.
    access: Access,
}

impl TxnDoor {
    /// What was read, and at which revision it was committed.
    pub(super) fn done(&self, revision: Revision, read: &[TxnRead]) -> Reply {
        let reply = Reply::json(self.body(|w| {
            w.key("Results");
            w.array(|w| {
                for it in read.iter().filter(|it| self.sees(&it.object)) {
                    let of = |at: Option<Revision>| at.unwrap_or(revision);
                    let revisions = (of(it.created), of(it.modified));
                    w.object(|w| self.result(w, &it.object, revisions));
                }
            });
            w.key("Errors");
            w.null();
            if self.is_read_only {
                w.number_field("Index", revision.0);
                w.number_field("LastContact", 0_u32);
                w.boolean_field("KnownLeader", true);
                w.string_field("ConsistencyLevel", "");
                w.boolean_field("NotModified", false);
                w.number_field("Backend", 0_u32);
                w.boolean_field("ResultsFilteredByACLs", self.access.is_filtered());
            }
        }));
        if self.is_read_only { self.access.marked(with_contact(reply)) } else { reply }
    }

    fn sees(&self, object: &TxnObject) -> bool {
        match object {
            TxnObject::Kv(entry) => self.access.sees(Resource::Key, entry.key.as_str()),
            TxnObject::Node(node) => self.access.sees_node(node),
            TxnObject::Instance(instance) => self.access.sees_instance(instance),
            TxnObject::Check(check, owner) => self.access.sees_check(check, owner.as_ref()),
            // No operation reads one.
            TxnObject::VirtualAddress(_) => false,
        }
    }

    fn result(
        &self,
        w: &mut JsonWriter,
        object: &TxnObject,
        (created, modified): (Revision, Revision),
    ) {
        match object {
            TxnObject::Kv(entry) => {
                w.key("KV");
                kv::shape_at(w, entry, (created, modified));
            }
            TxnObject::Node(node) => {
                w.key("Node");
                let stored = Stored { value: node.clone(), created, modified };
                shapes::node(w, &stored, &self.datacenter);
            }
            TxnObject::Instance(instance) => {
                w.key("Service");
                let stored = Stored { value: instance.clone(), created, modified };
                shapes::node_service_of_txn(w, &stored);
            }
            TxnObject::Check(check, owner) => {
                w.key("Check");
                let view = CheckView { check, owner: owner.as_ref(), created, modified };
                shapes::check_of_txn(w, &view);
            }
            TxnObject::VirtualAddress(_) => {}
        }
    }

    /// Which operations cannot be done, and why.
    pub(super) fn refused(&self, refusals: &[(usize, impl Display)]) -> Reply {
        refused(self.form, refusals)
    }

    fn body(&self, fill: impl FnOnce(&mut JsonWriter)) -> Vec<u8> {
        self.form.body(|w| w.object(fill))
    }
}

fn refused(form: Form, refusals: &[(usize, impl Display)]) -> Reply {
    let body = form.body(|w| {
        w.object(|w| {
            w.key("Results");
            w.null();
            w.key("Errors");
            w.array(|w| {
                for (at, refusal) in refusals {
                    w.object(|w| {
                        w.number_field("OpIndex", *at as u64);
                        w.string_field("What", &refusal.to_string());
                    });
                }
            });
        });
    });
    Reply::json(body).with_status(StatusCode::CONFLICT)
}
