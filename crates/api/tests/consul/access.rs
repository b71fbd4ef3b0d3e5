//! Access control through the door: every endpoint, asked by whoever may and whoever may not.

mod every_route;
mod logins;
mod tokens;

use api::{Acl, AclSettings, AgentToken, AgentTokens, DefaultPolicy, Step};
use bytes::Bytes;
use http::{Request, Response};
use model::{AclPolicy, AclToken, Coordinate, Event, Grants, PreparedQuery, ServiceQuery, Tabled};
use registry::{Command, RecordCondition};
use serde_json::{Value, json};

use crate::fixture::{World, request};

pub(crate) const MANAGER: &str = "root";
pub(crate) const READER: &str = "reader";
/// A token that is bound to nothing.
pub(crate) const WEAK: &str = "weak";
pub(crate) const READ_ONLY: &str = "00000000-0000-0000-0000-000000000002";
pub(crate) const MANAGEMENT: &str = "00000000-0000-0000-0000-000000000001";

pub(crate) fn put(world: &mut World, object: impl Tabled) {
    let record = object.into_record();
    let command = Command::PutRecord { record, when: RecordCondition::Always };
    let outcome = world.run(&command);
    assert!(matches!(outcome, api::WriteOutcome::Done(..)), "{outcome:?}");
}

pub(crate) fn token(secret: &str, policies: &[&str]) -> AclToken {
    AclToken {
        accessor: format!("accessor of {secret}"),
        secret: secret.into(),
        grants: Grants {
            policies: policies.iter().map(|it| (*it).to_owned()).collect(),
            ..Grants::default()
        },
        ..AclToken::default()
    }
}

/// A token with rules of its own.
pub(crate) fn bind(world: &mut World, secret: &str, rules: &str) {
    let id = format!("policy of {secret}");
    let policy = AclPolicy {
        id: id.clone(),
        name: format!("p-{secret}"),
        rules: rules.to_owned(),
        ..AclPolicy::default()
    };
    put(world, policy);
    put(world, token(secret, &[&id]));
}

/// Turns access control on.
pub(crate) fn guard(world: &mut World, settings: AclSettings, tokens: &[(AgentToken, &str)]) {
    let tokens: AgentTokens = tokens.iter().map(|(which, it)| (*which, (*it).into())).collect();
    world.acl = Acl::new(settings, tokens);
    let management = AclToken {
        accessor: "5e000000-0000-4000-8000-00000000000a".to_owned(),
        ..token(MANAGER, &[MANAGEMENT])
    };
    world.run(&Command::PrepareAcl(Some(management)));
    put(world, token(WEAK, &[]));
    put(world, token(READER, &[READ_ONLY]));
}

pub(crate) const DENY: AclSettings =
    AclSettings { enabled: true, default_policy: DefaultPolicy::Deny, key_list: false };

/// A bit of everything, behind locks.
pub(crate) fn guarded() -> World {
    let mut world = World::full();
    for (path, body) in [
        ("/v1/kv/app/a", "value"),
        ("/v1/config", r#"{"Kind":"service-defaults","Name":"web","Protocol":"http"}"#),
        (
            "/v1/config",
            r#"{"Kind":"service-intentions","Name":"web","Sources":[{"Name":"db","Action":"allow"}]}"#,
        ),
        ("/v1/session/create", r#"{"Node":"n1","NodeChecks":[],"Name":"job"}"#),
    ] {
        let (status, text) = world.put(path, body);
        assert_eq!(status, 200, "{path}: {text}");
    }
    let query = PreparedQuery {
        id: "5e000000-0000-4000-8000-0000000000aa".to_owned(),
        name: "q1".to_owned(),
        service: ServiceQuery { service: "db".to_owned(), ..ServiceQuery::default() },
        ..PreparedQuery::default()
    };
    put(&mut world, query);
    put(&mut world, Coordinate { node: "n1".into(), ..Coordinate::default() });
    world.run(&Command::FireEvent(Event { name: "deploy".to_owned(), ..Event::default() }));
    let body = json!({"Roots": [], "Config": {}});
    let authority = model::Setting { name: api::CA.to_owned(), body };
    put(&mut world, authority);
    guard(&mut world, DENY, &[]);
    world
}

pub(crate) fn asked(method: &str, path: &str, body: &str, secret: &str) -> Request<Bytes> {
    let mut request = request(method, path, body);
    if !secret.is_empty() {
        request.headers_mut().insert("x-consul-token", secret.parse().unwrap());
    }
    request
}

impl World {
    /// The reply to a request with a token.
    pub(crate) fn reply_to(&self, method: &str, path: &str, secret: &str) -> Response<Bytes> {
        match self.step(&asked(method, path, "", secret), false) {
            Step::Reply(response) => response,
            _ => panic!("{method} {path} does not reply"),
        }
    }

    /// What a client with a token is answered, as JSON or else as text.
    pub(crate) fn ask_as(
        &mut self,
        secret: &str,
        method: &str,
        path: &str,
        body: &str,
    ) -> (u16, Value) {
        let response = match self.step(&asked(method, path, body, secret), false) {
            Step::Reply(response) => response,
            Step::Write(command, reply) => {
                let outcome = self.run(&command);
                reply(outcome, &self.context())
            }
            Step::AgentToken(which, secret, reply) => {
                self.acl.set_token(which, secret);
                reply(Ok(()))
            }
            Step::Wait { .. } | Step::Leaf(_) => panic!("{method} {path} does not answer"),
        };
        let body = response.body();
        let text = || Value::String(String::from_utf8_lossy(body).into_owned());
        let value = serde_json::from_slice(body).unwrap_or_else(|_| text());
        (response.status().as_u16(), value)
    }
}

#[test]
fn a_question_about_who_asks_costs_no_parsing_of_policies() {
    let mut world = guarded();
    let rules: String =
        (0..1000).map(|it| format!("key \"k{it}\" {{ policy = \"read\" }}\n")).collect();
    bind(&mut world, "large", &rules);
    let request = asked("GET", "/v1/kv/k500", "", "large");
    let time = |times: u32| {
        #[allow(clippy::disallowed_methods, reason = "this measures")]
        let began = std::time::Instant::now();
        for _ in 0..times {
            let Step::Reply(response) = world.step(&request, false) else { panic!("no reply") };
            assert_eq!(response.status(), 404);
        }
        began.elapsed() / times
    };
    let (first, later) = (time(1), time(100));
    println!("with 1000 rules: first {first:?}, then {later:?}");
    assert!(later * 5 < first, "first {first:?}, then {later:?}");
}

#[test]
fn secrets_come_from_the_query_then_from_either_header_then_from_the_agent() {
    let mut world = guarded();
    guard(&mut world, DENY, &[(AgentToken::Default, READER)]);
    let nodes = |path: &str, headers: &[(&'static str, &str)]| {
        let mut request = request("GET", path, "");
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let Step::Reply(response) = world.step(&request, false) else { panic!("no reply") };
        (response.status().as_u16(), response.body().len() > 2)
    };
    let path = "/v1/catalog/nodes";
    let (weak, strong, wrong) = ((200, false), (200, true), (403, true));
    assert_eq!(nodes(path, &[]), strong);
    assert_eq!(nodes(path, &[("x-consul-token", "weak")]), weak);
    assert_eq!(nodes(path, &[("authorization", "Bearer weak")]), weak);
    assert_eq!(nodes(path, &[("authorization", "bearer  weak ")]), weak);
    assert_eq!(nodes(path, &[("authorization", "Basic weak")]), strong);
    let both = [("x-consul-token", "weak"), ("authorization", "Bearer root")];
    assert_eq!(nodes(path, &both), weak);
    assert_eq!(nodes("/v1/catalog/nodes?token=root", &both), strong);
    assert_eq!(nodes("/v1/catalog/nodes?token=", &both), weak);
    assert_eq!(nodes("/v1/catalog/nodes?token=nobody", &both), wrong);
}

#[test]
fn a_token_sees_and_changes_what_its_rules_say() {
    let mut world = guarded();
    bind(
        &mut world,
        "web",
        r#"node "n1" { policy = "read" }
           service "web" { policy = "write" }
           key_prefix "app/" { policy = "write" }
           key "app/secret" { policy = "deny" }"#,
    );
    let names = |world: &World, path: &str| {
        let response = world.reply_to("GET", path, "web");
        let filtered = response.headers().get("x-consul-results-filtered-by-acls").cloned();
        let value: Value = serde_json::from_slice(response.body()).unwrap();
        (value, filtered.is_some_and(|it| it == "true"))
    };
    let (nodes, is_filtered) = names(&world, "/v1/catalog/nodes");
    assert_eq!(nodes[0]["Node"], "n1");
    assert_eq!((nodes.as_array().unwrap().len(), is_filtered), (1, true));
    let (instances, is_filtered) = names(&world, "/v1/health/service/web");
    assert_eq!(instances.as_array().unwrap().len(), 1, "those on ext are hidden");
    assert!(is_filtered);
    assert_eq!(names(&world, "/v1/health/service/db"), (json!([]), true));
    assert_eq!(names(&world, "/v1/health/service/nothing"), (json!([]), false));
    let register = |world: &mut World, body: &str| {
        world.ask_as("web", "PUT", "/v1/agent/service/register", body)
    };
    assert_eq!(register(&mut world, r#"{"Name":"web","ID":"web9"}"#).0, 200);
    let denied = "Permission denied: token with AccessorID 'accessor of web' lacks permission 'service:write' on";
    let refused = |service: &str| (403, json!(format!("{denied} \"{service}\"")));
    assert_eq!(register(&mut world, r#"{"Name":"db"}"#), refused("db"));
    // In the place of an instance of a service that it may not touch.
    assert_eq!(register(&mut world, r#"{"Name":"web","ID":"db/1"}"#), refused("db"));
    assert_eq!(world.ask_as("web", "PUT", "/v1/kv/app/b", "1").0, 200);
    let (status, text) = world.ask_as("web", "PUT", "/v1/kv/app/secret", "1");
    let expected = "Permission denied: token with AccessorID 'accessor of web' lacks permission 'key:write' on \"app/secret\"";
    assert_eq!((status, text), (403, json!(expected)));
    // Nothing under a prefix goes when something there may not.
    assert_eq!(world.ask_as("web", "DELETE", "/v1/kv/app/?recurse", "").0, 403);
    let txn = r#"[{"KV":{"Verb":"set","Key":"app/c","Value":""}},{"KV":{"Verb":"set","Key":"other","Value":""}},{"KV":{"Verb":"get","Key":"app/a"}}]"#;
    let (status, answer) = world.ask_as("web", "PUT", "/v1/txn", txn);
    assert_eq!(
        (status, &answer["Results"], &answer["Errors"][0]["OpIndex"]),
        (409, &Value::Null, &json!(1))
    );
    let what = answer["Errors"][0]["What"].as_str().unwrap();
    assert!(what.ends_with("lacks permission 'key:write' on \"other\""), "{what}");
    let txn = r#"[{"KV":{"Verb":"get","Key":"app/a"}},{"KV":{"Verb":"get-tree","Key":""}}]"#;
    world.ask_as(MANAGER, "PUT", "/v1/kv/hidden", "x");
    let (status, answer) = world.ask_as("web", "PUT", "/v1/txn", txn);
    let keys: Vec<&str> = answer["Results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["KV"]["Key"].as_str().unwrap())
        .collect();
    assert_eq!((status, keys), (200, vec!["app/a", "app/a", "app/b"]));
    assert_eq!(answer["ResultsFilteredByACLs"], true);
}

#[test]
fn listing_keys_needs_more_where_the_agent_is_told_so() {
    let mut world = guarded();
    guard(&mut world, AclSettings { key_list: true, ..DENY }, &[]);
    bind(&mut world, "r", r#"key_prefix "app/" { policy = "read" }"#);
    bind(&mut world, "l", r#"key_prefix "app/" { policy = "list" }"#);
    for query in ["recurse", "keys"] {
        let path = format!("/v1/kv/app/?{query}");
        assert_eq!(world.reply_to("GET", &path, "r").status(), 403, "{query}");
        assert_eq!(world.reply_to("GET", &path, "l").status(), 200, "{query}");
    }
}

#[test]
fn the_default_is_said_and_holds() {
    let mut world = guarded();
    let header = |world: &World| {
        world.get("/v1/status/leader").headers()["x-consul-default-acl-policy"].clone()
    };
    assert_eq!(header(&world), "deny");
    guard(&mut world, AclSettings { default_policy: DefaultPolicy::Allow, ..DENY }, &[]);
    assert_eq!(header(&world), "allow");
    assert_eq!(world.ask_as("", "PUT", "/v1/kv/x", "1").0, 200);
    let anonymous = "Permission denied: anonymous token lacks permission 'acl:read'. \
                     The anonymous token is used implicitly when a request does not specify a token.";
    assert_eq!(world.ask_as("", "GET", "/v1/acl/tokens", ""), (403, json!(anonymous)));
    bind(&mut world, "d", r#"key "x" { policy = "deny" }"#);
    assert_eq!(world.reply_to("GET", "/v1/kv/x", "d").status(), 403);
    world.acl = Acl::default();
    let (status, text) = world.ask_as("", "GET", "/v1/acl/tokens", "");
    assert_eq!((status, text), (401, json!("ACL support disabled")));
    assert_eq!(world.reply_to("GET", "/v1/kv/x", "nobody").status(), 200, "no token is looked at");
}

#[test]
fn a_prepared_query_is_executed_with_its_own_token() {
    let mut world = guarded();
    let execute = |world: &World, secret| {
        let response = world.reply_to("GET", "/v1/query/q1/execute", secret);
        let value: Value = serde_json::from_slice(response.body()).unwrap();
        value["Nodes"].as_array().unwrap().len()
    };
    assert_eq!((execute(&world, WEAK), execute(&world, READER)), (0, 1));
    let stored = world.catalog.records::<PreparedQuery>().next().unwrap().value.clone();
    put(&mut world, PreparedQuery { token: READER.into(), ..stored });
    assert_eq!(execute(&world, WEAK), 1);
    let shown = |world: &World, secret| {
        let response = world.reply_to("GET", "/v1/query", secret);
        let value: Value = serde_json::from_slice(response.body()).unwrap();
        value[0]["Token"].clone()
    };
    assert_eq!((shown(&world, READER), shown(&world, MANAGER)), (json!("<hidden>"), json!(READER)));
}
