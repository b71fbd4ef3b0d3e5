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

/// An Ingress with the certificate and the key that it shows.
fn edge(certificate: &str, key: &str) -> String {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "edge"}, "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": certificate, "tls.key": key},
    });
    let backend = json!({"service": {"name": "web", "port": {"number": 80}}});
    let path = json!({"path": "/", "pathType": "Prefix", "backend": backend});
    let ingress = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "edge"},
        "spec": {
            "tls": [{"hosts": ["edge.example"], "secretName": "edge"}],
            "rules": [{"host": "edge.example", "http": {"paths": [path]}}],
        },
    });
    format!("{secret}\n---\n{ingress}\n")
}

#[tokio::test]
async fn private_keys_go_to_loopback_and_to_verified_clients_only_without_access_control() {
    let mut options = dev();
    options.compiler.ingress_https = Some(([127, 0, 0, 1], 0).into());
    let agent = Agent::start(options).await.unwrap();
    let made = rcgen::generate_simple_self_signed(["edge.example".to_owned()]).unwrap();
    let key = made.signing_key.serialize_pem();
    let text = edge(&made.cert.pem(), &key);
    let files = json!({ "files": [{ "source": "edge.yaml", "text": text }] }).to_string();
    let applied = ask(&agent, "POST", "/leno/v1/apply", files).await;
    assert_eq!(applied.status(), 200, "{applied:?}");
    let keys_for = async |name: &str, address: [u8; 4], is_verified: bool| {
        let body = follow(&agent, name, 0);
        let mut asking = request("POST", "/leno/v1/proxies/follow", body);
        asking.extensions_mut().insert(api::ClientIp(address.into()));
        if is_verified {
            asking.extensions_mut().insert(crate::door::proxies::VerifiedClient);
        }
        let answer = timeout(HANG, agent.door.answer(asking)).await.expect("an answer comes");
        let secrets = proxy_config::receive(answer.body()).unwrap().config.secrets;
        assert_eq!(secrets.len(), 1, "{secrets:?}");
        secrets.values().all(|it| it.private_key.0.trim() == key.trim())
    };
    assert!(keys_for("here", [127, 0, 0, 1], false).await);
    assert!(keys_for("known", [10, 0, 0, 8], true).await);
    assert!(!keys_for("stranger", [10, 0, 0, 9], false).await);
    let rows = json_of(&ask(&agent, "GET", "/leno/v1/proxies", "").await);
    let row = rows.as_array().unwrap().iter().find(|it| it["name"] == "stranger").unwrap();
    assert!(row["trouble"].as_str().unwrap().starts_with("private keys are withheld"), "{row}");
    end(&agent).await;
}
