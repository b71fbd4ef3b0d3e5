use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;

use proxy_config::{HashInput, HashPolicy};
use regex::Regex;
use xxhash_rust::xxh64::xxh64;

pub(crate) mod mersenne;
pub(crate) mod murmur;

/// What a hash can be made of.
pub trait HashFacts {
    /// Values of a header, whose name is in lower case.
    fn header<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]>;
    /// Value of a cookie.
    fn cookie(&self, name: &str) -> Option<&str>;
    /// First value of a query parameter.
    fn query(&self, name: &str) -> Option<Cow<'_, str>>;
    /// The client's address.
    fn source_ip(&self) -> Option<IpAddr>;
    /// What a new cookie is made of: the client's and this proxy's address, with their ports, as
    /// Envoy has them (`10.0.0.1:4011210.0.0.9:80`).
    fn connection(&self) -> String;
}

/// How requests of a route are hashed, with its regular expressions compiled.
#[derive(Clone, Debug, Default)]
pub struct RequestHash {
    parts: Vec<Part>,
}

/// A hash, and the cookies that the client must be given so that it comes back with the same one.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Hashed {
    /// `None`: the request has nothing of what it is made of; a random endpoint is picked.
    pub hash: Option<u64>,
    /// Usually none, and then nothing is allocated.
    pub cookies: Vec<NewCookie>,
}

/// A cookie that a client is given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewCookie {
    /// Name.
    pub name: String,
    /// 16 hexadecimal digits.
    pub value: String,
    /// How long it lives; zero: as long as the client's session.
    pub ttl: Duration,
    /// Path; none when empty.
    pub path: String,
}

#[derive(Clone, Debug)]
struct Part {
    policy: HashPolicy,
    rewrite: Option<(Regex, String)>,
}

impl RequestHash {
    /// Compiles the policies.
    ///
    /// # Errors
    /// When a regular expression cannot be compiled or would be too large.
    pub fn new(policies: &[HashPolicy]) -> Result<Self, regex::Error> {
        let part = |policy: &HashPolicy| {
            let rewrite = match &policy.input {
                HashInput::Header { rewrite: Some((pattern, substitution)), .. } => {
                    Some((Regex::new(pattern)?, replacement(substitution)))
                }
                HashInput::Header { rewrite: None, .. }
                | HashInput::Cookie { .. }
                | HashInput::SourceIp
                | HashInput::Query(_) => None,
            };
            Ok(Part { policy: policy.clone(), rewrite })
        };
        Ok(Self { parts: policies.iter().map(part).collect::<Result<_, _>>()? })
    }

    /// True when there is nothing to hash.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The hash of a request: of each part xxHash64 with seed 0, put together by
    /// `rotate_left(hash, 1) ^ part`. A terminal part ends it when there is a hash by then
    /// (reference/load-balancing.md 2.7; Envoy's `HashPolicyImpl::generateHash`).
    #[must_use]
    pub fn of(&self, request: &impl HashFacts) -> Hashed {
        let mut hashed = Hashed::default();
        for part in &self.parts {
            if let Some(new) = part.hash(request, &mut hashed.cookies) {
                hashed.hash = Some(hashed.hash.map_or(0, |it| it.rotate_left(1)) ^ new);
            }
            if part.policy.terminal && hashed.hash.is_some() {
                break;
            }
        }
        hashed
    }
}

impl Part {
    fn hash(&self, request: &impl HashFacts, cookies: &mut Vec<NewCookie>) -> Option<u64> {
        match &self.policy.input {
            HashInput::Header { name, .. } => self.hash_header(request, name),
            HashInput::Cookie { name, ttl, path } => match request.cookie(name) {
                Some(value) if !value.is_empty() => Some(xxh64(value.as_bytes(), 0)),
                _ => {
                    let ttl = (*ttl)?;
                    let value = format!("{:016x}", xxh64(request.connection().as_bytes(), 0));
                    let hash = xxh64(value.as_bytes(), 0);
                    cookies.push(NewCookie { name: name.clone(), value, ttl, path: path.clone() });
                    Some(hash)
                }
            },
            HashInput::SourceIp => {
                request.source_ip().map(|it| xxh64(it.to_string().as_bytes(), 0))
            }
            HashInput::Query(name) => request.query(name).map(|it| xxh64(it.as_bytes(), 0)),
        }
    }

    /// Several values are hashed in their sorted order, each with the hash before as seed.
    fn hash_header(&self, request: &impl HashFacts, name: &str) -> Option<u64> {
        let mut values = request.header(name);
        let first = values.next()?;
        let Some(second) = values.next() else {
            return Some(xxh64(&self.rewritten(first), 0));
        };
        let mut all = vec![self.rewritten(first), self.rewritten(second)];
        all.extend(values.map(|value| self.rewritten(value)));
        all.sort();
        Some(all.iter().fold(0, |seed, value| xxh64(value, seed)))
    }

    /// A value that is no UTF-8 is left as it is.
    fn rewritten<'a>(&self, value: &'a [u8]) -> Cow<'a, [u8]> {
        match (&self.rewrite, std::str::from_utf8(value)) {
            (Some((pattern, replacement)), Ok(text)) => {
                match pattern.replace_all(text, replacement) {
                    Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
                    Cow::Owned(text) => Cow::Owned(text.into_bytes()),
                }
            }
            _ => Cow::Borrowed(value),
        }
    }
}

/// RE2's substitution (`\1`, `\\`) in the words of the `regex` crate (`${1}`).
fn replacement(substitution: &str) -> String {
    let mut text = String::with_capacity(substitution.len());
    let mut characters = substitution.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some(group) if group.is_ascii_digit() => {
                    text.push_str("${");
                    text.push(group);
                    text.push('}');
                }
                Some(other) => text.push(other),
                None => text.push('\\'),
            },
            '$' => text.push_str("$$"),
            other => text.push(other),
        }
    }
    text
}

#[cfg(test)]
mod tests;
