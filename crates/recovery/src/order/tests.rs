use proptest::prelude::*;

use super::*;

fn workloads(lines: &[(&str, &[&str])]) -> BTreeMap<String, BTreeSet<String>> {
    let needs = |needs: &[&str]| needs.iter().map(ToString::to_string).collect();
    lines.iter().map(|(name, of)| ((*name).to_owned(), needs(of))).collect()
}

fn standings(lines: &[(&str, Standing)]) -> BTreeMap<String, Standing> {
    lines.iter().map(|(name, standing)| ((*name).to_owned(), *standing)).collect()
}

fn shop() -> Order {
    let shop: &[(&str, &[&str])] = &[
        ("db", &[]),
        ("migrate", &["db"]),
        ("cache", &[]),
        ("api", &["migrate", "cache"]),
        ("web", &["api"]),
    ];
    Order::new(&workloads(shop)).unwrap()
}

#[test]
fn each_wave_depends_only_on_earlier_ones() {
    assert_eq!(
        shop().waves(),
        [vec!["cache", "db"], vec!["migrate"], vec!["api"], vec!["web"]]
            .map(|it| it.into_iter().map(str::to_owned).collect::<Vec<_>>())
    );
}

#[test]
fn what_depends_waits_until_it_is_healthy_or_completed() {
    let order = shop();
    assert_eq!(order.may_start(&BTreeMap::new()), ["cache", "db"]);
    let mut standing = standings(&[("db", Standing::Started), ("cache", Standing::Healthy)]);
    assert_eq!(order.may_start(&standing), [""; 0]);
    assert_eq!(order.waits_for("migrate", &standing), [("db", Standing::Started)]);
    standing.insert("db".into(), Standing::Healthy);
    assert_eq!(order.may_start(&standing), ["migrate"]);
    standing.insert("migrate".into(), Standing::Healthy);
    standing.insert("migrate".into(), Standing::Completed);
    assert_eq!(order.may_start(&standing), ["api"]);
    standing.insert("migrate".into(), Standing::Failed);
    assert_eq!(order.waits_for("api", &standing), [("migrate", Standing::Failed)]);
}

#[test]
fn they_stop_in_reverse_order() {
    let order = shop();
    let healthy = |it: &str| (it.to_owned(), Standing::Healthy);
    let mut standing: BTreeMap<_, _> = ["db", "cache", "api", "web"].map(healthy).into();
    let mut stopped = Vec::new();
    loop {
        let now: Vec<String> = order.may_stop(&standing).into_iter().map(str::to_owned).collect();
        if now.is_empty() {
            break;
        }
        standing.retain(|name, _| !now.contains(name));
        stopped.push(now.join(" "));
    }
    assert_eq!(stopped, ["web", "api", "cache db"]);
}

#[test]
fn what_is_wrong_is_named() {
    let bad: &[(&str, &[&str])] = &[
        ("a", &["c"]),
        ("b", &["a"]),
        ("c", &["b", "z"]),
        ("d", &["a"]),
        ("e", &["e"]),
        ("f", &["e", "y"]),
    ];
    let errors = Order::new(&workloads(bad)).unwrap_err();
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "c depends on z, which is not a workload",
            "f depends on y, which is not a workload",
            "workloads depend on each other in a circle: a -> c -> b -> a",
            "workloads depend on each other in a circle: e -> e",
        ]
    );
}

proptest! {
    /// Random graphs: either every wave is sound and everything gets started and stopped, or each circle that is named is one.
    #[test]
    fn an_order_starts_and_stops_everything(edges in proptest::collection::vec((0..8u8, 0..8u8), 0..14)) {
        let mut needs: BTreeMap<String, BTreeSet<String>> =
            (0..8u8).map(|it| (it.to_string(), BTreeSet::new())).collect();
        for (from, to) in edges {
            needs.get_mut(&from.to_string()).unwrap().insert(to.to_string());
        }
        match Order::new(&needs) {
            Ok(order) => {
                let mut standing = BTreeMap::new();
                for wave in order.waves() {
                    let ready: BTreeSet<_> = order.may_start(&standing).into_iter().map(str::to_owned).collect();
                    prop_assert_eq!(&ready, &wave.iter().cloned().collect::<BTreeSet<_>>());
                    standing.extend(ready.into_iter().map(|it| (it, Standing::Healthy)));
                }
                prop_assert_eq!(standing.len(), 8);
                while !standing.is_empty() {
                    let stops: Vec<_> = order.may_stop(&standing).into_iter().map(str::to_owned).collect();
                    prop_assert!(!stops.is_empty());
                    standing.retain(|name, _| !stops.contains(name));
                }
            }
            Err(errors) => for error in errors {
                let OrderError::Cycle { path } = error else { panic!("all names are known") };
                prop_assert!(path.len() > 1 && path.first() == path.last());
                for pair in path.windows(2) {
                    prop_assert!(needs[&pair[0]].contains(&pair[1]));
                }
            },
        }
    }
}
