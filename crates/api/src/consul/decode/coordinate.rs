use model::Coordinate;

use super::fields::Fields;
use super::{BadRequest, json};

/// Dimensions of a coordinate.
const DIMENSIONS: usize = 8;

/// Reads the body of `coordinate/update`.
pub(in super::super) fn coordinate(body: &[u8]) -> Result<Coordinate, BadRequest> {
    let value = json::read(body)?;
    let mut fields = Fields::root(&value, "CoordinateUpdateRequest")?;
    let node = fields.text("Node")?;
    let segment = fields.text("Segment")?;
    fields.skip(&["Datacenter", "Partition", "Token"]);
    let Some(mut position) = fields.fields("Coord", "Coordinate")? else {
        return Err(BadRequest::undecodable("Coord is missing"));
    };
    let coordinate = Coordinate {
        node: node.into(),
        segment,
        vec: position.fractions("Vec")?,
        error: position.fraction("Error")?,
        adjustment: position.fraction("Adjustment")?,
        height: position.fraction("Height")?,
    };
    position.finish()?;
    fields.finish()?;
    if coordinate.node.is_empty() {
        return Err(BadRequest::new("Missing node name"));
    }
    if coordinate.vec.len() != DIMENSIONS {
        let text = format!("a coordinate has {DIMENSIONS} dimensions");
        return Err(BadRequest::internal(format!("rejected bad coordinate: {text}")));
    }
    if !coordinate.segment.is_empty() {
        return Err(BadRequest::internal("Network segments are a Consul Enterprise feature"));
    }
    Ok(coordinate)
}
