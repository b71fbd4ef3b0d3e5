//! From what HCL or JSON says to rules.

use hcl::{Block, ShapeError};
use serde_json::{Map, Value};

use super::{NamedRules, Rules, RulesError};
use crate::resource::{Level, Resource};

const LEVELS: &str = "read, write, deny";
const KEY_LEVELS: &str = "read, list, write, deny";

pub(super) fn parse(text: &str) -> Result<Rules, RulesError> {
    let root = hcl::parse(text.as_bytes()).map_err(RulesError::Syntax)?;
    let mut rules = Rules::default();
    let Value::Object(root) = &root else { return Ok(rules) };
    for (name, value) in root {
        let (resource, is_prefix) = resource_of(name)?;
        if resource.has_segment() {
            for block in hcl::blocks(root, name, 1).map_err(RulesError::Shape)? {
                add_named(&mut rules, resource, is_prefix, name, &block)?;
            }
        } else {
            let level = text_of(value, &[name])?;
            // Nothing said is no rule.
            if !level.is_empty() {
                rules.add_plain(resource, level_of(name, None, level, LEVELS)?);
            }
        }
    }
    Ok(rules)
}

fn resource_of(name: &str) -> Result<(Resource, bool), RulesError> {
    let bare = name.strip_suffix("_prefix");
    let enterprise = match bare.unwrap_or(name) {
        "namespace" => Some("namespaces are"),
        "partition" => Some("partitions are"),
        "sentinel" => Some("Sentinel is"),
        _ => None,
    };
    if let Some(what) = enterprise {
        return Err(RulesError::Enterprise(name.to_owned(), "a policy".to_owned(), what));
    }
    let found = match bare {
        Some(bare) => Resource::from_name(bare).filter(|it| it.has_segment()),
        None => Resource::from_name(name),
    };
    match found {
        // Rules about intentions stand within those about services.
        Some(Resource::Intention) | None => Err(RulesError::UnknownResource(name.to_owned())),
        Some(resource) => Ok((resource, bare.is_some())),
    }
}

fn add_named(
    rules: &mut Rules,
    resource: Resource,
    is_prefix: bool,
    rule: &str,
    block: &Block<'_>,
) -> Result<(), RulesError> {
    let segment = block.labels.first().copied().unwrap_or_default();
    let levels = if resource == Resource::Key { KEY_LEVELS } else { LEVELS };
    check_fields(resource, rule, segment, block.body)?;
    let mut add = |resource, level| {
        let named = rules.named.entry(resource).or_default();
        let rules = if is_prefix { &mut named.prefix } else { &mut named.exact };
        NamedRules::add(rules, segment, level);
    };
    let policy = match block.body.get("policy") {
        Some(value) => text_of(value, &[rule, segment, "policy"])?,
        None => "",
    };
    add(resource, level_of(rule, Some(segment), policy, levels)?);
    if let Some(value) = block.body.get("intentions") {
        let intentions = text_of(value, &[rule, segment, "intentions"])?;
        if !intentions.is_empty() {
            let rule = format!("{rule} intentions");
            add(Resource::Intention, level_of(&rule, Some(segment), intentions, LEVELS)?);
        }
    }
    Ok(())
}

fn check_fields(
    resource: Resource,
    rule: &str,
    segment: &str,
    body: &Map<String, Value>,
) -> Result<(), RulesError> {
    let is_service = resource == Resource::Service;
    for field in body.keys() {
        match field.as_str() {
            "policy" => {}
            "intentions" if is_service => {}
            "sentinel" => {
                let place = format!("{rule} {segment:?}");
                return Err(RulesError::Enterprise(field.clone(), place, "Sentinel is"));
            }
            _ => {
                return Err(RulesError::UnknownField {
                    rule: rule.to_owned(),
                    segment: segment.to_owned(),
                    field: field.clone(),
                    known: if is_service { "policy and intentions" } else { "policy" },
                });
            }
        }
    }
    Ok(())
}

fn text_of<'a>(value: &'a Value, path: &[&str]) -> Result<&'a str, RulesError> {
    value.as_str().ok_or_else(|| {
        let path = path.iter().map(|it| (*it).to_owned()).collect();
        RulesError::Shape(ShapeError { path, expected: "a string", found: hcl::kind(value) })
    })
}

fn level_of(
    rule: &str,
    segment: Option<&str>,
    level: &str,
    levels: &'static str,
) -> Result<Level, RulesError> {
    match Level::from_name(level) {
        Some(found) if found != Level::List || levels == KEY_LEVELS => Ok(found),
        _ => Err(RulesError::InvalidLevel {
            rule: rule.to_owned(),
            segment: segment.map(str::to_owned),
            level: level.to_owned(),
            levels,
        }),
    }
}
