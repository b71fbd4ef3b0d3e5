//! The router against the rules as they are documented, each domain and route looked at in turn,
//! over committed tables and over what random edits make of them.

use codec::message::HeaderMap;
use http::{HeaderName, HeaderValue};
use proptest::prelude::*;
use proxy_config::{HeaderMatch, PathMatch, Pattern, Route, RouteTable, ValueMatch, VirtualHost};
use serde::Deserialize;

use super::{Routed, Router};
use crate::matching::{Fields, RequestView};
use crate::template::UriTemplate;

const CORPUS: &[(&str, &str)] = &[
    ("edge", include_str!("../../corpus/router/edge.json")),
    ("mesh", include_str!("../../corpus/router/mesh.json")),
    ("nested", include_str!("../../corpus/router/nested.json")),
    ("odd", include_str!("../../corpus/router/odd.json")),
];

#[derive(Deserialize)]
struct Case {
    table: RouteTable,
    requests: Vec<Asked>,
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    method: Option<String>,
    host: String,
    target: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    random: u32,
    /// Name of the route; `None` when there is none.
    route: Option<String>,
}

impl Asked {
    fn headers(&self) -> HeaderMap {
        let line = |(name, value): &(String, String)| {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            Some((name, HeaderValue::from_str(value).ok()?))
        };
        self.headers.iter().filter_map(line).collect()
    }

    fn view<'a>(&'a self, fields: &'a HeaderMap) -> RequestView<'a, HeaderMap> {
        let (path, query) = match self.target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (self.target.as_str(), None),
        };
        RequestView {
            method: self.method.as_deref().unwrap_or("GET"),
            path,
            query,
            host: &self.host,
            is_tls: true,
            fields,
            random: self.random,
        }
    }
}

#[test]
fn committed_tables_route_as_they_say() {
    for (name, text) in CORPUS {
        let case: Case = serde_json::from_str(text).unwrap();
        for asked in &case.requests {
            let fields = asked.headers();
            let found = check_like_the_rules(&case.table, &asked.view(&fields));
            assert_eq!(found, asked.route, "{name}: {} {}", asked.host, asked.target);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]
    #[test]
    fn edited_tables_route_as_the_rules_say(
        nth in 0..CORPUS.len(),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        const BYTES: &[u8] = b"/*{}=.ab?|+()[]\\^$-\"0A:%";
        let mut text = CORPUS[nth].1.as_bytes().to_vec();
        for (at, byte) in edits {
            let at = at.index(text.len());
            text[at] = BYTES[usize::from(byte) % BYTES.len()];
        }
        if let Ok(case) = serde_json::from_slice::<Case>(&text) {
            for asked in &case.requests {
                let fields = asked.headers();
                check_like_the_rules(&case.table, &asked.view(&fields));
            }
        }
    }
}

/// Fails when the router, its explanation and the rules disagree; the name of the route.
pub(super) fn check_like_the_rules(
    table: &RouteTable,
    asked: &RequestView<'_, HeaderMap>,
) -> Option<String> {
    let router = Router::new(table);
    // The rules are written for a host as it is looked up.
    let host = crate::normalized_host(asked.host);
    let expected = match virtual_host(table, &host) {
        None => Err(Routed::NoHost),
        Some(host) => host
            .routes
            .iter()
            .find(|it| !is_broken(it, table, host) && matches(it, asked))
            .ok_or(Routed::NoRoute),
    };
    let is_plain_host = table.virtual_hosts.iter().all(|it| !it.require_tls) || asked.is_tls;
    assert!(is_plain_host);
    let found = match router.route(asked) {
        Routed::Route(idx) => Ok(&router.routes()[idx]),
        other => Err(other),
    };
    assert_eq!(found.map(|it| &it.name), expected.map(|it| &it.name), "{asked:?}");
    let explained = router.explain_request(asked).route.map(|it| it.name);
    assert_eq!(explained.as_ref(), expected.ok().map(|it| &it.name), "{asked:?}");
    explained
}

/// What the router reports is not judged here again, except that it must be deliberate: a route
/// without any text that can be wrong is never broken.
fn is_broken(route: &Route, table: &RouteTable, host: &VirtualHost) -> bool {
    let alone = VirtualHost { routes: vec![route.clone()], ..host.clone() };
    let table = RouteTable { virtual_hosts: vec![alone], ..table.clone() };
    Router::check(&table).iter().any(|it| it.disables_route)
}

fn virtual_host<'a>(table: &'a RouteTable, host: &str) -> Option<&'a VirtualHost> {
    // Kind of the match, then length: exact, suffix, prefix, any.
    let rank = |domain: &str| {
        if domain == "*" {
            return Some((0, 0));
        }
        let is_name = host.len() <= 255;
        let longer = |text: &str| is_name && host.len() > text.len();
        if let Some(suffix) = domain.strip_prefix('*') {
            return (longer(suffix) && host.ends_with(suffix)).then_some((2, suffix.len()));
        }
        if let Some(prefix) = domain.strip_suffix('*') {
            return (longer(prefix) && host.starts_with(prefix)).then_some((1, prefix.len()));
        }
        (domain == host).then_some((3, 0))
    };
    let hosts = table.virtual_hosts.iter().rev();
    hosts
        .flat_map(|it| it.domains.iter().filter_map(move |domain| Some((rank(domain)?, it))))
        .max_by_key(|(rank, _)| *rank)
        .map(|(_, host)| host)
}

fn matches(route: &Route, asked: &RequestView<'_, HeaderMap>) -> bool {
    let conditions = &route.conditions;
    path_matches(&route.path, conditions.ignore_path_case, asked.path)
        && (conditions.methods.is_empty() || conditions.methods.iter().any(|it| it == asked.method))
        && (!conditions.connect || asked.method == "CONNECT")
        && (!conditions.grpc || asked.is_grpc())
        && conditions.per_million.is_none_or(|share| asked.random % 1_000_000 < share)
        && conditions.headers.iter().all(|it| header_matches(it, asked))
        && conditions.query.iter().all(|it| {
            let parameters = asked.query.unwrap_or_default().split('&').filter(|it| !it.is_empty());
            let mut pairs = parameters.map(|it| it.split_once('=').unwrap_or((it, "")));
            pairs
                .find(|(name, _)| *name == it.name)
                .is_some_and(|(_, v)| value_matches(&it.value, v))
        })
}

fn path_matches(condition: &PathMatch, fold: bool, path: &str) -> bool {
    let case = |text: &str| if fold { text.to_ascii_lowercase() } else { text.to_owned() };
    match condition {
        PathMatch::Exact(whole) => case(path) == case(whole),
        PathMatch::Prefix(prefix) => case(path).starts_with(&case(prefix)),
        PathMatch::PathPrefix(prefix) => {
            let prefix = case(prefix.strip_suffix('/').unwrap_or(prefix));
            case(path) == prefix || case(path).starts_with(&format!("{prefix}/"))
        }
        PathMatch::Regex(pattern) => {
            let whole = regex::bytes::Regex::new(&format!("^(?:{pattern})$")).unwrap();
            whole.is_match(path.as_bytes())
        }
        PathMatch::Template(template) => UriTemplate::new(template).unwrap().matches(path),
    }
}

fn header_matches(condition: &HeaderMatch, asked: &RequestView<'_, HeaderMap>) -> bool {
    let value = match condition.name.to_ascii_lowercase().as_str() {
        ":path" => Some(match asked.query {
            Some(query) => format!("{}?{query}", asked.path),
            None => asked.path.to_owned(),
        }),
        ":method" => Some(asked.method.to_owned()),
        ":authority" | "host" => Some(asked.host.to_owned()),
        ":scheme" => Some("https".to_owned()),
        name => {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            let values: Vec<&str> =
                asked.fields.all(&name).map(|it| std::str::from_utf8(it).unwrap()).collect();
            (!values.is_empty()).then(|| values.join(","))
        }
    };
    let value = if condition.missing_as_empty { Some(value.unwrap_or_default()) } else { value };
    match value {
        Some(value) => value_matches(&condition.value, &value) != condition.invert,
        None => condition.invert && condition.value.pattern == Pattern::Present,
    }
}

fn value_matches(condition: &ValueMatch, value: &str) -> bool {
    let case = |text: &str| {
        if condition.ignore_case { text.to_ascii_lowercase() } else { text.to_owned() }
    };
    match &condition.pattern {
        Pattern::Present => true,
        Pattern::Exact(text) => case(value) == case(text),
        Pattern::Prefix(text) => case(value).starts_with(&case(text)),
        Pattern::Suffix(text) => case(value).ends_with(&case(text)),
        Pattern::Contains(text) => case(value).contains(&case(text)),
        Pattern::Regex(pattern) => {
            regex::Regex::new(&format!("^(?:{pattern})$")).unwrap().is_match(value)
        }
        Pattern::Range { start, end } => {
            value.parse::<i64>().is_ok_and(|it| *start <= it && it < *end)
        }
    }
}
