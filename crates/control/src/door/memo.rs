//! Answers of the current revision, so that a thousand clients that wait for the same change share one answer.
//!
//! `api::handle` is a function of the request, the catalog and whether a wait is over; before it is, answers under `/v1/catalog/`,
//! `/v1/health/` and `/leno/v1/services` depend on nothing else, but for the secret that the request is made with, which is
//! part of the question. So an answer holds for every equal request until the catalog moves on.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response};
use model::Revision;
use parking_lot::Mutex;

/// Most answers kept of one revision.
const ANSWERS_MAX: usize = 256;
/// Most bytes of bodies kept of one revision.
const BODY_BYTES_MAX: usize = 32 << 20;

#[derive(Default)]
pub(crate) struct Memo(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    revision: Revision,
    answers: HashMap<Question, Response<Bytes>>,
    body_bytes: usize,
}

/// All of a request that its answer may depend on.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Question(Arc<[u8]>);

impl Question {
    /// `secret` is the one that the request is made with, which may be the agent's. `None` for a request whose answer may
    /// depend on more than the catalog.
    pub(super) fn of(request: &Request<Bytes>, secret: &str) -> Option<Self> {
        let path = request.uri().path();
        let is_read = ["/v1/catalog/", "/v1/health/", "/leno/v1/services"]
            .iter()
            .any(|it| path.starts_with(it));
        let is_of_more = request.extensions().get::<api::InstanceFacts>().is_some();
        if request.method() != Method::GET || !is_read || is_of_more {
            return None;
        }
        let mut text = Vec::with_capacity(256);
        text.extend_from_slice(request.uri().to_string().as_bytes());
        for (name, value) in request.headers() {
            // No value can contain a line break, so no two different heads give one text.
            text.push(b'\n');
            text.extend_from_slice(name.as_str().as_bytes());
            text.push(b':');
            text.extend_from_slice(value.as_bytes());
        }
        text.extend_from_slice(b"\n\n");
        text.extend_from_slice(secret.as_bytes());
        Some(Self(text.into()))
    }
}

impl Memo {
    /// The answer that was given to an equal request at this revision.
    pub(super) fn recall(
        &self,
        question: &Question,
        revision: Revision,
    ) -> Option<Response<Bytes>> {
        let kept = self.0.lock();
        if kept.revision != revision {
            return None;
        }
        kept.answers.get(question).cloned()
    }

    /// Keeps an answer, if there is room; a newer revision takes the place of all that was kept of an older one.
    pub(super) fn keep(&self, question: Question, revision: Revision, answer: &Response<Bytes>) {
        let mut kept = self.0.lock();
        if kept.revision > revision {
            return;
        }
        if kept.revision < revision {
            *kept = Kept { revision, ..Kept::default() };
        }
        let body_bytes = kept.body_bytes + answer.body().len();
        if kept.answers.len() < ANSWERS_MAX && body_bytes <= BODY_BYTES_MAX {
            kept.body_bytes = body_bytes;
            kept.answers.insert(question, answer.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(path: &str, accept: &str) -> Option<Question> {
        let request = Request::get(path).header("accept-encoding", accept);
        Question::of(&request.body(Bytes::new()).expect("a request"), "")
    }

    #[test]
    fn an_answer_is_recalled_for_the_same_request_at_the_same_revision_only() {
        let memo = Memo::default();
        let ask = || question("/v1/catalog/nodes?index=3", "gzip").expect("a read");
        memo.keep(ask(), Revision(7), &Response::new(Bytes::from("seven")));
        assert_eq!(memo.recall(&ask(), Revision(7)).expect("kept").body(), "seven");
        assert!(memo.recall(&ask(), Revision(8)).is_none());
        let other = question("/v1/catalog/nodes?index=3", "identity").expect("a read");
        assert!(memo.recall(&other, Revision(7)).is_none());
        memo.keep(ask(), Revision(8), &Response::new(Bytes::from("eight")));
        memo.keep(ask(), Revision(7), &Response::new(Bytes::from("late")));
        assert_eq!(memo.recall(&ask(), Revision(8)).expect("kept").body(), "eight");
    }

    #[test]
    fn an_answer_is_not_recalled_for_another_secret() {
        let memo = Memo::default();
        let request = Request::get("/v1/catalog/nodes").body(Bytes::new()).expect("a request");
        let ask = |secret| Question::of(&request, secret).expect("a read");
        memo.keep(ask("ours"), Revision(7), &Response::new(Bytes::from("ours")));
        assert!(memo.recall(&ask("theirs"), Revision(7)).is_none());
        assert!(memo.recall(&ask(""), Revision(7)).is_none());
        assert!(memo.recall(&ask("ours"), Revision(7)).is_some());
    }

    #[test]
    fn answers_that_depend_on_more_are_not_kept() {
        assert!(question("/v1/agent/checks", "gzip").is_none());
        assert!(question("/v1/status/leader", "gzip").is_none());
    }
}
