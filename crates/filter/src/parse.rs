//! The grammar of go-bexpr 0.1.2 as a descent with backtracking, its error texts included.
//!
//! Like a PEG parser it remembers the farthest place where something else was expected, and what; that makes the
//! `1:5 (4): no match found, expected: …` texts. Every alternative that it takes back is bounded by one comparison,
//! so the time is linear in the text.

use std::collections::BTreeSet;

use super::FilterError;
use super::syntax::{Condition, Expression, Operator, Selector};
use model::go::unquote;

/// Deepest nesting of parentheses and `not`: far above what people write, far below what a stack holds.
pub(super) const DEPTH_MAX: usize = 64;

/// Reads a filter.
pub(super) fn parse(text: &str) -> Result<Expression, FilterError> {
    let mut parser =
        Parser { text, position: 0, depth: 0, farthest: 0, expected: BTreeSet::new(), end: false };
    match parser.input() {
        Ok(expression) => Ok(expression),
        Err(Failure::Fatal(error)) => Err(error),
        Err(Failure::NoMatch) => Err(parser.no_match()),
    }
}

/// Why a rule did not match.
enum Failure {
    /// Another alternative may.
    NoMatch,
    /// None can.
    Fatal(FilterError),
}

type Parsed<T> = Result<T, Failure>;

struct Parser<'a> {
    text: &'a str,
    position: usize,
    depth: usize,
    /// Farthest position at which something was expected in vain.
    farthest: usize,
    /// What was expected there.
    expected: BTreeSet<&'static str>,
    /// The end of the text was expected there, too.
    end: bool,
}

impl<'a> Parser<'a> {
    fn input(&mut self) -> Parsed<Expression> {
        self.optional_blank();
        let expression = self.or_expression()?;
        self.optional_blank();
        if self.position == self.text.len() {
            return Ok(expression);
        }
        self.missed(None);
        Err(Failure::NoMatch)
    }

    fn or_expression(&mut self) -> Parsed<Expression> {
        let mut terms = vec![self.and_expression()?];
        while self.spaced("or", "\"or\"") {
            terms.push(self.and_expression()?);
        }
        Ok(if terms.len() == 1 { terms.remove(0) } else { Expression::Or(terms) })
    }

    fn and_expression(&mut self) -> Parsed<Expression> {
        let mut terms = vec![self.not_expression()?];
        while self.spaced("and", "\"and\"") {
            terms.push(self.not_expression()?);
        }
        Ok(if terms.len() == 1 { terms.remove(0) } else { Expression::And(terms) })
    }

    /// `not` binds tightest. Where nothing negatable follows, `not` itself is a bare word (`not in Tags`).
    fn not_expression(&mut self) -> Parsed<Expression> {
        let start = self.position;
        if self.before_blank("not", "\"not\"") {
            match self.nested(Self::not_expression) {
                Ok(Expression::Not(inner)) => return Ok(*inner),
                Ok(inner) => return Ok(Expression::Not(Box::new(inner))),
                Err(Failure::NoMatch) => {}
                Err(fatal) => return Err(fatal),
            }
        }
        self.position = start;
        self.primary()
    }

    fn primary(&mut self) -> Parsed<Expression> {
        if !self.token("(", "\"(\"") {
            return self.condition().map(Expression::Match);
        }
        self.optional_blank();
        let inner = self.nested(Self::or_expression)?;
        self.optional_blank();
        if self.token(")", "\")\"") {
            return Ok(inner);
        }
        Err(self.fatal(self.position, "grouping", "Unmatched parentheses"))
    }

    fn nested(&mut self, rule: impl Fn(&mut Self) -> Parsed<Expression>) -> Parsed<Expression> {
        if self.depth == DEPTH_MAX {
            return Err(Failure::Fatal(FilterError::TooDeep));
        }
        self.depth += 1;
        let parsed = rule(self);
        self.depth -= 1;
        parsed
    }

    fn condition(&mut self) -> Parsed<Condition> {
        let start = self.position;
        if let Some(selector) = self.selector()?
            && let Some((operator, negated)) = self.selector_first_operator()
        {
            let value = match operator {
                Operator::Empty => String::new(),
                Operator::Equal | Operator::In | Operator::Matches => {
                    self.value()?.ok_or(Failure::NoMatch)?
                }
            };
            return Ok(Condition { selector, operator, negated, value });
        }
        self.position = start;
        let value = self.value()?.ok_or(Failure::NoMatch)?;
        let negated = self.value_first_operator().ok_or(Failure::NoMatch)?;
        match self.selector()? {
            Some(selector) => Ok(Condition { selector, operator: Operator::In, negated, value }),
            None => Err(self.fatal(self.position, "match", "Invalid selector")),
        }
    }

    /// An operator that follows a selector; nothing is consumed when there is none.
    fn selector_first_operator(&mut self) -> Option<(Operator, bool)> {
        let start = self.position;
        self.optional_blank();
        for (token, label, negated) in [("==", "\"==\"", false), ("!=", "\"!=\"", true)] {
            if self.token(token, label) {
                self.optional_blank();
                return Some((Operator::Equal, negated));
            }
        }
        self.position = start;
        if self.spaced("contains", "\"contains\"") {
            return Some((Operator::In, false));
        }
        if self.spaced("matches", "\"matches\"") {
            return Some((Operator::Matches, false));
        }
        if self.spaced("not", "\"not\"") {
            if self.before_blank("contains", "\"contains\"") {
                return Some((Operator::In, true));
            }
            if self.before_blank("matches", "\"matches\"") {
                return Some((Operator::Matches, true));
            }
            self.position = start;
        }
        if self.spaced("is", "\"is\"") {
            if self.token("empty", "\"empty\"") {
                return Some((Operator::Empty, false));
            }
            if self.before_blank("not", "\"not\"") && self.token("empty", "\"empty\"") {
                return Some((Operator::Empty, true));
            }
            self.position = start;
        }
        None
    }

    /// `in` (false) or `not in` (true) after a value; nothing is consumed when there is neither.
    fn value_first_operator(&mut self) -> Option<bool> {
        let start = self.position;
        if self.spaced("in", "\"in\"") {
            return Some(false);
        }
        if self.spaced("not", "\"not\"") && self.before_blank("in", "\"in\"") {
            return Some(true);
        }
        self.position = start;
        None
    }

    fn selector(&mut self) -> Parsed<Option<Selector>> {
        let Some(first) = self.identifier() else { return Ok(None) };
        let mut path = vec![first.to_owned()];
        loop {
            let start = self.position;
            if self.token(".", "\".\"") {
                if let Some(part) = self.identifier() {
                    path.push(part.to_owned());
                    continue;
                }
                self.position = start;
            }
            if !self.token("[", "\"[\"") {
                return Ok(Some(Selector(path)));
            }
            self.optional_blank();
            let Some(key) = self.string()? else {
                return Err(self.fatal(self.position, "index", "Invalid index"));
            };
            self.optional_blank();
            if !self.token("]", "\"]\"") {
                return Err(self.fatal(self.position, "index", "Unclosed index expression"));
            }
            path.push(key);
        }
    }

    fn identifier(&mut self) -> Option<&'a str> {
        let rest = self.rest();
        if !rest.starts_with(|c: char| c.is_ascii_alphabetic()) {
            self.missed(Some("[a-zA-Z]"));
            return None;
        }
        let len = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        self.position += len;
        self.missed(Some("[a-zA-Z0-9_]"));
        Some(&rest[..len])
    }

    fn value(&mut self) -> Parsed<Option<String>> {
        if let Some(selector) = self.selector()? {
            return Ok(Some(selector.joined()));
        }
        if let Some(number) = self.number()? {
            return Ok(Some(number.to_owned()));
        }
        self.string()
    }

    fn number(&mut self) -> Parsed<Option<&'a str>> {
        let start = self.position;
        self.token("-", "\"-\"");
        if !self.token("0", "\"0\"") && !self.digits('1', "[1-9]") {
            self.position = start;
            return Ok(None);
        }
        let whole_end = self.position;
        if !(self.token(".", "\".\"") && self.digits('0', "[0-9]")) {
            self.position = whole_end;
        }
        let rest = self.rest();
        if rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n', ')']) {
            return Ok(Some(&self.text[start..self.position]));
        }
        Err(self.fatal(self.position, "number", "Invalid number literal"))
    }

    /// Digits, the first of them at least `first_min`.
    fn digits(&mut self, first_min: char, label: &'static str) -> bool {
        let rest = self.rest();
        if !rest.starts_with(|c: char| (first_min..='9').contains(&c)) {
            self.missed(Some(label));
            return false;
        }
        self.position += rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        self.missed(Some("[0-9]"));
        true
    }

    fn string(&mut self) -> Parsed<Option<String>> {
        let start = self.position;
        let quote = if self.token("`", "\"`\"") {
            '`'
        } else if self.token("\"", "\"\\\"\"") {
            '"'
        } else {
            return Ok(None);
        };
        let Some(len) = self.rest().find(quote) else {
            return Err(self.fatal(self.text.len(), "string", "Unterminated string literal"));
        };
        self.position += len + 1;
        match unquote(&self.text[start..self.position]) {
            Some(text) => Ok(Some(text)),
            None => Err(self.fatal(start, "string", "invalid syntax")),
        }
    }

    /// A word with white space on both sides; nothing is consumed without it.
    fn spaced(&mut self, word: &str, label: &'static str) -> bool {
        let start = self.position;
        let found = self.blank() && self.before_blank(word, label);
        if !found {
            self.position = start;
        }
        found
    }

    /// A word with white space after it; nothing is consumed without it.
    fn before_blank(&mut self, word: &str, label: &'static str) -> bool {
        let start = self.position;
        let found = self.token(word, label) && self.blank();
        if !found {
            self.position = start;
        }
        found
    }

    fn token(&mut self, token: &str, label: &'static str) -> bool {
        if self.rest().starts_with(token) {
            self.position += token.len();
            return true;
        }
        self.missed(Some(label));
        false
    }

    fn optional_blank(&mut self) {
        self.blank();
    }

    fn blank(&mut self) -> bool {
        let rest = self.rest();
        let len = rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
        self.position += len;
        self.missed(Some("[ \\t\\r\\n]"));
        len > 0
    }

    fn rest(&self) -> &'a str {
        &self.text[self.position..]
    }

    /// Notes that `label` (or, with `None`, the end of the text) was expected here in vain.
    fn missed(&mut self, label: Option<&'static str>) {
        if self.position < self.farthest {
            return;
        }
        if self.position > self.farthest {
            self.farthest = self.position;
            self.expected.clear();
            self.end = false;
        }
        match label {
            Some(label) => {
                self.expected.insert(label);
            }
            None => self.end = true,
        }
    }

    fn no_match(&self) -> FilterError {
        let mut wanted: Vec<&str> = self.expected.iter().copied().collect();
        if self.end {
            wanted.push("EOF");
        }
        let expected = match wanted.split_last() {
            None => String::new(),
            Some((last, [])) => (*last).to_owned(),
            Some((last, others)) => format!("{} or {last}", others.join(", ")),
        };
        FilterError::NoMatch { place: self.place(self.farthest), expected }
    }

    fn fatal(&self, position: usize, rule: &'static str, reason: &'static str) -> Failure {
        Failure::Fatal(FilterError::Syntax { place: self.place(position), rule, reason })
    }

    /// `line:column (offset)`, where a line break counts as column 0 of the line that it begins.
    fn place(&self, position: usize) -> String {
        let (mut line, mut column) = (1, 1);
        let mut after = self.text[position..].chars();
        for c in self.text[..position].chars() {
            if c == '\n' {
                (line, column) = (line + 1, 0);
            }
            column += 1;
        }
        if after.next() == Some('\n') {
            (line, column) = (line + 1, 0);
        }
        format!("{line}:{column} ({position})")
    }
}
