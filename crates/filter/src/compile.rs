//! Checks a parsed filter against a schema and makes it ready to be evaluated: selectors become paths of known
//! kinds, values become literals of the field's kind.

use regex::Regex;

use super::FilterError;
use super::pattern;
use super::schema::{Kind, Schema};
use super::syntax::{Condition, Expression, Operator};
use model::go::quote;

/// Most regular expressions in one filter, for the sake of the memory that they compile to (1 MiB each).
pub(super) const PATTERNS_MAX: usize = 16;

/// A filter that fits its schema.
#[derive(Debug)]
pub(super) enum Predicate {
    /// Some term holds.
    Any(Vec<Predicate>),
    /// Every term holds.
    All(Vec<Predicate>),
    /// The term does not hold.
    Not(Box<Predicate>),
    /// One comparison.
    Comparison(Comparison),
}

/// A comparison whose selector and value fit the schema.
#[derive(Debug)]
pub(super) struct Comparison {
    /// From the row to the value; never empty.
    pub(super) path: Vec<Step>,
    /// What must hold of the value, or, if `negated`, must not.
    pub(super) test: Test,
    /// As in the filter.
    pub(super) negated: bool,
}

/// One part of a selector with the kind of what it leads to.
#[derive(Debug)]
pub(super) struct Step {
    /// Field name or map key.
    pub(super) name: Box<str>,
    /// Kind of the value there.
    pub(super) kind: &'static Kind,
}

/// What is asked of a value.
#[derive(Debug)]
pub(super) enum Test {
    /// Is this text.
    Text(String),
    /// Is this number.
    Int(i64),
    /// Is this truth value.
    Bool(bool),
    /// Has this substring, element or key.
    Contains(String),
    /// Matches somewhere.
    Matches(Regex),
    /// Has no elements.
    Empty,
}

/// Compiles `expression` for rows of `schema`.
pub(super) fn compile(expression: &Expression, schema: &Schema) -> Result<Predicate, FilterError> {
    let mut patterns = 0;
    compile_counting(expression, schema, &mut patterns)
}

fn compile_counting(
    expression: &Expression,
    schema: &Schema,
    patterns: &mut usize,
) -> Result<Predicate, FilterError> {
    let mut all = |terms: &[Expression]| {
        terms
            .iter()
            .map(|term| compile_counting(term, schema, patterns))
            .collect::<Result<Vec<_>, _>>()
    };
    match expression {
        Expression::Or(terms) => all(terms).map(Predicate::Any),
        Expression::And(terms) => all(terms).map(Predicate::All),
        Expression::Not(inner) => {
            compile_counting(inner, schema, patterns).map(|inner| Predicate::Not(Box::new(inner)))
        }
        Expression::Match(condition) => {
            if condition.operator == Operator::Matches {
                *patterns += 1;
                if *patterns > PATTERNS_MAX {
                    return Err(FilterError::TooManyPatterns);
                }
            }
            compile_condition(condition, schema).map(Predicate::Comparison)
        }
    }
}

fn compile_condition(condition: &Condition, schema: &Schema) -> Result<Comparison, FilterError> {
    let path = resolve(&condition.selector.0, schema)?;
    let kind = path.last().expect("a selector has at least one part").kind;
    let test = compile_test(condition, kind)?;
    Ok(Comparison { path, test, negated: condition.negated })
}

fn resolve(parts: &[String], schema: &Schema) -> Result<Vec<Step>, FilterError> {
    let mut path: Vec<Step> = Vec::with_capacity(parts.len());
    for (idx, part) in parts.iter().enumerate() {
        let kind = match path.last() {
            None => schema.field(part),
            Some(step) => step.kind.select(part),
        };
        let Some(kind) = kind else {
            return Err(FilterError::Selector(quote(&parts[..=idx].join("."))));
        };
        path.push(Step { name: part.as_str().into(), kind });
    }
    Ok(path)
}

fn compile_test(condition: &Condition, kind: &Kind) -> Result<Test, FilterError> {
    let value = &condition.value;
    let selector = || quote(&condition.selector.joined());
    let coerced = |reason: &'static str, function: &str| FilterError::Value {
        value: quote(value),
        selector: selector(),
        reason: format!("strconv.{function}: parsing {}: {reason}", quote(value)),
    };
    match (condition.operator, kind) {
        (Operator::Equal, Kind::String) => Ok(Test::Text(value.clone())),
        (Operator::Equal, Kind::Int) => {
            parse_int(value).map(Test::Int).map_err(|reason| coerced(reason, "ParseInt"))
        }
        (Operator::Equal, Kind::Bool) => {
            parse_bool(value).map(Test::Bool).ok_or_else(|| coerced("invalid syntax", "ParseBool"))
        }
        (
            Operator::In,
            Kind::String | Kind::Strings | Kind::StringMap | Kind::StringsMap | Kind::StructMap(_),
        ) => Ok(Test::Contains(value.clone())),
        (Operator::Matches, Kind::String) => pattern::compile(value)
            .map(Test::Matches)
            .map_err(|reason| FilterError::Pattern { pattern: quote(value), reason }),
        (
            Operator::Empty,
            Kind::Strings
            | Kind::Structs(_)
            | Kind::StringMap
            | Kind::StringsMap
            | Kind::StructMap(_),
        ) => Ok(Test::Empty),
        (Operator::Equal | Operator::In | Operator::Matches | Operator::Empty, _) => {
            Err(FilterError::Operator { operator: condition.operator_name(), selector: selector() })
        }
    }
}

/// Go's `strconv.ParseInt(text, 0, 64)`: the prefix decides the base, underscores may separate digits.
fn parse_int(text: &str) -> Result<i64, &'static str> {
    const SYNTAX: &str = "invalid syntax";
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, rest) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, &lower[..]),
    };
    // After a base prefix one underscore may stand directly.
    let rest = if radix == 10 { rest } else { rest.strip_prefix('_').unwrap_or(rest) };
    let misplaced = rest.starts_with('_') || rest.ends_with('_') || rest.contains("__");
    let plain = rest.replace('_', "");
    if misplaced || plain.is_empty() || !plain.chars().all(|c| c.is_digit(radix)) {
        return Err(SYNTAX);
    }
    let signed = if negative { format!("-{plain}") } else { plain };
    i64::from_str_radix(&signed, radix).map_err(|_| "value out of range")
}

/// Go's `strconv.ParseBool`.
fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_read_as_go_reads_them() {
        let cases: &[(&str, Result<i64, &str>)] = &[
            ("0", Ok(0)),
            ("-5", Ok(-5)),
            ("+5", Ok(5)),
            ("0x1F", Ok(31)),
            ("0b101", Ok(5)),
            ("0o17", Ok(15)),
            ("017", Ok(15)),
            ("1_000", Ok(1000)),
            ("0x_1f", Ok(31)),
            ("9223372036854775807", Ok(i64::MAX)),
            ("-9223372036854775808", Ok(i64::MIN)),
            ("9223372036854775808", Err("value out of range")),
            ("", Err("invalid syntax")),
            ("-", Err("invalid syntax")),
            ("--5", Err("invalid syntax")),
            ("0x", Err("invalid syntax")),
            ("09", Err("invalid syntax")),
            ("1__0", Err("invalid syntax")),
            ("_1", Err("invalid syntax")),
            ("1_", Err("invalid syntax")),
            ("1.5", Err("invalid syntax")),
            ("é", Err("invalid syntax")),
        ];
        for (text, value) in cases {
            assert_eq!(parse_int(text), *value, "{text}");
        }
    }
}
