mod access;
mod guards;
mod proxies;

use std::time::Duration;

use futures_util::FutureExt;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::*;
use crate::agent::tests::{dev, end};
use crate::agent::{Agent, Ending};

/// Nothing here takes nearly as long.
const HANG: Duration = Duration::from_secs(60);

async fn agent() -> Agent {
    Agent::start(dev()).await.unwrap()
}

fn request(method: &str, target: &str, body: impl Into<Bytes>) -> Request<Bytes> {
    Request::builder().method(method).uri(target).body(body.into()).unwrap()
}

async fn ask(agent: &Agent, method: &str, target: &str, body: impl Into<Bytes>) -> Response<Bytes> {
    let answer = agent.door.answer(request(method, target, body));
    timeout(HANG, answer).await.expect("an answer comes")
}

fn json_of(response: &Response<Bytes>) -> Value {
    serde_json::from_slice(response.body()).unwrap_or_else(|_| panic!("not JSON: {response:?}"))
}

fn index_of(response: &Response<Bytes>) -> u64 {
    response.headers()["x-consul-index"].to_str().unwrap().parse().unwrap()
}

async fn until_blocked(agent: &Agent, count: u64) {
    let line = format!("leno_blocked_queries{{datacenter=\"dc1\"}} {count}");
    let counted = || {
        let text = agent.door.metrics.prometheus(&agent.mesh.catalog(), &agent.info);
        text.lines().any(|it| it == line)
    };
    let waiting = async {
        while !counted() {
            tokio::task::yield_now().await;
        }
    };
    timeout(HANG, waiting).await.expect("so many queries wait");
}

#[tokio::test]
async fn a_blocking_query_wakes_for_its_own_service_only() {
    let agent = agent().await;
    let register = |name: &str| {
        ask(&agent, "PUT", "/v1/agent/service/register", json!({ "Name": name }).to_string())
    };
    register("web").await;
    let first = ask(&agent, "GET", "/v1/health/service/web", "").await;
    let target = format!("/v1/health/service/web?index={}&wait=10m", index_of(&first));
    let door = Arc::clone(&agent.door);
    let waiting =
        tokio::spawn(async move { door.answer(request("GET", &target, Bytes::new())).await });
    until_blocked(&agent, 1).await;
    register("other").await;
    until_blocked(&agent, 1).await;
    assert!(!waiting.is_finished());
    let body = json!({ "Name": "web", "Tags": ["new"] }).to_string();
    ask(&agent, "PUT", "/v1/agent/service/register", body).await;
    let second = timeout(HANG, waiting).await.expect("it wakes").unwrap();
    assert!(index_of(&second) > index_of(&first));
    assert_eq!(json_of(&second)[0]["Service"]["Tags"], json!(["new"]));
    until_blocked(&agent, 0).await;
    end(&agent).await;
}

#[tokio::test]
async fn a_blocking_query_ends_with_its_time_and_with_the_drain() {
    let agent = agent().await;
    let index = index_of(&ask(&agent, "GET", "/v1/catalog/nodes", "").await);
    let target = format!("/v1/catalog/nodes?index={index}&wait=20ms");
    assert_eq!(index_of(&ask(&agent, "GET", &target, "").await), index);
    let door = Arc::clone(&agent.door);
    let target = format!("/v1/catalog/nodes?index={index}&wait=10m");
    let waiting =
        tokio::spawn(async move { door.answer(request("GET", &target, Bytes::new())).await });
    until_blocked(&agent, 1).await;
    end(&agent).await;
    let answer = timeout(HANG, waiting).await.expect("the drain ends it").unwrap();
    assert_eq!(index_of(&answer), index);
}

#[tokio::test]
async fn a_command_is_run_to_its_end_though_its_client_goes_away() {
    let agent = agent().await;
    let body = json!({ "Name": "web" }).to_string();
    let mut answer =
        Box::pin(agent.door.answer(request("PUT", "/v1/agent/service/register", body)));
    assert!(answer.as_mut().now_or_never().is_none(), "it is under way");
    drop(answer);
    let mut revisions = agent.mesh.revisions();
    let web = model::Folded::new("web");
    let registered = revisions.wait_for(|_| agent.mesh.catalog().service(&web).is_some());
    assert!(timeout(HANG, registered).await.is_ok(), "it was dropped with the client");
    end(&agent).await;
}

#[tokio::test]
async fn an_agent_that_is_asked_to_leave_says_yes_and_ends() {
    let agent = agent().await;
    assert_eq!(ask(&agent, "GET", "/v1/agent/leave", "").await.status(), 405);
    assert!(agent.ending().now_or_never().is_none());
    let answer = ask(&agent, "PUT", "/v1/agent/leave", "").await;
    assert_eq!((answer.status(), answer.body().len()), (StatusCode::OK, 0));
    assert_eq!(timeout(HANG, agent.ending()).await, Ok(Ending::Left));
    end(&agent).await;
    let after = ask(&agent, "PUT", "/v1/agent/service/register", r#"{"Name":"late"}"#).await;
    assert_eq!(after.status(), StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn the_ui_is_served_unless_it_is_off() {
    let agent = agent().await;
    assert_eq!(ask(&agent, "GET", "/", "").await.headers()["location"], "/ui/");
    for (method, path) in [("GET", "/ui/"), ("HEAD", "/ui/dc1/services"), ("GET", "/ui/app.js")] {
        assert_eq!(ask(&agent, method, path, "").await.status(), 200, "{path}");
    }
    for path in ["/elsewhere", "/ui/elsewhere.js"] {
        assert_eq!(ask(&agent, "GET", path, "").await.status(), 404, "{path}");
    }
    end(&agent).await;

    let mut options = dev();
    options.api.ui = false;
    let agent = Agent::start(options).await.unwrap();
    let front = ask(&agent, "GET", "/", "").await;
    assert!(String::from_utf8_lossy(front.body()).contains("leno services"), "{front:?}");
    assert_eq!(ask(&agent, "GET", "/ui/", "").await.status(), 404);
    end(&agent).await;
}

#[tokio::test]
async fn metrics_come_as_consuls_clients_read_them() {
    let agent = agent().await;
    ask(&agent, "PUT", "/v1/agent/service/register", r#"{"Name":"web"}"#).await;
    let all = json_of(&ask(&agent, "GET", "/v1/agent/metrics", "").await);
    let find = |kind: &str, name: &str, label: &str, value: &str| {
        let all = all[kind].as_array().unwrap().iter();
        all.clone().find(|it| it["Name"] == name && it["Labels"][label] == value).cloned().unwrap()
    };
    let instances = find("Gauges", "consul.state.service_instances", "datacenter", "dc1");
    assert_eq!(instances["Value"], 2);
    let done = find("Counters", "leno.commands", "result", "done");
    assert_eq!((&done["Count"], &done["Sum"]), (&json!(1), &json!(1)));
    assert_eq!((&all["Points"], &all["Samples"]), (&json!([]), &json!([])));
    assert!(all["Timestamp"].as_str().unwrap().ends_with(" +0000 UTC"));
    for target in ["/metrics", "/v1/agent/metrics?format=prometheus"] {
        let text = ask(&agent, "GET", target, "").await;
        let text = String::from_utf8_lossy(text.body()).into_owned();
        assert!(
            text.contains("\nconsul_state_service_instances{datacenter=\"dc1\"} 2\n"),
            "{text}"
        );
        assert!(text.contains("\n# TYPE leno_commands_total counter\n"), "{text}");
        assert!(text.contains("\nleno_commands_total{result=\"done\"} 1\n"), "{text}");
        assert!(text.contains("\nleno_checks{status=\"passing\"} 1\n"), "{text}");
    }
    end(&agent).await;
}

fn service(port: u32) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\nspec:\n  selector:\n    app: web\n  \
         ports:\n  - port: {port}\n"
    )
}

fn files(texts: &[&str]) -> String {
    let files: Vec<Value> = texts
        .iter()
        .enumerate()
        .map(|(idx, text)| json!({ "source": format!("{idx}.yaml"), "text": text }))
        .collect();
    json!({ "files": files }).to_string()
}

#[tokio::test]
async fn documents_are_applied_listed_and_deleted() {
    let agent = agent().await;
    let apply = |port: u32| ask(&agent, "POST", "/leno/v1/apply", files(&[&service(port)]));
    for (port, result) in [(80, "created"), (80, "unchanged"), (81, "configured")] {
        let answer = apply(port).await;
        assert_eq!(answer.status(), 200, "{answer:?}");
        assert_eq!(json_of(&answer)["documents"][0]["result"], result);
    }
    let list = json_of(&ask(&agent, "GET", "/leno/v1/documents", "").await);
    assert_eq!(list["documents"][0]["body"]["spec"]["ports"][0]["port"], 81);
    let delete = || ask(&agent, "POST", "/leno/v1/delete", files(&[&service(80)]));
    for result in ["deleted", "absent"] {
        assert_eq!(json_of(&delete().await)["documents"][0]["result"], result);
    }
    end(&agent).await;
}

#[tokio::test]
async fn bad_documents_change_nothing() {
    let agent = agent().await;
    let before = agent.mesh.catalog().revision();
    let twice = files(&[&service(80), &service(81)]);
    for (target, body, word) in [
        ("/leno/v1/apply", "[]".to_owned(), "the request body is not"),
        ("/leno/v1/delete", "{".to_owned(), "the request body is not"),
        ("/leno/v1/apply", files(&[&service(80), "kind: ["]), "1.yaml"),
        ("/leno/v1/delete", files(&["kind: ["]), "0.yaml"),
        ("/leno/v1/apply", twice, "is also in 0.yaml"),
    ] {
        let answer = ask(&agent, "POST", target, body).await;
        assert_eq!(answer.status(), 400, "{answer:?}");
        assert!(String::from_utf8_lossy(answer.body()).contains(word), "{answer:?}");
    }
    assert_eq!(agent.mesh.catalog().revision(), before);
    end(&agent).await;
}
