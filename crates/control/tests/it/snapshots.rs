//! `/v1/snapshot`: out, in, and what becomes of those who wait or write meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use control::agent::{AgentOptions, ApiSettings};
use serde_json::{Value, json};

use crate::client::{Answer, Waiting, ask, end, get, put, start};

async fn named(node: &str) -> control::agent::Agent {
    start(AgentOptions { node_name: node.into(), ..AgentOptions::default() }).await
}

async fn ok(answer: impl Future<Output = Answer>) -> Answer {
    let answer = answer.await;
    assert_eq!(answer.status, 200, "{answer:?} {}", answer.text());
    answer
}

/// What clients see of everything, without the indexes, which move.
async fn seen(agent: &control::agent::Agent) -> Vec<Value> {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for name in ["CreateIndex", "ModifyIndex", "Index"] {
                    fields.remove(name);
                }
                fields.values_mut().for_each(strip);
            }
            Value::Array(items) => items.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let mut all = Vec::new();
    for path in [
        "/v1/catalog/nodes",
        "/v1/health/state/any",
        "/v1/health/service/web",
        "/v1/kv/?recurse",
        "/v1/session/list",
        "/v1/query",
        "/v1/event/list",
        "/v1/coordinate/nodes",
        "/v1/connect/ca/roots",
        "/v1/operator/autopilot/configuration",
    ] {
        let mut value = ok(get(agent, path)).await.json();
        strip(&mut value);
        all.push(value);
    }
    all
}

async fn fill(agent: &control::agent::Agent) {
    for (path, body) in [
        (
            "/v1/agent/service/register",
            r#"{"Name":"web","Port":80,"Check":{"TTL":"1h","Status":"passing"}}"#,
        ),
        (
            "/v1/catalog/register",
            r#"{"Node":"ext","Address":"10.0.0.9","Service":{"Service":"web"}}"#,
        ),
        ("/v1/kv/a/b", "value"),
        ("/v1/kv/empty", ""),
        ("/v1/session/create", r#"{"TTL":"1h","Name":"s"}"#),
        ("/v1/event/fire/deploy", "now"),
        (
            "/v1/coordinate/update",
            r#"{"Node":"ext","Coord":{"Vec":[0.5,0,0,0,0,0,0,0],"Error":1}}"#,
        ),
        ("/v1/operator/autopilot/configuration", r#"{"MinQuorum":3}"#),
    ] {
        ok(put(agent, path, body)).await;
    }
    let body = br#"{"Name":"q","Service":{"Service":"web"}}"#;
    ok(ask(agent.http.unwrap(), "POST", "/v1/query", body)).await;
}

#[tokio::test]
async fn what_is_restored_is_what_was_saved() {
    let agent = named("n1").await;
    fill(&agent).await;
    let before = seen(&agent).await;
    let saved = ok(get(&agent, "/v1/snapshot")).await;
    assert_eq!(saved.header("content-type"), Some("application/x-gzip"));
    assert_eq!(saved.header("x-consul-knownleader"), Some("true"));
    let index = ok(get(&agent, "/v1/kv/a/b")).await.index();

    ok(put(&agent, "/v1/kv/a/b", "other")).await;
    ok(put(&agent, "/v1/kv/new", "x")).await;
    ok(put(&agent, "/v1/catalog/deregister", r#"{"Node":"ext"}"#)).await;
    ok(put(&agent, "/v1/event/fire/late", "")).await;
    assert_ne!(seen(&agent).await, before);
    let newest = ok(get(&agent, "/v1/kv/new")).await.index();

    ok(put(&agent, "/v1/snapshot", &saved.body)).await;
    assert_eq!(seen(&agent).await, before);
    // Indexes never go back: what is as it was before has changed once more.
    let restored = ok(get(&agent, "/v1/kv/a/b")).await.index();
    assert!(restored > newest && newest > index, "{restored} {newest} {index}");
    // Once more changes nothing at all.
    let revision = ok(get(&agent, "/v1/snapshot")).await.index();
    ok(put(&agent, "/v1/snapshot", &saved.body)).await;
    assert_eq!(ok(get(&agent, "/v1/snapshot")).await.index(), revision);
    end(&agent).await;
}

#[tokio::test]
async fn a_new_agent_takes_what_another_had_and_keeps_its_own_node() {
    let old = named("old").await;
    fill(&old).await;
    let saved = ok(get(&old, "/v1/snapshot")).await;
    end(&old).await;
    // Under another name, and under the same one: a new data folder has a new id.
    for name in ["new", "old"] {
        let agent = named(name).await;
        let id = agent.info.node_id.clone();
        ok(put(&agent, "/v1/snapshot", &saved.body)).await;
        let nodes = ok(get(&agent, "/v1/catalog/nodes")).await.json();
        let own: Vec<&Value> =
            nodes.as_array().unwrap().iter().filter(|it| it["Node"] == name).collect();
        assert_eq!((own.len(), &own[0]["ID"]), (1, &id.as_str().into()), "{nodes}");
        let health = ok(get(&agent, &format!("/v1/health/node/{name}"))).await.json();
        let member = health.as_array().unwrap().iter().find(|it| it["CheckID"] == "serfHealth");
        assert_eq!(member.unwrap()["Status"], "passing");
        let web = ok(get(&agent, "/v1/health/service/web")).await.json();
        assert_eq!(web.as_array().unwrap().len(), 2, "{web}");
        assert_eq!(ok(get(&agent, "/v1/kv/a/b?raw")).await.text(), "value");
        // It goes on working as its own agent.
        ok(put(&agent, "/v1/agent/service/register", r#"{"Name":"mail"}"#)).await;
        assert_eq!(ok(get(&agent, "/v1/agent/self")).await.json()["Config"]["NodeID"], id);
        let sessions = ok(get(&agent, "/v1/session/list")).await.json();
        assert_eq!(sessions[0]["Node"], "old");
        end(&agent).await;
    }
}

#[tokio::test]
async fn a_mesh_has_a_root_after_a_snapshot_without_one() {
    let api = ApiSettings { connect: false, ..ApiSettings::default() };
    let without = start(AgentOptions { api, ..AgentOptions::default() }).await;
    let saved = ok(get(&without, "/v1/snapshot")).await;
    end(&without).await;
    let agent = named("n1").await;
    ok(put(&agent, "/v1/snapshot", &saved.body)).await;
    assert_eq!(ok(get(&agent, "/v1/connect/ca/roots")).await.json()["Roots"][0]["Active"], true);
    ok(get(&agent, "/v1/agent/connect/ca/leaf/web")).await;
    end(&agent).await;
}

#[tokio::test]
async fn a_damaged_file_changes_nothing() {
    let agent = named("n1").await;
    fill(&agent).await;
    let saved = ok(get(&agent, "/v1/snapshot")).await.body;
    ok(put(&agent, "/v1/kv/later", "x")).await;
    let before = seen(&agent).await;
    let revision = ok(get(&agent, "/v1/snapshot")).await.index();
    let mut files: Vec<Vec<u8>> = vec![Vec::new(), b"nonsense".to_vec()];
    for part in [1, 3, 9] {
        files.push(saved[..saved.len() * part / 10].to_vec());
        let mut flipped = saved.clone();
        flipped[saved.len() * part / 10] ^= 0x10;
        files.push(flipped);
    }
    for file in files {
        let told = put(&agent, "/v1/snapshot", &file).await;
        assert_eq!(told.status, 500, "{}", told.text());
        let text = told.text();
        let is_clear = ["failed to decompress snapshot: ", "failed to read snapshot file: "]
            .iter()
            .any(|it| text.starts_with(it));
        assert!(is_clear, "{text}");
    }
    assert_eq!(ok(get(&agent, "/v1/snapshot")).await.index(), revision);
    assert_eq!(seen(&agent).await, before);
    end(&agent).await;
}

#[tokio::test]
async fn blocked_reads_of_what_is_restored_wake() {
    let agent = named("n1").await;
    fill(&agent).await;
    let saved = ok(get(&agent, "/v1/snapshot")).await.body;
    ok(put(&agent, "/v1/kv/a/b", "other")).await;
    ok(put(&agent, "/v1/event/fire/late", "")).await;
    let mut waiting = Vec::new();
    for (path, count) in
        ["/v1/kv/a/b", "/v1/kv/a?recurse", "/v1/event/list", "/v1/kv/empty"].iter().zip(1..)
    {
        let index = ok(get(&agent, path)).await.index();
        let sign = if path.contains('?') { '&' } else { '?' };
        let path = format!("{path}{sign}index={index}&wait=10m");
        waiting.push(Waiting::start(&agent, &path, count).await);
    }
    let unchanged = waiting.pop().unwrap();
    ok(put(&agent, "/v1/snapshot", &saved)).await;
    let mut answers = Vec::new();
    for it in waiting {
        answers.push(it.answer().await);
    }
    assert_eq!(answers[0].json()[0]["Value"], "dmFsdWU=");
    assert_eq!(answers[1].json()[0]["Key"], "a/b");
    assert_eq!(answers[2].json().as_array().unwrap().len(), 1);
    // What stays as it is wakes nobody; the next write does.
    ok(put(&agent, "/v1/kv/empty", "full")).await;
    assert_eq!(unchanged.answer().await.json()[0]["Value"], "ZnVsbA==");
    end(&agent).await;
}

/// Of each writer, what it wrote before the restore is gone, and what came after it is there: all that is left is the last
/// part of what it was told is done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_among_writers_is_one_moment() {
    let agent = Arc::new(named("n1").await);
    fill(&agent).await;
    let saved = ok(get(&agent, "/v1/snapshot")).await.body;
    let is_over = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..3)
        .map(|writer| {
            let (agent, is_over) = (Arc::clone(&agent), Arc::clone(&is_over));
            tokio::spawn(async move {
                let mut count = 0_u32;
                // At least one write after the restore.
                let mut is_last = false;
                while !is_last {
                    is_last = is_over.load(Ordering::Relaxed);
                    let path = format!("/v1/kv/w{writer}/{count:06}");
                    assert_eq!(put(&agent, &path, "x").await.text(), "true");
                    count += 1;
                }
                (writer, count)
            })
        })
        .collect();
    for _ in 0..3 {
        ok(put(&agent, "/v1/snapshot", &saved)).await;
    }
    is_over.store(true, Ordering::Relaxed);
    for writer in writers {
        let (writer, count) = writer.await.unwrap();
        let keys = ok(get(&agent, &format!("/v1/kv/w{writer}/?keys"))).await.json();
        let keys: Vec<String> = serde_json::from_value(keys).unwrap();
        let first = count - u32::try_from(keys.len()).unwrap();
        let expected: Vec<String> = (first..count).map(|it| format!("w{writer}/{it:06}")).collect();
        assert_eq!(keys, expected);
        assert!(!keys.is_empty());
    }
    assert_eq!(ok(get(&agent, "/v1/kv/a/b?raw")).await.text(), "value");
    assert_eq!(ok(get(&agent, "/v1/query")).await.json().as_array().unwrap().len(), 1);
    end(&agent).await;
}

#[tokio::test]
async fn parameters_are_checked_before_anything_is_done() {
    let agent = named("n1").await;
    let told = put(&agent, "/v1/snapshot?dc=dc2", "x").await;
    assert_eq!((told.status, told.text().as_str()), (500, "No path to datacenter"));
    assert_eq!(get(&agent, "/v1/snapshot?stale&consistent").await.status, 400);
    let told = ask(agent.http.unwrap(), "POST", "/v1/snapshot", b"").await;
    assert_eq!((told.status, told.header("allow")), (405, Some("OPTIONS,GET,PUT")));
    assert_eq!(json!(ok(get(&agent, "/v1/catalog/datacenters")).await.json()), json!(["dc1"]));
    end(&agent).await;
}
