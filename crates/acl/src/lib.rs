//! # acl: who may do what, in Consul's words
//!
//! The rule language and what rules allow; the policies that names stand for; what a login's claims give it. Everything is a
//! value or a function of values: [`Rules`] are parsed, an [`Authorizer`] is merged from them and answers questions,
//! [`Denied`] says in Consul's words why not.
//!
//! *May touch:* nothing; `now` is an argument. *Does not know:* tokens and where they are kept, signatures, HTTP, the
//! language of selectors.
//!
//! Invariants:
//! * What an authorizer answers does not depend on the order of its policies.
//! * Of rules that are equally near, `deny` wins; a nearer rule beats a farther one, whatever it says.
//! * No default allows anything about tokens and policies: that needs a rule, or management.
//! * Rules with something in them that is not understood are refused as a whole: none is half in force.

mod authorizer;
mod binding;
mod builtin;
mod claims;
mod denied;
mod identity;
mod names;
mod resource;
mod rules;
mod template;
#[cfg(test)]
mod tests;

pub use authorizer::{AskError, Authorizer, DefaultPolicy};
pub use binding::{BindError, BindType, Binding, bind, check_bind_name, interpolate};
pub use builtin::{
    ANONYMOUS_TOKEN_ACCESSOR, ANONYMOUS_TOKEN_SECRET, BuiltinPolicy, GLOBAL_MANAGEMENT,
    GLOBAL_READ_ONLY, builtin_policies, is_reserved_id,
};
pub use claims::{ClaimError, ClaimRules, Identity, Leeway, check_claims, identity, map_claims};
pub use denied::Denied;
pub use identity::{IdentityError, node_identity_rules, service_identity_rules};
pub use names::{
    is_valid_auth_method_name, is_valid_identity_name, is_valid_policy_name, is_valid_role_name,
};
pub use resource::{Access, Level, Resource};
pub use rules::{Rules, RulesError};
pub use template::{Template, TemplateError, template, templates};
