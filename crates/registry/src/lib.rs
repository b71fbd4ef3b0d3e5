//! # registry: how truth changes
//!
//! [`transact`] reads a [`Catalog`](model::Catalog) and turns a [`Command`] into a [`Txn`](model::Txn) with compares on
//! what it read; [`verdict`] merges the checks of an instance into one state with its reasons; [`CheckJudge`] turns
//! results of probes into verdicts.
//!
//! *May touch:* nothing. `now` is an argument. *Does not know:* who asks, where truth is stored, who waits.
//!
//! Invariants:
//! * A command that would change nothing makes an empty transaction: no index moves, nobody wakes.
//! * A transaction compares every key that the decision depended on, and that nothing came to be below what it removes,
//!   so it can be run against any later state: of two writers that pass each other one has a conflict, and no instance
//!   or check is left without its node.

mod command;
mod judge;
mod outlook;
mod query;
mod rejection;
mod rivals;
mod session_keeper;
mod sightings;
#[cfg(test)]
mod tests;
mod transact;
mod verdict;

pub use command::{
    CatalogRegistration, CatalogTarget, Command, DocumentsChange, KvCondition, KvOperation,
    RecordCondition, ServiceRegistration, SidecarPorts, SidecarRegistration, TxnOperation, TxnVerb,
};
pub use judge::{
    Cadence, CheckJudge, CheckRun, LastRun, REAPER_PERIOD, Reaper, TtlJudge, alias_verdict,
    clip_note, output_bytes_max, reaps_after,
};
pub use outlook::{Known, Outlook, Restart, find_instances, outlook};
pub use query::{
    QueriedInstance, TemplateError, check_template, find_query, instances_of_query, rendered,
};
pub use rejection::{AclRejection, ObjectName, Rejection};
pub use session_keeper::SessionKeeper;
pub use sightings::{
    Moment, SeenByProxy, Sighting, SightingKind, SightingRules, Sightings, SightingsState,
    SightingsView, instance_of_endpoint,
};
pub use transact::{ACL_BOOTSTRAP, Decision, MEMBER_CHECK, TxnObject, TxnRead, decide, transact};
pub use verdict::{Reason, Verdict, VerdictState, aggregate, verdict, verdict_without_sightings};
