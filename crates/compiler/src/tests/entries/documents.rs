//! Documents and entries that speak of the same.

use proxy_config::{PathRewrite, Pattern};

use super::*;

#[test]
fn a_service_document_wins_over_the_entries_of_its_name_and_that_is_told() {
    let mut resolver = versions("web");
    resolver["DefaultSubset"] = json!("v1");
    let mut world = world(&[resolver]);
    world.put(service("web", &[("app", "web")], vec![port(80, PortRef::default())]));
    let compiled = world.compile();
    assert_eq!(target(&compiled, "web").name, "web.default:80");
    assert_eq!(target(&compiled, "web.service.consul").name, "web/v1");
    let expected = "web: Name: a Service document is called web: the entry holds for web.mesh and \
                    web.service.consul only";
    assert_eq!(messages(&compiled), [expected]);
}

fn router(routes: &Value) -> [Value; 2] {
    [http("web"), json!({"Kind": "service-router", "Name": "web", "Routes": routes})]
}

/// Routes of the ingress as `name: condition, conditions, rewrite`.
fn shown(compiled: &Compiled) -> Vec<String> {
    let hosts = &compiled.config.route_tables[INGRESS].virtual_hosts;
    let show = |it: &Route| {
        let name = it.name.rsplit(' ').next().unwrap_or_default();
        let rewrite = match &forward(it).path {
            PathRewrite::Keep => String::new(),
            other => format!(" {other:?}"),
        };
        let also = it.conditions.headers.iter().map(|it| match &it.value.pattern {
            Pattern::Regex(form) => format!(" {} ~ {form}", it.name),
            other => format!(" {} {other:?}", it.name),
        });
        format!("{name} {:?}{}{rewrite}", it.path, also.collect::<String>())
    };
    hosts.iter().flat_map(|it| &it.routes).map(show).collect()
}

#[test]
fn below_the_path_of_an_ingress_the_routes_of_its_service_hold() {
    let prefix = |path: &str, rewrite: &str| {
        json!([{
            "Match": {"HTTP": {"PathPrefix": path}}, "Destination": {"PrefixRewrite": rewrite},
        }])
    };
    let exact = |path: &str| json!([{"Match": {"HTTP": {"PathExact": path}}}]);
    let regex = json!([{"Match": {"HTTP": {"PathRegex": "/.*x"}}}]);
    let folded = json!([{"Match": {"HTTP": {"PathPrefix": "/A", "CaseInsensitive": true}}}]);
    let (is_prefix, is_exact) = (PathKind::Prefix, PathKind::Exact);
    for (path, kind, routes, expected) in [
        ("/", is_prefix, prefix("/a", "/b"), Some(r#"Prefix("/a") Prefix("/b")"#)),
        ("/a", is_prefix, prefix("/a", "/b"), Some(r#"PathPrefix("/a") Prefix("/b")"#)),
        ("/a/v1", is_prefix, prefix("/a", "/b"), Some(r#"PathPrefix("/a/v1") Prefix("/b/v1")"#)),
        ("/a", is_prefix, prefix("/a/v1", "/b"), Some(r#"Prefix("/a/v1") Prefix("/b")"#)),
        ("/a", is_prefix, prefix("/ab", "/b"), None),
        ("/a", is_prefix, exact("/a/b"), Some(r#"Exact("/a/b")"#)),
        ("/a", is_prefix, exact("/ab"), None),
        ("/a", is_prefix, regex.clone(), Some(r#"Regex("/.*x") :path ~ /a(?:[/?].*)?"#)),
        ("/a.b", is_exact, regex, Some(r#"Regex("/.*x") :path ~ /a\.b(?:\?.*)?"#)),
        ("/a", is_prefix, folded, Some(r#"Prefix("/A") :path ~ /a(?:[/?].*)?"#)),
        ("/a/b", is_exact, prefix("/a", "/c"), Some(r#"Exact("/a/b") Whole("/c/b")"#)),
        ("/b", is_exact, prefix("/a", "/c"), None),
        ("/a", is_exact, exact("/a"), Some(r#"Exact("/a")"#)),
        ("/a", is_exact, exact("/b"), None),
    ] {
        let mut world = world(&router(&routes));
        let rules = vec![rule("", &[(path, kind, "web")])];
        world.put(ingress("i", IngressSpec { rules, ..IngressSpec::default() }));
        let shown = shown(&world.compile());
        let expected = expected.map(|it| format!("web[0] {it}"));
        let first = (shown.len() > 1).then(|| shown[0].clone());
        assert_eq!(first, expected, "{path} {kind:?} {routes}");
        let last = shown.last().expect("the default route is there");
        assert!(last.starts_with("web[default] "), "{last}");
    }
}

#[test]
fn an_ingress_names_itself_and_the_entry_and_keeps_what_it_says_of_all_requests() {
    let mut world = world(&router(&json!([])));
    let rules = vec![rule("", &[("/a", PathKind::Prefix, "web"), ("/b", PathKind::Prefix, "api")])];
    let spec = IngressSpec {
        rules,
        default_backend: Some(backend("web", 80)),
        timing_headers: true,
        ..IngressSpec::default()
    };
    world.put(ingress("i", spec));
    let compiled = world.compile();
    let routes = &compiled.config.route_tables[INGRESS].virtual_hosts[0].routes;
    let objects: Vec<&str> = routes.iter().map(|it| it.source.object.as_str()).collect();
    let both = "Ingress/i in namespace default, service-router/web";
    assert_eq!(objects, [both, "Ingress/i in namespace default", both]);
    assert!(routes.iter().all(|it| forward(it).timing_headers));
    let paths: Vec<&PathMatch> = routes.iter().map(|it| &it.path).collect();
    let below = |path: &str| PathMatch::PathPrefix(path.to_owned());
    assert_eq!(paths, [&below("/a"), &below("/b"), &PathMatch::Prefix("/".into())]);
}

#[test]
fn an_ingress_may_lead_to_a_name_that_only_an_entry_knows() {
    let redirect =
        json!({"Kind": "service-resolver", "Name": "old", "Redirect": {"Service": "web"}});
    let mut world = world(&[redirect]);
    let rules = vec![rule("", &[("/", PathKind::Prefix, "old")])];
    world.put(ingress("i", IngressSpec { rules, ..IngressSpec::default() }));
    let compiled = world.compile();
    assert_eq!(routes(&compiled, "*"), ["/… -> web"]);
}
