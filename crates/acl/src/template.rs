//! Templated policies: policies with one name left open.

use crate::identity::{self, IdentityError, NAME, NODE_RULES, SERVICE_RULES};

/// A builtin templated policy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Template {
    /// `builtin/…`.
    pub name: &'static str,
    /// A UUID; never shown to users.
    pub id: &'static str,
    /// For people.
    pub description: &'static str,
    /// The JSON schema of the variables; empty if it takes none.
    pub schema: &'static str,
    /// Rules with `{{.Name}}` for the name.
    pub text: &'static str,
    variable: Variable,
}

/// What may be put for the name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Variable {
    None,
    Service,
    Node,
}

/// Why a templated policy makes no rules.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TemplateError {
    /// No such template.
    #[error("no ACL templated policy with Name {0:?} found")]
    Unknown(String),
    /// The template needs a name and got none.
    #[error("validation error with templated policy {0:?}: name is required")]
    NameMissing(&'static str),
    /// The template takes no name and got one.
    #[error(
        "validation error with templated policy {0:?}: it takes no variables, so name cannot be set"
    )]
    NameNotTaken(&'static str),
    /// The name is not of the form that is asked for.
    #[error("validation error with templated policy {0:?}: {1}")]
    Name(&'static str, IdentityError),
}

impl Template {
    /// True if it needs a name.
    #[must_use]
    pub fn takes_name(&self) -> bool {
        self.variable != Variable::None
    }

    /// The rules for a name. An empty name is none.
    pub fn render(&self, name: Option<&str>) -> Result<String, TemplateError> {
        let kind = match self.variable {
            Variable::None => {
                return match name.filter(|it| !it.is_empty()) {
                    None => Ok(self.text.to_owned()),
                    Some(_) => Err(TemplateError::NameNotTaken(self.name)),
                };
            }
            Variable::Service => "service",
            Variable::Node => "node",
        };
        let name = name.filter(|it| !it.is_empty()).ok_or(TemplateError::NameMissing(self.name))?;
        // The name is put into rules, so it must not be able to end a string there.
        identity::check(kind, name).map_err(|it| TemplateError::Name(self.name, it))?;
        Ok(self.text.replace(NAME, name))
    }
}

/// The template of a name.
pub fn template(name: &str) -> Result<&'static Template, TemplateError> {
    templates()
        .iter()
        .find(|it| it.name == name)
        .ok_or_else(|| TemplateError::Unknown(name.to_owned()))
}

/// All of them, in the order of their names.
#[must_use]
pub fn templates() -> &'static [Template] {
    &TEMPLATES
}

const NAME_SCHEMA: &str = r#"{
  "type": "object",
  "required": ["name"],
  "properties": {
    "name": { "type": "string", "minLength": 1 }
  }
}
"#;

static TEMPLATES: [Template; 6] = [
    Template {
        name: "builtin/api-gateway",
        id: "00000000-0000-0000-0000-000000000008",
        description: "Lets an API gateway register itself, and find services and the settings of the mesh",
        schema: NAME_SCHEMA,
        text: r#"mesh = "read"
service "{{.Name}}" {
  policy = "write"
}
service_prefix "" {
  policy = "read"
}
node_prefix "" {
  policy = "read"
}
"#,
        variable: Variable::Service,
    },
    Template {
        name: "builtin/dns",
        id: "00000000-0000-0000-0000-000000000005",
        description: "Lets the DNS interface answer for all nodes, services and prepared queries",
        schema: "",
        text: r#"node_prefix "" {
  policy = "read"
}
service_prefix "" {
  policy = "read"
}
query_prefix "" {
  policy = "read"
}
"#,
        variable: Variable::None,
    },
    Template {
        name: "builtin/node",
        id: "00000000-0000-0000-0000-000000000004",
        description: "Lets an agent register its node, and find services",
        schema: NAME_SCHEMA,
        text: NODE_RULES,
        variable: Variable::Node,
    },
    Template {
        name: "builtin/nomad-client",
        id: "00000000-0000-0000-0000-000000000009",
        description: "Lets the client agents of Nomad register the services that run on them",
        schema: "",
        text: r#"agent_prefix "" {
  policy = "read"
}
node_prefix "" {
  policy = "read"
}
service_prefix "" {
  policy = "write"
}
key_prefix "" {
  policy = "read"
}
"#,
        variable: Variable::None,
    },
    Template {
        name: "builtin/nomad-server",
        id: "00000000-0000-0000-0000-000000000006",
        description: "Lets the server agents of Nomad register services and make tokens for them",
        schema: "",
        text: r#"acl = "write"
agent_prefix "" {
  policy = "read"
}
node_prefix "" {
  policy = "read"
}
service_prefix "" {
  policy = "write"
}
"#,
        variable: Variable::None,
    },
    Template {
        name: "builtin/service",
        id: "00000000-0000-0000-0000-000000000003",
        description: "Lets a service and its sidecar register themselves, and find nodes and services",
        schema: NAME_SCHEMA,
        text: SERVICE_RULES,
        variable: Variable::Service,
    },
];
