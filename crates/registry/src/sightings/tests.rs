//! The judge, rule by rule and then under any input.

use std::time::{Duration, Instant};

use model::{
    Catalog, Check, CheckStatus, CheckType, Folded, Instance, Node, Origin, ServiceId, Timestamp,
};

use super::{Moment, Sighting, SightingKind, SightingRules, Sightings, SightingsState};
use crate::tests::commit;
use crate::{
    CatalogRegistration, CatalogTarget, CheckRun, Command, LastRun, ServiceRegistration,
    VerdictState, transact, verdict,
};

mod properties;

/// A catalog with the instances `web-0`, `web-1` … of one service, a judge, and the time.
pub(super) struct World {
    pub catalog: Catalog,
    pub judge: Sightings,
    pub now: Moment,
    pub runs: Vec<(ServiceId, CheckRun)>,
    /// How often a verdict changed by the judge.
    pub changes: usize,
}

impl World {
    pub(super) fn new(instances: usize) -> Self {
        let mut world = Self {
            catalog: Catalog::default(),
            judge: Sightings::new(SightingRules::default()),
            now: Moment { at: Instant::now(), wall: Timestamp(1_000_000) },
            runs: Vec::new(),
            changes: 0,
        };
        let node = Node { name: "n1".into(), address: "127.0.0.1".into(), ..Node::default() };
        world.run(Command::RegisterInCatalog(CatalogRegistration {
            node,
            ..CatalogRegistration::default()
        }));
        (0..instances).for_each(|it| world.register(it, 80));
        world
    }

    pub(super) fn run(&mut self, command: Command) {
        let txn = transact(&self.catalog, &command, self.now.wall).expect("a valid command");
        commit(&mut self.catalog, &txn);
    }

    pub(super) fn register(&mut self, number: usize, port: u16) {
        let instance = Instance {
            node: "n1".into(),
            id: id(number),
            service: "web".into(),
            port,
            origin: Origin::Agent,
            ..Instance::default()
        };
        self.run(Command::RegisterService(ServiceRegistration {
            instance,
            replace_existing_checks: true,
            ..ServiceRegistration::default()
        }));
    }

    pub(super) fn set_check(&mut self, number: usize, status: CheckStatus) {
        self.run(Command::RegisterInCatalog(CatalogRegistration {
            node: Node { name: "n1".into(), ..Node::default() },
            skip_node_update: true,
            instance: None,
            checks: vec![Check {
                id: format!("own-{number}").as_str().into(),
                service_id: id(number),
                status,
                ..Check::default()
            }],
        }));
    }

    pub(super) fn pass(&mut self, ms: u64) {
        let by = Duration::from_millis(ms);
        self.now = Moment { at: self.now.at + by, wall: self.now.wall.plus(by) };
    }

    pub(super) fn see(&mut self, proxy: &str, number: usize, kind: SightingKind, ejected_ms: u64) {
        let endpoint = format!("n1/web-{number}");
        let sighting = Sighting { proxy: proxy.into(), endpoint, kind, ejected_ms };
        self.judge.see(&self.catalog, &sighting, false, self.now);
    }

    /// A probe that began now and has ended.
    pub(super) fn probe(&mut self, number: usize, status: CheckStatus) {
        self.pass(1);
        let last = LastRun {
            started: self.now.at,
            ended: self.now.at,
            status,
            output: "connection refused\n".into(),
        };
        let run = CheckRun::new(format!("own-{number}").as_str().into(), CheckType::Tcp);
        self.runs.retain(|it| it.0 != id(number));
        self.runs.push((id(number), CheckRun { last: Some(last), ..run }));
    }

    pub(super) fn look(&mut self) {
        let runs = self.runs.clone();
        let of = |instance: &Instance| {
            runs.iter().filter(|it| it.0 == instance.id).map(|it| it.1.clone()).collect()
        };
        let commands = self.judge.look(&self.catalog, of, self.now);
        self.changes += commands.len();
        commands.into_iter().for_each(|it| self.run(it));
        let again = self.judge.look(&self.catalog, of, self.now);
        assert_eq!(again, [], "what was made true is not asked for again");
    }

    pub(super) fn state(&self, number: usize) -> VerdictState {
        let instance = self.catalog.instance(&Folded::new("n1"), &id(number)).expect("it is there");
        verdict(&self.catalog, instance).state
    }

    fn text(&self, number: usize) -> String {
        let check = self.catalog.check(&Folded::new("n1"), &Check::sightings_id(&id(number)));
        check.map_or_else(String::new, |it| it.output.clone())
    }

    pub(super) fn spared(&self, number: usize) -> bool {
        let view = self.judge.view(&Folded::new("n1"), &id(number), self.now);
        view.is_some_and(|it| it.state == SightingsState::Spared)
    }
}

pub(super) fn id(number: usize) -> ServiceId {
    format!("web-{number}").as_str().into()
}

use SightingKind::{ConnectFailed, ConsecutiveErrors, Recovered};
use VerdictState::{Critical, Passing};

#[test]
fn what_the_only_proxy_sees_counts_at_once_and_for_five_seconds() {
    let mut world = World::new(2);
    world.see("agent", 0, ConnectFailed, 1000);
    world.look();
    assert_eq!((world.state(0), world.state(1)), (Critical, Passing));
    let said = "proxy agent: connection refused or unreachable, at 00:16:40.000; out of use until 00:16:45.000 UTC at the latest";
    assert_eq!(world.text(0), said);
    world.pass(4999);
    world.look();
    assert_eq!(world.state(0), Critical);
    world.pass(1);
    assert_eq!(world.judge.poll_timeout(), Some(world.now.at));
    world.look();
    assert_eq!(world.state(0), Passing);
}

#[test]
fn it_is_out_of_use_for_longer_each_time_and_forgiven_step_by_step() {
    let mut world = World::new(2);
    for seconds in [5, 10, 20, 40, 80, 160, 300, 300] {
        world.see("agent", 0, ConnectFailed, 1000);
        world.look();
        world.pass(seconds * 1000 - 1);
        world.look();
        assert_eq!(world.state(0), Critical, "for {seconds} s");
        world.pass(1);
        world.look();
        assert_eq!(world.state(0), Passing, "after {seconds} s");
    }
    // Eight times are remembered; each minute takes one off.
    world.pass(7 * 60_000);
    world.see("agent", 0, ConnectFailed, 1000);
    world.look();
    world.pass(9_999);
    world.look();
    assert_eq!(world.state(0), Critical);
    world.pass(1);
    world.look();
    assert_eq!(world.state(0), Passing);
}

#[test]
fn a_failing_probe_confirms_it_and_a_passing_one_refutes_it() {
    let mut world = World::new(2);
    world.set_check(0, CheckStatus::Passing);
    world.probe(0, CheckStatus::Passing);
    world.pass(10);
    world.see("agent", 0, ConnectFailed, 1000);
    world.look();
    assert_eq!(world.state(0), Passing, "its probe is waited for");
    world.probe(0, CheckStatus::Critical);
    world.look();
    assert_eq!(world.state(0), Critical);
    assert!(world.text(0).contains("its check own-0 failed then: connection refused"));
    world.probe(0, CheckStatus::Passing);
    world.look();
    assert_eq!(world.state(0), Passing);

    world.see("agent", 1, ConnectFailed, 1000);
    world.probe(1, CheckStatus::Passing);
    world.pass(600);
    world.look();
    assert_eq!(world.state(1), Passing, "a probe that passes since refutes it");
}

#[test]
fn a_probe_that_says_nothing_is_not_waited_for_longer_than_half_a_second() {
    let mut world = World::new(2);
    world.probe(0, CheckStatus::Passing);
    world.pass(10);
    world.see("agent", 0, ConnectFailed, 1000);
    world.look();
    assert_eq!(world.judge.poll_timeout(), Some(world.now.at + Duration::from_millis(500)));
    world.pass(500);
    world.look();
    assert_eq!(world.state(0), Critical);
}

#[test]
fn bad_answers_count_under_passing_probes_until_every_proxy_sees_it_succeed() {
    let mut world = World::new(2);
    world.see("agent", 0, ConsecutiveErrors, 1000);
    world.probe(0, CheckStatus::Passing);
    world.look();
    assert_eq!(world.state(0), Critical);
    world.probe(0, CheckStatus::Passing);
    world.pass(1500);
    world.look();
    assert_eq!(world.state(0), Critical);
    world.see("agent", 0, Recovered, 0);
    world.look();
    assert_eq!(world.state(0), Passing);
}

#[test]
fn the_second_time_a_probe_ends_it_after_a_quarter_only() {
    let mut world = World::new(2);
    for (round, quarter_ms) in [0, 2500].into_iter().enumerate() {
        world.see("agent", 0, ConnectFailed, 1000);
        world.probe(0, CheckStatus::Critical);
        world.look();
        assert_eq!(world.state(0), Critical);
        world.probe(0, CheckStatus::Passing);
        if quarter_ms > 0 {
            world.look();
            assert_eq!(world.state(0), Critical, "round {round}");
            world.pass(quarter_ms);
        }
        world.look();
        assert_eq!(world.state(0), Passing, "round {round}");
    }
}

/// Proxies count requests of `web-0`: these successes more each.
fn sample(world: &mut World, successes: &[(&str, u64)]) {
    let counts = successes.iter().map(|(proxy, successes)| {
        ((*proxy).to_owned(), [("n1/web-0".to_owned(), (*successes, 0))].into())
    });
    world.judge.sample(counts, world.now.at);
}

#[test]
fn one_proxy_of_three_that_use_it_takes_nothing_from_the_others() {
    let mut world = World::new(2);
    sample(&mut world, &[("a", 1), ("b", 1), ("c", 1)]);
    world.pass(1000);
    sample(&mut world, &[("a", 2), ("b", 2), ("c", 2)]);
    world.see("a", 0, ConnectFailed, 1000);
    world.look();
    world.pass(900);
    world.look();
    assert_eq!(world.state(0), Passing);
    world.see("b", 0, ConnectFailed, 1000);
    world.look();
    assert_eq!(world.state(0), Critical);
    assert!(world.text(0).contains("; 2 of 3 proxies that use it"), "{}", world.text(0));
}

#[test]
fn of_two_proxies_the_one_that_sees_it_succeed_outweighs_the_other() {
    for others_see in [3, 2] {
        let mut world = World::new(2);
        sample(&mut world, &[("a", 1), ("b", 1)]);
        world.pass(1000);
        sample(&mut world, &[("a", 2), ("b", 2)]);
        world.pass(1);
        world.see("a", 0, ConnectFailed, 1000);
        world.look();
        assert_eq!(world.state(0), Passing, "the other is waited for");
        world.pass(250);
        sample(&mut world, &[("a", 2), ("b", others_see)]);
        world.pass(250);
        world.look();
        let expected = if others_see > 2 { Passing } else { Critical };
        assert_eq!(world.state(0), expected, "the other counts {others_see}");
    }
}

#[test]
fn the_floor_lets_half_of_the_instances_be() {
    let mut world = World::new(5);
    for number in 0..5 {
        world.see("agent", number, ConnectFailed, 1000);
        world.look();
        world.pass(1);
    }
    let states: Vec<_> = (0..5).map(|it| world.state(it)).collect();
    assert_eq!(states, [Critical, Critical, Passing, Passing, Passing]);
    assert!(!world.spared(0) && world.spared(2) && world.spared(4));
    let view = world.judge.view(&Folded::new("n1"), &id(4), world.now).expect("it is watched");
    assert!(view.text.starts_with(
        "spared: proxies see it fail (connection refused or unreachable), but without it 2 of 5 usable"
    ), "{}", view.text);
    // Where others are lost for other reasons, who was taken out is let in.
    world.set_check(3, CheckStatus::Critical);
    world.set_check(4, CheckStatus::Critical);
    world.look();
    let states: Vec<_> = (0..3).map(|it| world.state(it)).collect();
    assert_eq!(states, [Passing, Critical, Passing]);
}

#[test]
fn who_is_back_is_let_in_at_once_when_the_last_one_fails() {
    let mut world = World::new(2);
    // Out of use for 10 s, the second time.
    world.see("agent", 0, ConnectFailed, 1000);
    world.look();
    world.pass(5000);
    world.look();
    world.see("agent", 0, ConnectFailed, 1000);
    world.look();
    assert_eq!(world.state(0), Critical);
    // It is started again, and nobody asks it; then the other one is killed.
    world.pass(1500);
    world.see("agent", 1, ConnectFailed, 1000);
    world.look();
    assert_eq!((world.state(0), world.state(1)), (Passing, Passing));
    assert!(world.spared(1));
    let view = world.judge.view(&Folded::new("n1"), &id(1), world.now).expect("it is watched");
    assert!(view.text.contains("but it is the last one"), "{}", view.text);
    // The one that is back answers for as long as the trial takes.
    world.pass(999);
    world.look();
    assert_eq!((world.state(0), world.state(1)), (Passing, Passing));
    world.pass(1);
    world.look();
    assert_eq!((world.state(0), world.state(1)), (Passing, Critical));
}

#[test]
fn who_fails_on_trial_is_out_again_and_the_next_trial_waits() {
    let mut world = World::new(2);
    world.see("agent", 0, ConnectFailed, 1000);
    world.look();
    let mut trials = 0;
    // Both fail, and are called every 10 ms.
    for _ in 0..3000 {
        let before = world.state(0);
        for number in 0..2 {
            if world.state(number) == Passing {
                world.see("agent", number, ConnectFailed, 1000);
            }
        }
        world.look();
        assert!([0, 1].iter().any(|it| world.state(*it) == Passing));
        trials += usize::from(before == Critical && world.state(0) == Passing);
        world.pass(10);
    }
    // After 1, 2, 4, 4 … s.
    assert!((5..=10).contains(&trials), "{trials} trials in half a minute");
}

#[test]
fn the_only_instance_of_a_service_stays() {
    let mut world = World::new(1);
    world.see("agent", 0, ConnectFailed, 1000);
    world.look();
    assert_eq!(world.state(0), Passing);
    assert!(world.spared(0));
}

#[test]
fn an_instance_that_is_out_of_use_anyway_is_none_of_its_business() {
    let mut world = World::new(2);
    world.see("agent", 0, ConnectFailed, 1000);
    world.look();
    world.set_check(0, CheckStatus::Critical);
    world.look();
    assert_eq!(world.text(0), "");
    world.see("agent", 0, ConnectFailed, 1000);
    world.pass(10);
    world.set_check(0, CheckStatus::Passing);
    world.look();
    assert_eq!(world.state(0), Passing, "as soon as its own check passes");
}

#[test]
fn a_check_that_began_to_pass_since_speaks_of_another_process() {
    let mut world = World::new(2);
    world.set_check(0, CheckStatus::Passing);
    world.pass(10);
    world.see("agent", 0, ConsecutiveErrors, 1000);
    world.pass(1);
    // It failed and passed between two looks.
    world.set_check(0, CheckStatus::Critical);
    world.set_check(0, CheckStatus::Passing);
    world.look();
    assert_eq!(world.state(0), Passing);
}

#[test]
fn a_registration_again_changes_nothing_unless_it_is_at_another_address() {
    let mut world = World::new(2);
    world.see("agent", 0, ConnectFailed, 1000);
    world.look();
    world.register(0, 80);
    world.look();
    assert_eq!(world.state(0), Critical);
    world.register(0, 81);
    world.look();
    assert_eq!(world.state(0), Passing);
}

#[test]
fn a_deregistered_instance_is_forgotten() {
    let mut world = World::new(2);
    world.see("agent", 0, ConnectFailed, 1000);
    world.look();
    let target = CatalogTarget::Service(id(0));
    world.run(Command::DeregisterFromCatalog { node: "n1".into(), target });
    world.look();
    world.register(0, 80);
    world.look();
    assert_eq!(world.state(0), Passing);
}

#[test]
fn what_an_earlier_life_of_the_agent_said_ends() {
    let mut world = World::new(2);
    world.see("agent", 0, ConnectFailed, 1000);
    world.look();
    world.judge = Sightings::default();
    world.judge.take_up(&world.catalog, world.now);
    world.look();
    assert_eq!(world.state(0), Critical);
    world.pass(5000);
    world.look();
    assert_eq!(world.state(0), Passing);

    world.see("agent", 1, ConnectFailed, 1000);
    world.look();
    assert_eq!(world.state(1), Critical);
    world.judge = Sightings::default();
    world.judge.take_up(&world.catalog, world.now);
    world.probe(1, CheckStatus::Passing);
    world.look();
    assert_eq!(world.state(1), Passing, "a passing probe ends it");
}

#[test]
fn answers_of_a_copy_in_a_rollout_are_left_to_the_rollout() {
    let mut world = World::new(2);
    let sighting = |kind| Sighting {
        proxy: "agent".into(),
        endpoint: "n1/web-0".into(),
        kind,
        ejected_ms: 1000,
    };
    world.judge.see(&world.catalog, &sighting(ConsecutiveErrors), true, world.now);
    world.look();
    assert_eq!(world.state(0), Passing);
    world.judge.see(&world.catalog, &sighting(ConnectFailed), true, world.now);
    world.look();
    assert_eq!(world.state(0), Critical);
}
