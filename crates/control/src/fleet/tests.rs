use proxy_config::{HostUse, HostUses};
use registry::{Moment, Sighting, SightingKind};

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

/// A clock that begins now.
fn moment(after: Duration) -> Moment {
    let began = *BEGAN;
    Moment { at: began + after, wall: Timestamp(1_000_000) }
}

static BEGAN: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(runtime::monotonic);
const SECOND: Duration = Duration::from_secs(1);

fn used(active: u64, successes: u64) -> BTreeMap<String, EndpointUse> {
    let one = EndpointUse { active, successes, ..EndpointUse::default() };
    BTreeMap::from([("n/web-1".to_owned(), one)])
}

fn ask(fleet: &Fleet, life: &str, taken: u64, at: u64) -> Follow {
    let agent = fleet.life().to_owned();
    let (name, life) = ("edge".to_owned(), life.to_owned());
    Follow { name, life, agent, taken, at, uses: used(1, at), ..Follow::default() }
}

fn report(life: &str, at: u64) -> Report {
    let (name, life) = ("edge".to_owned(), life.to_owned());
    Report { name, life, at, uses: used(0, at), ..Report::default() }
}

fn active(fleet: &Fleet) -> u64 {
    fleet.uses()[0].1["n/web-1"].active
}

#[test]
fn a_proxy_elsewhere_is_waited_for_from_its_first_question_on() {
    let fleet = Fleet::default();
    fleet.compiled(Revision(5), false, moment(Duration::ZERO).at);
    let admitted = fleet.follow(ask(&fleet, "1", 0, 1), "10.0.0.2", moment(SECOND)).unwrap();
    assert_eq!(admitted.taken, Revision(0));
    assert_eq!(fleet.behind(Revision(5)), ["edge"]);
    fleet.follow(ask(&fleet, "1", 5, 2), "10.0.0.2", moment(SECOND)).unwrap();
    assert!(fleet.behind(Revision(5)).is_empty());
    let shown = fleet.proxies().remove(0);
    assert_eq!((&*shown.address, shown.heard), ("10.0.0.2", Some(Timestamp(1_000_000))));
    assert_eq!(fleet.elsewhere(), ["edge".to_owned()].into());
}

#[test]
fn what_was_read_before_an_acknowledgement_does_not_take_the_place_of_what_came_with_it() {
    let fleet = Fleet::default();
    fleet.compiled(Revision(5), false, moment(Duration::ZERO).at);
    fleet.follow(ask(&fleet, "1", 0, 1), "", moment(SECOND)).unwrap();
    // A report that was read before, and arrives after.
    fleet.follow(ask(&fleet, "1", 5, 3), "", moment(SECOND)).unwrap();
    fleet.report(report("1", 2), moment(SECOND)).unwrap();
    assert_eq!(active(&fleet), 1);
    fleet.report(report("1", 4), moment(SECOND)).unwrap();
    assert_eq!(active(&fleet), 0);
    // And a question that was read before the report.
    fleet.follow(ask(&fleet, "1", 5, 3), "", moment(SECOND)).unwrap();
    assert_eq!(active(&fleet), 0);
    let nothing = Follow { uses: BTreeMap::new(), ..ask(&fleet, "1", 5, 9) };
    fleet.follow(nothing, "", moment(SECOND)).unwrap();
    assert!(fleet.uses()[0].1.is_empty());
}

#[test]
fn revisions_of_another_life_of_the_agent_acknowledge_nothing() {
    let (before, fleet) = (Fleet::default(), Fleet::default());
    fleet.compiled(Revision(5), false, moment(Duration::ZERO).at);
    let admitted = fleet.follow(ask(&before, "1", 900, 1), "", moment(SECOND)).unwrap();
    assert_eq!(admitted.taken, Revision(0));
    assert_eq!(fleet.behind(Revision(5)), ["edge"]);
}

#[test]
fn a_revision_that_changes_nothing_for_proxies_is_acknowledged_by_those_that_have_the_one_before() {
    let fleet = Fleet::default();
    fleet.compiled(Revision(5), false, moment(Duration::ZERO).at);
    let [here, late] = ["here", "late"].map(|name| fleet.join(name, Revision(4), Uses::new));
    here.acknowledge(Revision(5));
    fleet.compiled(Revision(6), true, moment(SECOND).at);
    assert_eq!(fleet.behind(Revision(6)), ["late"]);
    late.acknowledge(Revision(5));
    assert!(fleet.behind(Revision(6)).is_empty());
    fleet.compiled(Revision(7), false, moment(SECOND).at);
    here.acknowledge(Revision(6));
    assert_eq!(fleet.behind(Revision(7)), ["here", "late"]);
}

#[test]
fn a_proxy_that_is_not_heard_of_is_given_up_when_its_lease_is_over() {
    let fleet = Fleet::default();
    fleet.follow(ask(&fleet, "1", 0, 1), "", moment(Duration::ZERO)).unwrap();
    let nearly = LEASE - Duration::from_millis(1);
    assert!(fleet.expire(moment(nearly).at).is_empty());
    fleet.report(report("1", 2), moment(nearly)).unwrap();
    assert!(fleet.expire(moment(LEASE).at).is_empty());
    assert_eq!(fleet.expire(moment(nearly + LEASE).at), ["edge"]);
    assert!(fleet.behind(Revision(9)).is_empty());
    let gone = fleet.report(report("1", 3), moment(2 * LEASE));
    assert_eq!(gone, Err(Refusal::Unknown("edge".to_owned())));
    fleet.follow(ask(&fleet, "1", 0, 4), "", moment(2 * LEASE)).unwrap();
}

#[test]
fn a_new_life_takes_over_the_name_and_the_old_one_does_not_take_it_back() {
    let fleet = Fleet::default();
    let old = fleet.follow(ask(&fleet, "1", 0, 1), "", moment(Duration::ZERO)).unwrap();
    fleet.follow(ask(&fleet, "2", 0, 1), "", moment(SECOND)).unwrap();
    assert!(old.ended.has_begun());
    let refused = fleet.follow(ask(&fleet, "1", 0, 2), "", moment(SECOND));
    assert_eq!(refused.unwrap_err(), Refusal::Replaced("edge".to_owned()));
    // Given up, and heard of again: it still does not have the name, but what it has under way counts.
    fleet.report(report("2", 2), moment(LEASE)).unwrap();
    fleet.expire(moment(LEASE + SECOND).at);
    assert_eq!(fleet.report(report("1", 3), moment(LEASE + SECOND)).map(drop), unknown());
    fleet.follow(ask(&fleet, "1", 0, 4), "", moment(LEASE + SECOND)).unwrap_err();
    fleet.report(report("1", 5), moment(LEASE + SECOND)).unwrap();
    // Until the other one is gone.
    fleet.report(Report { left: true, ..report("2", 3) }, moment(2 * LEASE)).unwrap();
    let back = fleet.follow(ask(&fleet, "1", 0, 6), "", moment(2 * LEASE)).unwrap();
    assert!(!back.ended.has_begun());
    let names: Vec<String> = fleet.proxies().into_iter().map(|it| it.name).collect();
    assert_eq!(names, ["edge"]);
}

fn unknown() -> Result<(), Refusal> {
    Err(Refusal::Unknown("edge".to_owned()))
}

#[test]
fn a_life_that_was_replaced_is_waited_for_until_it_has_left() {
    let fleet = Fleet::default();
    fleet.compiled(Revision(5), false, moment(Duration::ZERO).at);
    fleet.follow(ask(&fleet, "1", 0, 1), "", moment(SECOND)).unwrap();
    fleet.follow(ask(&fleet, "2", 5, 1), "", moment(SECOND)).unwrap();
    let old = || fleet.proxies().remove(1);
    let key = old().name;
    assert_eq!((fleet.proxies().len(), old().is_replaced), (2, true));
    assert_eq!(fleet.behind(Revision(5)), std::slice::from_ref(&key));
    let under_way = Report { uses: used(7, 2), ..report("1", 2) };
    fleet.report(under_way, moment(SECOND)).unwrap();
    let active: Vec<u64> = fleet.uses().iter().map(|it| it.1["n/web-1"].active).collect();
    assert_eq!(active, [1, 7]);
    // It had its last configuration on the way when it was replaced.
    fleet.follow(ask(&fleet, "1", 5, 3), "", moment(SECOND)).unwrap_err();
    assert!(fleet.behind(Revision(5)).is_empty());
    fleet.report(Report { leaving: true, ..report("1", 4) }, moment(SECOND)).unwrap();
    assert!(fleet.behind(Revision(9)).iter().all(|it| *it != key));
    assert!(
        fleet
            .follow(Follow { leaving: true, ..ask(&fleet, "1", 5, 5) }, "", moment(SECOND))
            .is_ok()
    );
    assert!(!fleet.prometheus().contains('~'));
    fleet.report(Report { left: true, ..report("1", 6) }, moment(SECOND)).unwrap();
    assert_eq!(fleet.proxies().len(), 1);
    // One that was killed says nothing of it.
    fleet.follow(ask(&fleet, "3", 5, 1), "", moment(2 * SECOND)).unwrap();
    fleet.report(report("3", 2), moment(LEASE)).unwrap();
    assert_eq!(fleet.expire(moment(LEASE + SECOND).at).len(), 1);
    assert_eq!(fleet.elsewhere(), ["edge".to_owned()].into());
}

#[test]
fn a_proxy_that_drains_is_known_again_to_the_next_life_of_the_agent() {
    let fleet = Fleet::default();
    fleet.expect(["edge".to_owned()], moment(Duration::ZERO));
    let leaving = |life: &str, at| Follow { leaving: true, ..ask(&fleet, life, 0, at) };
    let admitted = fleet.follow(leaving("1", 1), "", moment(SECOND)).unwrap();
    assert!(admitted.is_leaving && fleet.behind(Revision(9)).is_empty());
    assert_eq!(active(&fleet), 1);
    // The one that takes its place comes first the next time.
    let fleet = Fleet::default();
    fleet.follow(ask(&fleet, "2", 0, 1), "", moment(SECOND)).unwrap();
    fleet.follow(leaving("1", 1), "", moment(SECOND)).unwrap();
    assert_eq!(fleet.behind(Revision(9)), ["edge"]);
    assert_eq!(fleet.uses().len(), 2);
}

#[test]
fn a_proxy_that_leaves_is_not_waited_for_but_what_it_has_under_way_counts() {
    let fleet = Fleet::default();
    fleet.follow(ask(&fleet, "1", 0, 1), "", moment(SECOND)).unwrap();
    let leaving = Report { leaving: true, uses: used(3, 2), ..report("1", 2) };
    fleet.report(leaving, moment(SECOND)).unwrap();
    assert!(fleet.behind(Revision(9)).is_empty());
    assert_eq!(active(&fleet), 3);
    fleet.report(Report { left: true, ..report("1", 3) }, moment(SECOND)).unwrap();
    assert!(fleet.proxies().is_empty());
}

#[test]
fn names_that_cannot_be_are_refused() {
    let fleet = Fleet::default();
    let _own = fleet.join("agent", Revision(1), Uses::new);
    let named = |name: &str| Follow { name: name.to_owned(), ..ask(&fleet, "1", 0, 1) };
    let refused = |ask: Follow| fleet.follow(ask, "", moment(SECOND)).unwrap_err();
    for name in ["", "a b", "a\"b", "é", &"a".repeat(129)] {
        assert!(matches!(refused(named(name)), Refusal::Wrong(_)), "{name}");
    }
    assert_eq!(refused(named("agent")), Refusal::Replaced("agent".to_owned()));
    assert!(matches!(refused(ask(&fleet, "", 0, 1)), Refusal::Wrong(_)));
    for nth in 0..1000 {
        fleet.follow(named(&format!("p{nth}")), "", moment(SECOND)).unwrap();
    }
    assert_eq!(refused(named("one-more")), Refusal::Full);
}

#[test]
fn those_of_an_earlier_life_of_the_agent_are_waited_for_until_they_are_back_or_given_up() {
    let fleet = Fleet::default();
    fleet.expect(["edge".to_owned(), "lost".to_owned()], moment(Duration::ZERO));
    assert_eq!(fleet.behind(Revision(1)), ["edge", "lost"]);
    assert!(fleet.proxies().iter().all(|it| it.is_expected));
    fleet.compiled(Revision(5), false, moment(Duration::ZERO).at);
    fleet.follow(ask(&fleet, "1", 5, 1), "", moment(SECOND)).unwrap();
    assert_eq!(fleet.behind(Revision(5)), ["lost"]);
    assert_eq!(fleet.expire(moment(LEASE).at), ["lost"]);
}

#[test]
fn acknowledgements_are_timed_from_the_commit() {
    let fleet = Fleet::default();
    fleet.compiled(Revision(5), false, moment(Duration::ZERO).at);
    fleet.follow(ask(&fleet, "1", 0, 1), "", moment(SECOND)).unwrap();
    fleet.follow(ask(&fleet, "1", 5, 2), "", moment(2 * SECOND)).unwrap();
    assert_eq!(fleet.proxies()[0].last, None, "the first one was not waited for");
    fleet.compiled(Revision(6), false, moment(3 * SECOND).at);
    fleet.compiled(Revision(7), false, moment(4 * SECOND).at);
    fleet.follow(ask(&fleet, "1", 7, 3), "", moment(5 * SECOND)).unwrap();
    let shown = fleet.proxies().remove(0);
    assert_eq!((shown.last, shown.p99), (Some(SECOND), Some(2 * SECOND)));
    let text = fleet.prometheus();
    assert!(text.contains("leno_proxy_acknowledge_seconds_count{proxy=\"edge\"} 2"), "{text}");
}

#[test]
fn what_a_proxy_sees_of_endpoints_is_handed_on_in_words_that_are_known() {
    let fleet = Fleet::default();
    fleet.follow(ask(&fleet, "1", 0, 1), "", moment(SECOND)).unwrap();
    let seen = |kind: &str| Seen { endpoint: "n/web-1".into(), kind: kind.into(), ejected_ms: 7 };
    let seen = vec![seen("connect-failed"), seen("of a version to come")];
    let sightings = fleet.report(Report { seen, ..report("1", 2) }, moment(SECOND)).unwrap();
    let expected = Sighting {
        proxy: "edge".into(),
        endpoint: "n/web-1".into(),
        kind: SightingKind::parse("connect-failed").unwrap(),
        ejected_ms: 7,
    };
    assert_eq!(sightings, [expected]);
}

#[test]
fn what_a_proxy_counts_by_host_is_as_new_as_its_acknowledgement() {
    let fleet = Fleet::default();
    let hosts = |requests: u64| -> HostUses {
        let mut host = HostUse::default();
        host.classes[0].successes = requests;
        [("ingress/a".to_owned(), host)].into()
    };
    let seen = || fleet.host_uses()[0].1["ingress/a"].total().requests();
    let first = Follow { hosts: hosts(3), ..ask(&fleet, "1", 0, 1) };
    fleet.follow(first, "", moment(SECOND)).unwrap();
    assert_eq!(seen(), 3);
    fleet.report(Report { hosts: hosts(5), ..report("1", 3) }, moment(SECOND)).unwrap();
    let late = Follow { hosts: hosts(4), ..ask(&fleet, "1", 0, 2) };
    fleet.follow(late, "", moment(SECOND)).unwrap();
    assert_eq!(seen(), 5, "what was read later stays");
}
