//! Which names there may be.

/// Names of builtin policies and templates begin so; nobody else's do.
pub(crate) const BUILTIN_PREFIX: &str = "builtin/";
/// In bytes, of policies and auth methods.
const SHORT_NAME_BYTES_MAX: usize = 128;
/// In bytes, of roles and of the services and nodes of identities.
const LONG_NAME_BYTES_MAX: usize = 256;

fn is_word(name: &str, bytes_max: usize) -> bool {
    (1..=bytes_max).contains(&name.len())
        && name.bytes().all(|it| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_'))
}

/// Letters, digits, `-` and `_`, with one `/` among them but not at the beginning; at most 128. Names of builtin policies
/// are not valid for others.
#[must_use]
pub fn is_valid_policy_name(name: &str) -> bool {
    let (first, second) = name.split_once('/').unwrap_or((name, ""));
    name.len() <= SHORT_NAME_BYTES_MAX
        && !name.starts_with(BUILTIN_PREFIX)
        && is_word(first, SHORT_NAME_BYTES_MAX)
        && (second.is_empty() || is_word(second, SHORT_NAME_BYTES_MAX))
}

/// Letters, digits, `-` and `_`; at most 256.
#[must_use]
pub fn is_valid_role_name(name: &str) -> bool {
    is_word(name, LONG_NAME_BYTES_MAX)
}

/// Letters, digits, `-` and `_`; at most 128.
#[must_use]
pub fn is_valid_auth_method_name(name: &str) -> bool {
    is_word(name, SHORT_NAME_BYTES_MAX)
}

/// The service of a service identity, or the node of a node identity: lower-case letters, digits, and between them also `-`
/// and `_`; at most 256. Narrower than what the catalog takes.
#[must_use]
pub fn is_valid_identity_name(name: &str) -> bool {
    let is_joint = |it: Option<u8>| matches!(it, Some(b'-' | b'_'));
    is_word(name, LONG_NAME_BYTES_MAX)
        && !name.bytes().any(|it| it.is_ascii_uppercase())
        && !is_joint(name.bytes().next())
        && !is_joint(name.bytes().next_back())
}
