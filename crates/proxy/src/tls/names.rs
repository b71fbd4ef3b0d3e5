use std::net::IpAddr;

use codec::certificate::{AlternativeName, Certificate};
use proxy_config::{Pattern, ValueMatch};
use regex::Regex;

use crate::error::SecretError;

/// Conditions of which one must hold for one of a certificate's alternative names.
#[derive(Debug)]
pub(super) struct NameMatches(Vec<NameMatch>);

#[derive(Debug)]
struct NameMatch {
    pattern: Compiled,
    ignore_case: bool,
}

#[derive(Debug)]
enum Compiled {
    Present,
    Exact(String),
    Prefix(String),
    Suffix(String),
    Contains(String),
    Regex(Regex),
    Range(i64, i64),
}

impl NameMatches {
    pub(super) fn new(names: &[ValueMatch]) -> Result<Self, SecretError> {
        names.iter().map(NameMatch::new).collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the certificate has one of the names; bytes that are no certificate have none.
    pub(super) fn hold_for(&self, der: &[u8]) -> bool {
        Certificate::read(der).is_some_and(|certificate| {
            certificate.names.iter().any(|name| self.0.iter().any(|it| it.holds_for(name)))
        })
    }
}

impl NameMatch {
    fn new(name: &ValueMatch) -> Result<Self, SecretError> {
        let ignore_case = name.ignore_case;
        let text = |it: &String| if ignore_case { it.to_ascii_lowercase() } else { it.clone() };
        let pattern = match &name.pattern {
            Pattern::Present => Compiled::Present,
            Pattern::Exact(it) => Compiled::Exact(text(it)),
            Pattern::Prefix(it) => Compiled::Prefix(text(it)),
            Pattern::Suffix(it) => Compiled::Suffix(text(it)),
            Pattern::Contains(it) => Compiled::Contains(text(it)),
            Pattern::Regex(it) => {
                let whole = Regex::new(&format!("^(?:{it})$"));
                Compiled::Regex(whole.map_err(|source| {
                    let (pattern, source) = (it.clone(), Box::new(source));
                    SecretError::Pattern { pattern, source }
                })?)
            }
            Pattern::Range { start, end } => Compiled::Range(*start, *end),
        };
        Ok(Self { pattern, ignore_case })
    }

    fn holds_for(&self, name: &AlternativeName<'_>) -> bool {
        match (name, &self.pattern) {
            (AlternativeName::Dns(name), Compiled::Exact(wanted)) => is_host(name, wanted),
            (AlternativeName::Ip(ip), Compiled::Exact(wanted)) => {
                wanted.parse::<IpAddr>().is_ok_and(|it| it == *ip)
            }
            (AlternativeName::Dns(name) | AlternativeName::Uri(name), _)
            | (AlternativeName::Email(name), _) => self.fits(name),
            (AlternativeName::Ip(ip), _) => self.fits(&ip.to_string()),
        }
    }

    fn fits(&self, text: &str) -> bool {
        let lower = self.ignore_case.then(|| text.to_ascii_lowercase());
        let compared = lower.as_deref().unwrap_or(text);
        match &self.pattern {
            Compiled::Present => true,
            Compiled::Exact(wanted) => compared == wanted,
            Compiled::Prefix(wanted) => compared.starts_with(wanted),
            Compiled::Suffix(wanted) => compared.ends_with(wanted),
            Compiled::Contains(wanted) => compared.contains(wanted),
            Compiled::Regex(regex) => regex.is_match(text),
            Compiled::Range(start, end) => {
                text.parse::<i64>().is_ok_and(|it| (*start..*end).contains(&it))
            }
        }
    }
}

/// Whether a DNS name of a certificate stands for the host; a star stands for one label (RFC 6125, section 6.4.3).
fn is_host(name: &str, host: &str) -> bool {
    match name.strip_prefix("*.") {
        None => name.eq_ignore_ascii_case(host),
        Some(parent) => host
            .split_once('.')
            .is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(parent)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(pattern: Pattern, ignore_case: bool, name: &AlternativeName<'_>) -> bool {
        NameMatch::new(&ValueMatch { pattern, ignore_case }).unwrap().holds_for(name)
    }

    #[test]
    fn names_are_matched_as_their_kind_asks() {
        use AlternativeName::{Dns, Email, Ip, Uri};
        let exact = |it: &str| Pattern::Exact(it.to_owned());
        let spiffe = "spiffe://mesh/ns/shop/sa/web";
        for (pattern, ignore_case, name, expected) in [
            (exact("web.example.com"), false, Dns("WEB.example.com"), true),
            (exact("web.example.com"), false, Dns("*.example.com"), true),
            (exact("a.web.example.com"), false, Dns("*.example.com"), false),
            (exact("example.com"), false, Dns("*.example.com"), false),
            (exact(spiffe), false, Uri(spiffe), true),
            (exact(&spiffe.to_uppercase()), false, Uri(spiffe), false),
            (exact(&spiffe.to_uppercase()), true, Uri(spiffe), true),
            (exact("10.0.0.1"), false, Ip("10.0.0.1".parse().unwrap()), true),
            (exact("::1"), false, Ip("0:0::1".parse().unwrap()), true),
            (exact("me@example.com"), false, Email("me@example.com"), true),
            (Pattern::Prefix("spiffe://mesh/".to_owned()), false, Uri(spiffe), true),
            (Pattern::Suffix("/SA/web".to_owned()), true, Uri(spiffe), true),
            (Pattern::Contains("/shop/".to_owned()), false, Uri(spiffe), true),
            (Pattern::Regex("spiffe://mesh/ns/[a-z]+/sa/.*".to_owned()), false, Uri(spiffe), true),
            (Pattern::Regex("mesh".to_owned()), false, Uri(spiffe), false),
            (Pattern::Present, false, Uri(spiffe), true),
            (Pattern::Range { start: 1, end: 3 }, false, Dns("2"), true),
        ] {
            assert_eq!(
                holds(pattern.clone(), ignore_case, &name),
                expected,
                "{pattern:?} {name:?}"
            );
        }
    }

    #[test]
    fn a_pattern_that_is_none_is_an_error() {
        let bad = ValueMatch { pattern: Pattern::Regex("(".to_owned()), ignore_case: false };
        assert!(matches!(NameMatches::new(&[bad]), Err(SecretError::Pattern { .. })));
    }
}
