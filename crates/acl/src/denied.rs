//! Why not, in Consul's words.

use std::fmt;

use crate::builtin::ANONYMOUS_TOKEN_ACCESSOR;
use crate::resource::{Access, Resource};

/// A token may not do something. Doors answer it with status 403.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Denied {
    /// The accessor id of the token that was used.
    pub accessor: String,
    /// What it was used on.
    pub resource: Resource,
    /// What was to be done.
    pub access: Access,
    /// On which; `None` if the resource has no segments.
    pub segment: Option<String>,
}

impl std::error::Error for Denied {}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { accessor, resource, access, segment } = self;
        let is_anonymous = accessor == ANONYMOUS_TOKEN_ACCESSOR;
        f.write_str("Permission denied: ")?;
        match is_anonymous {
            true => f.write_str("anonymous token")?,
            false => write!(f, "token with AccessorID '{accessor}'")?,
        }
        write!(f, " lacks permission '{resource}:{access}'")?;
        if let Some(segment) = segment.as_ref().filter(|it| !it.is_empty()) {
            write!(f, " on \"{segment}\"")?;
        }
        if is_anonymous {
            let why =
                "The anonymous token is used implicitly when a request does not specify a token.";
            write!(f, ". {why}")?;
        }
        Ok(())
    }
}
