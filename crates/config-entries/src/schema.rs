//! The fields of Consul's structs as tables: how each is called, what it holds, and when it is shown.

mod read;
mod show;

pub use self::read::{Unreadable, read};
pub use self::show::show;

/// The fields of a struct, in the order in which Consul shows them.
#[derive(Debug)]
pub struct Schema {
    /// Its name in Go's client, which hashes are made of; empty where nobody hashes it.
    pub go_name: &'static str,
    /// Its fields.
    pub fields: &'static [Field],
}

/// A field.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name. Also found in any letter case and with underscores.
    pub name: &'static str,
    /// Another name under which it is found; empty for none.
    alias: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Shown even when it is empty.
    is_always_shown: bool,
}

/// What a field holds.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A text.
    Text,
    /// A truth value.
    Flag,
    /// A whole number.
    Integer,
    /// A whole number of which it matters whether it is given.
    GivenInteger,
    /// A number.
    Number,
    /// A duration, shown in Go's notation.
    Duration,
    /// A duration, shown as a number of nanoseconds.
    Nanoseconds,
    /// A duration of which it matters whether it is given, shown as a number of nanoseconds.
    GivenNanoseconds,
    /// A list of texts.
    Texts,
    /// A list of whole numbers.
    Integers,
    /// A map of texts.
    TextMap,
    /// A map of anything.
    Anything,
    /// A struct that is always there.
    Struct(&'static Schema),
    /// A struct that is there when it is given.
    Given(&'static Schema),
    /// A list of structs.
    List(&'static Schema),
    /// A map of structs.
    Map(&'static Schema),
}

/// A field that is shown unless it is empty.
pub(crate) const fn field(name: &'static str, kind: Kind) -> Field {
    Field { name, alias: "", kind, is_always_shown: false }
}

/// A field that is always shown.
pub(crate) const fn shown(name: &'static str, kind: Kind) -> Field {
    Field { name, alias: "", kind, is_always_shown: true }
}

impl Field {
    /// Found by another name, too.
    pub(crate) const fn or(self, alias: &'static str) -> Self {
        Self { alias, ..self }
    }

    fn is_called(&self, key: &str) -> bool {
        let letters = |text: &'_ str| text.bytes().filter(|it| *it != b'_').count();
        let is_name = key.eq_ignore_ascii_case(self.name)
            || (letters(key) == self.name.len()
                && key
                    .bytes()
                    .filter(|it| *it != b'_')
                    .zip(self.name.bytes())
                    .all(|(a, b)| a.eq_ignore_ascii_case(&b)));
        is_name || (!self.alias.is_empty() && key.eq_ignore_ascii_case(self.alias))
    }
}

impl Schema {
    /// A table of fields.
    pub(crate) const fn new(fields: &'static [Field]) -> Self {
        Self { go_name: "", fields }
    }

    /// A table of the fields of a struct of Go's client.
    pub(crate) const fn of_go(go_name: &'static str, fields: &'static [Field]) -> Self {
        Self { go_name, fields }
    }
}
