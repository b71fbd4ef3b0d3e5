//! Virtual hosts by the name that a client asks for.

use foldhash::{HashMap, HashMapExt};

/// Longest name that DNS allows, in bytes of its text form (RFC 1035, 2.3.4).
const DNS_NAME_BYTES_MAX: usize = 255;

/// Virtual hosts by domain.
#[derive(Debug)]
pub(super) struct Domains {
    exact: HashMap<String, u32>,
    suffixes: Wildcards,
    prefixes: Wildcards,
    any: Option<u32>,
}

/// Domains with a `*` at one end, by what is left of them.
#[derive(Debug)]
struct Wildcards {
    by_text: HashMap<String, u32>,
    /// Lengths of the texts, the longest first.
    lengths: Vec<usize>,
    /// All texts have a dot where the `*` was: names are looked up at their dots only.
    at_dots: bool,
}

/// Which kind of domain matched a host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum DomainMatch {
    Exact,
    /// `*` and the host from here on.
    Suffix(usize),
    /// The host up to here and `*`.
    Prefix(usize),
    Any,
}

impl Domains {
    pub(super) fn new() -> Self {
        let wildcards =
            || Wildcards { by_text: HashMap::new(), lengths: Vec::new(), at_dots: true };
        Self { exact: HashMap::new(), suffixes: wildcards(), prefixes: wildcards(), any: None }
    }

    /// Adds a domain of a virtual host; false when another one has it already.
    pub(super) fn add(&mut self, domain: &str, idx: u32) -> bool {
        if domain == "*" {
            return *self.any.get_or_insert(idx) == idx;
        }
        if let Some(suffix) = domain.strip_prefix('*') {
            return self.suffixes.add(suffix, suffix.starts_with('.'), idx);
        }
        if let Some(prefix) = domain.strip_suffix('*') {
            return self.prefixes.add(prefix, prefix.ends_with('.'), idx);
        }
        *self.exact.entry(domain.to_owned()).or_insert(idx) == idx
    }

    /// The virtual host for a normalized host, and how it matched: exactly, else by the longest
    /// suffix, else by the longest prefix, else by `*`.
    pub(super) fn find(&self, host: &str) -> Option<(u32, DomainMatch)> {
        if let Some(idx) = self.exact.get(host) {
            return Some((*idx, DomainMatch::Exact));
        }
        self.longest_suffix(host)
            .or_else(|| self.longest_prefix(host))
            .or_else(|| self.any.map(|idx| (idx, DomainMatch::Any)))
    }

    fn longest_suffix(&self, host: &str) -> Option<(u32, DomainMatch)> {
        self.suffixes.candidates(host).find_map(|length| {
            let at = host.len() - length;
            let is_possible = !self.suffixes.at_dots || host.as_bytes()[at] == b'.';
            let text = host.get(at..).filter(|_| is_possible)?;
            Some((*self.suffixes.by_text.get(text)?, DomainMatch::Suffix(at)))
        })
    }

    fn longest_prefix(&self, host: &str) -> Option<(u32, DomainMatch)> {
        self.prefixes.candidates(host).find_map(|end| {
            let is_possible = !self.prefixes.at_dots || host.as_bytes()[end - 1] == b'.';
            let text = host.get(..end).filter(|_| is_possible)?;
            Some((*self.prefixes.by_text.get(text)?, DomainMatch::Prefix(end)))
        })
    }
}

impl Wildcards {
    fn add(&mut self, text: &str, is_at_dot: bool, idx: u32) -> bool {
        self.at_dots &= is_at_dot;
        if let Err(at) = self.lengths.binary_search_by(|it| text.len().cmp(it)) {
            self.lengths.insert(at, text.len());
        }
        *self.by_text.entry(text.to_owned()).or_insert(idx) == idx
    }

    /// Lengths of texts that leave at least one byte of the host to the `*`. A host that DNS does
    /// not allow has none, so that a look-up is bounded.
    fn candidates(&self, host: &str) -> impl Iterator<Item = usize> {
        let length_max = if host.len() > DNS_NAME_BYTES_MAX { 0 } else { host.len() };
        self.lengths.iter().copied().skip_while(move |it| *it >= length_max)
    }
}

impl DomainMatch {
    /// The domain that matched `host`.
    pub(super) fn domain(self, host: &str) -> String {
        match self {
            DomainMatch::Exact => host.to_owned(),
            DomainMatch::Suffix(at) => format!("*{}", &host[at..]),
            DomainMatch::Prefix(end) => format!("{}*", &host[..end]),
            DomainMatch::Any => "*".to_owned(),
        }
    }
}
