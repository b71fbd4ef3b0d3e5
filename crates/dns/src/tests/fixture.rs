//! A catalog to ask, and questions as a client puts them.

use std::sync::Arc;

use acl::Authorizer;
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::{RData, Record, RecordType};
use model::{
    Catalog, Change, Check, CheckStatus, FlatMap, Instance, KeyChange, Node, Object, Operation,
    Revision, Timestamp,
};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::name::name_of;
use crate::{Answer, DnsConfig, Transport, answer};

pub(super) const NOW: Timestamp = Timestamp(1_700_000_000_123);

/// Access control is off.
pub(super) fn anybody(_: &str) -> Arc<Authorizer> {
    Arc::new(Authorizer::management())
}

/// Puts objects into a catalog, one change each.
#[derive(Default)]
pub(super) struct Fixture(pub(super) Catalog);

impl Fixture {
    pub(super) fn put(mut self, object: &Object) -> Self {
        let Operation::Put { key, value, .. } = object.put() else { unreachable!() };
        let revision = Revision(self.0.revision().0 + 1);
        let change = Change {
            revision,
            keys: vec![KeyChange::Put { key, value: Arc::clone(&value), created: revision }],
        };
        let (_, errors) = self.0.apply(&change);
        assert!(errors.is_empty(), "{errors:?}");
        self
    }

    pub(super) fn node(self, name: &str, address: &str) -> Self {
        let node = Node { name: name.into(), address: address.into(), ..Node::default() };
        self.put(&Object::Node(node))
    }

    pub(super) fn node_with_meta(
        self,
        name: &str,
        address: &str,
        meta: &[(&'static str, &str)],
    ) -> Self {
        let meta: FlatMap<String> = meta.iter().map(|(k, v)| (*k, (*v).to_owned())).collect();
        let node = Node { name: name.into(), address: address.into(), ..Node::default() };
        self.put(&Object::Node(Node { meta: Some(meta), ..node }))
    }

    /// An instance whose id is its service's name.
    pub(super) fn instance(self, node: &str, service: &str, address: &str, port: u16) -> Self {
        self.tagged(node, service, address, port, &[])
    }

    pub(super) fn tagged(
        self,
        node: &str,
        service: &str,
        address: &str,
        port: u16,
        tags: &[&str],
    ) -> Self {
        self.put(&Object::Instance(Instance {
            node: node.into(),
            id: service.into(),
            service: service.into(),
            address: address.into(),
            port,
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            ..Instance::default()
        }))
    }

    /// A check of an instance, or with an empty `service_id` of the node.
    pub(super) fn check(self, node: &str, service_id: &str, id: &str, status: CheckStatus) -> Self {
        self.put(&Object::Check(Check {
            node: node.into(),
            id: id.into(),
            service_id: service_id.into(),
            status,
            ..Check::default()
        }))
    }

    /// `count` instances of `web`, each on a node of its own with an address of its own.
    pub(super) fn crowd(count: u8) -> Self {
        (0..count).fold(Self::default(), |it, idx| {
            let node = format!("n{idx}");
            it.node(&node, &format!("10.0.0.{idx}")).instance(&node, "web", "", 8080)
        })
    }

    pub(super) fn ask(&self, name: &str, qtype: RecordType) -> Message {
        self.ask_with(name, qtype, &DnsConfig::default(), Transport::Udp, None)
    }

    pub(super) fn ask_with(
        &self,
        name: &str,
        qtype: RecordType,
        config: &DnsConfig,
        transport: Transport,
        edns_bytes: Option<u16>,
    ) -> Message {
        let bytes = self.ask_bytes(&question(name, qtype, edns_bytes), config, transport);
        Message::from_vec(&bytes).unwrap()
    }

    pub(super) fn ask_bytes(
        &self,
        request: &[u8],
        config: &DnsConfig,
        transport: Transport,
    ) -> Vec<u8> {
        match self.answer(request, config, transport) {
            Answer::Reply(bytes) => bytes,
            other => panic!("no reply but {other:?}"),
        }
    }

    pub(super) fn answer(
        &self,
        request: &[u8],
        config: &DnsConfig,
        transport: Transport,
    ) -> Answer {
        let mut rng = StdRng::seed_from_u64(7);
        answer(request, &self.0, &anybody, config, transport, &mut rng, NOW)
    }
}

/// A small mesh with one of everything.
pub(super) fn mesh() -> Fixture {
    Fixture::default()
        .node_with_meta("n1", "10.0.0.1", &[("zone", "a=b"), ("rfc1035-note", "plain")])
        .node("N2", "fd00::2")
        .node("named", "host.example.com")
        .node("n.dotted", "10.0.0.4")
        .tagged("n1", "web", "", 80, &["Primary", "v1.2"])
        .tagged("N2", "web", "192.168.0.7", 8080, &["v2"])
        .instance("n1", "api", "", 81)
        .instance("named", "legacy", "", 82)
        .instance("n1", "alias", "web.service.consul", 83)
        .instance("n1", "consul", "", 8300)
        .instance("n1", "down", "", 84)
        .check("n1", "down", "service:down", CheckStatus::Critical)
}

/// A query message with id 4711 and RD.
pub(super) fn question(name: &str, qtype: RecordType, edns_bytes: Option<u16>) -> Vec<u8> {
    let mut message = Message::new(4711, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name_of(name).unwrap(), qtype));
    if let Some(bytes) = edns_bytes {
        let mut edns = Edns::new();
        edns.set_max_payload(bytes);
        message.set_edns(edns);
    }
    message.to_vec().unwrap()
}

/// Records as a zone file has them, sorted.
pub(super) fn lines(records: &[Record]) -> Vec<String> {
    let mut lines: Vec<String> = records.iter().map(line).collect();
    lines.sort();
    lines
}

fn line(record: &Record) -> String {
    let data = match &record.data {
        RData::TXT(txt) => {
            let text = txt.txt_data.iter().map(|it| String::from_utf8_lossy(it));
            text.map(|it| format!("{it:?}")).collect::<Vec<_>>().join(" ")
        }
        RData::SRV(srv) => {
            format!("{} {} {} {}", srv.priority, srv.weight, srv.port, srv.target.to_ascii())
        }
        data => data.to_string(),
    };
    format!("{} {} {} {data}", record.name.to_ascii(), record.ttl, record.record_type())
}
