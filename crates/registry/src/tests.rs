//! The registry against itself: rules one by one, then any sequence of commands.

mod acl;
mod documents;
mod kv;
mod properties;
mod queries;
mod records;
mod session;
mod sidecar;
mod virtual_address;
mod writers;

use model::{
    Catalog, Change, Check, CheckStatus, Instance, Node, ObjectKey, Origin, Record, Revision,
    Timestamp, Txn, WatchKey,
};

use crate::{
    CatalogRegistration, CatalogTarget, Command, RecordCondition, Rejection, ServiceRegistration,
    SidecarPorts, TxnObject, VerdictState, transact, verdict,
};

/// Applies a transaction as a store would; returns the change, or `None` for an empty transaction.
pub(crate) fn commit(catalog: &mut Catalog, txn: &Txn) -> Option<Change> {
    if txn.is_noop() {
        return None;
    }
    let revision = Revision(catalog.revision().0 + 1);
    let change = catalog.change_of(revision, &txn.operations);
    let (_, errors) = catalog.apply(&change);
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(catalog.check_invariants(), Ok(()));
    Some(change)
}

fn run(catalog: &mut Catalog, command: &Command, now: u64) -> Result<Option<Change>, Rejection> {
    let txn = transact(catalog, command, Timestamp(now))?;
    Ok(commit(catalog, &txn))
}

fn node(name: &str) -> Node {
    Node { name: name.into(), address: "127.0.0.1".into(), ..Node::default() }
}

fn agent_catalog() -> Catalog {
    let mut catalog = Catalog::default();
    let registration = CatalogRegistration { node: node("n1"), ..CatalogRegistration::default() };
    run(&mut catalog, &Command::RegisterInCatalog(registration), 1).expect("valid");
    catalog
}

fn web(id: &str, checks: &[&str]) -> Command {
    let instance = Instance {
        node: "n1".into(),
        id: id.into(),
        service: "web".into(),
        port: 80,
        origin: Origin::Agent,
        ..Instance::default()
    };
    let checks = checks.iter().map(|check| agent_check(check)).collect();
    Command::RegisterService(ServiceRegistration { instance, checks, ..Default::default() })
}

fn agent_check(id: &str) -> Check {
    Check {
        node: "n1".into(),
        id: id.into(),
        name: id.into(),
        origin: Origin::Agent,
        ..Check::default()
    }
}

fn status(id: &str, status: CheckStatus, output: &str) -> Command {
    Command::SetCheckStatus {
        node: "n1".into(),
        id: id.into(),
        status,
        output: output.into(),
        output_matters: false,
    }
}

fn state(catalog: &Catalog, id: &str) -> VerdictState {
    let node = model::Folded::new("n1");
    verdict(catalog, catalog.instance(&node, &id.into()).expect("registered")).state
}

#[test]
fn registering_the_same_again_changes_nothing() {
    let mut catalog = agent_catalog();
    assert!(run(&mut catalog, &web("web1", &["c"]), 2).expect("valid").is_some());
    assert_eq!(run(&mut catalog, &web("web1", &["c"]), 3), Ok(None));
}

#[test]
fn a_check_that_is_registered_again_keeps_its_verdict() {
    let mut catalog = agent_catalog();
    run(&mut catalog, &web("web1", &["c"]), 2).expect("valid");
    assert_eq!(state(&catalog, "web1"), VerdictState::Critical);
    run(&mut catalog, &status("c", CheckStatus::Passing, "ok"), 3).expect("valid");
    assert_eq!(run(&mut catalog, &web("web1", &["c"]), 4), Ok(None));
    assert_eq!(state(&catalog, "web1"), VerdictState::Passing);
}

#[test]
fn an_output_without_a_new_verdict_is_not_written() {
    let mut catalog = agent_catalog();
    run(&mut catalog, &web("web1", &["c"]), 2).expect("valid");
    run(&mut catalog, &status("c", CheckStatus::Passing, "one"), 3).expect("valid");
    assert_eq!(run(&mut catalog, &status("c", CheckStatus::Passing, "two"), 4), Ok(None));
}

#[test]
fn the_first_output_is_written_without_a_new_verdict() {
    let mut catalog = agent_catalog();
    run(&mut catalog, &web("web1", &["c"]), 2).expect("valid");
    assert_eq!(run(&mut catalog, &status("c", CheckStatus::Critical, ""), 3), Ok(None));
    let refused = status("c", CheckStatus::Critical, "connection refused");
    assert!(run(&mut catalog, &refused, 4).expect("valid").is_some());
    let check = catalog.checks().next().expect("registered").clone();
    assert_eq!((check.output.as_str(), check.since), ("connection refused", Timestamp(2)));
    assert_eq!(run(&mut catalog, &refused, 5), Ok(None), "a no-op write moves nothing");
    assert_eq!(run(&mut catalog, &status("c", CheckStatus::Critical, "other"), 6), Ok(None));
    assert_eq!(run(&mut catalog, &status("c", CheckStatus::Critical, ""), 7), Ok(None));
}

#[test]
fn a_verdict_keeps_the_time_at_which_it_changed() {
    let mut catalog = agent_catalog();
    run(&mut catalog, &web("web1", &["c"]), 2).expect("valid");
    run(&mut catalog, &status("c", CheckStatus::Passing, "one"), 30).expect("valid");
    let again = Command::SetCheckStatus {
        node: "n1".into(),
        id: "c".into(),
        status: CheckStatus::Passing,
        output: "two".into(),
        output_matters: true,
    };
    assert!(run(&mut catalog, &again, 40).expect("valid").is_some());
    let check = catalog.check(&model::Folded::new("N1"), &"c".into()).expect("registered").clone();
    assert_eq!((check.since, check.output.as_str()), (Timestamp(30), "two"));
}

#[test]
fn maintenance_outranks_critical_and_keeps_its_first_reason() {
    let mut catalog = agent_catalog();
    run(&mut catalog, &web("web1", &["c"]), 2).expect("valid");
    let maintain = |reason: Option<&str>| Command::SetMaintenance {
        node: "n1".into(),
        service: Some("web1".into()),
        reason: reason.map(Into::into),
    };
    run(&mut catalog, &maintain(Some("disk")), 3).expect("valid");
    assert_eq!(run(&mut catalog, &maintain(Some("other")), 4), Ok(None));
    let instance = catalog.instances().next().expect("registered");
    let merged = verdict(&catalog, instance);
    assert_eq!(merged.state, VerdictState::Maintenance);
    assert_eq!(merged.reasons[0].text, "disk");
    assert_eq!(merged.reasons.len(), 2);
    run(&mut catalog, &maintain(None), 5).expect("valid");
    assert_eq!(state(&catalog, "web1"), VerdictState::Critical);
}

#[test]
fn deregistering_an_instance_takes_its_checks_and_wakes_its_watchers() {
    let mut catalog = agent_catalog();
    run(&mut catalog, &web("web1", &["c"]), 2).expect("valid");
    let command = Command::DeregisterService { node: "n1".into(), id: "web1".into() };
    let txn = transact(&catalog, &command, Timestamp(3)).expect("valid");
    let change = commit(&mut catalog.clone(), &txn).expect("changes");
    let (touched, _) = catalog.apply(&change);
    assert!(touched.contains(&WatchKey::Service(model::Folded::new("web"))));
    assert!(touched.contains(&WatchKey::Checks));
    assert_eq!((catalog.instance_count(), catalog.check_count()), (0, 0));
    assert_eq!(
        run(&mut catalog, &command, 4),
        Err(Rejection::UnknownService("web1".into())),
        "it is gone"
    );
}

#[test]
fn a_node_takes_everything_on_it_when_it_goes() {
    let mut catalog = agent_catalog();
    run(&mut catalog, &web("web1", &["c"]), 2).expect("valid");
    let target = CatalogTarget::Node;
    let command = Command::DeregisterFromCatalog { node: "N1".into(), target };
    run(&mut catalog, &command, 3).expect("valid");
    let counts = (catalog.node_count(), catalog.instance_count(), catalog.check_count());
    assert_eq!(counts, (0, 0, 0));
    assert_eq!(run(&mut catalog, &command, 4), Ok(None), "nothing is left to remove");
}

#[test]
fn a_name_with_control_characters_is_refused() {
    let mut catalog = agent_catalog();
    let refused = run(&mut catalog, &web("we\0b", &[]), 2);
    assert!(matches!(refused, Err(Rejection::ControlCharacters { what: "service ID", .. })));
}

#[test]
fn a_node_name_is_reserved_while_its_node_lives() {
    let id = |digit: char| format!("{}-0000-0000-0000-000000000000", digit.to_string().repeat(8));
    let register = |id: String| {
        let node = Node { id, ..node("n2") };
        Command::RegisterInCatalog(CatalogRegistration { node, ..Default::default() })
    };
    let mut catalog = agent_catalog();
    run(&mut catalog, &register(id('1')), 2).expect("valid");
    let refused = run(&mut catalog, &register(id('2')), 3).expect_err("the name is taken");
    assert!(
        refused.to_string().contains("Node name n2 is reserved by node 11111111-"),
        "{refused}"
    );
}
