//! What every cluster has from its first moment: two policies and the anonymous token.

/// The accessor id of the token that is used for requests without one.
pub const ANONYMOUS_TOKEN_ACCESSOR: &str = "00000000-0000-0000-0000-000000000002";
/// The secret id of that token.
pub const ANONYMOUS_TOKEN_SECRET: &str = "anonymous";

/// Ids that begin so are never given to anything new.
const RESERVED_ID_PREFIX: &str = "00000000-0000-0000-0000-0000000000";

/// True for ids that Consul keeps for itself.
#[must_use]
pub fn is_reserved_id(id: &str) -> bool {
    id.starts_with(RESERVED_ID_PREFIX)
}

/// A policy that cannot be changed or deleted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BuiltinPolicy {
    /// A UUID.
    pub id: &'static str,
    /// Unique among policies.
    pub name: &'static str,
    /// For people.
    pub description: &'static str,
    /// In the rule language.
    pub rules: &'static str,
}

/// The rules that say the same of everything.
macro_rules! everything {
    ($level:literal) => {
        concat!(
            "acl = \"",
            $level,
            "\"\n",
            "keyring = \"",
            $level,
            "\"\n",
            "mesh = \"",
            $level,
            "\"\n",
            "operator = \"",
            $level,
            "\"\n",
            "peering = \"",
            $level,
            "\"\n",
            "agent_prefix \"\" {\n  policy = \"",
            $level,
            "\"\n}\n",
            "event_prefix \"\" {\n  policy = \"",
            $level,
            "\"\n}\n",
            "key_prefix \"\" {\n  policy = \"",
            $level,
            "\"\n}\n",
            "node_prefix \"\" {\n  policy = \"",
            $level,
            "\"\n}\n",
            "query_prefix \"\" {\n  policy = \"",
            $level,
            "\"\n}\n",
            "service_prefix \"\" {\n  policy = \"",
            $level,
            "\"\n  intentions = \"",
            $level,
            "\"\n}\n",
            "session_prefix \"\" {\n  policy = \"",
            $level,
            "\"\n}\n",
        )
    };
}

/// May do everything.
pub const GLOBAL_MANAGEMENT: BuiltinPolicy = BuiltinPolicy {
    id: "00000000-0000-0000-0000-000000000001",
    name: "global-management",
    description: "Everything is allowed",
    rules: everything!("write"),
};

/// May see everything.
pub const GLOBAL_READ_ONLY: BuiltinPolicy = BuiltinPolicy {
    id: "00000000-0000-0000-0000-000000000002",
    name: "builtin/global-read-only",
    description: "Everything may be seen, nothing may be changed",
    rules: everything!("read"),
};

/// Both of them.
#[must_use]
pub fn builtin_policies() -> [&'static BuiltinPolicy; 2] {
    [&GLOBAL_MANAGEMENT, &GLOBAL_READ_ONLY]
}
