//! Splitters that lead to splitters become one: the weights are multiplied, and what both say of headers is merged.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::compile::NODES_MAX;
use super::{ChainError, ChainNode, ChainSplit, NodeKind};

/// The nodes must have no circle.
pub(super) fn flatten(
    nodes: &mut BTreeMap<String, ChainNode>,
    service: &str,
) -> Result<(), ChainError> {
    let keys: Vec<String> = nodes.keys().cloned().collect();
    loop {
        let mut is_changed = false;
        for key in &keys {
            let Some(splits) = splits_of(nodes, key) else { continue };
            let leads_to_splitter = |it: &ChainSplit| splits_of(nodes, &it.next).is_some();
            if !splits.iter().any(leads_to_splitter) {
                continue;
            }
            let mut flat: Vec<ChainSplit> = Vec::new();
            for split in splits {
                match splits_of(nodes, &split.next) {
                    Some(inner) => flat.extend(inner.iter().map(|it| below(split, it))),
                    None => flat.push(split.clone()),
                }
                if flat.len() > NODES_MAX {
                    return Err(ChainError::TooLarge(service.to_owned()));
                }
            }
            if let Some(node) = nodes.get_mut(key) {
                node.kind = NodeKind::Splitter(flat);
            }
            is_changed = true;
        }
        if !is_changed {
            return Ok(());
        }
    }
}

fn splits_of<'a>(nodes: &'a BTreeMap<String, ChainNode>, key: &str) -> Option<&'a Vec<ChainSplit>> {
    match &nodes.get(key)?.kind {
        NodeKind::Splitter(splits) => Some(splits),
        NodeKind::Router(_) | NodeKind::Resolver(_) => None,
    }
}

/// A split of a splitter that another splitter's split leads to.
fn below(outer: &ChainSplit, inner: &ChainSplit) -> ChainSplit {
    let mut definition = inner.definition.as_object().cloned().unwrap_or_default();
    let of = |split: &ChainSplit, name: &str| split.definition.get(name).cloned();
    // A request passes the outer one first, a response last: whoever comes last has his way.
    let request = (of(outer, "RequestHeaders"), of(inner, "RequestHeaders"));
    let response = (of(inner, "ResponseHeaders"), of(outer, "ResponseHeaders"));
    for (name, (first, last)) in [("RequestHeaders", request), ("ResponseHeaders", response)] {
        if let Some(merged) = merge(first, last) {
            definition.insert(name.to_owned(), merged);
        }
    }
    ChainSplit {
        definition: Value::Object(definition),
        // Both are hundredths of a percent; rounded to the nearest.
        weight: (outer.weight * inner.weight + 5_000) / 10_000,
        next: inner.next.clone(),
    }
}

fn merge(first: Option<Value>, last: Option<Value>) -> Option<Value> {
    let (first, last) = match (first, last) {
        (Some(first), Some(last)) => (first, last),
        (first, last) => return first.or(last),
    };
    let mut merged = Map::new();
    for name in ["Add", "Set"] {
        let mut pairs: BTreeMap<String, Value> = BTreeMap::new();
        for of in [&first, &last] {
            let given = of[name].as_object().into_iter().flatten();
            pairs.extend(given.map(|(key, value)| (key.clone(), value.clone())));
        }
        if !pairs.is_empty() {
            merged.insert(name.to_owned(), Value::Object(pairs.into_iter().collect()));
        }
    }
    let mut removed: Vec<Value> = Vec::new();
    for name in [&first, &last].into_iter().filter_map(|it| it["Remove"].as_array()).flatten() {
        if !removed.contains(name) {
            removed.push(name.clone());
        }
    }
    if !removed.is_empty() {
        merged.insert("Remove".to_owned(), Value::Array(removed));
    }
    Some(Value::Object(merged))
}
