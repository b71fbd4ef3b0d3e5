mod records;

use super::*;
use crate::Operation;

fn orphans() -> [Object; 3] {
    let instance = Instance {
        node: "gone".into(),
        id: "web1".into(),
        service: "web".into(),
        ..Default::default()
    };
    let check = |id: &str, owner: &str| Check {
        node: "gone".into(),
        id: id.into(),
        service_id: owner.into(),
        ..Check::default()
    };
    let checks = [check("c", "web1"), check("d", "web2")].map(Object::Check);
    let [first, second] = checks;
    [Object::Instance(instance), first, second]
}

fn put(object: &Object) -> (String, Arc<[u8]>) {
    let Operation::Put { key, value, .. } = object.put() else { unreachable!("a put is a put") };
    (key, value)
}

/// The registry makes none, but a store may hold anything.
#[test]
fn orphans_are_kept_and_cause_no_panic() {
    let entries = orphans().map(|it| {
        let (key, value) = put(&it);
        Entry { key, value, created: Revision(1), modified: Revision(1) }
    });
    let (loaded, errors) = Catalog::from_entries(Revision(1), entries);
    assert!(errors.is_empty());
    let mut applied = Catalog::default();
    let keys = orphans().map(|it| {
        let (key, value) = put(&it);
        KeyChange::Put { key, value, created: Revision(1) }
    });
    applied.apply(&Change { revision: Revision(1), keys: keys.into() });
    for mut catalog in [loaded, applied] {
        assert_eq!(catalog.check_indexes(), Ok(()));
        assert!(catalog.check_invariants().is_err(), "it is told");
        assert_eq!(catalog.instances_of_service(&Folded::new("web")).count(), 1);
        assert_eq!(catalog.checks_of_node(&Folded::new("gone")).count(), 2);
        let node = Node { name: "gone".into(), ..Node::default() };
        let (key, value) = put(&Object::Node(node));
        let put = KeyChange::Put { key: key.clone(), value, created: Revision(2) };
        catalog.apply(&Change { revision: Revision(2), keys: vec![put] });
        catalog.apply(&Change { revision: Revision(3), keys: vec![KeyChange::Delete { key }] });
        let gone = orphans().map(|it| KeyChange::Delete { key: it.key().encode() });
        catalog.apply(&Change { revision: Revision(4), keys: gone.into() });
        assert_eq!(catalog.check_invariants(), Ok(()));
        assert_eq!((catalog.instance_count(), catalog.check_count()), (0, 0));
    }
}
