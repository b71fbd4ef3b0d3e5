//! What access control lets be: names are unique, what is bound to exists when it is bound, what every cluster has stays.

use acl::{ANONYMOUS_TOKEN_ACCESSOR, ANONYMOUS_TOKEN_SECRET, builtin_policies};
use model::{
    AclAuthMethod, AclBindingRule, AclPolicy, AclRole, AclToken, Grants, Object, ObjectKey,
    RecordKey, Revision, Setting, Table, Tabled, Timestamp,
};
use serde_json::json;

use super::draft::Draft;
use crate::{AclRejection, Rejection};

/// Name of the setting that says which token was the first of management. Its revision is Consul's "reset index".
pub const ACL_BOOTSTRAP: &str = "acl-bootstrap";

impl Draft<'_> {
    /// Writes nothing where all is there.
    pub(super) fn prepare_acl(&mut self, management: Option<&AclToken>) {
        let catalog = self.catalog;
        for builtin in builtin_policies() {
            let policy = AclPolicy {
                id: builtin.id.to_owned(),
                name: builtin.name.to_owned(),
                description: builtin.description.to_owned(),
                rules: builtin.rules.to_owned(),
                datacenters: Vec::new(),
            };
            self.put(Object::Record(policy.into_record()));
        }
        if catalog.record::<AclToken>(ANONYMOUS_TOKEN_ACCESSOR).is_none() {
            let token = AclToken {
                accessor: ANONYMOUS_TOKEN_ACCESSOR.to_owned(),
                secret: ANONYMOUS_TOKEN_SECRET.into(),
                description: "Anonymous Token".to_owned(),
                created: self.now,
                ..AclToken::default()
            };
            self.put(Object::Record(token.into_record()));
        }
        let Some(token) = management else { return };
        self.depend_on_table(Table::AclToken);
        if catalog.token_by_secret(token.secret.reveal()).is_none() {
            self.put(Object::Record(token.clone().into_record()));
        }
        if catalog.record::<Setting>(ACL_BOOTSTRAP).is_none() {
            self.put(Object::Record(bootstrapped_by(token).into_record()));
        }
    }

    pub(super) fn bootstrap_acl(
        &mut self,
        token: &AclToken,
        reset: Option<Revision>,
    ) -> Result<(), Rejection> {
        self.depend_on(&ObjectKey::Record(RecordKey::new(Table::Setting, ACL_BOOTSTRAP)));
        if let Some(before) = self.catalog.record::<Setting>(ACL_BOOTSTRAP)
            && reset != Some(before.modified)
        {
            return Err(AclRejection::Bootstrapped(before.modified.0).into());
        }
        self.require_new_token(token)?;
        self.put(Object::Record(token.clone().into_record()));
        self.put(Object::Record(bootstrapped_by(token).into_record()));
        Ok(())
    }

    pub(super) fn expire_token(&mut self, accessor: &str, at: Timestamp) {
        let token = self.catalog.record::<AclToken>(accessor);
        if token.is_some_and(|it| it.is_expired(at)) {
            self.delete(&token_key(accessor));
        }
    }

    pub(super) fn check_token(&mut self, token: &AclToken) -> Result<(), Rejection> {
        let before = self.catalog.record::<AclToken>(&token.accessor).map(|it| it.value);
        match before {
            Some(before) => check_fixed(before, token)?,
            None => self.require_new_token(token)?,
        }
        self.require_grants(before.map(|it| &it.grants), &token.grants)?;
        let known = before.map_or(&[][..], |it| &it.roles);
        for role in token.roles.iter().filter(|it| !known.contains(it)) {
            self.depend_on(&ObjectKey::Record(RecordKey::new(Table::AclRole, role)));
            if self.catalog.record::<AclRole>(role).is_none() {
                return Err(AclRejection::RoleMissing(role.clone()).into());
            }
        }
        if before.is_none() && !token.auth_method.is_empty() {
            self.require_auth_method(&token.auth_method)?;
        }
        Ok(())
    }

    /// Secrets are never changed, so only another new token could take it at the same time.
    fn require_new_token(&mut self, token: &AclToken) -> Result<(), Rejection> {
        self.depend_on_table(Table::AclToken);
        if self.catalog.record::<AclToken>(&token.accessor).is_some() {
            return Err(AclRejection::AccessorTaken.into());
        }
        if self.catalog.token_by_secret(token.secret.reveal()).is_some() {
            return Err(AclRejection::SecretTaken.into());
        }
        Ok(())
    }

    /// What is bound to now exists now. If it goes later, or at the same time, the binding counts for nothing: ids are never
    /// given again.
    fn require_grants(&mut self, before: Option<&Grants>, after: &Grants) -> Result<(), Rejection> {
        let known = before.map_or(&[][..], |it| &it.policies);
        for policy in after.policies.iter().filter(|it| !known.contains(it)) {
            self.depend_on(&ObjectKey::Record(RecordKey::new(Table::AclPolicy, policy)));
            if self.catalog.record::<AclPolicy>(policy).is_none() {
                return Err(AclRejection::PolicyMissing(policy.clone()).into());
            }
        }
        Ok(())
    }

    fn require_auth_method(&mut self, name: &str) -> Result<(), Rejection> {
        self.depend_on(&ObjectKey::Record(RecordKey::new(Table::AclAuthMethod, name)));
        match self.catalog.record::<AclAuthMethod>(name) {
            Some(_) => Ok(()),
            None => Err(AclRejection::AuthMethodMissing(name.to_owned()).into()),
        }
    }

    pub(super) fn check_policy(&mut self, policy: &AclPolicy) -> Result<(), Rejection> {
        if let Some(builtin) = builtin_policies().into_iter().find(|it| it.id == policy.id) {
            let changed = [
                ("Name", policy.name != builtin.name),
                ("Rules", policy.rules != builtin.rules),
                ("Description", policy.description != builtin.description),
                ("Datacenters", !policy.datacenters.is_empty()),
            ];
            return match changed.into_iter().find(|it| it.1) {
                Some((what, _)) => {
                    let name = builtin.name.to_owned();
                    Err(AclRejection::PolicyBuiltin { what, name }.into())
                }
                None => Ok(()),
            };
        }
        let is_named = |it: &AclPolicy| it.name == policy.name;
        if self.has_other(&policy.id, is_named) {
            return Err(AclRejection::PolicyNameTaken(policy.name.clone()).into());
        }
        Ok(())
    }

    pub(super) fn check_role(&mut self, role: &AclRole) -> Result<(), Rejection> {
        let is_named = |it: &AclRole| it.name == role.name;
        if self.has_other(&role.id, is_named) {
            return Err(AclRejection::RoleNameTaken(role.name.clone()).into());
        }
        let before = self.catalog.record::<AclRole>(&role.id).map(|it| &it.value.grants);
        self.require_grants(before, &role.grants)
    }

    /// True if another record of the table is so. Who makes or changes one at the same time conflicts, unless this one was
    /// so before.
    fn has_other<T: Tabled + 'static>(&mut self, name: &str, is_so: impl Fn(&T) -> bool) -> bool {
        let catalog = self.catalog;
        if catalog.record::<T>(name).is_some_and(|it| is_so(it.value)) {
            return false;
        }
        self.depend_on_table(T::TABLE);
        let mut found = false;
        for other in catalog.records::<T>() {
            let other_name = other.record_name();
            found |= other_name != name && is_so(other.value);
            self.depend_on(&ObjectKey::Record(RecordKey::new(T::TABLE, &other_name)));
        }
        found
    }

    pub(super) fn check_binding_rule(&mut self, rule: &AclBindingRule) -> Result<(), Rejection> {
        let before = self.catalog.record::<AclBindingRule>(&rule.id);
        if before.is_some_and(|it| it.auth_method != rule.auth_method) {
            return Err(AclRejection::RuleAuthMethod.into());
        }
        self.require_auth_method(&rule.auth_method)
    }

    pub(super) fn check_auth_method(&mut self, method: &AclAuthMethod) -> Result<(), Rejection> {
        match self.catalog.record::<AclAuthMethod>(&method.name) {
            Some(before) if before.kind != method.kind => Err(AclRejection::AuthMethodType.into()),
            Some(_) | None => Ok(()),
        }
    }

    /// Looks at what is about to be deleted, and deletes what cannot be without it.
    pub(super) fn release_acl(&mut self, key: &RecordKey) -> Result<(), Rejection> {
        match key.table {
            Table::AclToken if *key.name == *ANONYMOUS_TOKEN_ACCESSOR => {
                Err(AclRejection::AnonymousToken.into())
            }
            Table::AclPolicy => match builtin_policies().into_iter().find(|it| *it.id == *key.name)
            {
                Some(builtin) => Err(AclRejection::PolicyNeeded(builtin.name.to_owned()).into()),
                None => Ok(()),
            },
            Table::AclAuthMethod => {
                self.delete_all_of_auth_method(&key.name);
                Ok(())
            }
            Table::AclBindingRule
            | Table::AclRole
            | Table::AclToken
            | Table::ConfigEntry
            | Table::Coordinate
            | Table::Event
            | Table::PreparedQuery
            | Table::Setting
            | Table::TrafficSplit
            | Table::VirtualAddress => Ok(()),
        }
    }

    fn delete_all_of_auth_method(&mut self, name: &str) {
        let catalog = self.catalog;
        self.depend_on_table(Table::AclBindingRule);
        self.depend_on_table(Table::AclToken);
        for rule in catalog.records::<AclBindingRule>().filter(|it| it.auth_method == name) {
            let key = RecordKey::new(Table::AclBindingRule, &rule.id);
            self.delete(&ObjectKey::Record(key));
        }
        for token in catalog.records::<AclToken>().filter(|it| it.auth_method == name) {
            self.delete(&token_key(&token.accessor));
        }
    }
}

fn token_key(accessor: &str) -> ObjectKey {
    ObjectKey::Record(RecordKey::new(Table::AclToken, accessor))
}

fn bootstrapped_by(token: &AclToken) -> Setting {
    Setting { name: ACL_BOOTSTRAP.to_owned(), body: json!({ "accessor": token.accessor }) }
}

fn check_fixed(before: &AclToken, after: &AclToken) -> Result<(), Rejection> {
    let changed = [
        ("SecretID", before.secret != after.secret),
        ("Local", before.local != after.local),
        ("AuthMethod", before.auth_method != after.auth_method),
        ("ExpirationTime", before.expires != after.expires),
        ("CreateTime", before.created != after.created),
    ];
    match changed.into_iter().find(|it| it.1) {
        Some((what, _)) => Err(AclRejection::TokenFixed(what).into()),
        None => Ok(()),
    }
}
