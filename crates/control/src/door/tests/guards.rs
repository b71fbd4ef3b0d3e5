use super::*;

const ROLLOUT: &str = "apiVersion: leno.dev/v1\nkind: Rollout\nmetadata: {name: web}\nspec: {service: web, version: v1}\n";

fn guarded(text: &str, guard: &str) -> String {
    let files = json!([{ "source": "0.yaml", "text": text }]);
    json!({ "files": files, "guard": guard }).to_string()
}

#[tokio::test]
async fn guards_are_listed_without_the_documents() {
    let agent = agent().await;
    let guards = |query: &str| {
        let target = format!("/leno/v1/guards{query}");
        let agent = &agent;
        async move { ask(agent, "GET", &target, "").await }
    };
    assert_eq!(json_of(&guards("").await), json!([]));
    let answer = ask(&agent, "POST", "/leno/v1/apply", guarded(&service(80), "60s")).await;
    let id = json_of(&answer)["guards"][0]["id"].clone();
    for query in [String::new(), format!("?id={id}")] {
        let found = json_of(&guards(&query).await);
        assert_eq!((&found[0]["id"], &found[0]["state"]), (&id, &json!("watching")), "{found:#}");
    }
    assert_eq!(json_of(&guards("?id=99").await), json!([]));
    assert_eq!(guards("?id=last").await.status(), 400);
    end(&agent).await;
}

#[tokio::test]
async fn a_guard_that_is_no_time_is_a_bad_request() {
    let agent = agent().await;
    for target in ["/leno/v1/apply", "/leno/v1/delete"] {
        for guard in ["soon", "1ms", "2h"] {
            let answer = ask(&agent, "POST", target, guarded(&service(80), guard)).await;
            assert_eq!(answer.status(), 400, "{answer:?}");
            assert_eq!(json_of(&answer)["errors"][0]["field"], "guard");
        }
    }
    end(&agent).await;
}

#[tokio::test]
async fn a_rollout_is_not_guarded_and_that_is_said() {
    let agent = agent().await;
    let answer = ask(&agent, "POST", "/leno/v1/apply", guarded(ROLLOUT, "60s")).await;
    assert_eq!(answer.status(), 200, "{answer:?}");
    let report = json_of(&answer);
    assert!(report["guards"].is_null(), "{report:#}");
    let note = &report["documents"][0]["guard"];
    assert_eq!(note["text"], "not guarded: its rollout judges its versions by itself");
    end(&agent).await;
}

#[tokio::test]
async fn guarded_changes_of_one_document_at_the_same_time_are_made_one_after_another() {
    let agent = agent().await;
    let apply = |port| {
        let door = Arc::clone(&agent.door);
        let body = guarded(&service(port), "60s");
        tokio::spawn(async move { door.answer(request("POST", "/leno/v1/apply", body)).await })
    };
    let applied: Vec<_> = (80..84).map(apply).collect();
    for it in applied {
        let answer = timeout(HANG, it).await.expect("an answer comes").expect("it does not panic");
        assert_eq!(answer.status(), 200, "{answer:?}");
    }
    end(&agent).await;
}

#[tokio::test]
async fn the_documents_of_a_guard_are_stored_apart_and_go_with_it() {
    let agent = agent().await;
    let stored = |prefix: &str| -> Vec<String> {
        let catalog = agent.mesh.catalog();
        let found = catalog.records_under::<model::Setting>(prefix);
        found.map(|it| it.value.body.to_string()).collect()
    };
    ask(&agent, "POST", "/leno/v1/apply", guarded(&service(80), "60s")).await;
    let (state, changes) = (stored("guards/"), stored("guard-changes/"));
    assert_eq!((state.len(), changes.len()), (1, 1));
    assert!(!state[0].contains("selector"), "{state:?}");
    assert!(changes[0].contains("selector"), "{changes:?}");
    ask(&agent, "POST", "/leno/v1/delete", guarded(&service(80), "off")).await;
    let mut revisions = agent.mesh.revisions();
    let gone = revisions.wait_for(|_| stored("guard-changes/").is_empty());
    assert!(timeout(HANG, gone).await.is_ok(), "they stay: {:?}", stored("guards/"));
    end(&agent).await;
}
