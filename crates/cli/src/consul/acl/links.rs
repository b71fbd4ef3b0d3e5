//! What tokens and roles are linked to: policies, roles, and identities.

use std::fmt::Write;

use anyhow::{Context, bail, ensure};
use serde_json::{Map, Value, json};

use super::super::client::Client;
use super::super::command::Call;
use super::super::document;
use super::super::flags::{Flag, list as list_flag, text};
use super::super::print::{field, items, joined};
use super::{Kind, line, policy, role};

pub(super) const POLICY_ID: Flag = list_flag("policy-id", "ID of a policy, or its beginning.");
pub(super) const POLICY_NAME: Flag = list_flag("policy-name", "Name of a policy.");
pub(super) const ROLE_ID: Flag = list_flag("role-id", "ID of a role, or its beginning.");
pub(super) const ROLE_NAME: Flag = list_flag("role-name", "Name of a role.");
pub(super) const SERVICE: Flag =
    list_flag("service-identity", "What a service needs: NAME or NAME:DATACENTER,….");
pub(super) const NODE: Flag = list_flag("node-identity", "What a node needs: NAME:DATACENTER.");
pub(super) const TEMPLATE: Flag = text("templated-policy", "Name of a templated policy.");
pub(super) const TEMPLATE_FILE: Flag =
    text("templated-policy-file", "File of templated policies and their variables.");
pub(super) const VARIABLE: Flag = list_flag("var", "Variable of -templated-policy: NAME:VALUE.");

/// A list of objects by a flag for IDs and a flag for names.
struct Linked {
    /// The field of the list.
    list: &'static str,
    kind: &'static Kind,
    id: &'static str,
    name: &'static str,
}

const POLICIES: Linked =
    Linked { list: "Policies", kind: &policy::POLICY, id: "policy-id", name: "policy-name" };
const ROLES: Linked = Linked { list: "Roles", kind: &role::ROLE, id: "role-id", name: "role-name" };

/// The links that the flags ask for, by the fields that hold them. `prefix` is written before the flags' names.
pub(super) fn given(
    call: &Call,
    client: &Client,
    prefix: &str,
    has_roles: bool,
) -> anyhow::Result<Map<String, Value>> {
    let mut links = Map::new();
    let linked = [POLICIES, ROLES];
    for linked in linked.iter().take(if has_roles { 2 } else { 1 }) {
        let mut all = Vec::new();
        for name in call.list(&format!("{prefix}{}", linked.name)) {
            all.push(json!({"Name": name}));
        }
        for partial in call.list(&format!("{prefix}{}", linked.id)) {
            let failed = || format!("Error resolving {} ID {partial}", linked.kind.noun);
            all.push(json!({"ID": linked.kind.id(client, partial).with_context(failed)?}));
        }
        links.insert(linked.list.to_owned(), all.into());
    }
    let services = call.list(&format!("{prefix}service-identity"));
    let services: Result<Vec<Value>, _> = services.into_iter().map(service).collect();
    links.insert("ServiceIdentities".to_owned(), services?.into());
    let nodes = call.list(&format!("{prefix}node-identity"));
    let nodes: Result<Vec<Value>, _> = nodes.into_iter().map(node).collect();
    links.insert("NodeIdentities".to_owned(), nodes?.into());
    if prefix.is_empty() {
        links.insert("TemplatedPolicies".to_owned(), templated(call)?.into());
    }
    links.retain(|_, list| list.as_array().is_some_and(|list| !list.is_empty()));
    Ok(links)
}

fn service(text: &str) -> anyhow::Result<Value> {
    let (name, datacenters) = match text.split_once(':') {
        Some((name, datacenters)) => (name, datacenters.split(',').collect::<Vec<_>>()),
        None => (text, Vec::new()),
    };
    ensure!(!name.is_empty(), "Malformed -service-identity argument: {text:?}");
    if datacenters.is_empty() {
        return Ok(json!({"ServiceName": name}));
    }
    Ok(json!({"ServiceName": name, "Datacenters": datacenters}))
}

fn node(text: &str) -> anyhow::Result<Value> {
    match text.split_once(':') {
        Some((name, datacenter)) if !name.is_empty() && !datacenter.contains(':') => {
            Ok(json!({"NodeName": name, "Datacenter": datacenter}))
        }
        _ => bail!("Malformed -node-identity argument: {text:?}"),
    }
}

/// Templated policies of flags, and of a file.
pub(super) fn templated(call: &Call) -> anyhow::Result<Vec<Value>> {
    let (name, file) = (call.text("templated-policy"), call.text("templated-policy-file"));
    with_variables(name, file, &call.list("var"))
}

pub(super) fn with_variables(
    name: &str,
    file: &str,
    variables: &[&str],
) -> anyhow::Result<Vec<Value>> {
    ensure!(
        name.is_empty() || file.is_empty(),
        "Cannot combine the use of templated-policy flag with templated-policy-file"
    );
    ensure!(
        variables.is_empty() || !name.is_empty(),
        "Cannot specify variables without specifying the templated policy name"
    );
    let template = |name: &str, variables: Map<String, Value>| {
        if variables.is_empty() {
            return json!({"TemplateName": name});
        }
        json!({"TemplateName": name, "TemplateVariables": variables})
    };
    if !file.is_empty() {
        let document = document::read(file)?;
        let all = document::value(&document, "templatedpolicies").as_object();
        let all = all.with_context(|| format!("{file} has no TemplatedPolicies"))?;
        let all = all.iter().flat_map(|(name, value)| {
            let uses = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
            uses.iter().map(move |value| {
                let variable = document::value(value, "name");
                let variable = variable.is_string().then(|| ("Name".into(), variable.clone()));
                template(name, variable.into_iter().collect())
            })
        });
        return Ok(all.collect());
    }
    if name.is_empty() {
        return Ok(Vec::new());
    }
    let mut map = Map::new();
    for variable in variables {
        let Some((key, value)) = variable.split_once(':') else {
            bail!("Malformed -var argument: {variable:?}, expecting VariableName:Value");
        };
        ensure!(key.eq_ignore_ascii_case("name"), "no template has a variable {key:?}");
        map.insert("Name".to_owned(), value.into());
    }
    Ok(vec![template(name, map)])
}

/// Adds links to those of an object; a service that is linked again gets its new datacenters.
pub(super) fn add(object: &mut Value, links: Map<String, Value>) {
    for (name, new) in links {
        let mut all = items(object, &name).to_vec();
        for link in new.as_array().into_iter().flatten() {
            let same = |known: &Value| {
                let keys = ["ID", "Name", "ServiceName", "NodeName", "TemplateName"];
                keys.iter().any(|key| {
                    !field(link, key).is_empty() && field(known, key) == field(link, key)
                }) && (name != "NodeIdentities"
                    || field(known, "Datacenter") == field(link, "Datacenter"))
            };
            match all.iter_mut().find(|known| same(known)) {
                Some(known) if name == "ServiceIdentities" => known.clone_from(link),
                Some(_) => {}
                None => all.push(link.clone()),
            }
        }
        object[name] = all.into();
    }
}

/// The lines about links, `indent` further in.
pub(super) fn pretty(text: &mut String, object: &Value, indent: &str) {
    for (name, title) in [("Policies", "Policies:"), ("Roles", "Roles:")] {
        let links = items(object, name);
        if !links.is_empty() {
            line!(text, "{indent}{title}");
        }
        for link in links {
            line!(text, "{indent}   {} - {}", field(link, "ID"), field(link, "Name"));
        }
    }
    let datacenters = |link: &Value| match joined(link, "Datacenters", ", ") {
        all if all.is_empty() => "all".to_owned(),
        some => some,
    };
    let services = items(object, "ServiceIdentities");
    if !services.is_empty() {
        line!(text, "{indent}Service Identities:");
    }
    for it in services {
        let name = field(it, "ServiceName");
        line!(text, "{indent}   {name} (Datacenters: {})", datacenters(it));
    }
    let nodes = items(object, "NodeIdentities");
    if !nodes.is_empty() {
        line!(text, "{indent}Node Identities:");
    }
    for it in nodes {
        let (name, datacenter) = (field(it, "NodeName"), field(it, "Datacenter"));
        line!(text, "{indent}   {name} (Datacenter: {datacenter})");
    }
    let templates = items(object, "TemplatedPolicies");
    if !templates.is_empty() {
        line!(text, "{indent}Templated Policies:");
    }
    for it in templates {
        line!(text, "{indent}   {}", field(it, "TemplateName"));
        let name = field(&it["TemplateVariables"], "Name");
        if !name.is_empty() {
            line!(text, "{indent}      Name: {name}");
        }
        line!(text, "{indent}      Datacenters: {}", datacenters(it));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_added_once() {
        let mut role = json!({"Policies": [{"ID": "1", "Name": "a"}], "ServiceIdentities": []});
        let links = json!({
            "Policies": [{"Name": "a"}, {"Name": "b"}],
            "ServiceIdentities": [{"ServiceName": "web", "Datacenters": ["dc1"]}],
        });
        add(&mut role, links.as_object().unwrap().clone());
        assert_eq!(role["Policies"], json!([{"ID": "1", "Name": "a"}, {"Name": "b"}]));
        let wider = json!({"ServiceIdentities": [{"ServiceName": "web"}]});
        add(&mut role, wider.as_object().unwrap().clone());
        assert_eq!(role["ServiceIdentities"], json!([{"ServiceName": "web"}]));
    }

    #[test]
    fn identities_are_read_from_flags() {
        let expected = json!({"ServiceName": "web", "Datacenters": ["dc1", "dc2"]});
        assert_eq!(service("web:dc1,dc2").unwrap(), expected);
        assert_eq!(service("web").unwrap(), json!({"ServiceName": "web"}));
        assert!(service(":dc1").is_err());
        assert_eq!(node("n:dc1").unwrap(), json!({"NodeName": "n", "Datacenter": "dc1"}));
        assert!(node("n").is_err());
        let all = with_variables("builtin/service", "", &["name:web"]).unwrap();
        let expected = json!({
            "TemplateName": "builtin/service", "TemplateVariables": {"Name": "web"},
        });
        assert_eq!(all, [expected]);
        assert!(with_variables("", "", &["name:web"]).is_err());
    }
}
