use std::collections::BTreeMap;

use http::{Request, Response};
use proxy_config::{
    ClusterChoice, Forward, HeaderChange, HostRewrite, PathRewrite, RouteAction, SubsetSelector,
    Subsets, WeightedCluster,
};

use super::support::{Backend, Client, Setup, empty, full, text};

/// Answers with its name, the path, the host and what it was told.
async fn named(name: &'static str) -> Backend {
    Backend::http1(move |request: Request<hyper::body::Incoming>| async move {
        let header = |name: &str| {
            request.headers().get(name).map_or("-", |it| it.to_str().unwrap()).to_owned()
        };
        let (host, told) = (header("host"), header("x-told"));
        let before = header("x-envoy-original-path");
        Response::new(full(format!("{name} {} {host} {told} {before}", request.uri())))
    })
    .await
}

fn action(change: impl FnOnce(&mut Forward)) -> RouteAction {
    let mut forward = Forward::default();
    change(&mut forward);
    RouteAction::Forward(Box::new(forward))
}

#[tokio::test]
async fn clusters_get_their_shares_with_their_headers() {
    let (a, b) = (named("a").await, named("b").await);
    let weighted = |cluster: &str, weight| {
        let mut it = WeightedCluster::new(cluster, weight);
        let (name, value) = ("x-told".to_owned(), format!("%UPSTREAM_CLUSTER% {cluster}"));
        it.headers.request.push(HeaderChange::Overwrite(name, value));
        let (name, value) = ("x-from".to_owned(), "%RESPONSE_CODE%".to_owned());
        it.headers.response.push(HeaderChange::Append(name, value));
        it
    };
    let proxy = Setup::new()
        .listener("in")
        .route("a", "/", &[a.address])
        .route("b", "/", &[b.address])
        .action(
            "web",
            "/",
            action(|forward| {
                let shares = vec![weighted("a/", 75), weighted("b/", 25), weighted("no", 0)];
                forward.cluster = ClusterChoice::Weighted(shares);
            }),
        )
        .start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..400 {
        let request = Request::get("/").header("host", "web").body(empty()).unwrap();
        let response = client.send(request).await;
        assert_eq!(response.headers()["x-from"], "200");
        *counts.entry(text(response.into_body()).await).or_default() += 1;
    }
    // 300 of 400 expected, standard deviation 9; the numbers are drawn from a seed.
    assert!((260..=340).contains(&counts["a / web a/ a/ -"]), "{counts:?}");
    assert_eq!(counts["a / web a/ a/ -"] + counts["b / web b/ b/ -"], 400);
}

#[tokio::test]
async fn a_header_names_the_cluster_and_without_it_there_is_none() {
    let (a, b) = (named("a").await, named("b").await);
    let proxy = Setup::new()
        .listener("in")
        .route("a", "/", &[a.address])
        .route("b", "/", &[b.address])
        .action(
            "web",
            "/",
            action(|forward| {
                forward.cluster = ClusterChoice::Header("x-cluster".to_owned());
                forward.cluster_not_found_status = 404;
            }),
        )
        .start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    for (cluster, status, begin) in [("a/", 200, "a "), ("b/", 200, "b "), ("c/", 404, "")] {
        let request = Request::get("/").header("host", "web").header("x-cluster", cluster);
        let response = client.send(request.body(empty()).unwrap()).await;
        assert_eq!(response.status(), status);
        assert!(text(response.into_body()).await.starts_with(begin));
    }
    assert_eq!(client.get("web", "/").await.0, 404);
}

#[tokio::test]
async fn path_and_host_become_what_the_route_says() {
    let a = named("a").await;
    let rewritten = |change: fn(&mut Forward)| {
        action(|forward| {
            forward.cluster = ClusterChoice::One("a/".to_owned());
            change(forward);
        })
    };
    let proxy = Setup::new()
        .listener("in")
        .route("a", "/", &[a.address])
        .action("web", "/old", rewritten(|it| it.path = PathRewrite::Prefix("/new".to_owned())))
        .action(
            "web",
            "/host",
            rewritten(|it| it.host = HostRewrite::Literal("other:81".to_owned())),
        )
        .action("web", "/own", rewritten(|it| it.host = HostRewrite::Endpoint))
        .action(
            "web",
            "/header",
            rewritten(|it| it.host = HostRewrite::Header("x-told".to_owned())),
        )
        .start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    for (path, expected) in [
        ("/old/x?y=z", "a /new/x?y=z web told /old/x?y=z"),
        ("/host", "a /host other:81 told -"),
        ("/own", "a /own 127.0.0.1 told -"),
        ("/header", "a /header told told -"),
    ] {
        let request = Request::get(path).header("host", "web").header("x-told", "told");
        let response = client.send(request.body(empty()).unwrap()).await;
        assert_eq!(text(response.into_body()).await, expected);
    }
}

#[tokio::test]
async fn a_route_asks_for_a_subset_and_a_share_for_more() {
    let backends = [named("a").await, named("b").await, named("c").await];
    let addresses = backends.each_ref().map(|it| it.address);
    let mut setup = Setup::new().listener("in").route_with("all", "/", &addresses, |_, cluster| {
        let selector = |keys: &[&str]| SubsetSelector {
            keys: keys.iter().map(|it| (*it).to_owned()).collect(),
            ..SubsetSelector::default()
        };
        cluster.narrowing.subsets = Some(Subsets {
            selectors: vec![selector(&["zone"]), selector(&["version", "zone"])],
            ..Subsets::default()
        });
    });
    let mut endpoints = (*setup.0.endpoints["all/"]).clone();
    for (endpoint, (zone, version)) in
        endpoints.endpoints.iter_mut().zip([("x", "1"), ("x", "2"), ("y", "2")])
    {
        endpoint.metadata.insert("zone".to_owned(), zone.to_owned());
        endpoint.metadata.insert("version".to_owned(), version.to_owned());
    }
    setup.0.endpoints.insert("all/".to_owned(), std::sync::Arc::new(endpoints));
    let asked = |version: Option<&str>| {
        action(|forward| {
            forward.subset = [("zone".to_owned(), "x".to_owned())].into();
            let mut share = WeightedCluster::new("all/", 1);
            share.subset =
                version.iter().map(|it| ("version".to_owned(), (*it).to_owned())).collect();
            forward.cluster = ClusterChoice::Weighted(vec![share]);
        })
    };
    let proxy =
        setup.action("zone", "/", asked(None)).action("both", "/", asked(Some("2"))).start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    let mut seen = BTreeMap::new();
    for _ in 0..6 {
        for host in ["zone", "both"] {
            let name = client.get(host, "/").await.1[..1].to_owned();
            *seen.entry((host, name)).or_insert(0) += 1;
        }
    }
    let at = |host, name: &str| seen.get(&(host, name.to_owned())).copied().unwrap_or(0);
    assert!(at("zone", "a") > 0 && at("zone", "b") > 0 && at("zone", "c") == 0, "{seen:?}");
    assert_eq!(at("both", "b"), 6, "{seen:?}");
}
