//! `/v1/acl/auth-method`, `binding-rule`, `login` and `logout`: tokens for the credentials of somebody else.

use std::collections::BTreeMap;
use std::time::Duration;

use acl::{
    BindType, Binding, Identity, bind, check_bind_name, identity, is_valid_auth_method_name,
};
use filter::{Filter, Kind, Row, Schema, Value};
use http::{Method, StatusCode};
use model::go::format_duration;
use model::{
    AclAuthMethod, AclBindingRule, AclNode, AclPolicy, AclRole, AclService, AclTemplate, AclToken,
    FlatMap, Grants, Table,
};

use super::acl_objects::{list, read, write};
use super::acl_shapes as shapes;
use super::auth_method::{JWT, JwtConfig, KUBERNETES, KubernetesConfig};
use super::grants::{self, failed, writable};
use super::response::Reply;
use super::{Call, Outcome, decode};

/// Bounds of how long tokens of an auth method may live.
const TTL_MIN: Duration = Duration::from_mins(1);
const TTL_MAX: Duration = Duration::from_hours(24);
/// Longest selector that is read.
const SELECTOR_BYTES_MAX: usize = 8192;

/// What selectors of JWT logins are about.
static JWT_LOGIN: Schema =
    Schema { fields: &[("value", Kind::StringMap), ("list", Kind::StringsMap)] };

static SERVICE_ACCOUNT: Schema = Schema {
    fields: &[("namespace", Kind::String), ("name", Kind::String), ("uid", Kind::String)],
};

/// What selectors of Kubernetes logins are about.
static KUBERNETES_LOGIN: Schema =
    Schema { fields: &[("serviceaccount", Kind::Struct(&SERVICE_ACCOUNT))] };

const KUBERNETES_VARIABLES: [&str; 3] =
    ["serviceaccount.namespace", "serviceaccount.name", "serviceaccount.uid"];

fn bad(text: impl Into<String>) -> Reply {
    Reply::text(StatusCode::BAD_REQUEST, text)
}

/// `PUT /v1/acl/auth-method`: one of this name is changed.
pub(super) fn create_method(call: &Call<'_>) -> Outcome {
    writable(call)?;
    let method = decode::acl_auth_method(call.request.body())?;
    check_method(&method)?;
    let is_new = call.catalog().record::<AclAuthMethod>(&method.name).is_none();
    write(call, method, is_new)
}

fn check_method(method: &AclAuthMethod) -> Result<(), Reply> {
    let invalid = |what: &str| Err(failed(format!("Invalid Auth Method: {what}")));
    if method.name.is_empty() {
        return invalid("no Name is set");
    }
    if !is_valid_auth_method_name(&method.name) {
        return invalid("invalid Name. Only alphanumeric characters, '-' and '_' are allowed");
    }
    if !matches!(method.token_locality.as_str(), "" | "local" | "global") {
        let locality = &method.token_locality;
        return invalid(&format!("TokenLocality {locality:?} is neither 'local' nor 'global'"));
    }
    let ttl = method.max_token_ttl;
    if !ttl.is_zero() && !(TTL_MIN..=TTL_MAX).contains(&ttl) {
        return Err(failed(format!(
            "MaxTokenTTL {} cannot be less than {} or more than {}",
            format_duration(ttl),
            format_duration(TTL_MIN),
            format_duration(TTL_MAX)
        )));
    }
    let checked = match method.kind.as_str() {
        JWT => JwtConfig::read(&method.config).map(|_| ()),
        KUBERNETES => KubernetesConfig::check(&method.config),
        "aws-iam" | "oidc" => {
            Err(format!("type {:?} is not supported by this version of Leno", method.kind))
        }
        kind => Err(format!("unknown auth method type: {kind}")),
    };
    checked.or_else(|why| invalid(&why))
}

/// `/v1/acl/auth-method/:name`
pub(super) fn method(call: &Call<'_>) -> Outcome {
    if call.name.is_empty() {
        return Err(bad("Missing auth method name"));
    }
    let found = || call.catalog().record::<AclAuthMethod>(call.name);
    match *call.request.method() {
        Method::PUT => {
            writable(call)?;
            let method = decode::acl_auth_method(call.request.body())?;
            if !method.name.is_empty() && method.name != call.name {
                return Err(bad("AuthMethod name in URL and payload do not match"));
            }
            let method = AclAuthMethod { name: call.name.to_owned(), ..method };
            check_method(&method)?;
            write(call, method, found().is_none())
        }
        Method::DELETE => {
            writable(call)?;
            match found() {
                Some(_) => grants::delete(call, Table::AclAuthMethod, call.name),
                None => {
                    Err(Reply::text(StatusCode::NOT_FOUND, "Cannot find auth method to delete"))
                }
            }
        }
        _ => read(call, "auth method", found(), |w, it| shapes::method(w, it, true)),
    }
}

/// `GET /v1/acl/auth-methods`
pub(super) fn methods(call: &Call<'_>) -> Outcome {
    list(call, |_: &AclAuthMethod| true, |w, it| shapes::method(w, it, false))
}

/// `PUT /v1/acl/binding-rule`
pub(super) fn create_rule(call: &Call<'_>) -> Outcome {
    writable(call)?;
    let rule = decode::acl_binding_rule(call.request.body())?;
    if !rule.id.is_empty() {
        return Err(bad("Cannot specify the ID when creating a new binding rule"));
    }
    check_rule(call, &rule)?;
    write(call, AclBindingRule { id: (call.context.fresh_id)(), ..rule }, true)
}

fn check_rule(call: &Call<'_>, rule: &AclBindingRule) -> Result<(), Reply> {
    let invalid = |what: String| failed(format!("Invalid Binding Rule: {what}"));
    if rule.auth_method.is_empty() {
        return Err(invalid("no AuthMethod is set".to_owned()));
    }
    let Some(method) = call.catalog().record::<AclAuthMethod>(&rule.auth_method) else {
        return Err(failed(format!("cannot find auth method with name {:?}", rule.auth_method)));
    };
    selector(rule, method.value).map_err(|why| invalid(format!("Selector is invalid: {why}")))?;
    if rule.bind_name.is_empty() {
        return Err(invalid("no BindName is set".to_owned()));
    }
    let bind_type = BindType::from_name(&rule.bind_type);
    let bind_type = bind_type.map_err(|error| invalid(error.to_string()))?;
    let config = JwtConfig::read(&method.config);
    let names: Vec<String> = match (method.kind.as_str(), &config) {
        (JWT, Ok(config)) => {
            let values = config.rules.claim_mappings.values();
            values.map(|name| format!("value.{name}")).collect()
        }
        _ => KUBERNETES_VARIABLES.map(str::to_owned).into(),
    };
    let variable = rule.bind_variable.as_deref();
    let names = names.iter().map(String::as_str);
    check_bind_name(bind_type, &rule.bind_name, variable, names)
        .map_err(|error| invalid(format!("invalid BindName: {error}")))
}

fn selector(rule: &AclBindingRule, method: &AclAuthMethod) -> Result<Filter, String> {
    if rule.selector.len() > SELECTOR_BYTES_MAX {
        return Err(format!("it is longer than {SELECTOR_BYTES_MAX} bytes"));
    }
    let schema = if method.kind == KUBERNETES { &KUBERNETES_LOGIN } else { &JWT_LOGIN };
    Filter::parse(&rule.selector, schema).map_err(|error| error.to_string())
}

/// `/v1/acl/binding-rule/:id`
pub(super) fn rule(call: &Call<'_>) -> Outcome {
    if call.name.is_empty() {
        return Err(bad("Missing binding rule ID"));
    }
    let found = || call.catalog().record::<AclBindingRule>(&call.name.to_lowercase());
    match *call.request.method() {
        Method::PUT => {
            writable(call)?;
            let rule = decode::acl_binding_rule(call.request.body())?;
            if !rule.id.is_empty() && !rule.id.eq_ignore_ascii_case(call.name) {
                return Err(bad("Binding Rule ID in URL and payload do not match"));
            }
            let Some(before) = found() else {
                return Err(failed(format!("cannot find binding rule {}", call.name)));
            };
            let auth_method = match rule.auth_method.as_str() {
                "" => before.auth_method.clone(),
                _ => rule.auth_method,
            };
            let rule = AclBindingRule { id: before.id.clone(), auth_method, ..rule };
            check_rule(call, &rule)?;
            write(call, rule, false)
        }
        Method::DELETE => {
            writable(call)?;
            match found() {
                Some(rule) => grants::delete(call, Table::AclBindingRule, &rule.id),
                None => {
                    Err(Reply::text(StatusCode::NOT_FOUND, "Cannot find binding rule to delete"))
                }
            }
        }
        _ => read(call, "binding rule", found(), shapes::rule),
    }
}

/// `GET /v1/acl/binding-rules`
pub(super) fn rules(call: &Call<'_>) -> Outcome {
    let method = call.query.text("authmethod");
    let fits = |it: &AclBindingRule| method.is_empty() || it.auth_method == method;
    list(call, fits, shapes::rule)
}

/// A login as selectors see it.
struct LoginRow {
    values: FlatMap<String>,
    lists: FlatMap<Vec<String>>,
}

impl LoginRow {
    fn of(identity: &Identity) -> Self {
        let values = identity.values.iter().map(|(name, it)| (name.as_str(), it.clone()));
        let lists = identity.lists.iter().map(|(name, it)| (name.as_str(), it.clone()));
        Self { values: values.collect(), lists: lists.collect() }
    }
}

impl Row for LoginRow {
    fn field(&self, name: &str) -> Value<'_> {
        match name {
            "value" => Value::StringMap(&self.values),
            "list" => Value::StringsMap(&self.lists),
            _ => Value::Zero,
        }
    }
}

/// 403 with the reason behind Consul's words.
fn denied(why: &str) -> Reply {
    Reply::text(StatusCode::FORBIDDEN, format!("Permission denied: {why}"))
}

/// `POST /v1/acl/login`: whoever has a credential that the auth method believes.
pub(super) fn login(call: &Call<'_>) -> Outcome {
    writable(call)?;
    if call.context.acl.secret_in(call.request, Some(call.query)).is_some() {
        return Err(failed("do not provide a token when logging in"));
    }
    let body = decode::acl_login(call.request.body())?;
    let Some(method) = call.catalog().record::<AclAuthMethod>(&body.auth_method) else {
        let text = format!("auth method {:?} not found: ACL not found", body.auth_method);
        return Err(Reply::text(StatusCode::FORBIDDEN, text));
    };
    if method.kind != JWT {
        return Err(failed(format!(
            "auth method {:?} is of type {:?}, whose logins this version of Leno cannot verify",
            method.name, method.kind
        )));
    }
    let config = JwtConfig::read(&method.config).map_err(failed)?;
    let claims = jwt::verify(body.bearer.reveal(), &config.keys, &config.algorithms)
        .map_err(|error| denied(&format!("error validating signature: {error}")))?;
    let identity = identity(&claims, &config.rules, call.context.now)
        .map_err(|error| denied(&error.to_string()))?;
    let (grants, roles) = bound(call, method.value, &identity, &config)?;
    if grants == Grants::default() && roles.is_empty() {
        return Err(Reply::text(StatusCode::FORBIDDEN, "Permission denied"));
    }
    let now = call.context.now;
    let description = match body.meta.as_str() {
        "" => "token created via login".to_owned(),
        meta => format!("token created via login: {meta}"),
    };
    let token = AclToken {
        accessor: (call.context.fresh_id)(),
        secret: (call.context.fresh_id)().into(),
        description,
        grants,
        roles,
        local: method.token_locality != "global",
        auth_method: method.name.clone(),
        expires: (!method.max_token_ttl.is_zero()).then(|| now.plus(method.max_token_ttl)),
        created: now,
    };
    write(call, token, true)
}

/// What the rules of an auth method bind a login to.
fn bound(
    call: &Call<'_>,
    method: &AclAuthMethod,
    identity: &Identity,
    config: &JwtConfig,
) -> Result<(Grants, Vec<String>), Reply> {
    let variables: BTreeMap<String, String> = identity.variables(&config.rules);
    let row = LoginRow::of(identity);
    let mut grants = Grants::default();
    let mut roles = Vec::new();
    let catalog = call.catalog();
    for rule in catalog.records::<AclBindingRule>().filter(|it| it.auth_method == method.name) {
        // It was read when the rule was made.
        if !selector(rule.value, method).is_ok_and(|it| it.matches(&row)) {
            continue;
        }
        let binding = BindType::from_name(&rule.bind_type).and_then(|bind_type| {
            bind(bind_type, &rule.bind_name, rule.bind_variable.as_deref(), &variables)
        });
        match binding.map_err(|error| failed(error.to_string()))? {
            Binding::Service(service) => {
                add(&mut grants.services, AclService { service, datacenters: Vec::new() });
            }
            Binding::Node(node) => {
                let datacenter = call.agent().datacenter.clone();
                add(&mut grants.nodes, AclNode { node, datacenter });
            }
            Binding::Role(name) => {
                let found = catalog.records::<AclRole>().find(|it| it.name == name);
                found.into_iter().for_each(|it| add(&mut roles, it.id.clone()));
            }
            Binding::Policy(name) => {
                let found = catalog.records::<AclPolicy>().find(|it| it.name == name);
                found.into_iter().for_each(|it| add(&mut grants.policies, it.id.clone()));
            }
            Binding::Templated(template, name) => {
                let template = template.name.to_owned();
                let datacenters = Vec::new();
                add(&mut grants.templates, AclTemplate { template, name, datacenters });
            }
        }
    }
    Ok((grants, roles))
}

fn add<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.contains(&item) {
        list.push(item);
    }
}

/// `POST /v1/acl/logout`: ends the token that the request is made with.
pub(super) fn logout(call: &Call<'_>) -> Outcome {
    writable(call)?;
    let identity = call.access().identity().filter(|it| !it.is_anonymous());
    let token = identity.and_then(|it| call.catalog().record::<AclToken>(it.accessor()));
    let Some(token) = token else {
        return Err(Reply::text(StatusCode::FORBIDDEN, "ACL not found"));
    };
    if token.auth_method.is_empty() {
        return Err(denied("token wasn't created via login"));
    }
    grants::delete(call, Table::AclToken, &token.accessor)
}
