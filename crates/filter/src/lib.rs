//! # filter: the language of Consul's `filter=`
//!
//! go-bexpr 0.1.2, which reads of nodes, services and checks are filtered with, and which subsets of a service are
//! defined in.
//!
//! [`Filter::parse`] checks a text against the [`Schema`] of an endpoint's rows; [`Filter::matches`] asks it about a
//! [`Row`]. The schemas are here as statics and the rows as views: [`NODE`] with [`NodeRow`], [`SERVICE_NODE`] with
//! [`ServiceNodeRow`], [`NODE_SERVICE`] and [`AGENT_SERVICE`] with [`NodeServiceRow`], [`HEALTH_CHECK`] with
//! [`CheckRow`], [`CHECK_SERVICE_NODE`] with [`HealthRow`], [`MEMBER`] with [`MemberRow`].
//!
//! *May touch:* nothing. *Does not know:* HTTP, who asks, where rows come from.
//!
//! Invariants:
//! * The caller bounds the length of the text. Nesting is at most 64 deep, and there are at most 16 regular expressions
//!   of at most 1 MiB each, compiled.
//! * A filter that was parsed for a schema can be asked about any row of it: nothing fails later.

mod compile;
mod evaluate;
mod fields;
mod parse;
pub mod pattern;
mod row;
mod schema;
mod syntax;
#[cfg(test)]
mod tests;
mod views;

pub use fields::Fields;
pub use row::{Row, RowMap, Value};
pub use schema::{
    AGENT_SERVICE, CHECK_SERVICE_NODE, HEALTH_CHECK, INTENTION, Kind, MEMBER, NODE, NODE_SERVICE,
    SERVICE_NODE, Schema,
};
pub use views::{
    CheckRow, HealthRow, MemberRow, NodeRow, NodeServiceRow, ServiceNodeRow, check_duration,
};

/// A filter that fits the schema that it was parsed for.
#[derive(Debug)]
pub struct Filter(Option<compile::Predicate>);

impl Filter {
    /// Reads a filter for rows of `schema`; an empty text lets every row through.
    ///
    /// # Errors
    /// When it is none, or asks for what such rows do not have.
    pub fn parse(text: &str, schema: &'static Schema) -> Result<Self, FilterError> {
        if text.is_empty() {
            return Ok(Self(None));
        }
        let expression = parse::parse(text)?;
        compile::compile(&expression, schema).map(|predicate| Self(Some(predicate)))
    }

    /// True if it lets `row` through.
    #[must_use]
    pub fn matches(&self, row: &dyn Row) -> bool {
        self.0.as_ref().is_none_or(|predicate| predicate.holds(row))
    }
}

/// Checks a text by the grammar alone, for rows that are not known yet. The caller bounds its length.
///
/// # Errors
/// When it is no filter for rows of any kind.
pub fn check_syntax(text: &str) -> Result<(), FilterError> {
    if text.is_empty() { Ok(()) } else { parse::parse(text).map(|_| ()) }
}

/// Why a text is no filter for a schema. Consul answers these with status 500.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FilterError {
    /// It ends, or goes on, where the grammar does not.
    #[error("{PREFIX}{place}: no match found, expected: {expected}")]
    NoMatch {
        /// `line:column (offset)`.
        place: String,
        /// What could have stood there.
        expected: String,
    },
    /// A part of it is malformed.
    #[error("{PREFIX}{place}: rule \"{rule}\": {reason}")]
    Syntax {
        /// `line:column (offset)`.
        place: String,
        /// The part.
        rule: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Parentheses or `not` nested deeper than 64 times.
    #[error("{PREFIX}Expression is nested more than {} levels deep", parse::DEPTH_MAX)]
    TooDeep,
    /// A selector that leads to no field. Quoted, up to the part that fails.
    #[error("{PREFIX}Selector {0} is not valid")]
    Selector(String),
    /// An operator that the field's kind does not have.
    #[error("{PREFIX}Invalid match operator {operator:?} for selector {selector}")]
    Operator {
        /// go-bexpr's name of the operator.
        operator: &'static str,
        /// The selector, quoted.
        selector: String,
    },
    /// A value that is none of the field's kind.
    #[error("{PREFIX}Failed to coerce value {value} for selector {selector}: {reason}")]
    Value {
        /// The value, quoted.
        value: String,
        /// The selector, quoted.
        selector: String,
        /// Why.
        reason: String,
    },
    /// A malformed regular expression.
    #[error(
        "{PREFIX}Failed to compile regular expression {pattern}: error parsing regexp: {reason}"
    )]
    Pattern {
        /// The expression, quoted.
        pattern: String,
        /// Why.
        reason: String,
    },
    /// More than 16 regular expressions.
    #[error("{PREFIX}Expression has more than {} regular expressions", compile::PATTERNS_MAX)]
    TooManyPatterns,
}

const PREFIX: &str = "Failed to create boolean expression evaluator: ";
