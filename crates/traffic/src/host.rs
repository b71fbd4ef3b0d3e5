//! Names and ports of hosts.

use std::borrow::Cow;

use http::{HeaderValue, Version};

/// A host without port and final dot, in lower case; borrowed when it already is.
#[must_use]
pub fn normalized_host(host: &str) -> Cow<'_, str> {
    let name = without_port(host);
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

/// A host without its port: `[::1]:80` is `[::1]`; a bare IPv6 address (more than one colon) has no
/// port.
#[must_use]
pub fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            let bracketed = name.starts_with('[') && name.ends_with(']');
            if bracketed || !name.contains(':') { name } else { host }
        }
        _ => host,
    }
}

/// The port of a host as [`without_port`] tells it apart; `None` when there is none or it is no
/// number below 65,536.
#[must_use]
pub fn port(host: &str) -> Option<u16> {
    host[without_port(host).len()..].strip_prefix(':')?.parse().ok()
}

/// What a proxy adds to `via` (RFC 9110, section 7.6.3): the version that it received and its name.
/// A name that already has a version (`1.1 edge`) is taken as it is.
#[must_use]
pub fn via_entry(received: Version, name: &str) -> Option<HeaderValue> {
    if name.contains(' ') {
        return HeaderValue::from_str(name).ok();
    }
    let version = match received {
        Version::HTTP_09 => "0.9",
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => "1.1",
    };
    HeaderValue::try_from(format!("{version} {name}")).ok()
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use http::Version;

    use super::{normalized_host, port, via_entry, without_port};

    #[test]
    fn ports_case_and_final_dots_are_taken_off() {
        assert_eq!(normalized_host("Web:80"), "web");
        assert_eq!(normalized_host("[::1]:80"), "[::1]");
        assert_eq!(normalized_host("[::1]"), "[::1]");
        assert_eq!(normalized_host("::1"), "::1");
        assert_eq!(normalized_host("web."), "web");
        assert!(matches!(normalized_host("web:80"), Cow::Borrowed("web")));
    }

    #[test]
    fn a_port_is_what_stands_after_the_name() {
        for (host, name, number) in [
            ("web:80", "web", Some(80)),
            ("web", "web", None),
            ("[::1]:80", "[::1]", Some(80)),
            ("::1", "::1", None),
            ("web:", "web", None),
            ("web:99999", "web", None),
            ("web:http", "web:http", None),
        ] {
            assert_eq!((without_port(host), port(host)), (name, number), "{host}");
        }
    }

    #[test]
    fn via_says_which_version_was_received() {
        assert_eq!(via_entry(Version::HTTP_11, "leno").unwrap(), "1.1 leno");
        assert_eq!(via_entry(Version::HTTP_2, "leno").unwrap(), "2 leno");
        assert_eq!(via_entry(Version::HTTP_2, "1.1 edge").unwrap(), "1.1 edge");
        assert_eq!(via_entry(Version::HTTP_11, "a\nb"), None);
    }
}
