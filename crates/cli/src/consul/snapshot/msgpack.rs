//! MessagePack, as far as the records of a snapshot need it (<https://github.com/msgpack/msgpack/blob/master/spec.md>).

use std::io::{ErrorKind, Read};

use anyhow::{Context, bail, ensure};
use serde_json::{Map, Value};

/// Deeper values are refused: records of Consul have a handful of levels.
const DEPTH_MAX: usize = 64;
/// Longer texts are refused: a value under a key has at most 512 KiB, other texts less.
const TEXT_BYTES_MAX: u64 = 64 << 20;

/// Reads values from a stream, and counts its bytes.
pub(super) struct Reader<'r> {
    source: &'r mut dyn Read,
    read: u64,
}

impl<'r> Reader<'r> {
    pub(super) fn new(source: &'r mut dyn Read) -> Self {
        Self { source, read: 0 }
    }

    pub(super) fn bytes_read(&self) -> u64 {
        self.read
    }

    /// The next byte; `None` at the end.
    pub(super) fn byte(&mut self) -> anyhow::Result<Option<u8>> {
        let mut byte = [0];
        match self.source.read_exact(&mut byte) {
            Ok(()) => {
                self.read += 1;
                Ok(Some(byte[0]))
            }
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The next value. Bytes are read as text; floating-point numbers and extensions are left out.
    pub(super) fn value(&mut self) -> anyhow::Result<Value> {
        self.nested(DEPTH_MAX)
    }

    fn nested(&mut self, depth: usize) -> anyhow::Result<Value> {
        ensure!(depth > 0, "values are nested too deep");
        let first = self.byte()?.context("it ends too early")?;
        Ok(match first {
            0x00..=0x7f => first.into(),
            0x80..=0x8f => self.map(u64::from(first & 0x0f), depth)?,
            0x90..=0x9f => self.list(u64::from(first & 0x0f), depth)?,
            0xa0..=0xbf => self.text(u64::from(first & 0x1f))?,
            0xc0 => Value::Null,
            0xc2 => false.into(),
            0xc3 => true.into(),
            0xc4 | 0xd9 => self.sized_text(1)?,
            0xc5 | 0xda => self.sized_text(2)?,
            0xc6 | 0xdb => self.sized_text(4)?,
            0xc7..=0xc9 => {
                let bytes = self.number(1 << (first - 0xc7))?;
                self.skip(bytes + 1)?
            }
            0xca => self.skip(4)?,
            0xcb => self.skip(8)?,
            0xcc..=0xcf => self.number(1 << (first - 0xcc))?.into(),
            0xd0..=0xd3 => {
                let bytes: u32 = 1 << (first - 0xd0);
                let shift = 64 - 8 * bytes;
                let bits = self.number(bytes)? << shift;
                (bits.cast_signed() >> shift).into()
            }
            0xd4..=0xd8 => self.skip((1 << (first - 0xd4)) + 1)?,
            0xdc => {
                let items = self.number(2)?;
                self.list(items, depth)?
            }
            0xdd => {
                let items = self.number(4)?;
                self.list(items, depth)?
            }
            0xde => {
                let items = self.number(2)?;
                self.map(items, depth)?
            }
            0xdf => {
                let items = self.number(4)?;
                self.map(items, depth)?
            }
            0xe0..=0xff => first.cast_signed().into(),
            0xc1 => bail!("{first:#x} begins no value"),
        })
    }

    fn map(&mut self, items: u64, depth: usize) -> anyhow::Result<Value> {
        let mut map = Map::new();
        for _ in 0..items {
            let key = self.nested(depth - 1)?;
            let value = self.nested(depth - 1)?;
            let key = key.as_str().map_or_else(|| key.to_string(), str::to_owned);
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }

    fn list(&mut self, items: u64, depth: usize) -> anyhow::Result<Value> {
        let mut list = Vec::new();
        for _ in 0..items {
            list.push(self.nested(depth - 1)?);
        }
        Ok(Value::Array(list))
    }

    fn sized_text(&mut self, bytes: u32) -> anyhow::Result<Value> {
        let bytes = self.number(bytes)?;
        self.text(bytes)
    }

    fn text(&mut self, bytes: u64) -> anyhow::Result<Value> {
        ensure!(bytes <= TEXT_BYTES_MAX, "a text has {bytes} bytes");
        let mut text = Vec::new();
        let read = self.source.take(bytes).read_to_end(&mut text)? as u64;
        ensure!(read == bytes, "it ends too early");
        self.read += bytes;
        Ok(String::from_utf8_lossy(&text).into())
    }

    fn skip(&mut self, bytes: u64) -> anyhow::Result<Value> {
        self.text(bytes)?;
        Ok(Value::Null)
    }

    /// A number of so many bytes, the highest first.
    fn number(&mut self, bytes: u32) -> anyhow::Result<u64> {
        let mut number = 0;
        for _ in 0..bytes {
            number = (number << 8) | u64::from(self.byte()?.context("it ends too early")?);
        }
        Ok(number)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(mut bytes: &[u8]) -> anyhow::Result<Value> {
        Reader::new(&mut bytes).value()
    }

    #[test]
    fn values_of_each_kind_are_read() {
        for (bytes, expected) in [
            (&b"\x07"[..], json!(7)),
            (b"\xff", json!(-1)),
            (b"\xcd\x01\x00", json!(256)),
            (b"\xd1\xff\xfe", json!(-2)),
            (b"\xa2hi", json!("hi")),
            (b"\xc4\x02hi", json!("hi")),
            (b"\x82\xa1a\xc0\xa1b\x92\xc2\xc3", json!({"a": null, "b": [false, true]})),
            (b"\xcb\0\0\0\0\0\0\0\0", Value::Null),
            (b"\xd6\x05\0\0\0\0", Value::Null),
            (b"\xc7\x01\x05\0", Value::Null),
        ] {
            assert_eq!(read(bytes).unwrap(), expected, "{bytes:?}");
        }
    }

    #[test]
    fn what_is_no_value_is_an_error() {
        for bytes in [&b""[..], b"\xc1", b"\xa2h", b"\xdb\xff\xff\xff\xff", b"\xcd\x01", b"\x91"] {
            assert!(read(bytes).is_err(), "{bytes:?}");
        }
        assert!(read(&[0x91; 100]).is_err(), "too deep");
    }
}
