//! Cookies that keep a client at an endpoint.

use std::time::Duration;

use codec::message::HeaderMap;
use http::HeaderValue;
use http::header::SET_COOKIE;
use proxy_config::CookieAffinity;
use traffic::{EndpointState, NewCookie, affinity_cookie, read_affinity_cookie};

use super::facts;

/// Which endpoint a client keeps, and what it is given so that it does.
#[derive(Default)]
pub(super) struct Sticky {
    /// Address of the endpoint that it keeps.
    pub(super) address: Option<String>,
    /// What a consistent hash is made of and the client did not have.
    pub(super) given: Vec<NewCookie>,
}

impl Sticky {
    pub(super) fn read(&mut self, affinity: &CookieAffinity, headers: &HeaderMap) {
        let value = facts::cookie(headers, &affinity.name);
        self.address = value.and_then(|it| read_affinity_cookie(it, unix_seconds()));
    }

    /// Adds what the client is given to the head of a response of `endpoint`.
    pub(super) fn write(
        &self,
        affinity: Option<&CookieAffinity>,
        endpoint: &EndpointState,
        headers: &mut HeaderMap,
    ) {
        for new in &self.given {
            add(headers, &new.name, &new.value, new.ttl, &new.path);
        }
        let Some(affinity) = affinity else { return };
        let address = endpoint.address();
        if self.address.as_ref() == Some(&address) {
            return;
        }
        let ttl = affinity.ttl;
        let ends = (!ttl.is_zero()).then(|| unix_seconds().saturating_add(ttl.as_secs()));
        add(headers, &affinity.name, &affinity_cookie(&address, ends), ttl, &affinity.path);
    }
}

/// As Envoy writes it.
fn add(headers: &mut HeaderMap, name: &str, value: &str, ttl: Duration, path: &str) {
    let mut text = format!("{name}=\"{value}\"");
    if !ttl.is_zero() {
        text.push_str(&format!("; Max-Age={}", ttl.as_secs()));
    }
    if !path.is_empty() {
        text.push_str("; Path=");
        text.push_str(path);
    }
    text.push_str("; HttpOnly");
    // A configured name or path that is no text is left to the validator.
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.append(SET_COOKIE, value);
    }
}

pub(super) fn unix_seconds() -> u64 {
    runtime::unix_ms() / 1000
}
