//! What a filter looks at: rows with named fields.

use model::{FlatMap, ServiceAddress};

/// Something that a filter can be asked about. Implemented by the views in `views`.
pub trait Row {
    /// The field `name`, of the kind that the schema says; [`Value::Zero`] for one that has no value here.
    fn field(&self, name: &str) -> Value<'_>;
}

/// Value of a field.
pub enum Value<'a> {
    /// Text that the row holds.
    Str(&'a str),
    /// Text made for the occasion.
    Text(String),
    /// Integer.
    Int(i64),
    /// Truth value.
    Bool(bool),
    /// List of texts.
    Strings(&'a [String]),
    /// Map of texts.
    StringMap(&'a FlatMap<String>),
    /// Map of lists of texts.
    StringsMap(&'a FlatMap<Vec<String>>),
    /// Map of structs.
    StructMap(&'a dyn RowMap),
    /// Struct.
    Struct(Box<dyn Row + 'a>),
    /// List of structs.
    Structs(Vec<Box<dyn Row + 'a>>),
    /// The zero value of the field's kind, whatever that is.
    Zero,
}

impl Value<'_> {
    /// The text of a text; empty for any other value.
    pub(super) fn text(&self) -> &str {
        match self {
            Value::Str(text) => text,
            Value::Text(text) => text,
            Value::Int(_)
            | Value::Bool(_)
            | Value::Strings(_)
            | Value::StringMap(_)
            | Value::StringsMap(_)
            | Value::StructMap(_)
            | Value::Struct(_)
            | Value::Structs(_)
            | Value::Zero => "",
        }
    }
}

/// A map whose values are rows.
pub trait RowMap {
    /// True without entries.
    fn is_empty(&self) -> bool;

    /// The row under `key`.
    fn row(&self, key: &str) -> Option<Box<dyn Row + '_>>;
}

impl RowMap for FlatMap<ServiceAddress> {
    fn is_empty(&self) -> bool {
        FlatMap::is_empty(self)
    }

    fn row(&self, key: &str) -> Option<Box<dyn Row + '_>> {
        self.get(key).map(|address| Box::new(address) as Box<dyn Row>)
    }
}

impl Row for &ServiceAddress {
    fn field(&self, name: &str) -> Value<'_> {
        match name {
            "Address" => Value::Str(&self.address),
            "Port" => Value::Int(self.port.into()),
            _ => Value::Zero,
        }
    }
}
