//! `/v1/agent/connect/ca/leaf/:service`: the certificate of a service.

use std::time::{Duration, Instant};

use control::agent::{Agent, AgentOptions, ApiSettings};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use serde_json::{Value, json};

use crate::client::{HANG, ask, end, get, put, start};

async fn agent() -> Agent {
    start(AgentOptions::default()).await
}

async fn leaf(agent: &Agent, path: &str) -> Value {
    let answer = get(agent, &format!("/v1/agent/connect/ca/leaf/{path}")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(
        answer.header("x-consul-index"),
        Some(answer.json()["ModifyIndex"].to_string()).as_deref()
    );
    answer.json()
}

/// Gives the mesh another root.
async fn rotate(agent: &Agent) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let config = json!({"RootCert": certificate.pem(), "PrivateKey": key.serialize_pem()});
    let body = json!({ "Config": config }).to_string();
    let told = put(agent, "/v1/connect/ca/configuration", body).await;
    assert_eq!(told.status, 200, "{}", told.text());
}

#[tokio::test]
async fn a_service_has_the_same_certificate_until_it_is_renewed() {
    let agent = agent().await;
    let first = leaf(&agent, "web").await;
    assert_eq!(leaf(&agent, "web").await, first);
    let other = leaf(&agent, "db").await;
    assert_ne!(other["SerialNumber"], first["SerialNumber"]);
    let uri = first["ServiceURI"].as_str().unwrap();
    let domain = get(&agent, "/v1/connect/ca/roots").await.json()["TrustDomain"].clone();
    let expected = format!("spiffe://{}/ns/default/dc/dc1/svc/web", domain.as_str().unwrap());
    assert_eq!((uri, &first["Service"]), (expected.as_str(), &"web".into()));
    assert!(first["ValidAfter"].as_str() < first["ValidBefore"].as_str());
    assert!(first["CertPEM"].as_str().unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
    assert!(first["PrivateKeyPEM"].as_str().unwrap().contains("PRIVATE KEY"));
    end(&agent).await;
}

#[tokio::test]
async fn another_root_means_another_certificate_and_wakes_who_waits() {
    let agent = agent().await;
    let first = leaf(&agent, "web").await;
    let index = first["ModifyIndex"].as_u64().unwrap();
    let (http, path) =
        (agent.http.unwrap(), format!("/v1/agent/connect/ca/leaf/web?index={index}&wait=10m"));
    let mut waiting = tokio::spawn(async move { ask(http, "GET", &path, b"").await });
    // Other writes are no news.
    put(&agent, "/v1/kv/a", "x").await;
    assert_eq!(leaf(&agent, "web").await, first);
    assert!(!waiting.is_finished());
    rotate(&agent).await;
    let woken = tokio::time::timeout(HANG, &mut waiting).await.expect("it wakes").unwrap().json();
    assert_ne!(woken["SerialNumber"], first["SerialNumber"]);
    assert!(woken["ModifyIndex"].as_u64() > Some(index));
    assert_eq!(leaf(&agent, "web").await, woken);
    // The trust domain is that of the mesh, whoever signs.
    assert_eq!(woken["ServiceURI"], first["ServiceURI"]);
    let roots = get(&agent, "/v1/connect/ca/roots").await.json();
    assert_eq!(roots["Roots"].as_array().unwrap().len(), 2);
    end(&agent).await;
}

#[tokio::test]
async fn who_waits_gets_the_same_certificate_when_the_time_is_over_and_when_the_agent_ends() {
    let agent = agent().await;
    let first = leaf(&agent, "web").await;
    let index = first["ModifyIndex"].as_u64().unwrap();
    assert_eq!(leaf(&agent, &format!("web?index={index}&wait=20ms")).await, first);
    let (http, path) =
        (agent.http.unwrap(), format!("/v1/agent/connect/ca/leaf/web?index={index}&wait=10m"));
    let waiting = tokio::spawn(async move { ask(http, "GET", &path, b"").await });
    // Its connection is accepted before that of this request is answered, or in any case served to its end.
    leaf(&agent, "db").await;
    let began = Instant::now();
    end(&agent).await;
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    if let Ok(answer) = waiting.await {
        assert_eq!(answer.json(), first);
    }
}

#[tokio::test]
async fn names_that_no_certificate_can_carry_are_refused() {
    let agent = agent().await;
    assert_eq!(get(&agent, "/v1/agent/connect/ca/leaf/").await.status, 400);
    let told = get(&agent, "/v1/agent/connect/ca/leaf/%C3%A9").await;
    assert!(told.status == 500 || told.status == 200, "{}", told.text());
    end(&agent).await;
}

#[tokio::test]
async fn without_a_mesh_there_are_no_certificates() {
    let api = ApiSettings { connect: false, ..ApiSettings::default() };
    let agent = start(AgentOptions { api, ..AgentOptions::default() }).await;
    for path in
        ["/v1/agent/connect/ca/leaf/web", "/v1/connect/ca/roots", "/v1/agent/connect/ca/roots"]
    {
        let told = get(&agent, path).await;
        let text = "Connect must be enabled in order to use this endpoint";
        assert_eq!((told.status, told.text().as_str()), (500, text));
    }
    end(&agent).await;
}
