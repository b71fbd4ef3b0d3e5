use model::PortRef;

use crate::fields::{At, Field, Report};
use crate::node::Content;

/// True for a DNS label: a-z, 0-9 and `-`, not at an end, at most 63 bytes.
pub(crate) fn is_label(text: &str) -> bool {
    let allowed = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(allowed)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// True for labels with dots between them, at most 253 bytes.
pub(crate) fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}

/// Reads a host as an ingress names it: a DNS name, or `*.` before one. Lower case comes out.
pub(crate) fn host(field: &Field<'_>, report: &mut Report<'_>) -> Option<String> {
    let host = field.text(report)?.to_ascii_lowercase();
    let name = host.strip_prefix("*.").unwrap_or(&host);
    let surplus = surplus(&host);
    let remedy = if let Some(remedy) = &surplus {
        remedy
    } else if host == "*" {
        "leave the host out: that means any"
    } else if name.contains('*') {
        "a `*` can only stand for the whole first label, as in `*.example.com`"
    } else if !is_subdomain(name) {
        "use labels of a-z, 0-9 and `-` with dots between them"
    } else if name.split('.').all(|label| label.bytes().all(|it| it.is_ascii_digit())) {
        "use a DNS name: an IP address is not a host of an ingress"
    } else {
        return Some(host);
    };
    report.error(&field.at, format!("`{host}` is not a host"), remedy);
    None
}

/// What of a URL is too much for a host, all of it at once.
fn surplus(text: &str) -> Option<String> {
    let (scheme, rest) = match text.split_once("://") {
        Some((_, rest)) => (Some("scheme"), rest),
        None => (None, text),
    };
    let (authority, path) = match rest.find(['/', '?', '#']) {
        Some(at) => (&rest[..at], Some("path")),
        None => (rest, None),
    };
    let (name, port) = match authority.split_once(':') {
        Some((name, _)) => (name, Some("port")),
        None => (authority, None),
    };
    let parts: Vec<&str> = [scheme, port, path].into_iter().flatten().collect();
    match parts.as_slice() {
        [] => None,
        ["port"] => Some("leave the port out: a host holds for every port".to_owned()),
        [one] => Some(format!("leave the {one} out: {name}")),
        [most @ .., last] => Some(format!("leave {} and {last} out: {name}", most.join(", "))),
    }
}

/// Says that a wildcard host matches more here than it does in Kubernetes.
pub(crate) fn note_wildcard(host: &str, at: &At, report: &mut Report<'_>) {
    if let Some(name) = host.strip_prefix("*.") {
        let message = format!("matches any name below {name}, in Kubernetes only one label deep");
        report.approximated(at, message, "");
    }
}

/// Reads a port number.
pub(crate) fn port_number(field: &Field<'_>, report: &mut Report<'_>) -> Option<u16> {
    let Content::Number(number) = &field.node.content else {
        let remedy = match field.node.text().map(str::parse::<u16>) {
            Some(Ok(number)) => format!("leave the quotes out: {number}"),
            Some(Err(_)) | None => "write a number from 1 to 65535".to_owned(),
        };
        let message = format!("must be a number, not {}", field.node.kind());
        report.error(&field.at, message, remedy);
        return None;
    };
    let port = number.as_u64().and_then(|it| u16::try_from(it).ok()).filter(|it| *it != 0);
    if port.is_none() {
        let message = format!("{number} is not a port");
        report.error(&field.at, message, "write a number from 1 to 65535");
    }
    port
}

/// Reads a port by number or by name.
pub(crate) fn port_ref(field: &Field<'_>, report: &mut Report<'_>) -> Option<PortRef> {
    let Some(text) = field.node.text() else {
        return port_number(field, report).map(PortRef::Number);
    };
    if let Some(number) = text.parse::<u16>().ok().filter(|it| *it != 0) {
        let message = format!("\"{text}\" in quotes is a name in Kubernetes; taken as a number");
        report.approximated(&field.at, message, format!("leave the quotes out: {number}"));
        return Some(PortRef::Number(number));
    }
    if !is_port_name(text) {
        let message = format!("`{text}` is neither a port nor a port's name");
        report.error(&field.at, message, "write a number from 1 to 65535, or a name");
        return None;
    }
    Some(PortRef::Name(text.to_owned()))
}

/// True for the name of a port. Kubernetes allows 15 characters in some places and 63 in others.
pub(crate) fn is_port_name(text: &str) -> bool {
    is_label(text) && text.bytes().any(|it| it.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_subdomains_follow_dns() {
        assert!(is_label("web-1"));
        for bad in ["", "-a", "a-", "A", "a_b", "a.b", &"a".repeat(64)] {
            assert!(!is_label(bad), "{bad}");
        }
        assert!(is_subdomain("a.b-c.example"));
        assert!(!is_subdomain("a..b"));
    }

    #[test]
    fn all_that_is_too_much_for_a_host_is_named_at_once() {
        for (text, remedy) in [
            ("https://shop.example.com:443", "leave scheme and port out: shop.example.com"),
            ("https://shop.example.com", "leave the scheme out: shop.example.com"),
            ("http://*.example.com:80/a?b", "leave scheme, port and path out: *.example.com"),
            ("shop.example.com/a", "leave the path out: shop.example.com"),
            ("shop.example.com:443", "leave the port out: a host holds for every port"),
        ] {
            assert_eq!(surplus(text).as_deref(), Some(remedy), "{text}");
        }
        assert_eq!(surplus("*.example.com"), None);
    }

    #[test]
    fn a_port_name_has_a_letter() {
        assert!(is_port_name("http-2"));
        assert!(!is_port_name("8080"));
    }
}
