use serde::{Deserialize, Serialize};

use crate::NodeName;

/// Something that a client told all agents: a name and a payload, and whom it concerns.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Event {
    /// A UUID.
    pub id: String,
    /// Its place in the order of all events, from 1.
    pub time: u64,
    /// Name.
    pub name: String,
    /// Any bytes; the door bounds them to 512 KiB, the registry all that are kept to 8 MiB.
    #[serde(with = "base64_text", skip_serializing_if = "Vec::is_empty")]
    pub payload: Vec<u8>,
    /// Regular expression of the nodes that it concerns; empty: all.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub node_filter: String,
    /// Regular expression of the services whose nodes it concerns; empty: all.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub service_filter: String,
    /// Regular expression of the tags of those services; empty: all.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub tag_filter: String,
}

impl Event {
    pub(crate) fn name_in_table(&self) -> String {
        // Sorts as the numbers do.
        format!("{:020}", self.time)
    }
}

/// Where a node is in the space in which distances are round trips (Vivaldi).
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Coordinate {
    /// The node.
    pub node: NodeName,
    /// Network segment; empty for the one that all are in.
    pub segment: String,
    /// Position, seconds in each dimension.
    pub vec: Vec<f64>,
    /// How far off it may be, relative: 0 to 1.5.
    pub error: f64,
    /// Added to distances, seconds; may be negative.
    pub adjustment: f64,
    /// Distance to the plane of all others, seconds: what the node's own access takes.
    pub height: f64,
}

impl Coordinate {
    pub(crate) fn name_in_table(&self) -> String {
        Self::key_of(&self.node, &self.segment)
    }

    /// Name in the table of a node's coordinate.
    #[must_use]
    pub fn key_of(node: &NodeName, segment: &str) -> String {
        format!("{}\0{segment}", node.folded())
    }

    /// Estimated round trip between two coordinates, in seconds; infinite when they have other numbers of dimensions.
    ///
    /// The distance of the positions plus both heights, plus both adjustments where the sum stays positive (Dabek et al.,
    /// "Vivaldi: A Decentralized Network Coordinate System", 2004; the adjustments by Lee et al., 2006).
    #[must_use]
    pub fn distance(&self, other: &Coordinate) -> f64 {
        if self.vec.len() != other.vec.len() {
            return f64::INFINITY;
        }
        let squares = self.vec.iter().zip(&other.vec).map(|(a, b)| (a - b) * (a - b));
        let raw = squares.sum::<f64>().sqrt() + self.height + other.height;
        let adjusted = raw + self.adjustment + other.adjustment;
        if adjusted > 0.0 { adjusted } else { raw }
    }
}

/// Bytes as text, a third longer than they are: a list of numbers would be four times as long.
mod base64_text {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(from)?).map_err(D::Error::custom)
    }
}
