//! Access control: what is unique, what must exist, what stays.

use model::{
    AclAuthMethod, AclBindingRule, AclPolicy, AclRole, AclToken, Grants, RecordKey, Tabled,
};

use super::*;
use crate::{ACL_BOOTSTRAP, AclRejection, RecordCondition};

fn put(record: impl Tabled) -> Command {
    Command::PutRecord { record: record.into_record(), when: RecordCondition::Always }
}

fn delete<T: Tabled>(name: &str) -> Command {
    let key = RecordKey::new(T::TABLE, name);
    Command::DeleteRecord { key, when: RecordCondition::Always }
}

fn token(name: &str) -> AclToken {
    let secret = format!("secret of {name}");
    AclToken { accessor: name.into(), secret: secret.into(), ..AclToken::default() }
}

fn policy(id: &str, name: &str) -> AclPolicy {
    AclPolicy { id: id.into(), name: name.into(), ..AclPolicy::default() }
}

fn role(id: &str, name: &str) -> AclRole {
    AclRole { id: id.into(), name: name.into(), ..AclRole::default() }
}

fn refused(catalog: &mut Catalog, command: &Command) -> AclRejection {
    match run(catalog, command, 5) {
        Err(Rejection::Acl(rejection)) => rejection,
        other => panic!("it should be refused: {other:?}"),
    }
}

fn prepared() -> Catalog {
    let mut catalog = Catalog::default();
    run(&mut catalog, &Command::PrepareAcl(None), 1).unwrap();
    catalog
}

#[test]
fn every_cluster_has_two_policies_and_the_anonymous_token_as_they_are() {
    let mut catalog = prepared();
    assert_eq!(run(&mut catalog, &Command::PrepareAcl(None), 2).unwrap(), None, "no change");
    let anonymous = catalog.token_by_secret("anonymous").unwrap().value.clone();
    let id = anonymous.accessor.clone();
    assert_eq!(refused(&mut catalog, &delete::<AclToken>(&id)), AclRejection::AnonymousToken);
    let management = catalog.records::<AclPolicy>().next().unwrap().value.clone();
    let needed = refused(&mut catalog, &delete::<AclPolicy>(&management.id));
    assert_eq!(needed, AclRejection::PolicyNeeded("global-management".into()));
    let changed = AclPolicy { rules: String::new(), ..management.clone() };
    assert_eq!(
        refused(&mut catalog, &put(changed)).to_string(),
        "Changing the Rules of the builtin global-management policy is not permitted"
    );
    // The anonymous token may be bound to something.
    let grants = Grants { policies: vec![management.id], ..Grants::default() };
    run(&mut catalog, &put(AclToken { grants, ..anonymous }), 3).unwrap();
    assert_eq!(run(&mut catalog, &Command::PrepareAcl(None), 4).unwrap(), None, "it stays so");
}

#[test]
fn there_is_one_first_token_unless_the_operator_resets_it() {
    let mut catalog = prepared();
    let bootstrap = |name: &str, reset| Command::BootstrapAcl { token: token(name), reset };
    run(&mut catalog, &bootstrap("t1", None), 1).unwrap();
    let index = catalog.record::<model::Setting>(ACL_BOOTSTRAP).unwrap().modified;
    let again = refused(&mut catalog, &bootstrap("t2", None));
    assert_eq!(
        again.to_string(),
        format!("Permission denied: ACL bootstrap no longer allowed (reset index: {index})")
    );
    let wrong = Some(Revision(index.0 + 1));
    assert_eq!(refused(&mut catalog, &bootstrap("t2", wrong)), again);
    run(&mut catalog, &bootstrap("t2", Some(index)), 1).unwrap();
    assert_eq!(catalog.records::<AclToken>().count(), 3);
    // The same reset counts once.
    assert_ne!(refused(&mut catalog, &bootstrap("t3", Some(index))), again);
}

#[test]
fn a_configured_first_token_leaves_nothing_to_bootstrap() {
    let mut catalog = Catalog::default();
    let prepare = Command::PrepareAcl(Some(token("t1")));
    run(&mut catalog, &prepare, 1).unwrap();
    assert_eq!(catalog.token_by_secret("secret of t1").unwrap().accessor, "t1");
    let again = Command::PrepareAcl(Some(AclToken { accessor: "t9".into(), ..token("t1") }));
    assert_eq!(run(&mut catalog, &again, 2).unwrap(), None);
    let bootstrap = Command::BootstrapAcl { token: token("t2"), reset: None };
    assert!(matches!(refused(&mut catalog, &bootstrap), AclRejection::Bootstrapped(_)));
}

#[test]
fn accessors_and_secrets_of_tokens_are_unique_and_stay() {
    let mut catalog = prepared();
    run(&mut catalog, &put(token("t1")), 1).unwrap();
    let same_secret = AclToken { accessor: "t2".into(), ..token("t1") };
    assert_eq!(refused(&mut catalog, &put(same_secret)), AclRejection::SecretTaken);
    let other_secret = AclToken { secret: "other".into(), ..token("t1") };
    assert_eq!(refused(&mut catalog, &put(other_secret)), AclRejection::TokenFixed("SecretID"));
    let ends = AclToken { expires: Some(Timestamp(9)), ..token("t1") };
    assert_eq!(refused(&mut catalog, &put(ends)), AclRejection::TokenFixed("ExpirationTime"));
    let described = AclToken { description: "d".into(), ..token("t1") };
    run(&mut catalog, &put(described), 1).unwrap();
    run(&mut catalog, &delete::<AclToken>("t1"), 1).unwrap();
    assert!(catalog.token_by_secret("secret of t1").is_none());
}

#[test]
fn names_of_policies_and_roles_are_unique() {
    let mut catalog = prepared();
    run(&mut catalog, &put(policy("p1", "a")), 1).unwrap();
    run(&mut catalog, &put(policy("p1", "a")), 1).unwrap();
    run(&mut catalog, &put(policy("p2", "b")), 1).unwrap();
    let taken = AclRejection::PolicyNameTaken("a".into());
    assert_eq!(refused(&mut catalog, &put(policy("p3", "a"))), taken);
    assert_eq!(refused(&mut catalog, &put(policy("p2", "a"))), taken);
    run(&mut catalog, &put(role("r1", "a")), 1).unwrap();
    let taken = AclRejection::RoleNameTaken("a".into());
    assert_eq!(refused(&mut catalog, &put(role("r2", "a"))), taken);
    run(&mut catalog, &put(role("r1", "b")), 1).unwrap();
    run(&mut catalog, &put(role("r2", "a")), 1).unwrap();
}

#[test]
fn of_two_that_take_a_name_at_the_same_time_one_conflicts() {
    let mut catalog = prepared();
    run(&mut catalog, &put(policy("p1", "a")), 1).unwrap();
    run(&mut catalog, &put(policy("p2", "b")), 1).unwrap();
    let renames = ["p1", "p2"].map(|id| transact(&catalog, &put(policy(id, "c")), Timestamp(1)));
    let [first, second] = renames.map(Result::unwrap);
    commit(&mut catalog, &first);
    let is_stale = |compare: &model::Compare| match compare {
        model::Compare::Key { key, modified } => {
            let at = ObjectKey::decode(key).and_then(|it| catalog.revisions_of(&it));
            at.map(|it| it.1).unwrap_or_default() != *modified
        }
        model::Compare::NothingAdded { .. } => false,
    };
    assert!(second.compares.iter().any(is_stale), "{second:?}");
}

#[test]
fn what_is_bound_to_must_exist_and_may_go_later() {
    let mut catalog = prepared();
    let bound = |policy: &str, role: Option<&str>| AclToken {
        grants: Grants { policies: vec![policy.into()], ..Grants::default() },
        roles: role.into_iter().map(str::to_owned).collect(),
        ..token("t1")
    };
    let missing = refused(&mut catalog, &put(bound("p1", None)));
    assert_eq!(missing, AclRejection::PolicyMissing("p1".into()));
    run(&mut catalog, &put(policy("p1", "a")), 1).unwrap();
    let missing = refused(&mut catalog, &put(bound("p1", Some("r1"))));
    assert_eq!(missing, AclRejection::RoleMissing("r1".into()));
    run(&mut catalog, &put(role("r1", "a")), 1).unwrap();
    run(&mut catalog, &put(bound("p1", Some("r1"))), 1).unwrap();
    run(&mut catalog, &delete::<AclPolicy>("p1"), 1).unwrap();
    run(&mut catalog, &delete::<AclRole>("r1"), 1).unwrap();
    // What is gone is no hindrance to changing something else.
    let described = AclToken { description: "d".into(), ..bound("p1", Some("r1")) };
    run(&mut catalog, &put(described), 1).unwrap();
}

#[test]
fn an_auth_method_goes_with_its_rules_and_tokens() {
    let mut catalog = prepared();
    let method = AclAuthMethod { name: "m".into(), kind: "jwt".into(), ..Default::default() };
    let rule = AclBindingRule { id: "r".into(), auth_method: "m".into(), ..Default::default() };
    let login = AclToken { auth_method: "m".into(), ..token("t1") };
    let missing = AclRejection::AuthMethodMissing("m".into());
    assert_eq!(refused(&mut catalog, &put(rule.clone())), missing);
    assert_eq!(refused(&mut catalog, &put(login.clone())), missing);
    for command in [put(method.clone()), put(rule.clone()), put(login), put(token("t2"))] {
        run(&mut catalog, &command, 1).unwrap();
    }
    let other_type = AclAuthMethod { kind: "kubernetes".into(), ..method.clone() };
    assert_eq!(refused(&mut catalog, &put(other_type)), AclRejection::AuthMethodType);
    let moved = AclBindingRule { auth_method: "n".into(), ..rule };
    assert_eq!(refused(&mut catalog, &put(moved)), AclRejection::RuleAuthMethod);
    run(&mut catalog, &delete::<AclAuthMethod>("m"), 1).unwrap();
    assert_eq!(catalog.records::<AclBindingRule>().count(), 0);
    let left: Vec<_> = catalog.records::<AclToken>().map(|it| it.accessor.clone()).collect();
    assert_eq!(left.len(), 2, "the anonymous token and t2: {left:?}");
}

#[test]
fn a_token_is_removed_when_its_time_is_over_and_not_before() {
    let mut catalog = prepared();
    let ends = |name: &str, at| AclToken { expires: Some(Timestamp(at)), ..token(name) };
    for token in [ends("t1", 20), ends("t2", 10), token("t3")] {
        run(&mut catalog, &put(token), 1).unwrap();
    }
    assert_eq!(catalog.first_token_end(), Some((Timestamp(10), "t2")));
    let expire = |name: &str, at| Command::ExpireToken { accessor: name.into(), at: Timestamp(at) };
    assert_eq!(run(&mut catalog, &expire("t2", 9), 1).unwrap(), None);
    assert_eq!(run(&mut catalog, &expire("t3", 99), 1).unwrap(), None);
    assert!(run(&mut catalog, &expire("t2", 10), 1).unwrap().is_some());
    assert_eq!(catalog.first_token_end(), Some((Timestamp(20), "t1")));
}

#[test]
fn no_secret_is_shown_for_debugging() {
    let command = put(token("t1"));
    let method = put(AclAuthMethod {
        name: "m".into(),
        config: serde_json::json!({ "OIDCClientSecret": "hush" }),
        ..Default::default()
    });
    let shown = format!("{command:?} {method:?}");
    assert!(!shown.contains("secret of") && !shown.contains("hush"), "{shown}");
}
