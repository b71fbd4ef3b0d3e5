use proptest::prelude::*;

use super::*;

fn chain(change: impl FnOnce(&mut ChainMatch)) -> ChainMatch {
    let mut matches = ChainMatch::default();
    change(&mut matches);
    matches
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|it| (*it).to_owned()).collect()
}

struct Facts {
    port: u16,
    name: Option<&'static str>,
    transport: TransportMatch,
    alpn: &'static [&'static str],
    source: &'static str,
}

const TLS: Facts = Facts {
    port: 443,
    name: Some("web.shop.example.com"),
    transport: TransportMatch::Tls,
    alpn: &["h2", "http/1.1"],
    source: "10.1.2.3",
};

fn find(matcher: &ChainMatcher, facts: &Facts) -> Option<usize> {
    let protocols: Vec<Vec<u8>> = facts.alpn.iter().map(|it| it.as_bytes().to_vec()).collect();
    matcher.find(&Opening {
        destination_port: facts.port,
        server_name: facts.name,
        transport: facts.transport,
        application_protocols: &protocols,
        source: facts.source.parse().unwrap(),
    })
}

fn check(chains: &[ChainMatch], facts: &Facts, expected: Option<usize>) {
    let (matcher, problems) = ChainMatcher::new(chains);
    assert_eq!(problems, []);
    assert_eq!(find(&matcher, facts), expected, "{chains:?}");
}

#[test]
fn the_most_specific_server_name_is_chosen() {
    let chains = [
        chain(|_| {}),
        chain(|it| it.server_names = texts(&["*.example.com"])),
        chain(|it| it.server_names = texts(&["*.shop.example.com", "other.org"])),
        chain(|it| it.server_names = texts(&["Web.shop.example.com"])),
    ];
    for (name, expected) in [
        (Some("web.shop.example.com"), 3),
        (Some("api.shop.example.com"), 2),
        (Some("a.b.shop.example.com"), 2),
        (Some("shop.example.com"), 1),
        (Some("other.org"), 2),
        (Some("example.com"), 0),
        (Some(".example.com"), 0),
        (None, 0),
    ] {
        check(&chains, &Facts { name, ..TLS }, Some(expected));
    }
    check(&chains[1..], &Facts { name: None, ..TLS }, None);
}

#[test]
fn an_earlier_condition_decides_and_there_is_no_way_back() {
    let chains = [
        chain(|it| it.source_prefixes = texts(&["10.0.0.0/8"])),
        chain(|it| {
            it.destination_port = Some(443);
            it.server_names = texts(&["other.org"]);
        }),
    ];
    check(&chains, &TLS, None);
    check(&chains, &Facts { port: 80, ..TLS }, Some(0));
    let chains = [
        chain(|it| it.server_names = texts(&["*.example.com"])),
        chain(|it| {
            it.server_names = texts(&["web.shop.example.com"]);
            it.transport = Some(TransportMatch::Plain);
        }),
    ];
    check(&chains, &TLS, None);
}

#[test]
fn transport_and_protocols_tell_chains_apart() {
    let chains = [
        chain(|it| it.transport = Some(TransportMatch::Tls)),
        chain(|it| {
            it.transport = Some(TransportMatch::Tls);
            it.application_protocols = texts(&["istio", "h2"]);
        }),
        chain(|_| {}),
    ];
    check(&chains, &TLS, Some(1));
    check(&chains, &Facts { alpn: &["http/1.1"], ..TLS }, Some(0));
    check(&chains, &Facts { alpn: &["http/1.1", "istio"], ..TLS }, Some(1));
    let plain = Facts { transport: TransportMatch::Plain, name: None, alpn: &[], ..TLS };
    check(&chains, &plain, Some(2));
}

#[test]
fn the_longest_prefix_that_holds_the_source_is_chosen() {
    let chains = [
        chain(|it| it.source_prefixes = texts(&["10.0.0.0/8", "2001:db8::/32"])),
        chain(|it| it.source_prefixes = texts(&["10.1.0.0/16"])),
        chain(|it| it.source_prefixes = texts(&["10.1.2.3/32", "192.168.0.0/16"])),
    ];
    for (source, expected) in [
        ("10.1.2.3", Some(2)),
        ("10.1.2.4", Some(1)),
        ("10.2.0.0", Some(0)),
        ("::ffff:10.2.0.0", Some(0)),
        ("2001:db8::9", Some(0)),
        ("192.168.1.1", Some(2)),
        ("172.16.0.1", None),
    ] {
        check(&chains, &Facts { source, ..TLS }, expected);
    }
}

#[test]
fn bytes_are_waited_for_only_where_a_condition_asks_for_them() {
    for (matches, expected) in [
        (chain(|_| {}), false),
        (chain(|it| it.source_prefixes = texts(&["10.0.0.0/8"])), false),
        (chain(|it| it.server_names = texts(&["a"])), true),
        (chain(|it| it.server_names = texts(&["*.a"])), true),
        (chain(|it| it.transport = Some(TransportMatch::Plain)), true),
        (chain(|it| it.application_protocols = texts(&["h2"])), true),
    ] {
        let (matcher, _) = ChainMatcher::new([&matches]);
        assert_eq!(matcher.needs_first_bytes(443), expected, "{matches:?}");
        let on_80 = ChainMatch { destination_port: Some(80), ..matches };
        let (matcher, _) = ChainMatcher::new([&on_80]);
        assert!(matcher.needs_destination_port() && !matcher.needs_first_bytes(443));
    }
}

#[test]
fn what_cannot_be_kept_is_named_and_holds_for_nobody() {
    let chains = [
        chain(|it| it.source_prefixes = texts(&["10.0.0.0/40", "10.0.0.0/8"])),
        chain(|it| it.server_names = texts(&["a*.example.com", "www.*.com"])),
        chain(|it| it.source_prefixes = texts(&["10.0.0.0/8"])),
        chain(|it| it.source_prefixes = texts(&["nowhere"])),
    ];
    let (matcher, problems) = ChainMatcher::new(&chains);
    let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "chain 0: \"10.0.0.0/40\" is not a network; write it as 10.0.0.0/8",
            "chain 1: a star must be the first label of server name \"a*.example.com\"",
            "chain 1: a star must be the first label of server name \"www.*.com\"",
            "chain 2 has conditions that chain 0 has too",
            "chain 3: \"nowhere\" is not a network; write it as 10.0.0.0/8",
        ]
    );
    assert_eq!(find(&matcher, &TLS), Some(0));
    assert_eq!(find(&matcher, &Facts { source: "11.0.0.1", ..TLS }), None);
}

/// What the documentation says, without any index: of the chains that are left, those with the best fit are kept.
fn by_narrowing(chains: &[ChainMatch], opening: &Opening<'_>) -> Option<usize> {
    let mut left: Vec<(usize, &ChainMatch)> = chains.iter().enumerate().collect();
    let mut keep_best = |fit: &dyn Fn(&ChainMatch) -> Option<usize>| {
        let best = left.iter().filter_map(|(_, it)| fit(it)).max();
        left.retain(|(_, it)| best.is_some() && fit(it) == best);
    };
    keep_best(&|it| match it.destination_port {
        None => Some(0),
        Some(port) => (port == opening.destination_port).then_some(1),
    });
    keep_best(&|it| {
        let fit = |wanted: &String| {
            let name = opening.server_name?;
            match wanted.strip_prefix('*') {
                None => (name == wanted).then_some(usize::MAX),
                Some(below) => {
                    (name.len() > below.len() && name.ends_with(below)).then_some(below.len())
                }
            }
        };
        if it.server_names.is_empty() {
            Some(0)
        } else {
            it.server_names.iter().filter_map(fit).max()
        }
    });
    keep_best(&|it| match it.transport {
        None => Some(0),
        Some(transport) => (transport == opening.transport).then_some(1),
    });
    keep_best(&|it| {
        let wanted = &it.application_protocols;
        let offered = opening.application_protocols;
        let at = offered.iter().position(|it| wanted.iter().any(|wanted| wanted.as_bytes() == it));
        if wanted.is_empty() { Some(0) } else { at.map(|at| usize::MAX - at) }
    });
    keep_best(&|it| {
        let fit = |text: &String| {
            let network = Network::parse(text)?;
            network.contains(opening.source).then(|| usize::from(network.prefix_length()))
        };
        let prefixes = &it.source_prefixes;
        if prefixes.is_empty() { Some(0) } else { prefixes.iter().filter_map(fit).max() }
    });
    left.first().map(|(index, _)| *index)
}

fn some_of(all: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    proptest::sample::subsequence(all, 0..=2.min(all.len())).prop_map(|it| texts(&it))
}

fn any_match() -> impl Strategy<Value = ChainMatch> {
    let transport =
        prop_oneof![Just(None), Just(Some(TransportMatch::Tls)), Just(Some(TransportMatch::Plain))];
    (
        prop_oneof![Just(None), Just(Some(80)), Just(Some(443))],
        some_of(&["a.b.c", "b.c", "*.b.c", "*.c"]),
        transport,
        some_of(&["h2", "http/1.1"]),
        some_of(&["10.0.0.0/8", "10.1.0.0/16", "::/64"]),
    )
        .prop_map(
            |(
                destination_port,
                server_names,
                transport,
                application_protocols,
                source_prefixes,
            )| {
                ChainMatch {
                    destination_port,
                    server_names,
                    transport,
                    application_protocols,
                    source_prefixes,
                }
            },
        )
}

proptest! {
    #[test]
    fn the_index_says_what_narrowing_down_says(
        chains in proptest::collection::vec(any_match(), 0..6),
        port in prop_oneof![Just(80), Just(443), Just(81)],
        name in prop_oneof![Just(None), Just(Some("a.b.c")), Just(Some("x.b.c")), Just(Some("b.c")), Just(Some("z"))],
        is_tls: bool,
        alpn in prop_oneof![Just(vec![]), Just(vec!["h2"]), Just(vec!["http/1.1", "h2"])],
        source in prop_oneof![Just("10.1.1.1"), Just("10.2.1.1"), Just("1.1.1.1"), Just("::1")],
    ) {
        let (matcher, _) = ChainMatcher::new(&chains);
        let protocols: Vec<Vec<u8>> = alpn.iter().map(|it| it.as_bytes().to_vec()).collect();
        let opening = Opening {
            destination_port: port,
            server_name: name,
            transport: if is_tls { TransportMatch::Tls } else { TransportMatch::Plain },
            application_protocols: &protocols,
            source: source.parse().unwrap(),
        };
        prop_assert_eq!(matcher.find(&opening), by_narrowing(&chains, &opening));
    }
}
