//! What a filter says, before anything is known about the rows: the tree that the grammar describes.

use std::fmt;

use model::go::quote;

/// A filter as it was written. Chains of `or` and of `and` are flat.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Expression {
    /// Some term holds. Two terms or more.
    Or(Vec<Expression>),
    /// Every term holds. Two terms or more.
    And(Vec<Expression>),
    /// The inner expression does not hold; it is never itself a `Not`.
    Not(Box<Expression>),
    /// One comparison.
    Match(Condition),
}

/// One comparison: a selector, an operator and, unless the operator is emptiness, a value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Condition {
    /// What is looked at.
    pub(super) selector: Selector,
    /// How.
    pub(super) operator: Operator,
    /// `!=`, `not in`, `not matches`, `is not empty`.
    pub(super) negated: bool,
    /// With what it is compared; empty for [`Operator::Empty`].
    pub(super) value: String,
}

/// Operators; `contains` is `in` with its sides swapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)] // The words are the grammar's.
pub(super) enum Operator {
    Equal,
    In,
    Matches,
    Empty,
}

impl Condition {
    /// The operator's name in go-bexpr's errors.
    pub(super) fn operator_name(&self) -> &'static str {
        match (self.operator, self.negated) {
            (Operator::Equal, false) => "Equal",
            (Operator::Equal, true) => "Not Equal",
            (Operator::In, false) => "In",
            (Operator::In, true) => "Not In",
            (Operator::Matches, false) => "Matches",
            (Operator::Matches, true) => "Not Matches",
            (Operator::Empty, false) => "Is Empty",
            (Operator::Empty, true) => "Is Not Empty",
        }
    }
}

/// A path of field names and map keys; never empty, the first part is an identifier.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Selector(pub(super) Vec<String>);

impl Selector {
    /// Parts joined by dots: what go-bexpr shows in errors, and what a bare word means as a value.
    pub(super) fn joined(&self) -> String {
        self.0.join(".")
    }
}

/// The grammar's own notation, minimal in parentheses; parses back to an equal tree.
impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expression::Or(terms) => {
                write_chain(f, terms, " or ", |term| matches!(term, Expression::Or(_)))
            }
            Expression::And(terms) => write_chain(f, terms, " and ", Expression::is_chain),
            Expression::Not(inner) if inner.is_chain() => write!(f, "not ({inner})"),
            Expression::Not(inner) => write!(f, "not {inner}"),
            Expression::Match(condition) => condition.fmt(f),
        }
    }
}

impl Expression {
    fn is_chain(&self) -> bool {
        matches!(self, Expression::Or(_) | Expression::And(_))
    }
}

fn write_chain(
    f: &mut fmt::Formatter<'_>,
    terms: &[Expression],
    separator: &str,
    needs_parentheses: impl Fn(&Expression) -> bool,
) -> fmt::Result {
    for (idx, term) in terms.iter().enumerate() {
        if idx > 0 {
            f.write_str(separator)?;
        }
        if needs_parentheses(term) {
            write!(f, "({term})")?;
        } else {
            write!(f, "{term}")?;
        }
    }
    Ok(())
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Condition { selector, operator, negated, value } = self;
        let value = quote_in_grammar(value);
        match (operator, negated) {
            (Operator::Equal, false) => write!(f, "{selector} == {value}"),
            (Operator::Equal, true) => write!(f, "{selector} != {value}"),
            (Operator::In, false) => write!(f, "{selector} contains {value}"),
            (Operator::In, true) => write!(f, "{value} not in {selector}"),
            (Operator::Matches, false) => write!(f, "{selector} matches {value}"),
            (Operator::Matches, true) => write!(f, "{selector} not matches {value}"),
            (Operator::Empty, false) => write!(f, "{selector} is empty"),
            (Operator::Empty, true) => write!(f, "{selector} is not empty"),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (idx, part) in self.0.iter().enumerate() {
            match (idx, is_identifier(part)) {
                (0, _) => f.write_str(part)?,
                (_, true) => write!(f, ".{part}")?,
                (_, false) => write!(f, "[{}]", quote_in_grammar(part))?,
            }
        }
        Ok(())
    }
}

/// The grammar ends a string at the first double quote, escaped or not, so one inside is written `\x22`.
fn quote_in_grammar(text: &str) -> String {
    let parts: Vec<String> = text.split('"').map(quote).collect();
    let bodies: Vec<&str> = parts.iter().map(|part| &part[1..part.len() - 1]).collect();
    format!("\"{}\"", bodies.join("\\x22"))
}

fn is_identifier(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}
