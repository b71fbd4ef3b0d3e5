//! Binding rules: from a login's variables to what the new token is bound to. Which rules apply, their selectors decide
//! elsewhere.

use std::collections::BTreeMap;

use crate::names::{is_valid_identity_name, is_valid_policy_name, is_valid_role_name};
use crate::template::{Template, TemplateError, template};

/// The longest text that a template may become, in bytes; the longest valid name has 256.
const TEXT_BYTES_MAX: usize = 1024;

/// What a binding rule binds to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BindType {
    /// A service identity.
    Service,
    /// A node identity in the datacenter of the login.
    Node,
    /// A role that exists; one that does not is left out.
    Role,
    /// A policy that exists; one that does not is left out.
    Policy,
    /// A templated policy.
    TemplatedPolicy,
}

impl BindType {
    /// As documents write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Node => "node",
            Self::Role => "role",
            Self::Policy => "policy",
            Self::TemplatedPolicy => "templated-policy",
        }
    }

    /// Reads a name.
    pub fn from_name(name: &str) -> Result<Self, BindError> {
        [Self::Service, Self::Node, Self::Role, Self::Policy, Self::TemplatedPolicy]
            .into_iter()
            .find(|it| it.name() == name)
            .ok_or_else(|| BindError::Type(name.to_owned()))
    }
}

/// What a token is bound to by one rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Binding {
    /// The service of an identity.
    Service(String),
    /// The node of an identity.
    Node(String),
    /// The name of a role.
    Role(String),
    /// The name of a policy.
    Policy(String),
    /// A templated policy, and the name in it if it takes one.
    Templated(&'static Template, Option<String>),
}

/// Why a binding rule binds to nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BindError {
    /// No such bind type.
    #[error("unknown binding rule bind type: {0}")]
    Type(String),
    /// `${` without `}`.
    #[error("{0:?}: `${{` at byte {1} has no `}}`")]
    Unclosed(String, usize),
    /// Something else than a variable.
    #[error("{0:?}: `${{{1}}}` is no variable (only the names of variables can be in `${{…}}`)")]
    Expression(String, String),
    /// A variable that the login does not have.
    #[error("{0:?}: unknown variable accessed: {1}")]
    Variable(String, String),
    /// The text became too long.
    #[error("{0:?}: it becomes longer than {TEXT_BYTES_MAX} bytes")]
    TooLong(String),
    /// The text is no name for what it is bound to.
    #[error("computed {0:?} bind name for bind target is invalid: {1:?}")]
    Name(&'static str, String),
    /// The templated policy does not exist or does not take these variables.
    #[error("cannot compute \"templated-policy\" bind name for bind target: {0}")]
    Template(TemplateError),
}

/// The binding of a rule, for a login that has `variables` (`value.name`, `serviceaccount.namespace`, …).
///
/// `variable_name` is the template of the name in a templated policy (`BindVars.Name`). Values are put in in lower case.
pub fn bind(
    bind_type: BindType,
    bind_name: &str,
    variable_name: Option<&str>,
    variables: &BTreeMap<String, String>,
) -> Result<Binding, BindError> {
    let name = interpolate(bind_name, variables)?;
    let (is_valid, make): (bool, fn(String) -> Binding) = match bind_type {
        BindType::Service => (is_valid_identity_name(&name), Binding::Service),
        BindType::Node => (is_valid_identity_name(&name), Binding::Node),
        BindType::Role => (is_valid_role_name(&name), Binding::Role),
        BindType::Policy => {
            // A builtin policy may be bound to, though no other may have its name.
            let is_builtin = crate::builtin_policies().iter().any(|it| it.name == name);
            (is_builtin || is_valid_policy_name(&name), Binding::Policy)
        }
        BindType::TemplatedPolicy => {
            let template = template(&name).map_err(BindError::Template)?;
            let name = variable_name.map(|it| interpolate(it, variables)).transpose()?;
            let name = name.filter(|it| !it.is_empty());
            template.render(name.as_deref()).map_err(BindError::Template)?;
            return Ok(Binding::Templated(template, name));
        }
    };
    if is_valid { Ok(make(name)) } else { Err(BindError::Name(bind_type.name(), name)) }
}

/// Whether a rule can bind at all, for any login through an auth method whose logins have these variables.
pub fn check_bind_name<'a>(
    bind_type: BindType,
    bind_name: &str,
    variable_name: Option<&str>,
    variables: impl IntoIterator<Item = &'a str>,
) -> Result<(), BindError> {
    // A value that is valid wherever a name is asked for.
    let variables = variables.into_iter().map(|it| (it.to_owned(), "fake".to_owned())).collect();
    bind(bind_type, bind_name, variable_name, &variables).map(|_| ())
}

/// Puts variables, in lower case, in the places of `${name}`. `$${` is a plain `${`.
pub fn interpolate(text: &str, variables: &BTreeMap<String, String>) -> Result<String, BindError> {
    let mut made = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if let Some(plain) = rest[..at].strip_suffix('$') {
            made.push_str(plain);
            made.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        made.push_str(&rest[..at]);
        let Some(length) = rest[at..].find('}') else {
            return Err(BindError::Unclosed(text.to_owned(), text.len() - rest.len() + at));
        };
        let inside = &rest[at + 2..at + length];
        let name = inside.trim();
        if !is_variable(name) {
            return Err(BindError::Expression(text.to_owned(), inside.to_owned()));
        }
        let Some(value) = variables.get(name) else {
            return Err(BindError::Variable(text.to_owned(), name.to_owned()));
        };
        made.push_str(&value.to_lowercase());
        if made.len() > TEXT_BYTES_MAX {
            return Err(BindError::TooLong(text.to_owned()));
        }
        rest = &rest[at + length + 1..];
    }
    made.push_str(rest);
    match made.len() > TEXT_BYTES_MAX {
        true => Err(BindError::TooLong(text.to_owned())),
        false => Ok(made),
    }
}

fn is_variable(name: &str) -> bool {
    name.bytes().next().is_some_and(|it| it.is_ascii_alphabetic() || it == b'_')
        && name.bytes().all(|it| it.is_ascii_alphanumeric() || matches!(it, b'_' | b'-' | b'.'))
}
