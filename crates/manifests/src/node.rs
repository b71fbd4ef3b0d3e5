use std::fmt;

use model::{Diagnostic, Place, Severity};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_saphyr::{DuplicateKeyPolicy, Options, Spanned};

/// A file larger than this is refused: 4 MiB hold some ten thousand documents.
const INPUT_BYTES_MAX: usize = 4 << 20;

/// A value of a document with the line that it is on.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Node {
    /// Line from 1.
    pub(crate) line: u32,
    /// What it is.
    pub(crate) content: Content,
}

/// What a [`Node`] is.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Content {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    String(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One pair of a map, in the order written.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    /// Line of the key.
    pub(crate) line: u32,
    pub(crate) value: Node,
}

impl Node {
    /// The pairs, if it is a map.
    pub(crate) fn entries(&self) -> Option<&[Entry]> {
        match &self.content {
            Content::Map(entries) => Some(entries),
            Content::Null
            | Content::Bool(_)
            | Content::Number(_)
            | Content::String(_)
            | Content::List(_) => None,
        }
    }

    /// The value of a key, if it is a map that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.entries()?.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// The text, if it is a string.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.content {
            Content::String(text) => Some(text),
            Content::Null
            | Content::Bool(_)
            | Content::Number(_)
            | Content::List(_)
            | Content::Map(_) => None,
        }
    }

    /// A word for what it is, with its article.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.content {
            Content::Null => "nothing",
            Content::Bool(_) => "a boolean",
            Content::Number(_) => "a number",
            Content::String(_) => "a string",
            Content::List(_) => "a list",
            Content::Map(_) => "a map",
        }
    }

    /// The same as JSON.
    pub(crate) fn to_json(&self) -> Value {
        match &self.content {
            Content::Null => Value::Null,
            Content::Bool(it) => Value::Bool(*it),
            Content::Number(it) => Value::Number(it.clone()),
            Content::String(it) => Value::String(it.clone()),
            Content::List(items) => Value::Array(items.iter().map(Node::to_json).collect()),
            Content::Map(entries) => Value::Object(
                entries.iter().map(|it| (it.key.clone(), it.value.to_json())).collect(),
            ),
        }
    }
}

/// Reads all documents of a text; empty ones are left out.
pub(crate) fn parse(text: &str, source: &str) -> Result<Vec<Node>, Diagnostic> {
    let error = |line: u32, message: String, remedy: &str| Diagnostic {
        severity: Severity::Error,
        place: Place { file: source.to_owned(), line },
        field: String::new(),
        message,
        remedy: remedy.to_owned(),
    };
    if text.len() > INPUT_BYTES_MAX {
        let message = format!("{} bytes are more than the {INPUT_BYTES_MAX} allowed", text.len());
        return Err(error(0, message, "split the file"));
    }
    let remedy = match text.trim_start().starts_with('{') {
        true => "correct the JSON",
        false => "correct the YAML",
    };
    serde_saphyr::from_multiple_with_options(text, options()).map_err(|cause| {
        let line = cause.location().map_or(0, |it| line_number(it.line()));
        error(line, message_of(&cause), remedy)
    })
}

/// Bounds on what a small text may grow into. A document of ours nests about 10 deep and has some 50 nodes; the
/// sums below let 4 MiB of honest documents pass and stop a bomb of aliases early.
fn options() -> Options {
    let budget = serde_saphyr::budget! {
        max_depth: 48,
        max_documents: 20_000,
        max_nodes: 600_000,
        max_events: 1_500_000,
        max_aliases: 1_000,
        max_anchors: 1_000,
    };
    serde_saphyr::options! {
        budget: budget,
        duplicate_keys: DuplicateKeyPolicy::Error,
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 50_000 },
        leading_zero_numbers_as_strings: true,
        with_snippet: false,
    }
}

/// The library's text without its own mention of the place.
fn message_of(cause: &serde_saphyr::Error) -> String {
    let text = cause.to_string();
    let first = text.lines().next().unwrap_or_default();
    let end =
        [" at line ", ", set DuplicateKeyPolicy"].iter().filter_map(|it| first.find(it)).min();
    first[..end.unwrap_or(first.len())].to_owned()
}

fn line_number(line: u64) -> u32 {
    u32::try_from(line).unwrap_or(u32::MAX)
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Content>::deserialize(deserializer)?;
        Ok(Node { line: line_number(spanned.referenced.line()), content: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Content;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E: Error>(self) -> Result<Content, E> {
        Ok(Content::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Content, E> {
        Ok(Content::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Content, E> {
        Ok(Content::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Content, E> {
        Ok(Content::Number(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Content, E> {
        Ok(Content::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Content, E> {
        let number = serde_json::Number::from_f64(value)
            .ok_or_else(|| E::custom("a number that JSON cannot hold"))?;
        Ok(Content::Number(number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Content, E> {
        Ok(Content::String(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Content, E> {
        Ok(Content::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Content, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Content::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Content, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = access.next_key::<Spanned<String>>()? {
            let line = line_number(key.referenced.line());
            entries.push(Entry { key: key.value, line, value: access.next_value()? });
        }
        Ok(Content::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(text: &str) -> Vec<Node> {
        parse(text, "t.yaml").unwrap()
    }

    fn error(text: &str) -> String {
        parse(text, "t.yaml").unwrap_err().to_string()
    }

    #[test]
    fn every_key_and_value_knows_its_line() {
        let nodes = nodes("# head\na: 1\nb:\n  - x\n  - y: {z: [1,\n 2]}\n---\nc: true\n");
        let a = &nodes[0].entries().unwrap()[0];
        assert_eq!((a.line, a.value.line), (2, 2));
        let b = &nodes[0].entries().unwrap()[1];
        assert_eq!((b.line, b.value.line), (3, 4));
        let Content::List(items) = &b.value.content else { panic!("b is a list") };
        assert_eq!((items[0].line, items[1].line), (4, 5));
        let Content::List(z) = &items[1].get("y").unwrap().get("z").unwrap().content else {
            panic!("z is a list")
        };
        assert_eq!(z[1].line, 6);
        assert_eq!(nodes[1].entries().unwrap()[0].line, 8);
    }

    #[test]
    fn scalars_keep_their_types() {
        let nodes = nodes("a: 080\nb: \"80\"\nc: null\nd: 1.5\n8080: x\ne: yes\nf: -3\ng: 7\n");
        let json = serde_json::to_string(&nodes[0].to_json()).unwrap();
        let expected = r#"{"a":"080","b":"80","c":null,"d":1.5,"8080":"x","e":true,"f":-3,"g":7}"#;
        assert_eq!(json, expected);
    }

    #[test]
    fn json_is_read_too() {
        let nodes = nodes("{\n\t\"kind\": \"Service\",\n\t\"spec\": {\n\t\t\"ports\": [1]}}\n");
        assert_eq!(nodes[0].get("spec").unwrap().get("ports").unwrap().line, 4);
    }

    #[test]
    fn a_syntax_error_names_its_line() {
        assert_eq!(
            error("a: 1\nb: [1, 2\nc: 3\n"),
            "t.yaml:3: illegal placement of ':' indicator (correct the YAML)"
        );
        assert_eq!(error("a: \"x\n"), "t.yaml:1: unclosed quote (correct the YAML)");
        for text in ["a: &x [*x]\n", "a: *nope\n", "a: 1\n---\nb: {\n", "a:\n  b: 1\n c: 2\n"] {
            assert!(error(text).starts_with("t.yaml:"), "{}", error(text));
        }
    }

    #[test]
    fn an_error_in_json_is_to_be_corrected_there() {
        let found = error("\n {\"a\": 1,\n \"b\": }}\n");
        assert!(
            found.starts_with("t.yaml:3: ") && found.ends_with("(correct the JSON)"),
            "{found}"
        );
    }

    #[test]
    fn a_duplicate_key_is_an_error() {
        let expected = "t.yaml:3: duplicate mapping key: a (correct the YAML)";
        assert_eq!(error("a: 1\nb: 2\na: 2\n"), expected);
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        nodes(&nested(40));
        assert!(error(&nested(60)).contains("depth"), "{}", error(&nested(60)));
        error(&"[".repeat(100_000));
    }

    #[test]
    fn a_bomb_of_aliases_is_refused() {
        let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x]\n");
        for n in 1..10 {
            let aliases = vec![format!("*a{}", n - 1); 9].join(",");
            bomb.push_str(&format!("a{n}: &a{n} [{aliases}]\n"));
        }
        assert!(error(&bomb).contains("alias replay limit exceeded"), "{}", error(&bomb));
    }

    #[test]
    fn a_large_input_is_refused() {
        assert!(error(&" ".repeat(INPUT_BYTES_MAX + 1)).contains("split the file"));
    }
}
