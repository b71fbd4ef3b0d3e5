use super::*;

fn using(active: u64) -> impl Fn() -> Uses + Send + Sync + 'static {
    move || {
        let one = EndpointUse { active, successes: 2, durations: vec![1, 1], ..Default::default() };
        Uses::from([("n/web-1".to_owned(), one)])
    }
}

#[test]
fn who_asks_for_a_revision_hears_of_every_proxy_that_is_behind() {
    let fleet = Fleet::default();
    let first = fleet.join("a", Revision(1), Uses::new);
    let second = fleet.join("b", Revision(1), Uses::new);
    let mut moves = fleet.moves();
    assert_eq!(fleet.behind(Revision(3)), ["a", "b"]);
    first.acknowledge(Revision(4));
    assert_eq!(fleet.behind(Revision(3)), ["b"]);
    assert!(moves.has_changed().unwrap());
    moves.borrow_and_update();
    second.acknowledge(Revision(3));
    assert!(moves.has_changed().unwrap());
    assert!(fleet.behind(Revision(3)).is_empty());
}

#[test]
fn nobody_hears_of_a_proxy_that_is_gone() {
    let fleet = Fleet::default();
    let gone = fleet.join("a", Revision(1), using(1));
    let mut moves = fleet.moves();
    moves.borrow_and_update();
    drop(gone);
    assert!(moves.has_changed().unwrap());
    assert!(fleet.behind(Revision(3)).is_empty());
    assert!(fleet.uses().is_empty());
    assert!(fleet.proxies().is_empty());
}

#[test]
fn a_proxy_that_comes_back_is_not_taken_away_by_the_end_of_the_one_before() {
    let fleet = Fleet::default();
    let before = fleet.join("a", Revision(1), Uses::new);
    let after = fleet.join("a", Revision(2), Uses::new);
    before.acknowledge(Revision(9));
    assert_eq!(fleet.behind(Revision(3)), ["a"]);
    drop(before);
    assert_eq!(fleet.behind(Revision(3)), ["a"]);
    after.acknowledge(Revision(3));
    assert!(fleet.behind(Revision(3)).is_empty());
}

#[test]
fn what_each_proxy_says_of_its_hosts_can_be_read() {
    let fleet = Fleet::default();
    let proxies =
        [fleet.join("a", Revision(1), Uses::new), fleet.join("b", Revision(2), Uses::new)];
    let mut host = proxy_config::HostUse::default();
    host.classes[0].successes = 3;
    proxies[1].tell_hosts(move || [("ingress/a".to_owned(), host.clone())].into());
    let said = fleet.host_uses();
    assert!(said[0].1.is_empty());
    assert_eq!(
        (said[1].0.acknowledged, said[1].1["ingress/a"].total().requests()),
        (Revision(2), 3)
    );
}

#[test]
fn what_each_proxy_says_of_an_endpoint_can_be_read() {
    let fleet = Fleet::default();
    let _proxies = [fleet.join("a", Revision(1), using(0)), fleet.join("b", Revision(1), using(1))];
    let uses = fleet.uses();
    let of = |idx: usize| (&*uses[idx].0, uses[idx].1["n/web-1"].active);
    assert_eq!([of(0), of(1)], [("a", 0), ("b", 1)]);
    assert!(!uses[0].1.contains_key("n/web-2"));
}
