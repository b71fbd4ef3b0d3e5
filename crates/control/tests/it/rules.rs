//! Rules about who may ask what, for the endpoints that the agent's shell answers itself.

use control::agent::{AgentOptions, ApiSettings, Network};

use crate::client::{ask, end, get, put, start};

/// Endpoints that are not `api`'s.
const SHELL: &[(&str, &str)] = &[
    ("PUT", "/v1/agent/leave"),
    ("PUT", "/v1/agent/reload"),
    ("PUT", "/v1/snapshot"),
    ("POST", "/leno/v1/apply"),
    ("POST", "/leno/v1/delete"),
];

#[tokio::test]
async fn blocked_endpoints_are_blocked_whoever_would_answer_them() {
    let blocked = ["/v1/agent", "/v1/snapshot", "/leno/v1", "/metrics"];
    let blocked_paths = blocked.map(str::to_owned).to_vec();
    let api = ApiSettings { blocked_paths, ..ApiSettings::default() };
    let agent = start(AgentOptions { api, ..AgentOptions::default() }).await;
    let http = agent.http.unwrap();
    let reads = [
        ("GET", "/v1/agent/metrics"),
        ("GET", "/v1/agent/monitor"),
        ("GET", "/v1/agent/metrics/stream"),
        ("GET", "/v1/agent/host"),
        ("GET", "/v1/snapshot"),
        ("GET", "/leno/v1/documents"),
        ("GET", "/metrics"),
    ];
    for (method, path) in SHELL.iter().chain(&reads) {
        let told = ask(http, method, path, b"").await;
        let text = "Endpoint is blocked by agent configuration";
        assert_eq!((told.status, told.text().as_str()), (403, text), "{method} {path}");
    }
    assert_eq!(get(&agent, "/v1/catalog/nodes").await.status, 200);
    end(&agent).await;
}

#[tokio::test]
async fn writes_from_elsewhere_are_refused_whoever_would_answer_them() {
    let elsewhere = Network { ip: "10.0.0.0".parse().unwrap(), bits: 8 };
    let api = ApiSettings { write_networks: vec![elsewhere], ..ApiSettings::default() };
    let agent = start(AgentOptions { api, ..AgentOptions::default() }).await;
    let http = agent.http.unwrap();
    for (method, path) in SHELL {
        let told = ask(http, method, path, b"").await;
        assert_eq!((told.status, told.text().as_str()), (403, "Access is restricted"), "{path}");
    }
    assert_eq!(put(&agent, "/v1/kv/a", "x").await.status, 403);
    for path in ["/v1/snapshot", "/v1/agent/host", "/leno/v1/documents", "/metrics"] {
        assert_eq!(get(&agent, path).await.status, 200, "{path}");
    }
    end(&agent).await;
}
