//! `/v1/coordinate`: where nodes are in the space in which distances are round trips, as their agents say.

use acl::{Access as Right, Resource};
use http::StatusCode;
use model::{Coordinate, Folded, NodeName, Record, Table, WatchKey};
use registry::{Command, RecordCondition};

use super::read::Read;
use super::response::Reply;
use super::write::Door;
use super::{Answer, Call, Outcome, decode};
use crate::json::JsonWriter;

/// `GET /v1/coordinate/datacenters`: ours, with this agent in it.
pub(super) fn datacenters(call: &Call<'_>) -> Outcome {
    require_support(call)?;
    let agent = call.agent();
    Ok(Answer::Reply(call.json(|w| {
        w.array(|w| {
            w.object(|w| {
                w.string_field("Datacenter", &agent.datacenter);
                w.string_field("AreaID", "wan");
                w.key("Coordinates");
                w.array(|w| {
                    let name = format!("{}.{}", agent.node_name, agent.datacenter);
                    let own = Coordinate { node: name.into(), ..unmeasured() };
                    shape(w, &own);
                });
            });
        });
    })))
}

/// The coordinate of a node that has measured nothing yet: the origin of the space with its greatest error.
pub(super) fn unmeasured() -> Coordinate {
    Coordinate { vec: vec![0.0; 8], error: 1.5, height: 1e-5, ..Coordinate::default() }
}

/// `GET /v1/coordinate/nodes`
pub(super) fn nodes(call: &Call<'_>) -> Outcome {
    require_support(call)?;
    let read = Read::of(call)?;
    let segment = call.query.first("segment");
    let found = call.catalog().records::<Coordinate>().map(|it| it.value);
    let found = found.filter(|it| segment.is_none_or(|segment| it.segment == segment));
    let found = found.filter(|it| call.access().sees(Resource::Node, it.node.as_str()));
    let index = call.catalog().table_index(Table::Coordinate);
    Ok(read.answer(index, watched, |w| w.array(|w| found.for_each(|it| shape(w, it)))))
}

/// `GET /v1/coordinate/node/:node`
pub(super) fn node(call: &Call<'_>) -> Outcome {
    require_support(call)?;
    let read = Read::of(call)?;
    let node = NodeName::from(read.name("node name")?);
    call.access().require(Resource::Node, Right::Read, node.as_str())?;
    let segment = call.query.first("segment");
    let under = Coordinate::key_of(&node, "");
    let found: Vec<&Coordinate> = call
        .catalog()
        .records_under::<Coordinate>(&under)
        .map(|it| it.value)
        .filter(|it| segment.is_none_or(|segment| it.segment == segment))
        .filter(|it| call.access().sees(Resource::Node, it.node.as_str()))
        .collect();
    let index = call.catalog().table_index(Table::Coordinate);
    Ok(read.reply(index, watched, || {
        if found.is_empty() {
            return Reply::empty().with_status(StatusCode::NOT_FOUND);
        }
        call.json(|w| w.array(|w| found.iter().for_each(|it| shape(w, it))))
    }))
}

/// `PUT /v1/coordinate/update`. One of a node that does not exist is dropped, as Consul drops it.
pub(super) fn update(call: &Call<'_>) -> Outcome {
    require_support(call)?;
    call.require_our_datacenter()?;
    let coordinate = decode::coordinate(call.request.body())?;
    call.access().require(Resource::Node, Right::Write, coordinate.node.as_str())?;
    if call.catalog().node(&Folded::new(coordinate.node.as_str())).is_none() {
        return Ok(Answer::Reply(Reply::empty()));
    }
    let record = Record::Coordinate(coordinate);
    let command = Command::PutRecord { record, when: RecordCondition::Always };
    Ok(Answer::Write(command, Door::Agent))
}

fn require_support(call: &Call<'_>) -> Result<(), Reply> {
    if call.agent().settings.coordinates {
        return Ok(());
    }
    Err(Reply::text(StatusCode::UNAUTHORIZED, "Coordinate support disabled"))
}

fn watched() -> Vec<WatchKey> {
    vec![WatchKey::Table(Table::Coordinate)]
}

fn shape(w: &mut JsonWriter, it: &Coordinate) {
    w.object(|w| {
        w.string_field("Node", it.node.as_str());
        w.string_field("Segment", &it.segment);
        w.key("Coord");
        position(w, it);
    });
}

/// The coordinate itself.
pub(super) fn position(w: &mut JsonWriter, it: &Coordinate) {
    w.object(|w| {
        w.key("Vec");
        w.array(|w| it.vec.iter().for_each(|part| w.fraction(*part)));
        for (name, part) in
            [("Error", it.error), ("Adjustment", it.adjustment), ("Height", it.height)]
        {
            w.key(name);
            w.fraction(part);
        }
    });
}

/// Items in the order of `near`: by the estimated round trip from the node that it names, ties and nodes without a
/// coordinate as they are. Without the parameter all are as they are, and nothing is gathered.
pub(super) fn nearest_first<'a, T: 'a>(
    call: &Call<'_>,
    items: impl Iterator<Item = T> + 'a,
    node: impl Fn(&T) -> &NodeName,
) -> Box<dyn Iterator<Item = T> + 'a> {
    let Some(from) = nearby(call, call.query.text("near")) else {
        return Box::new(items);
    };
    let mut items: Vec<T> = items.collect();
    sort_by_distance(call, &from, &mut items, node);
    Box::new(items.into_iter())
}

/// The node that a value of `near` means: the agent's own by words of its own; `None` when nothing is said.
pub(super) fn nearby(call: &Call<'_>, near: &str) -> Option<NodeName> {
    match near {
        "" => None,
        "_agent" | "_ip" => Some(call.agent().node_name.clone()),
        name => Some(NodeName::from(name)),
    }
}

/// Sorts by the estimated round trip from a node, ties and those without a coordinate as they were.
pub(super) fn sort_by_distance<T>(
    call: &Call<'_>,
    from: &NodeName,
    items: &mut Vec<T>,
    node: impl Fn(&T) -> &NodeName,
) {
    let of = |node: &NodeName| {
        let key = Coordinate::key_of(node, "");
        call.catalog().record::<Coordinate>(&key).map(|it| it.value)
    };
    // Nothing is known of distances, or of this node's.
    let Some(from) = of(from).filter(|_| call.agent().settings.coordinates) else { return };
    let away = |item: &T| of(node(item)).map_or(f64::INFINITY, |to| from.distance(to));
    let mut keyed: Vec<(f64, T)> = items.drain(..).map(|it| (away(&it), it)).collect();
    keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
    items.extend(keyed.into_iter().map(|it| it.1));
}
