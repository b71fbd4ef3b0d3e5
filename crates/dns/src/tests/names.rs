//! Which names exist, and the codes of those that do not.

use std::sync::Arc;

use hickory_proto::op::ResponseCode::{self, NXDomain, NoError, NotImp, Refused};
use hickory_proto::rr::RecordType::{self, A, AAAA, ANY, AXFR, MX, NS, PTR, SOA, SRV, TXT};
use model::{CheckStatus, FlatMap, Instance, Object, ServiceAddress};

use super::fixture::{Fixture, lines, mesh, question};
use crate::{Answer, DnsConfig, Domain, Transport};

/// Name, type, code and number of answers.
const FORMS: &[(&str, RecordType, ResponseCode, usize)] = &[
    ("n1.node.consul.", A, NoError, 1),
    ("N1.NODE.Consul.", A, NoError, 1),
    ("n1.node.dc1.consul.", A, NoError, 1),
    ("n1.node.dc1.dc.consul.", A, NoError, 1),
    ("n1.node.dc2.consul.", A, NXDomain, 0),
    ("n1.node.dc1.peer.consul.", A, NXDomain, 0),
    ("n1.node.a.b.c.d.consul.", A, NXDomain, 0),
    ("n.dotted.node.consul.", A, NoError, 1),
    ("n1.node.consul.", AAAA, NoError, 0),
    ("n2.node.consul.", AAAA, NoError, 1),
    ("n2.node.consul.", A, NoError, 0),
    ("n1.node.consul.", TXT, NoError, 2),
    ("n1.node.consul.", ANY, NoError, 3),
    ("n1.node.consul.", MX, NoError, 0),
    ("nobody.node.consul.", A, NXDomain, 0),
    ("node.consul.", A, NXDomain, 0),
    ("web.service.consul.", A, NoError, 2),
    ("web.service.dc1.consul.", A, NoError, 2),
    ("web.service.dc2.consul.", A, NXDomain, 0),
    ("web.service.mesh.", A, NoError, 2),
    ("web.mesh.", A, NoError, 2),
    ("web.mesh.", SRV, NoError, 2),
    ("web.consul.", A, NXDomain, 0),
    ("primary.web.mesh.", A, NXDomain, 0),
    ("_web._tcp.mesh.", SRV, NoError, 2),
    ("primary.web.service.consul.", A, NoError, 1),
    ("PRIMARY.web.service.consul.", A, NoError, 1),
    ("v1.2.web.service.consul.", A, NoError, 1),
    ("none.web.service.consul.", A, NXDomain, 0),
    ("web.service.consul.", SRV, NoError, 2),
    ("_web._tcp.service.consul.", SRV, NoError, 2),
    ("_web._tcp.service.consul.", A, NoError, 2),
    ("_web._v2.service.consul.", SRV, NoError, 1),
    ("_web._tcp.consul.", SRV, NoError, 2),
    ("_web._tcp.dc1.consul.", SRV, NoError, 2),
    ("_web._tcp.dc9.consul.", SRV, NXDomain, 0),
    ("_web._tcp.consul.", A, NXDomain, 0),
    ("_web._udp.consul.", SRV, NXDomain, 0),
    ("web.service.consul.", TXT, NoError, 2),
    ("web.service.consul.", MX, NoError, 0),
    ("api.service.consul.", AAAA, NoError, 0),
    ("down.service.consul.", A, NXDomain, 0),
    ("service.consul.", A, NXDomain, 0),
    ("0a000001.addr.consul.", A, NoError, 1),
    ("0a000001.addr.dc1.consul.", A, NoError, 1),
    ("0a000001.addr.consul.", AAAA, NoError, 0),
    ("fd000000000000000000000000000002.addr.consul.", AAAA, NoError, 1),
    ("0a0000.addr.consul.", A, NXDomain, 0),
    ("+a000001.addr.consul.", A, NXDomain, 0),
    ("x.0a000001.addr.consul.", A, NXDomain, 0),
    ("web.virtual.consul.", A, NXDomain, 0),
    ("web.ingress.consul.", A, NXDomain, 0),
    ("web.query.consul.", A, NXDomain, 0),
    ("web.connect.consul.", A, NXDomain, 0),
    ("consul.", A, NXDomain, 0),
    ("consul.", SOA, NoError, 1),
    ("whatever.consul.", SOA, NoError, 1),
    ("consul.", NS, NoError, 1),
    ("mesh.", NS, NoError, 1),
    ("consul.", AXFR, NotImp, 0),
    ("1.0.0.10.in-addr.arpa.", PTR, NoError, 1),
    ("7.0.168.192.in-addr.arpa.", PTR, NoError, 1),
    ("9.0.0.10.in-addr.arpa.", PTR, NXDomain, 0),
    ("10.in-addr.arpa.", PTR, NXDomain, 0),
    ("example.com.", A, Refused, 0),
    ("xconsul.", A, Refused, 0),
];

#[test]
fn every_form_of_a_name_gets_its_code_and_number_of_answers() {
    let mesh = mesh();
    for (name, qtype, code, answers) in FORMS {
        let reply = mesh.ask(name, *qtype);
        assert_eq!(reply.metadata.response_code, *code, "{name} {qtype}");
        assert_eq!(reply.answers.len(), *answers, "{name} {qtype}: {:?}", lines(&reply.answers));
        let in_zone = *code != Refused;
        assert_eq!(reply.metadata.authoritative, in_zone, "{name} {qtype}");
        assert!(!reply.metadata.recursion_available && reply.metadata.recursion_desired);
        if *code == NXDomain {
            assert_eq!(reply.authorities[0].record_type(), SOA, "{name} {qtype}");
        }
    }
}

#[test]
fn no_data_about_a_service_has_a_soa_and_about_a_node_has_none() {
    let mesh = mesh();
    assert_eq!(mesh.ask("api.service.consul.", AAAA).authorities.len(), 1);
    assert_eq!(mesh.ask("n1.node.consul.", AAAA).authorities.len(), 0);
}

#[test]
fn other_names_go_to_the_recursors_when_there_are_some() {
    let mesh = mesh();
    let config = DnsConfig { recursion: true, ..DnsConfig::default() };
    for (name, qtype, is_recursed) in [
        ("example.com.", A, true),
        ("9.0.0.10.in-addr.arpa.", PTR, true),
        ("1.0.0.10.in-addr.arpa.", PTR, false),
        ("nobody.node.consul.", A, false),
    ] {
        let answer = mesh.answer(&question(name, qtype, None), &config, Transport::Udp);
        assert_eq!(answer == Answer::Recurse, is_recursed, "{name}");
    }
    let reply = mesh.ask_with("web.mesh.", A, &config, Transport::Udp, None);
    assert!(reply.metadata.recursion_available);
}

#[test]
fn domains_can_be_chosen_and_mesh_stays() {
    let mesh = mesh();
    let config = DnsConfig {
        domain: Domain::new("corp.example").unwrap(),
        alt_domain: Some(Domain::new("consul").unwrap()),
        ..DnsConfig::default()
    };
    for name in ["web.service.corp.example.", "web.service.consul.", "web.mesh."] {
        let reply = mesh.ask_with(name, A, &config, Transport::Udp, None);
        assert_eq!(reply.answers.len(), 2, "{name}");
    }
    let pointer = mesh.ask_with("1.0.0.10.in-addr.arpa.", PTR, &config, Transport::Udp, None);
    assert_eq!(lines(&pointer.answers), ["1.0.0.10.in-addr.arpa. 0 PTR n1.node.dc1.corp.example."]);
    assert!(Domain::new("").is_err());
    assert!(Domain::new("a..b").is_err());
}

#[test]
fn a_critical_check_of_the_instance_or_of_its_node_excludes_it() {
    use CheckStatus::{Critical, Passing, Warning};
    let two = || Fixture::crowd(2);
    let table = [
        (two().check("n0", "web", "c", Passing), 2, 2),
        (two().check("n0", "web", "c", Warning), 2, 1),
        (two().check("n0", "web", "c", Critical), 1, 1),
        (two().check("n0", "", "serfHealth", Critical), 1, 1),
        (two().check("n0", "", "_node_maintenance", Critical), 1, 1),
        (two().check("n0", "web", "_service_maintenance:web", Critical), 1, 1),
        (two().check("n0", "", "c", Critical).check("n1", "web", "c", Critical), 0, 0),
    ];
    let strict = DnsConfig { only_passing: true, ..DnsConfig::default() };
    for (idx, (fixture, usable, passing)) in table.into_iter().enumerate() {
        assert_eq!(fixture.ask("web.mesh.", A).answers.len(), usable, "row {idx}");
        let reply = fixture.ask_with("web.mesh.", A, &strict, Transport::Udp, None);
        assert_eq!(reply.answers.len(), passing, "row {idx}");
    }
}

#[test]
fn connect_names_select_native_instances_and_sidecars() {
    let instance = |id: &str, service: &str, address: &str| Instance {
        node: "n1".into(),
        id: id.into(),
        service: service.into(),
        address: address.into(),
        ..Instance::default()
    };
    let native = Instance { connect_native: true, ..instance("native", "web", "10.1.0.2") };
    let sidecar = Instance {
        kind: "connect-proxy".into(),
        proxy: Some(Arc::new(serde_json::json!({"DestinationServiceName": "web"}))),
        ..instance("sidecar", "any-name", "10.1.0.3")
    };
    let fixture = Fixture::default()
        .node("n1", "10.0.0.1")
        .put(&Object::Instance(instance("plain", "web", "10.1.0.1")))
        .put(&Object::Instance(native))
        .put(&Object::Instance(sidecar));
    assert_eq!(
        lines(&fixture.ask("web.connect.consul.", A).answers),
        ["web.connect.consul. 0 A 10.1.0.2", "web.connect.consul. 0 A 10.1.0.3"]
    );
}

#[test]
fn tagged_lan_addresses_win_by_family() {
    let tagged: FlatMap<ServiceAddress> = [("lan_ipv4", "10.9.9.9"), ("lan_ipv6", "fd00::9")]
        .into_iter()
        .map(|(key, address)| (key, ServiceAddress { address: address.into(), port: 1 }))
        .collect();
    let fixture = Fixture::default().node("n1", "10.0.0.1").put(&Object::Instance(Instance {
        node: "n1".into(),
        id: "web".into(),
        service: "web".into(),
        address: "10.1.0.1".into(),
        tagged_addresses: tagged,
        ..Instance::default()
    }));
    for (qtype, expected) in [
        (A, "web.mesh. 0 A 10.9.9.9"),
        (AAAA, "web.mesh. 0 AAAA fd00::9"),
        (ANY, "web.mesh. 0 AAAA fd00::9"),
        (TXT, "web.mesh. 0 A 10.1.0.1"),
    ] {
        assert_eq!(lines(&fixture.ask("web.mesh.", qtype).answers), [expected], "{qtype}");
    }
}
