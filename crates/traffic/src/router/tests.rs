use proptest::prelude::*;
use proxy_config::{PathMatch, Route, RouteAction, RouteTable, Source, VirtualHost};

use super::{Router, normalized_host};

fn route(name: &str, path: PathMatch) -> Route {
    let action = RouteAction::Respond { status: 200, body: format!("{name}\n") };
    let source = Source { object: format!("Ingress/{name}"), revision: model::Revision(3) };
    Route { source, ..Route::new(name, path, action) }
}

fn host(name: &str, domains: &[&str], routes: Vec<Route>) -> VirtualHost {
    let domains = domains.iter().map(|it| (*it).to_owned()).collect();
    VirtualHost { name: name.to_owned(), domains, routes, require_tls: false }
}

fn table() -> RouteTable {
    let all = |name: &str| vec![route(name, PathMatch::PathPrefix("/".to_owned()))];
    RouteTable {
        name: "ingress".to_owned(),
        virtual_hosts: vec![
            host("exact", &["a.example.com"], all("exact")),
            host("deep", &["*.b.example.com"], all("deep")),
            host("wide", &["*.example.com"], all("wide")),
            host("any", &["*"], all("any")),
        ],
    }
}

#[test]
fn the_longest_domain_wins() {
    let router = Router::new(&table());
    let check = |host: &str, expected: &str| {
        assert_eq!(router.find(host, "/x").unwrap().name, expected, "{host}");
    };
    check("a.example.com", "exact");
    check("A.Example.COM:8080", "exact");
    check("a.example.com.", "exact");
    check("x.b.example.com", "deep");
    check("y.x.b.example.com:80", "deep");
    check("b.example.com", "wide");
    check("example.com", "any");
    check(".example.com", "any");
    check("[::1]:80", "any");
    check("", "any");
}

#[test]
fn ports_case_and_final_dots_are_taken_off() {
    assert_eq!(normalized_host("Web:80"), "web");
    assert_eq!(normalized_host("[::1]:80"), "[::1]");
    assert_eq!(normalized_host("[::1]"), "[::1]");
    assert_eq!(normalized_host("::1"), "::1");
    assert_eq!(normalized_host("web."), "web");
    assert!(matches!(normalized_host("web:80"), std::borrow::Cow::Borrowed("web")));
}

#[test]
fn path_prefixes_are_whole_segments() {
    let check = |condition: &PathMatch, path: &str, expected: bool| {
        let routes = vec![route("r", condition.clone())];
        let virtual_hosts = vec![host("h", &["*"], routes)];
        let router = Router::new(&RouteTable { name: String::new(), virtual_hosts });
        assert_eq!(router.find("web", path).is_some(), expected, "{condition:?} {path}");
    };
    for pattern in ["/a", "/a/"] {
        let condition = PathMatch::PathPrefix(pattern.to_owned());
        for (path, expected) in [("/a", true), ("/a/", true), ("/a/b", true), ("/ab", false)] {
            check(&condition, path, expected);
        }
    }
    check(&PathMatch::PathPrefix("/".to_owned()), "/anything", true);
    check(&PathMatch::Prefix("/a".to_owned()), "/ab", true);
    check(&PathMatch::Exact("/a".to_owned()), "/a/", false);
}

#[test]
fn an_explanation_names_each_route_and_why() {
    let routes = vec![
        route("shop", PathMatch::PathPrefix("/shop".to_owned())),
        route("exact", PathMatch::Exact("/shopping".to_owned())),
        route("rest", PathMatch::Prefix("/".to_owned())),
        route("never", PathMatch::Prefix("/".to_owned())),
    ];
    let virtual_hosts = vec![host("web", &["*.example.com"], routes)];
    let router = Router::new(&RouteTable { name: "ingress".to_owned(), virtual_hosts });
    assert_eq!(
        router.explain("www.Example.com:80", "/shopping/x").to_string(),
        "route table ingress: host www.example.com, path /shopping/x\n  \
         virtual host web by domain *.example.com\n  \
         route shop [path under /shop] from Ingress/shop @ revision 3: \
         the path goes on within the last segment\n  \
         route exact [path = /shopping] from Ingress/exact @ revision 3: \
         the path is not exactly this\n  \
         route rest [path starts with /] from Ingress/rest @ revision 3: matches\n  \
         => respond 200: \"rest\"\n"
    );
    assert!(router.explain("example.org", "/").to_string().contains("no virtual host"));
    assert!(router.has_host("www.example.com") && !router.has_host("example.org"));
}

/// The documented rules, each domain and route looked at in turn.
fn naive<'a>(table: &'a RouteTable, host: &str, path: &str) -> Option<&'a Route> {
    let length = |domain: &str| match domain.strip_prefix('*') {
        None => (domain == host).then_some(usize::MAX),
        Some(suffix) => (domain == "*" || host.ends_with(suffix) && host.len() > suffix.len())
            .then_some(suffix.len()),
    };
    let domains = table.virtual_hosts.iter().rev();
    let best = domains
        .flat_map(|it| it.domains.iter().filter_map(move |d| Some((length(d)?, it))))
        .max_by_key(|(length, _)| *length)?
        .1;
    best.routes.iter().find(|route| match &route.path {
        PathMatch::Exact(whole) => path == whole,
        PathMatch::Prefix(prefix) => path.starts_with(prefix),
        PathMatch::PathPrefix(prefix) => {
            let segments = |path: &str| -> Vec<String> {
                path.trim_end_matches('/').split('/').map(str::to_owned).collect()
            };
            segments(path).starts_with(&segments(prefix))
        }
        PathMatch::Regex(_) | PathMatch::Template(_) => false,
    })
}

fn any_path() -> impl Strategy<Value = String> {
    proptest::collection::vec("[ab]{1,2}", 0..4).prop_map(|it| format!("/{}", it.join("/")))
}

fn any_domain() -> impl Strategy<Value = String> {
    let name = || proptest::collection::vec("[ab]", 1..4).prop_map(|it| it.join("."));
    prop_oneof![name(), name().prop_map(|it| format!("*.{it}")), Just("*".to_owned())]
}

fn any_condition() -> impl Strategy<Value = PathMatch> {
    prop_oneof![
        any_path().prop_map(PathMatch::Exact),
        any_path().prop_map(PathMatch::Prefix),
        any_path().prop_map(PathMatch::PathPrefix),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn the_router_does_what_the_rules_say(
        hosts in proptest::collection::vec(
            (proptest::collection::vec(any_domain(), 1..4),
             proptest::collection::vec(any_condition(), 0..5)), 0..5),
        host in "[ab](\\.[ab]){0,4}",
        path in any_path(),
    ) {
        let virtual_hosts = hosts.into_iter().enumerate().map(|(idx, (domains, conditions))| {
            let routes = conditions.into_iter().enumerate()
                .map(|(nth, it)| route(&format!("{idx}/{nth}"), it)).collect();
            VirtualHost { name: idx.to_string(), domains, routes, require_tls: false }
        }).collect();
        let table = RouteTable { name: "t".to_owned(), virtual_hosts };
        let router = Router::new(&table);
        let found = router.find(&host, &path).map(|it| &it.name);
        prop_assert_eq!(found, naive(&table, &host, &path).map(|it| &it.name));
        prop_assert_eq!(found.cloned(), router.explain(&host, &path).route.map(|it| it.name));
    }
}
