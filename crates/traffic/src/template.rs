//! URI templates as Envoy's `uri_template` matcher and rewriter have them.
//!
//! A template is segments between slashes: a literal, `*` (one segment), `**` (the rest, also none
//! of it), or a variable, `{name}` for `{name=*}`, or `{name=a/*/b}`. After the last segment a
//! literal may follow at once: `/videos/*.m4s`. Nothing but literals comes after `**`.

use std::ops::Range;

use crate::matching::Expression;

/// Most variables of a template; Envoy's bound.
const VARIABLES_MAX: usize = 5;
/// Longest name of a variable; Envoy's bound.
const VARIABLE_NAME_BYTES_MAX: usize = 16;
/// Most bytes of a template: what a path may have is bounded by a request's head.
const TEMPLATE_BYTES_MAX: usize = 4096;

/// What one segment of a path may hold (RFC 3986, appendix A, without `*` and `=`, as in Envoy).
const SEGMENT: &str = r"[a-zA-Z0-9\-._~%!$&'()+,;:@]+";
/// The same with slashes, or nothing.
const REST: &str = r"[a-zA-Z0-9\-._~%!$&'()+,;:@/]*";

/// A template that whole paths are matched against.
#[derive(Clone, Debug)]
pub struct UriTemplate {
    expression: Expression,
    /// The variable at `idx` is group `idx + 1`.
    variables: Vec<String>,
    /// What every path that matches begins with.
    literal_prefix: String,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Piece<'t> {
    Literal(&'t str),
    Segment,
    Rest,
}

impl UriTemplate {
    /// Compiles a template.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(template: &str) -> Result<UriTemplate, String> {
        Parser {
            template,
            rest: template,
            pattern: String::new(),
            variables: Vec::new(),
            after_rest: false,
        }
        .run()
        .map_err(|why| format!("the template {template:?} is not valid: {why}"))
    }

    /// Whether a path (without the query) has this form.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        self.expression.matches(path.as_bytes())
    }

    /// Names of the variables, in the order in which they stand.
    #[must_use]
    pub fn variables(&self) -> &[String] {
        &self.variables
    }

    /// Where the values of the variables are in a path, in the order of [`UriTemplate::variables`];
    /// `None` when the path does not have this form.
    #[must_use]
    pub fn capture(&self, path: &str) -> Option<Vec<Range<usize>>> {
        let found = self.expression.captures(path.as_bytes())?;
        let value = |idx: usize| found.get(idx + 1).map_or(0..0, |it| it.range());
        Some((0..self.variables.len()).map(value).collect())
    }

    /// What every path that matches begins with.
    pub(crate) fn literal_prefix(&self) -> &str {
        &self.literal_prefix
    }
}

struct Parser<'t> {
    template: &'t str,
    rest: &'t str,
    pattern: String,
    variables: Vec<String>,
    /// `**` was there.
    after_rest: bool,
}

impl<'t> Parser<'t> {
    fn run(mut self) -> Result<UriTemplate, String> {
        if self.template.len() > TEMPLATE_BYTES_MAX {
            return Err(format!("it is longer than {TEMPLATE_BYTES_MAX} bytes"));
        }
        self.rest = self.template.strip_prefix('/').ok_or("it must begin with /")?;
        self.pattern.push('/');
        while !self.rest.is_empty() {
            self.segment()?;
            match self.rest.strip_prefix('/') {
                Some(rest) => {
                    self.pattern.push('/');
                    self.rest = rest;
                }
                None if self.rest.is_empty() => {}
                None => self.suffix()?,
            }
        }
        let end = self.template.find(['*', '{']).unwrap_or(self.template.len());
        Ok(UriTemplate {
            expression: Expression::new(&self.pattern)?,
            variables: self.variables,
            literal_prefix: self.template[..end].to_owned(),
        })
    }

    fn segment(&mut self) -> Result<(), String> {
        if let Some(rest) = self.rest.strip_prefix('{') {
            let (variable, rest) = rest.split_once('}').ok_or("a { is not closed")?;
            self.rest = rest;
            return self.variable(variable);
        }
        let (piece, rest) = piece(self.rest)?;
        self.rest = rest;
        self.push(&piece)
    }

    fn variable(&mut self, variable: &str) -> Result<(), String> {
        let (name, form) = variable.split_once('=').unwrap_or((variable, "*"));
        check_name(name)?;
        if self.variables.iter().any(|it| it == name) {
            return Err(format!("the variable {name} is there twice"));
        }
        if self.variables.len() == VARIABLES_MAX {
            return Err(format!("it has more than {VARIABLES_MAX} variables"));
        }
        self.variables.push(name.to_owned());
        self.pattern.push('(');
        let mut rest = form;
        loop {
            let (found, after) = piece(rest)?;
            self.push(&found)?;
            if after.is_empty() {
                break;
            }
            rest = after.strip_prefix('/').ok_or("a variable's segments must be whole")?;
            self.pattern.push('/');
        }
        self.pattern.push(')');
        Ok(())
    }

    fn push(&mut self, piece: &Piece<'_>) -> Result<(), String> {
        if self.after_rest && *piece != Piece::Rest && !matches!(piece, Piece::Literal(_)) {
            return Err("* and variables cannot come after **".to_owned());
        }
        match piece {
            Piece::Literal(text) => self.pattern.push_str(&regex::escape(text)),
            Piece::Segment => self.pattern.push_str(SEGMENT),
            Piece::Rest if self.after_rest => return Err("** is there twice".to_owned()),
            Piece::Rest => {
                self.after_rest = true;
                self.pattern.push_str(REST);
            }
        }
        Ok(())
    }

    /// A literal directly after the last segment.
    fn suffix(&mut self) -> Result<(), String> {
        match piece(self.rest)? {
            (Piece::Literal(text), "") => {
                self.pattern.push_str(&regex::escape(text));
                self.rest = "";
                Ok(())
            }
            _ => Err("what follows * or } directly must be a literal, and the end".to_owned()),
        }
    }
}

/// The first `*`, `**` or literal, and what comes after it.
fn piece(text: &str) -> Result<(Piece<'_>, &str), String> {
    if let Some(rest) = text.strip_prefix("**") {
        return Ok((Piece::Rest, rest));
    }
    if let Some(rest) = text.strip_prefix('*') {
        return Ok((Piece::Segment, rest));
    }
    let (literal, rest) = text.split_at(text.find('/').unwrap_or(text.len()));
    if literal.is_empty() {
        return Err("a segment is empty".to_owned());
    }
    check_literal(literal)?;
    Ok((Piece::Literal(literal), rest))
}

fn check_literal(literal: &str) -> Result<(), String> {
    let is_literal = |it: char| it.is_ascii_alphanumeric() || "-._~%!$&'()+,;:@".contains(it);
    match literal.chars().find(|it| !is_literal(*it)) {
        Some(char) => Err(format!("{char:?} cannot stand in a literal")),
        None => Ok(()),
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let is_name = name.starts_with(|it: char| it.is_ascii_alphabetic())
        && name.chars().all(|it| it.is_ascii_alphanumeric() || it == '_');
    if !is_name {
        return Err(format!("{name:?} is not the name of a variable"));
    }
    if name.len() > VARIABLE_NAME_BYTES_MAX {
        return Err(format!("the name {name} is longer than {VARIABLE_NAME_BYTES_MAX} bytes"));
    }
    Ok(())
}

/// A path made of literals and of the variables that a template has bound: `/new/{name}/{rest}`.
#[derive(Clone, Debug)]
pub(crate) struct TemplateRewrite {
    template: UriTemplate,
    parts: Vec<RewritePart>,
}

#[derive(Clone, Debug)]
enum RewritePart {
    Literal(String),
    /// Position in [`UriTemplate::variables`].
    Variable(usize),
}

impl TemplateRewrite {
    pub(crate) fn new(template: &UriTemplate, rewrite: &str) -> Result<TemplateRewrite, String> {
        let wrong = |why: String| format!("the rewrite {rewrite:?} is not valid: {why}");
        if !rewrite.starts_with('/') {
            return Err(wrong("it must begin with /".to_owned()));
        }
        let mut parts = Vec::new();
        let mut rest = rewrite;
        while !rest.is_empty() {
            let (literal, after) = rest.split_at(rest.find('{').unwrap_or(rest.len()));
            for segment in literal.split('/') {
                check_literal(segment).map_err(wrong)?;
            }
            parts.push(RewritePart::Literal(literal.to_owned()));
            let Some(after) = after.strip_prefix('{') else { break };
            let (name, after) =
                after.split_once('}').ok_or_else(|| wrong("a { is not closed".to_owned()))?;
            let variable = template.variables().iter().position(|it| it == name);
            let variable = variable
                .ok_or_else(|| wrong(format!("the route's template has no variable {name:?}")))?;
            parts.push(RewritePart::Variable(variable));
            rest = after;
        }
        Ok(TemplateRewrite { template: template.clone(), parts })
    }

    /// The new path; `None` when `path` does not have the form of the template.
    pub(crate) fn apply(&self, path: &str) -> Option<String> {
        let values = self.template.capture(path)?;
        let mut rewritten = String::with_capacity(path.len());
        for part in &self.parts {
            match part {
                RewritePart::Literal(literal) => rewritten.push_str(literal),
                RewritePart::Variable(idx) => rewritten.push_str(&path[values[*idx].clone()]),
            }
        }
        Some(rewritten)
    }
}

#[cfg(test)]
mod tests;
