//! How many answers go into which transport.

use std::collections::BTreeSet;

use hickory_proto::op::Message;
use hickory_proto::rr::RecordType::{self, A, SRV};

use super::fixture::{Fixture, lines, question};
use crate::{DnsConfig, Transport};

fn ask(
    fixture: &Fixture,
    qtype: RecordType,
    transport: Transport,
    edns_bytes: Option<u16>,
) -> (Message, usize) {
    let request = question("web.service.consul.", qtype, edns_bytes);
    let bytes = fixture.ask_bytes(&request, &DnsConfig::default(), transport);
    (Message::from_vec(&bytes).unwrap(), bytes.len())
}

#[test]
fn a_hundred_instances_are_truncated_on_udp_and_complete_on_tcp() {
    let crowd = Fixture::crowd(100);
    for qtype in [A, SRV] {
        let (reply, bytes) = ask(&crowd, qtype, Transport::Udp, None);
        assert_eq!(reply.answers.len(), 3, "{qtype}");
        assert!(reply.metadata.truncation, "{qtype}");
        assert!(bytes <= 512, "{qtype}: {bytes}");
        let (reply, _) = ask(&crowd, qtype, Transport::Tcp, None);
        assert_eq!(lines(&reply.answers).iter().collect::<BTreeSet<_>>().len(), 100, "{qtype}");
        assert!(!reply.metadata.truncation, "{qtype}");
    }
}

#[test]
fn a_datagram_is_filled_up_to_what_edns_offers() {
    let crowd = Fixture::crowd(100);
    // 12 bytes of header, 25 of question, 16 for each address, 11 of OPT.
    for (edns_bytes, answers) in [(513, 28), (1232, 73), (1600, 96), (1656, 100), (4096, 100)] {
        let (reply, bytes) = ask(&crowd, A, Transport::Udp, Some(edns_bytes));
        assert!(bytes <= usize::from(edns_bytes) - 8, "{edns_bytes}: {bytes}");
        assert_eq!(reply.answers.len(), answers, "{edns_bytes}");
        assert_eq!(reply.metadata.truncation, answers < 100, "{edns_bytes}");
        assert!(reply.edns.is_some());
    }
    let (reply, bytes) = ask(&crowd, SRV, Transport::Udp, Some(1232));
    assert!(bytes <= 1232 && reply.metadata.truncation);
    assert_eq!(reply.answers.len(), reply.additionals.len(), "each target has its address");
}

#[test]
fn edns_of_512_bytes_is_limited_in_number_as_without_it() {
    let (reply, _) = ask(&Fixture::crowd(10), A, Transport::Udp, Some(512));
    assert_eq!(reply.answers.len(), 3);
    let config = DnsConfig { udp_answer_limit: 100, ..DnsConfig::default() };
    let reply = Fixture::crowd(10).ask_with("web.mesh.", A, &config, Transport::Udp, None);
    assert_eq!(reply.answers.len(), 8);
}

#[test]
fn three_instances_on_udp_are_not_truncated() {
    let (reply, _) = ask(&Fixture::crowd(3), A, Transport::Udp, None);
    assert_eq!(reply.answers.len(), 3);
    assert!(!reply.metadata.truncation);
}

#[test]
fn truncation_can_be_kept_silent() {
    let config = DnsConfig { enable_truncate: false, ..DnsConfig::default() };
    let reply = Fixture::crowd(10).ask_with("web.mesh.", A, &config, Transport::Udp, None);
    assert_eq!(reply.answers.len(), 3);
    assert!(!reply.metadata.truncation);
}

#[test]
fn the_limit_of_address_records_is_no_truncation() {
    let config = DnsConfig { a_record_limit: 2, ..DnsConfig::default() };
    for transport in [Transport::Udp, Transport::Tcp] {
        let reply = Fixture::crowd(10).ask_with("web.mesh.", A, &config, transport, None);
        assert_eq!(reply.answers.len(), 2);
        assert!(!reply.metadata.truncation);
        let reply = Fixture::crowd(10).ask_with("web.mesh.", SRV, &config, Transport::Tcp, None);
        assert_eq!(reply.answers.len(), 10);
    }
}

#[test]
fn the_order_differs_from_query_to_query() {
    use rand::SeedableRng;
    let crowd = Fixture::crowd(20);
    let request = question("web.mesh.", A, None);
    let firsts: BTreeSet<Vec<String>> = (0..20)
        .map(|seed| {
            let mut rng = rand::rngs::StdRng::seed_from_u64(seed);
            let config = DnsConfig::default();
            let now = super::fixture::NOW;
            let (who, udp) = (&super::fixture::anybody, Transport::Udp);
            let reply = crate::answer(&request, &crowd.0, who, &config, udp, &mut rng, now);
            let crate::Answer::Reply(bytes) = reply else { panic!("no reply") };
            lines(&Message::from_vec(&bytes).unwrap().answers)
        })
        .collect();
    assert!(firsts.len() > 10, "{} different answers of 20", firsts.len());
}

#[test]
fn tcp_takes_what_fits_into_a_message() {
    let mut fixture = Fixture::default();
    for idx in 0..5000_u32 {
        let node = format!("node-{idx}");
        let address = std::net::Ipv4Addr::from(0x0a00_0000 + idx).to_string();
        fixture = fixture.node(&node, &address).instance(&node, "web", "", 80);
    }
    let (reply, bytes) = ask(&fixture, A, Transport::Tcp, None);
    assert!(bytes <= 65523 && reply.answers.len() > 4000, "{bytes}: {}", reply.answers.len());
    assert!(reply.metadata.truncation);
    let (reply, bytes) = ask(&fixture, SRV, Transport::Tcp, None);
    assert!(bytes <= 65523 && reply.answers.len() > 500, "{bytes}: {}", reply.answers.len());
    assert!(reply.metadata.truncation);
}

#[test]
fn names_are_written_out_when_compression_is_disabled() {
    let crowd = Fixture::crowd(3);
    let request = question("web.service.consul.", A, None);
    let plain = DnsConfig { disable_compression: true, ..DnsConfig::default() };
    let compressed = crowd.ask_bytes(&request, &DnsConfig::default(), Transport::Tcp);
    let full = crowd.ask_bytes(&request, &plain, Transport::Tcp);
    assert_eq!(full.len() - compressed.len(), 3 * ("web.service.consul.".len() + 1 - 2));
}

#[test]
fn much_metadata_gives_way_to_the_answer() {
    let long = "x".repeat(200);
    let meta = [("a", long.as_str()), ("b", &long), ("c", &long)];
    let fixture = Fixture::default().node_with_meta("n1", "10.0.0.1", &meta);
    let reply = fixture.ask("n1.node.consul.", A);
    assert_eq!((reply.answers.len(), reply.additionals.len()), (1, 0));
    assert!(!reply.metadata.truncation, "only additional records were left out");
}
