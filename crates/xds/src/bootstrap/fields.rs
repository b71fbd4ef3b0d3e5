//! A place in a file, and what can be asked of it.
//!
//! Whoever reads a [`Message`] takes the fields that he honors. What nobody took reports itself when the message is
//! dropped, so that no reader can forget to.

mod names;

use std::cell::{Cell, RefCell};

use proxy_config::Source;
use serde_json::{Map, Value};

use super::finding::{Finding, Severity};
use super::schema::Schema;
use names::{is_camel_case_of, join, kind, nearest};

/// Gives the content of a file by its name, or says why not.
pub(crate) type Files<'f> = dyn FnMut(&str) -> Result<String, String> + 'f;

/// What is found while a file is read, and how further files are got.
pub(crate) struct Reading<'f> {
    findings: RefCell<Vec<Finding>>,
    /// How many of them are errors.
    errors: Cell<usize>,
    files: RefCell<&'f mut Files<'f>>,
}

impl<'f> Reading<'f> {
    pub(crate) fn new(files: &'f mut Files<'f>) -> Self {
        let (findings, errors) = Default::default();
        Self { findings, errors, files: RefCell::new(files) }
    }

    /// The findings, by path; each once.
    pub(crate) fn finish(self) -> Vec<Finding> {
        let mut findings = self.findings.into_inner();
        findings.sort_by(|a, b| a.path.cmp(&b.path));
        findings.dedup();
        findings
    }
}

/// [`Reading`] without its lifetime.
trait Surroundings {
    fn add(&self, finding: Finding);
    fn errors(&self) -> usize;
    fn file(&self, name: &str) -> Result<String, String>;
}

impl Surroundings for Reading<'_> {
    fn add(&self, finding: Finding) {
        if finding.severity == Severity::Error {
            self.errors.set(self.errors.get() + 1);
        }
        self.findings.borrow_mut().push(finding);
    }

    fn errors(&self) -> usize {
        self.errors.get()
    }

    fn file(&self, name: &str) -> Result<String, String> {
        (self.files.borrow_mut())(name)
    }
}

/// A value at its path.
#[derive(Clone)]
pub(crate) struct Field<'a> {
    pub(crate) path: String,
    pub(crate) value: &'a Value,
    reading: &'a dyn Surroundings,
}

impl<'a> Field<'a> {
    pub(crate) fn root(value: &'a Value, reading: &'a Reading<'_>) -> Self {
        Self { path: String::new(), value, reading }
    }

    pub(crate) fn error(&self, message: impl Into<String>, remedy: impl Into<String>) {
        self.add(Severity::Error, message.into(), remedy.into());
    }

    pub(crate) fn ignored(&self, message: impl Into<String>, remedy: impl Into<String>) {
        self.add(Severity::Ignored, message.into(), remedy.into());
    }

    pub(crate) fn approximated(&self, message: impl Into<String>, remedy: impl Into<String>) {
        self.add(Severity::Approximated, message.into(), remedy.into());
    }

    pub(crate) fn caution(&self, message: impl Into<String>, remedy: impl Into<String>) {
        self.add(Severity::Caution, message.into(), remedy.into());
    }

    fn add(&self, severity: Severity, message: String, remedy: String) {
        self.reading.add(Finding { severity, path: self.path.clone(), message, remedy });
    }

    /// What is made of this comes from here.
    pub(crate) fn source(&self) -> Source {
        Source { object: self.path.clone(), ..Source::default() }
    }

    /// An error that says what must be here.
    pub(crate) fn expected(&self, what: &str) {
        let message = format!("must be {what}, not {}", kind(self.value));
        let remedy = match (self.value, what.starts_with("a string")) {
            (Value::Number(_) | Value::Bool(_), true) => "put it in quotes".to_owned(),
            _ => format!("write {what}"),
        };
        self.error(message, remedy);
    }

    /// The content of the file that this names.
    pub(crate) fn file(&self) -> Option<String> {
        let name = self.text()?;
        match self.reading.file(name) {
            Ok(content) => Some(content),
            Err(cause) => {
                let message = format!("{name:?} cannot be read: {cause}");
                self.error(message, "name a file that this process may read");
                None
            }
        }
    }

    pub(crate) fn text(&self) -> Option<&'a str> {
        let Value::String(text) = self.value else {
            self.expected("a string");
            return None;
        };
        Some(text)
    }

    /// The items of a list.
    pub(crate) fn items(&self) -> Vec<Field<'a>> {
        let Value::Array(items) = self.value else {
            self.expected("a list");
            return Vec::new();
        };
        let item = |(idx, value): (usize, &'a Value)| Field {
            path: format!("{}[{idx}]", self.path),
            value,
            reading: self.reading,
        };
        items.iter().enumerate().map(item).collect()
    }

    /// The pairs of a map whose keys are the author's.
    pub(crate) fn entries(&self) -> Vec<(&'a str, Field<'a>)> {
        let Value::Object(map) = self.value else {
            self.expected("a map");
            return Vec::new();
        };
        map.iter().map(|(key, value)| (key.as_str(), self.below(key, value))).collect()
    }

    /// A message of Envoy's API.
    pub(crate) fn message(&self, schema: &'static Schema) -> Option<Message<'a>> {
        let Value::Object(map) = self.value else {
            self.expected("a map");
            return None;
        };
        let read = vec![false; map.len()];
        let errors_before = self.reading.errors();
        Some(Message { field: self.clone(), map, schema, read, errors_before })
    }

    /// A `typed_config`: the type without `type.googleapis.com/envoy.`, and what is in it.
    pub(crate) fn typed(&self) -> Option<(&'a str, Field<'a>)> {
        const TYPED_STRUCTS: [&str; 2] = [
            "type.googleapis.com/xds.type.v3.TypedStruct",
            "type.googleapis.com/udpa.type.v1.TypedStruct",
        ];
        let Value::Object(map) = self.value else {
            self.expected("a map with `@type`");
            return None;
        };
        let missing = || {
            let remedy = "add `\"@type\": type.googleapis.com/envoy.…`";
            self.error("`@type` is missing", remedy);
            None
        };
        let Some(Value::String(url)) = map.get("@type") else { return missing() };
        if !TYPED_STRUCTS.contains(&url.as_str()) {
            return Some((short_type(url), self.clone()));
        }
        let named = map.get("type_url").or_else(|| map.get("typeUrl"));
        let Some(Value::String(url)) = named else { return missing() };
        match map.get("value") {
            Some(value) => Some((short_type(url), self.below("value", value))),
            None => Some((short_type(url), Field { value: &EMPTY, ..self.clone() })),
        }
    }

    pub(crate) fn below(&self, key: &str, value: &'a Value) -> Field<'a> {
        Field { path: join(&self.path, key), value, reading: self.reading }
    }
}

static EMPTY: Value = Value::Null;

fn short_type(url: &str) -> &str {
    let name = url.rsplit('/').next().unwrap_or(url);
    name.strip_prefix("envoy.").unwrap_or(name)
}

/// A message of Envoy's API. Reports the fields that nobody took when it is dropped.
pub(crate) struct Message<'a> {
    pub(crate) field: Field<'a>,
    map: &'a Map<String, Value>,
    schema: &'static Schema,
    /// Of the entries of `map`, those that somebody took.
    read: Vec<bool>,
    errors_before: usize,
}

impl<'a> Message<'a> {
    /// A field that is honored; `None` when it is absent or null, which is the same.
    pub(crate) fn take(&mut self, name: &str) -> Option<Field<'a>> {
        debug_assert!(self.has_in_schema(name), "{} has no {name}", self.schema.name);
        let mut found: Option<Field<'a>> = None;
        for (idx, (key, value)) in self.map.iter().enumerate() {
            if key != name && !is_camel_case_of(key, name) {
                continue;
            }
            self.read[idx] = true;
            let field = self.field.below(key, value);
            if found.is_some() {
                field.error(format!("{name} is given twice"), "keep one of the two");
            }
            found = Some(field);
        }
        found.filter(|it| !it.value.is_null())
    }

    /// A field that must be there.
    pub(crate) fn required(&mut self, name: &str) -> Option<Field<'a>> {
        let field = self.take(name);
        if field.is_none() {
            self.at(name).error("missing", format!("add `{name}`"));
        }
        field
    }

    /// The only one of several fields that is there; more than one is an error.
    pub(crate) fn one_of(&mut self, names: &[&'static str]) -> Option<(&'static str, Field<'a>)> {
        let mut found: Option<(&'static str, Field<'a>)> = None;
        for name in names {
            let Some(field) = self.take(name) else { continue };
            match &found {
                None => found = Some((name, field)),
                Some((first, _)) => {
                    field.error(format!("cannot be given beside {first}"), "keep one of the two");
                }
            }
        }
        found
    }

    /// The only one of several fields, of which one must be there.
    pub(crate) fn required_one_of(
        &mut self,
        names: &[&'static str],
    ) -> Option<(&'static str, Field<'a>)> {
        let found = self.one_of(names);
        if found.is_none() {
            let message = format!("one of {} is missing", names.join(", "));
            self.field.error(message, "add one of them");
        }
        found
    }

    /// The place of a field that may not be there.
    pub(crate) fn at(&self, name: &str) -> Field<'a> {
        let given = self.map.iter().find(|(key, _)| *key == name || is_camel_case_of(key, name));
        match given {
            Some((key, value)) => self.field.below(key, value),
            None => self.field.below(name, &EMPTY),
        }
    }

    pub(crate) fn text(&mut self, name: &str) -> Option<&'a str> {
        self.take(name)?.text()
    }

    /// A text that must be there and not be empty.
    pub(crate) fn required_text(&mut self, name: &str) -> Option<&'a str> {
        let field = self.required(name)?;
        let text = field.text()?;
        if text.is_empty() {
            field.error("must not be empty", format!("give `{name}` a value"));
            return None;
        }
        Some(text)
    }

    pub(crate) fn message(&mut self, name: &str, schema: &'static Schema) -> Option<Message<'a>> {
        self.take(name)?.message(schema)
    }

    /// The items of a list, none if it is absent.
    pub(crate) fn items(&mut self, name: &str) -> Vec<Field<'a>> {
        self.take(name).map_or_else(Vec::new, |it| it.items())
    }

    /// The texts of a list, none if it is absent.
    pub(crate) fn texts(&mut self, name: &str) -> Vec<String> {
        self.items(name).iter().filter_map(|it| it.text().map(str::to_owned)).collect()
    }

    /// Fields that mean nothing here and that nobody misses.
    pub(crate) fn skip(&mut self, names: &[&str]) {
        for name in names {
            self.take(name);
        }
    }

    /// A field that is known and not honored.
    pub(crate) fn refuse(&mut self, name: &str, message: &str, remedy: &str) {
        if let Some(field) = self.take(name)
            && !self.says_nothing(name, field.value)
        {
            field.ignored(message, remedy);
        }
    }

    /// A field that cannot be honored, and must not be dropped.
    pub(crate) fn forbid(&mut self, name: &str, message: &str, remedy: &str) {
        if let Some(field) = self.take(name)
            && !self.says_nothing(name, field.value)
        {
            field.error(message, remedy);
        }
    }

    /// A field that may only have this value, which it has by default.
    pub(crate) fn only(&mut self, name: &str, value: &Value, message: &str) {
        if let Some(field) = self.take(name)
            && field.value != value
        {
            field.ignored(message, "remove it");
        }
    }

    fn has_in_schema(&self, name: &str) -> bool {
        self.schema_word(name).is_some()
    }

    /// The field's word in the schema, without its name: `""`, `"?"` or `"=ZERO"`.
    fn schema_word(&self, key: &str) -> Option<&'static str> {
        self.schema.fields.split_ascii_whitespace().find_map(|word| {
            let end = word.find(['?', '=']).unwrap_or(word.len());
            let (name, rest) = word.split_at(end);
            (key == name || is_camel_case_of(key, name)).then_some(rest)
        })
    }

    /// Whether a value means the same as none.
    fn says_nothing(&self, key: &str, value: &Value) -> bool {
        let word = self.schema_word(key).unwrap_or("?");
        match value {
            Value::Null => true,
            Value::Array(items) => items.is_empty(),
            // What is on unless it is turned off has a reader of its own.
            Value::Bool(is) => !is,
            _ if word == "?" => false,
            Value::String(text) => text.is_empty() || word.strip_prefix('=') == Some(text),
            Value::Number(number) => number.as_f64() == Some(0.0),
            Value::Object(map) => map.is_empty(),
        }
    }
}

impl Drop for Message<'_> {
    fn drop(&mut self) {
        // Who met an error may have stopped before he took what he honors.
        let is_read_whole = self.field.reading.errors() == self.errors_before;
        for ((key, value), is_read) in self.map.iter().zip(&self.read) {
            if *is_read || key == "@type" {
                continue;
            }
            let field = self.field.below(key, value);
            if !self.has_in_schema(key) {
                let remedy = match nearest(key, self.schema.fields) {
                    Some(name) => format!("did you mean `{name}`?"),
                    None => "remove it".to_owned(),
                };
                field.error(format!("unknown field of {}", self.schema.name), remedy);
            } else if is_read_whole && !self.says_nothing(key, value) {
                field.ignored("not honored: there is nothing like it here", "remove it");
            }
        }
    }
}
