//! # hcl: the configuration language of Consul, version 1, to JSON values
//!
//! Bytes in, a [`serde_json::Value`] out, or the first [`Error`] with its line and column. HCL 1 is the language of Consul's
//! agent files and access rules (HCL 2 is another language). Where the first byte that is not blank is `{`, the text is
//! JSON, which HCL 1 accepts too.
//!
//! *May touch:* nothing. *Does not know:* files, which keys a document may have, HCL 2.
//!
//! Invariants:
//! * Whatever bytes come, nothing panics, and reading ends: input, nesting and so recursion are bounded.
//! * Keys stay in the order in which they first came.
//!
//! # What becomes of what
//!
//! | HCL | value |
//! |---|---|
//! | `k = 1`, `k = 0x1f`, `k = 017`, `k = 1.5e3` | a number: integers are signed 64-bit, others are floating-point |
//! | `k = true`, `k = "text"`, a heredoc | a boolean, a string |
//! | `k = [1, "a", [2], { a = 1 }]` | a list; objects in it are objects |
//! | `k { … }` and `k = { … }` | `{"k": [{ … }]}` |
//! | `k "a" "b" { … }` | `{"k": [{"a": [{"b": [{ … }]}]}]}` |
//! | a key again, with a list or an object both times | one list, with what came first first |
//! | a key again, with a single value both times | the last value |
//! | a key again, with a single value and with a list or object | an error |
//!
//! A consumer that does not want lists of one object asks for [`blocks`] or says to [`flatten`] what is a list.

mod blocks;
mod cursor;
mod error;
mod grammar;
mod json;
mod literal;
mod shape;
#[cfg(test)]
mod tests;

use serde_json::Value;

pub use blocks::{Block, blocks};
pub use error::Error;
pub use shape::{Repeated, ShapeError, flatten, kind};

use cursor::Cursor;

/// The longest text that is read, in bytes. The longest that Consul's users have are rules and agent files of some KiB.
pub const INPUT_BYTES_MAX: usize = 4 << 20;
/// How deep objects, lists and labels may be nested in each other.
pub const DEPTH_MAX: usize = 100;

/// Reads HCL 1, or JSON if the first byte that is not blank is `{`.
///
/// The value is always an object; no text at all is an empty one. Errors: what the text should have had where, or a bound.
pub fn parse(bytes: &[u8]) -> Result<Value, Error> {
    let cursor = Cursor::new(bytes)?;
    if cursor.rest().trim_ascii_start().starts_with('{') {
        json::read(cursor)
    } else {
        grammar::read(cursor)
    }
}

/// Reads HCL 1, also where the text looks like JSON.
pub fn parse_hcl(bytes: &[u8]) -> Result<Value, Error> {
    grammar::read(Cursor::new(bytes)?)
}

/// Reads one JSON value of any kind. Of a key that comes twice in an object the last value stays.
pub fn parse_json(bytes: &[u8]) -> Result<Value, Error> {
    json::read(Cursor::new(bytes)?)
}
