use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text as it was given, letter case kept.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// True for the empty text, which stands for "none".
            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.0.is_empty()
            }

            /// The form under which it is looked up: lower case. Costs nothing when it is in lower case already.
            #[must_use]
            pub fn folded(&self) -> Folded {
                if is_folded(&self.0) {
                    Folded(Arc::clone(&self.0))
                } else {
                    Folded::new(&self.0)
                }
            }
        }

        impl Ord for $name {
            fn cmp(&self, other: &Self) -> Ordering {
                compare(&self.0, &other.0)
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

id!(
    /// Name of a node. Compared without regard to letter case (see [`Folded`]).
    NodeName
);
id!(
    /// Name of a service: what callers ask for. Compared without regard to letter case.
    ServiceName
);
id!(
    /// Id of one instance, unique on its node. Case-sensitive. Empty where a check belongs to the node.
    ServiceId
);
id!(
    /// Id of a check, unique on its node. Case-sensitive.
    CheckId
);

id!(
    /// Key of the key-value store. Case-sensitive; any text.
    KvKey
);

id!(
    /// Id of a session, a UUID. Case-sensitive.
    SessionId
);

/// A name in lower case: the key of every index that ignores letter case.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Folded(Arc<str>);

impl Folded {
    /// Folds `text` to lower case (Unicode simple lowercase).
    #[must_use]
    pub fn new(text: &str) -> Self {
        if is_folded(text) { Self(text.into()) } else { Self(text.to_lowercase().into()) }
    }

    /// The folded text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Ord for Folded {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(&self.0, &other.0)
    }
}

impl PartialOrd for Folded {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// True if folding would change nothing. Texts beyond ASCII count as not folded: they are folded the long way.
fn is_folded(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase())
}

/// Compares texts by their bytes. Names are shared, so most equal ones are the same allocation and need no look at
/// their bytes: in the catalog's trees all instances of a node have the same first part of the key.
fn compare(a: &Arc<str>, b: &Arc<str>) -> Ordering {
    if Arc::ptr_eq(a, b) { Ordering::Equal } else { a.as_bytes().cmp(b.as_bytes()) }
}

impl fmt::Display for Folded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
