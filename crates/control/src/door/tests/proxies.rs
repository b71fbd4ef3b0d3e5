use super::*;
use crate::fleet::Follow;

fn follow(agent: &Agent, name: &str, taken: u64) -> String {
    let life = agent.compilation.fleet().life().to_owned();
    let (name, own) = (name.to_owned(), "1".to_owned());
    let ask = Follow { name, life: own, agent: life, taken, at: taken, ..Follow::default() };
    serde_json::to_string(&ask).unwrap()
}

async fn asked(agent: &Agent, name: &str, taken: u64) -> Response<Bytes> {
    ask(agent, "POST", "/leno/v1/proxies/follow", follow(agent, name, taken)).await
}

fn revision_in(answer: &Response<Bytes>) -> u64 {
    assert_eq!(answer.status(), 200, "{answer:?}");
    proxy_config::receive(answer.body()).unwrap().config.revision.0
}

async fn register(agent: &Agent, name: &str) {
    let body = json!({ "Name": name }).to_string();
    assert_eq!(ask(agent, "PUT", "/v1/agent/service/register", body).await.status(), 200);
}

async fn until_behind(agent: &Agent, expected: u64) {
    let behind = async {
        loop {
            let rows = json_of(&ask(agent, "GET", "/leno/v1/proxies", "").await);
            if rows[0]["behind"] == expected {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(HANG, behind).await.expect("it is so far behind");
}

#[tokio::test]
async fn a_proxy_elsewhere_gets_each_configuration_that_changes_something_for_it() {
    let agent = agent().await;
    let first = asked(&agent, "edge", 0).await;
    let taken = revision_in(&first);
    let other = asked(&agent, "other", 0).await;
    assert_eq!(first.body().as_ptr(), other.body().as_ptr(), "it is written once for all");
    let door = Arc::clone(&agent.door);
    let body = follow(&agent, "edge", taken);
    let waiting =
        tokio::spawn(
            async move { door.answer(request("POST", "/leno/v1/proxies/follow", body)).await },
        );
    until_behind(&agent, 0).await;
    // Nothing of this concerns a proxy, so who has the configuration before has this one.
    assert_eq!(ask(&agent, "PUT", "/v1/kv/a", "1").await.status(), 200);
    until_behind(&agent, 0).await;
    assert!(!waiting.is_finished());
    register(&agent, "web").await;
    let next = timeout(HANG, waiting).await.expect("it wakes").unwrap();
    assert!(revision_in(&next) > taken);
    let config = proxy_config::receive(next.body()).unwrap().config;
    assert!(config.clusters.keys().any(|it| it.starts_with("web")), "{:?}", config.clusters.keys());
    end(&agent).await;
}

#[tokio::test]
async fn a_proxy_that_waits_is_answered_when_the_agent_ends_or_another_takes_its_name() {
    let agent = agent().await;
    let taken = revision_in(&asked(&agent, "edge", 0).await);
    let wait = |life: &str| {
        let body = follow(&agent, "edge", taken);
        let body = body.replace("\"life\":\"1\"", &format!("\"life\":\"{life}\""));
        let door = Arc::clone(&agent.door);
        tokio::spawn(
            async move { door.answer(request("POST", "/leno/v1/proxies/follow", body)).await },
        )
    };
    let first = wait("1");
    until_behind(&agent, 0).await;
    let second = wait("2");
    assert_eq!(timeout(HANG, first).await.unwrap().unwrap().status(), 204);
    let refused = asked(&agent, "edge", taken).await;
    assert_eq!(refused.status(), 409);
    end(&agent).await;
    assert_eq!(timeout(HANG, second).await.unwrap().unwrap().status(), 204);
}

#[tokio::test]
async fn what_is_not_a_message_is_refused() {
    let agent = agent().await;
    let bad = ask(&agent, "POST", "/leno/v1/proxies/follow", "{").await;
    assert_eq!(bad.status(), 400);
    assert_eq!(asked(&agent, "a b", 0).await.status(), 400);
    let gone = ask(&agent, "POST", "/leno/v1/proxies/report", r#"{"name":"x","life":"1"}"#).await;
    assert_eq!(gone.status(), 410);
    assert_eq!(ask(&agent, "GET", "/leno/v1/proxies/follow", "").await.status(), 405);
    let mut of_page = request("POST", "/leno/v1/proxies/report", "{}");
    of_page.headers_mut().insert("origin", "http://evil.example".parse().unwrap());
    assert_eq!(agent.door.answer(of_page).await.status(), 403);
    end(&agent).await;
}
