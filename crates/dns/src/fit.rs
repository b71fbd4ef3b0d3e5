//! Makes a reply fit its transport.

use std::collections::BTreeSet;

use hickory_proto::ProtoError;
use hickory_proto::op::{Message, emit_message_parts};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder, NameEncoding};

use crate::{DnsConfig, Transport};

/// What every DNS client takes by UDP (RFC 1035).
const UDP_BYTES_PLAIN: usize = 512;
/// The largest datagram: 65535 less the headers of IP and UDP, and room for what may be added on the way.
const UDP_BYTES_MAX: usize = 65467;
/// Kept free of the datagram, as Consul does.
const UDP_BYTES_SPARE: usize = 8;
/// Most answers by UDP without EDNS, whatever is configured.
const UDP_ANSWERS_MAX: usize = 8;
/// Bytes of the smallest answer: an A record whose name is a pointer.
const ANSWER_BYTES_MIN: usize = 16;
/// Most answers by TCP: 4096 A records take 64 KiB.
const TCP_ANSWERS_MAX: usize = 4096;
/// Most SRV answers by TCP: each takes 64 bytes with its address.
const TCP_SRV_ANSWERS_MAX: usize = 1024;
/// The name of the question, right after the 12 bytes of the header.
const POINTER_TO_QUESTION: u16 = 0xC00C;
/// A message by TCP has 16 bits of length.
const TCP_BYTES_MAX: usize = 65523;

/// What the transport of one reply can carry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Limits {
    answers_max: usize,
    bytes_max: usize,
    is_small_udp: bool,
}

impl Limits {
    /// `edns_bytes` is the size of datagram that the client offered.
    pub(crate) fn new(
        transport: Transport,
        edns_bytes: Option<u16>,
        qtype: RecordType,
        config: &DnsConfig,
    ) -> Self {
        match transport {
            Transport::Udp => {
                let offered = edns_bytes.map_or(0, usize::from).max(UDP_BYTES_PLAIN);
                let bytes = offered.min(UDP_BYTES_MAX);
                let is_small_udp = bytes == UDP_BYTES_PLAIN;
                let answers_max = if is_small_udp {
                    config.udp_answer_limit.clamp(1, UDP_ANSWERS_MAX)
                } else {
                    bytes / ANSWER_BYTES_MIN
                };
                Self { answers_max, bytes_max: bytes - UDP_BYTES_SPARE, is_small_udp }
            }
            Transport::Tcp => {
                let is_srv = qtype == RecordType::SRV;
                let answers_max = if is_srv { TCP_SRV_ANSWERS_MAX } else { TCP_ANSWERS_MAX };
                Self { answers_max, bytes_max: TCP_BYTES_MAX, is_small_udp: false }
            }
        }
    }

    /// With this many answers it is known that some will be left out.
    pub(crate) fn answers_enough(self) -> usize {
        self.answers_max + 1
    }
}

/// The reply's bytes, with as many answers as fit (but at least one).
pub(crate) fn encode(
    mut reply: Message,
    limits: Limits,
    config: &DnsConfig,
) -> Result<Vec<u8>, ProtoError> {
    let wire = if config.disable_compression {
        NameEncoding::Uncompressed
    } else {
        NameEncoding::Compressed
    };
    let answer_count = reply.answers.len();
    reply.answers.truncate(limits.answers_max);
    let is_cut = reply.answers.len() < answer_count;
    if !is_cut {
        let bytes = encode_as(&reply, wire)?;
        if bytes.len() <= limits.bytes_max && !is_overfull(&reply, &bytes) {
            return Ok(bytes);
        }
        reply.authorities.clear();
    }
    // Consul measures a reply that it has cut by number as if it were not compressed.
    let measure = if is_cut && limits.is_small_udp { NameEncoding::Uncompressed } else { wire };
    keep_additionals_of_targets(&mut reply);
    let fitting = most_answers_that_fit(&reply, limits, measure)?;
    reply.answers.truncate(fitting);
    keep_additionals_of_targets(&mut reply);
    if reply.answers.len() < answer_count && config.enable_truncate {
        reply.metadata.truncation = true;
    }
    let bytes = encode_as(&reply, wire)?;
    if bytes.len() <= limits.bytes_max {
        return Ok(bytes);
    }
    // The one answer that is always kept.
    reply.additionals.clear();
    encode_as(&reply, wire)
}

/// Finds by bisection how many answers fit, with the address records of their targets.
fn most_answers_that_fit(
    reply: &Message,
    limits: Limits,
    measure: NameEncoding,
) -> Result<usize, ProtoError> {
    let fits = |count: usize| -> Result<bool, ProtoError> {
        let mut part = reply.clone();
        part.answers.truncate(count);
        keep_additionals_of_targets(&mut part);
        let bytes = encode_as(&part, measure)?;
        Ok(bytes.len() <= limits.bytes_max && !is_overfull(&part, &bytes))
    };
    let (mut fitting, mut beyond) = (reply.answers.len().min(1), reply.answers.len() + 1);
    while beyond - fitting > 1 {
        let middle = fitting.midpoint(beyond);
        if fits(middle)? {
            fitting = middle;
        } else {
            beyond = middle;
        }
    }
    Ok(fitting)
}

/// Leaves in Additional only the address records of hosts that an SRV answer points to.
fn keep_additionals_of_targets(reply: &mut Message) {
    let targets: BTreeSet<Name> = reply
        .answers
        .iter()
        .filter_map(|record| match &record.data {
            RData::SRV(srv) => Some(srv.target.clone()),
            _ => None,
        })
        .collect();
    reply.additionals.retain(|record| {
        matches!(record.data, RData::A(_) | RData::AAAA(_) | RData::CNAME(_))
            && targets.contains(&record.name)
    });
}

fn encode_as(message: &Message, names: NameEncoding) -> Result<Vec<u8>, ProtoError> {
    let mut bytes = Vec::with_capacity(UDP_BYTES_PLAIN);
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_name_encoding(names);
    let asked = message.queries.first().map(|question| &question.name);
    let answers: Vec<AnswerRecord<'_>> =
        message.answers.iter().map(|record| AnswerRecord { record, asked }).collect();
    emit_message_parts(
        &message.metadata,
        &mut message.queries.iter(),
        &mut answers.iter(),
        &mut message.authorities.iter(),
        &mut message.additionals.iter(),
        message.edns.as_ref(),
        None,
        &mut encoder,
    )?;
    Ok(bytes)
}

/// An answer, whose name is nearly always the one that was asked: then a pointer to it is written at once. The
/// encoder searches all earlier names for each one, and gives up compressing after some hundred of them.
struct AnswerRecord<'a> {
    record: &'a Record,
    asked: Option<&'a Name>,
}

impl BinEncodable for AnswerRecord<'_> {
    fn emit(&self, encoder: &mut BinEncoder<'_>) -> Result<(), ProtoError> {
        let record = self.record;
        let is_asked = self.asked.is_some_and(|asked| asked.eq_case(&record.name));
        if !is_asked || !matches!(encoder.name_encoding(), NameEncoding::Compressed) {
            return record.emit(encoder);
        }
        encoder.emit_u16(POINTER_TO_QUESTION)?;
        record.record_type().emit(encoder)?;
        record.dns_class.emit(encoder)?;
        encoder.emit_u32(record.ttl)?;
        let place = encoder.place::<u16>()?;
        record.data.emit(encoder)?;
        let data_bytes = encoder.len_since_place(&place);
        let data_bytes = u16::try_from(data_bytes)
            .map_err(|_| ProtoError::Message("the data of a record passes 64 KiB"))?;
        place.replace(encoder, data_bytes)
    }
}

/// The encoder leaves records out when a message passes 64 KiB, and then sets the TC bit on its own.
fn is_overfull(message: &Message, bytes: &[u8]) -> bool {
    let has_tc = bytes.get(2).is_some_and(|flags| flags & 0x02 != 0);
    has_tc && !message.metadata.truncation
}
