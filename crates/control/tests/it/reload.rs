//! Services and checks of a configuration, and what becomes of them when it is read again.

use control::agent::{Agent, AgentOptions, Reload};
use control::definitions::Definitions;
use serde_json::{Value, json};

use crate::client::{end, get, put, start};

fn definitions(services: Value, checks: Value) -> Definitions {
    let list = |value: Value| value.as_array().unwrap().clone();
    Definitions { services: list(services), checks: list(checks), script_checks: false }
}

async fn of(services: Value, checks: Value) -> Agent {
    let definitions = definitions(services, checks);
    start(AgentOptions { definitions, ..AgentOptions::default() }).await
}

/// What a client is told that asks for a reload, which then finds these definitions.
async fn reload(agent: &Agent, services: Value, checks: Value) -> (u16, String) {
    let found = definitions(services, checks);
    let owner = async {
        let Reload(answer) = agent.reload_asked().await;
        let replaced = agent.definitions.replace(&found).await;
        answer.send(replaced.map_err(|error| error.to_string())).unwrap();
    };
    let (told, ()) = tokio::join!(put(agent, "/v1/agent/reload", ""), owner);
    (told.status, told.text())
}

async fn ids(agent: &Agent, path: &str) -> Vec<String> {
    get(agent, path).await.json().as_object().unwrap().keys().cloned().collect()
}

async fn services(agent: &Agent) -> Vec<String> {
    ids(agent, "/v1/agent/services").await
}

async fn checks(agent: &Agent) -> Vec<String> {
    ids(agent, "/v1/agent/checks").await
}

#[tokio::test]
async fn what_is_added_changed_or_removed_is_so_after_a_reload() {
    let web = json!({"name": "web", "port": 80, "check": {"ttl": "1h", "checkid": "web-ttl"}});
    let agent = of(json!([web, {"name": "old"}]), json!([{"name": "mem", "ttl": "1h"}])).await;
    assert_eq!(services(&agent).await, ["old", "web"]);
    assert_eq!(checks(&agent).await, ["mem", "web-ttl"]);
    // What clients register is not the configuration's.
    put(&agent, "/v1/agent/service/register", r#"{"Name":"api"}"#).await;
    put(&agent, "/v1/agent/check/register", r#"{"Name":"own","TTL":"1h"}"#).await;
    put(&agent, "/v1/agent/check/pass/web-ttl?note=fine", "").await;

    let web = json!({"name": "web", "port": 81, "check": {"ttl": "1h", "checkid": "web-ttl"}});
    let told =
        reload(&agent, json!([web, {"name": "new"}]), json!([{"name": "disk", "ttl": "1h"}]));
    assert_eq!(told.await, (200, String::new()));
    assert_eq!(services(&agent).await, ["api", "new", "web"]);
    assert_eq!(checks(&agent).await, ["disk", "own", "web-ttl"]);
    let read = get(&agent, "/v1/agent/service/web").await.json();
    assert_eq!(read["Port"], 81);
    let verdict = get(&agent, "/v1/agent/checks").await.json()["web-ttl"].clone();
    assert_eq!((&verdict["Status"], &verdict["Output"]), (&"passing".into(), &"fine".into()));

    assert_eq!(reload(&agent, json!([]), json!([])).await, (200, String::new()));
    assert_eq!(services(&agent).await, ["api"]);
    assert_eq!(checks(&agent).await, ["own"]);
    end(&agent).await;
}

#[tokio::test]
async fn a_check_that_a_service_has_no_more_goes() {
    let checks_of = |names: &[&str]| {
        let checks: Vec<Value> =
            names.iter().map(|it| json!({"checkid": it, "ttl": "1h"})).collect();
        json!([{"name": "web", "checks": checks}])
    };
    let agent = of(checks_of(&["a", "b"]), json!([])).await;
    // A file says all checks of its services.
    let own = r#"{"Name":"own","TTL":"1h","ServiceID":"web"}"#;
    put(&agent, "/v1/agent/check/register", own).await;
    assert_eq!(reload(&agent, checks_of(&["b"]), json!([])).await.0, 200);
    assert_eq!(checks(&agent).await, ["b"]);
    assert_eq!(reload(&agent, checks_of(&[]), json!([])).await.0, 200);
    assert!(checks(&agent).await.is_empty());
    end(&agent).await;
}

#[tokio::test]
async fn a_definition_that_is_wrong_registers_nothing() {
    let agent = of(json!([{"name": "web"}]), json!([])).await;
    for (services_now, checks_now, words) in [
        (json!([{"name": "new"}, {"nmae": "x"}]), json!([]), "unknown field"),
        (json!([{"name": "new"}, {"port": 1}]), json!([]), "Missing service name"),
        (
            json!([{"name": "new"}]),
            json!([{"name": "c", "http": "http://a"}]),
            "Interval must be > 0",
        ),
        (
            json!([{"name": "new"}]),
            json!([{"name": "c", "args": ["true"], "interval": "1s"}]),
            "cripts are disabled",
        ),
    ] {
        let (status, text) = reload(&agent, services_now, checks_now).await;
        assert_eq!(status, 500);
        assert!(text.contains(words), "{text}");
        assert_eq!(services(&agent).await, ["web"]);
    }
    end(&agent).await;
}

#[tokio::test]
async fn what_a_reload_registered_before_it_failed_goes_with_the_next() {
    let agent = of(json!([]), json!([])).await;
    let orphan = json!([{"name": "c", "ttl": "1h", "serviceid": "none"}]);
    let (status, text) = reload(&agent, json!([{"name": "web"}]), orphan).await;
    assert_eq!(status, 500);
    assert!(text.contains("the check \"c\"") && text.contains("\"none\""), "{text}");
    assert_eq!(services(&agent).await, ["web"]);
    assert_eq!(reload(&agent, json!([]), json!([])).await.0, 200);
    assert!(services(&agent).await.is_empty());
    end(&agent).await;
}

#[tokio::test]
async fn an_agent_does_not_start_with_a_definition_that_is_wrong() {
    let definitions = definitions(json!([{"name": "web", "prot": 80}]), json!([]));
    let options = AgentOptions { definitions, ..AgentOptions::default() };
    let error = Agent::start(options).await.err().unwrap().to_string();
    assert!(error.contains("the service \"web\"") && error.contains("prot"), "{error}");
}

#[tokio::test]
async fn scripts_of_the_configuration_may_be_allowed_alone() {
    let script = json!([{"name": "c", "args": ["true"], "interval": "1h"}]);
    let definitions = Definitions { script_checks: true, ..definitions(json!([]), script) };
    let agent = start(AgentOptions { definitions, ..AgentOptions::default() }).await;
    assert_eq!(checks(&agent).await, ["c"]);
    let body = r#"{"Name":"d","Args":["true"],"Interval":"1h"}"#;
    assert_eq!(put(&agent, "/v1/agent/check/register", body).await.status, 500);
    end(&agent).await;
}
