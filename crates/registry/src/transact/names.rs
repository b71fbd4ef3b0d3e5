use model::{Instance, Node};

use crate::Rejection;

/// Most bytes of a name or id: 1 KiB is four times the longest DNS name, and keeps keys small.
const NAME_BYTES_MAX: usize = 1024;

/// Refuses a node without a name, or with an id that is none.
pub(super) fn check_node(node: &Node) -> Result<(), Rejection> {
    if node.name.is_empty() {
        return Err(Rejection::NodeMissing);
    }
    check_name("node name", node.name.as_str())?;
    if !node.id.is_empty() && !is_uuid(&node.id) {
        let why = format!("{:?} is not a UUID (8-4-4-4-12 hex digits)", node.id);
        return Err(Rejection::BadNodeId(why));
    }
    Ok(())
}

/// An instance with its id filled in, unless what it says of itself is refused.
pub(super) fn check_instance(mut instance: Instance) -> Result<Instance, Rejection> {
    if instance.service.is_empty() {
        let rejection = if instance.id.is_empty() {
            Rejection::ServiceNameMissing
        } else {
            Rejection::ServiceNameMissingWithId
        };
        return Err(rejection);
    }
    if instance.id.is_empty() {
        instance.id = instance.service.as_str().into();
    }
    check_name("service name", instance.service.as_str())?;
    check_name("service ID", instance.id.as_str())?;
    if matches!(instance.address.as_str(), "0.0.0.0" | "::" | "[::]") {
        return Err(Rejection::AnyAddress);
    }
    Ok(instance)
}

/// Refuses a name that no key, DNS name or log line can carry.
pub(super) fn check_name(what: &'static str, name: &str) -> Result<(), Rejection> {
    if name.len() > NAME_BYTES_MAX {
        return Err(Rejection::NameTooLong { what, bytes: name.len(), bytes_max: NAME_BYTES_MAX });
    }
    if name.chars().any(char::is_control) {
        return Err(Rejection::ControlCharacters { what, name: name.to_owned() });
    }
    Ok(())
}

/// True for 8-4-4-4-12 hex digits.
fn is_uuid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups.iter().all(|group| group.bytes().all(|b| b.is_ascii_hexdigit()))
}
