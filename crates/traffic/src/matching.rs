//! Conditions on texts, headers and query parameters, made ready for requests.

mod expression;
mod request;

use std::borrow::Cow;

use http::HeaderName;
use proxy_config::{HeaderMatch, Pattern, QueryMatch, ValueMatch};

pub use expression::{EXPRESSION_BYTES_MAX, Expression, Replacement};
pub use request::{Fields, Pseudo, RequestFields, RequestView, is_grpc_content_type, query_value};

/// A condition on a text. Bytes are compared; letters without case are those of ASCII.
#[derive(Clone, Debug)]
pub struct TextMatch(Comparison);

#[derive(Clone, Debug)]
enum Comparison {
    Present,
    Exact(Box<str>),
    ExactFolded(Box<str>),
    Prefix(Box<str>),
    PrefixFolded(Box<str>),
    Suffix(Box<str>),
    SuffixFolded(Box<str>),
    /// Found anywhere.
    Contains(regex::bytes::Regex),
    Whole(Expression),
    Range {
        start: i64,
        end: i64,
    },
}

impl TextMatch {
    /// Makes a condition ready.
    ///
    /// # Errors
    /// What is wrong with a regular expression.
    pub fn new(condition: &ValueMatch) -> Result<TextMatch, String> {
        let fold = condition.ignore_case;
        Ok(TextMatch(match &condition.pattern {
            Pattern::Present => Comparison::Present,
            Pattern::Exact(text) if fold => Comparison::ExactFolded(text.as_str().into()),
            Pattern::Exact(text) => Comparison::Exact(text.as_str().into()),
            Pattern::Prefix(text) if fold => Comparison::PrefixFolded(text.as_str().into()),
            Pattern::Prefix(text) => Comparison::Prefix(text.as_str().into()),
            Pattern::Suffix(text) if fold => Comparison::SuffixFolded(text.as_str().into()),
            Pattern::Suffix(text) => Comparison::Suffix(text.as_str().into()),
            Pattern::Contains(text) => Comparison::Contains(expression::literal(text, fold)?),
            Pattern::Regex(pattern) => Comparison::Whole(Expression::new(pattern)?),
            Pattern::Range { start, end } => Comparison::Range { start: *start, end: *end },
        }))
    }

    /// Whether a text meets the condition.
    #[must_use]
    pub fn matches(&self, text: &[u8]) -> bool {
        match &self.0 {
            Comparison::Present => true,
            Comparison::Exact(whole) => text == whole.as_bytes(),
            Comparison::ExactFolded(whole) => text.eq_ignore_ascii_case(whole.as_bytes()),
            Comparison::Prefix(prefix) => text.starts_with(prefix.as_bytes()),
            Comparison::PrefixFolded(prefix) => text
                .get(..prefix.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes())),
            Comparison::Suffix(suffix) => text.ends_with(suffix.as_bytes()),
            Comparison::SuffixFolded(suffix) => text
                .len()
                .checked_sub(suffix.len())
                .is_some_and(|at| text[at..].eq_ignore_ascii_case(suffix.as_bytes())),
            Comparison::Contains(literal) => literal.is_match(text),
            Comparison::Whole(expression) => expression.matches(text),
            Comparison::Range { start, end } => std::str::from_utf8(text)
                .ok()
                .and_then(|it| it.parse::<i64>().ok())
                .is_some_and(|number| (*start..*end).contains(&number)),
        }
    }

    fn is_present(&self) -> bool {
        matches!(self.0, Comparison::Present)
    }
}

/// A field of a request: an ordinary one, or one of those that HTTP/2 begins with a colon.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FieldName {
    /// A header.
    Header(HeaderName),
    /// A pseudo-header. `host` is `:authority`.
    Pseudo(Pseudo),
}

impl FieldName {
    /// Reads a name; case does not matter.
    ///
    /// # Errors
    /// When it is not the name of a header.
    pub fn parse(name: &str) -> Result<FieldName, String> {
        if let Some(pseudo) = Pseudo::parse(name) {
            return Ok(FieldName::Pseudo(pseudo));
        }
        HeaderName::from_bytes(name.as_bytes())
            .map(FieldName::Header)
            .map_err(|_| format!("{name:?} is not the name of a header"))
    }

    /// Its value in a request; several values of one name are joined with `,`.
    #[must_use]
    pub fn joined<'a>(&self, request: &'a impl RequestFields) -> Option<Cow<'a, [u8]>> {
        let name = match self {
            FieldName::Pseudo(pseudo) => return Some(bytes(request.pseudo(*pseudo)?)),
            FieldName::Header(name) => name,
        };
        let mut values = request.all(name);
        let first = values.next()?;
        let Some(second) = values.next() else { return Some(Cow::Borrowed(first)) };
        let mut joined = first.to_vec();
        for value in std::iter::once(second).chain(values) {
            joined.push(b',');
            joined.extend_from_slice(value);
        }
        Some(Cow::Owned(joined))
    }
}

fn bytes(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

/// A condition on a header.
#[derive(Clone, Debug)]
pub struct HeaderCondition {
    name: FieldName,
    value: TextMatch,
    invert: bool,
    missing_as_empty: bool,
}

impl HeaderCondition {
    /// Makes a condition ready.
    ///
    /// # Errors
    /// What is wrong with its name or its regular expression.
    pub fn new(condition: &HeaderMatch) -> Result<HeaderCondition, String> {
        Ok(HeaderCondition {
            name: FieldName::parse(&condition.name)?,
            value: TextMatch::new(&condition.value)?,
            invert: condition.invert,
            missing_as_empty: condition.missing_as_empty,
        })
    }

    /// Whether a request meets it.
    #[must_use]
    pub fn holds(&self, request: &impl RequestFields) -> bool {
        match self.name.joined(request) {
            Some(value) => self.value.matches(&value) != self.invert,
            None if self.missing_as_empty => self.value.matches(b"") != self.invert,
            None => self.invert && self.value.is_present(),
        }
    }
}

/// A condition on a query parameter.
#[derive(Clone, Debug)]
pub struct QueryCondition {
    name: String,
    value: TextMatch,
}

impl QueryCondition {
    /// Makes a condition ready.
    ///
    /// # Errors
    /// What is wrong with its regular expression.
    pub fn new(condition: &QueryMatch) -> Result<QueryCondition, String> {
        let value = TextMatch::new(&condition.value)?;
        Ok(QueryCondition { name: condition.name.clone(), value })
    }

    /// Whether a query (what stands after `?`) meets it.
    #[must_use]
    pub fn holds(&self, query: Option<&str>) -> bool {
        query_value(query.unwrap_or_default(), &self.name)
            .is_some_and(|value| self.value.matches(value.as_bytes()))
    }
}

#[cfg(test)]
mod tests;
