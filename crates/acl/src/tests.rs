//! What rules allow, from a table in a file; names, identities and templates. The rest is in the modules below.

mod logins;
mod properties;
mod rules;

use super::*;

const QUESTIONS: &str = include_str!("../corpus/questions.txt");

fn authorizer(policies: &str, default: &str) -> Authorizer {
    let policies: Vec<_> = policies
        .split("+++\n")
        .map(|it| Rules::parse(it).unwrap_or_else(|error| panic!("{it}: {error}")))
        .collect();
    let default = match default {
        "allow" => DefaultPolicy::Allow,
        "deny" => DefaultPolicy::Deny,
        "management" => return Authorizer::management(),
        other => panic!("{other}"),
    };
    Authorizer::new(&policies, default)
}

/// Answers `resource:access segment`; some accesses have no segment and are in no rule.
fn answer(authorizer: &Authorizer, question: &str) -> bool {
    let (what, segment) = question.split_once(' ').unwrap_or((question, ""));
    match what {
        "node:read-all" => authorizer.node_read_all(),
        "node:read-imported" => authorizer.node_read_imported(),
        "service:read-all" => authorizer.service_read_all(),
        "service:read-any" => authorizer.service_read_any(),
        "service:write-any" => authorizer.service_write_any(),
        "service:read-imported" => authorizer.service_read_imported(),
        "intention:default" => authorizer.intention_default_allow(),
        "snapshot" => authorizer.snapshot(),
        _ => {
            let (resource, access) = what.split_once(':').unwrap();
            authorizer.ask(resource, access, segment).unwrap()
        }
    }
}

#[test]
fn questions_are_answered_as_in_the_table() {
    let mut count = 0;
    for case in QUESTIONS.split("=== ").skip(1) {
        let (name, rest) = case.split_once('\n').unwrap();
        let (name, default) = name.rsplit_once(", default ").unwrap();
        let (policies, questions) = rest.split_once("---\n").unwrap();
        let authorizer = authorizer(policies, default);
        for line in questions.lines().filter(|it| !it.is_empty()) {
            let (question, expected) = line.rsplit_once(" = ").unwrap();
            let expected = match expected {
                "yes" => true,
                "no" => false,
                other => panic!("{name}: {other}"),
            };
            assert_eq!(answer(&authorizer, question), expected, "{name}: {question}");
            count += 1;
        }
    }
    assert!(count > 150, "the table has been read: {count}");
}

#[test]
fn questions_that_there_are_not_are_named() {
    let authorizer = Authorizer::management();
    for (resource, access, expected) in [
        ("keys", "read", "Invalid ACL resource requested: \"keys\""),
        ("key", "delete", "Invalid access level for key resource: delete"),
        ("service", "list", "Invalid access level for service resource: list"),
        ("node", "write-prefix", "Invalid access level for node resource: write-prefix"),
    ] {
        assert_eq!(authorizer.ask(resource, access, "").unwrap_err().to_string(), expected);
    }
    assert_eq!(authorizer.ask("key", "READ", "a"), Ok(true));
}

#[test]
fn what_is_denied_says_so_in_the_words_of_consul() {
    let nothing = Authorizer::new([], DefaultPolicy::Deny);
    let accessor = "8c7f0a2e-1111-2222-3333-444455556666";
    for (accessor, resource, access, segment, expected) in [
        (
            accessor,
            Resource::Service,
            Access::Write,
            "web",
            "Permission denied: token with AccessorID '8c7f0a2e-1111-2222-3333-444455556666' lacks permission \
             'service:write' on \"web\"",
        ),
        (
            accessor,
            Resource::Key,
            Access::WritePrefix,
            "",
            "Permission denied: token with AccessorID '8c7f0a2e-1111-2222-3333-444455556666' lacks permission \
             'key:write'",
        ),
        (
            ANONYMOUS_TOKEN_ACCESSOR,
            Resource::Node,
            Access::Read,
            "x",
            "Permission denied: anonymous token lacks permission 'node:read' on \"x\". The anonymous token is used \
             implicitly when a request does not specify a token.",
        ),
        (
            ANONYMOUS_TOKEN_ACCESSOR,
            Resource::Acl,
            Access::Read,
            "not looked at",
            "Permission denied: anonymous token lacks permission 'acl:read'. The anonymous token is used implicitly \
             when a request does not specify a token.",
        ),
    ] {
        let denied = nothing.check(accessor, resource, access, segment).unwrap_err();
        assert_eq!(denied.to_string(), expected);
    }
    assert_eq!(Authorizer::management().check("", Resource::Acl, Access::Write, ""), Ok(()));
}

#[test]
fn names_are_valid_or_not() {
    let long = |count| "a".repeat(count);
    type Validity = fn(&str) -> bool;
    let cases: [(Validity, &[&str], &[&str]); 4] = [
        (
            is_valid_policy_name,
            &["a", "A-b_9", "team/policy", "a/", &long(128)],
            &["", "/a", "a/b/c", "a b", "é", "builtin/mine", "builtin/", &long(129)],
        ),
        (is_valid_role_name, &["a", "A-b_9", &long(256)], &["", "a/b", "a.b", &long(257)]),
        (is_valid_auth_method_name, &["k8s_1", &long(128)], &["", "a/b", &long(129)]),
        (
            is_valid_identity_name,
            &["a", "web-1_x", "1", &long(256)],
            &["", "-a", "a-", "_a", "Web", "a.b", "a\"b", &long(257)],
        ),
    ];
    for (is_valid, good, bad) in cases {
        assert!(good.iter().all(|it| is_valid(it)), "{good:?}");
        assert!(!bad.iter().any(|it| is_valid(it)), "{bad:?}");
    }
    assert!(is_reserved_id(GLOBAL_MANAGEMENT.id) && is_reserved_id(ANONYMOUS_TOKEN_ACCESSOR));
    assert!(!is_reserved_id("8c7f0a2e-1111-2222-3333-444455556666"));
}

#[test]
fn builtin_policies_allow_what_they_say() {
    for (policy, default) in [(&GLOBAL_MANAGEMENT, true), (&GLOBAL_READ_ONLY, false)] {
        let rules = Rules::parse(policy.rules).unwrap();
        let authorizer = Authorizer::new([&rules], DefaultPolicy::Deny);
        for resource in Resource::ALL {
            assert!(authorizer.allows(resource, Access::Read, "x"), "{resource}");
            assert_eq!(authorizer.allows(resource, Access::Write, "x"), default, "{resource}");
        }
    }
}

#[test]
fn identities_and_templates_render_rules_that_allow_what_they_are_for() {
    let service = service_identity_rules("web").unwrap();
    assert_eq!(template("builtin/service").unwrap().render(Some("web")).unwrap(), service);
    let node = node_identity_rules("n1").unwrap();
    assert_eq!(template("builtin/node").unwrap().render(Some("n1")).unwrap(), node);
    for (rules, allowed, not) in [
        (
            service,
            &[
                "service:write web",
                "service:write web-sidecar-proxy",
                "service:read x",
                "node:read x",
            ][..],
            &["service:write x", "node:write x", "key:read x", "intention:write web"][..],
        ),
        (node, &["node:write n1", "service:read x"], &["node:read x", "service:write n1"]),
        (
            template("builtin/api-gateway").unwrap().render(Some("gw")).unwrap(),
            &["service:write gw", "mesh:read", "node:read x", "service:read x"],
            &["service:write x", "mesh:write"],
        ),
        (
            template("builtin/dns").unwrap().render(None).unwrap(),
            &["node:read x", "service:read x", "query:read x"],
            &["service:write x", "key:read x"],
        ),
        (
            template("builtin/nomad-server").unwrap().render(None).unwrap(),
            &["acl:write", "agent:read x", "node:read x", "service:write x"],
            &["node:write x", "key:read x"],
        ),
        (
            template("builtin/nomad-client").unwrap().render(Some("")).unwrap(),
            &["agent:read x", "node:read x", "service:write x", "key:read x"],
            &["acl:read", "key:write x"],
        ),
    ] {
        let authorizer = authorizer(&rules, "deny");
        assert!(allowed.iter().all(|it| answer(&authorizer, it)), "{rules}");
        assert!(!not.iter().any(|it| answer(&authorizer, it)), "{rules}");
    }
    for it in templates() {
        assert_eq!(it.takes_name(), !it.schema.is_empty(), "{}", it.name);
        assert_eq!(it.takes_name(), it.text.contains("{{.Name}}"), "{}", it.name);
        if it.takes_name() {
            hcl::parse_json(it.schema.as_bytes()).unwrap();
        }
    }
}

#[test]
fn names_that_would_break_out_of_rules_are_refused() {
    let name = "x\" { policy = \"write\" } acl = \"write\" #";
    assert_eq!(
        service_identity_rules("Web").unwrap_err().to_string(),
        "service identity \"Web\" has an invalid name. Only lowercase alphanumeric characters, '-' and '_' are allowed"
    );
    assert!(service_identity_rules(name).is_err() && node_identity_rules(name).is_err());
    for it in templates() {
        assert!(it.render(Some(name)).is_err(), "{}", it.name);
        assert_eq!(it.render(None).is_err(), it.takes_name(), "{}", it.name);
        assert_eq!(it.render(Some("")).is_err(), it.takes_name(), "{}", it.name);
        assert_eq!(it.render(Some("good")).is_ok(), it.takes_name(), "{}", it.name);
    }
    assert_eq!(
        template("builtin/none").unwrap_err().to_string(),
        "no ACL templated policy with Name \"builtin/none\" found"
    );
}
