//! The certificate authority of the mesh: its root is made once and stored; leaf certificates are issued to who asks, and
//! kept until it is time for new ones.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::{Acl, CA, LeafWanted, WriteOutcome, rfc3339};
use bytes::Bytes;
use ca::{Authority, CaError, Leaf};
use http::{Request, Response};
use model::{Catalog, Record, Revision, Setting, Table, Timestamp, WatchKey};
use parking_lot::Mutex;
use registry::{Command, RecordCondition, Rejection};
use runtime::Drain;

use crate::mesh::Mesh;

/// Most certificates that are kept: some 3 KiB each.
const LEAVES_MAX: usize = 4096;

/// Makes the root of the mesh, unless there is one.
///
/// # Errors
/// When it cannot be made or stored.
pub(crate) async fn ensure(mesh: &Mesh, cluster_id: Option<&str>) -> Result<(), String> {
    if mesh.catalog().record::<Setting>(CA).is_some() {
        return Ok(());
    }
    let fresh = || uuid::Uuid::new_v4().to_string();
    let cluster_id = cluster_id.map_or_else(fresh, str::to_owned);
    let authority = Authority::new(&cluster_id, Timestamp(runtime::unix_ms()));
    let authority = authority.map_err(|error| error.to_string())?;
    let body = serde_json::json!({ "Roots": [authority] });
    let record = Record::Setting(Setting { name: CA.to_owned(), body });
    let when = RecordCondition::ModifiedAt(Revision(0));
    match mesh.run(Command::PutRecord { record, when }).await {
        // Another agent was first.
        WriteOutcome::Done(..) | WriteOutcome::Rejected(Rejection::RecordIndexStale(_)) => Ok(()),
        WriteOutcome::Rejected(rejection) => Err(rejection.to_string()),
        WriteOutcome::Failed(error) => Err(error),
    }
}

/// The certificates that were issued here.
#[derive(Debug, Default)]
pub(crate) struct Leaves {
    issued: Mutex<BTreeMap<String, Issued>>,
}

#[derive(Clone, Debug)]
struct Issued {
    leaf: Arc<Leaf>,
    index: u64,
    /// Id of the root that it was issued by.
    root: String,
}

impl Leaves {
    /// Answers a client that wants a certificate: at once, or when there is another than the one that it has.
    pub(crate) async fn answer(
        &self,
        request: &Request<Bytes>,
        wanted: &LeafWanted,
        mesh: &Mesh,
        datacenter: &str,
        acl: &Acl,
        drain: &Drain,
    ) -> Result<Response<Bytes>, CaError> {
        let deadline = runtime::monotonic() + wanted.timeout;
        loop {
            let mut roots = mesh.watch(&[WatchKey::Table(Table::Setting)]);
            let now = Timestamp(runtime::unix_ms());
            let catalog = mesh.catalog();
            let issued = self.current(&catalog, &wanted.service, datacenter, now)?;
            let left = deadline.saturating_duration_since(runtime::monotonic());
            if issued.index > wanted.seen || left.is_zero() || wanted.seen == 0 {
                return Ok(response(request, acl, &issued, wanted.is_pretty));
            }
            drop(catalog);
            let until_renewal = issued.leaf.renew_at().since(now).max(Duration::from_millis(1));
            tokio::select! {
                () = tokio::time::sleep(left.min(until_renewal)) => {}
                () = roots.changed() => {}
                () = drain.begun() => return Ok(response(request, acl, &issued, wanted.is_pretty)),
            }
        }
    }

    fn current(
        &self,
        catalog: &Catalog,
        service: &str,
        datacenter: &str,
        now: Timestamp,
    ) -> Result<Issued, CaError> {
        let stored = catalog.record::<Setting>(CA).ok_or(CaError::RootExpired)?;
        let authorities = Authority::all_of(&stored.body["Roots"]);
        let authority = authorities.first().ok_or(CaError::RootExpired)?;
        let mut issued = self.issued.lock();
        let before = issued.get(service);
        if let Some(kept) = before.filter(|it| it.root == authority.id && now < it.leaf.renew_at())
        {
            return Ok(kept.clone());
        }
        let ttl = api::leaf_ttl(&stored.body["Config"]);
        let leaf = Arc::new(authority.issue(service, datacenter, now, ttl)?);
        let index =
            before.map_or(catalog.revision().0, |it| catalog.revision().0.max(it.index + 1));
        let fresh = Issued { leaf, index: index.max(1), root: authority.id.clone() };
        if issued.len() >= LEAVES_MAX {
            issued.clear();
        }
        issued.insert(service.to_owned(), fresh.clone());
        Ok(fresh)
    }
}

fn response(
    request: &Request<Bytes>,
    acl: &Acl,
    issued: &Issued,
    is_pretty: bool,
) -> Response<Bytes> {
    let leaf = &issued.leaf;
    let fields = [
        ("SerialNumber", leaf.serial.clone()),
        ("CertPEM", leaf.cert_pem.clone()),
        ("PrivateKeyPEM", leaf.key_pem.clone()),
        ("Service", leaf.service.clone()),
        ("ServiceURI", leaf.uri.clone()),
        ("ValidAfter", rfc3339(leaf.not_before)),
        ("ValidBefore", rfc3339(leaf.not_after)),
    ];
    api::leaf_response(request, acl, &fields, issued.index, is_pretty)
}
