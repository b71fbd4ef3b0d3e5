//! Packets that are no questions, or no packets at all.

use hickory_proto::op::{Header, Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::RecordType;
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};
use proptest::prelude::*;

use super::fixture::{mesh, question};
use crate::{Answer, DnsConfig, RecursorReply, Transport, judge_recursor_reply, server_failure};

fn code_of(request: &[u8]) -> Option<ResponseCode> {
    match mesh().answer(request, &DnsConfig::default(), Transport::Udp) {
        Answer::Reply(bytes) => Some(Message::from_vec(&bytes).unwrap().metadata.response_code),
        Answer::Drop => None,
        Answer::Recurse => panic!("there are no recursors"),
    }
}

#[test]
fn packets_that_are_no_questions_get_their_codes() {
    let good = question("web.mesh.", RecordType::A, None);
    assert_eq!(code_of(&good), Some(ResponseCode::NoError));
    assert_eq!(code_of(&[]), None);
    assert_eq!(code_of(&good[..11]), None, "no header");
    assert_eq!(code_of(&good[..12]), Some(ResponseCode::FormErr), "no question");
    assert_eq!(code_of(&good[..20]), Some(ResponseCode::FormErr), "half a question");
    let mut counts = good.clone();
    counts[4..6].copy_from_slice(&u16::MAX.to_be_bytes());
    assert_eq!(code_of(&counts), Some(ResponseCode::FormErr), "65535 questions");
    let mut reply = good.clone();
    reply[2] |= 0x80;
    assert_eq!(code_of(&reply), None, "a reply is not replied to");
    let mut update = good.clone();
    update[2] = 5 << 3;
    assert_eq!(code_of(&update), Some(ResponseCode::NotImp), "an update");
}

#[test]
fn a_refusal_carries_the_id_of_its_request() {
    let request = question("web.mesh.", RecordType::A, None);
    let Answer::Reply(bytes) = mesh().answer(&request[..12], &DnsConfig::default(), Transport::Udp)
    else {
        panic!("no reply")
    };
    let header = Header::read(&mut BinDecoder::new(&bytes)).unwrap();
    assert_eq!(header.metadata.id, 4711);
    assert_eq!(header.metadata.message_type, MessageType::Response);
    assert_eq!(header.counts.queries, 0);
}

#[test]
fn a_server_failure_has_the_question_and_says_that_recursion_is_offered() {
    let request = question("example.com.", RecordType::A, None);
    let Answer::Reply(bytes) = server_failure(&request) else { panic!("no reply") };
    let reply = Message::from_vec(&bytes).unwrap();
    assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
    assert_eq!(reply.metadata.op_code, OpCode::Query);
    assert!(reply.metadata.recursion_available && reply.metadata.recursion_desired);
    assert_eq!(reply.queries, Message::from_vec(&request).unwrap().queries);
    assert_eq!(server_failure(&[0; 3]), Answer::Drop);
}

#[test]
fn a_recursor_is_believed_only_about_the_question_that_it_was_asked() {
    let request = question("example.com.", RecordType::A, Some(1232));
    let reply_of = |name: &str, code, change: fn(&mut Message)| {
        let mut reply = Message::from_vec(&question(name, RecordType::A, None)).unwrap();
        reply.metadata.message_type = MessageType::Response;
        reply.metadata.response_code = code;
        change(&mut reply);
        judge_recursor_reply(&request, &reply.to_vec().unwrap())
    };
    use RecursorReply::{Accepted, Failed, Unrelated};
    use ResponseCode::{NXDomain, NoError, Refused, ServFail};
    assert_eq!(reply_of("example.com.", NoError, |_| ()), Accepted);
    assert_eq!(reply_of("Example.COM.", NXDomain, |_| ()), Accepted);
    assert_eq!(reply_of("example.com.", ServFail, |_| ()), Failed);
    assert_eq!(reply_of("example.com.", Refused, |it| it.queries.clear()), Failed);
    assert_eq!(reply_of("example.org.", NoError, |_| ()), Unrelated);
    assert_eq!(reply_of("example.com.", NoError, |it| it.queries.clear()), Unrelated);
    assert_eq!(reply_of("example.com.", NoError, |it| it.metadata.id = 1), Unrelated);
    assert_eq!(judge_recursor_reply(&request, &request), Unrelated);
    assert_eq!(judge_recursor_reply(&request, &[]), Unrelated);
}

/// Whatever comes in, a reply can be decoded, has the id of the request, and fits its transport.
fn check_reply(request: &[u8], transport: Transport, recursion: bool) {
    let config = DnsConfig { recursion, ..DnsConfig::default() };
    match mesh().answer(request, &config, transport) {
        Answer::Reply(bytes) => {
            let reply = Message::from_vec(&bytes).unwrap();
            assert_eq!(bytes[..2], request[..2]);
            assert_eq!(reply.metadata.message_type, MessageType::Response);
        }
        Answer::Recurse => assert!(recursion),
        Answer::Drop => assert!(request.len() < 12 || request[2] & 0x80 != 0),
    }
    let _ = server_failure(request);
    let _ = judge_recursor_reply(request, request);
}

fn transports() -> impl Strategy<Value = Transport> {
    prop_oneof![Just(Transport::Udp), Just(Transport::Tcp)]
}

fn questions() -> impl Strategy<Value = Vec<u8>> {
    let labels = prop_oneof![
        Just("web"),
        Just("_web"),
        Just("_tcp"),
        Just("service"),
        Just("node"),
        Just("n1"),
        Just("addr"),
        Just("0a000001"),
        Just("dc1"),
        Just("dc"),
        Just("connect"),
        Just("legacy"),
        Just("alias"),
        Just("consul"),
        Just("mesh"),
        Just("arpa"),
        Just("in-addr"),
        Just("ip6"),
        Just("1"),
        Just("0"),
        Just("10"),
        Just("Ü"),
        Just("*"),
        Just("query"),
    ];
    let names = prop::collection::vec(labels, 1..8).prop_map(|labels| labels.join("."));
    let zones = prop_oneof![Just(""), Just(".consul"), Just(".mesh"), Just(".in-addr.arpa")];
    let types = prop_oneof![
        any::<u16>(),
        Just(1),
        Just(2),
        Just(6),
        Just(12),
        Just(16),
        Just(28),
        Just(33),
        Just(252),
        Just(255),
    ];
    (names, zones, types, prop::option::of(any::<u16>())).prop_map(|(name, zone, qtype, edns)| {
        question(&format!("{name}{zone}"), RecordType::from(qtype), edns)
    })
}

proptest! {
    #[test]
    fn random_bytes_never_panic(
        request in prop::collection::vec(any::<u8>(), 0..600),
        transport in transports(),
        recursion: bool,
    ) {
        check_reply(&request, transport, recursion);
    }

    #[test]
    fn random_bytes_after_a_good_header_never_panic(
        body in prop::collection::vec(any::<u8>(), 0..300),
        additionals in 0_u8..3,
        transport in transports(),
    ) {
        let mut request = vec![18, 52, 1, 0, 0, 1, 0, 0, 0, 0, 0, additionals];
        request.extend(body);
        check_reply(&request, transport, false);
    }

    #[test]
    fn any_question_gets_a_reply(
        request in questions(),
        transport in transports(),
        recursion: bool,
    ) {
        check_reply(&request, transport, recursion);
    }

    #[test]
    fn mutated_questions_never_panic(
        mut request in questions(),
        mutations in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
        transport in transports(),
    ) {
        for (at, byte) in mutations {
            let at = at.index(request.len());
            request[at] = byte;
        }
        if let Some(cut) = cut {
            request.truncate(cut.index(request.len()));
        }
        check_reply(&request, transport, true);
    }
}
