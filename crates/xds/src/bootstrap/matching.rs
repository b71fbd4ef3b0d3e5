//! Conditions on texts, headers and query parameters, and the metadata that subsets are asked for by.

use std::collections::BTreeMap;

use proxy_config::{HeaderMatch, Pattern, QueryMatch, ValueMatch};
use serde_json::Value;

use super::fields::{Field, Message};
use super::schema;

/// `StringMatcher`.
pub(crate) fn read_string(field: &Field<'_>) -> Option<ValueMatch> {
    let mut it = field.message(&schema::STRING_MATCHER)?;
    let ways = ["exact", "prefix", "suffix", "contains", "safe_regex", "custom"];
    let (way, field) = it.required_one_of(&ways)?;
    let ignore_case = it.is("ignore_case");
    let text = |it: &Field<'_>| it.text().map(str::to_owned);
    let not_empty = || {
        let text = text(&field)?;
        if text.is_empty() {
            field.error("must not be empty", "write what is to match");
            return None;
        }
        Some(text)
    };
    let pattern = match way {
        "exact" => Pattern::Exact(text(&field)?),
        "prefix" => Pattern::Prefix(not_empty()?),
        "suffix" => Pattern::Suffix(not_empty()?),
        "contains" => Pattern::Contains(not_empty()?),
        "safe_regex" => {
            if ignore_case {
                let message = "has no effect on safe_regex";
                it.at("ignore_case").error(message, "begin the expression with `(?i)`");
            }
            Pattern::Regex(read_regex(&field)?)
        }
        _ => {
            field.error("there are no extensions that match", "use safe_regex");
            return None;
        }
    };
    Some(ValueMatch { pattern, ignore_case })
}

/// `RegexMatcher`.
pub(crate) fn read_regex(field: &Field<'_>) -> Option<String> {
    let mut it = field.message(&schema::REGEX_MATCHER)?;
    // The only engine that there is; it has no options that change what matches.
    it.skip(&["google_re2"]);
    it.required_text("regex").map(str::to_owned)
}

/// `RegexMatchAndSubstitute`: the expression and what takes the place of a match.
pub(crate) fn read_substitution(field: &Field<'_>) -> Option<(String, String)> {
    let mut it = field.message(&schema::REGEX_SUBSTITUTE)?;
    let pattern = it.required("pattern").and_then(|it| read_regex(&it));
    let substitution = it.text("substitution").unwrap_or_default().to_owned();
    Some((pattern?, substitution))
}

/// `HeaderMatcher`.
pub(crate) fn read_header(field: &Field<'_>) -> Option<HeaderMatch> {
    let mut it = field.message(&schema::HEADER_MATCHER)?;
    let name = it.required_text("name")?.to_ascii_lowercase();
    let invert = it.is("invert_match");
    let missing_as_empty = it.is("treat_missing_header_as_empty");
    let ways = [
        "string_match",
        "range_match",
        "present_match",
        "exact_match",
        "safe_regex_match",
        "prefix_match",
        "suffix_match",
        "contains_match",
    ];
    let present = ValueMatch { pattern: Pattern::Present, ignore_case: false };
    let Some((way, field)) = it.one_of(&ways) else {
        // Without a condition on the value the header must be there.
        return Some(HeaderMatch { name, value: present, invert, missing_as_empty: false });
    };
    let text = |it: &Field<'_>| it.text().map(str::to_owned);
    let plain = |pattern| ValueMatch { pattern, ignore_case: false };
    let value = match way {
        "string_match" => read_string(&field)?,
        "range_match" => plain(read_range(&field)?),
        "present_match" => {
            let is_present = field.bool()?;
            let invert = invert == is_present;
            return Some(HeaderMatch { name, value: present, invert, missing_as_empty: false });
        }
        "exact_match" => plain(Pattern::Exact(text(&field)?)),
        "safe_regex_match" => plain(Pattern::Regex(read_regex(&field)?)),
        "prefix_match" => plain(Pattern::Prefix(text(&field)?)),
        "suffix_match" => plain(Pattern::Suffix(text(&field)?)),
        _ => plain(Pattern::Contains(text(&field)?)),
    };
    Some(HeaderMatch { name, value, invert, missing_as_empty })
}

/// `HeaderMatcher`s of a list.
pub(crate) fn read_headers(it: &mut Message<'_>, name: &str) -> Vec<HeaderMatch> {
    it.items(name).iter().filter_map(read_header).collect()
}

fn read_range(field: &Field<'_>) -> Option<Pattern> {
    let mut it = field.message(&schema::INT64_RANGE)?;
    let mut bound = |name: &str| match it.take(name) {
        Some(field) => field.number_in(i64::MIN..=i64::MAX),
        None => Some(0),
    };
    Some(Pattern::Range { start: bound("start")?, end: bound("end")? })
}

/// `QueryParameterMatcher`.
pub(crate) fn read_query(field: &Field<'_>) -> Option<QueryMatch> {
    let mut it = field.message(&schema::QUERY_MATCHER)?;
    let name = it.required_text("name")?.to_owned();
    let present = ValueMatch { pattern: Pattern::Present, ignore_case: false };
    let value = match it.one_of(&["string_match", "present_match"]) {
        Some(("string_match", field)) => read_string(&field)?,
        Some((_, field)) => {
            if field.bool() == Some(false) {
                let message = "a parameter cannot be asked to be absent";
                field.error(message, "put a route before this one that matches its presence");
            }
            present
        }
        None => present,
    };
    Some(QueryMatch { name, value })
}

/// The `envoy.lb` part of `Metadata`, by which endpoints are chosen.
pub(crate) fn read_subset(field: &Field<'_>) -> BTreeMap<String, String> {
    let Some(mut it) = field.message(&schema::METADATA) else { return BTreeMap::new() };
    // Further namespaces are for filters of others.
    it.skip(&["typed_filter_metadata"]);
    let namespaces = it.take("filter_metadata").map(|it| it.entries()).unwrap_or_default();
    let lb = namespaces.into_iter().find(|(name, _)| *name == "envoy.lb");
    lb.map(|(_, field)| read_values(&field)).unwrap_or_default()
}

/// A `Struct` of scalars as texts.
pub(crate) fn read_values(field: &Field<'_>) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    for (key, field) in field.entries() {
        let text = match field.value {
            Value::String(text) => text.clone(),
            Value::Bool(it) => it.to_string(),
            Value::Number(it) => it.to_string(),
            Value::Null | Value::Array(_) | Value::Object(_) => {
                let message = "only texts, numbers and booleans choose endpoints";
                field.ignored(message, "write a text");
                continue;
            }
        };
        values.insert(key.to_owned(), text);
    }
    values
}
