//! Changes of header blocks.

use codec::message::HeaderMap;
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue};
use proxy_config::HeaderChange;

use crate::format::{Facts, Format};

/// Changes of a header block, in order, made ready.
///
/// First [`HeaderEdits::values`] looks up what the values are made of, then [`HeaderEdits::apply`]
/// changes the block: a value is made of the headers as they were before these changes.
#[derive(Clone, Debug, Default)]
pub struct HeaderEdits(Vec<Edit>);

#[derive(Clone, Debug)]
enum Edit {
    Set { name: HeaderName, value: Value, when: When },
    Remove(HeaderName),
}

#[derive(Clone, Debug)]
enum Value {
    Constant(HeaderValue),
    Format(Format),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum When {
    Append,
    AppendIfAbsent,
    Overwrite,
    OverwriteIfPresent,
}

/// The values of one request for [`HeaderEdits`]; `None` where there is nothing to say. Takes no
/// memory when all values are constant.
#[derive(Clone, Debug, Default)]
pub struct EditValues(Vec<Option<HeaderValue>>);

impl HeaderEdits {
    /// Makes changes ready. One that is refused is left out, and what is wrong with it is in the
    /// second part: names that are none, pseudo-headers and `host` (which routes rewrite), what
    /// says where a message ends, and values that are none.
    #[must_use]
    pub fn new(changes: &[HeaderChange]) -> (HeaderEdits, Vec<String>) {
        let mut edits = Vec::with_capacity(changes.len());
        let mut problems = Vec::new();
        for change in changes {
            match edit(change) {
                Ok(edit) => edits.push(edit),
                Err(why) => problems.push(why),
            }
        }
        (HeaderEdits(edits), problems)
    }

    /// True when nothing is done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What the values that are not constant are made into for one request.
    #[must_use]
    pub fn values(&self, facts: &impl Facts) -> EditValues {
        let mut text = Vec::new();
        let mut values = Vec::new();
        for format in self.formats() {
            text.clear();
            format.write_header(facts, &mut text);
            let value = text.trim_ascii();
            values.push(if value.is_empty() { None } else { HeaderValue::from_bytes(value).ok() });
        }
        EditValues(values)
    }

    /// Changes a header block. `values` are those of [`HeaderEdits::values`].
    ///
    /// A value with operators that has come out empty is not added; where it was to take another's
    /// place, that one goes all the same: what a client says about itself must not stay because the
    /// proxy has nothing to say.
    pub fn apply(&self, headers: &mut HeaderMap, values: EditValues) {
        let mut values = values.0.into_iter();
        for edit in &self.0 {
            match edit {
                Edit::Remove(name) => {
                    headers.remove(name);
                }
                Edit::Set { name, value, when } => {
                    let value = match value {
                        Value::Constant(value) => Some(value.clone()),
                        Value::Format(_) => values.next().flatten(),
                    };
                    set(headers, name, value, *when);
                }
            }
        }
    }

    /// Names of the request headers that values are made of.
    pub fn request_headers(&self) -> impl Iterator<Item = &HeaderName> {
        self.formats().flat_map(Format::request_headers)
    }

    fn formats(&self) -> impl Iterator<Item = &Format> {
        self.0.iter().filter_map(|edit| match edit {
            Edit::Set { value: Value::Format(format), .. } => Some(format),
            Edit::Set { value: Value::Constant(_), .. } | Edit::Remove(_) => None,
        })
    }
}

fn set(headers: &mut HeaderMap, name: &HeaderName, value: Option<HeaderValue>, when: When) {
    let applies = match when {
        When::Append | When::Overwrite => true,
        When::AppendIfAbsent => !headers.contains_key(name),
        When::OverwriteIfPresent => headers.contains_key(name),
    };
    if !applies {
        return;
    }
    match (when, value) {
        (When::Append | When::AppendIfAbsent, Some(value)) => {
            headers.append(name, value);
        }
        (When::Append | When::AppendIfAbsent, None) => {}
        (When::Overwrite | When::OverwriteIfPresent, Some(value)) => {
            headers.insert(name, value);
        }
        (When::Overwrite | When::OverwriteIfPresent, None) => {
            headers.remove(name);
        }
    }
}

fn edit(change: &HeaderChange) -> Result<Edit, String> {
    let (name, value, when) = match change {
        HeaderChange::Append(name, value) => (name, value, When::Append),
        HeaderChange::AppendIfAbsent(name, value) => (name, value, When::AppendIfAbsent),
        HeaderChange::Overwrite(name, value) => (name, value, When::Overwrite),
        HeaderChange::OverwriteIfPresent(name, value) => (name, value, When::OverwriteIfPresent),
        HeaderChange::Remove(name) => return Ok(Edit::Remove(changeable(name)?)),
    };
    let name = changeable(name)?;
    let not_a_value = || format!("{value:?} cannot be the value of {name}");
    let format = Format::parse(value)
        .map_err(|error| format!("the value {value:?} of {name} is not valid {error}"))?;
    let value = match format.constant() {
        Some(text) => Value::Constant(HeaderValue::from_str(text).map_err(|_| not_a_value())?),
        None if value.chars().any(|it| it.is_control() && it != '\t') => return Err(not_a_value()),
        None => Value::Format(format),
    };
    Ok(Edit::Set { name, value, when })
}

fn changeable(name: &str) -> Result<HeaderName, String> {
    if name.starts_with(':') {
        return Err(format!(
            "{name} is a pseudo-header and cannot be changed; rewrite the route's"
        ));
    }
    let parsed = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| format!("{name:?} is not the name of a header"))?;
    if parsed == HOST {
        return Err("host cannot be changed as a header; use a host rewrite".to_owned());
    }
    if parsed == CONTENT_LENGTH || parsed == TRANSFER_ENCODING {
        return Err(format!("{name} says where a message ends and cannot be changed"));
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests;
