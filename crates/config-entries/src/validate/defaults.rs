use std::net::IpAddr;

use super::{Verdict, ensure, is_domain, passive_health_check};
use crate::view::{
    AccessLogs, Destination, ProxyDefaults, ServiceDefaults, UpstreamConfig, UpstreamLimits,
};

pub(super) fn service(name: &str, it: &ServiceDefaults) -> Verdict {
    ensure(!name.is_empty(), || "Name is required".to_owned())?;
    ensure(name != "*", || {
        "service-defaults name must be the name of a service, and not a wildcard".to_owned()
    })?;
    mode(&it.mode)?;
    mutual_tls(&it.mutual_tls_mode)?;
    mesh_gateway(&it.mesh_gateway.mode)?;
    let balance = &it.balance_inbound_connections;
    ensure(is_connection_balance(balance), || {
        format!("invalid value for balance_inbound_connections: {balance}")
    })?;
    ensure(it.rate_limits.is_none(), || {
        "RateLimits of service-defaults is a Consul Enterprise feature".to_owned()
    })?;
    ensure(it.upstream_config.is_none() || it.destination.is_none(), || {
        "UpstreamConfig and Destination are mutually exclusive for service defaults".to_owned()
    })?;
    for number in
        [it.max_inbound_connections, it.local_connect_timeout_ms, it.local_request_timeout_ms]
    {
        ensure((0..=i64::from(u32::MAX)).contains(&number), || {
            format!("{number} is out of range: must be between 0 and {}", u32::MAX)
        })?;
    }
    if let Some(upstreams) = &it.upstream_config {
        for upstream in &upstreams.overrides {
            named_upstream(upstream).map_err(|why| {
                format!("error in upstream override for {}: {why}", upstream.name)
            })?;
        }
        if let Some(defaults) = &upstreams.defaults {
            let unnamed = ensure(defaults.name.is_empty(), || "Name must be empty".to_owned());
            unnamed
                .and_then(|()| upstream(defaults))
                .map_err(|why| format!("error in upstream defaults: {why}"))?;
        }
    }
    it.destination.as_ref().map_or(Ok(()), destination)
}

pub(super) fn proxy(name: &str, it: &ProxyDefaults) -> Verdict {
    ensure(name == "global", || {
        let name = model::go::quote(name);
        format!("invalid name ({name}), only \"global\" is supported")
    })?;
    mode(&it.mode)?;
    mutual_tls(&it.mutual_tls_mode)?;
    mesh_gateway(&it.mesh_gateway.mode)?;
    access_logs(&it.access_logs)?;
    let policy = it.failover_policy.as_ref().map_or("", |it| it.mode.as_str());
    ensure(is_failover_mode(policy), || {
        "Failover policy must be one of '', 'sequential', or 'order-by-locality'".to_owned()
    })
}

/// Consul calls the first two the same; `default` is what older versions wrote for it.
pub(super) fn is_failover_mode(mode: &str) -> bool {
    matches!(mode, "" | "sequential" | "default" | "order-by-locality")
}

fn mode(mode: &str) -> Verdict {
    ensure(matches!(mode, "" | "transparent" | "direct"), || {
        format!("Mode must be one of '', 'transparent', or 'direct', not '{mode}'")
    })
}

fn mutual_tls(mode: &str) -> Verdict {
    ensure(matches!(mode, "" | "strict" | "permissive"), || {
        format!(
            "Invalid MutualTLSMode: invalid mutual TLS mode '{mode}'; must be one of '', 'strict', or 'permissive'"
        )
    })
}

fn mesh_gateway(mode: &str) -> Verdict {
    ensure(matches!(mode, "" | "none" | "local" | "remote"), || {
        format!(
            "Invalid MeshGateway.Mode '{mode}': must be one of '', 'none', 'local', or 'remote'"
        )
    })
}

fn access_logs(it: &AccessLogs) -> Verdict {
    ensure(matches!(it.r#type.as_str(), "" | "file" | "stderr" | "stdout"), || {
        format!("invalid access log type: {}", it.r#type)
    })?;
    ensure(it.json_format.is_empty() || it.text_format.is_empty(), || {
        "cannot specify both access log JSONFormat and TextFormat".to_owned()
    })?;
    ensure(it.r#type != "file" || !it.path.is_empty(), || {
        "path must be specified when using file type access logs".to_owned()
    })?;
    ensure(it.r#type == "file" || it.path.is_empty(), || {
        "path is only valid for file type access logs".to_owned()
    })?;
    let is_json = it.json_format.is_empty()
        || serde_json::from_str::<serde_json::Value>(&it.json_format).is_ok();
    ensure(is_json, || "invalid access log json for JSON format".to_owned())
}

fn named_upstream(it: &UpstreamConfig) -> Verdict {
    ensure(!it.name.is_empty(), || "Name is required".to_owned())?;
    ensure(it.name != "*", || "Wildcard name is not supported".to_owned())?;
    upstream(it)
}

fn upstream(it: &UpstreamConfig) -> Verdict {
    passive_health_check(it.passive_health_check.as_ref())?;
    it.limits.as_ref().map_or(Ok(()), limits)?;
    mesh_gateway(&it.mesh_gateway.mode)?;
    let balance = &it.balance_outbound_connections;
    ensure(is_connection_balance(balance), || {
        format!("invalid value for balance_outbound_connections: {balance}")
    })
}

fn limits(it: &UpstreamLimits) -> Verdict {
    let all = [
        ("max connections", it.max_connections),
        ("max pending requests", it.max_pending_requests),
        ("max concurrent requests", it.max_concurrent_requests),
    ];
    for (name, value) in all {
        ensure(value.is_none_or(|it| it >= 0), || format!("{name} cannot be negative"))?;
    }
    Ok(())
}

fn is_connection_balance(word: &str) -> bool {
    matches!(word, "" | "exact_balance")
}

fn destination(it: &Destination) -> Verdict {
    ensure(!it.addresses.is_empty(), || {
        "Destination must contain at least one valid address".to_owned()
    })?;
    for (idx, address) in it.addresses.iter().enumerate() {
        ensure(!it.addresses[..idx].contains(address), || {
            format!("Duplicate address '{address}' is not allowed")
        })?;
        let is_valid =
            address.parse::<IpAddr>().is_ok() || (is_domain(address) && !address.contains('*'));
        ensure(is_valid, || {
            format!(
                "Destination address '{address}' is invalid Could not validate address {address} as an IP or Hostname"
            )
        })?;
    }
    ensure((1..=65535).contains(&it.port), || format!("Invalid Port number {}", it.port))
}
