//! Subsets, load balancers, limits and timeouts.

use std::time::Duration;

use proxy_config::{
    Balancing, HashInput, HashPolicy, LeastRequest, Maglev, RingHash, UpstreamProtocol,
};

use super::*;

#[test]
fn a_subset_is_made_of_the_instances_that_its_filter_fits() {
    for (definition, expected) in [
        (json!({"Filter": "Service.Meta.version == 2"}), vec!["web-2 0"]),
        (json!({"Filter": "Service.ID matches \"web-.\""}), vec!["web-1 0", "web-2 0"]),
        (json!({"Filter": "Node.Node == other"}), vec![]),
        (json!({"Filter": "Checks.Status == warning"}), vec!["web-2 0"]),
        (json!({}), vec!["web-1 0", "web-2 0"]),
        (json!({"OnlyPassing": true}), vec!["web-1 0", "web-2! 0"]),
    ] {
        let resolver = json!({
            "Kind": "service-resolver", "Name": "web", "DefaultSubset": "some",
            "Subsets": {"some": definition},
        });
        let mut world = world(&[resolver]);
        world.put(check("1", "web-2", CheckStatus::Warning));
        let compiled = world.compile();
        assert_eq!(by_priority(&compiled, "web/some"), expected, "{definition}");
        assert_eq!(messages(&compiled), [""; 0]);
    }
}

#[test]
fn a_subset_does_not_take_the_name_of_a_service() {
    let mut resolver = versions("web");
    resolver["DefaultSubset"] = json!("v1");
    let mut world = world(&[resolver]);
    world.put(Object::Instance(instance("odd", "web/v1", 80)));
    let compiled = world.compile();
    assert_eq!(by_priority(&compiled, "web/v1"), ["odd 0"]);
    assert_eq!(target(&compiled, "web").name, "web/v1~");
    assert_eq!(by_priority(&compiled, "web/v1~"), ["web-1 0"]);
}

#[test]
fn a_resolver_chooses_the_policy() {
    let least = |choices| Balancing::LeastRequest(LeastRequest { choices, ..Default::default() });
    let ring = |size_min, size_max| {
        Balancing::RingHash(RingHash { size_min, size_max, ..RingHash::default() })
    };
    for (load_balancer, expected) in [
        (json!({"Policy": ""}), settings().balancing),
        (json!({"Policy": "random"}), Balancing::Random),
        (json!({"Policy": "round_robin"}), Balancing::Weighted),
        (json!({"Policy": "least_request"}), least(2)),
        (json!({"Policy": "least_request", "LeastRequestConfig": {"ChoiceCount": 3}}), least(3)),
        (json!({"Policy": "ring_hash"}), Balancing::RingHash(RingHash::default())),
        (
            json!({
                "Policy": "ring_hash",
                "RingHashConfig": {"MinimumRingSize": 10, "MaximumRingSize": 20},
            }),
            ring(10, 20),
        ),
        (json!({"Policy": "ring_hash", "RingHashConfig": {"MaximumRingSize": 20}}), ring(20, 20)),
        (json!({"Policy": "maglev"}), Balancing::Maglev(Maglev::default())),
    ] {
        let resolver =
            json!({"Kind": "service-resolver", "Name": "web", "LoadBalancer": load_balancer});
        let compiled = world(&[resolver]).compile();
        assert_eq!(target(&compiled, "web").balancing, expected, "{load_balancer}");
    }
}

#[test]
fn a_resolver_says_what_is_hashed() {
    let cookie = |ttl| HashInput::Cookie { name: "C".into(), ttl, path: "/p".into() };
    for (policy, input) in [
        (
            json!({"Field": "header", "FieldValue": "X-User"}),
            HashInput::Header { name: "x-user".into(), rewrite: None },
        ),
        (json!({"Field": "query_parameter", "FieldValue": "q"}), HashInput::Query("q".into())),
        (json!({"SourceIP": true}), HashInput::SourceIp),
        (
            json!({"Field": "cookie", "FieldValue": "C", "CookieConfig": {"TTL": "9s", "Path": "/p"}}),
            cookie(Some(Duration::from_secs(9))),
        ),
        (
            json!({
                "Field": "cookie", "FieldValue": "C", "CookieConfig": {"Session": true, "Path": "/p"},
            }),
            cookie(Some(Duration::ZERO)),
        ),
        (
            json!({"Field": "cookie", "FieldValue": "C", "CookieConfig": {"Path": "/p"}}),
            cookie(None),
        ),
    ] {
        for terminal in [false, true] {
            let mut policy = policy.clone();
            policy["Terminal"] = json!(terminal);
            let resolver = json!({
                "Kind": "service-resolver", "Name": "web",
                "LoadBalancer": {"Policy": "maglev", "HashPolicies": [policy]},
            });
            let compiled = world(&[resolver]).compile();
            let expected = HashPolicy { input: input.clone(), terminal };
            assert_eq!(forward(&routes_of(&compiled, "web")[0]).hash, [expected], "{policy}");
        }
    }
}

#[test]
fn timeouts_come_from_who_has_the_last_word() {
    let resolver = json!({
        "Kind": "service-resolver", "Name": "web", "ConnectTimeout": "2s", "RequestTimeout": "20s",
    });
    let defaults = |kind: &str| {
        json!({
            "Kind": "service-defaults", "Name": kind,
            "LocalConnectTimeoutMs": 3000, "LocalRequestTimeoutMs": 30000,
        })
    };
    let of_all = json!({
        "Kind": "proxy-defaults", "Name": "global",
        "Config": {"local_connect_timeout_ms": 4000, "local_request_timeout_ms": 4000.0},
    });
    let upstream = json!({
        "Kind": "service-defaults", "Name": "api",
        "UpstreamConfig": {"Overrides": [{"Name": "web", "ConnectTimeoutMs": 1500}]},
    });
    let own = settings();
    for (entries, connect, request) in [
        (vec![http("web")], own.connect_timeout.as_millis(), own.request_timeout.as_millis()),
        (vec![of_all.clone()], 4000, 4000),
        (vec![of_all.clone(), defaults("web")], 3000, 30_000),
        (vec![defaults("web"), resolver.clone()], 2000, 20_000),
        // Both hold.
        (vec![of_all, resolver.clone()], 2000, 4000),
        (vec![upstream, resolver], 1500, 20_000),
    ] {
        let compiled = world(&entries).compile();
        let found = forward(&routes_of(&compiled, "web")[0]).timeout;
        let connects = target(&compiled, "web").connect_timeout;
        assert_eq!((connects.as_millis(), found.as_millis()), (connect, request), "{entries:?}");
    }
}

#[test]
fn callers_limit_and_eject_whom_they_call() {
    let upstream = json!({
        "Kind": "service-defaults", "Name": "api",
        "UpstreamConfig": {"Overrides": [{
            "Name": "Web",
            "Limits": {
                "MaxConnections": 3, "MaxPendingRequests": 0, "MaxConcurrentRequests": 5,
            },
            "PassiveHealthCheck": {
                "Interval": "7s", "MaxFailures": 4, "EnforcingConsecutive5xx": 80,
                "MaxEjectionPercent": 50, "BaseEjectionTime": "40s",
            },
        }]},
    });
    let compiled = world(&[upstream]).compile();
    let cluster = target(&compiled, "web");
    assert_eq!(cluster.source.object, "service-defaults/api");
    let breakers = &cluster.breakers;
    let most = (breakers.connections_max, breakers.pending_max, breakers.requests_max);
    assert_eq!(most, (3, 0, 5));
    let outliers = &cluster.outliers;
    assert_eq!(outliers.interval, Duration::from_secs(7));
    let detector = outliers.consecutive_5xx;
    assert_eq!((detector.threshold, detector.enforcing_percent), (4, 80));
    assert_eq!(outliers.ejection_max_percent, 50);
    let forty = Duration::from_secs(40);
    assert_eq!((outliers.ejection_base, outliers.ejection_max), (forty, forty));
    let expected = "api: UpstreamConfig.Overrides[0]: holds for all who call web through the mesh \
                    listener, which does not tell callers apart";
    assert_eq!(messages(&compiled), [expected]);
}

#[test]
fn the_protocol_and_the_most_connections_are_those_of_the_service_or_of_all() {
    let of_all =
        |config: Value| json!({"Kind": "proxy-defaults", "Name": "global", "Config": config});
    for (body, protocol, connections) in [
        (http("web"), UpstreamProtocol::Http1, u32::MAX),
        (
            json!({"Kind": "service-defaults", "Name": "web", "Protocol": "tcp"}),
            UpstreamProtocol::Http1,
            u32::MAX,
        ),
        (
            json!({
                "Kind": "service-defaults", "Name": "web", "Protocol": "gRPC",
                "MaxInboundConnections": 9,
            }),
            UpstreamProtocol::Http2,
            9,
        ),
        (of_all(json!({"protocol": "http2"})), UpstreamProtocol::Http2, u32::MAX),
        (of_all(json!({"max_inbound_connections": "8"})), UpstreamProtocol::Http1, 8),
    ] {
        let compiled = world(std::slice::from_ref(&body)).compile();
        let cluster = target(&compiled, "web");
        assert_eq!(cluster.protocol, protocol, "{body}");
        assert_eq!(cluster.breakers.endpoint_connections_max, connections, "{body}");
    }
}
