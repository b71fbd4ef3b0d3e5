//! The bodies of `/v1/acl`. What they name is looked up by whoever calls.

use std::time::Duration;

use model::{AclAuthMethod, AclBindingRule, AclNode, AclService, AclTemplate, Secret, Timestamp};
use serde_json::Value;

use super::fields::Fields;
use super::{BadRequest, json};

type Read<T> = Result<T, BadRequest>;

/// A policy or a role by its id or, without one, by its name.
#[derive(Debug)]
pub(in super::super) struct Link {
    pub(in super::super) id: String,
    pub(in super::super) name: String,
}

/// What a token or a role is to be bound to.
#[derive(Debug)]
pub(in super::super) struct GrantsBody {
    pub(in super::super) policies: Vec<Link>,
    pub(in super::super) services: Vec<AclService>,
    pub(in super::super) nodes: Vec<AclNode>,
    pub(in super::super) templates: Vec<AclTemplate>,
}

/// A token as a client wants it.
#[derive(Debug)]
pub(in super::super) struct TokenBody {
    pub(in super::super) accessor: String,
    pub(in super::super) secret: Secret,
    pub(in super::super) description: String,
    pub(in super::super) grants: GrantsBody,
    pub(in super::super) roles: Vec<Link>,
    pub(in super::super) local: bool,
    pub(in super::super) auth_method: String,
    pub(in super::super) expires: Option<Timestamp>,
    /// Instead of `expires`: in so much time.
    pub(in super::super) ttl: Option<Duration>,
}

/// A role as a client wants it.
#[derive(Debug)]
pub(in super::super) struct RoleBody {
    pub(in super::super) id: String,
    pub(in super::super) name: String,
    pub(in super::super) description: String,
    pub(in super::super) grants: GrantsBody,
}

/// A login.
#[derive(Debug)]
pub(in super::super) struct LoginBody {
    pub(in super::super) auth_method: String,
    pub(in super::super) bearer: Secret,
    /// As the token's description shows it.
    pub(in super::super) meta: String,
}

/// May somebody do this?
#[derive(Debug)]
pub(in super::super) struct Question {
    pub(in super::super) resource: String,
    pub(in super::super) segment: String,
    pub(in super::super) access: String,
}

/// Reads a body whose errors are called after what it should be.
fn read_as<T>(
    body: &[u8],
    what: &str,
    struct_name: &'static str,
    read: impl FnOnce(&mut Fields<'_>) -> Read<T>,
) -> Read<T> {
    let read = || {
        let value = json::read(body)?;
        let mut fields = Fields::root(&value, struct_name)?;
        let read = read(&mut fields)?;
        fields.skip(&["Hash", "CreateIndex", "ModifyIndex"]);
        fields.finish()?;
        Ok(read)
    };
    read().map_err(|mut bad: BadRequest| {
        if let Some(reason) = bad.text.strip_prefix("Request decode failed: ") {
            bad.text = format!("{what} decoding failed: {reason}");
        }
        if bad.text.ends_with("json: unknown field \"Namespace\"") {
            bad.text.push_str(" - Namespaces are a Consul Enterprise feature");
        }
        bad
    })
}

/// Reads a token.
pub(in super::super) fn acl_token(body: &[u8]) -> Read<TokenBody> {
    read_as(body, "Token", "ACLToken", |fields| {
        let token = TokenBody {
            accessor: fields.text("AccessorID")?,
            secret: fields.text("SecretID")?.into(),
            description: fields.text("Description")?,
            grants: grants(fields)?,
            roles: links(fields, "Roles")?,
            local: fields.flag("Local")?,
            auth_method: fields.text("AuthMethod")?,
            expires: time(fields, "ExpirationTime")?,
            ttl: fields.duration_if_given("ExpirationTTL")?,
        };
        fields.skip(&["CreateTime", "ID", "Rules", "Type", "AuthMethodNamespace"]);
        Ok(token)
    })
}

/// Reads the description of a clone, if it is given.
pub(in super::super) fn acl_clone(body: &[u8]) -> Read<String> {
    if body.is_empty() { Ok(String::new()) } else { acl_token(body).map(|it| it.description) }
}

/// Reads a policy.
pub(in super::super) fn acl_policy(body: &[u8]) -> Read<model::AclPolicy> {
    read_as(body, "Policy", "ACLPolicy", |fields| {
        Ok(model::AclPolicy {
            id: fields.text("ID")?,
            name: fields.text("Name")?,
            description: fields.text("Description")?,
            rules: fields.text("Rules")?,
            datacenters: fields.texts("Datacenters")?,
        })
    })
}

/// Reads a role.
pub(in super::super) fn acl_role(body: &[u8]) -> Read<RoleBody> {
    read_as(body, "Role", "ACLRole", |fields| {
        Ok(RoleBody {
            id: fields.text("ID")?,
            name: fields.text("Name")?,
            description: fields.text("Description")?,
            grants: grants(fields)?,
        })
    })
}

/// Reads a binding rule.
pub(in super::super) fn acl_binding_rule(body: &[u8]) -> Read<AclBindingRule> {
    read_as(body, "BindingRule", "ACLBindingRule", |fields| {
        Ok(AclBindingRule {
            id: fields.text("ID")?,
            description: fields.text("Description")?,
            auth_method: fields.text("AuthMethod")?,
            selector: fields.text("Selector")?,
            bind_type: fields.text("BindType")?,
            bind_name: fields.text("BindName")?,
            bind_variable: variables(fields, "BindVars")?,
        })
    })
}

/// Reads an auth method.
pub(in super::super) fn acl_auth_method(body: &[u8]) -> Read<AclAuthMethod> {
    read_as(body, "AuthMethod", "ACLAuthMethod", |fields| {
        let config =
            fields.take("Config").cloned().unwrap_or_else(|| Value::Object(Default::default()));
        if !config.is_object() {
            return Err(BadRequest::undecodable("Config is not an object"));
        }
        Ok(AclAuthMethod {
            name: fields.text("Name")?,
            kind: fields.text("Type")?,
            display_name: fields.text("DisplayName")?,
            description: fields.text("Description")?,
            max_token_ttl: fields.duration("MaxTokenTTL")?,
            token_locality: fields.text("TokenLocality")?,
            config,
        })
    })
}

/// Reads a login.
pub(in super::super) fn acl_login(body: &[u8]) -> Read<LoginBody> {
    read_as(body, "Failed to decode request body: request", "ACLLoginParams", |fields| {
        let (auth_method, bearer) = (fields.text("AuthMethod")?, fields.text("BearerToken")?);
        let meta = fields.text_map("Meta")?.filter(|it| !it.is_empty());
        let meta = meta.map(|it| serde_json::to_string(&it).expect("a map of texts is JSON"));
        Ok(LoginBody { auth_method, bearer: bearer.into(), meta: meta.unwrap_or_default() })
    })
}

/// Reads the secret that the first token is to have, if it is given.
pub(in super::super) fn acl_bootstrap(body: &[u8]) -> Read<Secret> {
    if body.is_empty() {
        return Ok(Secret::default());
    }
    read_as(body, "Request", "ACLInitialTokenBootstrapRequest", |fields| {
        Ok(fields.text("BootstrapSecret")?.into())
    })
}

/// Reads a token of the agent.
pub(in super::super) fn agent_token(body: &[u8]) -> Read<Secret> {
    read_as(body, "Request", "AgentToken", |fields| Ok(fields.text("Token")?.into()))
}

/// Reads what is put into a templated policy, if anything.
pub(in super::super) fn acl_variables(body: &[u8]) -> Read<Option<String>> {
    if body.is_empty() {
        return Ok(None);
    }
    let name =
        read_as(body, "Template", "ACLTemplatedPolicyVariables", |fields| fields.text("Name"))?;
    Ok(Some(name).filter(|it| !it.is_empty()))
}

/// Reads what somebody wants to know whether he may do it.
pub(in super::super) fn acl_questions(body: &[u8]) -> Read<Vec<Question>> {
    let value = json::read(body)?;
    let Value::Array(items) = &value else {
        return Err(BadRequest::new("Failed to decode request body: it is not a list"));
    };
    let read = |item| {
        let mut fields = Fields::root(item, "ACLAuthorizationRequest")?;
        let question = Question {
            resource: fields.text("Resource")?,
            segment: fields.text("Segment")?,
            access: fields.text("Access")?,
        };
        fields.skip(&["Namespace", "Partition"]);
        fields.finish()?;
        Ok(question)
    };
    items.iter().map(read).collect()
}

fn grants(fields: &mut Fields<'_>) -> Read<GrantsBody> {
    let mut services = Vec::new();
    for mut it in fields.list("ServiceIdentities", "ACLServiceIdentity")? {
        let (service, datacenters) = (it.text("ServiceName")?, it.texts("Datacenters")?);
        services.push(AclService { service, datacenters });
        it.finish()?;
    }
    let mut nodes = Vec::new();
    for mut it in fields.list("NodeIdentities", "ACLNodeIdentity")? {
        nodes.push(AclNode { node: it.text("NodeName")?, datacenter: it.text("Datacenter")? });
        it.finish()?;
    }
    let mut templates = Vec::new();
    for mut it in fields.list("TemplatedPolicies", "ACLTemplatedPolicy")? {
        let template = it.text("TemplateName")?;
        let name = variables(&mut it, "TemplateVariables")?;
        let datacenters = it.texts("Datacenters")?;
        it.skip(&["TemplateID"]);
        it.finish()?;
        templates.push(AclTemplate { template, name, datacenters });
    }
    Ok(GrantsBody { policies: links(fields, "Policies")?, services, nodes, templates })
}

fn links(fields: &mut Fields<'_>, name: &str) -> Read<Vec<Link>> {
    let mut links = Vec::new();
    for mut it in fields.list(name, "ACLLink")? {
        links.push(Link { id: it.text("ID")?, name: it.text("Name")? });
        it.finish()?;
    }
    Ok(links)
}

/// The one variable that templates have.
fn variables(fields: &mut Fields<'_>, name: &str) -> Read<Option<String>> {
    let Some(mut variables) = fields.fields(name, "ACLTemplatedPolicyVariables")? else {
        return Ok(None);
    };
    let name = variables.text("Name")?;
    variables.finish()?;
    Ok(Some(name).filter(|it| !it.is_empty()))
}

/// A time of RFC 3339; Go's zero time is none.
fn time(fields: &mut Fields<'_>, name: &str) -> Read<Option<Timestamp>> {
    let text = fields.text(name)?;
    if text.is_empty() || text.starts_with("0001-01-01T00:00:00") {
        return Ok(None);
    }
    let parsed: jiff::Timestamp = text.parse().map_err(|_| {
        BadRequest::undecodable(format!("parsing time {text:?}: it is not as RFC 3339 has it"))
    })?;
    Ok(Some(Timestamp(u64::try_from(parsed.as_millisecond()).unwrap_or_default())))
}
