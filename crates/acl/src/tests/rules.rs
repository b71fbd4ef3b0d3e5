//! The rule language: a corpus of policies, the errors of a table, and what is made of both by harm.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

macro_rules! corpus {
    ($($file:literal),* $(,)?) => {
        &[$(($file, include_str!(concat!("../../corpus/rules/", $file)))),*]
    };
}

const CORPUS: &[(&str, &str)] = corpus! {
    "accepted_all.hcl",
    "accepted_all.json",
    "accepted_empty.hcl",
    "accepted_lists.json",
    "accepted_odd.hcl",
    "refused_enterprise.hcl",
    "refused_level.json",
    "refused_syntax.hcl",
};

const ERRORS: &str = include_str!("../../corpus/rule_errors.txt");

/// The cases of the table: a policy, `---`, the error.
fn errors() -> impl Iterator<Item = (&'static str, &'static str)> {
    ERRORS.split("===\n").skip(1).map(|it| {
        let (policy, error) = it.split_once("---\n").unwrap();
        (policy.trim_end(), error.trim_end())
    })
}

#[test]
fn the_corpus_is_what_its_names_say() {
    for (name, text) in CORPUS {
        let parsed = Rules::parse(text);
        assert_eq!(parsed.is_ok(), name.starts_with("accepted_"), "{name}: {parsed:?}");
    }
}

#[test]
fn hcl_and_json_say_the_same() {
    let of = |name| Rules::parse(CORPUS.iter().find(|it| it.0 == name).unwrap().1).unwrap();
    assert_eq!(of("accepted_all.hcl"), of("accepted_all.json"));
    assert_eq!(of("accepted_all.hcl"), of("accepted_lists.json"));
    assert_ne!(of("accepted_all.hcl"), of("accepted_odd.hcl"));
    assert_eq!(of("accepted_empty.hcl"), Rules::default());
}

#[test]
fn errors_are_those_of_the_table() {
    assert!(errors().count() > 20, "the table has been read");
    for (policy, expected) in errors() {
        match Rules::parse(policy) {
            Ok(rules) => panic!("{policy}: {rules:?}"),
            Err(error) => assert_eq!(error.to_string(), expected, "{policy}"),
        }
    }
}

/// What holds of any text.
fn read(text: &str) {
    if let Ok(rules) = Rules::parse(text) {
        let authorizer = Authorizer::new([&rules, &rules], DefaultPolicy::Deny);
        assert_eq!(authorizer, Authorizer::new([&rules], DefaultPolicy::Deny));
        for resource in Resource::ALL {
            for segment in ["", "web", "foo/bar", "é"] {
                let can = |access| authorizer.allows(resource, access, segment);
                assert!(!can(Access::Write) || can(Access::List), "{text}");
                assert!(!can(Access::List) || can(Access::Read), "{text}");
            }
        }
    }
}

const TELLING: &[u8] = b"{}[]\"\\=,:#\n x0pe_";

#[test]
fn every_beginning_and_every_changed_byte_of_the_corpus_does_no_harm() {
    for text in CORPUS.iter().map(|it| it.1).chain(errors().map(|it| it.0)) {
        for at in 0..text.len() {
            read(&String::from_utf8_lossy(&text.as_bytes()[..at]));
            for telling in TELLING.iter().skip(at % 6).step_by(6) {
                let mut bytes = text.as_bytes().to_vec();
                bytes[at] = *telling;
                read(&String::from_utf8_lossy(&bytes));
            }
        }
    }
}

proptest! {
    #[test]
    fn what_chance_makes_of_the_corpus_does_no_harm(
        file in any::<prop::sample::Index>(),
        changes in vec((any::<prop::sample::Index>(), prop::sample::select(TELLING.to_vec())), 0..8),
    ) {
        let mut bytes = CORPUS[file.index(CORPUS.len())].1.as_bytes().to_vec();
        for (at, byte) in changes {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        read(&String::from_utf8_lossy(&bytes));
    }
}
