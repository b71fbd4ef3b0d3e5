//! The policies that the identities of services and nodes stand for.

use crate::names::is_valid_identity_name;

/// A name that no service or node of an identity has.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "{kind} identity {name:?} has an invalid name. Only lowercase alphanumeric characters, '-' and '_' are allowed"
)]
pub struct IdentityError {
    /// `service` or `node`.
    pub kind: &'static str,
    /// The name.
    pub name: String,
}

/// The rules for a service and its sidecar: registers both, finds every other.
pub fn service_identity_rules(service: &str) -> Result<String, IdentityError> {
    check("service", service)?;
    Ok(SERVICE_RULES.replace(NAME, service))
}

/// The rules for an agent: registers its node, sees every service.
pub fn node_identity_rules(node: &str) -> Result<String, IdentityError> {
    check("node", node)?;
    Ok(NODE_RULES.replace(NAME, node))
}

pub(crate) fn check(kind: &'static str, name: &str) -> Result<(), IdentityError> {
    match is_valid_identity_name(name) {
        true => Ok(()),
        false => Err(IdentityError { kind, name: name.to_owned() }),
    }
}

/// What a name takes the place of.
pub(crate) const NAME: &str = "{{.Name}}";

pub(crate) const SERVICE_RULES: &str = r#"service "{{.Name}}" {
  policy = "write"
}
service "{{.Name}}-sidecar-proxy" {
  policy = "write"
}
service_prefix "" {
  policy = "read"
}
node_prefix "" {
  policy = "read"
}
"#;

pub(crate) const NODE_RULES: &str = r#"node "{{.Name}}" {
  policy = "write"
}
service_prefix "" {
  policy = "read"
}
"#;
