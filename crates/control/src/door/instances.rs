//! `/leno/v1/instances`: what is known of instances beside the catalog.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::{CopyFacts, Facts, InstanceFacts};
use bytes::Bytes;
use http::{Request, Response};
use model::{Folded, Instance, ServiceId, Timestamp};
use percent_encoding::percent_decode_str;
use registry::{Restart, SightingsState};

use super::{Door, INSTANCES, SERVICES};
use crate::fleet::Uses;
use crate::sightings::now;

/// Instances of one id that facts are gathered of; more nodes than that hardly have the same.
const INSTANCES_MAX: usize = 256;

impl Door {
    /// Has `api` answer it with what is known here. Who may see it is decided there.
    pub(super) async fn instances(&self, mut request: Request<Bytes>) -> Response<Bytes> {
        let path = request.uri().path().strip_prefix(INSTANCES).unwrap_or_default();
        if let Ok(id) = percent_decode_str(path).decode_utf8() {
            let catalog = self.mesh.catalog();
            let uses = self.compilation.fleet().uses();
            let found = registry::find_instances(&catalog, &id);
            let facts: BTreeMap<_, _> = found
                .into_iter()
                .take(INSTANCES_MAX)
                .map(|it| ((it.node.folded(), it.id.clone()), self.facts(it, &uses)))
                .collect();
            request.extensions_mut().insert(InstanceFacts(Arc::new(facts)));
        }
        self.ask_api(&request).await
    }

    /// Has `api` answer it with who of the service is spared; as it is when the request arrives, for it changes no catalog.
    pub(super) async fn service(&self, mut request: Request<Bytes>) -> Response<Bytes> {
        let path = request.uri().path().strip_prefix(SERVICES).unwrap_or_default();
        if let Ok(name) = percent_decode_str(path).decode_utf8() {
            let catalog = self.mesh.catalog();
            let spared = catalog.instances_of_service(&Folded::new(&name)).filter_map(|it| {
                let node = it.node.folded();
                let view = self.sightings.view(&node, &it.id);
                let sightings = view.filter(|it| it.state == SightingsState::Spared)?;
                let facts = Facts { sightings: Some(sightings), ..Facts::default() };
                Some(((node, it.id.clone()), facts))
            });
            let spared: BTreeMap<_, _> = spared.collect();
            if !spared.is_empty() {
                request.extensions_mut().insert(InstanceFacts(Arc::new(spared)));
            }
        }
        self.ask_api(&request).await
    }

    fn facts(&self, instance: &Instance, uses: &[(String, Arc<Uses>)]) -> Facts {
        let (node, id) = (&instance.node, &instance.id);
        let now = now();
        let of_node = self.probes.runs(node, &ServiceId::default());
        let runs = of_node.into_iter().chain(self.probes.runs(node, id));
        let endpoint = format!("{node}/{id}");
        let uses = uses.iter().filter_map(|(proxy, uses)| {
            let counted = uses.get(&endpoint)?;
            Some((proxy.clone(), counted.clone()))
        });
        let is_own = node.folded() == self.agent.node_name.folded();
        let copy = self.workloads.copy(id).filter(|_| is_own).map(|(name, copy)| CopyFacts {
            workload: name.to_string(),
            version: copy.version,
            state: copy.state,
            since_ms: copy.since_ms,
            pid: copy.pid,
            restarts: copy.restarts,
            output: copy.output,
            restart: copy.restart.map(|it| Restart {
                at: Timestamp(it.at_ms),
                number: it.number,
                max: it.max,
            }),
        });
        Facts {
            runs: runs.map(|it| it.told(now)).collect(),
            sightings: self.sightings.view(&node.folded(), id),
            uses: uses.collect(),
            copy,
        }
    }
}
