use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
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

            /// The form under which it is looked up: lower case.
            #[must_use]
            pub fn folded(&self) -> Folded {
                Folded::new(&self.0)
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

/// A name in lower case: the key of every index that ignores letter case.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Folded(Arc<str>);

impl Folded {
    /// Folds `text` to lower case (Unicode simple lowercase).
    #[must_use]
    pub fn new(text: &str) -> Self {
        if text.bytes().any(|b| b.is_ascii_uppercase() || !b.is_ascii()) {
            Self(text.to_lowercase().into())
        } else {
            Self(text.into())
        }
    }

    /// The folded text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Folded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
