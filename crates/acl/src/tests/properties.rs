//! What holds of all rules: no order, `deny` wins, the nearest rule is the one that a plain search finds.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// One rule: resource, whether for a prefix, segment, level, intentions.
type Rule = (&'static str, bool, String, &'static str, Option<&'static str>);

fn any_rule() -> impl Strategy<Value = Rule> {
    (
        prop::sample::select(vec!["key", "service", "node"]),
        any::<bool>(),
        "[ab/é]{0,4}",
        prop::sample::select(vec!["read", "write", "deny"]),
        prop::option::of(prop::sample::select(vec!["read", "write", "deny"])),
    )
}

fn text_of(rules: &[Rule]) -> String {
    let one = |(resource, is_prefix, segment, level, intentions): &Rule| {
        let suffix = if *is_prefix { "_prefix" } else { "" };
        let intentions = intentions
            .filter(|_| *resource == "service")
            .map(|it| format!("intentions = \"{it}\""))
            .unwrap_or_default();
        format!("{resource}{suffix} \"{segment}\" {{ policy = \"{level}\" {intentions} }}\n")
    };
    rules.iter().map(one).collect()
}

fn parse(rules: &[Rule]) -> Rules {
    Rules::parse(&text_of(rules)).unwrap()
}

/// Segments that rules may be near to.
fn segments() -> Vec<String> {
    let mut segments = vec![String::new()];
    for _ in 0..3 {
        let longer: Vec<_> = segments
            .iter()
            .flat_map(|it| ["a", "b", "/", "é", "z"].map(|letter| format!("{it}{letter}")))
            .collect();
        segments.extend(longer);
        segments.sort();
        segments.dedup();
    }
    segments
}

fn strength(level: &str) -> u8 {
    match level {
        "read" => 0,
        "write" => 1,
        _ => 2,
    }
}

/// The nearest rule, by looking at all of them.
fn nearest<'a>(rules: &'a [Rule], resource: &str, segment: &str) -> Option<&'a str> {
    let of = |is_prefix: bool| rules.iter().filter(move |it| it.0 == resource && it.1 == is_prefix);
    let exact = of(false).filter(|it| it.2 == segment).map(|it| it.3);
    exact.max_by_key(|it| strength(it)).or_else(|| {
        of(true)
            .filter(|it| segment.starts_with(&it.2))
            .max_by_key(|it| (it.2.len(), strength(it.3)))
            .map(|it| it.3)
    })
}

proptest! {
    #[test]
    fn the_order_of_policies_does_not_matter(
        rules in vec(any_rule(), 0..12),
        other in any::<prop::sample::Index>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let whole = parse(&rules);
        let (first, second) = rules.split_at(cut.index(rules.len() + 1));
        let pieces = [parse(first), parse(second)];
        let mut turned = rules.clone();
        turned.reverse();
        if !turned.is_empty() {
            let by = other.index(turned.len());
            turned.rotate_left(by);
        }
        let expected = Authorizer::new([&whole], DefaultPolicy::Deny);
        for policies in [vec![&pieces[0], &pieces[1]], vec![&pieces[1], &pieces[0]], vec![&parse(&turned)]] {
            prop_assert_eq!(&Authorizer::new(policies, DefaultPolicy::Deny), &expected);
        }
    }

    #[test]
    fn deny_wins_over_what_is_as_near(rules in vec(any_rule(), 1..12), which in any::<prop::sample::Index>()) {
        let (resource, is_prefix, segment, _, _) = rules[which.index(rules.len())].clone();
        let mut with = rules.clone();
        with.push((resource, is_prefix, segment.clone(), "deny", None));
        let authorizer = Authorizer::new([&parse(&with)], DefaultPolicy::Allow);
        let denied = nearest(&with, resource, &segment) == Some("deny");
        let allowed = authorizer.ask(resource, "read", &segment).unwrap();
        prop_assert_eq!(allowed, !denied);
        if !is_prefix {
            prop_assert!(!allowed);
        }
    }

    #[test]
    fn the_nearest_rule_decides(rules in vec(any_rule(), 0..12)) {
        let authorizer = Authorizer::new([&parse(&rules)], DefaultPolicy::Deny);
        for segment in segments() {
            for resource in ["key", "service", "node"] {
                let level = nearest(&rules, resource, &segment);
                let can = |access| authorizer.ask(resource, access, &segment).unwrap();
                prop_assert_eq!(can("read"), matches!(level, Some("read" | "write")), "{}", &segment);
                prop_assert_eq!(can("write"), level == Some("write"), "{}", &segment);
            }
        }
    }

    #[test]
    fn who_may_delete_a_prefix_may_write_everything_in_it(rules in vec(any_rule(), 0..12), prefix in "[ab/é]{0,2}") {
        for default in [DefaultPolicy::Allow, DefaultPolicy::Deny] {
            let authorizer = Authorizer::new([&parse(&rules)], default);
            let writes_all = segments()
                .iter()
                .filter(|it| it.starts_with(&prefix))
                .all(|it| authorizer.key_write(it));
            if authorizer.key_write_prefix(&prefix) {
                prop_assert!(writes_all);
            }
        }
    }
}
