use std::sync::Arc;

use acl::Authorizer;
use hickory_proto::op::{
    Edns, Header, Message, MessageType, Metadata, OpCode, Query, ResponseCode,
};
use hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsCode, EdnsOption};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};
use model::{Catalog, Timestamp};
use rand::Rng;

use crate::DnsConfig;
use crate::fit::{self, Limits};
use crate::lookup::{CNAME_DEPTH, Lookup, Sections};
use crate::name::{self, name_of};

/// What to do with a packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Send this back.
    Reply(Vec<u8>),
    /// Forward the packet to a recursor; only if [`DnsConfig::recursion`].
    Recurse,
    /// Nothing: it is a reply itself, or has not even a header.
    Drop,
}

/// How a packet came, and how its reply will go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// One datagram: small, so that answers may be left out.
    Udp,
    /// A stream: up to 64 KiB.
    Tcp,
}

/// What may be found with a secret; with an empty one, by whoever asks.
pub type Who<'a> = &'a dyn Fn(&str) -> Arc<Authorizer>;

/// Answers one packet from the catalog, as if what may not be found were not there.
///
/// The rules are Consul 1.21's (reference/consul.md section 3), and those of its DNS library for what is no
/// question: replies are dropped, other operations get NOTIMP, anything but one question gets FORMERR.
pub fn answer(
    request: &[u8],
    catalog: &Catalog,
    who: Who<'_>,
    config: &DnsConfig,
    transport: Transport,
    rng: &mut impl Rng,
    now: Timestamp,
) -> Answer {
    let Ok(header) = Header::read(&mut BinDecoder::new(request)) else { return Answer::Drop };
    if header.metadata.message_type == MessageType::Response {
        return Answer::Drop;
    }
    if header.metadata.op_code != OpCode::Query {
        return refuse(&header, ResponseCode::NotImp);
    }
    if !has_counts_of_a_question(&header) {
        return refuse(&header, ResponseCode::FormErr);
    }
    let Ok(request) = Message::from_vec(request) else {
        return refuse(&header, ResponseCode::FormErr);
    };
    let Some(question) = request.queries.first() else {
        return refuse(&header, ResponseCode::FormErr);
    };
    let offered = request.edns.as_ref().map(Edns::max_payload);
    let limits = Limits::new(transport, offered, question.query_type(), config);
    let (authorizer, answers_enough) = (who(""), limits.answers_enough());
    let mut lookup = Lookup { catalog, authorizer, who, config, rng, now, answers_enough };
    let Some((sections, is_ours)) = lookup.question(question, &request) else {
        return Answer::Recurse;
    };
    let reply = reply_to(&request, question, sections, is_ours, config);
    match fit::encode(reply, limits, config) {
        Ok(bytes) => Answer::Reply(bytes),
        Err(_) => refuse(&header, ResponseCode::ServFail),
    }
}

/// One question, and no more records than a question carries (a TSIG and an OPT). Also what bounds the work of
/// decoding: the counts are the sender's word.
fn has_counts_of_a_question(header: &Header) -> bool {
    let counts = header.counts;
    counts.queries == 1 && counts.answers <= 1 && counts.authorities <= 1 && counts.additionals <= 2
}

fn refuse(header: &Header, code: ResponseCode) -> Answer {
    bare_reply(header, code).to_vec().map_or(Answer::Drop, Answer::Reply)
}

/// A header, and nothing else.
pub(crate) fn bare_reply(header: &Header, code: ResponseCode) -> Message {
    let mut reply = Message::error_msg(header.metadata.id, header.metadata.op_code, code);
    reply.metadata.recursion_desired = header.metadata.recursion_desired;
    reply
}

impl Lookup<'_> {
    /// The sections of the reply, and whether we are the authority for it; `None` to ask a recursor.
    fn question(&mut self, question: &Query, request: &Message) -> Option<(Sections, bool)> {
        if request.edns.as_ref().is_some_and(|edns| edns.version() != 0) {
            return Some((Sections::of(ResponseCode::BADVERS), false));
        }
        let (name, qtype) = (question.name(), question.query_type());
        if let Some(zone) = name::parse(name, qtype, self.config) {
            return Some((self.zone(name, &zone, qtype, CNAME_DEPTH), true));
        }
        if is_reverse(question) {
            let found = self.reverse(name, qtype);
            return match found {
                None if self.config.recursion => None,
                None => Some((self.no_such_name(self.config.domain.name()), true)),
                Some(sections) => Some((sections, true)),
            };
        }
        if self.config.recursion {
            return None;
        }
        Some((Sections::of(ResponseCode::Refused), false))
    }
}

fn is_reverse(question: &Query) -> bool {
    name_of("arpa.").is_some_and(|arpa| arpa.zone_of(question.name()))
}

fn reply_to(
    request: &Message,
    question: &Query,
    sections: Sections,
    is_ours: bool,
    config: &DnsConfig,
) -> Message {
    let mut reply = Message::response(request.metadata.id, OpCode::Query);
    reply.metadata = Metadata::response_from_request(&request.metadata);
    reply.metadata.authoritative = is_ours;
    reply.metadata.recursion_available = config.recursion;
    reply.metadata.response_code = sections.code;
    reply.queries = vec![question.clone()];
    reply.answers = sections.answers;
    reply.authorities = sections.authorities;
    reply.additionals = sections.additionals;
    reply.edns = request.edns.as_ref().map(echo);
    reply
}

/// The client's EDNS, with its own size, and its subnet with scope 0: the answer is good for everybody.
fn echo(request: &Edns) -> Edns {
    let mut reply = Edns::new();
    reply.set_max_payload(request.max_payload());
    if let Some(EdnsOption::Subnet(subnet)) = request.option(EdnsCode::Subnet) {
        let global = ClientSubnet::new(subnet.addr(), subnet.source_prefix(), 0);
        reply.options_mut().insert(EdnsOption::Subnet(global));
    }
    reply
}
