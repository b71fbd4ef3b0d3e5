//! Changes of headers, on each of the levels that have them.

use proxy_config::{HeaderChange, HeaderChanges};

use super::fields::{Field, Message};
use super::schema;

/// The changes of one level: those that take away come first, as in Envoy.
pub(crate) fn read(it: &mut Message<'_>) -> HeaderChanges {
    HeaderChanges {
        request: read_list(it, "request_headers_to_remove", "request_headers_to_add"),
        response: read_list(it, "response_headers_to_remove", "response_headers_to_add"),
    }
}

/// One level after the other.
pub(crate) fn chain<'a>(levels: impl IntoIterator<Item = &'a HeaderChanges>) -> HeaderChanges {
    let mut all = HeaderChanges::default();
    for level in levels {
        all.request.extend_from_slice(&level.request);
        all.response.extend_from_slice(&level.response);
    }
    all
}

fn read_list(it: &mut Message<'_>, removed: &str, added: &str) -> Vec<HeaderChange> {
    let mut changes = Vec::new();
    for field in it.items(removed) {
        let Some(name) = field.text() else { continue };
        if name.starts_with(':') || name.eq_ignore_ascii_case("host") {
            field.error(format!("{name:?} cannot be removed"), "remove it from the list");
        }
        changes.push(HeaderChange::Remove(name.to_ascii_lowercase()));
    }
    changes.extend(it.items(added).iter().filter_map(read_option));
    changes
}

/// What is done when the header is there.
#[derive(Clone, Copy)]
enum Action {
    Append,
    AddIfAbsent,
    Overwrite,
    OverwriteIfPresent,
}

/// `HeaderValueOption`.
fn read_option(field: &Field<'_>) -> Option<HeaderChange> {
    let mut it = field.message(&schema::HEADER_VALUE_OPTION)?;
    let keeps_empty = it.is("keep_empty_value");
    let actions = [
        ("APPEND_IF_EXISTS_OR_ADD", 0, Action::Append),
        ("ADD_IF_ABSENT", 1, Action::AddIfAbsent),
        ("OVERWRITE_IF_EXISTS_OR_ADD", 2, Action::Overwrite),
        ("OVERWRITE_IF_EXISTS", 3, Action::OverwriteIfPresent),
    ];
    let action = it.choice("append_action", &actions);
    let appends = it.bool("append");
    let action = match (action, appends) {
        (Some(action), _) => action,
        (None, Some(false)) => Action::Overwrite,
        (None, Some(true) | None) => Action::Append,
    };
    let (name, value) = read_header(&it.required("header")?)?;
    if value.is_empty() && !keeps_empty {
        return None;
    }
    Some(match action {
        Action::Append => HeaderChange::Append(name, value),
        Action::AddIfAbsent => HeaderChange::AppendIfAbsent(name, value),
        Action::Overwrite => HeaderChange::Overwrite(name, value),
        Action::OverwriteIfPresent => HeaderChange::OverwriteIfPresent(name, value),
    })
}

/// The name in lower case and the value of each, for those that are only ever added.
pub(crate) fn read_plain(fields: &[Field<'_>]) -> Vec<(String, String)> {
    let plain = |change| match change {
        HeaderChange::Append(name, value)
        | HeaderChange::AppendIfAbsent(name, value)
        | HeaderChange::Overwrite(name, value)
        | HeaderChange::OverwriteIfPresent(name, value) => Some((name, value)),
        HeaderChange::Remove(_) => None,
    };
    fields.iter().filter_map(read_option).filter_map(plain).collect()
}

/// `HeaderValue`.
fn read_header(field: &Field<'_>) -> Option<(String, String)> {
    let mut it = field.message(&schema::HEADER_VALUE)?;
    let key = it.required("key")?;
    let name = key.text()?.to_ascii_lowercase();
    let is_fine = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:".contains(&b);
    if name.is_empty() || !name.bytes().all(is_fine) {
        key.error(format!("{name:?} is not the name of a header"), "correct it");
        return None;
    }
    let (value, at) = match it.one_of(&["value", "raw_value"]) {
        None => return Some((name, String::new())),
        Some(("value", field)) => (field.text()?.to_owned(), field),
        Some((_, field)) => (String::from_utf8(field.bytes()?).unwrap_or_default(), field),
    };
    if value.contains(['\r', '\n', '\0']) {
        at.error("a header cannot hold a line break", "remove it");
        return None;
    }
    Some((name, value))
}
