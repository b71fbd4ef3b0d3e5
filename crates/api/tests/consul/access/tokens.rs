//! Tokens, policies and roles through the door.

use model::{AclToken, Timestamp};
use serde_json::{Value, json};

use super::*;

fn create(world: &mut World, path: &str, body: &Value) -> Value {
    let (status, answer) = world.ask_as(MANAGER, "PUT", path, &body.to_string());
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

fn refused(world: &mut World, method: &str, path: &str, body: &Value) -> (u16, String) {
    let (status, answer) = world.ask_as(MANAGER, method, path, &body.to_string());
    (status, answer.as_str().unwrap_or_else(|| panic!("{path}: {answer}")).to_owned())
}

fn read(world: &World, path: &str) -> Value {
    serde_json::from_slice(world.reply_to("GET", path, MANAGER).body()).unwrap()
}

#[test]
fn a_mesh_is_bootstrapped_once_and_anew_by_whoever_runs_it() {
    let mut world = World::empty();
    world.acl = Acl::new(DENY, AgentTokens::default());
    world.run(&Command::PrepareAcl(None));
    let early = "ACL system must be bootstrapped before making any requests that require authorization: ACL not found";
    assert_eq!(world.ask_as(MANAGER, "GET", "/v1/acl/tokens", ""), (403, json!(early)));
    let secret = "5e000000-0000-4000-8000-0000000000bb";
    let body = json!({"BootstrapSecret": secret}).to_string();
    let bad = json!({"BootstrapSecret": "root"}).to_string();
    assert_eq!(world.ask_as("", "PUT", "/v1/acl/bootstrap", &bad).0, 500);
    let (status, token) = world.ask_as("", "PUT", "/v1/acl/bootstrap", &body);
    assert_eq!(status, 200, "{token}");
    assert_eq!((&token["ID"], &token["SecretID"]), (&json!(secret), &json!(secret)));
    assert_eq!(token["Policies"], json!([{"ID": MANAGEMENT, "Name": "global-management"}]));
    let index = token["ModifyIndex"].as_u64().unwrap();
    let (status, text) = world.ask_as("", "PUT", "/v1/acl/bootstrap", "");
    let again =
        format!("Permission denied: ACL bootstrap no longer allowed (reset index: {index})");
    assert_eq!((status, text), (403, json!(again)));
    let (_, tokens) = world.ask_as(secret, "GET", "/v1/acl/tokens", "");
    assert_eq!(tokens.as_array().unwrap().len(), 2, "the anonymous one is the other");
    let mut request = asked("PUT", "/v1/acl/bootstrap", "", "");
    request.extensions_mut().insert(api::BootstrapReset(index));
    let Step::Write(command, _) = world.step(&request, false) else { panic!("no write") };
    let Command::BootstrapAcl { reset, .. } = &command else { panic!("{command:?}") };
    assert_eq!(reset.map(|it| it.0), Some(index));
}

#[test]
fn policies_are_made_changed_and_deleted() {
    let mut world = guarded();
    let taken = "Invalid Policy: A Policy with Name \"global-management\" already exists";
    let body = json!({"Name": "global-management"});
    let answer = refused(&mut world, "PUT", "/v1/acl/policy", &body);
    assert_eq!(answer, (500, taken.to_owned()));
    let rules = r#"key_prefix "" { policy = "read" }"#;
    let body = json!({"Name": "p", "Description": "d", "Rules": rules, "Datacenters": ["dc1"]});
    let made = create(&mut world, "/v1/acl/policy", &body);
    let id = made["ID"].as_str().unwrap().to_owned();
    let path = format!("/v1/acl/policy/{id}");
    assert_eq!(read(&world, &path), made);
    assert_eq!(read(&world, "/v1/acl/policy/name/p"), made);
    let listed = read(&world, "/v1/acl/policies");
    let listed = listed.as_array().unwrap().iter().find(|it| it["ID"] == *id).unwrap().clone();
    assert_eq!((&listed["Hash"], &listed["Rules"]), (&made["Hash"], &Value::Null));
    let changed = create(&mut world, &path, &json!({"Name": "q", "Rules": ""}));
    assert_eq!((&changed["Name"], &changed["Datacenters"]), (&json!("q"), &Value::Null));
    assert_ne!(changed["Hash"], made["Hash"]);
    for (method, path, body, status, text) in [
        ("PUT", "/v1/acl/policy", json!({}), 500, "Invalid Policy: no Name is set"),
        (
            "PUT",
            "/v1/acl/policy",
            json!({"ID": "x", "Name": "x"}),
            400,
            "Cannot specify the ID when creating a new policy",
        ),
        (
            "PUT",
            "/v1/acl/policy",
            json!({"Name": "x", "Nmae": 1}),
            400,
            "Policy decoding failed: json: unknown field \"Nmae\"",
        ),
        (
            "PUT",
            path.as_str(),
            json!({"ID": "x"}),
            400,
            "Policy ID in URL and payload do not match",
        ),
        (
            "PUT",
            "/v1/acl/policy/00000000-0000-0000-0000-000000000001",
            json!({"Name": "global-management", "Rules": ""}),
            500,
            "Changing the Rules of the builtin global-management policy is not permitted",
        ),
        (
            "DELETE",
            "/v1/acl/policy/00000000-0000-0000-0000-000000000001",
            json!({}),
            500,
            "Delete operation not permitted on the builtin global-management policy",
        ),
        ("DELETE", "/v1/acl/policy/x", json!({}), 404, "Cannot find policy to delete"),
        (
            "GET",
            "/v1/acl/policy/x",
            json!({}),
            404,
            "Requested policy does not exist: ACL not found",
        ),
        ("GET", "/v1/acl/policy/", json!({}), 400, "Missing policy ID"),
    ] {
        assert_eq!(
            refused(&mut world, method, path, &body),
            (status, text.to_owned()),
            "{method} {path}"
        );
    }
    let (status, text) = refused(
        &mut world,
        "PUT",
        "/v1/acl/policy",
        &json!({"Name": "x", "Rules": "key \"x\" { policy = \"all\" }"}),
    );
    assert!(status == 500 && text.contains("Invalid key policy: \"all\""), "{text}");
    assert_eq!(world.ask_as(MANAGER, "DELETE", &path, ""), (200, json!(true)));
    assert_eq!(world.reply_to("GET", &path, MANAGER).status(), 404);
}

#[test]
fn tokens_are_bound_by_id_or_name_and_lose_what_goes() {
    let mut world = guarded();
    let policy =
        create(&mut world, "/v1/acl/policy", &json!({"Name": "p", "Rules": "operator = \"read\""}));
    let mut role = json!({"Name": "r", "Policies": [{"Name": "p"}], "ServiceIdentities": [{"ServiceName": "web"}]});
    role = create(&mut world, "/v1/acl/role", &role);
    let link = json!({"ID": policy["ID"], "Name": "p"});
    assert_eq!(role["Policies"], json!([link]));
    let body = json!({
        "AccessorID": "5e000000-0000-4000-8000-0000000000c1",
        "SecretID": "5e000000-0000-4000-8000-0000000000c2",
        "Policies": [{"ID": policy["ID"]}, {"Name": "p"}],
        "Roles": [{"Name": "r"}],
        "NodeIdentities": [{"NodeName": "n1", "Datacenter": "dc1"}],
        "TemplatedPolicies": [{"TemplateName": "builtin/service", "TemplateVariables": {"Name": "db"}}],
        "ExpirationTTL": "1h",
    });
    let token = create(&mut world, "/v1/acl/token", &body);
    assert_eq!(token["Policies"], json!([link]), "each once");
    assert_eq!(token["Roles"], json!([{"ID": role["ID"], "Name": "r"}]));
    assert_eq!(token["CreateTime"], "2026-01-01T00:00:00Z");
    assert_eq!(token["ExpirationTime"], "2026-01-01T01:00:00Z");
    let path = "/v1/acl/token/5e000000-0000-4000-8000-0000000000c1";
    assert_eq!(read(&world, path), token);
    let secret = "5e000000-0000-4000-8000-0000000000c2";
    let own: Value =
        serde_json::from_slice(world.reply_to("GET", "/v1/acl/token/self", secret).body()).unwrap();
    assert_eq!(own, token);
    let seen: Value = serde_json::from_slice(world.reply_to("GET", path, READER).body()).unwrap();
    assert_eq!(seen["SecretID"], "<hidden>");
    let expanded = read(&world, &format!("{path}?expanded"));
    let names: Vec<&str> = expanded["ExpandedPolicies"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["Name"].as_str().unwrap())
        .collect();
    assert_eq!(names.len(), 4, "{names:?}");
    assert_eq!(
        (&expanded["ExpandedRoles"][0]["Name"], &expanded["AgentACLDefaultPolicy"]),
        (&json!("r"), &json!("deny"))
    );
    for (query, count) in [("policy", 1), ("role", 1), ("servicename", 1), ("authmethod", 0)] {
        let value = match query {
            "policy" => policy["ID"].as_str().unwrap(),
            "role" => role["ID"].as_str().unwrap(),
            _ => "db",
        };
        let found = read(&world, &format!("/v1/acl/tokens?{query}={value}"));
        assert_eq!(found.as_array().unwrap().len(), count, "{query}");
    }
    let changed = json!({"Description": "new", "Roles": [{"Name": "r"}]});
    let changed = create(&mut world, path, &changed);
    assert_eq!(
        (&changed["SecretID"], &changed["ExpirationTime"]),
        (&token["SecretID"], &token["ExpirationTime"])
    );
    let role_path = format!("/v1/acl/role/{}", role["ID"].as_str().unwrap());
    assert_eq!(world.ask_as(MANAGER, "DELETE", &role_path, ""), (200, json!(true)));
    assert_eq!(read(&world, path)["Roles"], Value::Null);
    // Its time is over before anybody removes it.
    put(&mut world, AclToken { expires: Some(Timestamp(1_767_225_600_000)), ..token_of("over") });
    assert_eq!(world.reply_to("GET", "/v1/acl/token/self", "over").status(), 403);
}

fn token_of(secret: &str) -> AclToken {
    super::token(secret, &[])
}

#[test]
fn what_tokens_cannot_be_is_refused_with_the_reason() {
    let mut world = guarded();
    let own = "/v1/acl/token/5e000000-0000-4000-8000-00000000000a";
    for (method, path, body, status, text) in [
        (
            "PUT",
            "/v1/acl/token",
            json!({"AccessorID": "x"}),
            500,
            "Invalid Token: AccessorID is not a valid UUID",
        ),
        (
            "PUT",
            "/v1/acl/token",
            json!({"SecretID": "x"}),
            500,
            "Invalid Token: SecretID is not a valid UUID",
        ),
        (
            "PUT",
            "/v1/acl/token",
            json!({"AccessorID": "5e000000-0000-4000-8000-00000000000a"}),
            500,
            "Invalid Token: AccessorID is already in use",
        ),
        (
            "PUT",
            "/v1/acl/token",
            json!({"AuthMethod": "m"}),
            500,
            "AuthMethod field is disallowed outside of login",
        ),
        (
            "PUT",
            "/v1/acl/token",
            json!({"Policies": [{"Name": "x"}]}),
            500,
            "No such ACL policy with name \"x\"",
        ),
        ("PUT", "/v1/acl/token", json!({"Roles": [{"ID": "x"}]}), 500, "cannot find role x"),
        (
            "PUT",
            "/v1/acl/token",
            json!({"ExpirationTTL": "30s"}),
            500,
            "ExpirationTime cannot be less than 1m0s in the future",
        ),
        (
            "PUT",
            "/v1/acl/token",
            json!({"ExpirationTTL": "25h"}),
            500,
            "ExpirationTime cannot be more than 24h0m0s in the future",
        ),
        (
            "PUT",
            "/v1/acl/token",
            json!({"ServiceIdentities": [{"ServiceName": "W"}]}),
            500,
            "Service identity \"W\" has an invalid name. Only lowercase alphanumeric characters, '-' and '_' are allowed",
        ),
        (
            "PUT",
            "/v1/acl/token",
            json!({"Local": 1}),
            400,
            "Token decoding failed: json: cannot unmarshal number into Go struct field ACLToken.Local of type bool",
        ),
        (
            "PUT",
            own,
            json!({"AccessorID": "x"}),
            400,
            "Token Accessor ID in URL and payload do not match",
        ),
        ("PUT", own, json!({"SecretID": "x"}), 500, "Changing a token's SecretID is not permitted"),
        ("PUT", own, json!({"Local": true}), 500, "Changing a token's Local is not permitted"),
        ("PUT", "/v1/acl/token/x", json!({}), 500, "Cannot find token \"x\""),
        ("PUT", "/v1/acl/token/", json!({}), 400, "Missing token AccessorID"),
        ("PUT", "/v1/acl/token/x/clone", json!({}), 403, "ACL not found"),
        ("GET", "/v1/acl/token/x", json!({}), 404, "Requested token does not exist: ACL not found"),
        ("DELETE", "/v1/acl/token/x", json!({}), 404, "Cannot find token to delete"),
        (
            "DELETE",
            own,
            json!({}),
            500,
            "Deletion of the request's authorization token is not permitted",
        ),
        (
            "DELETE",
            "/v1/acl/token/00000000-0000-0000-0000-000000000002",
            json!({}),
            500,
            "Delete operation not permitted on the anonymous token",
        ),
        (
            "GET",
            "/v1/acl/tokens?policy=a&role=b",
            json!({}),
            500,
            "can only filter by one of: policy, role, authmethod, servicename",
        ),
        ("PUT", "/v1/agent/token/x", json!({"Token": "t"}), 404, "Token \"x\" is unknown"),
    ] {
        assert_eq!(
            refused(&mut world, method, path, &body),
            (status, text.to_owned()),
            "{method} {path}"
        );
    }
}

#[test]
fn a_clone_is_bound_as_its_original_and_the_anonymous_token_may_be_bound() {
    let mut world = guarded();
    let (status, clone) = world.ask_as(
        MANAGER,
        "PUT",
        "/v1/acl/token/5e000000-0000-4000-8000-00000000000a/clone",
        r#"{"Description":"copy"}"#,
    );
    assert_eq!(status, 200, "{clone}");
    assert_eq!(clone["Description"], "copy");
    assert_eq!(clone["Policies"][0]["Name"], "global-management");
    let anonymous = "/v1/acl/token/00000000-0000-0000-0000-000000000002";
    assert_eq!(world.ask_as("", "GET", "/v1/kv/app/a", "").0, 403);
    create(&mut world, anonymous, &json!({"Policies": [{"Name": "builtin/global-read-only"}]}));
    assert_eq!(world.ask_as("", "GET", "/v1/kv/app/a", "").0, 200);
}

#[test]
fn the_agent_gets_other_tokens_of_its_own() {
    let mut world = guarded();
    assert_eq!(world.reply_to("GET", "/v1/kv/app/a", "").status(), 403);
    let body = json!({"Token": READER}).to_string();
    assert_eq!(world.ask_as(MANAGER, "PUT", "/v1/agent/token/acl_token", &body).0, 200);
    assert_eq!(world.reply_to("GET", "/v1/kv/app/a", "").status(), 200);
    let body = json!({"Token": "emergency"}).to_string();
    assert_eq!(world.ask_as(MANAGER, "PUT", "/v1/agent/token/agent_master", &body).0, 200);
    assert_eq!(world.reply_to("GET", "/v1/agent/self", "emergency").status(), 200);
    assert!(world.reply_to("GET", "/v1/catalog/nodes", "emergency").body().len() > 2);
    assert_eq!(world.reply_to("GET", "/v1/kv/app/a", "emergency").status(), 403);
}

#[test]
fn templates_are_shown_and_questions_answered() {
    let mut world = guarded();
    let templates = read(&world, "/v1/acl/templated-policies");
    assert_eq!(templates.as_object().unwrap().len(), 6);
    assert_eq!(read(&world, "/v1/acl/templated-policy/name/builtin/dns"), templates["builtin/dns"]);
    let preview = |world: &mut World, name: &str, body: &str| {
        world.ask_as(MANAGER, "POST", &format!("/v1/acl/templated-policy/preview/{name}"), body)
    };
    let (status, policy) = preview(&mut world, "builtin/service", r#"{"Name":"web"}"#);
    assert_eq!(status, 200);
    assert!(policy["Rules"].as_str().unwrap().contains("service \"web-sidecar-proxy\""));
    assert_eq!(preview(&mut world, "builtin/service", "").0, 400);
    assert_eq!(preview(&mut world, "builtin/other", "").0, 400);
    let questions = json!([
        {"Resource": "key", "Access": "read", "Segment": "x"},
        {"Resource": "key", "Access": "write", "Segment": "x"},
    ]);
    let path = "/v1/internal/acl/authorize";
    let (_, answers) = world.ask_as(READER, "POST", path, &questions.to_string());
    assert_eq!((&answers[0]["Allow"], &answers[1]["Allow"]), (&json!(true), &json!(false)));
    let odd = json!([{"Resource": "planet", "Access": "read"}]).to_string();
    assert_eq!(world.ask_as(READER, "POST", path, &odd).0, 400);
    let many = json!(vec![questions[0].clone(); 65]).to_string();
    assert_eq!(world.ask_as(READER, "POST", path, &many).0, 400);
}
