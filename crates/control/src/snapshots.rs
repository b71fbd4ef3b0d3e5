//! `/v1/snapshot`: all that the store holds, out and in.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};
use model::{Compare, Node, Object, Operation, Txn};
use store::{Committed, Snapshot};

use crate::mesh::Mesh;

/// Most times that a restore is tried again because somebody wrote meanwhile.
const CONFLICTS_MAX: u32 = 100;

/// A snapshot cannot be saved or restored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SnapshotError {
    /// The file cannot be used.
    #[error(transparent)]
    Archive(#[from] store::ArchiveError),
    /// An object in it cannot be read by this version.
    #[error("failed to read snapshot file: {0}")]
    Object(#[from] model::DecodeError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::StoreError),
    /// Others kept writing.
    #[error("failed to restore snapshot: other writers kept changing what is to be replaced")]
    Conflicts,
    /// The agent is ending.
    #[error("the agent is shutting down")]
    Ending,
}

/// Everything, as a file.
pub(crate) async fn save(mesh: &Mesh) -> Result<Response<Bytes>, SnapshotError> {
    let snapshot = mesh.store().snapshot().await?;
    let index = snapshot.revision.0.max(1);
    // Packing takes its time.
    let packed = tokio::task::spawn_blocking(move || store::write_archive(&snapshot)).await;
    let mut response = Response::new(Bytes::from(packed.map_err(|_| SnapshotError::Ending)??));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-gzip"));
    headers.insert("x-consul-index", HeaderValue::from(index));
    headers.insert("x-consul-knownleader", HeaderValue::from_static("true"));
    headers.insert("x-consul-lastcontact", HeaderValue::from_static("0"));
    Ok(response)
}

/// Makes everything as it was, in one commit: what is the same stays as it is, the rest is changed at a new revision, for
/// revisions never go back. A file that is damaged, or holds an object that cannot be read, changes nothing. The record of
/// `own`, the agent's node, is as it is now: a new agent takes the place of the one of that name.
pub(crate) async fn restore(mesh: &Mesh, file: Bytes, own: &Node) -> Result<(), SnapshotError> {
    let own = Object::Node(own.clone()).put();
    let read = move || -> Result<Snapshot, SnapshotError> {
        let mut snapshot = store::read_archive(&file)?;
        for entry in &mut snapshot.entries {
            Object::decode(&entry.key, &entry.value)?;
            if let Operation::Put { key, value, .. } = &own
                && *key == entry.key
            {
                entry.value = value.clone();
            }
        }
        Ok(snapshot)
    };
    let wanted = tokio::task::spawn_blocking(read).await.map_err(|_| SnapshotError::Ending)??;
    for _ in 0..CONFLICTS_MAX {
        let present = mesh.store().snapshot().await?;
        match mesh.store().commit(replacement(&present, &wanted)).await? {
            Committed::At(revision) => {
                return mesh.applied(revision).await.map_err(|_| SnapshotError::Ending);
            }
            Committed::Conflict { .. } => {}
        }
    }
    Err(SnapshotError::Conflicts)
}

/// What makes one of the other. Both are sorted by key.
fn replacement(present: &Snapshot, wanted: &Snapshot) -> Txn {
    let mut txn = Txn {
        compares: vec![Compare::NothingAdded { prefix: String::new(), since: present.revision }],
        operations: Vec::new(),
    };
    let mut wanted = wanted.entries.iter().peekable();
    let put = |entry: &model::Entry| Operation::Put {
        key: entry.key.clone(),
        value: entry.value.clone(),
        lease: None,
    };
    for old in &present.entries {
        while let Some(new) = wanted.next_if(|it| it.key < old.key) {
            txn.operations.push(put(new));
        }
        match wanted.next_if(|it| it.key == old.key) {
            Some(new) if new.value == old.value => {
                txn.compares.push(Compare::Key { key: old.key.clone(), modified: old.modified });
            }
            Some(new) => txn.operations.push(put(new)),
            None => txn.operations.push(Operation::Delete { key: old.key.clone() }),
        }
    }
    txn.operations.extend(wanted.map(put));
    txn
}

#[cfg(test)]
mod tests {
    use model::{Entry, Revision};

    use super::*;

    #[test]
    fn a_replacement_touches_only_what_differs() {
        let entry = |key: &str, value: &str, at| Entry {
            key: key.into(),
            value: value.as_bytes().into(),
            created: Revision(at),
            modified: Revision(at),
        };
        let of = |entries: Vec<Entry>| Snapshot { revision: Revision(9), entries };
        let present = of(vec![entry("b", "1", 2), entry("c", "1", 3), entry("d", "1", 4)]);
        let wanted = of(vec![
            entry("a", "1", 1),
            entry("b", "1", 1),
            entry("c", "2", 1),
            entry("e", "1", 1),
        ]);
        let txn = replacement(&present, &wanted);
        let keys: Vec<&str> = txn.operations.iter().map(Operation::key).collect();
        assert_eq!(keys, ["a", "c", "d", "e"]);
        assert!(matches!(&txn.operations[2], Operation::Delete { .. }));
        let unchanged = Compare::Key { key: "b".into(), modified: Revision(2) };
        assert!(txn.compares.contains(&unchanged) && txn.compares.len() == 2);
    }
}
