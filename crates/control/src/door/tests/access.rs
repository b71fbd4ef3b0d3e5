//! Access control in a whole agent.

use std::fs;

use api::{AclSettings, AgentToken, DefaultPolicy};

use super::*;
use crate::agent::AgentOptions;
use crate::agent::tests::DataDir;
use crate::tokens::AclOptions;

fn guarded() -> AclOptions {
    AclOptions {
        settings: AclSettings {
            enabled: true,
            default_policy: DefaultPolicy::Deny,
            key_list: false,
        },
        initial_management: Some("root".into()),
        keeps_tokens: true,
        ..AclOptions::default()
    }
}

async fn guarded_agent() -> Agent {
    Agent::start(AgentOptions { acl: guarded(), ..dev() }).await.unwrap()
}

fn with_token(method: &str, target: &str, secret: &str, body: impl Into<Bytes>) -> Request<Bytes> {
    let mut request = request(method, target, body);
    request.headers_mut().insert("x-consul-token", secret.parse().unwrap());
    request
}

async fn ask_as(
    agent: &Agent,
    secret: &str,
    method: &str,
    target: &str,
    body: &str,
) -> Response<Bytes> {
    let answer = agent.door.answer(with_token(method, target, secret, body.to_owned()));
    timeout(HANG, answer).await.expect("an answer comes")
}

async fn token(agent: &Agent, body: &Value) -> (String, String) {
    let response = ask_as(agent, "root", "PUT", "/v1/acl/token", &body.to_string()).await;
    assert_eq!(response.status(), 200, "{response:?}");
    let made = json_of(&response);
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    (text("AccessorID"), text("SecretID"))
}

#[tokio::test]
async fn an_answer_is_kept_for_those_who_ask_with_the_same_token_only() {
    let agent = guarded_agent().await;
    let target = "/v1/catalog/nodes";
    let all = ask_as(&agent, "root", "GET", target, "").await;
    let none = ask(&agent, "GET", target, "").await;
    let again = ask_as(&agent, "root", "GET", target, "").await;
    assert!(all.body().len() > 2 && all.body() == again.body());
    assert_eq!(none.body(), "[]");
    assert_eq!(none.headers()["x-consul-default-acl-policy"], "deny");
    // The agent's own token counts as one, and may change without any revision.
    agent.door.access.acl.set_token(AgentToken::Default, "root".into());
    assert_eq!(ask(&agent, "GET", target, "").await.body(), all.body());
    agent.door.access.acl.set_token(AgentToken::Default, "".into());
    assert_eq!(ask(&agent, "GET", target, "").await.body(), "[]");
    end(&agent).await;
}

#[tokio::test]
async fn a_waiting_query_is_refused_when_its_token_goes() {
    let agent = guarded_agent().await;
    let reader = json!({"Policies": [{"Name": "builtin/global-read-only"}]});
    let (accessor, secret) = token(&agent, &reader).await;
    ask_as(&agent, "root", "PUT", "/v1/kv/x", "1").await;
    let first = ask_as(&agent, &secret, "GET", "/v1/kv/x", "").await;
    let target = format!("/v1/kv/x?index={}&wait=10m", index_of(&first));
    let door = Arc::clone(&agent.door);
    let waiting =
        tokio::spawn(async move { door.answer(with_token("GET", &target, &secret, "")).await });
    until_blocked(&agent, 1).await;
    ask_as(&agent, "root", "DELETE", &format!("/v1/acl/token/{accessor}"), "").await;
    ask_as(&agent, "root", "PUT", "/v1/kv/x", "2").await;
    let response = timeout(HANG, waiting).await.unwrap().unwrap();
    assert_eq!((response.status().as_u16(), &response.body()[..]), (403, &b"ACL not found"[..]));
    end(&agent).await;
}

#[tokio::test]
async fn what_the_shell_serves_asks_for_permission_too() {
    let agent = guarded_agent().await;
    for (method, target) in [
        ("GET", "/metrics"),
        ("GET", "/v1/agent/metrics"),
        ("GET", "/v1/agent/metrics?format=prometheus"),
        ("GET", "/v1/agent/host"),
        ("GET", "/v1/agent/monitor"),
        ("GET", "/v1/snapshot"),
        ("PUT", "/v1/snapshot"),
        ("PUT", "/v1/agent/reload"),
        ("PUT", "/v1/agent/leave"),
        ("GET", "/v1/agent/connect/ca/leaf/web"),
        ("GET", "/leno/v1/documents"),
        ("GET", "/leno/v1/guards"),
        ("POST", "/leno/v1/apply"),
        ("POST", "/leno/v1/delete"),
        ("GET", "/leno/v1/status"),
    ] {
        let response = ask(&agent, method, target, "").await;
        assert_eq!(response.status(), 403, "{method} {target}: {response:?}");
    }
    for target in [
        "/metrics",
        "/v1/agent/metrics",
        "/leno/v1/documents",
        "/leno/v1/guards",
        "/leno/v1/status",
        "/v1/agent/connect/ca/leaf/web",
        "/v1/snapshot",
    ] {
        let response = ask_as(&agent, "root", "GET", target, "").await;
        assert_eq!(response.status(), 200, "{target}: {response:?}");
    }
    for target in ["/ui/", "/ui/app.js"] {
        assert_eq!(ask(&agent, "GET", target, "").await.status(), 200, "{target}");
    }
    assert_eq!(ask_as(&agent, "root", "PUT", "/v1/agent/leave", "").await.status(), 200);
    assert_eq!(timeout(HANG, agent.ending()).await.unwrap(), Ending::Left);
    end(&agent).await;
}

#[tokio::test]
async fn tokens_last_and_so_do_those_that_the_agent_was_given() {
    let folder = DataDir::new();
    let options = || AgentOptions { acl: guarded(), ..folder.options("n1") };
    let agent = Agent::start(options()).await.unwrap();
    let reader = json!({"Policies": [{"Name": "builtin/global-read-only"}]});
    let (_, secret) = token(&agent, &reader).await;
    let body = json!({ "Token": secret }).to_string();
    let given = ask_as(&agent, "root", "PUT", "/v1/agent/token/default", &body).await;
    assert_eq!(given.status(), 200);
    assert_eq!(ask(&agent, "GET", "/v1/agent/self", "").await.status(), 200);
    end(&agent).await;
    drop(agent);

    let agent = Agent::start(options()).await.unwrap();
    assert_eq!(ask(&agent, "GET", "/v1/agent/self", "").await.status(), 200);
    assert_eq!(ask_as(&agent, "root", "PUT", "/v1/kv/x", "1").await.status(), 200);
    let tokens = ask_as(&agent, "root", "GET", "/v1/acl/tokens", "").await;
    assert_eq!(json_of(&tokens).as_array().unwrap().len(), 3, "none is made twice");
    end(&agent).await;
}

#[tokio::test]
async fn whoever_has_the_data_folder_may_have_the_first_token_made_anew() {
    let folder = DataDir::new();
    let options = AgentOptions { acl: guarded(), ..folder.options("n1") };
    let agent = Agent::start(options).await.unwrap();
    let bootstrap = || ask(&agent, "PUT", "/v1/acl/bootstrap", "");
    let refused = bootstrap().await;
    assert_eq!(refused.status(), 403);
    let text = String::from_utf8(refused.body().to_vec()).unwrap();
    let index = text.split("(reset index: ").nth(1).unwrap().trim_end_matches(')');
    let file = folder.path().join("acl-bootstrap-reset");
    fs::write(&file, "999999").unwrap();
    assert_eq!(bootstrap().await.status(), 403, "another index");
    fs::write(&file, index).unwrap();
    let made = bootstrap().await;
    assert_eq!(made.status(), 200, "{made:?}");
    assert!(!file.exists(), "it counts once");
    let secret = json_of(&made)["SecretID"].as_str().unwrap().to_owned();
    assert_eq!(ask_as(&agent, &secret, "GET", "/v1/agent/self", "").await.status(), 200);
    assert_eq!(bootstrap().await.status(), 403);
    end(&agent).await;
}

#[tokio::test]
async fn a_snapshot_without_tokens_locks_nobody_out() {
    let options = AgentOptions { node_name: "other".into(), ..dev() };
    let open = Agent::start(options).await.unwrap();
    let snapshot = ask(&open, "GET", "/v1/snapshot", "").await.into_body();
    end(&open).await;
    let agent = guarded_agent().await;
    let restore = agent.door.answer(with_token("PUT", "/v1/snapshot", "root", snapshot));
    let restored = timeout(HANG, restore).await.expect("an answer comes");
    assert_eq!(restored.status(), 200, "{restored:?}");
    assert_eq!(ask_as(&agent, "root", "GET", "/v1/agent/self", "").await.status(), 200);
    assert_eq!(ask(&agent, "GET", "/v1/agent/self", "").await.status(), 403);
    end(&agent).await;
}
