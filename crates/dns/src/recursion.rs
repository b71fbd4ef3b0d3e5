//! What passes between us and a recursor: the packets are forwarded as they are, so little is read of them.

use hickory_proto::op::{Header, Message, MessageType, ResponseCode};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

use crate::Answer;
use crate::answer::bare_reply;

/// Bytes of a message before its question.
const HEADER_BYTES: usize = 12;

/// What to do with a packet that came from a recursor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecursorReply {
    /// It answers the request: NOERROR or NXDOMAIN. Send it on.
    Accepted,
    /// The recursor could not answer: ask the next one.
    Failed,
    /// It is not a reply to this request (late, or forged): keep waiting.
    Unrelated,
}

/// Judges a packet from a recursor by the request that was forwarded to it.
#[must_use]
pub fn judge_recursor_reply(request: &[u8], reply: &[u8]) -> RecursorReply {
    let Ok(header) = Header::read(&mut BinDecoder::new(reply)) else {
        return RecursorReply::Unrelated;
    };
    let is_reply =
        header.metadata.message_type == MessageType::Response && request.get(..2) == reply.get(..2);
    if !is_reply {
        return RecursorReply::Unrelated;
    }
    match header.metadata.response_code {
        ResponseCode::NoError | ResponseCode::NXDomain if has_question_of(request, reply) => {
            RecursorReply::Accepted
        }
        ResponseCode::NoError | ResponseCode::NXDomain => RecursorReply::Unrelated,
        // A refusal may come without the question.
        _ => RecursorReply::Failed,
    }
}

/// The first name of a message cannot be compressed, so equal questions are equal bytes (but for letter case).
fn has_question_of(request: &[u8], reply: &[u8]) -> bool {
    let Some(body) = request.get(HEADER_BYTES..) else { return false };
    let mut at = 0;
    while let Some(&label_bytes) = body.get(at)
        && label_bytes != 0
    {
        at += 1 + usize::from(label_bytes);
    }
    // The final zero, the type and the class.
    let Some(question) = body.get(..at + 5) else { return false };
    reply
        .get(HEADER_BYTES..HEADER_BYTES + question.len())
        .is_some_and(|theirs| theirs.eq_ignore_ascii_case(question))
}

/// The reply when no recursor answered: SERVFAIL with RA, or [`Answer::Drop`] when `request` has no header.
#[must_use]
pub fn server_failure(request: &[u8]) -> Answer {
    let Ok(header) = Header::read(&mut BinDecoder::new(request)) else { return Answer::Drop };
    let mut reply = bare_reply(&header, ResponseCode::ServFail);
    reply.metadata.recursion_available = true;
    if header.counts.queries == 1
        && let Ok(request) = Message::from_vec(request)
    {
        reply.add_queries(request.queries);
    }
    reply.to_vec().map_or(Answer::Drop, Answer::Reply)
}
