use std::net::IpAddr;
use std::time::Duration;

use model::{Diagnostic, Place, Severity, go};
use serde_json::{Map, Value};

use crate::instead;
use crate::resolve::ip_of;

/// Findings of one reading.
#[derive(Debug, Default)]
pub(crate) struct Findings(pub(crate) Vec<Diagnostic>);

impl Findings {
    pub(crate) fn error(&mut self, field: String, message: impl Into<String>) {
        self.push(Severity::Error, field, message.into(), "");
    }

    /// An error, with what to do about it.
    pub(crate) fn error_to_mend(&mut self, field: String, message: String, remedy: &str) {
        self.push(Severity::Error, field, message, remedy);
    }

    pub(crate) fn ignored(&mut self, field: String, message: &str) {
        self.push(Severity::Ignored, field, message.into(), "");
    }

    pub(crate) fn approximated(&mut self, field: String, message: &str) {
        self.push(Severity::Approximated, field, message.into(), "");
    }

    fn push(&mut self, severity: Severity, field: String, message: String, remedy: &str) {
        let (place, remedy) = (Place::default(), remedy.to_owned());
        self.0.push(Diagnostic { severity, place, field, message, remedy });
    }
}

/// An object of settings whose keys are taken by name, in any letter case; what is not taken in the end is unknown.
pub(crate) struct Section<'a> {
    pairs: Vec<(&'a str, &'a Value, bool)>,
    /// Names of the keys that led here, each with a dot after it.
    path: String,
}

impl<'a> Section<'a> {
    pub(crate) fn new(object: &'a Map<String, Value>, path: String) -> Self {
        Self {
            pairs: object.iter().map(|(key, value)| (key.as_str(), value, false)).collect(),
            path,
        }
    }

    pub(crate) fn path_of(&self, name: &str) -> String {
        format!("{}{name}", self.path)
    }

    pub(crate) fn take(&mut self, name: &str) -> Option<&'a Value> {
        let mut found = None;
        for (key, value, is_taken) in &mut self.pairs {
            if key.eq_ignore_ascii_case(name) {
                *is_taken = true;
                found = Some(*value).filter(|it| !it.is_null()).or(found);
            }
        }
        found
    }

    /// Keys of Consul that mean nothing here: each that is given, and says more than its default, is a finding.
    pub(crate) fn ignore(&mut self, findings: &mut Findings, names: &[&str]) {
        for name in names {
            if let Some(value) = self.take(name)
                && !is_empty(value)
            {
                let field = self.path_of(name);
                let instead = instead::of(&field);
                let text = "Leno does not honor this key of Consul";
                findings.push(Severity::Ignored, field, text.into(), instead);
            }
        }
    }

    /// Takes all keys that are left, whatever they are called: each that is given is a finding.
    pub(crate) fn ignore_rest(mut self, findings: &mut Findings) {
        let left = self.pairs.iter().filter(|(_, _, is_taken)| !is_taken);
        let names: Vec<&str> = left.map(|(key, _, _)| *key).collect();
        self.ignore(findings, &names);
    }

    /// Keys that need no word: what they ask for is so here, or cannot matter.
    pub(crate) fn accept(&mut self, names: &[&str]) {
        for name in names {
            self.take(name);
        }
    }

    pub(crate) fn finish(self, findings: &mut Findings) {
        for (key, _, _) in self.pairs.iter().filter(|(_, _, is_taken)| !is_taken) {
            let field = format!("{}{key}", self.path);
            findings.error(field.clone(), format!("invalid config key {field}"));
        }
    }

    pub(crate) fn text(&mut self, findings: &mut Findings, name: &str) -> Option<String> {
        match self.take(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(flag) => Some(flag.to_string()),
            other => self.mismatch(findings, name, other, "a string"),
        }
    }

    pub(crate) fn flag(&mut self, findings: &mut Findings, name: &str) -> Option<bool> {
        match self.take(name)? {
            Value::Bool(flag) => Some(*flag),
            Value::String(text) if text == "true" => Some(true),
            Value::String(text) if text == "false" => Some(false),
            other => self.mismatch(findings, name, other, "true or false"),
        }
    }

    pub(crate) fn integer(&mut self, findings: &mut Findings, name: &str) -> Option<i64> {
        let value = self.take(name)?;
        let number = match value {
            Value::Number(number) => number.as_i64(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        number.or_else(|| self.mismatch(findings, name, value, "a whole number"))
    }

    pub(crate) fn float(&mut self, findings: &mut Findings, name: &str) -> Option<f64> {
        let value = self.take(name)?;
        value.as_f64().or_else(|| self.mismatch(findings, name, value, "a number"))
    }

    /// A number from 0 to `max`.
    pub(crate) fn count(&mut self, findings: &mut Findings, name: &str, max: u64) -> Option<u64> {
        let given = self.integer(findings, name)?;
        let number = u64::try_from(given).ok().filter(|it| *it <= max);
        if number.is_none() {
            let text = format!("{given} is not between 0 and {max}");
            findings.error(self.path_of(name), text);
        }
        number
    }

    pub(crate) fn duration(&mut self, findings: &mut Findings, name: &str) -> Option<Duration> {
        match self.take(name)? {
            Value::String(text) => match go::parse_duration(text) {
                Ok(time) => Some(time),
                Err(error) => {
                    findings.error(self.path_of(name), error.to_string());
                    None
                }
            },
            Value::Number(number) if number.as_u64().is_some() => {
                number.as_u64().map(Duration::from_nanos)
            }
            other => self.mismatch(findings, name, other, "a duration such as \"10s\""),
        }
    }

    /// A list of texts; one text alone is a list of it.
    pub(crate) fn texts(&mut self, findings: &mut Findings, name: &str) -> Option<Vec<String>> {
        let value = self.take(name)?;
        let items = match value {
            Value::Array(items) => items.as_slice(),
            single => std::slice::from_ref(single),
        };
        let texts: Option<Vec<String>> =
            items.iter().map(|it| it.as_str().map(str::to_owned)).collect();
        texts.or_else(|| self.mismatch(findings, name, value, "a list of strings"))
    }

    pub(crate) fn text_map(
        &mut self,
        findings: &mut Findings,
        name: &str,
    ) -> Option<Vec<(String, String)>> {
        let value = self.take(name)?;
        let object = object_of(value);
        let pairs = object.and_then(|object| {
            object.iter().map(|(key, it)| Some((key.clone(), scalar(it)?))).collect()
        });
        pairs.or_else(|| self.mismatch(findings, name, value, "an object of strings"))
    }

    /// An IP address.
    pub(crate) fn ip(&mut self, findings: &mut Findings, name: &str) -> Option<IpAddr> {
        let text = self.text(findings, name).filter(|it| !it.is_empty())?;
        let ip = ip_of(&text);
        if ip.is_none() {
            let text = format!("{text:?} is not an IP address; names are not resolved");
            findings.error(self.path_of(name), text);
        }
        ip
    }

    /// A section below this one; HCL writes it as a list of one.
    pub(crate) fn section(&mut self, findings: &mut Findings, name: &str) -> Option<Section<'a>> {
        let value = self.take(name)?;
        match object_of(value) {
            Some(object) => Some(Section::new(object, format!("{}{name}.", self.path))),
            None => self.mismatch(findings, name, value, "an object"),
        }
    }

    /// Objects: one, or a list of them.
    pub(crate) fn objects(
        &mut self,
        findings: &mut Findings,
        name: &str,
    ) -> Vec<&'a Map<String, Value>> {
        let Some(value) = self.take(name) else { return Vec::new() };
        let items = match value {
            Value::Array(items) => items.as_slice(),
            single => std::slice::from_ref(single),
        };
        let objects: Option<Vec<_>> = items.iter().map(Value::as_object).collect();
        objects
            .or_else(|| self.mismatch(findings, name, value, "an object or a list of objects"))
            .unwrap_or_default()
    }

    fn mismatch<T>(
        &self,
        findings: &mut Findings,
        name: &str,
        found: &Value,
        expected: &str,
    ) -> Option<T> {
        let field = self.path_of(name);
        // Tokens are not for logs, nor is what stands around them.
        let is_secret = field.starts_with("acl");
        let shown = if is_secret { "the value".to_owned() } else { found.to_string() };
        findings.error(field, format!("{shown} is not {expected}"));
        None
    }
}

fn object_of(value: &Value) -> Option<&Map<String, Value>> {
    match value {
        Value::Object(object) => Some(object),
        Value::Array(items) => match items.as_slice() {
            [Value::Object(object)] => Some(object),
            _ => None,
        },
        _ => None,
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(object) => object.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    }
}
