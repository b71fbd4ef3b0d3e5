use model::go::quote;

use super::{Verdict, defaults, ensure};
use crate::view::{Failover, HashPolicy, LoadBalancer, Redirect, Resolver};

/// Longest filter of a subset: what reads take, too.
const FILTER_BYTES_MAX: usize = 8192;
/// Longest name of a subset: that of a part of a DNS name.
const SUBSET_BYTES_MAX: usize = 63;

pub(super) fn resolver(name: &str, it: &Resolver) -> Verdict {
    ensure(!name.is_empty(), || "Name is required".to_owned())?;
    for (subset, definition) in &it.subsets {
        ensure(!subset.is_empty(), || "Subset defined with empty name".to_owned())?;
        subset_name(subset).map_err(|why| format!("Subset {} is invalid: {why}", quote(subset)))?;
        let filter = &definition.filter;
        ensure(filter.len() <= FILTER_BYTES_MAX, || {
            format!("Filter for subset {} is longer than {FILTER_BYTES_MAX} bytes", quote(subset))
        })?;
        filter::check_syntax(filter).map_err(|why| {
            format!("Filter for subset {} is not a valid expression: {why}", quote(subset))
        })?;
    }
    let default = &it.default_subset;
    ensure(default.is_empty() || it.subsets.contains_key(default), || {
        format!("DefaultSubset {} is not a valid subset", quote(default))
    })?;
    if let Some(it_redirects) = &it.redirect {
        redirect(name, it, it_redirects)?;
    }
    for (subset, definition) in &it.failover {
        failover(name, it, subset, definition)
            .map_err(|why| format!("Bad Failover[{}]{why}", quote(subset)))?;
    }
    ensure(it.connect_timeout >= 0, || "Bad ConnectTimeout: must be >= 0".to_owned())?;
    ensure(it.request_timeout >= 0, || "Bad RequestTimeout: must be >= 0".to_owned())?;
    it.load_balancer.as_ref().map_or(Ok(()), load_balancer)
}

fn subset_name(name: &str) -> Verdict {
    let is_inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = name.as_bytes();
    let is_valid = bytes.len() <= SUBSET_BYTES_MAX
        && bytes.first().is_some_and(|it| is_inner(*it))
        && bytes.last().is_some_and(|it| is_inner(*it))
        && bytes.iter().all(|it| is_inner(*it) || *it == b'-');
    ensure(is_valid, || {
        "must be 63 characters or fewer and consist of lower case letters, digits and dashes, \
         beginning and ending with a letter or digit"
            .to_owned()
    })
}

fn redirect(name: &str, resolver: &Resolver, it: &Redirect) -> Verdict {
    let says = |text: &str| Err(text.to_owned());
    ensure(it.sameness_group.is_empty(), || {
        "Redirect: sameness-groups are an enterprise-only feature".to_owned()
    })?;
    if !resolver.failover.is_empty() {
        return says("Redirect and Failover cannot both be set");
    }
    if *it == Redirect::default() {
        return says("Redirect is empty");
    }
    if !it.peer.is_empty() {
        let others = [
            ("Redirect.Peer cannot be set with Redirect.ServiceSubset", &it.service_subset),
            ("Redirect.Partition cannot be set with Redirect.Peer", &it.partition),
            ("Redirect.Peer cannot be set with Redirect.Datacenter", &it.datacenter),
        ];
        if let Some((text, _)) = others.iter().find(|it| !it.1.is_empty()) {
            return says(text);
        }
    }
    if it.service.is_empty() {
        let others = [
            ("ServiceSubset", &it.service_subset),
            ("Namespace", &it.namespace),
            ("Partition", &it.partition),
            ("Peer", &it.peer),
        ];
        if let Some((field, _)) = others.iter().find(|it| !it.1.is_empty()) {
            return says(&format!("Redirect.{field} defined without Redirect.Service"));
        }
    }
    let subset = &it.service_subset;
    let is_own = it.service.is_empty() || it.service == name;
    ensure(subset.is_empty() || !is_own || resolver.subsets.contains_key(subset), || {
        format!("Redirect.ServiceSubset {} is not a valid subset of {}", quote(subset), quote(name))
    })
}

/// What is wrong is said with what comes between it and `Bad Failover["x"]`.
fn failover(name: &str, resolver: &Resolver, subset: &str, it: &Failover) -> Verdict {
    let is_subset = |name: &String| resolver.subsets.contains_key(name);
    ensure(subset == "*" || resolver.subsets.contains_key(subset), || {
        ": not a valid subset subset".to_owned()
    })?;
    ensure(it.sameness_group.is_empty(), || {
        ": sameness-groups are an enterprise-only feature".to_owned()
    })?;
    let is_empty = [&it.service, &it.service_subset, &it.namespace].iter().all(|it| it.is_empty())
        && it.datacenters.is_empty()
        && it.targets.is_empty();
    ensure(!is_empty, || {
        ": one of Service, ServiceSubset, Namespace, Targets, SamenessGroup, or Datacenters is required".to_owned()
    })?;
    let mode = it.policy.as_ref().map_or("", |it| it.mode.as_str());
    ensure(defaults::is_failover_mode(mode), || {
        ": Policy must be one of '', 'sequential', or 'order-by-locality'".to_owned()
    })?;
    let is_own = |service: &String| service.is_empty() || service == name;
    ensure(
        it.service_subset.is_empty() || !is_own(&it.service) || is_subset(&it.service_subset),
        || {
            format!(
                ": ServiceSubset {} is not a valid subset of {}",
                quote(&it.service_subset),
                quote(&it.service)
            )
        },
    )?;
    if !it.targets.is_empty() {
        ensure(it.datacenters.is_empty(), || {
            ": Targets cannot be set with Datacenters".to_owned()
        })?;
        ensure(it.service_subset.is_empty(), || {
            ": Targets cannot be set with ServiceSubset".to_owned()
        })?;
        ensure(it.service.is_empty(), || ": Targets cannot be set with Service".to_owned())?;
    }
    for (idx, target) in it.targets.iter().enumerate() {
        let has_peer = !target.peer.is_empty();
        let wrong = [
            (
                has_peer && !target.service_subset.is_empty(),
                "Peer cannot be set with ServiceSubset",
            ),
            (has_peer && !target.partition.is_empty(), "Partition cannot be set with Peer"),
            (has_peer && !target.datacenter.is_empty(), "Peer cannot be set with Datacenter"),
            (
                !target.partition.is_empty() && !target.datacenter.is_empty(),
                "Partition cannot be set with Datacenter",
            ),
        ];
        if let Some((_, text)) = wrong.iter().find(|it| it.0) {
            return Err(format!(".Targets[{idx}]: {text}"));
        }
        let subset = &target.service_subset;
        ensure(subset.is_empty() || !is_own(&target.service) || is_subset(subset), || {
            format!(
                ".Targets[{idx}]: ServiceSubset {} is not a valid subset of {}",
                quote(subset),
                quote(name)
            )
        })?;
    }
    ensure(it.datacenters.iter().all(|it| !it.is_empty()), || {
        ".Datacenters: found empty datacenter".to_owned()
    })
}

fn load_balancer(it: &LoadBalancer) -> Verdict {
    let policy = it.policy.as_str();
    let is_known =
        matches!(policy, "" | "random" | "round_robin" | "least_request" | "ring_hash" | "maglev");
    ensure(is_known, || format!("Bad LoadBalancer policy: {} is not supported", quote(policy)))?;
    ensure(policy == "ring_hash" || it.ring_hash_config.is_none(), || {
        format!(
            "Bad LoadBalancer configuration. RingHashConfig specified for incompatible load balancing policy {}",
            quote(policy)
        )
    })?;
    ensure(policy == "least_request" || it.least_request_config.is_none(), || {
        format!(
            "Bad LoadBalancer configuration. LeastRequestConfig specified for incompatible load balancing policy {}",
            quote(policy)
        )
    })?;
    ensure(it.is_hash_based() || it.hash_policies.is_empty(), || {
        format!(
            "Bad LoadBalancer configuration: HashPolicies specified for non-hash-based Policy: {}",
            quote(policy)
        )
    })?;
    let sizes =
        it.ring_hash_config.iter().flat_map(|it| [it.minimum_ring_size, it.maximum_ring_size]);
    let choices = it.least_request_config.iter().map(|it| it.choice_count);
    for number in sizes.chain(choices) {
        ensure((0..=i64::from(u32::MAX)).contains(&number), || {
            format!("Bad LoadBalancer configuration: {number} is out of range")
        })?;
    }
    for (idx, policy) in it.hash_policies.iter().enumerate() {
        hash_policy(policy).map_err(|why| format!("Bad LoadBalancer HashPolicy[{idx}]: {why}"))?;
    }
    Ok(())
}

fn hash_policy(it: &HashPolicy) -> Verdict {
    let field = quote(&it.field);
    ensure(matches!(it.field.as_str(), "" | "header" | "cookie" | "query_parameter"), || {
        format!("{field} is not a supported field")
    })?;
    ensure(!it.source_ip || it.field.is_empty(), || {
        format!("A single hash policy cannot hash both a source address and a {field}")
    })?;
    ensure(!it.source_ip || it.field_value.is_empty(), || {
        "A FieldValue cannot be specified when hashing SourceIP".to_owned()
    })?;
    ensure(it.field.is_empty() || !it.field_value.is_empty(), || {
        format!("Field {field} was specified without a FieldValue")
    })?;
    ensure(it.field_value.is_empty() || !it.field.is_empty(), || {
        "FieldValue requires a Field to apply to".to_owned()
    })?;
    let Some(cookie) = &it.cookie_config else { return Ok(()) };
    ensure(it.field == "cookie", || format!("cookie_config provided for {field}"))?;
    ensure(!cookie.session || cookie.ttl.is_zero(), || {
        "a session cookie cannot have an associated TTL".to_owned()
    })
}
