//! Filters that the contract knows as a part of routes: session affinity, and the bound on bodies.

use proxy_config::{CookieAffinity, FilterSetting};

use super::super::fields::Field;
use super::super::schema;

pub(super) fn read(field: &Field<'_>) -> Option<FilterSetting<CookieAffinity>> {
    let mut it = field.message(&schema::STATEFUL_SESSION)?;
    let strict = it.is("strict");
    it.skip(&["stat_prefix"]);
    let Some(state) = it.take("session_state") else { return Some(FilterSetting::Off) };
    let mut state = state.message(&schema::TYPED_EXTENSION)?;
    state.required_text("name");
    let (kind, config) = state.required("typed_config")?.typed()?;
    if kind != "extensions.http.stateful_session.cookie.v3.CookieBasedSessionState" {
        config.ignored(format!("{kind} is not supported"), "use CookieBasedSessionState");
        return Some(FilterSetting::Off);
    }
    let mut session = config.message(&schema::COOKIE_SESSION)?;
    let mut cookie = session.required("cookie")?.message(&schema::COOKIE)?;
    Some(FilterSetting::On(CookieAffinity {
        name: cookie.required_text("name")?.to_owned(),
        ttl: cookie.duration("ttl").unwrap_or_default(),
        path: cookie.text("path").unwrap_or_default().to_owned(),
        strict,
    }))
}

pub(super) fn read_of_route(field: &Field<'_>) -> Option<FilterSetting<CookieAffinity>> {
    let mut it = field.message(&schema::STATEFUL_SESSION_PER_ROUTE)?;
    match it.required_one_of(&["disabled", "stateful_session"])? {
        ("disabled", _) => Some(FilterSetting::Off),
        (_, field) => read(&field),
    }
}

pub(super) fn read_buffer(field: &Field<'_>) -> Option<FilterSetting<u64>> {
    let mut it = field.message(&schema::BUFFER)?;
    let bytes = it.required("max_request_bytes")?.number_in(1..=i64::from(u32::MAX))?;
    field.approximated(
        "requests over max_request_bytes are refused, and shorter ones are not held back until they are whole",
        "remove it if the endpoints need whole requests",
    );
    Some(FilterSetting::On(u64::try_from(bytes).ok()?))
}

pub(super) fn read_buffer_of_route(field: &Field<'_>) -> Option<FilterSetting<u64>> {
    let mut it = field.message(&schema::BUFFER_PER_ROUTE)?;
    match it.required_one_of(&["disabled", "buffer"])? {
        ("disabled", _) => Some(FilterSetting::Off),
        (_, field) => read_buffer(&field),
    }
}
