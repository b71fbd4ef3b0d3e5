//! Who may call whom.

use super::defaults::META;
use super::gateways::JWT_REQUIREMENT;
use crate::schema::{Kind, Schema, field, shown};

pub(super) static ENTRY: Schema = Schema::new(&[
    shown("Kind", Kind::Text),
    shown("Name", Kind::Text),
    shown("Sources", Kind::List(&SOURCE)),
    field("JWT", Kind::Given(&JWT_REQUIREMENT)),
    META,
]);

static SOURCE: Schema = Schema::new(&[
    shown("Name", Kind::Text),
    field("Action", Kind::Text),
    field("Permissions", Kind::List(&PERMISSION)),
    shown("Precedence", Kind::Integer),
    field("LegacyID", Kind::Text),
    shown("Type", Kind::Text),
    field("Description", Kind::Text),
    field("LegacyMeta", Kind::TextMap),
    field("LegacyCreateTime", Kind::Text),
    field("LegacyUpdateTime", Kind::Text),
    field("Peer", Kind::Text),
    field("SamenessGroup", Kind::Text),
]);

static PERMISSION: Schema = Schema::new(&[
    shown("Action", Kind::Text),
    field("HTTP", Kind::Given(&HTTP_PERMISSION)),
    field("JWT", Kind::Given(&JWT_REQUIREMENT)),
]);

static HTTP_PERMISSION: Schema = Schema::new(&[
    field("PathExact", Kind::Text),
    field("PathPrefix", Kind::Text),
    field("PathRegex", Kind::Text),
    field("Header", Kind::List(&HEADER_PERMISSION)),
    field("Methods", Kind::Texts),
]);

static HEADER_PERMISSION: Schema = Schema::new(&[
    shown("Name", Kind::Text),
    field("Present", Kind::Flag),
    field("Exact", Kind::Text),
    field("Prefix", Kind::Text),
    field("Suffix", Kind::Text),
    field("Contains", Kind::Text),
    field("Regex", Kind::Text),
    field("Invert", Kind::Flag),
    field("IgnoreCase", Kind::Flag),
]);

/// One intention as clients write and read it by itself.
pub static INTENTION: Schema = Schema::new(&[
    field("ID", Kind::Text),
    field("Description", Kind::Text),
    shown("SourceNS", Kind::Text),
    shown("SourceName", Kind::Text),
    shown("DestinationNS", Kind::Text),
    shown("DestinationName", Kind::Text),
    field("SourcePartition", Kind::Text),
    field("DestinationPartition", Kind::Text),
    field("SourcePeer", Kind::Text),
    field("SourceSamenessGroup", Kind::Text),
    shown("SourceType", Kind::Text),
    field("Action", Kind::Text),
    field("Permissions", Kind::List(&PERMISSION)),
    field("JWT", Kind::Given(&JWT_REQUIREMENT)),
    field("DefaultAddr", Kind::Text),
    field("DefaultPort", Kind::Integer),
    META,
    shown("Precedence", Kind::Integer),
    shown("CreatedAt", Kind::Text),
    shown("UpdatedAt", Kind::Text),
]);
