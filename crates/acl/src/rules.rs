//! The rule language, and rules merged.

mod parse;

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::resource::{Level, Resource};

/// The rules of a policy, or of several merged ones.
///
/// A rule is for one segment or for all that begin with a prefix. Of two rules for the same, the greater [`Level`] stays, so
/// merging does not depend on an order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Rules {
    /// Of resources without segments.
    pub(crate) plain: BTreeMap<Resource, Level>,
    /// Of resources with segments; of intentions what rules say in so many words.
    pub(crate) named: BTreeMap<Resource, NamedRules>,
}

impl Rules {
    /// Reads the text of a policy: HCL, or JSON if it begins with `{`. An empty text has no rules.
    ///
    /// Errors say which rule is wrong; the bounds are those of room `hcl`.
    pub fn parse(text: &str) -> Result<Self, RulesError> {
        parse::parse(text)
    }

    /// Takes the rules of another policy in.
    pub fn merge(&mut self, other: &Self) {
        for (resource, level) in &other.plain {
            self.add_plain(*resource, *level);
        }
        for (resource, rules) in &other.named {
            let named = self.named.entry(*resource).or_default();
            for (segment, level) in &rules.exact {
                NamedRules::add(&mut named.exact, segment, *level);
            }
            for (prefix, level) in &rules.prefix {
                NamedRules::add(&mut named.prefix, prefix, *level);
            }
        }
    }

    pub(crate) fn add_plain(&mut self, resource: Resource, level: Level) {
        let before = self.plain.entry(resource).or_insert(level);
        *before = level.max(*before);
    }
}

/// The rules of one resource.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct NamedRules {
    pub(crate) exact: BTreeMap<String, Level>,
    pub(crate) prefix: BTreeMap<String, Level>,
}

impl NamedRules {
    pub(crate) fn add(rules: &mut BTreeMap<String, Level>, segment: &str, level: Level) {
        match rules.get_mut(segment) {
            Some(before) => *before = level.max(*before),
            None => {
                rules.insert(segment.to_owned(), level);
            }
        }
    }

    /// The nearest rule: the one for exactly this, or else the one with the longest prefix.
    pub(crate) fn nearest(&self, segment: &str) -> Option<Level> {
        self.exact.get(segment).copied().or_else(|| self.nearest_prefix(segment))
    }

    pub(crate) fn nearest_prefix(&self, segment: &str) -> Option<Level> {
        let mut bound = segment;
        loop {
            let until = (Bound::Unbounded, Bound::Included(bound));
            let (prefix, level) = self.prefix.range::<str, _>(until).next_back()?;
            if segment.starts_with(prefix.as_str()) {
                return Some(*level);
            }
            // This rule lies between each prefix of the segment that is left and the segment, so none of them is longer
            // than what the rule and the segment have in common.
            let common =
                prefix.bytes().zip(bound.bytes()).take_while(|(ours, theirs)| ours == theirs);
            bound = &bound[..bound.floor_char_boundary(common.count())];
        }
    }

    /// All levels, without what they are for.
    pub(crate) fn levels(&self) -> impl Iterator<Item = Level> {
        self.exact.values().chain(self.prefix.values()).copied()
    }

    /// The levels of all rules for something that begins with `prefix`.
    pub(crate) fn levels_under(&self, prefix: &str) -> impl Iterator<Item = Level> {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let exact = self.exact.range::<str, _>(from);
        let longer = self.prefix.range::<str, _>(from);
        let is_under = move |(segment, _): &(&String, &Level)| segment.starts_with(prefix);
        exact.take_while(is_under).chain(longer.take_while(is_under)).map(|(_, level)| *level)
    }
}

/// Why a text is no policy.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RulesError {
    /// It is neither HCL nor JSON.
    #[error("Failed to parse ACL rules: {0}")]
    Syntax(hcl::Error),
    /// Something is not of the kind that it must be.
    #[error("Failed to parse ACL rules: {0}")]
    Shape(hcl::ShapeError),
    /// There is no such resource.
    #[error(
        "Failed to parse ACL rules: there is no resource {0:?} (resources are acl, keyring, mesh, operator, peering, and \
         agent, event, key, node, query, service, session, each also with _prefix)"
    )]
    UnknownResource(String),
    /// A rule has something in it that no rule has.
    #[error("Failed to parse ACL rules: {rule} {segment:?} has no {field:?} (it has {known})")]
    UnknownField {
        /// `key`, `key_prefix`, …
        rule: String,
        /// What the rule is for.
        segment: String,
        /// What is in it.
        field: String,
        /// What may be in it.
        known: &'static str,
    },
    /// What only the enterprise edition has.
    #[error("Failed to parse ACL rules: {0:?} in {1}: {2} a Consul Enterprise feature")]
    Enterprise(String, String, &'static str),
    /// A level that the resource does not have.
    #[error("Invalid {rule} policy: {level:?}{} (it is one of {levels})", for_segment(.segment))]
    InvalidLevel {
        /// `key`, `key_prefix`, `service intentions`, …
        rule: String,
        /// What the rule is for, unless the resource has no segments.
        segment: Option<String>,
        /// What the rule says; empty if nothing.
        level: String,
        /// What it may say.
        levels: &'static str,
    },
}

fn for_segment(segment: &Option<String>) -> String {
    segment.as_ref().map(|it| format!(" for {it:?}")).unwrap_or_default()
}
