//! The way of a request to here: what of it is believed, and what is added, as Envoy's connection manager does it.

use std::net::{IpAddr, SocketAddr};

use codec::message::{FieldValue, HeaderMap};
use http::header::{EXPECT, PROXY_AUTHORIZATION, VIA};
use http::{HeaderName, HeaderValue, Version};
use proxy_config::{ClientAddress, HttpListener};

use crate::connection::Client;
use crate::headers::{
    self, X_FORWARDED_CLIENT_CERT, X_FORWARDED_FOR, X_FORWARDED_PORT, X_FORWARDED_PROTO,
    X_REQUEST_ID,
};
use crate::rules::HttpRules;

const INTERNAL: HeaderName = HeaderName::from_static("x-envoy-internal");
const EXTERNAL_ADDRESS: HeaderName = HeaderName::from_static("x-envoy-external-address");

/// What the way says about the request.
pub(super) struct Way {
    /// Who asks.
    pub(super) remote: SocketAddr,
    /// Over TLS, here or at a proxy that is believed.
    pub(super) is_https: bool,
    /// What the client asks of this proxy is done.
    pub(super) is_trusted: bool,
    /// It asks for something: how long and how often to try.
    pub(super) has_orders: bool,
    /// The client takes trailers.
    pub(super) accepts_trailers: bool,
    /// The value of `Upgrade` when what it asks for is passed on.
    pub(super) wanted_upgrade: Option<HeaderValue>,
}

/// Which headers there are that something is done about; found in one pass.
#[derive(Default)]
struct Seen {
    connection: bool,
    hop_by_hop: bool,
    upgrade: bool,
    te: bool,
    envoy: bool,
    /// Of Envoy's, those that ask a proxy for something.
    orders: bool,
    forwarded_for: bool,
    forwarded_proto: bool,
    forwarded_port: bool,
    client_certificate: bool,
    request_id: bool,
    expect: bool,
    proxy_authorization: bool,
}

impl Seen {
    fn of(headers: &HeaderMap) -> Self {
        let mut seen = Self::default();
        for name in headers.keys() {
            match name.as_bytes() {
                b"connection" => seen.connection = true,
                b"keep-alive" | b"proxy-connection" | b"transfer-encoding" | b"http2-settings" => {
                    seen.hop_by_hop = true;
                }
                b"upgrade" => seen.upgrade = true,
                b"te" => seen.te = true,
                b"expect" => seen.expect = true,
                b"proxy-authorization" => seen.proxy_authorization = true,
                b"x-forwarded-for" => seen.forwarded_for = true,
                b"x-forwarded-proto" => seen.forwarded_proto = true,
                b"x-forwarded-port" => seen.forwarded_port = true,
                b"x-forwarded-client-cert" => seen.client_certificate = true,
                b"x-request-id" => seen.request_id = true,
                other if other.starts_with(b"x-envoy-") => {
                    seen.envoy = true;
                    seen.orders |= is_order(other);
                }
                _ => {}
            }
        }
        seen
    }
}

/// Makes the client's headers into those that are believed and sent on.
pub(super) fn clear(
    headers: &mut HeaderMap,
    version: Version,
    (config, rules): (&HttpListener, &HttpRules),
    client: &Client,
) -> Way {
    let mut seen = Seen::of(headers);
    let accepts_trailers = match version {
        Version::HTTP_2 => true,
        Version::HTTP_11 => seen.te && headers::has_token(headers, &http::header::TE, "trailers"),
        _ => false,
    };
    let wanted_upgrade = if seen.upgrade {
        headers::wanted_upgrade(version, headers).filter(|it| is_listed(it, &config.upgrades))
    } else {
        None
    };
    if seen.connection || seen.hop_by_hop || seen.upgrade || seen.te {
        let has_named = headers::remove_hop_by_hop(headers);
        // It may have named any of the others.
        if has_named {
            seen = Seen::of(headers);
        }
    }
    let (remote, is_https, is_trusted) = forwarding(headers, &seen, config, client);
    if let Some(via) = &rules.via {
        headers.append(VIA, via.of(version));
    }
    if seen.expect {
        headers.remove(EXPECT);
    }
    if seen.proxy_authorization {
        headers.remove(PROXY_AUTHORIZATION);
    }
    match client.facts.forwarded_certificate() {
        Some(told) => {
            headers.insert(X_FORWARDED_CLIENT_CERT, told);
        }
        // Without one nothing is believed of what the client says.
        None if seen.client_certificate => {
            headers.remove(X_FORWARDED_CLIENT_CERT);
        }
        None => {}
    }
    let has_orders = seen.orders && is_trusted;
    Way { remote, is_https, is_trusted, has_orders, accepts_trailers, wanted_upgrade }
}

/// True for what is said about retries and time limits rather than about the way.
fn is_order(name: &[u8]) -> bool {
    matches!(
        name,
        b"x-envoy-upstream-rq-timeout-ms"
            | b"x-envoy-upstream-rq-per-try-timeout-ms"
            | b"x-envoy-hedge-on-per-try-timeout"
            | b"x-envoy-retry-on"
            | b"x-envoy-retry-grpc-on"
            | b"x-envoy-max-retries"
            | b"x-envoy-retriable-status-codes"
            | b"x-envoy-retriable-header-names"
            | b"x-envoy-upstream-stream-duration-ms"
    )
}

/// `x-forwarded-*`, `x-envoy-*` and `x-request-id`. Gives who asks, whether over TLS, and whether what it asks of this
/// proxy is done.
fn forwarding(
    headers: &mut HeaderMap,
    seen: &Seen,
    config: &HttpListener,
    client: &Client,
) -> (SocketAddr, bool, bool) {
    let believed = &config.client_address;
    let (told, is_single) = told_address(headers, seen, *believed);
    let own = client.facts.remote;
    let remote = told.map_or(own, |it| SocketAddr::new(it, 0));
    let address = if believed.use_remote_address { Some(remote.ip()) } else { told };
    let is_internal = !believed.is_edge && is_single && address.is_some_and(is_private);
    let is_from_outside = !is_internal && (believed.use_remote_address || believed.is_edge);
    if seen.envoy && is_from_outside {
        remove_envoy(headers);
    }
    if is_internal {
        headers.insert(INTERNAL, HeaderValue::from_static("true"));
    } else if seen.envoy && !is_from_outside {
        headers.remove(INTERNAL);
    }
    if is_from_outside && believed.use_remote_address && !is_private(remote.ip()) {
        let text = if remote == own {
            Some(client.peer_header.clone())
        } else {
            HeaderValue::try_from(remote.ip().to_string()).ok()
        };
        headers.extend(text.map(|it| (EXTERNAL_ADDRESS, it)));
    }
    if believed.use_remote_address && !believed.skip_append {
        headers::append_forwarded_for(headers, &client.peer_header);
    }
    let is_way_believed = !believed.is_edge
        && (!believed.use_remote_address || believed.trusted_hops > 0 || is_private(own.ip()));
    let is_https = scheme(headers, seen, is_way_believed, believed.trusted_hops > 0, client);
    if seen.forwarded_port && !is_way_believed {
        headers.remove(X_FORWARDED_PORT);
    }
    let ids = config.request_id;
    let is_replaced = is_from_outside && !ids.preserve_external;
    if ids.generate && !seen.request_id || is_replaced && seen.request_id {
        headers.insert(X_REQUEST_ID, client.worker.request_id());
    }
    (remote, is_https, !is_from_outside)
}

/// In the mesh a client without TLS may be a proxy that took it off; what it says is kept.
fn scheme(
    headers: &mut HeaderMap,
    seen: &Seen,
    is_way_believed: bool,
    has_trusted_hops: bool,
    client: &Client,
) -> bool {
    let is_tls = client.facts.tls.is_some();
    if seen.forwarded_proto && is_way_believed && (!is_tls || has_trusted_hops) {
        let told = headers.get(X_FORWARDED_PROTO).map(FieldValue::as_bytes);
        match told {
            Some(told) if told.eq_ignore_ascii_case(b"https") => return true,
            Some(told) if told.eq_ignore_ascii_case(b"http") => return false,
            Some(_) | None => {}
        }
    }
    let own = if is_tls { "https" } else { "http" };
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(own));
    is_tls
}

/// Who asks by `x-forwarded-for`, as far as proxies in front of this one are trusted, and whether the request has come
/// from there directly.
fn told_address(
    headers: &HeaderMap,
    seen: &Seen,
    believed: ClientAddress,
) -> (Option<IpAddr>, bool) {
    if !seen.forwarded_for {
        return (None, true);
    }
    let mut entries = headers
        .get_all(X_FORWARDED_FOR)
        .rev()
        .filter_map(|it| it.to_str().ok())
        .flat_map(|it| it.rsplit(','));
    let hops = believed.trusted_hops as usize;
    let told = match (believed.use_remote_address, hops.checked_sub(1)) {
        (true, None) => None,
        (true, Some(before)) => entries.nth(before),
        (false, _) => entries.nth(hops),
    };
    let is_single = !believed.use_remote_address && entries.next().is_none() && hops == 0;
    (told.and_then(address), is_single)
}

/// An address, perhaps with a port.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    text.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|it| it.ip())).or_else(|| {
        text.strip_prefix('[').and_then(|it| it.strip_suffix(']')).and_then(|it| it.parse().ok())
    })
}

/// Whether an address is in a network that no stranger is in: RFC 1918, RFC 4193, or this machine.
fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(it) => it.is_private() || it.is_loopback(),
        IpAddr::V6(it) => it.is_unique_local() || it.is_loopback(),
    }
}

fn remove_envoy(headers: &mut HeaderMap) {
    headers.retain(|name| !name.as_bytes().starts_with(b"x-envoy-"));
}

fn is_listed(upgrade: &HeaderValue, upgrades: &[String]) -> bool {
    upgrades.iter().any(|it| upgrade.as_bytes().eq_ignore_ascii_case(it.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(lines: &[&'static str], use_remote_address: bool, hops: u32) -> (String, bool) {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_static(line));
        }
        let believed =
            ClientAddress { use_remote_address, trusted_hops: hops, ..ClientAddress::default() };
        let (address, is_single) = told_address(&headers, &Seen::of(&headers), believed);
        (address.map(|it| it.to_string()).unwrap_or_default(), is_single)
    }

    #[test]
    fn as_many_entries_are_believed_as_there_are_trusted_proxies() {
        let check = |lines: &[&'static str], remote: bool, hops: u32, expected: (&str, bool)| {
            assert_eq!(told(lines, remote, hops), (expected.0.to_owned(), expected.1), "{lines:?}");
        };
        check(&[], true, 0, ("", true));
        check(&["1.1.1.1"], true, 0, ("", false));
        check(&["1.1.1.1, 2.2.2.2"], true, 1, ("2.2.2.2", false));
        check(&["1.1.1.1, 2.2.2.2"], true, 2, ("1.1.1.1", false));
        check(&["1.1.1.1, 2.2.2.2"], true, 3, ("", false));
        check(&["1.1.1.1, 2.2.2.2"], false, 0, ("2.2.2.2", false));
        check(&["1.1.1.1"], false, 0, ("1.1.1.1", true));
        check(&["1.1.1.1, 2.2.2.2"], false, 1, ("1.1.1.1", false));
        check(&["1.1.1.1", "2.2.2.2,3.3.3.3"], false, 2, ("1.1.1.1", false));
        check(&["1.1.1.1, nonsense"], false, 0, ("", false));
        check(&["[2001:db8::1]:80"], false, 0, ("2001:db8::1", true));
        check(&["1.2.3.4:80"], false, 0, ("1.2.3.4", true));
    }

    #[test]
    fn private_networks_are_those_of_the_rfcs() {
        for it in ["10.1.2.3", "172.31.0.1", "192.168.0.1", "127.0.0.1", "::1", "fd00::1"] {
            assert!(is_private(it.parse().unwrap()), "{it}");
        }
        assert!(is_private("::ffff:10.0.0.1".parse().unwrap()));
        for it in ["172.32.0.1", "8.8.8.8", "2001:db8::1", "169.254.1.1"] {
            assert!(!is_private(it.parse().unwrap()), "{it}");
        }
    }
}
