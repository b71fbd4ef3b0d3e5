//! Packets of the corpus, real ones and hostile ones, and what is made of them: a reply that can be read, or nothing.

use hickory_proto::op::{Message, MessageType};
use proptest::prelude::*;

use super::fixture::{Fixture, mesh};
use crate::{Answer, DnsConfig, Transport, judge_recursor_reply, server_failure};

/// Name, what comes back, bytes.
const PACKETS: &str = include_str!("../../corpus/packets.txt");

/// Bytes that mean something: lengths of labels, pointers, counts, types.
const TELLING: &[u8] = b"\x00\x01\x0c\x1c\x29\x3f\x40\x80\xc0\xff.";

#[derive(Debug)]
struct Packet {
    name: &'static str,
    expected: &'static str,
    bytes: Vec<u8>,
}

fn corpus() -> Vec<Packet> {
    let packets: Vec<_> = PACKETS
        .split("=== ")
        .skip(1)
        .map(|case| {
            let (head, hex) = case.split_once('\n').unwrap();
            let (name, expected) = head.split_once(" | ").unwrap();
            let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
            let byte =
                |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
            Packet { name, expected, bytes: digits.chunks(2).map(byte).collect() }
        })
        .collect();
    assert!(packets.len() > 50, "the corpus has been read");
    packets
}

/// What holds of any bytes: what is said can be read, belongs to the request, fits its transport, and is the same when it is
/// written again.
fn ask(mesh: &Fixture, request: &[u8], transport: Transport, recursion: bool) -> Answer {
    let config = DnsConfig { recursion, ..DnsConfig::default() };
    let answer = mesh.answer(request, &config, transport);
    match &answer {
        Answer::Reply(bytes) => {
            let reply = Message::from_vec(bytes).unwrap();
            assert_eq!(bytes[..2], request[..2]);
            assert_eq!(reply.metadata.message_type, MessageType::Response);
            assert!(bytes.len() <= usize::from(u16::MAX));
            let again = Message::from_vec(&reply.to_vec().unwrap()).unwrap();
            assert_eq!(again, reply);
        }
        Answer::Recurse => assert!(recursion),
        Answer::Drop => assert!(request.len() < 12 || request[2] & 0x80 != 0),
    }
    if let Answer::Reply(bytes) = server_failure(request) {
        Message::from_vec(&bytes).unwrap();
    }
    let _ = judge_recursor_reply(request, request);
    answer
}

#[test]
fn packets_of_the_corpus_are_answered_as_it_says() {
    let mesh = mesh();
    for Packet { name, expected, bytes } in corpus() {
        for transport in [Transport::Udp, Transport::Tcp] {
            for recursion in [false, true] {
                let answer = ask(&mesh, &bytes, transport, recursion);
                let is_as_expected = match expected {
                    "reply" => !matches!(answer, Answer::Drop),
                    "nothing" => answer == Answer::Drop,
                    _ => true,
                };
                assert!(is_as_expected, "{name}: {answer:?}");
            }
        }
    }
}

#[test]
fn every_beginning_of_a_packet_is_answered() {
    let mesh = mesh();
    for Packet { bytes, .. } in corpus() {
        for end in 0..=bytes.len() {
            ask(&mesh, &bytes[..end], Transport::Udp, false);
        }
    }
}

#[test]
fn every_byte_of_a_packet_may_be_another() {
    let mesh = mesh();
    for Packet { bytes, .. } in corpus() {
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            // Each place gets some of the telling bytes, so that all come everywhere and the test ends soon.
            for telling in TELLING.iter().skip(at % 3).step_by(3) {
                changed[at] = *telling;
                ask(&mesh, &changed, Transport::Udp, at % 2 == 0);
            }
            changed.remove(at);
            ask(&mesh, &changed, Transport::Tcp, false);
        }
    }
}

proptest! {
    #[test]
    fn what_chance_makes_of_the_corpus_is_answered(
        which in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        cuts in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![
            any::<u8>(),
            prop::sample::select(TELLING.to_vec()),
        ]), 0..8),
        recursion: bool,
    ) {
        let corpus = corpus();
        let (a, b) = (&which.0.get(&corpus).bytes, &which.1.get(&corpus).bytes);
        let mut bytes = a[..cuts.0.index(a.len() + 1)].to_vec();
        bytes.extend_from_slice(&b[cuts.1.index(b.len() + 1)..]);
        for (at, byte) in changes {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        ask(&mesh(), &bytes, Transport::Udp, recursion);
    }
}
