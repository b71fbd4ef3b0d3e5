//! The cost of one change in a large mesh, counted in resources that were made anew rather than in time.

use std::sync::Arc;

use model::Entry;

use super::*;

fn entry(object: &Object) -> Entry {
    let Operation::Put { key, value, .. } = object.put() else { panic!("a put is a put") };
    Entry { key, value, created: Revision(1), modified: Revision(1) }
}

#[test]
fn one_change_among_many_services_makes_one_resource_anew() {
    const SERVICES: usize = 1_000;
    let mut entries = vec![entry(&node("n1"))];
    for idx in 0..SERVICES {
        let name = format!("s{idx}");
        for copy in 0..10 {
            entries.push(entry(&Object::Instance(instance(&format!("{name}-{copy}"), &name, 80))));
        }
        let ports = vec![port(80, PortRef::default())];
        entries.push(entry(&service(&name, &[("app", &name)], ports)));
    }
    let (catalog, errors) = Catalog::from_entries(Revision(1), entries);
    assert!(errors.is_empty());
    let mut world = World { catalog, compiler: Compiler::new(settings()) };
    let before = world.compile().config;
    assert_eq!(before.clusters.len(), 2 * SERVICES);
    world.put(check("1", "s7-3", CheckStatus::Critical));
    let after = world.compile().config;
    let fresh = |it: &(&String, &Arc<_>)| !Arc::ptr_eq(it.1, &before.endpoints[it.0]);
    let changed: Vec<&String> =
        after.endpoints.iter().filter(fresh).map(|(name, _)| name).collect();
    assert_eq!(changed, ["s7", "s7.default:80"]);
    let same = |name| Arc::ptr_eq(&before.route_tables[name], &after.route_tables[name]);
    assert!(same(OUTBOUND) && same(INGRESS));
}
