//! Addresses that stand for services.

use std::net::Ipv4Addr;

use model::{ConfigEntry, VirtualAddress};
use serde_json::json;

use super::*;
use crate::decide;

fn assign(service: &str, last: &[u8]) -> Command {
    let addresses = last.iter().map(|it| Ipv4Addr::new(240, 0, 0, *it)).collect();
    Command::AssignVirtualAddresses { service: service.into(), addresses }
}

/// A catalog in which these services are resolved.
fn with_resolvers(names: &[&str]) -> Catalog {
    let mut catalog = agent_catalog();
    for name in names {
        let body = json!({"Kind": "service-resolver", "Name": name});
        let entry = ConfigEntry { kind: "service-resolver".into(), name: (*name).into(), body };
        let record = Record::ConfigEntry(entry);
        let command = Command::PutRecord { record, when: RecordCondition::Always };
        run(&mut catalog, &command, 1).expect("valid");
    }
    catalog
}

/// Each address with its service.
fn shown(catalog: &Catalog) -> Vec<(u8, String)> {
    let all = catalog.records::<VirtualAddress>();
    let mut all: Vec<_> = all.map(|it| (it.address.octets()[3], it.service.clone())).collect();
    all.sort();
    all
}

#[test]
fn an_address_stands_for_one_service_and_says_whose_it_was() {
    let mut catalog = with_resolvers(&["one", "two"]);
    run(&mut catalog, &assign("one", &[1, 2, 3]), 2).expect("valid");
    let decision = decide(&catalog, &assign("two", &[2]), Timestamp(3)).expect("valid");
    let owners: Vec<&str> = decision
        .read
        .iter()
        .map(|it| match &it.object {
            TxnObject::VirtualAddress(it) => it.service.as_str(),
            other => panic!("{other:?} is no address"),
        })
        .collect();
    assert_eq!(owners, ["one"]);
    run(&mut catalog, &assign("two", &[2]), 3).expect("valid");
    let expected = [(1, "one"), (2, "two"), (3, "one")];
    assert_eq!(shown(&catalog), expected.map(|(it, name)| (it, name.to_owned())));
    // Those that are not said again are no more its own.
    run(&mut catalog, &assign("ONE", &[3]), 4).expect("valid");
    assert_eq!(shown(&catalog).len(), 2);
    assert_eq!(shown(&catalog)[1].0, 3);
}

#[test]
fn a_service_that_nothing_is_known_of_gets_none() {
    let mut catalog = with_resolvers(&["one"]);
    run(&mut catalog, &assign("one", &[1]), 2).expect("valid");
    let refused = run(&mut catalog, &assign("missing", &[1]), 3);
    assert_eq!(refused, Err(Rejection::NoVirtualAddress("missing".into())));
    assert_eq!(shown(&catalog), [(1, "one".to_owned())]);
    // A registered one gets them when it is in the mesh.
    run(&mut catalog, &web("web1", &[]), 4).expect("valid");
    assert!(run(&mut catalog, &assign("web", &[2]), 5).is_err());
    let Command::RegisterService(mut registration) = web("web1", &[]) else { panic!("it does") };
    registration.instance.connect_native = true;
    run(&mut catalog, &Command::RegisterService(registration), 6).expect("valid");
    run(&mut catalog, &assign("web", &[2]), 7).expect("valid");
}

#[test]
fn two_that_want_one_address_see_each_other() {
    let catalog = with_resolvers(&["one", "two"]);
    assert!(!writers::race(&catalog, &assign("one", &[1]), &assign("two", &[1])));
    assert!(!writers::race(&catalog, &assign("one", &[1]), &assign("one", &[2])));
}
