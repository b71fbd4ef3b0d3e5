use model::Coordinate;

use super::fields::Fields;
use super::{BadRequest, json};

/// Most dimensions of a coordinate. Consul's have 8.
const DIMENSIONS_MAX: usize = 64;

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
    if coordinate.vec.is_empty() || coordinate.vec.len() > DIMENSIONS_MAX {
        let text = format!("a coordinate has 1 to {DIMENSIONS_MAX} dimensions");
        return Err(BadRequest::internal(format!("rejected bad coordinate: {text}")));
    }
    Ok(coordinate)
}
