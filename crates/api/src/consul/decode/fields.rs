//! One JSON object, read field by field as Go's decoder reads it into a struct.

use std::time::Duration;

use model::FlatMap;
use serde_json::{Map, Number, Value};

use model::go::{self, DurationError, quote};

use super::BadRequest;

type Read<T> = Result<T, BadRequest>;

/// An object whose fields are taken by name; [`Fields::finish`] complains about the ones that nobody took.
pub(super) struct Fields<'a> {
    /// Name and value, and whether it was taken.
    pairs: Vec<(&'a str, &'a Value, bool)>,
    /// Go's name of the struct, for errors.
    struct_name: &'static str,
    /// Names of the fields that led here, each with a dot after it, for errors.
    path: String,
}

impl<'a> Fields<'a> {
    /// The fields of a whole body; none for `null`.
    pub(super) fn root(value: &'a Value, struct_name: &'static str) -> Read<Self> {
        match value {
            Value::Null => Ok(Self::new(None, struct_name, String::new())),
            Value::Object(object) => Ok(Self::new(Some(object), struct_name, String::new())),
            other => Err(BadRequest::undecodable(format!(
                "json: cannot unmarshal {} into Go value of type structs.{struct_name}",
                kind_of(other)
            ))),
        }
    }

    fn new(object: Option<&'a Map<String, Value>>, name: &'static str, path: String) -> Self {
        let pairs = object.into_iter().flatten().map(|(key, value)| (&**key, value, false));
        Self { pairs: pairs.collect(), struct_name: name, path }
    }

    /// The same fields of a type with a decoder of its own in Go: its errors do not tell where it stands.
    pub(super) fn restarted(self) -> Self {
        Self { path: String::new(), ..self }
    }

    /// The value of the field, in any letter case; the last one that is given if there are several.
    pub(super) fn take(&mut self, name: &str) -> Option<&'a Value> {
        let mut found = None;
        for (key, value, is_taken) in &mut self.pairs {
            if key.eq_ignore_ascii_case(name) {
                *is_taken = true;
                if !value.is_null() {
                    found = Some(*value);
                }
            }
        }
        found
    }

    /// Accepts fields without looking at what they say.
    pub(super) fn skip(&mut self, names: &[&str]) {
        for name in names {
            self.take(name);
        }
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// When a field was not taken.
    pub(super) fn finish(self) -> Read<()> {
        match self.pairs.iter().find(|(_, _, is_taken)| !is_taken) {
            Some((key, _, _)) => {
                Err(BadRequest::undecodable(format!("json: unknown field {}", quote(key))))
            }
            None => Ok(()),
        }
    }

    /// A text; empty when it is not given.
    pub(super) fn text(&mut self, name: &str) -> Read<String> {
        match self.take(name) {
            None => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(other) => Err(self.mismatch(name, other, "string")),
        }
    }

    /// A text under its own name or, if that is empty, its second one.
    pub(super) fn text_or(&mut self, name: &str, alias: &str) -> Read<String> {
        let (text, other) = (self.text(name)?, self.text(alias)?);
        Ok(if text.is_empty() { other } else { text })
    }

    /// A truth value, if it is given.
    pub(super) fn flag_if_given(&mut self, name: &str) -> Read<Option<bool>> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(other) => Err(self.mismatch(name, other, "bool")),
        }
    }

    /// A truth value; false when it is not given.
    pub(super) fn flag(&mut self, name: &str) -> Read<bool> {
        Ok(self.flag_if_given(name)?.unwrap_or_default())
    }

    /// A truth value that is true under either of two names.
    pub(super) fn flag_or(&mut self, name: &str, alias: &str) -> Read<bool> {
        Ok(self.flag(name)? | self.flag(alias)?)
    }

    /// An integer; zero when it is not given.
    pub(super) fn integer(&mut self, name: &str) -> Read<i64> {
        match self.take(name) {
            None => Ok(0),
            Some(Value::Number(number)) => {
                number.as_i64().ok_or_else(|| self.number_mismatch(name, number, "int"))
            }
            Some(other) => Err(self.mismatch(name, other, "int")),
        }
    }

    /// A number with a fraction; zero when it is not given.
    pub(super) fn fraction(&mut self, name: &str) -> Read<f64> {
        match self.take(name) {
            None => Ok(0.0),
            Some(value) => self.fraction_in(name, value),
        }
    }

    /// Numbers with fractions.
    pub(super) fn fractions(&mut self, name: &str) -> Read<Vec<f64>> {
        match self.take(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => {
                items.iter().map(|it| self.fraction_in(name, it)).collect()
            }
            Some(other) => Err(self.mismatch(name, other, "[]float64")),
        }
    }

    fn fraction_in(&self, name: &str, value: &Value) -> Read<f64> {
        value.as_f64().ok_or_else(|| self.mismatch(name, value, "float64"))
    }

    /// A port; zero when it is not given. Go's is an `int`, so Consul keeps any number; nobody could call it.
    pub(super) fn port(&mut self, name: &str) -> Read<u16> {
        let port = self.integer(name)?;
        let out_of_range = |_| {
            let path = &self.path;
            BadRequest::new(format!("Invalid {path}{name}: {port} is not between 0 and 65535"))
        };
        u16::try_from(port).map_err(out_of_range)
    }

    /// A list of texts, in which `null` stands for the empty one.
    pub(super) fn texts(&mut self, name: &str) -> Read<Vec<String>> {
        match self.take(name) {
            None => Ok(Vec::new()),
            Some(list) => self.texts_in(name, list, "[]string"),
        }
    }

    /// A map of texts, if it is given.
    pub(super) fn text_map(&mut self, name: &str) -> Read<Option<FlatMap<String>>> {
        let Some(object) = self.object(name, "map[string]string")? else { return Ok(None) };
        object
            .iter()
            .map(|(key, value)| match value {
                Value::Null => Ok((key.as_str(), String::new())),
                Value::String(text) => Ok((key.as_str(), text.clone())),
                other => Err(self.mismatch(name, other, "string")),
            })
            .collect::<Read<_>>()
            .map(Some)
    }

    /// A map of lists of texts; empty when it is not given.
    pub(super) fn texts_map(&mut self, name: &str) -> Read<FlatMap<Vec<String>>> {
        let Some(object) = self.object(name, "map[string][]string")? else {
            return Ok(FlatMap::default());
        };
        object
            .iter()
            .map(|(key, list)| Ok((key.as_str(), self.texts_in(name, list, "[]string")?)))
            .collect()
    }

    /// A duration in Go's notation or as a number of nanoseconds; zero when it is not given or negative, which
    /// Consul does not tell apart.
    pub(super) fn duration(&mut self, name: &str) -> Read<Duration> {
        Ok(self.duration_if_given(name)?.unwrap_or_default())
    }

    /// As [`Fields::duration`], for a field of which it matters whether it is given.
    pub(super) fn duration_if_given(&mut self, name: &str) -> Read<Option<Duration>> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => match go::parse_duration(text) {
                Ok(duration) => Ok(Some(duration)),
                Err(DurationError::Negative(_)) => Ok(Some(Duration::ZERO)),
                Err(error) => Err(BadRequest::undecodable(error.to_string())),
            },
            Some(Value::Number(number)) => {
                let nanoseconds = number.as_i64().or_else(|| whole_part(number));
                let nanoseconds = nanoseconds
                    .ok_or_else(|| self.number_mismatch(name, number, "time.Duration"))?;
                Ok(Some(Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(0))))
            }
            Some(other) => Err(self.mismatch(name, other, "time.Duration")),
        }
    }

    /// The fields of a struct, if it is given.
    pub(super) fn fields(&mut self, name: &str, struct_name: &'static str) -> Read<Option<Self>> {
        let object = self.object(name, struct_name)?;
        let path = format!("{}{name}.", self.path);
        Ok(object.map(|object| Self::new(Some(object), struct_name, path)))
    }

    /// The structs of a list, without those that are `null`.
    pub(super) fn list(&mut self, name: &str, struct_name: &'static str) -> Read<Vec<Self>> {
        let items = match self.take(name) {
            None => return Ok(Vec::new()),
            Some(Value::Array(items)) => items,
            Some(other) => return Err(self.mismatch(name, other, &format!("[]{struct_name}"))),
        };
        items.iter().filter_map(|item| self.element(name, item, struct_name).transpose()).collect()
    }

    /// The structs of a map with their keys, without those that are `null`.
    pub(super) fn map(
        &mut self,
        name: &str,
        struct_name: &'static str,
    ) -> Read<Vec<(&'a str, Self)>> {
        let object = self.object(name, &format!("map[string]{struct_name}"))?;
        object
            .into_iter()
            .flatten()
            .filter_map(|(key, item)| {
                let element = self.element(name, item, struct_name).transpose()?;
                Some(element.map(|fields| (key.as_str(), fields)))
            })
            .collect()
    }

    fn element(
        &self,
        name: &str,
        item: &'a Value,
        struct_name: &'static str,
    ) -> Read<Option<Self>> {
        match item {
            Value::Null => Ok(None),
            Value::Object(object) => {
                Ok(Some(Self::new(Some(object), struct_name, format!("{}{name}.", self.path))))
            }
            other => Err(self.mismatch(name, other, struct_name)),
        }
    }

    fn object(&mut self, name: &str, go_type: &str) -> Read<Option<&'a Map<String, Value>>> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(object)),
            Some(other) => Err(self.mismatch(name, other, go_type)),
        }
    }

    fn texts_in(&self, name: &str, list: &Value, go_type: &str) -> Read<Vec<String>> {
        let items = match list {
            Value::Null => return Ok(Vec::new()),
            Value::Array(items) => items,
            other => return Err(self.mismatch(name, other, go_type)),
        };
        items
            .iter()
            .map(|item| match item {
                Value::Null => Ok(String::new()),
                Value::String(text) => Ok(text.clone()),
                other => Err(self.mismatch(name, other, "string")),
            })
            .collect()
    }

    fn mismatch(&self, name: &str, value: &Value, go_type: &str) -> BadRequest {
        self.mismatch_of(name, kind_of(value), go_type)
    }

    /// As [`Fields::mismatch`], for a number of the wrong sort or size, which Go shows.
    fn number_mismatch(&self, name: &str, number: &Number, go_type: &str) -> BadRequest {
        self.mismatch_of(name, &format!("number {number}"), go_type)
    }

    fn mismatch_of(&self, name: &str, what: &str, go_type: &str) -> BadRequest {
        let Self { struct_name, path, .. } = self;
        BadRequest::undecodable(format!(
            "json: cannot unmarshal {what} into Go struct field \
             {struct_name}.{path}{name} of type {go_type}"
        ))
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The whole part of a fraction, if it is within the range of Go's durations.
fn whole_part(number: &Number) -> Option<i64> {
    let value = number.as_f64()?.trunc();
    // 2^63 is exact in a double; what is below it fits.
    let is_in_range = value.abs() < 9_223_372_036_854_775_808.0;
    #[allow(clippy::cast_possible_truncation)] // Within range and whole.
    is_in_range.then_some(value as i64)
}
