//! Parts of a cluster by the metadata of its endpoints (reference/load-balancing.md 2.13; Envoy's
//! subset load balancer).

use std::collections::BTreeMap;

use proxy_config::{Endpoint, SubsetFallback, Subsets};

/// Endpoints whose metadata have these values.
pub(crate) type Values = BTreeMap<String, String>;

/// A cluster's parts by number: 0 is the whole cluster, each other one a subset. At most one part
/// per endpoint and selector, and one for the default.
#[derive(Debug)]
pub(crate) struct Parts {
    /// Endpoints of each part, ascending.
    members: Vec<Box<[u32]>>,
    /// Number of the part with these values.
    by_values: foldhash::HashMap<Values, usize>,
    fallbacks: Option<Fallbacks>,
}

#[derive(Debug)]
struct Fallbacks {
    /// Of requests whose keys are those of a selector.
    by_keys: Vec<(Box<[String]>, SubsetFallback)>,
    /// Of all others.
    other: SubsetFallback,
    /// Part that [`SubsetFallback::Default`] means; `None`: it has no endpoints.
    default: Option<usize>,
    panic_any: bool,
}

/// Which part a request gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Match {
    /// Number of the part; `None`: there is none for it.
    pub part: Option<usize>,
    /// It is not the one that was asked for.
    pub fallback: bool,
    /// If it has nothing to use, any endpoint may be.
    pub panic_any: bool,
}

impl Parts {
    pub(crate) fn new(endpoints: &[Endpoint], subsets: Option<&Subsets>) -> Self {
        let all: Box<[u32]> = (0u32..).take(endpoints.len()).collect();
        let mut parts =
            Self { members: vec![all], by_values: foldhash::HashMap::default(), fallbacks: None };
        let Some(subsets) = subsets else { return parts };
        let mut members: BTreeMap<Values, Vec<u32>> = BTreeMap::new();
        for selector in &subsets.selectors {
            for (idx, endpoint) in (0u32..).zip(endpoints) {
                let value = |key: &String| {
                    endpoint.metadata.get(key).map(|value| (key.clone(), value.clone()))
                };
                if let Some(values) = selector.keys.iter().map(value).collect::<Option<Values>>() {
                    let list = members.entry(values).or_default();
                    // Two selectors may have the same keys.
                    if list.last().is_none_or(|last| *last < idx) {
                        list.push(idx);
                    }
                }
            }
        }
        for (values, list) in members {
            parts.add(Some(values), list);
        }
        let is_default = |endpoint: &Endpoint| {
            subsets.default.iter().all(|(key, value)| endpoint.metadata.get(key) == Some(value))
        };
        let default = (0u32..).zip(endpoints).filter(|it| is_default(it.1)).map(|it| it.0);
        let default = parts.add(None, default.collect());
        let by_keys = subsets
            .selectors
            .iter()
            .filter_map(|selector| Some((selector.keys.clone().into(), selector.fallback?)));
        parts.fallbacks = Some(Fallbacks {
            by_keys: by_keys.collect(),
            other: subsets.fallback,
            default,
            panic_any: subsets.panic_any,
        });
        parts
    }

    fn add(&mut self, values: Option<Values>, members: Vec<u32>) -> Option<usize> {
        if members.is_empty() {
            return None;
        }
        let number = self.members.len();
        self.members.push(members.into());
        if let Some(values) = values {
            self.by_values.insert(values, number);
        }
        Some(number)
    }

    /// Endpoints of each part, by number.
    pub(crate) fn members(&self) -> &[Box<[u32]>] {
        &self.members
    }

    /// For each part of this its number in `previous`, if it is there.
    pub(crate) fn numbers_in(&self, previous: &Parts) -> Vec<Option<usize>> {
        let mut numbers = vec![None; self.members.len()];
        numbers[0] = Some(0);
        #[expect(clippy::disallowed_methods, reason = "each entry is looked up on its own")]
        for (values, number) in self.by_values.iter() {
            numbers[*number] = previous.by_values.get(values).copied();
        }
        numbers
    }

    /// The part for a request that asks for `values`. Without subsets it is the whole cluster,
    /// whatever is asked for.
    #[inline]
    pub(crate) fn find(&self, values: Option<&Values>) -> Match {
        match &self.fallbacks {
            None => Match { part: Some(0), fallback: false, panic_any: false },
            Some(fallbacks) => self.find_subset(fallbacks, values),
        }
    }

    fn find_subset(&self, fallbacks: &Fallbacks, values: Option<&Values>) -> Match {
        let values = values.filter(|it| !it.is_empty());
        if let Some(part) = values.and_then(|values| self.by_values.get(values)) {
            return Match { part: Some(*part), fallback: false, panic_any: false };
        }
        let own = values.and_then(|values| {
            fallbacks.by_keys.iter().find(|it| it.0.iter().eq(values.keys())).map(|it| it.1)
        });
        let part = match own.unwrap_or(fallbacks.other) {
            SubsetFallback::None => None,
            SubsetFallback::Any => Some(0),
            SubsetFallback::Default => fallbacks.default,
        };
        Match { part, fallback: true, panic_any: fallbacks.panic_any }
    }
}

#[cfg(test)]
mod tests {
    use proxy_config::{Endpoint, SubsetFallback, SubsetSelector, Subsets};

    use super::{Parts, Values};

    fn values(list: &[(&str, &str)]) -> Values {
        list.iter().map(|it| (it.0.to_owned(), it.1.to_owned())).collect()
    }

    fn selector(keys: &[&str], fallback: Option<SubsetFallback>) -> SubsetSelector {
        SubsetSelector { keys: keys.iter().map(|it| (*it).to_owned()).collect(), fallback }
    }

    fn parts(fallback: SubsetFallback, default: &[(&str, &str)], panic_any: bool) -> Parts {
        let endpoint = |metadata: &[(&str, &str)]| Endpoint {
            metadata: values(metadata),
            ..Endpoint::default()
        };
        let endpoints = [
            endpoint(&[("version", "1"), ("stage", "prod")]),
            endpoint(&[("version", "2"), ("stage", "prod")]),
            endpoint(&[("version", "2"), ("stage", "dev")]),
            endpoint(&[]),
        ];
        let subsets = Subsets {
            selectors: vec![
                selector(&["version"], None),
                selector(&["stage", "version"], Some(SubsetFallback::Any)),
            ],
            fallback,
            default: values(default),
            panic_any,
        };
        Parts::new(&endpoints, Some(&subsets))
    }

    fn found(parts: &Parts, wanted: &[(&str, &str)]) -> Option<Vec<u32>> {
        parts.find(Some(&values(wanted))).part.map(|part| parts.members()[part].to_vec())
    }

    #[test]
    fn a_request_gets_the_endpoints_with_its_values() {
        let parts = parts(SubsetFallback::None, &[], false);
        assert_eq!(found(&parts, &[("version", "2")]), Some(vec![1, 2]));
        assert_eq!(found(&parts, &[("version", "2"), ("stage", "prod")]), Some(vec![1]));
    }

    #[test]
    fn what_does_not_exist_falls_back_as_its_selector_or_the_cluster_says() {
        let none = parts(SubsetFallback::None, &[], false);
        assert_eq!(found(&none, &[("version", "3")]), None);
        assert_eq!(found(&none, &[("stage", "prod")]), None, "no selector has just this key");
        assert_eq!(found(&none, &[]), None);
        assert_eq!(none.find(None).part, None);
        assert_eq!(found(&none, &[("version", "1"), ("stage", "dev")]), Some(vec![0, 1, 2, 3]));
        let default = parts(SubsetFallback::Default, &[("stage", "prod")], true);
        assert_eq!(found(&default, &[("version", "3")]), Some(vec![0, 1]));
        assert!(default.find(None).panic_any && default.find(None).fallback);
        let nobody = parts(SubsetFallback::Default, &[("stage", "test")], false);
        assert_eq!(found(&nobody, &[("version", "3")]), None);
    }

    #[test]
    fn without_subsets_the_request_gets_the_whole_cluster() {
        let parts = Parts::new(&[Endpoint::default()], None);
        assert_eq!(found(&parts, &[("version", "1")]), Some(vec![0]));
    }

    #[test]
    fn parts_are_found_again_in_the_next_configuration() {
        let (old, new) =
            (parts(SubsetFallback::Any, &[], false), parts(SubsetFallback::Any, &[], false));
        assert!(new.numbers_in(&old)[..new.members().len() - 1].iter().all(Option::is_some));
    }
}
