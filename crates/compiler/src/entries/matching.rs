//! Conditions, header changes, retries and hashes of entries, in the words of the contract.

use config_entries::view::{self, HeaderModifiers, HttpMatch, LoadBalancer, RouteDestination};
use proxy_config::{
    Conditions, HashInput, HashPolicy, HeaderChange, HeaderChanges, HeaderMatch, PathMatch,
    Pattern, QueryMatch, RetryOn, RetryPolicy, ValueMatch,
};

/// The condition on the path; any path where there is none.
pub(super) fn path(http: &HttpMatch) -> PathMatch {
    if !http.path_exact.is_empty() {
        PathMatch::Exact(http.path_exact.clone())
    } else if !http.path_regex.is_empty() {
        PathMatch::Regex(http.path_regex.clone())
    } else if !http.path_prefix.is_empty() {
        PathMatch::Prefix(http.path_prefix.clone())
    } else {
        PathMatch::Prefix("/".to_owned())
    }
}

pub(super) fn conditions(http: &HttpMatch) -> Conditions {
    Conditions {
        ignore_path_case: http.case_insensitive,
        methods: http.methods.clone(),
        headers: http.header.iter().map(header).collect(),
        query: http.query_param.iter().map(query).collect(),
        ..Conditions::default()
    }
}

fn header(it: &view::HeaderMatch) -> HeaderMatch {
    let texts = [
        (&it.exact, Pattern::Exact as fn(String) -> Pattern),
        (&it.prefix, Pattern::Prefix),
        (&it.suffix, Pattern::Suffix),
        (&it.contains, Pattern::Contains),
        (&it.regex, Pattern::Regex),
    ];
    let given = texts.into_iter().find(|(text, _)| !text.is_empty());
    let pattern = given.map_or(Pattern::Present, |(text, pattern)| pattern(text.clone()));
    HeaderMatch {
        name: it.name.to_lowercase(),
        value: ValueMatch { pattern, ignore_case: it.ignore_case },
        invert: it.invert,
        missing_as_empty: false,
    }
}

fn query(it: &view::QueryMatch) -> QueryMatch {
    let pattern = if !it.exact.is_empty() {
        Pattern::Exact(it.exact.clone())
    } else if !it.regex.is_empty() {
        Pattern::Regex(it.regex.clone())
    } else {
        Pattern::Present
    };
    QueryMatch { name: it.name.clone(), value: ValueMatch { pattern, ignore_case: false } }
}

/// Both directions, each as Envoy does it: first what is taken away, then what takes the place of something, then what
/// is added.
pub(super) fn headers(
    request: Option<&HeaderModifiers>,
    response: Option<&HeaderModifiers>,
) -> HeaderChanges {
    HeaderChanges { request: changes(request), response: changes(response) }
}

fn changes(modifiers: Option<&HeaderModifiers>) -> Vec<HeaderChange> {
    let Some(HeaderModifiers { add, set, remove }) = modifiers else { return Vec::new() };
    let removed = remove.iter().map(|name| HeaderChange::Remove(name.to_lowercase()));
    let set =
        set.iter().map(|(name, value)| HeaderChange::Overwrite(name.to_lowercase(), value.clone()));
    let added =
        add.iter().map(|(name, value)| HeaderChange::Append(name.to_lowercase(), value.clone()));
    removed.chain(set).chain(added).collect()
}

/// What a route says is added to what is tried again everywhere: that nothing can have been done twice.
pub(super) fn retry(it: &RouteDestination) -> RetryPolicy {
    let mut policy = RetryPolicy::default();
    // Names that are none were refused when the entry was written.
    let (given, _) = RetryOn::parse(&it.retry_on.join(","));
    policy.on = policy.on.and(given);
    if it.retry_on_connect_failure {
        policy.on = policy.on.and(RetryOn::CONNECT_FAILURE);
    }
    let codes = it.retry_on_status_codes.iter().filter_map(|it| u16::try_from(*it).ok());
    policy.status_codes = codes.collect();
    if !policy.status_codes.is_empty() {
        policy.on = policy.on.and(RetryOn::RETRIABLE_STATUS_CODES);
    }
    if let Ok(number @ 1..) = u32::try_from(it.num_retries) {
        policy.retries_max = number;
    }
    policy
}

/// What requests are hashed by, where the policy is a consistent one.
pub(super) fn hash(load_balancer: &LoadBalancer) -> Vec<HashPolicy> {
    if !load_balancer.is_hash_based() {
        return Vec::new();
    }
    let policies = load_balancer.hash_policies.iter();
    policies
        .filter_map(|it| Some(HashPolicy { input: hash_input(it)?, terminal: it.terminal }))
        .collect()
}

fn hash_input(it: &view::HashPolicy) -> Option<HashInput> {
    let name = it.field_value.clone();
    Some(match it.field.as_str() {
        "" if it.source_ip => HashInput::SourceIp,
        "header" => HashInput::Header { name: name.to_lowercase(), rewrite: None },
        "query_parameter" => HashInput::Query(name),
        "cookie" => {
            let config = it.cookie_config.as_ref();
            let given = config.filter(|it| it.session || !it.ttl.is_zero());
            HashInput::Cookie {
                name,
                // A session's is zero.
                ttl: given.map(|it| it.ttl),
                path: config.map(|it| it.path.clone()).unwrap_or_default(),
            }
        }
        _ => return None,
    })
}
