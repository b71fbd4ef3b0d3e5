//! What would change an instance's state, by what is known of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{
    Catalog, Check, CheckDefinition, CheckStatus, CheckType, Folded, Instance, Node, Origin,
    Timestamp,
};

use super::{Known, Restart, find_instances, outlook};
use crate::tests::commit;
use crate::{
    CatalogRegistration, CheckRun, Command, Moment, ServiceRegistration, Sighting, SightingKind,
    Sightings, SightingsView, VerdictState, transact,
};

const NOW: Timestamp = Timestamp(1_000_000);

fn run(catalog: &mut Catalog, command: &Command) {
    let txn = transact(catalog, command, NOW).expect("a valid command");
    commit(catalog, &txn);
}

/// A catalog with `web-1` and `web-2`, which have this check if it is given.
fn catalog(check: Option<Check>) -> Catalog {
    let mut catalog = Catalog::default();
    let node = Node { name: "n1".into(), address: "127.0.0.1".into(), ..Node::default() };
    let registration = CatalogRegistration { node, ..CatalogRegistration::default() };
    run(&mut catalog, &Command::RegisterInCatalog(registration));
    for id in ["web-1", "web-2"] {
        let instance = Instance {
            node: "n1".into(),
            id: id.into(),
            service: "web".into(),
            origin: Origin::Agent,
            ..Instance::default()
        };
        let check = check.clone().map(|it| Check {
            node: "n1".into(),
            id: format!("c-{id}").as_str().into(),
            origin: Origin::Agent,
            ..it
        });
        run(
            &mut catalog,
            &Command::RegisterService(ServiceRegistration {
                instance,
                checks: check.into_iter().collect(),
                ..ServiceRegistration::default()
            }),
        );
    }
    catalog
}

/// What would change `web-1`, a line each.
fn check(
    catalog: &Catalog,
    runs: &[CheckRun<Timestamp>],
    sightings: Option<&SightingsView>,
    expected: &[&str],
) {
    let instance = catalog.instance(&Folded::new("n1"), &"web-1".into()).expect("it is there");
    let known = Known { runs, sightings, agent_began: Timestamp(900_000), now: NOW, restart: None };
    let found: Vec<String> = outlook(catalog, instance, &known)
        .into_iter()
        .map(|it| {
            let at = it.at.map_or_else(|| "-".to_owned(), |it| it.0.to_string());
            let to = it.to.map_or("gone", |it| it.as_str());
            format!("{at} {to}: {}", it.text)
        })
        .collect();
    assert_eq!(found, expected);
}

fn of_kind(kind: CheckType) -> CheckRun<Timestamp> {
    CheckRun {
        next: Some(Timestamp(1_003_000)),
        ..CheckRun::new("c-web-1".into(), kind).told(moment())
    }
}

fn moment() -> Moment {
    Moment { at: Instant::now(), wall: NOW }
}

const SEEN: &str = "- critical: at least half of the proxies that use it see it fail";
const OPERATOR: &str =
    "- maintenance: an operator: leno consul maint -enable -service=web-1 -reason=…";

#[test]
fn an_instance_without_checks_depends_on_proxies_and_operators() {
    check(&catalog(None), &[], None, &[SEEN, OPERATOR]);
}

#[test]
fn a_probe_says_how_many_runs_and_when_the_next_one_is() {
    let passing = Check { status: CheckStatus::Passing, ..Check::default() };
    let run = CheckRun { failures_left: 2, ..of_kind(CheckType::Http) };
    let expected = ["1003000 critical: 2 failing runs in a row of check c-web-1", SEEN, OPERATOR];
    check(&catalog(Some(passing)), &[run], None, &expected);
    let critical = Check { status: CheckStatus::Critical, ..Check::default() };
    let expected = ["1003000 passing: a passing run of check c-web-1", OPERATOR];
    check(&catalog(Some(critical)), &[of_kind(CheckType::Http)], None, &expected);
}

#[test]
fn a_lease_says_when_it_lapses_and_what_follows() {
    let definition = CheckDefinition {
        ttl: Duration::from_secs(10),
        deregister_critical_service_after: Duration::from_secs(90),
        ..CheckDefinition::default()
    };
    let it = Check { definition: Some(Arc::new(definition)), ..Check::default() };
    let passing = Check { status: CheckStatus::Passing, ..it.clone() };
    let lapse = "1003000 critical: check c-web-1 lapses, unless a heartbeat comes before";
    check(&catalog(Some(passing)), &[of_kind(CheckType::Ttl)], None, &[lapse, SEEN, OPERATOR]);
    let expected = [
        "1090000 gone: it is deregistered if check c-web-1 is critical until then",
        "- passing: a heartbeat of check c-web-1 that says it is well",
        OPERATOR,
    ];
    let critical = Check { status: CheckStatus::Critical, ..it };
    check(&catalog(Some(critical)), &[of_kind(CheckType::Ttl)], None, &expected);
}

#[test]
fn maintenance_is_ended_by_an_operator() {
    let mut catalog = catalog(None);
    run(
        &mut catalog,
        &Command::SetMaintenance {
            node: "n1".into(),
            service: Some("web-1".into()),
            reason: Some("a new disk".into()),
        },
    );
    let expected = "- passing: an operator: leno consul maint -disable -service=web-1";
    check(&catalog, &[], None, &[expected]);
}

#[test]
fn what_proxies_see_says_when_it_ends() {
    let mut catalog = catalog(None);
    let mut judge = Sightings::default();
    let now = moment();
    let sighting = Sighting {
        proxy: "agent".into(),
        endpoint: "n1/web-1".into(),
        kind: SightingKind::ConnectFailed,
        ejected_ms: 1000,
    };
    judge.see(&catalog, &sighting, false, now);
    for command in judge.look(&catalog, |_| Vec::new(), now) {
        run(&mut catalog, &command);
    }
    let view = judge.view(&Folded::new("n1"), &"web-1".into(), now);
    let expected = [
        "1005000 passing: it is let in again, on trial, whatever proxies saw",
        "- passing: a success at every proxy that saw it fail",
        OPERATOR,
    ];
    check(&catalog, &[], view.as_ref(), &expected);
}

#[test]
fn an_instance_is_found_by_its_id_and_by_its_node_and_id() {
    let catalog = catalog(None);
    for (id, count) in [("web-1", 1), ("n1/web-1", 1), ("N1/web-1", 1), ("n2/web-1", 0), ("", 0)] {
        assert_eq!(find_instances(&catalog, id).len(), count, "{id}");
    }
}

#[test]
fn a_process_that_waits_for_its_restart_says_when_and_the_how_many_th_it_is() {
    let critical = Check { status: CheckStatus::Critical, ..Check::default() };
    let process = Check { kind: "process".into(), ..critical };
    let catalog = catalog(Some(process));
    check(
        &catalog,
        &[],
        None,
        &["- passing: check c-web-1, when its process is started again", OPERATOR],
    );
    let instance = catalog.instance(&Folded::new("n1"), &"web-1".into()).expect("it is there");
    let restart = Some(Restart { at: Timestamp(1_000_400), number: 5, max: 16 });
    let known =
        Known { runs: &[], sightings: None, agent_began: Timestamp(900_000), now: NOW, restart };
    let first = outlook(&catalog, instance, &known).remove(0);
    assert_eq!((first.at, first.to), (Some(Timestamp(1_000_400)), Some(VerdictState::Passing)));
    assert_eq!(first.text, "its process is started again (restart 5 of 16)");
}
