//! Whether a filter holds of a row, with go-bexpr 0.1.2's semantics.

use super::compile::{Comparison, Predicate, Step, Test};
use super::row::{Row, Value};
use super::schema::Kind;

impl Predicate {
    /// True if the filter holds of `row`.
    pub(super) fn holds(&self, row: &dyn Row) -> bool {
        match self {
            Predicate::Any(terms) => terms.iter().any(|term| term.holds(row)),
            Predicate::All(terms) => terms.iter().all(|term| term.holds(row)),
            Predicate::Not(inner) => !inner.holds(row),
            Predicate::Comparison(comparison) => comparison.holds_of_row(row, &comparison.path),
        }
    }
}

impl Comparison {
    fn holds_of_row(&self, row: &dyn Row, path: &[Step]) -> bool {
        let (step, rest) = path.split_first().expect("a path ends at a value, not at a row");
        self.holds_of_value(&row.field(&step.name), step.kind, rest)
    }

    fn holds_of_value(&self, value: &Value<'_>, kind: &Kind, path: &[Step]) -> bool {
        let Some((step, rest)) = path.split_first() else {
            return self.test.holds(value) != self.negated;
        };
        match value {
            Value::Struct(row) => self.holds_of_row(&**row, path),
            // Of any element; also `!=` and the other negated operators, so none holds of an empty list.
            Value::Structs(rows) => rows.iter().any(|row| self.holds_of_row(&**row, path)),
            Value::StringMap(map) => match map.get(&step.name) {
                Some(text) => self.holds_of_value(&Value::Str(text), step.kind, rest),
                None => self.holds_of_missing_key(),
            },
            Value::StringsMap(map) => match map.get(&step.name) {
                Some(texts) => self.holds_of_value(&Value::Strings(texts), step.kind, rest),
                None => self.holds_of_missing_key(),
            },
            Value::StructMap(map) => match map.row(&step.name) {
                Some(row) => self.holds_of_value(&Value::Struct(row), step.kind, rest),
                None => self.holds_of_missing_key(),
            },
            Value::Zero => match kind {
                Kind::Struct(_) => self.holds_of_value(&Value::Zero, step.kind, rest),
                Kind::StringMap | Kind::StringsMap | Kind::StructMap(_) => {
                    self.holds_of_missing_key()
                }
                Kind::Structs(_) | Kind::String | Kind::Int | Kind::Bool | Kind::Strings => false,
            },
            Value::Str(_) | Value::Text(_) | Value::Int(_) | Value::Bool(_) | Value::Strings(_) => {
                false // The schema lets no path go on behind these.
            }
        }
    }

    /// go-bexpr decides by the operator alone, and lets both `matches` and `not matches` hold.
    fn holds_of_missing_key(&self) -> bool {
        match self.test {
            Test::Text(_) | Test::Int(_) | Test::Bool(_) | Test::Contains(_) => self.negated,
            Test::Empty => !self.negated,
            Test::Matches(_) => true,
        }
    }
}

impl Test {
    fn holds(&self, value: &Value<'_>) -> bool {
        match self {
            Test::Text(wanted) => value.text() == *wanted,
            Test::Int(wanted) => match value {
                Value::Int(number) => number == wanted,
                _ => *wanted == 0,
            },
            Test::Bool(wanted) => matches!(value, Value::Bool(true)) == *wanted,
            Test::Contains(wanted) => match value {
                Value::Strings(items) => items.contains(wanted),
                Value::StringMap(map) => map.contains_key(wanted),
                Value::StringsMap(map) => map.contains_key(wanted),
                Value::StructMap(map) => map.row(wanted).is_some(),
                Value::Str(_) | Value::Text(_) => value.text().contains(wanted.as_str()),
                Value::Int(_)
                | Value::Bool(_)
                | Value::Struct(_)
                | Value::Structs(_)
                | Value::Zero => false,
            },
            Test::Matches(pattern) => pattern.is_match(value.text()),
            Test::Empty => match value {
                Value::Strings(items) => items.is_empty(),
                Value::Structs(rows) => rows.is_empty(),
                Value::StringMap(map) => map.is_empty(),
                Value::StringsMap(map) => map.is_empty(),
                Value::StructMap(map) => map.is_empty(),
                Value::Str(_)
                | Value::Text(_)
                | Value::Int(_)
                | Value::Bool(_)
                | Value::Struct(_)
                | Value::Zero => true,
            },
        }
    }
}
