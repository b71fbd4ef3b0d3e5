//! The forms of records.

use std::time::Duration;

use hickory_proto::op::{Edns, Message, ResponseCode};
use hickory_proto::rr::RecordType::{self, A, AAAA, NS, SOA, SRV, TXT};
use hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsCode, EdnsOption};
use model::{CheckStatus, Instance, Object, Weights};

use super::fixture::{Fixture, lines, mesh, question};
use crate::{DnsConfig, ServiceTtls, Transport};

/// Asks the mesh and compares answers, authorities and additionals.
#[track_caller]
fn check(name: &str, qtype: RecordType, expected: [&[&str]; 3]) {
    let reply = mesh().ask(name, qtype);
    let sections = [&reply.answers, &reply.authorities, &reply.additionals];
    assert_eq!(sections.map(|it| lines(it)), expected.map(|it| it.to_vec()), "{name} {qtype}");
}

const SOA_OF_CONSUL: &str =
    "consul. 0 SOA ns.consul. hostmaster.consul. 1700000000 3600 600 86400 0";

#[test]
fn a_node_is_its_address_with_its_metadata() {
    let meta = ["n1.node.consul. 0 TXT \"plain\"", "n1.node.consul. 0 TXT \"zone=a=b\""].as_slice();
    check("n1.node.consul.", A, [&["n1.node.consul. 0 A 10.0.0.1"], &[], meta]);
    check("n1.node.consul.", TXT, [meta, &[], &[]]);
    check("n2.node.consul.", AAAA, [&["n2.node.consul. 0 AAAA fd00::2"], &[], &[]]);
}

#[test]
fn keys_of_metadata_are_quoted_after_rfc_1464() {
    let meta = [(" a=b` ", "c`=d"), ("long", &"x".repeat(300))];
    let fixture = Fixture::default().node_with_meta("n1", "10.0.0.1", &meta);
    let reply =
        fixture.ask_with("n1.node.consul.", TXT, &DnsConfig::default(), Transport::Tcp, None);
    let long = format!("n1.node.consul. 0 TXT \"long={}\" \"{}\"", "x".repeat(250), "x".repeat(50));
    assert_eq!(lines(&reply.answers), [r#"n1.node.consul. 0 TXT "` a`=b``` =c``=d""#, &long]);
}

#[test]
fn an_srv_record_points_to_the_node_or_to_the_spelled_address() {
    check(
        "web.service.consul.",
        SRV,
        [
            &[
                "web.service.consul. 0 SRV 1 1 80 n1.node.dc1.consul.",
                "web.service.consul. 0 SRV 1 1 8080 c0a80007.addr.dc1.consul.",
            ],
            &[],
            &[
                "c0a80007.addr.dc1.consul. 0 A 192.168.0.7",
                "n1.node.dc1.consul. 0 A 10.0.0.1",
                "n1.node.dc1.consul. 0 TXT \"plain\"",
                "n1.node.dc1.consul. 0 TXT \"zone=a=b\"",
            ],
        ],
    );
    check(
        "legacy.service.consul.",
        SRV,
        [&["legacy.service.consul. 0 SRV 1 1 82 host.example.com."], &[], &[]],
    );
}

#[test]
fn answers_echo_the_letter_case_of_the_question() {
    check(
        "API.Service.CONSUL.",
        SRV,
        [
            &["API.Service.CONSUL. 0 SRV 1 1 81 n1.node.dc1.CONSUL."],
            &[],
            &[
                "n1.node.dc1.CONSUL. 0 A 10.0.0.1",
                "n1.node.dc1.CONSUL. 0 TXT \"plain\"",
                "n1.node.dc1.CONSUL. 0 TXT \"zone=a=b\"",
            ],
        ],
    );
    check("API.Mesh.", A, [&["API.Mesh. 0 A 10.0.0.1"], &[], &[]]);
}

#[test]
fn an_address_that_is_a_name_is_an_alias() {
    check(
        "legacy.service.consul.",
        A,
        [&["legacy.service.consul. 0 CNAME host.example.com."], &[], &[]],
    );
    check("named.node.consul.", A, [&["named.node.consul. 0 CNAME host.example.com."], &[], &[]]);
    check(
        "alias.service.consul.",
        A,
        [
            &[
                "alias.service.consul. 0 CNAME web.service.consul.",
                "web.service.consul. 0 A 10.0.0.1",
                "web.service.consul. 0 A 192.168.0.7",
            ],
            &[],
            &[],
        ],
    );
}

#[test]
fn aliases_that_lead_in_a_circle_end() {
    let fixture = Fixture::default()
        .node("n1", "10.0.0.1")
        .instance("n1", "ping", "pong.service.consul", 1)
        .instance("n1", "pong", "ping.service.consul", 2);
    let reply =
        fixture.ask_with("ping.service.consul.", A, &DnsConfig::default(), Transport::Tcp, None);
    assert_eq!(reply.answers.len(), 4, "{:?}", lines(&reply.answers));
    let own_name =
        Fixture::default().node("n1", "10.0.0.1").instance("n1", "web", "web.service.consul", 1);
    assert_eq!(
        lines(&own_name.ask("web.service.consul.", A).answers),
        ["web.service.consul. 0 A 10.0.0.1"]
    );
}

#[test]
fn zones_have_a_soa_and_name_servers_with_glue() {
    let server = "consul. 0 NS n1.node.dc1.consul.";
    let glue = "n1.node.dc1.consul. 0 A 10.0.0.1";
    check("consul.", NS, [&[server], &[], &[glue]]);
    check("consul.", SOA, [&[SOA_OF_CONSUL], &[server], &[glue]]);
    check("nobody.node.consul.", A, [&[], &[SOA_OF_CONSUL], &[]]);
}

#[test]
fn a_spelled_address_of_the_other_family_is_additional() {
    let record = "0a000001.addr.consul. 0 A 10.0.0.1";
    check("0a000001.addr.consul.", A, [&[record], &[], &[]]);
    check("0a000001.addr.consul.", AAAA, [&[], &[], &[record]]);
}

#[test]
fn reverse_names_find_nodes_before_services() {
    let node = "1.0.0.10.in-addr.arpa. 0 PTR n1.node.dc1.consul.";
    check("1.0.0.10.in-addr.arpa.", RecordType::PTR, [&[node], &[], &[]]);
    let service = "7.0.168.192.in-addr.arpa. 0 PTR web.service.dc1.consul.";
    check("7.0.168.192.in-addr.arpa.", RecordType::PTR, [&[service], &[], &[]]);
    let v6 = "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa.";
    let pointer = format!("{v6} 0 PTR N2.node.dc1.consul.");
    check(v6, RecordType::PTR, [&[&pointer], &[], &[]]);
}

#[test]
fn weights_follow_health() {
    let instance = Instance {
        node: "n1".into(),
        id: "web".into(),
        service: "web".into(),
        weights: Weights { passing: 10, warning: 2 },
        ..Instance::default()
    };
    let fixture = Fixture::default().node("n1", "10.0.0.1").put(&Object::Instance(instance));
    let weight = |fixture: &Fixture| lines(&fixture.ask("web.mesh.", SRV).answers);
    assert_eq!(weight(&fixture), ["web.mesh. 0 SRV 1 10 0 n1.node.dc1.mesh."]);
    let fixture = fixture.check("n1", "web", "c", CheckStatus::Warning);
    assert_eq!(weight(&fixture), ["web.mesh. 0 SRV 1 2 0 n1.node.dc1.mesh."]);
}

#[test]
fn equal_records_are_given_once() {
    let instance = |id: &str, port| {
        Object::Instance(Instance {
            node: "n1".into(),
            id: id.into(),
            service: "web".into(),
            port,
            ..Instance::default()
        })
    };
    let fixture = Fixture::default()
        .node("n1", "10.0.0.1")
        .put(&instance("a", 80))
        .put(&instance("b", 80))
        .put(&instance("c", 81));
    assert_eq!(fixture.ask("web.mesh.", A).answers.len(), 1);
    let reply = fixture.ask("web.mesh.", SRV);
    assert_eq!((reply.answers.len(), reply.additionals.len()), (2, 1));
}

#[test]
fn ttls_come_from_the_node_and_from_the_most_exact_entry_of_the_service() {
    let seconds = Duration::from_secs;
    let config = DnsConfig {
        node_ttl: seconds(7),
        service_ttl: [("*", 1), ("w*", 2), ("we*", 3), ("API", 4)]
            .into_iter()
            .map(|(key, ttl)| (key, seconds(ttl)))
            .collect::<ServiceTtls>(),
        ..DnsConfig::default()
    };
    for (name, ttl) in [
        ("n1.node.consul.", 7),
        ("0a000001.addr.consul.", 7),
        ("web.service.consul.", 3),
        ("api.service.consul.", 4),
        ("alias.service.consul.", 1),
    ] {
        let reply = mesh().ask_with(name, A, &config, Transport::Udp, None);
        assert_eq!(reply.answers[0].ttl, ttl, "{name}");
    }
}

#[test]
fn edns_is_echoed_with_a_subnet_of_scope_0() {
    let mut request = Message::from_vec(&question("web.service.consul.", A, Some(4096))).unwrap();
    let subnet = ClientSubnet::new("10.9.8.0".parse().unwrap(), 24, 0);
    request.edns.as_mut().unwrap().options_mut().insert(EdnsOption::Subnet(subnet));
    let reply = mesh().ask_bytes(&request.to_vec().unwrap(), &DnsConfig::default(), Transport::Udp);
    let edns = Message::from_vec(&reply).unwrap().edns.unwrap();
    assert_eq!(edns.max_payload(), 4096);
    assert_eq!(edns.option(EdnsCode::Subnet), Some(&EdnsOption::Subnet(subnet)));
    assert_eq!(mesh().ask("web.service.consul.", A).edns, None);
}

#[test]
fn an_unknown_version_of_edns_is_refused() {
    let mut request = Message::from_vec(&question("web.service.consul.", A, Some(4096))).unwrap();
    let mut edns = Edns::new();
    edns.set_version(1);
    request.set_edns(edns);
    let reply = mesh().ask_bytes(&request.to_vec().unwrap(), &DnsConfig::default(), Transport::Udp);
    let reply = Message::from_vec(&reply).unwrap();
    assert_eq!(u16::from(reply.metadata.response_code), u16::from(ResponseCode::BADVERS));
}
