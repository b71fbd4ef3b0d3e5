use codec::message::HeaderMap;
use http::{HeaderName, HeaderValue};
use proptest::prelude::*;
use proxy_config::{
    Conditions, Forward, HeaderChange, HeaderMatch, PathMatch, PathRewrite, Pattern, QueryMatch,
    Redirect, Route, RouteAction, RouteTable, Source, ValueMatch, VirtualHost,
};

use super::corpus::check_like_the_rules;
use super::{Routed, Router};
use crate::matching::RequestView;

fn route(name: &str, path: PathMatch) -> Route {
    let action = RouteAction::Respond { status: 200, body: format!("{name}\n") };
    let source = Source { object: format!("Ingress/{name}"), revision: model::Revision(3) };
    Route { source, ..Route::new(name, path, action) }
}

fn under(prefix: &str) -> PathMatch {
    PathMatch::PathPrefix(prefix.to_owned())
}

fn host(name: &str, domains: &[&str], routes: Vec<Route>) -> VirtualHost {
    let domains = domains.iter().map(|it| (*it).to_owned()).collect();
    VirtualHost { name: name.to_owned(), domains, routes, require_tls: false }
}

fn table(virtual_hosts: Vec<VirtualHost>) -> RouteTable {
    RouteTable { name: "ingress".to_owned(), virtual_hosts }
}

fn one_host(routes: Vec<Route>) -> RouteTable {
    table(vec![host("web", &["*"], routes)])
}

fn fields(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    let line = |(name, value): &(&'static str, &'static str)| {
        (HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    lines.iter().map(line).collect()
}

fn request<'a>(target: &'a str, fields: &'a HeaderMap) -> RequestView<'a, HeaderMap> {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    RequestView { method: "GET", path, query, host: "web", is_tls: true, fields, random: 0 }
}

#[test]
fn the_longest_domain_wins() {
    let all = |name: &str| vec![route(name, under("/"))];
    let router = Router::new(&table(vec![
        host("exact", &["a.example.com"], all("exact")),
        host("deep", &["*.b.example.com"], all("deep")),
        host("wide", &["*.example.com"], all("wide")),
        host("begins", &["shop.*"], all("begins")),
        host("begins-longer", &["shop.eu.*"], all("begins-longer")),
        host("any", &["*"], all("any")),
    ]));
    let check = |host: &str, expected: &str| {
        assert_eq!(router.find(host, "/x").unwrap().name, expected, "{host}");
    };
    check("a.example.com", "exact");
    check("A.Example.COM:8080", "exact");
    check("a.example.com.", "exact");
    check("x.b.example.com", "deep");
    check("y.x.b.example.com:80", "deep");
    check("b.example.com", "wide");
    check("shop.example.com", "wide");
    check("shop.example.org", "begins");
    check("shop.eu.example.org", "begins-longer");
    check("shop.", "any");
    check("shops.example.org", "any");
    check("example.com", "any");
    check(".example.com", "any");
    check("[::1]:80", "any");
    check("é.example.com", "wide");
    check("", "any");
    check(&format!("{}.example.com", "a".repeat(300)), "any");
}

#[test]
fn a_wildcard_may_stand_within_a_label() {
    let all = |name: &str| vec![route(name, under("/"))];
    let router = Router::new(&table(vec![
        host("bar", &["*-bar.example"], all("bar")),
        host("foo", &["foo-*"], all("foo")),
        host("dot", &["*.example"], all("dot")),
    ]));
    let check = |host: &str, expected: Option<&str>| {
        let found = router.find(host, "/").map(|it| it.name.as_str());
        assert_eq!(found, expected, "{host}");
    };
    check("baz-bar.example", Some("bar"));
    check("-bar.example", Some("dot"));
    check("foo-bar.example", Some("bar"));
    check("foo-bar.org", Some("foo"));
    check("foo-", None);
}

#[test]
fn path_prefixes_are_whole_segments() {
    let check = |condition: &PathMatch, path: &str, expected: bool| {
        let router = Router::new(&one_host(vec![route("r", condition.clone())]));
        assert_eq!(router.find("web", path).is_some(), expected, "{condition:?} {path}");
    };
    for pattern in ["/a", "/a/"] {
        for (path, expected) in [("/a", true), ("/a/", true), ("/a/b", true), ("/ab", false)] {
            check(&under(pattern), path, expected);
        }
    }
    check(&under("/"), "/anything", true);
    check(&PathMatch::Prefix("/a".to_owned()), "/ab", true);
    check(&PathMatch::Exact("/a".to_owned()), "/a/", false);
    check(&PathMatch::Regex("/a|/ab".to_owned()), "/ab", true);
    check(&PathMatch::Regex("/a".to_owned()), "/ab", false);
    check(&PathMatch::Template("/a/{b}".to_owned()), "/a/c", true);
    check(&PathMatch::Template("/a/{b}".to_owned()), "/a/c/d", false);
}

#[test]
fn paths_are_compared_without_case_where_the_route_says_so() {
    let folded = |path: PathMatch| {
        let mut route = route("r", path);
        route.conditions.ignore_path_case = true;
        route
    };
    let check = |path: PathMatch, asked: &str, expected: bool| {
        let router = Router::new(&one_host(vec![folded(path.clone())]));
        assert_eq!(router.find("web", asked).is_some(), expected, "{path:?} {asked}");
    };
    check(PathMatch::Exact("/Shop".to_owned()), "/sHOP", true);
    check(PathMatch::Exact("/Shop".to_owned()), "/sHOPs", false);
    check(PathMatch::Prefix("/Shop".to_owned()), "/shoPPing", true);
    check(under("/Shop/"), "/SHOP/x", true);
    check(under("/Shop/"), "/SHOPs", false);
    check(PathMatch::Regex("/a".to_owned()), "/A", false);
}

#[test]
fn every_condition_must_hold() {
    let header = |name: &str, pattern: Pattern| HeaderMatch {
        name: name.to_owned(),
        value: ValueMatch { pattern, ignore_case: false },
        invert: false,
        missing_as_empty: false,
    };
    let query = QueryMatch { name: "v".to_owned(), value: ValueMatch::exact("2") };
    let conditions = Conditions {
        methods: vec!["GET".to_owned(), "POST".to_owned()],
        headers: vec![
            header("x-user", Pattern::Prefix("beta".to_owned())),
            header(":path", Pattern::Suffix("&w".to_owned())),
            header("host", Pattern::Exact("web".to_owned())),
        ],
        query: vec![query],
        grpc: true,
        per_million: Some(10),
        ..Conditions::default()
    };
    let router = Router::new(&one_host(vec![Route { conditions, ..route("all", under("/")) }]));
    assert_eq!(router.problems(), []);
    let good = fields(&[("x-user", "beta-1"), ("content-type", "application/grpc+proto")]);
    let asked = RequestView { random: 1_000_009, ..request("/a?v=2&w", &good) };
    let check = |asked: RequestView<'_, HeaderMap>, mismatch: Option<&str>| {
        let expected = if mismatch.is_none() { Routed::Route(0) } else { Routed::NoRoute };
        assert_eq!(router.route(&asked), expected, "{mismatch:?}");
        assert_eq!(router.explain_request(&asked).trials[0].mismatch.as_deref(), mismatch);
    };
    check(asked, None);
    check(RequestView { method: "POST", ..asked }, None);
    check(RequestView { method: "PUT", ..asked }, Some("the method is another one"));
    check(RequestView { random: 10, ..asked }, Some("the request is not in this share"));
    let other = Some("the query parameter v is not so");
    check(RequestView { query: Some("v=1&v=2&w"), ..asked }, other);
    check(RequestView { query: None, ..asked }, other);
    check(RequestView { query: Some("v=2&w&"), ..asked }, Some("the header :path is not so"));
    check(RequestView { host: "web:80", ..asked }, Some("the header host is not so"));
    let no_grpc = fields(&[("x-user", "beta-1"), ("content-type", "application/grpc-web")]);
    check(RequestView { fields: &no_grpc, ..asked }, Some("the request is not gRPC"));
    let no_user = fields(&[("content-type", "application/grpc")]);
    check(RequestView { fields: &no_user, ..asked }, Some("the header x-user is not so"));
}

#[test]
fn connect_routes_take_connect_requests_only() {
    let conditions = Conditions { connect: true, ..Conditions::default() };
    let prefix = PathMatch::Prefix(String::new());
    let router = Router::new(&one_host(vec![Route { conditions, ..route("c", prefix) }]));
    let nothing = HeaderMap::new();
    assert_eq!(router.route(&request("/", &nothing)), Routed::NoRoute);
    let connect = RequestView { method: "CONNECT", ..request("/", &nothing) };
    assert_eq!(router.route(&connect), Routed::Route(0));
}

#[test]
fn a_host_that_requires_tls_says_so() {
    let mut secure = host("secure", &["web"], vec![route("r", under("/"))]);
    secure.require_tls = true;
    let router = Router::new(&table(vec![secure]));
    let nothing = HeaderMap::new();
    let asked = request("/", &nothing);
    assert_eq!(router.route(&asked), Routed::Route(0));
    assert_eq!(router.route(&RequestView { is_tls: false, ..asked }), Routed::TlsRequired);
    assert_eq!(router.route(&RequestView { host: "other", ..asked }), Routed::NoHost);
    assert_eq!(router.virtual_host_name(0), "secure");
}

#[test]
fn an_explanation_names_each_route_and_why() {
    let mut get = route("get", under("/"));
    get.conditions.methods = vec!["PUT".to_owned()];
    let routes = vec![
        route("shop", under("/shop")),
        route("exact", PathMatch::Exact("/shopping".to_owned())),
        get,
        route("rest", PathMatch::Prefix("/".to_owned())),
        route("never", PathMatch::Prefix("/".to_owned())),
    ];
    let router = Router::new(&table(vec![host("web", &["*.example.com"], routes)]));
    assert_eq!(
        router.explain("www.Example.com:80", "/shopping/x").to_string(),
        "route table ingress: host www.example.com, path /shopping/x\n  \
         virtual host web by domain *.example.com\n  \
         route shop [path under /shop] from Ingress/shop @ revision 3: \
         the path goes on within the last segment\n  \
         route exact [path = /shopping] from Ingress/exact @ revision 3: \
         the path is not exactly this\n  \
         route get [path under /, method PUT] from Ingress/get @ revision 3: \
         the method is another one\n  \
         route rest [path starts with /] from Ingress/rest @ revision 3: matches\n  \
         => respond 200: \"rest\"\n"
    );
    assert!(router.explain("example.org", "/").to_string().contains("no virtual host"));
    assert!(router.has_host("www.example.com") && !router.has_host("example.org"));
}

#[test]
fn a_broken_route_matches_nothing_and_is_reported() {
    let redirect =
        |status| RouteAction::Redirect(Redirect { status, ..Redirect::to_https(301, 443) });
    let forward =
        |path: PathRewrite| RouteAction::Forward(Box::new(Forward { path, ..Forward::to("web") }));
    let regex = |pattern: &str, substitution: &str| PathRewrite::Regex {
        pattern: pattern.to_owned(),
        substitution: substitution.to_owned(),
    };
    let with = |name: &str, action: RouteAction| Route { action, ..route(name, under("/")) };
    let mut header = route("header", under("/"));
    header.conditions.headers.push(HeaderMatch {
        name: "x".to_owned(),
        value: ValueMatch { pattern: Pattern::Regex("[".to_owned()), ignore_case: false },
        invert: true,
        missing_as_empty: false,
    });
    let routes = vec![
        route("regex", PathMatch::Regex("/a(".to_owned())),
        route("escape", PathMatch::Regex("/)|(?:/".to_owned())),
        route("huge", PathMatch::Regex(r"(?:\p{L}{1000}){1000}".to_owned())),
        route("template", PathMatch::Template("/{a".to_owned())),
        header,
        with("status", RouteAction::Respond { status: 99, body: String::new() }),
        with("redirect", redirect(200)),
        with("group", forward(regex("a", r"\1"))),
        with("good", forward(PathRewrite::Keep)),
    ];
    let table = one_host(routes);
    let router = Router::new(&table);
    for path in ["/", "/a", "/)|(?:/"] {
        assert_eq!(router.find("web", path).unwrap().name, "good");
    }
    let problems = Router::check(&table);
    let names: Vec<&str> = problems.iter().map(|it| it.route.as_str()).collect();
    let expected = ["regex", "escape", "huge", "template", "header", "status", "redirect", "group"];
    assert_eq!(names, expected);
    assert!(problems.iter().all(|it| it.disables_route && it.virtual_host == "web"));
    assert!(problems[0].to_string().starts_with("virtual host web, route regex: "));
    assert!(problems[2].what.contains("compiles to more than"), "{}", problems[2]);
    let explanation = router.explain("web", "/a");
    assert!(explanation.trials[0].mismatch.as_ref().unwrap().contains("not valid"));
}

#[test]
fn what_can_be_left_out_is_left_out_and_reported() {
    let mut changed = route("changed", under("/"));
    changed.headers.request = vec![
        HeaderChange::Remove("host".to_owned()),
        HeaderChange::Append("x-a".to_owned(), "%NONSENSE%".to_owned()),
        HeaderChange::Append("x-b".to_owned(), "b".to_owned()),
    ];
    let hosts = vec![
        host("a", &["A.example", "b"], vec![changed]),
        host("b", &["b", "web:80", "*a*"], Vec::new()),
    ];
    let router = Router::new(&table(hosts));
    let problems: Vec<String> = router.problems().iter().map(ToString::to_string).collect();
    assert_eq!(problems.len(), 6, "{problems:#?}");
    assert!(problems[0].contains("no request matches the domain \"A.example\""));
    assert!(problems[3].contains("another virtual host has the domain \"b\""));
    assert!(router.problems().iter().all(|it| !it.disables_route));
    assert!(router.find("b", "/").is_some());
    let mut headers = HeaderMap::new();
    router.plans()[0].request_headers.apply(&mut headers, crate::EditValues::default());
    assert_eq!(headers.len(), 1);
}

#[test]
fn ten_thousand_routes_are_found_like_one() {
    let path = |idx: usize| format!("/team-{}/service-{idx}", idx % 100);
    let routes = (0..10_000).map(|idx| route(&idx.to_string(), under(&path(idx)))).collect();
    let router = Router::new(&one_host(routes));
    for idx in [0, 1, 99, 5_000, 9_999] {
        let found = router.find("web", &format!("{}/x", path(idx))).unwrap();
        assert_eq!(found.name, idx.to_string());
    }
    assert!(router.find("web", "/team-1/service-2").is_none());
    // `/team-1/service-1` is not a prefix of `/team-1/service-101` in segments.
    assert_eq!(router.find("web", "/team-1/service-101").unwrap().name, "101");
}

fn any_path() -> impl Strategy<Value = String> {
    proptest::collection::vec("[abA]{1,2}", 0..4).prop_map(|it| format!("/{}", it.join("/")))
}

fn any_domain() -> impl Strategy<Value = String> {
    let name = || proptest::collection::vec("[ab]", 1..4).prop_map(|it| it.join("."));
    prop_oneof![
        name(),
        name().prop_map(|it| format!("*.{it}")),
        name().prop_map(|it| format!("{it}.*")),
        name().prop_map(|it| format!("*{it}")),
        Just("*".to_owned()),
    ]
}

fn any_path_match() -> impl Strategy<Value = PathMatch> {
    prop_oneof![
        3 => any_path().prop_map(PathMatch::Exact),
        2 => any_path().prop_map(PathMatch::Prefix),
        4 => any_path().prop_map(PathMatch::PathPrefix),
        1 => any_path().prop_map(|it| PathMatch::Prefix(it[1..].to_owned())),
        1 => ("/a?", "[ab.]{0,2}[*+?]?").prop_map(|(a, b)| PathMatch::Regex(format!("{a}b{b}"))),
        1 => "/[ab]/(\\{x\\}|\\*|\\*\\*)".prop_map(PathMatch::Template),
    ]
}

fn any_conditions() -> impl Strategy<Value = Conditions> {
    let header = ("x-[ab]", "[ab]?", any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(name, text, is_exact, invert, missing_as_empty)| {
            let pattern = if is_exact { Pattern::Exact(text) } else { Pattern::Present };
            let value = ValueMatch { pattern, ignore_case: false };
            HeaderMatch { name, value, invert, missing_as_empty }
        },
    );
    let query = ("[ab]", "[ab]")
        .prop_map(|(name, value)| QueryMatch { name, value: ValueMatch::exact(&value) });
    let some = (
        any::<bool>(),
        proptest::collection::vec("GET|PUT|CONNECT", 0..2),
        proptest::collection::vec(header, 0..2),
        proptest::collection::vec(query, 0..2),
        proptest::option::weighted(0.2, 0u32..3),
    )
        .prop_map(|(ignore_path_case, methods, headers, query, per_million)| Conditions {
            ignore_path_case,
            methods,
            headers,
            query,
            per_million,
            ..Conditions::default()
        });
    let folded = any::<bool>()
        .prop_map(|ignore_path_case| Conditions { ignore_path_case, ..Conditions::default() });
    prop_oneof![2 => folded, 1 => some]
}

fn any_table() -> impl Strategy<Value = RouteTable> {
    let domains = proptest::collection::vec(any_domain(), 1..4);
    let routes = proptest::collection::vec((any_path_match(), any_conditions()), 0..24);
    proptest::collection::vec((domains, routes), 1..4).prop_map(|hosts| {
        let host = |(idx, (domains, routes)): (usize, (Vec<String>, Vec<_>))| {
            let route = |(nth, (path, conditions))| Route {
                conditions,
                ..route(&format!("{idx}/{nth}"), path)
            };
            let routes = routes.into_iter().enumerate().map(route).collect();
            VirtualHost { name: idx.to_string(), domains, routes, require_tls: false }
        };
        table(hosts.into_iter().enumerate().map(host).collect())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]
    #[test]
    fn the_router_does_what_the_rules_say(
        table in any_table(),
        host in "[ab](\\.[ab]){0,3}",
        path in any_path(),
        query in proptest::option::of("[ab]=[ab](&[ab]=[ab])?"),
        method in "GET|PUT|CONNECT",
        headers in proptest::collection::vec(("x-[ab]", "[ab]?"), 0..3),
        random in 0u32..3,
    ) {
        let headers: HeaderMap = headers
            .into_iter()
            .map(|(name, value)| {
                (name.parse::<HeaderName>().unwrap(), HeaderValue::try_from(value).unwrap())
            })
            .collect();
        let asked = RequestView {
            method: &method,
            path: &path,
            query: query.as_deref(),
            host: &host,
            is_tls: true,
            fields: &headers,
            random,
        };
        check_like_the_rules(&table, &asked);
    }
}
