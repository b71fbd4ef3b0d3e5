//! Routers, splitters, redirects and failover.

use std::time::Duration;

use proxy_config::{
    Conditions, HeaderChange, HeaderMatch, PathRewrite, Pattern, QueryMatch, RetryOn, ValueMatch,
};

use super::*;

fn router(routes: &Value) -> Value {
    json!({"Kind": "service-router", "Name": "web", "Routes": routes})
}

/// The route that a router's only route becomes.
fn routed(route: &Value) -> Route {
    let mut world = world(&[http("web"), versions("web"), router(&json!([route]))]);
    let compiled = world.compile();
    assert_eq!(messages(&compiled), [""; 0]);
    let [first, last] = routes_of(&compiled, "web") else { panic!("one route and the default") };
    assert_eq!((last.name.as_str(), &last.path), ("web[default]", &PathMatch::Prefix("/".into())));
    assert_eq!(forward(last).cluster, ClusterChoice::One("web".into()));
    assert_eq!(first.name, "web[0]");
    first.clone()
}

fn value(pattern: Pattern) -> ValueMatch {
    ValueMatch { pattern, ignore_case: false }
}

#[test]
fn a_router_matches_paths() {
    for (http, path, ignore_path_case) in [
        (json!({"PathExact": "/a"}), PathMatch::Exact("/a".into()), false),
        (json!({"PathPrefix": "/a"}), PathMatch::Prefix("/a".into()), false),
        (json!({"PathRegex": "/[ab]+"}), PathMatch::Regex("/[ab]+".into()), false),
        (
            json!({"PathPrefix": "/a", "CaseInsensitive": true}),
            PathMatch::Prefix("/a".into()),
            true,
        ),
        (json!({"Methods": ["get"]}), PathMatch::Prefix("/".into()), false),
    ] {
        let route = routed(&json!({"Match": {"HTTP": http}}));
        assert_eq!(route.path, path);
        assert_eq!(route.conditions.ignore_path_case, ignore_path_case, "{http}");
    }
}

#[test]
fn a_router_matches_headers_queries_and_methods() {
    let header = |pattern, invert| HeaderMatch {
        name: "x-a".into(),
        value: value(pattern),
        invert,
        missing_as_empty: false,
    };
    let query = |pattern| QueryMatch { name: "Q".into(), value: value(pattern) };
    for (given, expected) in [
        (json!({"Present": true}), header(Pattern::Present, false)),
        (json!({"Present": true, "Invert": true}), header(Pattern::Present, true)),
        (json!({"Exact": "A"}), header(Pattern::Exact("A".into()), false)),
        (json!({"Prefix": "A"}), header(Pattern::Prefix("A".into()), false)),
        (json!({"Suffix": "A"}), header(Pattern::Suffix("A".into()), false)),
        (json!({"Regex": "A+", "Invert": true}), header(Pattern::Regex("A+".into()), true)),
    ] {
        let mut given = given;
        given["Name"] = json!("X-A");
        let route = routed(&json!({"Match": {"HTTP": {"Header": [given]}}}));
        assert_eq!(route.conditions.headers, [expected]);
    }
    for (given, expected) in [
        (json!({"Name": "Q", "Present": true}), query(Pattern::Present)),
        (json!({"Name": "Q", "Exact": "1"}), query(Pattern::Exact("1".into()))),
        (json!({"Name": "Q", "Regex": "1+"}), query(Pattern::Regex("1+".into()))),
    ] {
        let route = routed(&json!({"Match": {"HTTP": {"QueryParam": [given]}}}));
        assert_eq!(route.conditions.query, [expected]);
    }
    let route = routed(&json!({"Match": {"HTTP": {"Methods": ["get", "PUT"]}}}));
    assert_eq!(route.conditions.methods, ["GET", "PUT"]);
    assert_eq!(routed(&json!({})).conditions, Conditions::default());
}

#[test]
fn a_router_says_where_a_request_goes_and_how_long_it_may_take() {
    let seconds = Duration::from_secs;
    let (of_all, keep) = (settings().request_timeout, PathRewrite::Keep);
    for (destination, cluster, timeout, idle, path) in [
        (json!({}), "web", of_all, None, keep.clone()),
        (json!({"Service": "api"}), "api", of_all, None, keep.clone()),
        (json!({"ServiceSubset": "v2"}), "web/v2", of_all, None, keep.clone()),
        (json!({"RequestTimeout": "3s"}), "web", seconds(3), None, keep.clone()),
        (json!({"IdleTimeout": "9s"}), "web", of_all, Some(seconds(9)), keep),
        (json!({"PrefixRewrite": "/b"}), "web", of_all, None, PathRewrite::Prefix("/b".into())),
    ] {
        let route = json!({"Match": {"HTTP": {"PathPrefix": "/a"}}, "Destination": destination});
        let mut world = world(&[
            json!({"Kind": "proxy-defaults", "Name": "global", "Config": {"protocol": "http"}}),
            versions("web"),
            router(&json!([route])),
        ]);
        let compiled = world.compile();
        let made = forward(&routes_of(&compiled, "web")[0]).clone();
        assert_eq!(made.cluster, ClusterChoice::One(cluster.into()), "{destination}");
        assert_eq!((made.timeout, made.idle_timeout), (timeout, idle), "{destination}");
        assert_eq!(made.path, path, "{destination}");
        assert!(compiled.config.clusters.contains_key(cluster));
    }
}

#[test]
fn a_router_says_what_is_tried_again() {
    let connect = RetryOn::CONNECT_FAILURE;
    for (destination, on, number, codes) in [
        (json!({}), RetryOn::NONE, 1, vec![]),
        (json!({"NumRetries": 5}), RetryOn::NONE, 5, vec![]),
        (json!({"RetryOnConnectFailure": true}), connect, 1, vec![]),
        (
            json!({"NumRetries": 2, "RetryOnStatusCodes": [503, 429]}),
            RetryOn::RETRIABLE_STATUS_CODES,
            2,
            vec![503, 429],
        ),
        (
            json!({"RetryOn": ["5xx", "unavailable"]}),
            RetryOn::STATUS_5XX.and(RetryOn::GRPC_UNAVAILABLE),
            1,
            vec![],
        ),
    ] {
        let retry = forward(&routed(&json!({"Destination": destination}))).retry.clone();
        assert_eq!(retry.on, RetryOn::SAFE.and(on), "{destination}");
        assert_eq!((retry.retries_max, retry.status_codes), (number, codes), "{destination}");
    }
}

#[test]
fn routers_and_splitters_change_headers() {
    let modifiers = json!({"Add": {"X-Add": "1"}, "Set": {"X-Set": "2"}, "Remove": ["X-Gone"]});
    let expected = [
        HeaderChange::Remove("x-gone".into()),
        HeaderChange::Overwrite("x-set".into(), "2".into()),
        HeaderChange::Append("x-add".into(), "1".into()),
    ];
    let both = json!({"RequestHeaders": modifiers, "ResponseHeaders": modifiers});
    let route = routed(&json!({"Destination": both}));
    assert_eq!(route.headers.request, expected);
    assert_eq!(route.headers.response, expected);
    let mut leg = both;
    leg["Weight"] = json!(100);
    let splitter = json!({"Kind": "service-splitter", "Name": "web", "Splits": [leg]});
    let compiled = world(&[http("web"), splitter]).compile();
    let ClusterChoice::Weighted(legs) = &forward(&routes_of(&compiled, "web")[0]).cluster else {
        panic!("a splitter is weighted")
    };
    assert_eq!(legs[0].headers.request, expected);
    assert_eq!(legs[0].headers.response, expected);
}

/// The legs of a route as `cluster weight`.
fn legs(route: &Route) -> Vec<String> {
    let ClusterChoice::Weighted(legs) = &forward(route).cluster else { panic!("not weighted") };
    legs.iter().map(|it| format!("{} {}", it.cluster, it.weight)).collect()
}

#[test]
fn a_splitter_divides_in_hundredths_also_behind_a_router_and_another_splitter() {
    let splitter = |name: &str, splits: Value| json!({"Kind": "service-splitter", "Name": name, "Splits": splits});
    let entries = [
        http("web"),
        http("api"),
        versions("web"),
        splitter(
            "web",
            json!([
                {"Weight": 99.95, "ServiceSubset": "v1"},
                {"Weight": 0.05, "ServiceSubset": "v2"},
            ]),
        ),
        splitter("api", json!([{"Weight": 50}, {"Weight": 50, "Service": "web"}])),
    ];
    let mut world = world(&entries);
    let compiled = world.compile();
    assert_eq!(legs(&routes_of(&compiled, "web")[0]), ["web/v1 9995", "web/v2 5"]);
    // 0.05 % of a half is rounded up to hundredths.
    assert_eq!(legs(&routes_of(&compiled, "api")[0]), ["api 5000", "web/v1 4998", "web/v2 3"]);
    world.put(entry(&router(&json!([{"Destination": {"RequestTimeout": "1s"}}]))));
    let compiled = world.compile();
    let first = &routes_of(&compiled, "web")[0];
    assert_eq!(legs(first), ["web/v1 9995", "web/v2 5"]);
    assert_eq!(forward(first).timeout, Duration::from_secs(1));
}

#[test]
fn a_redirect_leads_elsewhere_also_from_a_name_that_nobody_registered() {
    let redirect =
        |name: &str, to: Value| json!({"Kind": "service-resolver", "Name": name, "Redirect": to});
    let mut world = world(&[
        versions("web"),
        redirect("old", json!({"Service": "web", "ServiceSubset": "v2"})),
        redirect("older", json!({"Service": "old"})),
        redirect("far", json!({"Service": "web", "Datacenter": "dc2"})),
        redirect("peer", json!({"Service": "web", "Peer": "cloud"})),
    ]);
    let compiled = world.compile();
    for host in ["old", "older", "old.service.consul"] {
        assert_eq!(target(&compiled, host).name, "web/v2");
    }
    assert_eq!(by_priority(&compiled, "web/v2"), ["web-2 0"]);
    assert_eq!(routes_of(&compiled, "old")[0].source.object, "service-resolver/old");
    for host in ["far", "peer"] {
        let name = &target(&compiled, host).name;
        assert_eq!(by_priority(&compiled, name), [""; 0], "{name}");
    }
    let expected = [
        "far: Redirect.Datacenter: dc2 is not reached from here: requests get 503",
        "peer: Redirect.Peer: cloud is not reached from here: requests get 503",
    ];
    assert_eq!(messages(&compiled), expected);
}

#[test]
fn a_default_subset_holds_where_none_is_named() {
    let mut resolver = versions("web");
    resolver["DefaultSubset"] = json!("v1");
    let compiled = world(&[resolver]).compile();
    assert_eq!(target(&compiled, "web").name, "web/v1");
    assert_eq!(by_priority(&compiled, "web"), ["web-1 0", "web-2 0"]);
}

#[test]
fn failover_makes_priorities_and_leaves_out_what_is_elsewhere() {
    let failover = |targets: Value| {
        let mut resolver = versions("web");
        resolver["Failover"] = json!({"*": {"Targets": targets}});
        resolver["DefaultSubset"] = json!("v1");
        resolver
    };
    for (targets, expected, found) in [
        (json!([{"Service": "api"}]), vec!["web-1 0", "api-1 1"], vec![]),
        (
            json!([{"ServiceSubset": "v2"}, {"Service": "api"}]),
            vec!["web-1 0", "web-2 1", "api-1 2"],
            vec![],
        ),
        // One without instances leaves no gap.
        (json!([{"Service": "none"}, {"Service": "api"}]), vec!["web-1 0", "api-1 1"], vec![]),
        (
            json!([{"Service": "api", "Datacenter": "dc2"}, {"Service": "api", "Peer": "cloud"}]),
            vec!["web-1 0"],
            vec![
                "web: Failover[*].Targets[0].Datacenter: dc2 is not reached from here: it is left out",
                "web: Failover[*].Targets[1].Peer: cloud is not reached from here: it is left out",
            ],
        ),
    ] {
        let mut world = world(&[failover(targets.clone())]);
        let compiled = world.compile();
        assert_eq!(by_priority(&compiled, "web/v1"), expected, "{targets}");
        assert_eq!(messages(&compiled), found);
        let found = &compiled.config.endpoints["web/v1"];
        let is_all_or_nothing = found.overprovisioning_percent == 100_000;
        assert_eq!(is_all_or_nothing, expected.len() > 1);
    }
    let mut world = world(&[failover(json!([{"Service": "api"}]))]);
    world.compile();
    world.delete(&ObjectKey::Instance(Folded::new("n1"), "web-1".into()));
    let compiled = world.compile();
    assert_eq!(by_priority(&compiled, "web/v1"), ["api-1 0"]);
}
