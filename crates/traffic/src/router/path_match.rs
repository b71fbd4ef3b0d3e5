//! Conditions on paths, made ready.

use proxy_config::PathMatch;

use crate::matching::Expression;
use crate::template::UriTemplate;

/// A condition on a path.
#[derive(Debug)]
pub(super) struct PathMatcher {
    form: Form,
    /// Letters are compared without case.
    fold: bool,
}

#[derive(Debug)]
enum Form {
    Exact(String),
    /// Whole segments, without a slash at the end.
    Segments(String),
    Prefix(String),
    Regex {
        expression: Expression,
        literal_prefix: String,
    },
    Template(Box<UriTemplate>),
    /// The condition could not be made ready.
    Never,
}

/// How a route stands in an index of paths.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reach {
    /// The key is the whole path.
    Exact,
    /// The key is whole segments of the path.
    Segments,
    /// The path begins with the key.
    Prefix,
    /// The path begins with the key, and the matcher says whether it matches.
    Check,
}

impl PathMatcher {
    pub(super) fn new(condition: &PathMatch, fold: bool) -> Result<PathMatcher, String> {
        let text = |text: &str| if fold { text.to_ascii_lowercase() } else { text.to_owned() };
        let form = match condition {
            PathMatch::Exact(whole) => Form::Exact(text(whole)),
            PathMatch::PathPrefix(prefix) => {
                Form::Segments(text(prefix.strip_suffix('/').unwrap_or(prefix)))
            }
            PathMatch::Prefix(prefix) => Form::Prefix(text(prefix)),
            PathMatch::Regex(pattern) => Form::Regex {
                expression: Expression::new(pattern)?,
                literal_prefix: literal_prefix(pattern).to_owned(),
            },
            PathMatch::Template(template) => Form::Template(Box::new(UriTemplate::new(template)?)),
        };
        let fold = fold && !matches!(form, Form::Regex { .. } | Form::Template(_));
        Ok(PathMatcher { form, fold })
    }

    pub(super) fn never() -> PathMatcher {
        PathMatcher { form: Form::Never, fold: false }
    }

    /// Whether the index that it belongs to is the one in lower case.
    pub(super) fn is_folded(&self) -> bool {
        self.fold
    }

    /// Its key in an index; `None` when it never matches.
    pub(super) fn key(&self) -> Option<(&str, Reach)> {
        Some(match &self.form {
            Form::Exact(whole) => (whole, Reach::Exact),
            Form::Segments(prefix) => (prefix, Reach::Segments),
            Form::Prefix(prefix) => (prefix, Reach::Prefix),
            Form::Regex { literal_prefix, .. } => (literal_prefix, Reach::Check),
            Form::Template(template) => (template.literal_prefix(), Reach::Check),
            Form::Never => return None,
        })
    }

    pub(super) fn matches(&self, path: &str) -> bool {
        self.mismatch(path).is_none()
    }

    /// Why a path does not meet the condition; `None` when it does.
    pub(super) fn mismatch(&self, path: &str) -> Option<&'static str> {
        match &self.form {
            Form::Exact(whole) => {
                let is_same =
                    if self.fold { path.eq_ignore_ascii_case(whole) } else { path == whole };
                (!is_same).then_some("the path is not exactly this")
            }
            Form::Prefix(prefix) => {
                self.after(prefix, path).is_none().then_some("the path does not start with this")
            }
            Form::Segments(prefix) => match self.after(prefix, path) {
                None => Some("the path does not start with these segments"),
                Some([] | [b'/', ..]) => None,
                Some(_) => Some("the path goes on within the last segment"),
            },
            Form::Regex { expression, .. } => {
                let matches = expression.matches(path.as_bytes());
                (!matches).then_some("the path does not match this regular expression")
            }
            Form::Template(template) => {
                (!template.matches(path)).then_some("the path does not have this form")
            }
            Form::Never => Some("the route is not valid and matches nothing"),
        }
    }

    fn after<'p>(&self, prefix: &str, path: &'p str) -> Option<&'p [u8]> {
        let (start, rest) = path.as_bytes().split_at_checked(prefix.len())?;
        let is_same = if self.fold {
            start.eq_ignore_ascii_case(prefix.as_bytes())
        } else {
            start == prefix.as_bytes()
        };
        is_same.then_some(rest)
    }
}

/// What every text that matches begins with, as far as that is plain to see: nothing where there
/// are alternatives or flags.
fn literal_prefix(pattern: &str) -> &str {
    let pattern = pattern.strip_prefix('^').unwrap_or(pattern);
    if pattern.contains('|') || pattern.contains("(?") {
        return "";
    }
    let is_literal = |it: char| it.is_ascii_alphanumeric() || "/_-".contains(it);
    let end = pattern.find(|it| !is_literal(it)).unwrap_or(pattern.len());
    // The last one may be repeated zero times.
    let is_optional = pattern[end..].starts_with(['?', '*', '{']);
    &pattern[..if is_optional { end.saturating_sub(1) } else { end }]
}

#[cfg(test)]
mod tests {
    use super::literal_prefix;

    #[test]
    fn a_literal_prefix_is_what_every_match_begins_with() {
        for (pattern, expected) in [
            ("/a/b.*", "/a/b"),
            ("^/a/[0-9]+", "/a/"),
            ("/ab*", "/a"),
            ("/ab+", "/ab"),
            ("/ab{0,3}", "/a"),
            ("/a|/b", ""),
            ("(?i)/a", ""),
            ("/a(?:b|c)", ""),
            (r"/a\.b", "/a"),
            (".*", ""),
            ("", ""),
        ] {
            assert_eq!(literal_prefix(pattern), expected, "{pattern}");
        }
    }
}
