use model::{Diagnostic, Place, Severity};

use crate::node::{Content, Entry, Node};

/// Findings about one input, collected while it is read.
pub(crate) struct Report<'a> {
    source: &'a str,
    findings: Vec<Diagnostic>,
}

impl<'a> Report<'a> {
    pub(crate) fn new(source: &'a str) -> Self {
        Self { source, findings: Vec::new() }
    }

    pub(crate) fn source(&self) -> &'a str {
        self.source
    }

    pub(crate) fn error(&mut self, at: &At, message: impl Into<String>, remedy: impl Into<String>) {
        self.add(Severity::Error, at, message.into(), remedy.into());
    }

    pub(crate) fn ignored(
        &mut self,
        at: &At,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.add(Severity::Ignored, at, message.into(), remedy.into());
    }

    pub(crate) fn approximated(
        &mut self,
        at: &At,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.add(Severity::Approximated, at, message.into(), remedy.into());
    }

    /// The findings in the order of their lines: errors apart from the rest.
    pub(crate) fn finish(mut self) -> (Vec<Diagnostic>, Vec<Diagnostic>) {
        self.findings.sort_by_key(|it| it.place.line);
        self.findings.into_iter().partition(|it| it.severity == Severity::Error)
    }

    fn add(&mut self, severity: Severity, at: &At, message: String, remedy: String) {
        let place = Place { file: self.source.to_owned(), line: at.line };
        self.findings.push(Diagnostic { severity, place, field: at.path.clone(), message, remedy });
    }
}

/// A field: its path from the document's root, and its line.
#[derive(Clone, Debug)]
pub(crate) struct At {
    pub(crate) path: String,
    pub(crate) line: u32,
}

impl At {
    /// A field below this one that is not there.
    pub(crate) fn missing(&self, name: &str) -> At {
        At { path: join(&self.path, name), line: self.line }
    }
}

/// A field with its value.
#[derive(Clone, Debug)]
pub(crate) struct Field<'a> {
    pub(crate) at: At,
    pub(crate) node: &'a Node,
}

impl<'a> Field<'a> {
    pub(crate) fn root(node: &'a Node, path: &str) -> Self {
        Self { at: At { path: path.to_owned(), line: node.line }, node }
    }

    /// The text; anything else is an error, with a remedy for what YAML took for a number or a boolean.
    pub(crate) fn text(&self, report: &mut Report<'_>) -> Option<&'a str> {
        let remedy = match &self.node.content {
            Content::String(text) => return Some(text),
            // The value itself is not repeated: it may be a password.
            Content::Number(_) | Content::Bool(_) => "put it in quotes",
            Content::Null | Content::List(_) | Content::Map(_) => "write a string",
        };
        report.error(&self.at, format!("must be a string, not {}", self.node.kind()), remedy);
        None
    }

    /// The items of a list; anything else is an error.
    pub(crate) fn items(&self, report: &mut Report<'_>) -> Vec<Field<'a>> {
        let Content::List(items) = &self.node.content else {
            let message = format!("must be a list, not {}", self.node.kind());
            report.error(&self.at, message, "begin each item with `- `");
            return Vec::new();
        };
        let item = |(idx, node): (usize, &'a Node)| Field {
            at: At { path: format!("{}[{idx}]", self.at.path), line: node.line },
            node,
        };
        items.iter().enumerate().map(item).collect()
    }

    /// The pairs of a map; anything else is an error.
    pub(crate) fn fields(&self, report: &mut Report<'_>) -> Option<Fields<'a>> {
        let Some(entries) = self.node.entries() else {
            let message = format!("must be a map, not {}", self.node.kind());
            report.error(&self.at, message, "write `name: value` pairs");
            return None;
        };
        Some(Fields { at: self.at.clone(), entries, asked: Vec::new() })
    }

    /// The pairs of a map of strings, each with its place; other values are errors.
    pub(crate) fn texts(&self, report: &mut Report<'_>) -> Vec<(&'a str, &'a str, At)> {
        let Some(fields) = self.fields(report) else { return Vec::new() };
        let mut texts = Vec::new();
        for entry in fields.entries {
            let field = fields.field(entry);
            if let Some(text) = field.text(report) {
                texts.push((entry.key.as_str(), text, field.at));
            }
        }
        texts
    }
}

/// The pairs of a map. Whoever reads it takes the fields that he honors; [`Fields::finish`] reports the rest.
pub(crate) struct Fields<'a> {
    pub(crate) at: At,
    entries: &'a [Entry],
    asked: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// A field that is honored; `None` when it is absent or null, which is the same.
    pub(crate) fn take(&mut self, name: &'static str) -> Option<Field<'a>> {
        self.asked.push(name);
        let entry = self.entries.iter().find(|entry| entry.key == name)?;
        (entry.value.content != Content::Null).then(|| self.field(entry))
    }

    /// A field that must be there.
    pub(crate) fn require(
        &mut self,
        name: &'static str,
        report: &mut Report<'_>,
    ) -> Option<Field<'a>> {
        let field = self.take(name);
        if field.is_none() {
            report.error(&self.at.missing(name), "missing", format!("add `{name}`"));
        }
        field
    }

    /// The text of a field, if it is there.
    pub(crate) fn text(&mut self, name: &'static str, report: &mut Report<'_>) -> Option<&'a str> {
        self.take(name)?.text(report)
    }

    /// The items of a list, none if it is absent.
    pub(crate) fn items(&mut self, name: &'static str, report: &mut Report<'_>) -> Vec<Field<'a>> {
        self.take(name).map_or_else(Vec::new, |field| field.items(report))
    }

    /// Fields that mean nothing here and that nobody misses.
    pub(crate) fn skip(&mut self, names: &[&'static str]) {
        self.asked.extend_from_slice(names);
    }

    /// A field that is known but not honored: reported when it is there, unless it holds one of `harmless`.
    pub(crate) fn refuse(
        &mut self,
        name: &'static str,
        harmless: &[&str],
        because: (&str, &str),
        report: &mut Report<'_>,
    ) {
        let Some(field) = self.take(name) else { return };
        let text = match &field.node.content {
            Content::String(text) => text.clone(),
            Content::Bool(value) => value.to_string(),
            Content::Number(value) => value.to_string(),
            Content::Null | Content::List(_) | Content::Map(_) => String::new(),
        };
        if !harmless.contains(&text.as_str()) {
            report.ignored(&field.at, because.0, because.1);
        }
    }

    /// All pairs, in the order written; null is a value.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&'a str, Field<'a>)> {
        self.entries.iter().map(|entry| (entry.key.as_str(), self.field(entry)))
    }

    /// The pairs that nobody asked for.
    pub(crate) fn unasked(&self) -> impl Iterator<Item = (&'a str, Field<'a>)> {
        self.all().filter(|(name, _)| !self.asked.contains(name))
    }

    /// Reports every field that nobody asked for.
    pub(crate) fn finish(self, report: &mut Report<'_>) {
        for entry in self.entries {
            if self.asked.iter().any(|name| *name == entry.key) {
                continue;
            }
            let remedy = match nearest(&entry.key, &self.asked) {
                Some(name) => format!("did you mean `{name}`?"),
                None => "remove it".to_owned(),
            };
            report.ignored(&self.field(entry).at, "unknown field, has no effect", remedy);
        }
    }

    /// Makes an error of every field that nobody asked for, where no document can carry a lesser finding.
    pub(crate) fn finish_strictly(self, report: &mut Report<'_>) {
        for entry in self.entries.iter().filter(|it| !self.asked.contains(&it.key.as_str())) {
            report.error(&self.field(entry).at, "unknown field", "remove it");
        }
    }

    fn field(&self, entry: &'a Entry) -> Field<'a> {
        let path = join(&self.at.path, &entry.key);
        Field { at: At { path, line: entry.line }, node: &entry.value }
    }
}

/// The one of `known` that `word` was probably meant to be: at most two letters apart, and fewer than a third of
/// its own.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|it| (distance(&word.to_lowercase(), &it.to_lowercase()), *it))
        .filter(|(distance, it)| *distance <= 2 && distance * 3 < it.len())
        .min()
        .map(|(_, it)| it)
}

/// Levenshtein's distance of two words, in bytes.
fn distance(a: &str, b: &str) -> usize {
    // Fields and annotations have names of up to some 60 bytes; longer ones are not typing errors.
    if a.len() > 80 || b.len() > 80 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// A path and a key below it; a key with a dot or a slash is quoted so that the path stays readable.
fn join(path: &str, key: &str) -> String {
    match (path.is_empty(), key.contains(['.', '/', '[', ' '])) {
        (true, false) => key.to_owned(),
        (false, false) => format!("{path}.{key}"),
        (_, true) => format!("{path}[\"{key}\"]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_is_recognized() {
        assert_eq!(nearest("selecter", &["ports", "selector"]), Some("selector"));
        assert_eq!(nearest("targetport", &["port", "targetPort"]), Some("targetPort"));
        assert_eq!(nearest("replicas", &["ports", "selector"]), None);
    }
}
