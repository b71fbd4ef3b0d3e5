//! Tokens, policies and what else access control has, in the form of Consul's Go structs.

use acl::{node_identity_rules, service_identity_rules, template};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::go::format_duration;
use model::{AclAuthMethod, AclBindingRule, AclPolicy, AclRole, AclToken, Catalog, Found, Grants};
use serde::Serialize;

use super::certificates::rfc3339;
use crate::json::JsonWriter;

/// What is shown of a secret to who may only read.
const HIDDEN: &str = "<hidden>";

/// What changes with the object, and else not.
fn hash(of: &impl Serialize) -> String {
    let bytes = serde_json::to_vec(of).expect("the nouns have string keys only");
    STANDARD.encode(digest(&SHA256, &bytes))
}

/// `{ID, Name}` of each object that is still there; nothing when there is none.
fn links<'a>(
    w: &mut JsonWriter,
    field: &'static str,
    ids: &'a [String],
    name_of: impl Fn(&'a str) -> Option<&'a str>,
) {
    let found: Vec<(&str, &str)> =
        ids.iter().filter_map(|id| Some((id.as_str(), name_of(id)?))).collect();
    if found.is_empty() {
        return;
    }
    w.key(field);
    w.array(|w| {
        for (id, name) in found {
            w.object(|w| {
                w.string_field("ID", id);
                w.string_field("Name", name);
            });
        }
    });
}

fn texts(w: &mut JsonWriter, field: &'static str, texts: &[String]) {
    if !texts.is_empty() {
        w.strings_field(field, texts.iter().map(String::as_str));
    }
}

fn policies(w: &mut JsonWriter, catalog: &Catalog, grants: &Grants) {
    let name_of = |id: &str| catalog.record::<AclPolicy>(id).map(|it| it.value.name.as_str());
    links(w, "Policies", &grants.policies, name_of);
}

fn identities(w: &mut JsonWriter, grants: &Grants) {
    if !grants.services.is_empty() {
        w.key("ServiceIdentities");
        w.array(|w| {
            for it in &grants.services {
                w.object(|w| {
                    w.string_field("ServiceName", &it.service);
                    texts(w, "Datacenters", &it.datacenters);
                });
            }
        });
    }
    if !grants.nodes.is_empty() {
        w.key("NodeIdentities");
        w.array(|w| {
            for it in &grants.nodes {
                w.object(|w| {
                    w.string_field("NodeName", &it.node);
                    w.string_field("Datacenter", &it.datacenter);
                });
            }
        });
    }
    if !grants.templates.is_empty() {
        w.key("TemplatedPolicies");
        w.array(|w| {
            for it in &grants.templates {
                w.object(|w| {
                    w.string_field("TemplateName", &it.template);
                    variables(w, "TemplateVariables", it.name.as_deref());
                    texts(w, "Datacenters", &it.datacenters);
                });
            }
        });
    }
}

fn variables(w: &mut JsonWriter, field: &'static str, name: Option<&str>) {
    if let Some(name) = name {
        w.key(field);
        w.object(|w| w.string_field("Name", name));
    }
}

/// The fields of a token, within an open object. `shows_secret` for who may change it.
pub(super) fn token_fields(
    w: &mut JsonWriter,
    catalog: &Catalog,
    token: Found<'_, AclToken>,
    shows_secret: bool,
) {
    let it = token.value;
    w.string_field("AccessorID", &it.accessor);
    w.string_field("SecretID", if shows_secret { it.secret.reveal() } else { HIDDEN });
    w.string_field("Description", &it.description);
    policies(w, catalog, &it.grants);
    let name_of = |id: &str| catalog.record::<AclRole>(id).map(|it| it.value.name.as_str());
    links(w, "Roles", &it.roles, name_of);
    identities(w, &it.grants);
    w.boolean_field("Local", it.local);
    w.string_field_if_any("AuthMethod", &it.auth_method);
    if let Some(expires) = it.expires {
        w.string_field("ExpirationTime", &rfc3339(expires));
    }
    w.string_field("CreateTime", &rfc3339(it.created));
    w.string_field("Hash", &hash(&AclToken { secret: "".into(), ..it.clone() }));
    w.number_field("CreateIndex", token.created.0);
    w.number_field("ModifyIndex", token.modified.0);
}

/// A policy; in lists without its rules.
pub(super) fn policy(w: &mut JsonWriter, policy: Found<'_, AclPolicy>, with_rules: bool) {
    let revisions = (policy.created.0, policy.modified.0);
    policy_of(w, policy.value, revisions, with_rules);
}

fn policy_of(
    w: &mut JsonWriter,
    it: &AclPolicy,
    (created, modified): (u64, u64),
    with_rules: bool,
) {
    w.object(|w| {
        w.string_field("ID", &it.id);
        w.string_field("Name", &it.name);
        w.string_field("Description", &it.description);
        if with_rules {
            w.string_field("Rules", &it.rules);
        }
        texts(w, "Datacenters", &it.datacenters);
        w.string_field("Hash", &hash(it));
        w.number_field("CreateIndex", created);
        w.number_field("ModifyIndex", modified);
    });
}

/// The policy that an identity or a template stands for.
pub(super) fn synthetic(w: &mut JsonWriter, it: &AclPolicy) {
    policy_of(w, it, (0, 0), true);
}

/// A policy that nobody has written, called after its rules.
pub(super) fn synthetic_policy(rules: String, source: &str, datacenters: &[String]) -> AclPolicy {
    let sum = digest(&SHA256, rules.as_bytes());
    let id: String = sum.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    AclPolicy {
        name: format!("synthetic-policy-{id}"),
        id,
        description: format!("synthetic policy generated from {source}"),
        rules,
        datacenters: datacenters.to_vec(),
    }
}

/// What the identities and templates of a token or role stand for.
pub(super) fn synthetic_policies(grants: &Grants) -> Vec<AclPolicy> {
    let services = grants.services.iter().filter_map(|it| {
        let rules = service_identity_rules(&it.service).ok()?;
        Some(synthetic_policy(rules, "service identity", &it.datacenters))
    });
    let nodes = grants.nodes.iter().filter_map(|it| {
        let rules = node_identity_rules(&it.node).ok()?;
        Some(synthetic_policy(rules, "node identity", std::slice::from_ref(&it.datacenter)))
    });
    let templates = grants.templates.iter().filter_map(|it| {
        let rules = template(&it.template).ok()?.render(it.name.as_deref()).ok()?;
        let source = format!("templated policy: {}", it.template);
        Some(synthetic_policy(rules, &source, &it.datacenters))
    });
    services.chain(nodes).chain(templates).collect()
}

/// A role.
pub(super) fn role(w: &mut JsonWriter, catalog: &Catalog, role: Found<'_, AclRole>) {
    let it = role.value;
    w.object(|w| {
        w.string_field("ID", &it.id);
        w.string_field("Name", &it.name);
        w.string_field("Description", &it.description);
        policies(w, catalog, &it.grants);
        identities(w, &it.grants);
        w.string_field("Hash", &hash(it));
        w.number_field("CreateIndex", role.created.0);
        w.number_field("ModifyIndex", role.modified.0);
    });
}

/// A binding rule.
pub(super) fn rule(w: &mut JsonWriter, rule: Found<'_, AclBindingRule>) {
    let it = rule.value;
    w.object(|w| {
        w.string_field("ID", &it.id);
        w.string_field("Description", &it.description);
        w.string_field("AuthMethod", &it.auth_method);
        w.string_field("Selector", &it.selector);
        w.string_field("BindType", &it.bind_type);
        w.string_field("BindName", &it.bind_name);
        variables(w, "BindVars", it.bind_variable.as_deref());
        w.number_field("CreateIndex", rule.created.0);
        w.number_field("ModifyIndex", rule.modified.0);
    });
}

/// An auth method; in lists without its configuration.
pub(super) fn method(w: &mut JsonWriter, method: Found<'_, AclAuthMethod>, with_config: bool) {
    let it = method.value;
    w.object(|w| {
        w.string_field("Name", &it.name);
        w.string_field("Type", &it.kind);
        w.string_field_if_any("DisplayName", &it.display_name);
        w.string_field_if_any("Description", &it.description);
        if !it.max_token_ttl.is_zero() {
            w.string_field("MaxTokenTTL", &format_duration(it.max_token_ttl));
        }
        w.string_field_if_any("TokenLocality", &it.token_locality);
        if with_config {
            w.key("Config");
            w.value(&it.config);
        }
        w.number_field("CreateIndex", method.created.0);
        w.number_field("ModifyIndex", method.modified.0);
    });
}
