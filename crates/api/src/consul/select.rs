//! Which instances a read of a service is about.

use http::StatusCode;
use model::{Catalog, FlatMap, Folded, Instance, Node, Stored};

use super::Call;
use super::response::Reply;

/// The parameters that choose among the instances of a service, save `filter` and `passing`.
pub(super) struct Selection<'a> {
    /// All of them must be there, letter case ignored.
    tags: Vec<String>,
    node_meta: Vec<(&'a str, &'a str)>,
    kind: Kind,
    /// Another mesh was asked for. We know of none, so there is nothing.
    is_of_peer: bool,
}

/// Which instances of a service.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    All,
    /// Those that speak mutual TLS themselves. (Consul adds the proxies in front of others; we keep none.)
    Connect,
    /// Ingress gateways in front of the service: we keep none.
    Ingress,
}

impl<'a> Selection<'a> {
    /// # Errors
    /// 400 for sameness groups, which are not there.
    pub(super) fn of(call: &Call<'a>, kind: Kind) -> Result<Self, Reply> {
        let bad = |text: &str| Reply::text(StatusCode::BAD_REQUEST, text);
        let is_of_peer = !call.query.text("peer").is_empty();
        let groups = ["sg", "sameness-group"];
        if let Some(group) = groups.into_iter().find(|it| !call.query.text(it).is_empty()) {
            return Err(if is_of_peer {
                bad("peer-name and sameness-group are mutually exclusive")
            } else {
                let text = "Sameness groups are a Consul Enterprise feature";
                bad(&format!("Invalid query parameter: \"{group}\" - {text}"))
            });
        }
        let tags = call.query.all("tag").map(str::to_lowercase).collect();
        Ok(Self { tags, node_meta: call.query.node_meta(), kind, is_of_peer })
    }

    /// By `node-meta` alone, for the reads that know no tags.
    pub(super) fn of_node_meta(call: &Call<'a>) -> Self {
        let node_meta = call.query.node_meta();
        Self { tags: Vec::new(), node_meta, kind: Kind::All, is_of_peer: false }
    }

    /// The chosen instances of a service with their nodes, by node and then by id.
    pub(super) fn instances(
        &self,
        catalog: &'a Catalog,
        service: &Folded,
    ) -> impl Iterator<Item = (&'a Stored<Node>, &'a Stored<Instance>)> {
        // Instances come node by node, so most have the node of the one before.
        let mut last: Option<&'a Stored<Node>> = None;
        let node_of = move |instance: &Instance| {
            if last.is_none_or(|node| node.name != instance.node) {
                last = catalog.node(&instance.node.folded()).map(|node| &**node);
            }
            last
        };
        catalog
            .instances_of_service(service)
            .map(|it| &**it)
            .filter(|it| self.fits(it))
            .scan(node_of, |node_of, it| Some(node_of(it).map(|node| (node, it))))
            .flatten()
            .filter(|(node, _)| has_meta(node, &self.node_meta))
    }

    fn fits(&self, instance: &Instance) -> bool {
        let is_of_kind = match self.kind {
            Kind::All => true,
            Kind::Connect => instance.connect_native,
            Kind::Ingress => false,
        };
        let has = |tag: &String| instance.tags.iter().any(|own| own.to_lowercase() == *tag);
        is_of_kind && !self.is_of_peer && self.tags.iter().all(has)
    }
}

/// True if the node has all of these pairs.
pub(super) fn has_meta(node: &Node, pairs: &[(&str, &str)]) -> bool {
    let value = |key: &str| node.meta.as_ref().and_then(|meta: &FlatMap<String>| meta.get(key));
    pairs.iter().all(|(key, wanted)| value(key).is_some_and(|value| value == wanted))
}
