//! Ways through the nodes of a chain.

use std::collections::{BTreeMap, BTreeSet};

use super::{ChainError, ChainNode};

/// # Errors
/// When a way from `start` leads back to where it was.
pub(super) fn find_circle(
    nodes: &BTreeMap<String, ChainNode>,
    start: &str,
) -> Result<(), ChainError> {
    let mut done: BTreeSet<&str> = BTreeSet::new();
    // The way to where we are, each node with those behind it that are still to be seen.
    let mut way: Vec<(&str, Vec<&str>)> = vec![(start, nodes[start].kind.next())];
    while let Some((at, ahead)) = way.last_mut() {
        let Some(next) = ahead.pop() else {
            done.insert(at);
            way.pop();
            continue;
        };
        if way.iter().any(|it| it.0 == next) {
            let passed = way.iter().map(|it| it.0).chain([next]).map(str::to_owned);
            return Err(ChainError::Circle(passed.collect()));
        }
        if !done.contains(next) {
            let (key, node) = nodes.get_key_value(next).expect("nodes lead to nodes");
            way.push((key, node.kind.next()));
        }
    }
    Ok(())
}

pub(super) fn reachable(nodes: &BTreeMap<String, ChainNode>, start: &str) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let mut ahead = vec![start.to_owned()];
    while let Some(key) = ahead.pop() {
        if seen.insert(key.clone()) {
            ahead.extend(nodes[&key].kind.next().into_iter().map(str::to_owned));
        }
    }
    seen
}
