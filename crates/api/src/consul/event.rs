//! `/v1/event`: messages of clients to all agents.

use std::collections::BTreeMap;

use acl::{Access as Right, Resource};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use filter::pattern;
use http::StatusCode;
use model::{Event, Revision, Table, WatchKey};
use registry::Command;

use super::read::Read;
use super::response::Reply;
use super::write::Door;
use super::{Answer, Call, Outcome};
use crate::json::JsonWriter;

/// Most bytes of a payload. Consul's gossip carries some hundred; the store carries more.
const PAYLOAD_BYTES_MAX: usize = 512 * 1024;
/// Most bytes of a filter, which is a regular expression that every reader compiles.
const FILTER_BYTES_MAX: usize = 512;

/// `PUT /v1/event/fire/:name`
pub(super) fn fire(call: &Call<'_>) -> Outcome {
    call.require_our_datacenter()?;
    let failed = |text: String| Reply::text(StatusCode::INTERNAL_SERVER_ERROR, text);
    if call.name.is_empty() {
        return Err(Reply::text(StatusCode::BAD_REQUEST, "Missing name"));
    }
    call.access().require(Resource::Event, Right::Write, call.name)?;
    let text = |name: &str| call.query.text(name).to_owned();
    let (node, service, tag) = (text("node"), text("service"), text("tag"));
    if service.is_empty() && !tag.is_empty() {
        return Err(failed("Cannot provide tag filter without service filter".into()));
    }
    for (what, given) in [("node", &node), ("service", &service), ("tag", &tag)] {
        if given.len() > FILTER_BYTES_MAX {
            let why = format!("it has more than {FILTER_BYTES_MAX} bytes");
            return Err(failed(format!("Invalid {what} filter: {why}")));
        }
        pattern::compile(given).map_err(|why| failed(format!("Invalid {what} filter: {why}")))?;
    }
    let payload = call.request.body().to_vec();
    if payload.len() > PAYLOAD_BYTES_MAX {
        return Err(super::kv::too_large(payload.len(), PAYLOAD_BYTES_MAX, "limits"));
    }
    let event = Event {
        id: (call.context.fresh_id)(),
        time: 0,
        name: call.name.to_owned(),
        payload,
        node_filter: node,
        service_filter: service,
        tag_filter: tag,
    };
    // Its place in the order is not known before it is stored; Consul's answer has no place, either.
    let done = call.json(|w| shape(w, &event));
    Ok(Answer::Write(Command::FireEvent(event), Door::Said { done }))
}

/// `GET /v1/event/list`: those that concern this agent. The index is no revision but a hash of the last event's id, and a
/// client waits for another.
pub(super) fn list(call: &Call<'_>) -> Outcome {
    let read = Read::of(call)?;
    let name = call.query.text("name");
    let mut patterns = Patterns::default();
    let events: Vec<&Event> = call
        .catalog()
        .records::<Event>()
        .map(|it| it.value)
        .filter(|it| name.is_empty() || it.name == name)
        .filter(|it| patterns.concern(call, it))
        .filter(|it| call.access().sees(Resource::Event, &it.name))
        .collect();
    let index = events.last().map_or(1, |it| index_of(&it.id));
    // Whom an event concerns depends on the services of this node.
    let node = call.agent().node_name.folded();
    let keys = || vec![WatchKey::Table(Table::Event), WatchKey::Node(node)];
    Ok(read.answer_unless_seen(Revision(index), keys, || {
        call.json(|w| w.array(|w| events.iter().for_each(|it| shape(w, it))))
    }))
}

/// The filters of events, each compiled once.
#[derive(Default)]
struct Patterns(BTreeMap<String, Option<pattern::Regex>>);

impl Patterns {
    /// One that cannot be read any more fits nothing.
    fn fits(&mut self, filter: &str, text: &str) -> bool {
        if filter.is_empty() {
            return true;
        }
        let compiled = self.0.entry(filter.to_owned());
        let compiled = compiled.or_insert_with(|| pattern::compile(filter).ok());
        compiled.as_ref().is_some_and(|it| it.is_match(text))
    }

    /// The filters of an event fit this agent: its node, and a service on it.
    fn concern(&mut self, call: &Call<'_>, event: &Event) -> bool {
        let node = &call.agent().node_name;
        if !self.fits(&event.node_filter, node.as_str()) {
            return false;
        }
        if event.service_filter.is_empty() {
            return true;
        }
        call.catalog().instances_of_node(&node.folded()).any(|it| {
            self.fits(&event.service_filter, it.service.as_str())
                && (event.tag_filter.is_empty()
                    || it.tags.iter().any(|tag| self.fits(&event.tag_filter, tag)))
        })
    }
}

/// Both halves of a UUID, one over the other.
fn index_of(id: &str) -> u64 {
    let digits: String = id.chars().filter(char::is_ascii_hexdigit).collect();
    let half = |at: usize| digits.get(at..at + 16).and_then(|it| u64::from_str_radix(it, 16).ok());
    half(0).unwrap_or_default() ^ half(16).unwrap_or_default()
}

fn shape(w: &mut JsonWriter, event: &Event) {
    w.object(|w| {
        w.string_field("ID", &event.id);
        w.string_field("Name", &event.name);
        w.key("Payload");
        if event.payload.is_empty() {
            w.null();
        } else {
            w.string(&STANDARD.encode(&event.payload));
        }
        w.string_field("NodeFilter", &event.node_filter);
        w.string_field("ServiceFilter", &event.service_filter);
        w.string_field("TagFilter", &event.tag_filter);
        w.number_field("Version", 1_u32);
        w.number_field("LTime", event.time);
    });
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_index_of_an_event_is_that_of_the_go_client() {
        let index = super::index_of("b5a3b2d8-5d1c-4a86-9b0c-0f6d6c0e1a2b");
        assert_eq!(index, 0xb5a3_b2d8_5d1c_4a86 ^ 0x9b0c_0f6d_6c0e_1a2b);
        assert_eq!(super::index_of("nonsense"), 0);
    }
}
