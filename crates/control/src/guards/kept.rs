//! What the store keeps of guards, so that an agent that is killed goes on with them.

use std::collections::{BTreeSet, VecDeque};

use model::{
    Catalog, Document, DocumentChange, DocumentKey, NodeName, Record, RecordKey, Revision, Setting,
    Spec, Table,
};
use recovery::{Guard, ScopeCounts};
use serde::{Deserialize, Serialize};

use super::memory::Slice;
use super::report::{GuardReport, GuardState, Guarded, GuardedDocument, Past, version_of};
use super::scopes::Scope;

/// Guards that have ended and are remembered.
const PAST_MAX: usize = 50;

/// All guards of an agent.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Kept {
    /// Number of the last guard.
    pub last_id: u64,
    /// Those that watch, the oldest first.
    pub active: Vec<Active>,
    /// Those that have ended, the oldest first.
    pub past: VecDeque<Past>,
}

/// A guard that watches.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Active {
    pub id: u64,
    /// When it was asked for, in milliseconds since 1970.
    pub began_ms: u64,
    pub window_ms: u64,
    /// What it guards, and how to take that back. With all documents it may be large, and is in a record of its own.
    #[serde(default, skip_serializing)]
    pub changes: Vec<DocumentChange>,
    /// The store does not have [`Self::changes`] as they are.
    #[serde(skip)]
    pub is_unsaved: bool,
    /// What it compares, with what was before the change.
    pub scopes: Vec<(Scope, Vec<ScopeCounts>)>,
    /// How long that was, in milliseconds.
    pub before_ms: u64,
    pub stage: Stage,
    /// What was before, of all hosts: for those that only the changed configuration touches.
    #[serde(skip)]
    pub remembered: Vec<Slice>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Stage {
    /// The change is about to be made.
    Asked,
    /// It has been made, at this revision.
    Watching { revision: Revision, guard: Box<Guard> },
    /// It is being taken back, for this reason.
    Undoing { reason: String },
}

impl Kept {
    /// Reads what the store has; nothing when there is nothing that this version can read.
    pub(super) fn load(catalog: &Catalog, node: &NodeName) -> Self {
        let Some(stored) = catalog.record::<Setting>(&record_name(node)) else {
            return Self::default();
        };
        let read = serde_json::from_value(stored.value.body.clone());
        let mut kept: Self = read.unwrap_or_else(|error| {
            tracing::error!(%error, "the state of guards cannot be read: changes under way are not guarded");
            Self::default()
        });
        kept.active.retain_mut(|it| it.load_changes(catalog, node));
        kept
    }

    pub(super) fn record(&self, node: &NodeName) -> Record {
        let body = serde_json::to_value(self).expect("it has text keys only");
        Record::Setting(Setting { name: record_name(node), body })
    }

    /// The records of changes of guards that have ended.
    pub(super) fn left_over(&self, catalog: &Catalog, node: &NodeName) -> Vec<RecordKey> {
        let own: BTreeSet<String> =
            self.active.iter().map(|it| changes_name(node, it.id)).collect();
        let stored = catalog.records_under::<Setting>(&changes_prefix(node));
        stored
            .filter(|it| !own.contains(&it.value.name))
            .map(|it| RecordKey::new(Table::Setting, &it.value.name))
            .collect()
    }

    /// Ends a guard.
    pub(super) fn conclude(
        &mut self,
        guard: &Active,
        state: GuardState,
        reason: String,
        (catalog, now_ms): (&Catalog, u64),
    ) {
        if self.past.len() == PAST_MAX {
            self.past.pop_front();
        }
        let report = GuardReport { state, reason, ended_ms: Some(now_ms), ..guard.report(catalog) };
        let current = |it: &GuardedDocument| version_of(document(catalog, &it.key));
        let versions = report.documents.iter().map(current).collect();
        self.past.push_back(Past { report, versions });
    }
}

impl Active {
    /// Reads what it guards. False when that is not there: then it could take nothing back.
    fn load_changes(&mut self, catalog: &Catalog, node: &NodeName) -> bool {
        if !self.changes.is_empty() {
            // An earlier version kept all in one.
            self.is_unsaved = true;
            return true;
        }
        let stored = catalog.record::<Setting>(&changes_name(node, self.id));
        let read = stored.map(|it| serde_json::from_value(it.value.body.clone()));
        match read {
            Some(Ok(changes)) => {
                self.changes = changes;
                return true;
            }
            Some(Err(error)) => {
                tracing::error!(guard = self.id, %error, "its changes cannot be read: it ends");
            }
            None => tracing::error!(guard = self.id, "its changes are not in the store: it ends"),
        }
        false
    }

    /// What it guards, for the store.
    pub(super) fn changes_record(&self, node: &NodeName) -> Record {
        let body = serde_json::to_value(&self.changes).expect("it has text keys only");
        Record::Setting(Setting { name: changes_name(node, self.id), body })
    }

    pub(super) fn report(&self, catalog: &Catalog) -> GuardReport {
        let document = |change: &DocumentChange| GuardedDocument {
            key: change.key.clone(),
            now: standing(change, document(catalog, &change.key)),
        };
        GuardReport {
            id: self.id,
            state: GuardState::Watching,
            began_ms: self.began_ms,
            ended_ms: None,
            window_ms: self.window_ms,
            reason: String::new(),
            documents: self.changes.iter().map(document).collect(),
        }
    }

    /// True when a document is as the change makes it: all of it is made, or none, and somebody may have changed the others
    /// since.
    pub(super) fn is_made(&self, catalog: &Catalog) -> bool {
        self.changes.iter().any(|it| is_as_made(it, catalog))
    }

    /// True when nothing of it is left that could be taken back.
    pub(super) fn is_replaced(&self, catalog: &Catalog) -> bool {
        !self.is_made(catalog)
    }

    /// The revision from which on its change holds.
    pub(super) fn revision(&self, catalog: &Catalog) -> Revision {
        let modified = |it: &DocumentChange| match &it.after {
            Some(_) => catalog.document(&it.key).map(|it| it.modified),
            None => Some(catalog.revision()),
        };
        self.changes.iter().filter_map(modified).max().unwrap_or(catalog.revision())
    }

    /// The objects whose part in the configuration it is about, as the compiler names them. A secret is part of what those do
    /// that name it.
    pub(super) fn objects(&self, catalog: &Catalog) -> BTreeSet<String> {
        let mut objects: BTreeSet<String> =
            self.changes.iter().map(|it| it.key.to_string()).collect();
        let secrets: BTreeSet<(&str, &str)> = self
            .changes
            .iter()
            .filter(|it| it.key.kind == "Secret")
            .map(|it| (it.key.namespace.as_str(), it.key.name.as_str()))
            .collect();
        for document in catalog.documents() {
            if let Spec::Ingress(ingress) = &document.spec {
                let namespace = document.key.namespace.as_str();
                let named = |it: &model::IngressTls| secrets.contains(&(namespace, &*it.secret));
                if ingress.tls.iter().any(named) {
                    objects.insert(document.key.to_string());
                }
            }
        }
        objects
    }

    /// True when it changes documents again that an earlier guard watches, or is about to.
    pub(super) fn replaces(&self, earlier: &Active) -> bool {
        let is_waiting = matches!(earlier.stage, Stage::Asked);
        let is_again = |then: &DocumentChange| {
            let own = self.changes.iter().find(|it| it.key == then.key);
            // What was there before this change shows that the earlier one was made.
            own.is_some_and(|it| !is_waiting || is_next(it, then))
        };
        earlier.id < self.id && earlier.changes.iter().any(is_again)
    }

    fn is_about(&self, key: &DocumentKey) -> bool {
        self.changes.iter().any(|it| it.key == *key)
    }

    /// What was before `earlier` is what was good, for what that has changed is not known to be.
    pub(super) fn inherit(&mut self, earlier: &Active) {
        for before in &earlier.changes {
            let own = self.changes.iter_mut().find(|it| it.key == before.key);
            if let Some(own) = own
                && is_next(own, before)
            {
                own.before.clone_from(&before.before);
                self.is_unsaved = true;
            }
        }
    }

    /// Takes over what an earlier guard watches whose documents are changed again: all of it goes back to what was good.
    pub(super) fn take_over(&mut self, earlier: &Active, catalog: &Catalog) {
        self.inherit(earlier);
        for change in &earlier.changes {
            if !self.is_about(&change.key) && is_as_made(change, catalog) {
                self.changes.push(change.clone());
                self.is_unsaved = true;
            }
        }
        for (scope, before) in &earlier.scopes {
            match self.scopes.iter_mut().find(|it| it.0.is_same(scope)) {
                Some(own) => own.1.clone_from(before),
                None => self.scopes.push((scope.clone(), before.clone())),
            }
        }
        self.before_ms = earlier.before_ms;
    }

    /// Adds scopes that it does not have.
    pub(super) fn add_scopes(&mut self, scopes: Vec<Scope>) {
        for scope in scopes {
            if !self.scopes.iter().any(|it| it.0.is_same(&scope)) {
                let before = scope.before(&self.remembered);
                self.scopes.push((scope, before));
            }
        }
    }
}

fn document<'a>(catalog: &'a Catalog, key: &DocumentKey) -> Option<&'a Document> {
    catalog.document(key).map(|it| &it.value)
}

/// True when a document says what the change makes it say; it may have been applied again since.
fn is_as_made(change: &DocumentChange, catalog: &Catalog) -> bool {
    Document::say_the_same(document(catalog, &change.key), change.after.as_ref())
}

/// True when `later` changes what `earlier` has made.
fn is_next(later: &DocumentChange, earlier: &DocumentChange) -> bool {
    Document::say_the_same(later.before.as_ref(), earlier.after.as_ref())
}

fn standing(change: &DocumentChange, now: Option<&Document>) -> Guarded {
    if Document::say_the_same(now, change.after.as_ref()) {
        Guarded::Changed
    } else if !Document::say_the_same(now, change.before.as_ref()) {
        Guarded::Left
    } else if now.is_some() {
        Guarded::Restored
    } else {
        Guarded::Removed
    }
}

fn record_name(node: &NodeName) -> String {
    format!("guards/{}", node.folded())
}

fn changes_prefix(node: &NodeName) -> String {
    format!("guard-changes/{}/", node.folded())
}

fn changes_name(node: &NodeName, id: u64) -> String {
    format!("{}{id}", changes_prefix(node))
}
