//! JSON written straight into one buffer, byte for byte as Go's `encoding/json` writes it.

use std::io::Write;

use serde_json::{Map, Number, Value};

/// Appends values to a buffer. The caller opens, fills and closes objects and arrays in order; commas, the line
/// breaks of the indented form and the escapes are the writer's.
pub(crate) struct JsonWriter {
    bytes: Vec<u8>,
    /// Four spaces a level, a space after each colon; empty containers stay on one line.
    is_pretty: bool,
    depth: usize,
    /// The innermost container holds a value already.
    needs_comma: bool,
    /// A key was written and its value is due.
    has_key: bool,
}

impl JsonWriter {
    pub(crate) fn new(is_pretty: bool) -> Self {
        Self { bytes: Vec::new(), is_pretty, depth: 0, needs_comma: false, has_key: false }
    }

    /// The text written so far.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// `{…}`, filled by `fill`.
    pub(crate) fn object(&mut self, fill: impl FnOnce(&mut Self)) {
        self.open(b'{');
        fill(self);
        self.close(b'}');
    }

    /// `[…]`, filled by `fill`.
    pub(crate) fn array(&mut self, fill: impl FnOnce(&mut Self)) {
        self.open(b'[');
        fill(self);
        self.close(b']');
    }

    /// A key that is a constant of the format: letters and digits, nothing to escape.
    pub(crate) fn key(&mut self, name: &'static str) {
        self.separate();
        self.bytes.push(b'"');
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(b'"');
        self.colon();
    }

    /// A key that comes from outside.
    pub(crate) fn map_key(&mut self, name: &str) {
        self.separate();
        self.quote(name);
        self.colon();
    }

    pub(crate) fn string(&mut self, text: &str) {
        self.before_value();
        self.quote(text);
        self.needs_comma = true;
    }

    pub(crate) fn number(&mut self, number: impl Into<u64>) {
        self.before_value();
        write!(self.bytes, "{}", number.into()).expect("writing to a Vec does not fail");
        self.needs_comma = true;
    }

    /// A number with a fraction, which is finite.
    pub(crate) fn fraction(&mut self, number: f64) {
        // Rust writes the shortest digits that read back equal, as Go does; whole numbers have no point in either.
        self.literal(&format!("{number}"));
    }

    pub(crate) fn boolean(&mut self, value: bool) {
        self.literal(if value { "true" } else { "false" });
    }

    pub(crate) fn null(&mut self) {
        self.literal("null");
    }

    /// Any value; the keys of objects in their order.
    pub(crate) fn value(&mut self, value: &Value) {
        match value {
            Value::Null => self.null(),
            Value::Bool(flag) => self.boolean(*flag),
            Value::Number(number) => self.literal(&number_as_go(number)),
            Value::String(text) => self.string(text),
            Value::Array(items) => self.array(|w| items.iter().for_each(|it| w.value(it))),
            Value::Object(fields) => self.object(|w| w.fields(fields)),
        }
    }

    /// The fields of an object that is open.
    pub(crate) fn fields(&mut self, fields: &Map<String, Value>) {
        for (name, value) in fields {
            self.map_key(name);
            self.value(value);
        }
    }

    /// A value that is JSON already and fits on one line: a fraction, `true`, `{}`.
    pub(crate) fn literal(&mut self, json: &str) {
        self.before_value();
        self.bytes.extend_from_slice(json.as_bytes());
        self.needs_comma = true;
    }

    pub(crate) fn string_field(&mut self, name: &'static str, text: &str) {
        self.key(name);
        self.string(text);
    }

    /// Left out when empty, as Go's `omitempty`.
    pub(crate) fn string_field_if_any(&mut self, name: &'static str, text: &str) {
        if !text.is_empty() {
            self.string_field(name, text);
        }
    }

    pub(crate) fn number_field(&mut self, name: &'static str, number: impl Into<u64>) {
        self.key(name);
        self.number(number);
    }

    pub(crate) fn boolean_field(&mut self, name: &'static str, value: bool) {
        self.key(name);
        self.boolean(value);
    }

    /// Left out when false.
    pub(crate) fn boolean_field_if_true(&mut self, name: &'static str, value: bool) {
        if value {
            self.boolean_field(name, true);
        }
    }

    /// An array of texts.
    pub(crate) fn strings_field<'t>(
        &mut self,
        name: &'static str,
        texts: impl IntoIterator<Item = &'t str>,
    ) {
        self.key(name);
        self.array(|w| {
            for text in texts {
                w.string(text);
            }
        });
    }

    fn open(&mut self, bracket: u8) {
        self.before_value();
        self.bytes.push(bracket);
        self.depth += 1;
        self.needs_comma = false;
    }

    fn close(&mut self, bracket: u8) {
        self.depth -= 1;
        if self.needs_comma {
            self.break_line();
        }
        self.bytes.push(bracket);
        self.needs_comma = true;
    }

    fn before_value(&mut self) {
        if self.has_key {
            self.has_key = false;
        } else {
            self.separate();
        }
    }

    fn separate(&mut self) {
        if self.needs_comma {
            self.bytes.push(b',');
        }
        if self.depth > 0 {
            self.break_line();
        }
    }

    fn colon(&mut self) {
        self.bytes.push(b':');
        if self.is_pretty {
            self.bytes.push(b' ');
        }
        self.has_key = true;
    }

    fn break_line(&mut self) {
        if self.is_pretty {
            self.bytes.push(b'\n');
            for _ in 0..self.depth {
                self.bytes.extend_from_slice(b"    ");
            }
        }
    }

    /// Copies runs of plain bytes whole; Go escapes `<`, `>`, `&` and the two line separators of Unicode besides
    /// what JSON demands.
    fn quote(&mut self, text: &str) {
        self.bytes.push(b'"');
        let bytes = text.as_bytes();
        let mut copied = 0;
        for (at, byte) in bytes.iter().enumerate() {
            let escape: &[u8] = match byte {
                b'"' => b"\\\"",
                b'\\' => b"\\\\",
                b'\n' => b"\\n",
                b'\r' => b"\\r",
                b'\t' => b"\\t",
                0x08 => b"\\b",
                0x0c => b"\\f",
                b'<' => b"\\u003c",
                b'>' => b"\\u003e",
                b'&' => b"\\u0026",
                0x00..=0x1f => b"",
                0xe2 if bytes[at..].starts_with("\u{2028}".as_bytes()) => b"\\u2028",
                0xe2 if bytes[at..].starts_with("\u{2029}".as_bytes()) => b"\\u2029",
                _ => continue,
            };
            self.bytes.extend_from_slice(&bytes[copied..at]);
            if escape.is_empty() {
                self.bytes.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
            } else {
                self.bytes.extend_from_slice(escape);
            }
            copied = at + if *byte == 0xe2 { 3 } else { 1 };
        }
        self.bytes.extend_from_slice(&bytes[copied..]);
        self.bytes.push(b'"');
    }
}

/// Go writes fractions that are whole without a point.
fn number_as_go(number: &Number) -> String {
    match number.as_f64() {
        Some(value) if number.is_f64() && value.fract() == 0.0 && value.abs() < 1e21 => {
            format!("{value:.0}")
        }
        Some(_) | None => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_is_read_back(text: String) {
            let json = write(false, |w| w.string(&text));
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }

    fn write(is_pretty: bool, fill: impl FnOnce(&mut JsonWriter)) -> String {
        let mut writer = JsonWriter::new(is_pretty);
        fill(&mut writer);
        String::from_utf8(writer.into_bytes()).unwrap()
    }

    #[test]
    fn text_is_escaped_as_go_escapes_it() {
        let text = "a<b>&\"\\\n\r\t\u{8}\u{c}\u{1}\u{7f}é\u{2028}\u{2029}\u{2027}\u{1f980}";
        let expected = "\"a\\u003cb\\u003e\\u0026\\\"\\\\\\n\\r\\t\\b\\f\\u0001\u{7f}é\\u2028\\u2029\u{2027}\u{1f980}\"";
        assert_eq!(write(false, |w| w.string(text)), expected);
    }

    fn sample(w: &mut JsonWriter) {
        w.object(|w| {
            w.string_field("a", "x");
            w.key("empty");
            w.object(|_| {});
            w.key("list");
            w.array(|w| {
                w.number(1u32);
                w.array(|_| {});
                w.object(|w| w.boolean_field("b", true));
            });
        });
    }

    #[test]
    fn compact_form_has_no_spaces() {
        assert_eq!(write(false, sample), r#"{"a":"x","empty":{},"list":[1,[],{"b":true}]}"#);
    }

    #[test]
    fn indented_form_keeps_empty_containers_on_one_line() {
        let expected = "{\n    \"a\": \"x\",\n    \"empty\": {},\n    \"list\": [\n        1,\n        [],\n        {\n            \"b\": true\n        }\n    ]\n}";
        assert_eq!(write(true, sample), expected);
    }
}
