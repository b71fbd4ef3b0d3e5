//! Indexed reads: answer now, or wait until there is something new.

use http::{HeaderName, StatusCode};
use model::{Revision, WatchKey};

use super::params::ReadOptions;
use super::response::Reply;
use super::{Answer, Call};
use crate::LeafWanted;
use crate::json::JsonWriter;

const INDEX: HeaderName = HeaderName::from_static("x-consul-index");
const KNOWN_LEADER: HeaderName = HeaderName::from_static("x-consul-knownleader");
const LAST_CONTACT: HeaderName = HeaderName::from_static("x-consul-lastcontact");
const CONSISTENCY: HeaderName = HeaderName::from_static("x-consul-effective-consistency");
const BACKEND: HeaderName = HeaderName::from_static("x-consul-query-backend");
const CACHE: HeaderName = HeaderName::from_static("x-cache");

/// An indexed read with its parameters checked.
pub(crate) struct Read<'a> {
    call: &'a Call<'a>,
    options: ReadOptions,
}

impl<'a> Read<'a> {
    /// # Errors
    /// 400 or 500 for parameters that every read refuses.
    pub(crate) fn of(call: &'a Call<'a>) -> Result<Self, Reply> {
        call.refuse_tenancy()?;
        let options =
            ReadOptions::parse(call.query, call.request.headers(), &call.agent().settings)?;
        call.require_our_datacenter()?;
        Ok(Self { call, options })
    }

    /// The name in the path.
    ///
    /// # Errors
    /// 400 `Missing <what>` when it is empty.
    pub(crate) fn name(&self, what: &str) -> Result<&'a str, Reply> {
        match self.call.name {
            "" => Err(Reply::text(StatusCode::BAD_REQUEST, format!("Missing {what}"))),
            name => Ok(name),
        }
    }

    /// `index` is the revision of the last change of what is read, `keys` are what to wait for if the client has
    /// seen that, and `fill` writes the body. A client that is ahead of us (it talked to another mesh before)
    /// waits for its whole time, as with Consul.
    pub(crate) fn answer(
        self,
        index: Revision,
        keys: impl FnOnce() -> Vec<WatchKey>,
        fill: impl FnOnce(&mut JsonWriter),
    ) -> Answer {
        let ReadOptions { index: seen, wait, consistency, .. } = self.options;
        if seen > 0 && index.0 <= seen && !self.call.timed_out {
            return Answer::Wait(keys(), wait);
        }
        let reply = self.call.json(fill).with(CONSISTENCY, consistency);
        Answer::Reply(with_index(reply, index))
    }

    /// As [`Read::answer`] for endpoints that do not say how consistent they are, and whose reply is not always JSON.
    pub(super) fn reply(
        self,
        index: Revision,
        keys: impl FnOnce() -> Vec<WatchKey>,
        reply: impl FnOnce() -> Reply,
    ) -> Answer {
        let ReadOptions { index: seen, wait, .. } = self.options;
        if seen > 0 && index.0 <= seen && !self.call.timed_out {
            return Answer::Wait(keys(), wait);
        }
        Answer::Reply(with_index(reply(), index))
    }

    /// The reply of a read that does not block.
    pub(super) fn at_once(self, index: Revision, reply: Reply) -> Answer {
        Answer::Reply(with_index(reply.with(CONSISTENCY, self.options.consistency), index))
    }

    /// As [`Read::at_once`] for an endpoint that Consul's agent can serve from its cache.
    pub(super) fn at_once_cacheable(self, index: Revision, reply: Reply) -> Answer {
        let reply = if self.options.is_cached { with_cache_hit(reply) } else { reply };
        self.at_once(index, reply)
    }

    /// As [`Read::reply`] where the index is no revision: a client waits while it is the one that it has seen.
    pub(super) fn answer_unless_seen(
        self,
        index: Revision,
        keys: impl FnOnce() -> Vec<WatchKey>,
        reply: impl FnOnce() -> Reply,
    ) -> Answer {
        let ReadOptions { index: seen, wait, .. } = self.options;
        if seen > 0 && index.0 == seen && !self.call.timed_out {
            return Answer::Wait(keys(), wait);
        }
        Answer::Reply(with_index(reply(), index))
    }

    /// The certificate of a service, which only the shell can make.
    pub(super) fn leaf(self, service: &str) -> Answer {
        Answer::Leaf(LeafWanted {
            service: service.to_owned(),
            seen: self.options.index,
            timeout: self.options.wait.timeout,
            is_pretty: self.call.form().is_indented(),
        })
    }

    /// As [`Read::answer`] for the endpoints that Consul's agent can serve from its cache.
    ///
    /// The catalog in memory is what that cache would hold once it is warm, so `cached` is always a hit of age 0;
    /// Consul says `MISS` to the first such read, and nothing depends on it.
    pub(super) fn answer_cacheable(
        self,
        index: Revision,
        keys: impl FnOnce() -> Vec<WatchKey>,
        fill: impl FnOnce(&mut JsonWriter),
    ) -> Answer {
        let is_cached = self.options.is_cached;
        match self.answer(index, keys, fill) {
            Answer::Reply(reply) if is_cached => Answer::Reply(with_cache_hit(reply)),
            answer => answer,
        }
    }
}

/// The headers of an indexed read. Go's client refuses one without `X-Consul-LastContact`, and takes index 0 for
/// "never blocks".
pub(super) fn with_index(reply: Reply, index: Revision) -> Reply {
    with_contact(reply.with(INDEX, &index.0.max(1).to_string())).with(BACKEND, "blocking-query")
}

/// The headers that say how fresh a read is.
pub(super) fn with_contact(reply: Reply) -> Reply {
    reply.with(KNOWN_LEADER, "true").with(LAST_CONTACT, "0")
}

pub(super) fn with_cache_hit(reply: Reply) -> Reply {
    reply.with(CACHE, "HIT").with(http::header::AGE, "0")
}
