use std::collections::BTreeSet;

use model::go::quote;

use super::{
    META_KEY_CHARACTERS_MAX, META_PAIRS_MAX, META_VALUE_CHARACTERS_MAX, Verdict, ensure,
    header_conditions, methods, pattern,
};
use crate::intentions::{HttpPermission, Intentions, JwtRequirement, Permission, Source};

pub(super) fn intentions(name: &str, it: &Intentions) -> Verdict {
    ensure(!name.is_empty(), || "Name is required".to_owned())?;
    wildcards(name)?;
    jwt(it.jwt.as_ref())?;
    ensure(!it.sources.is_empty(), || "At least one source is required".to_owned())?;
    let mut seen = BTreeSet::new();
    for (idx, of) in it.sources.iter().enumerate() {
        source(name, of).map_err(|why| format!("Sources[{idx}]{why}"))?;
        ensure(seen.insert((&of.name, &of.peer)), || {
            let name = quote(&of.name);
            if of.peer.is_empty() {
                format!("Sources[{idx}] defines {name} more than once")
            } else {
                format!("Sources[{idx}] defines peer({}) {name} more than once", quote(&of.peer))
            }
        })?;
    }
    Ok(())
}

fn wildcards(name: &str) -> Verdict {
    ensure(name == "*" || !name.contains('*'), || {
        "Name: wildcard character '*' cannot be used with partial values".to_owned()
    })
}

/// What is wrong is said with what comes between it and `Sources[0]`.
fn source(destination: &str, it: &Source) -> Verdict {
    ensure(!it.name.is_empty(), || ".Name is required".to_owned())?;
    ensure(it.sameness_group.is_empty(), || {
        ".SamenessGroup: Sameness groups are a Consul Enterprise feature.".to_owned()
    })?;
    wildcards(&it.name).map_err(|why| format!(".{why}"))?;
    ensure(!it.peer.contains('*'), || ".Peer: cannot use wildcard '*' in peer".to_owned())?;
    ensure(it.description.len() <= META_VALUE_CHARACTERS_MAX, || {
        format!(".Description exceeds maximum length {META_VALUE_CHARACTERS_MAX}")
    })?;
    ensure(it.legacy_meta.is_empty() || !it.legacy_id.is_empty(), || {
        ".LegacyMeta must be omitted".to_owned()
    })?;
    ensure(it.legacy_meta.len() <= META_PAIRS_MAX, || {
        format!(".Meta exceeds maximum element count {META_PAIRS_MAX}")
    })?;
    for (key, value) in &it.legacy_meta {
        ensure(key.len() <= META_KEY_CHARACTERS_MAX, || {
            format!(".Meta key {} exceeds maximum length {META_KEY_CHARACTERS_MAX}", quote(key))
        })?;
        ensure(value.len() <= META_VALUE_CHARACTERS_MAX, || {
            let key = quote(key);
            format!(".Meta value for key {key} exceeds maximum length {META_VALUE_CHARACTERS_MAX}")
        })?;
    }
    let is_action = |action: &str| matches!(action, "allow" | "deny");
    ensure(!it.permissions.is_empty() || is_action(&it.action), || {
        ".Action must be set to 'allow' or 'deny'".to_owned()
    })?;
    ensure(it.permissions.is_empty() || it.action.is_empty(), || {
        ".Action must be omitted if Permissions are specified".to_owned()
    })?;
    ensure(it.permissions.is_empty() || destination != "*", || {
        ".Permissions cannot be specified on intentions with wildcarded destinations".to_owned()
    })?;
    ensure(it.r#type == "consul", || ".Type must be set to 'consul'".to_owned())?;
    for (idx, permission) in it.permissions.iter().enumerate() {
        let at = format!(".Permissions[{idx}]");
        ensure(is_action(&permission.action), || {
            format!("{at}.Action must be set to 'allow' or 'deny'")
        })?;
        self::permission(permission).map_err(|why| format!("{at}{why}"))?;
    }
    Ok(())
}

fn permission(it: &Permission) -> Verdict {
    let Some(http) = &it.http else { return Err(".HTTP is required".to_owned()) };
    http_permission(http).map_err(|why| format!(".HTTP{why}"))?;
    jwt(it.jwt.as_ref())
}

fn http_permission(it: &HttpPermission) -> Verdict {
    for (name, path) in [("PathExact", &it.path_exact), ("PathPrefix", &it.path_prefix)] {
        ensure(path.is_empty() || path.starts_with('/'), || {
            format!(".{name} doesn't start with '/': {}", quote(path))
        })?;
    }
    let paths = [&it.path_exact, &it.path_prefix, &it.path_regex];
    let count = paths.iter().filter(|it| !it.is_empty()).count();
    ensure(count <= 1, || {
        " should only contain at most one of PathExact, PathPrefix, or PathRegex".to_owned()
    })?;
    pattern(|| ".PathRegex".to_owned(), &it.path_regex)?;
    for (at, header) in it.header.iter().enumerate() {
        ensure(!header.name.is_empty(), || format!(".Header[{at}] missing required Name field"))?;
        ensure(header_conditions(header) == 1, || {
            format!(
                ".Header[{at}] should only contain one of Present, Exact, Prefix, Suffix, Contains, or Regex"
            )
        })?;
        let needs_text = header.present || !header.regex.is_empty();
        ensure(!header.ignore_case || !needs_text, || {
            format!(
                ".Header[{at}] should set one of Exact, Prefix, Suffix, or Contains when using IgnoreCase"
            )
        })?;
        pattern(|| format!(".Header[{at}].Regex"), &header.regex)?;
    }
    methods(".Methods", &it.methods)?;
    let is_empty = count == 0 && it.header.is_empty() && it.methods.is_empty();
    ensure(!is_empty, || " should not be empty".to_owned())
}

fn jwt(it: Option<&JwtRequirement>) -> Verdict {
    let providers = it.into_iter().flat_map(|it| &it.providers);
    let nameless = providers.filter(|it| it.name.is_empty()).count();
    ensure(nameless == 0, || "JWT provider name is required".to_owned())
}
