use std::net::IpAddr;

use codec::certificate::{AlternativeName, Certificate};
use proxy_config::{Pattern, ValueMatch};
use traffic::TextMatch;

use crate::error::SecretError;

/// Conditions of which one must hold for one of a certificate's alternative names.
#[derive(Debug)]
pub(super) struct NameMatches(Vec<NameMatch>);

#[derive(Debug)]
struct NameMatch {
    /// A name that must be this one is compared as its kind asks.
    exact: Option<String>,
    text: TextMatch,
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
        let text = TextMatch::new(name).map_err(|reason| SecretError::Pattern { reason })?;
        let exact = match &name.pattern {
            Pattern::Exact(wanted) => Some(wanted.clone()),
            Pattern::Present
            | Pattern::Prefix(_)
            | Pattern::Suffix(_)
            | Pattern::Contains(_)
            | Pattern::Regex(_)
            | Pattern::Range { .. } => None,
        };
        Ok(Self { exact, text })
    }

    fn holds_for(&self, name: &AlternativeName<'_>) -> bool {
        match (name, &self.exact) {
            (AlternativeName::Dns(name), Some(wanted)) => is_host(name, wanted),
            (AlternativeName::Ip(ip), Some(wanted)) => {
                wanted.parse::<IpAddr>().is_ok_and(|it| it == *ip)
            }
            (AlternativeName::Dns(name) | AlternativeName::Uri(name), _)
            | (AlternativeName::Email(name), _) => self.text.matches(name.as_bytes()),
            (AlternativeName::Ip(ip), None) => self.text.matches(ip.to_string().as_bytes()),
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
