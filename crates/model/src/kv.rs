use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{KvKey, SessionId};

/// A value that a client keeps under a key.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct KvEntry {
    /// Any text, case-sensitive. A slash means nothing but to clients.
    pub key: KvKey,
    /// Any bytes; the doors bound them to 512 KiB.
    pub value: Arc<[u8]>,
    /// A number that means something to clients only.
    pub flags: u64,
    /// The session that holds it as a lock; empty for none.
    pub session: SessionId,
    /// How often it was taken as a lock.
    pub lock_index: u64,
}

/// What is stored before the bytes of the value.
#[derive(Serialize, Deserialize)]
struct Head {
    #[serde(default, skip_serializing_if = "is_zero")]
    flags: u64,
    #[serde(default, skip_serializing_if = "SessionId::is_empty")]
    session: SessionId,
    #[serde(default, skip_serializing_if = "is_zero")]
    lock_index: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl KvEntry {
    /// The value of the store: a line of JSON, and after it the bytes as they are, for most of it is somebody's and may be
    /// large.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let Self { flags, lock_index, .. } = *self;
        let head = Head { flags, session: self.session.clone(), lock_index };
        let mut bytes = Vec::with_capacity(64 + self.value.len());
        serde_json::to_writer(&mut bytes, &head).expect("writing to a Vec does not fail");
        bytes.push(b'\n');
        bytes.extend_from_slice(&self.value);
        bytes
    }

    pub(crate) fn decode(key: KvKey, bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let end = bytes.iter().position(|it| *it == b'\n').unwrap_or(bytes.len());
        let head: Head = serde_json::from_slice(&bytes[..end])?;
        let value = bytes.get(end + 1..).unwrap_or_default().into();
        let Head { flags, session, lock_index } = head;
        Ok(Self { key, value, flags, session, lock_index })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read_as_it_was_written() {
        for value in ["", "a", "\n", "{\"flags\":1}\n\n", "\u{0}\u{ff}"] {
            for (flags, session) in [(0, ""), (1, "s"), (u64::MAX, "")] {
                let entry = KvEntry {
                    key: "k".into(),
                    value: value.as_bytes().into(),
                    flags,
                    session: session.into(),
                    lock_index: flags / 2,
                };
                assert_eq!(KvEntry::decode("k".into(), &entry.encode()).unwrap(), entry);
            }
        }
        assert!(KvEntry::decode("k".into(), b"value").is_err());
    }
}
