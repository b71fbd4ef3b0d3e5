//! Proxies that are registered with the instances that they are in front of.

use std::sync::Arc;

use model::{Folded, ServiceAddress, ServiceId};
use serde_json::json;

use super::*;
use crate::SidecarRegistration;

fn sidecar_of(id: &str, port: u16) -> SidecarRegistration {
    let proxy = json!({"DestinationServiceName": "web", "DestinationServiceID": id,
        "LocalServiceAddress": "127.0.0.1"});
    let instance = Instance {
        node: "n1".into(),
        id: format!("{id}-sidecar-proxy").into(),
        service: "web-sidecar-proxy".into(),
        kind: "connect-proxy".into(),
        port,
        proxy: Some(Arc::new(proxy)),
        sidecar_of: id.into(),
        origin: Origin::Agent,
        ..Instance::default()
    };
    SidecarRegistration { instance, checks: Vec::new() }
}

fn with_sidecar(id: &str, port: u16) -> Command {
    let Command::RegisterService(registration) = web(id, &[]) else { panic!("it registers") };
    let sidecar = Some(Box::new(sidecar_of(id, port)));
    Command::RegisterService(ServiceRegistration { sidecar, ..registration })
}

fn found<'a>(catalog: &'a Catalog, id: &str) -> Option<&'a Instance> {
    let found = catalog.instance(&Folded::new("n1"), &ServiceId::from(id));
    found.map(|it| &it.value)
}

#[test]
fn a_sidecar_gets_the_lowest_free_port_and_keeps_it() {
    let mut catalog = agent_catalog();
    for id in ["a", "b", "c"] {
        run(&mut catalog, &with_sidecar(id, 0), 2).expect("valid");
    }
    let port = |catalog: &Catalog, id: &str| found(catalog, id).map(|it| it.port);
    let ports = ["a", "b", "c"].map(|id| port(&catalog, &format!("{id}-sidecar-proxy")));
    assert_eq!(ports, [Some(21000), Some(21001), Some(21002)]);
    let gone = Command::DeregisterService { node: "n1".into(), id: "a".into() };
    run(&mut catalog, &gone, 3).expect("valid");
    assert_eq!(run(&mut catalog, &with_sidecar("b", 0), 4), Ok(None));
    run(&mut catalog, &with_sidecar("d", 0), 4).expect("valid");
    assert_eq!(port(&catalog, "d-sidecar-proxy"), Some(21000));
    run(&mut catalog, &with_sidecar("e", 8443), 4).expect("valid");
    assert_eq!(port(&catalog, "e-sidecar-proxy"), Some(8443));
}

#[test]
fn a_sidecar_has_two_checks_unless_it_says_otherwise() {
    let mut catalog = agent_catalog();
    let mut sidecar = sidecar_of("web1", 0);
    sidecar.instance.address = "::1".into();
    let address = ServiceAddress { address: "::1".into(), port: 0 };
    sidecar.instance.tagged_addresses = [("lan_ipv6", address)].into_iter().collect();
    let Command::RegisterService(registration) = web("web1", &[]) else { panic!("it registers") };
    let sidecar = Some(Box::new(sidecar));
    let command = Command::RegisterService(ServiceRegistration { sidecar, ..registration });
    run(&mut catalog, &command, 2).expect("valid");
    let proxy = found(&catalog, "web1-sidecar-proxy").expect("registered");
    let tagged = proxy.tagged_addresses.get("lan_ipv6").map(|it| it.port);
    assert_eq!(tagged, Some(21000));
    let node = Folded::new("n1");
    let checks: Vec<_> = catalog.checks_of_instance(&node, &proxy.id).collect();
    let names: Vec<(&str, &str)> = checks.iter().map(|it| (it.id.as_str(), &*it.name)).collect();
    assert_eq!(
        names,
        [
            ("service:web1-sidecar-proxy:1", "Connect Sidecar Listening"),
            ("service:web1-sidecar-proxy:2", "Connect Sidecar Aliasing web1"),
        ]
    );
    assert_eq!(checks[0].definition.as_ref().map(|it| &*it.tcp), Some("[::1]:21000"));
    assert_eq!(checks[1].definition.as_ref().map(|it| &*it.alias_service), Some("web1"));
}

#[test]
fn a_sidecar_goes_with_its_instance() {
    let mut catalog = agent_catalog();
    run(&mut catalog, &with_sidecar("web1", 0), 2).expect("valid");
    let node = Folded::new("n1");
    assert_eq!(catalog.mesh_instances(&Folded::new("web")).count(), 1);
    let gone = Command::DeregisterService { node: "n1".into(), id: "web1".into() };
    run(&mut catalog, &gone, 3).expect("valid");
    assert_eq!(catalog.instances_of_node(&node).count(), 0);
    assert_eq!(catalog.checks_of_node(&node).count(), 0);
    // One that was registered by itself under such an id stays.
    run(&mut catalog, &web("web1", &[]), 4).expect("valid");
    run(&mut catalog, &web("web1-sidecar-proxy", &[]), 4).expect("valid");
    run(&mut catalog, &gone, 5).expect("valid");
    assert!(found(&catalog, "web1-sidecar-proxy").is_some());
}

#[test]
fn ports_run_out_with_a_reason() {
    let mut catalog = agent_catalog();
    for idx in 0..256 {
        run(&mut catalog, &with_sidecar(&format!("s{idx}"), 0), 2).expect("valid");
    }
    let refused = run(&mut catalog, &with_sidecar("one-too-many", 0), 3);
    assert_eq!(refused, Err(Rejection::SidecarPortsTaken { first: 21000, last: 21255 }));
}

#[test]
fn ports_are_those_that_the_agent_was_told() {
    let mut catalog = agent_catalog();
    let with = |id: &str, sidecar_ports| match with_sidecar(id, 0) {
        Command::RegisterService(registration) => {
            Command::RegisterService(ServiceRegistration { sidecar_ports, ..registration })
        }
        other => panic!("{other:?} registers nothing"),
    };
    let one = SidecarPorts { first: 9000, last: 9000 };
    run(&mut catalog, &with("a", one), 2).expect("valid");
    assert_eq!(found(&catalog, "a-sidecar-proxy").map(|it| it.port), Some(9000));
    let refused = run(&mut catalog, &with("b", one), 3);
    assert_eq!(refused, Err(Rejection::SidecarPortsTaken { first: 9000, last: 9000 }));
    let refused = run(&mut catalog, &with("b", SidecarPorts::NONE), 3);
    assert_eq!(refused, Err(Rejection::SidecarPortsOff));
}

#[test]
fn two_sidecars_at_the_same_time_do_not_get_one_port() {
    let catalog = agent_catalog();
    assert!(!writers::race(&catalog, &with_sidecar("a", 0), &with_sidecar("b", 0)));
    assert!(writers::race(&catalog, &with_sidecar("a", 1), &with_sidecar("b", 2)));
}

#[test]
fn ways_into_the_mesh_come_and_go() {
    let mut catalog = agent_catalog();
    run(&mut catalog, &with_sidecar("web1", 0), 2).expect("valid");
    let web = Folded::new("web");
    let index = catalog.mesh_index(&web);
    assert_eq!(index, catalog.revision());
    // The proxy serves another one from now on.
    let mut sidecar = sidecar_of("web1", 21000).instance;
    sidecar.proxy = Some(Arc::new(json!({"DestinationServiceName": "api"})));
    let command = Command::RegisterService(ServiceRegistration {
        instance: sidecar,
        ..ServiceRegistration::default()
    });
    let txn = transact(&catalog, &command, Timestamp(3)).expect("valid");
    let change = catalog.change_of(Revision(catalog.revision().0 + 1), &txn.operations);
    let (touched, _) = catalog.apply(&change);
    assert!(touched.contains(&WatchKey::Mesh(web.clone())));
    assert!(touched.contains(&WatchKey::Mesh(Folded::new("api"))));
    assert_eq!(catalog.mesh_instances(&web).count(), 0);
    assert_eq!(catalog.mesh_instances(&Folded::new("api")).count(), 1);
    assert!(catalog.mesh_index(&web) > index);
    assert_eq!(catalog.check_invariants(), Ok(()));
}
