//! From a text to a tree of values.

use serde_json::Value;
use serde_saphyr::{DuplicateKeyPolicy, Options};

use super::ReadError;

/// A larger file is refused: a thousand routes of Envoy's own take some 500 KiB.
const INPUT_BYTES_MAX: usize = 4 << 20;

/// Reads the one document of a text.
pub(crate) fn parse(text: &str) -> Result<Value, ReadError> {
    if text.len() > INPUT_BYTES_MAX {
        return Err(ReadError::TooLarge { bytes: text.len(), bytes_max: INPUT_BYTES_MAX });
    }
    let is_json = text.trim_start().starts_with('{');
    let format = if is_json { "JSON" } else { "YAML" };
    serde_saphyr::from_str_with_options(text, options()).map_err(|cause| ReadError::Syntax {
        line: cause.location().map_or(0, |it| it.line()),
        message: message_of(&cause),
        format,
    })
}

/// Bounds on what a small text may grow into. An honest file nests some 25 levels deep (a route's filter's matcher),
/// and a node of it takes some 10 bytes or more.
fn options() -> Options {
    let budget = serde_saphyr::budget! {
        max_depth: 64,
        max_documents: 1,
        max_nodes: 600_000,
        max_events: 1_500_000,
        max_aliases: 1_000,
        max_anchors: 1_000,
    };
    serde_saphyr::options! {
        budget: budget,
        duplicate_keys: DuplicateKeyPolicy::Error,
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 50_000 },
        with_snippet: false,
    }
}

/// The library's text without its own mention of the place.
fn message_of(cause: &serde_saphyr::Error) -> String {
    let text = cause.to_string();
    let first = text.lines().next().unwrap_or_default();
    let end =
        [" at line ", ", set DuplicateKeyPolicy"].iter().filter_map(|it| first.find(it)).min();
    first[..end.unwrap_or(first.len())].to_owned()
}
