//! Lines in JSON.

use proxy_config::JsonField;

use crate::format::escape::{Escaping, push_json_string};
use crate::format::{Facts, Format, FormatError, Piece, Value};

/// A JSON object of formats, in the order of its fields.
#[derive(Clone, Debug)]
pub(super) struct JsonObject {
    /// Keys with their quotes and colon.
    fields: Vec<(Vec<u8>, Field)>,
    omit_empty_values: bool,
}

#[derive(Clone, Debug)]
enum Field {
    /// One operator alone: typed.
    Value(Format),
    Text(Format),
    Object(JsonObject),
}

impl JsonObject {
    pub(super) fn new(
        fields: &[(String, JsonField)],
        omit_empty_values: bool,
    ) -> Result<JsonObject, FormatError> {
        let made = |(name, field): &(String, JsonField)| {
            let field = match field {
                JsonField::Text(text) => {
                    let format = Format::parse(text).map_err(|error| FormatError {
                        what: format!("in the field {name:?}: {}", error.what),
                        ..error
                    })?;
                    match format.pieces.as_slice() {
                        [Piece::Value(_)] => Field::Value(format),
                        _ => Field::Text(format),
                    }
                }
                JsonField::Object(fields) => {
                    Field::Object(JsonObject::new(fields, omit_empty_values)?)
                }
            };
            let mut key = Vec::new();
            push_json_string(&mut key, name);
            key.push(b':');
            Ok((key, field))
        };
        let fields = fields.iter().map(made).collect::<Result<_, FormatError>>()?;
        Ok(JsonObject { fields, omit_empty_values })
    }

    pub(super) fn write(&self, facts: &impl Facts, out: &mut Vec<u8>) {
        out.push(b'{');
        let first = out.len();
        for (key, field) in &self.fields {
            let before = out.len();
            if before > first {
                out.push(b',');
            }
            out.extend_from_slice(key);
            if !self.write_field(field, facts, out) {
                out.truncate(before);
            }
        }
        out.push(b'}');
    }

    /// False when the field shall not be there.
    fn write_field(&self, field: &Field, facts: &impl Facts, out: &mut Vec<u8>) -> bool {
        match field {
            Field::Object(object) => {
                let start = out.len();
                object.write(facts, out);
                !(self.omit_empty_values && out[start..] == *b"{}")
            }
            Field::Text(format) => {
                let missing = if self.omit_empty_values { "" } else { "-" };
                out.push(b'"');
                write_text(format, facts, missing, out);
                out.push(b'"');
                true
            }
            Field::Value(format) => match format.values().next() {
                Some(value) if write_typed(value, facts, out) => true,
                Some(_) | None if self.omit_empty_values => false,
                Some(_) | None => {
                    out.extend_from_slice(b"null");
                    true
                }
            },
        }
    }

    pub(super) fn formats(&self) -> Vec<&Format> {
        let of = |field| match field {
            &Field::Value(ref format) | &Field::Text(ref format) => vec![format],
            Field::Object(object) => object.formats(),
        };
        self.fields.iter().flat_map(|(_, field)| of(field)).collect()
    }
}

fn write_text(format: &Format, facts: &impl Facts, missing: &str, out: &mut Vec<u8>) {
    for piece in &format.pieces {
        match piece {
            Piece::Text(text) => {
                let start = out.len();
                out.extend_from_slice(text.as_bytes());
                Escaping::Json.escape(out, start);
            }
            Piece::Value(value) => {
                if !value.write(facts, Escaping::Json, out) {
                    out.extend_from_slice(missing.as_bytes());
                }
            }
        }
    }
}

/// False, and nothing written, when there is no value.
fn write_typed(value: &Value, facts: &impl Facts, out: &mut Vec<u8>) -> bool {
    // A number that was shortened is another number.
    let is_number = value.operator.is_number() && value.length_max.is_none();
    if is_number {
        return value.write(facts, Escaping::Json, out);
    }
    let start = out.len();
    out.push(b'"');
    if !value.write(facts, Escaping::Json, out) {
        out.truncate(start);
        return false;
    }
    out.push(b'"');
    true
}
