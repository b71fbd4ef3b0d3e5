use model::{Catalog, Check, CheckStatus, Folded, NodeName, ServiceId};

/// The verdict and output of an alias check: the worst of the checks of the aliased instance and of
/// its node's own.
///
/// The alias itself is left out, so that an alias of its own node can recover. Texts are Consul's
/// (`agent/checks/alias.go`), except that a warning names its check too.
#[must_use]
pub fn alias_verdict(catalog: &Catalog, alias: &Check) -> (CheckStatus, String) {
    let Some(definition) = &alias.definition else {
        return (CheckStatus::Critical, "The alias names no service and no node.".into());
    };
    let node = aliased_node(alias);
    let service = ServiceId::from(definition.alias_service.as_str());
    if !service.is_empty() && catalog.instance(&node, &service).is_none() {
        let text =
            format!("Service {service} could not be found on node {}", definition.alias_node);
        return (CheckStatus::Critical, text);
    }
    if catalog.node(&node).is_none() {
        return (CheckStatus::Critical, format!("Node {node} could not be found"));
    }
    let own = ServiceId::default();
    let of_service = (!service.is_empty()).then(|| catalog.checks_of_instance(&node, &service));
    let checks = catalog
        .checks_of_instance(&node, &own)
        .chain(of_service.into_iter().flatten())
        .filter(|check| check.id != alias.id || check.node.folded() != alias.node.folded());

    let mut worst: Option<&Check> = None;
    for check in checks {
        if worst.is_none_or(|worst| check.status > worst.status) {
            worst = Some(check);
        }
    }
    match worst {
        None => (CheckStatus::Passing, "No checks found.".into()),
        Some(check) => match check.status {
            CheckStatus::Passing => (CheckStatus::Passing, "All checks passing.".into()),
            CheckStatus::Warning | CheckStatus::Critical => {
                let text = format!("Aliased check {:?} failing: {}", check.name, check.output);
                (check.status, text)
            }
        },
    }
}

/// The node of an alias: the one that it names, or its own.
fn aliased_node(alias: &Check) -> Folded {
    match alias.definition.as_deref() {
        Some(definition) if !definition.alias_node.is_empty() => {
            NodeName::from(definition.alias_node.as_str()).folded()
        }
        Some(_) | None => alias.node.folded(),
    }
}
