//! What a login is bound to, and which claims it gets there with.

use std::collections::BTreeMap;

use model::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn variables_are_put_into_names() {
    let variables =
        map(&[("value.name", "Web"), ("serviceaccount.namespace", "default"), ("a-b", "")]);
    for (text, expected) in [
        ("plain", "plain"),
        ("", ""),
        ("${value.name}", "web"),
        ("X-${ value.name }-${serviceaccount.namespace}.Y", "X-web-default.Y"),
        ("$${value.name}", "${value.name}"),
        ("$$", "$$"),
        ("${a-b}$", "$"),
        ("é${value.name}é", "éwebé"),
    ] {
        assert_eq!(interpolate(text, &variables).as_deref(), Ok(expected), "{text}");
    }
    for (text, expected) in [
        ("a${value.name", "\"a${value.name\": `${` at byte 1 has no `}`"),
        ("${}", "\"${}\": `${}` is no variable (only the names of variables can be in `${…}`)"),
        (
            "${upper(value.name)}",
            "\"${upper(value.name)}\": `${upper(value.name)}` is no variable (only the names of variables can be in \
             `${…}`)",
        ),
        ("${value.other}", "\"${value.other}\": unknown variable accessed: value.other"),
    ] {
        assert_eq!(interpolate(text, &variables).unwrap_err().to_string(), expected);
    }
    let long = map(&[("x", &"a".repeat(500))]);
    assert!(interpolate("${x}${x}", &long).is_ok());
    assert!(matches!(interpolate("${x}${x}${x}", &long), Err(BindError::TooLong(_))));
}

#[test]
fn a_binding_rule_binds_to_valid_names_only() {
    let variables = map(&[("value.name", "Web"), ("value.team", "a b")]);
    let bound = |bind_type: &str, name: &str, variable| {
        BindType::from_name(bind_type).and_then(|it| bind(it, name, variable, &variables))
    };
    for (bind_type, name, expected) in [
        ("service", "${value.name}-1", Binding::Service("web-1".to_owned())),
        ("node", "n-${value.name}", Binding::Node("n-web".to_owned())),
        ("role", "Team-${value.name}", Binding::Role("Team-web".to_owned())),
        ("policy", "Team/${value.name}", Binding::Policy("Team/web".to_owned())),
        (
            "policy",
            "builtin/global-read-only",
            Binding::Policy("builtin/global-read-only".to_owned()),
        ),
    ] {
        assert_eq!(bound(bind_type, name, None), Ok(expected));
    }
    let service = template("builtin/service").unwrap();
    let dns = template("builtin/dns").unwrap();
    assert_eq!(
        bound("templated-policy", "builtin/service", Some("${value.name}")),
        Ok(Binding::Templated(service, Some("web".to_owned())))
    );
    assert_eq!(bound("templated-policy", "builtin/dns", None), Ok(Binding::Templated(dns, None)));
    for (bind_type, name, variable, expected) in [
        (
            "service",
            "Web",
            None,
            "computed \"service\" bind name for bind target is invalid: \"Web\"",
        ),
        ("node", "", None, "computed \"node\" bind name for bind target is invalid: \"\""),
        (
            "role",
            "${value.team}",
            None,
            "computed \"role\" bind name for bind target is invalid: \"a b\"",
        ),
        (
            "policy",
            "builtin/x",
            None,
            "computed \"policy\" bind name for bind target is invalid: \"builtin/x\"",
        ),
        ("management", "x", None, "unknown binding rule bind type: management"),
        (
            "templated-policy",
            "builtin/x",
            None,
            "cannot compute \"templated-policy\" bind name for bind target: no ACL templated policy with Name \
             \"builtin/x\" found",
        ),
        (
            "templated-policy",
            "builtin/node",
            None,
            "cannot compute \"templated-policy\" bind name for bind target: validation error with templated policy \
             \"builtin/node\": name is required",
        ),
    ] {
        assert_eq!(bound(bind_type, name, variable).unwrap_err().to_string(), expected);
    }
    assert!(bound("templated-policy", "builtin/service", Some("${value.team}")).is_err());
}

#[test]
fn a_bind_name_is_checked_before_anybody_logs_in() {
    let check = |name| check_bind_name(BindType::Service, name, None, ["value.name"]);
    assert_eq!(check("x-${value.name}"), Ok(()));
    assert!(matches!(check("${value.other}"), Err(BindError::Variable(..))));
    assert!(matches!(check("X-${value.name}"), Err(BindError::Name(..))));
    assert!(matches!(check(""), Err(BindError::Name(..))));
}

const NOW: Timestamp = Timestamp(1_000_000_000);
const NOW_SECONDS: i64 = 1_000_000;

fn rules() -> ClaimRules {
    ClaimRules {
        bound_issuer: "issuer".to_owned(),
        bound_audiences: vec!["consul".to_owned(), "mesh".to_owned()],
        claim_mappings: map(&[
            ("name", "name"),
            ("/org/team~1x", "team"),
            ("admin", "admin"),
            ("age", "age"),
        ]),
        list_claim_mappings: map(&[("groups", "groups"), ("/org/roles", "roles")]),
        ..ClaimRules::default()
    }
}

fn claims(changes: Value) -> Value {
    let mut claims = json!({"iss": "issuer", "aud": ["other", "mesh"], "exp": NOW_SECONDS + 10});
    for (key, value) in changes.as_object().unwrap() {
        claims[key] = value.clone();
    }
    claims
}

#[test]
fn claims_hold_or_do_not() {
    let check = |changes| check_claims(&claims(changes), &rules(), NOW);
    for (changes, expected) in [
        (json!({}), Ok(())),
        (json!({"aud": "consul"}), Ok(())),
        (json!({"aud": "other"}), Err(ClaimError::Audience)),
        (json!({"aud": null}), Err(ClaimError::Audience)),
        (json!({"aud": [1]}), Err(ClaimError::Kind("aud", "a string or a list of strings"))),
        (json!({"iss": "Issuer"}), Err(ClaimError::Issuer)),
        (json!({"iss": null}), Err(ClaimError::Issuer)),
        (json!({"iss": 1}), Err(ClaimError::Kind("iss", "a string"))),
        (json!({"exp": NOW_SECONDS - 60}), Ok(())),
        (json!({"exp": NOW_SECONDS - 61}), Err(ClaimError::Expired)),
        (json!({"exp": (NOW_SECONDS - 60) as f64 - 0.5}), Err(ClaimError::Expired)),
        (json!({"exp": "soon"}), Err(ClaimError::Kind("exp", "a number"))),
        (json!({"exp": 1e300}), Ok(())),
        (json!({"exp": -1e300}), Err(ClaimError::Expired)),
        (json!({"nbf": NOW_SECONDS + 60}), Ok(())),
        (json!({"nbf": NOW_SECONDS + 61}), Err(ClaimError::NotYetValid)),
        (json!({"nbf": NOW_SECONDS, "iat": NOW_SECONDS + 61}), Err(ClaimError::IssuedInTheFuture)),
        (json!({"iat": NOW_SECONDS + 61}), Err(ClaimError::NotYetValid)),
        (json!({"exp": null}), Err(ClaimError::NoTime)),
        (json!({"exp": null, "iat": NOW_SECONDS - 210}), Ok(())),
        (json!({"exp": null, "iat": NOW_SECONDS - 211}), Err(ClaimError::Expired)),
        (json!({"exp": null, "iat": 1, "nbf": NOW_SECONDS - 210}), Ok(())),
        (json!({"exp": NOW_SECONDS + 210}), Ok(())),
        (json!({"exp": NOW_SECONDS + 211}), Err(ClaimError::NotYetValid)),
    ] {
        // An end that is far away needs a beginning.
        let changes = match changes["exp"].as_f64() {
            Some(exp) if exp > 1e100 => json!({"exp": exp, "iat": NOW_SECONDS}),
            _ => changes,
        };
        assert_eq!(check(changes.clone()), expected, "{changes}");
    }
    assert_eq!(check_claims(&json!([]), &rules(), NOW), Err(ClaimError::NotAnObject));
}

#[test]
fn leeways_are_as_configured() {
    let check = |change: fn(&mut ClaimRules), changes| {
        let mut rules = rules();
        change(&mut rules);
        check_claims(&claims(changes), &rules, NOW)
    };
    let no_skew: fn(&mut ClaimRules) = |it| it.clock_skew_leeway = Leeway::None;
    assert_eq!(check(no_skew, json!({"exp": NOW_SECONDS})), Ok(()));
    assert_eq!(check(no_skew, json!({"exp": NOW_SECONDS - 1})), Err(ClaimError::Expired));
    let long: fn(&mut ClaimRules) = |it| it.expiration_leeway = Leeway::Seconds(1000);
    assert_eq!(check(long, json!({"exp": null, "iat": NOW_SECONDS - 1060})), Ok(()));
    let none: fn(&mut ClaimRules) = |it| it.not_before_leeway = Leeway::None;
    assert_eq!(check(none, json!({"exp": NOW_SECONDS + 61})), Err(ClaimError::NotYetValid));
    let nobody: fn(&mut ClaimRules) = |it| it.bound_audiences.clear();
    assert_eq!(check(nobody, json!({})), Err(ClaimError::AudienceNotBound));
    assert_eq!(check(nobody, json!({"aud": null})), Ok(()));
    for (nanoseconds, expected) in [
        (0, Leeway::Default),
        (-1, Leeway::None),
        (i64::MIN, Leeway::None),
        (1_500_000_000, Leeway::Seconds(1)),
        (1, Leeway::Seconds(0)),
        (i64::MAX, Leeway::Seconds(u32::MAX)),
    ] {
        assert_eq!(Leeway::from_nanoseconds(nanoseconds), expected, "{nanoseconds}");
    }
}

#[test]
fn claims_become_values_and_lists() {
    let given = claims(json!({
        "name": "Web", "admin": true, "age": 41.9, "org": {"team/x": "infra", "roles": "one"},
        "groups": ["a", "", 7, false],
    }));
    let login = identity(&given, &rules(), NOW).unwrap();
    assert_eq!(
        login.values,
        map(&[("name", "Web"), ("team", "infra"), ("admin", "true"), ("age", "41")])
    );
    assert_eq!(login.lists["groups"], ["a", "7", "false"]);
    assert_eq!(login.lists["roles"], ["one"]);
    let variables = login.variables(&rules());
    assert_eq!(interpolate("${value.team}-${value.name}", &variables).as_deref(), Ok("infra-web"));

    let empty = identity(&claims(json!({"name": null})), &rules(), NOW).unwrap();
    assert_eq!(empty, Identity::default());
    assert_eq!(interpolate("x${value.name}", &empty.variables(&rules())).as_deref(), Ok("x"));
}

#[test]
fn claims_of_the_wrong_kind_are_named() {
    for (changes, expected) in [
        (json!({"name": ["a"]}), "error converting claim 'name' to string: it is a list"),
        (json!({"groups": {}}), "\"groups\" list claim could not be converted to string list"),
        (
            json!({"groups": ["a", null]}),
            "value null in \"groups\" list claim could not be parsed as string",
        ),
        (
            json!({"aud": "x"}),
            "error validating claims: aud claim does not match any bound audience",
        ),
    ] {
        let error = identity(&claims(changes), &rules(), NOW).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
    let mut twice = rules();
    assert_eq!(twice.check(), Ok(()));
    twice.claim_mappings.insert("other".to_owned(), "name".to_owned());
    assert_eq!(
        twice.check().unwrap_err().to_string(),
        "ClaimMappings contains multiple mappings for key \"name\""
    );
}

proptest! {
    #[test]
    fn any_template_interpolates_or_is_refused(text in "[${}a.é ]{0,20}", value in any::<String>()) {
        let variables = map(&[("a", &value)]);
        match interpolate(&text, &variables) {
            Ok(made) => prop_assert!(made.len() <= 1024),
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }

    #[test]
    fn any_times_are_judged(iat in any::<i64>(), exp in any::<i64>(), nbf in any::<f64>(), now in any::<u64>()) {
        let given = claims(json!({"iat": iat, "exp": exp, "nbf": nbf}));
        let _ = check_claims(&given, &rules(), Timestamp(now));
    }
}
