//! Is there an order of a key's operations, each at one moment between its call and its return, that explains all
//! answers? Wing and Gong's search ("Testing and verifying concurrent objects", 1993), one key at a time, in the order
//! of returns and with a memory of what was tried, as Lowe does it ("Testing for linearizability", 2017).

#[cfg(test)]
mod tests;

use std::collections::HashSet;

use super::history::{Operation, Output};
use super::key::Key;

/// No order explains this operation together with those before it.
#[derive(Debug)]
#[allow(dead_code)] // Read by whoever reads the failure.
pub(crate) struct Violation {
    pub(crate) operation: Operation,
    /// What was open when it returned.
    pub(crate) beside: Vec<Operation>,
    /// What may have been true of the key, and had to fail.
    pub(crate) possible: Vec<Key>,
}

/// Something that may be true at a moment: the key, and which of the open operations have had their effect, by bits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Explanation {
    key: Key,
    done: u64,
}

/// Operations that were called and have not returned, each at a place of its own.
#[derive(Default)]
struct Open<'a> {
    places: Vec<Option<&'a Operation>>,
}

impl<'a> Open<'a> {
    fn add(&mut self, operation: &'a Operation) {
        let free = self.places.iter().position(Option::is_none).unwrap_or(self.places.len());
        assert!(free < 64, "more than 64 operations at once");
        if free == self.places.len() {
            self.places.push(None);
        }
        self.places[free] = Some(operation);
    }

    fn remove(&mut self, operation: &Operation) -> usize {
        let place =
            self.places.iter().position(|it| it.is_some_and(|it| std::ptr::eq(it, operation)));
        let place = place.expect("it was called before it returned");
        self.places[place] = None;
        place
    }

    fn iter(&self) -> impl Iterator<Item = (u64, &'a Operation)> {
        self.places.iter().enumerate().filter_map(|(place, it)| Some((1 << place, (*it)?)))
    }
}

/// Checks what was asked of one key, from its beginning.
pub(crate) fn check(history: &[Operation]) -> Result<(), Box<Violation>> {
    let mut events: Vec<(u64, bool, &Operation)> =
        history.iter().flat_map(|it| [(it.called, false, it), (it.returned, true, it)]).collect();
    // At one moment a call comes first: the operations may have overlapped.
    events.sort_by_key(|(moment, is_return, _)| (*moment, *is_return));
    let mut open = Open::default();
    let mut explanations = HashSet::from([Explanation { key: Key::default(), done: 0 }]);
    for (_, is_return, operation) in events {
        if !is_return {
            open.add(operation);
            continue;
        }
        let found = returned(&explanations, &open, operation);
        if found.is_empty() {
            return Err(Box::new(Violation {
                operation: operation.clone(),
                beside: open.iter().map(|(_, it)| it.clone()).collect(),
                possible: explanations.into_iter().map(|it| it.key).collect(),
            }));
        }
        let place = open.remove(operation);
        explanations = found
            .into_iter()
            .map(|it| Explanation { key: it.key, done: it.done & !(1 << place) })
            .collect();
    }
    Ok(())
}

/// All explanations in which the operation has had its effect, by letting open operations have theirs in any order;
/// and, where nobody knows whether it had, those in which it had not.
fn returned(
    explanations: &HashSet<Explanation>,
    open: &Open<'_>,
    operation: &Operation,
) -> HashSet<Explanation> {
    let own = open.iter().find(|(_, it)| std::ptr::eq(*it, operation)).map(|(bit, _)| bit);
    let own = own.expect("it was called before it returned");
    let mut tried: HashSet<Explanation> = explanations.clone();
    let mut untried: Vec<Explanation> = explanations.iter().cloned().collect();
    let mut found = HashSet::new();
    while let Some(explanation) = untried.pop() {
        if explanation.done & own != 0 {
            found.insert(explanation);
            continue;
        }
        for next in steps(&explanation, open) {
            if tried.insert(next.clone()) {
                untried.push(next);
            }
        }
    }
    if operation.output == Output::Unknown {
        found.extend(explanations.iter().filter(|it| it.done & own == 0).cloned());
    }
    found
}

/// What may be true after one more open operation has had its effect.
fn steps(explanation: &Explanation, open: &Open<'_>) -> Vec<Explanation> {
    let mut steps = Vec::new();
    for (bit, it) in open.iter().filter(|(bit, _)| explanation.done & bit == 0) {
        let Some(key) = explanation.key.after(&it.input, &it.output) else { continue };
        // A read or a refusal that tells nothing new may as well come now: it never makes anything else impossible. A
        // deletion that finds nothing may not, for it may find something later.
        let has_no_effect = match it.output {
            Output::Seen(_) | Output::Done(false) | Output::NoSuchSession => true,
            Output::Done(true) | Output::Unknown => false,
        };
        let is_all_the_same = key == explanation.key;
        let step = Explanation { key, done: explanation.done | bit };
        if has_no_effect && is_all_the_same {
            return vec![step];
        }
        steps.push(step);
    }
    steps
}
