//! The first message of TLS (RFC 8446, section 4.1.2), as far as a proxy needs it before it decides what to do with a
//! connection: the server name and the protocols that the client offers.

/// Largest message that is read. The largest that clients send have keys against quantum computers, some 2 KiB.
const MESSAGE_BYTES_MAX: usize = 16 * 1024;
/// Largest number of bytes on the wire that such a message may take: records may be as short as a byte, with 5 bytes of
/// head each, but only who wants to be a burden makes them so.
pub const BYTES_MAX: usize = 2 * MESSAGE_BYTES_MAX;

const RECORD_HEAD_BYTES: usize = 5;
/// Largest record in the clear (RFC 8446, section 5.1).
const RECORD_BYTES_MAX: usize = 1 << 14;
const HANDSHAKE: u8 = 22;
const MESSAGE_HEAD_BYTES: usize = 4;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;
const APPLICATION_PROTOCOLS: u16 = 16;

/// What a client asks for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ClientHello {
    /// Server name in lower case.
    pub server_name: Option<String>,
    /// Protocols offered through ALPN, the preferred one first.
    pub protocols: Vec<Vec<u8>>,
}

/// What the beginning of a connection is, as far as TLS goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Start {
    /// More bytes are needed to tell.
    Incomplete,
    /// No TLS.
    NotTls,
    /// TLS.
    Tls(ClientHello),
}

/// Reads the first message, in however many records and pieces it comes.
#[derive(Clone, Debug, Default)]
pub struct ClientHelloReader {
    /// How many bytes of the connection have been looked at: whole records.
    seen: usize,
    message: Vec<u8>,
}

impl ClientHelloReader {
    /// Looks at the connection's first bytes: all of them so far, at each call. With [`BYTES_MAX`] of them it is never
    /// [`Start::Incomplete`].
    pub fn advance(&mut self, bytes: &[u8]) -> Start {
        loop {
            match self.message_state() {
                Start::Incomplete => {}
                told => return told,
            }
            let rest = bytes.get(self.seen..).unwrap_or_default();
            match record(rest) {
                Record::Incomplete if bytes.len() >= BYTES_MAX => return Start::NotTls,
                Record::Incomplete => return Start::Incomplete,
                Record::Foreign => return Start::NotTls,
                Record::Handshake(fragment) => {
                    self.message.extend_from_slice(fragment);
                    self.seen += RECORD_HEAD_BYTES + fragment.len();
                }
            }
        }
    }

    fn message_state(&self) -> Start {
        let [kind, length @ ..] = self.message.as_slice() else { return Start::Incomplete };
        if *kind != CLIENT_HELLO {
            return Start::NotTls;
        }
        let Some([high, middle, low]) = length.first_chunk() else { return Start::Incomplete };
        let length = u32::from_be_bytes([0, *high, *middle, *low]) as usize;
        if length > MESSAGE_BYTES_MAX {
            return Start::NotTls;
        }
        match self.message.get(MESSAGE_HEAD_BYTES..MESSAGE_HEAD_BYTES + length) {
            None => Start::Incomplete,
            Some(body) => hello(body).map_or(Start::NotTls, Start::Tls),
        }
    }
}

enum Record<'a> {
    Incomplete,
    /// Not one that a TLS connection can begin with.
    Foreign,
    Handshake(&'a [u8]),
}

fn record(bytes: &[u8]) -> Record<'_> {
    // Kind, and the major version, which has been 3 since SSL 3.0; the minor one is not to be looked at.
    let is_foreign =
        bytes.first().is_some_and(|it| *it != HANDSHAKE) || bytes.get(1).is_some_and(|it| *it != 3);
    if is_foreign {
        return Record::Foreign;
    }
    let Some([_, _, _, high, low]) = bytes.first_chunk() else { return Record::Incomplete };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    if length == 0 || length > RECORD_BYTES_MAX {
        return Record::Foreign;
    }
    match bytes.get(RECORD_HEAD_BYTES..RECORD_HEAD_BYTES + length) {
        Some(fragment) => Record::Handshake(fragment),
        None => Record::Incomplete,
    }
}

/// Fields one after the other.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u16> {
        self.take(2).map(|it| u16::from_be_bytes([it[0], it[1]]))
    }

    /// A vector whose length takes one byte.
    fn short(&mut self) -> Option<&'a [u8]> {
        let length = self.take(1)?[0];
        self.take(usize::from(length))
    }

    /// A vector whose length takes two bytes.
    fn long(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.take(usize::from(length))
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// `None` when it is malformed.
fn hello(body: &[u8]) -> Option<ClientHello> {
    let mut fields = Fields(body);
    fields.number()?; // Version.
    fields.take(32)?; // Random.
    fields.short()?; // Session id.
    fields.long()?; // Cipher suites.
    fields.short()?; // Compression methods.
    let mut hello = ClientHello::default();
    if fields.is_empty() {
        // TLS 1.2 knows a hello without extensions.
        return Some(hello);
    }
    let mut extensions = Fields(fields.long()?);
    if !fields.is_empty() {
        return None;
    }
    let (mut has_name, mut has_protocols) = (false, false);
    while !extensions.is_empty() {
        // Kinds that nobody knows are there on purpose (RFC 8701).
        let kind = extensions.number()?;
        let content = extensions.long()?;
        match kind {
            SERVER_NAME => {
                hello.server_name = server_name(content)?;
                if std::mem::replace(&mut has_name, true) {
                    return None;
                }
            }
            APPLICATION_PROTOCOLS => {
                hello.protocols = protocols(content)?;
                if std::mem::replace(&mut has_protocols, true) {
                    return None;
                }
            }
            _ => {}
        }
    }
    Some(hello)
}

/// The host name in a list of names (RFC 6066, section 3).
fn server_name(content: &[u8]) -> Option<Option<String>> {
    let mut content = Fields(content);
    let mut names = Fields(content.long()?);
    if !content.is_empty() {
        return None;
    }
    let mut host = None;
    while !names.is_empty() {
        let kind = names.take(1)?[0];
        let name = names.long()?;
        if kind != HOST_NAME {
            continue;
        }
        let is_host = |byte: &u8| matches!(byte, b'!'..=b'~');
        if host.is_some() || name.is_empty() || !name.iter().all(is_host) {
            return None;
        }
        host = Some(String::from_utf8_lossy(name).to_ascii_lowercase());
    }
    Some(host)
}

/// The names in a list of protocols (RFC 7301, section 3.1).
fn protocols(content: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut content = Fields(content);
    let mut names = Fields(content.long()?);
    if !content.is_empty() {
        return None;
    }
    let mut protocols = Vec::new();
    while !names.is_empty() {
        let name = names.short()?;
        if name.is_empty() {
            return None;
        }
        protocols.push(name.to_vec());
    }
    Some(protocols)
}

#[cfg(test)]
mod tests;
