//! Access control of an agent that was configured with it.

use std::process::Output;

use serde_json::{Value, json};

use crate::support::{Agent, eventually, leno, request, text};

const ROOT: &str = "the secret of the first token";

/// An agent with access control, and the folder of its configuration.
fn guarded() -> (Agent, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("agent.json");
    let config = json!({
        "acl": {
            "enabled": true,
            "default_policy": "deny",
            "tokens": {"master": ROOT},
        },
    });
    std::fs::write(&file, config.to_string()).expect("it can be written");
    let agent = Agent::dev(&["--config-file", file.to_str().expect("a readable path")]);
    (agent, folder)
}

fn cli(agent: &Agent, arguments: &[&str], variable: Option<(&str, &str)>) -> Output {
    let mut command = leno();
    command.args(arguments).env("LENO_HTTP_ADDR", agent.http.to_string());
    if let Some((name, value)) = variable {
        command.env(name, value);
    }
    command.output().expect("the binary runs")
}

fn ask(agent: &Agent, secret: &str, method: &str, path: &str, body: &str) -> (u16, Value) {
    let headers = [("Host", "agent"), ("X-Consul-Token", secret)];
    let answer = request(agent.http, &headers, method, path, body.as_bytes());
    let value = serde_json::from_str(&answer.body).unwrap_or(Value::String(answer.body));
    (answer.status, value)
}

#[test]
fn commands_ask_with_a_token_and_say_when_it_is_missing() {
    let (agent, _folder) = guarded();
    let output = cli(&agent, &["kv", "put", "a", "1"], None);
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(errors.contains("lacks permission 'key:write' on \"a\""), "{errors}");
    assert!(errors.contains("--token or LENO_HTTP_TOKEN"), "{errors}");
    let flag = cli(&agent, &["kv", "put", "a", "1", "--token", ROOT], None);
    assert!(flag.status.success(), "{}", text(&flag.stderr));
    for variable in ["LENO_HTTP_TOKEN", "CONSUL_HTTP_TOKEN"] {
        let output = cli(&agent, &["kv", "get", "a"], Some((variable, ROOT)));
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), "1\n".to_owned()));
        let output = cli(&agent, &["services", "-o", "json"], Some((variable, ROOT)));
        assert!(text(&output.stdout).contains("consul"), "{}", text(&output.stderr));
    }
    let wrong = cli(&agent, &["members", "--token", "wrong"], Some(("LENO_HTTP_TOKEN", ROOT)));
    assert!(text(&wrong.stderr).contains("ACL not found"), "the flag wins");
    assert!(!text(&wrong.stderr).contains(ROOT));
}

#[test]
fn a_service_gets_a_token_registers_itself_and_is_found_by_who_may() {
    let (agent, _folder) = guarded();
    let body = json!({"ServiceIdentities": [{"ServiceName": "web"}]}).to_string();
    let (status, token) = ask(&agent, ROOT, "PUT", "/v1/acl/token", &body);
    assert_eq!(status, 200, "{token}");
    let secret = token["SecretID"].as_str().expect("a secret").to_owned();
    let register = r#"{"Name":"web","Port":80,"Address":"10.0.0.5"}"#;
    assert_eq!(ask(&agent, &secret, "PUT", "/v1/agent/service/register", register).0, 200);
    let other = r#"{"Name":"db","Port":80}"#;
    assert_eq!(ask(&agent, &secret, "PUT", "/v1/agent/service/register", other).0, 403);
    let (_, found) = ask(&agent, &secret, "GET", "/v1/health/service/web", "");
    assert_eq!(found.as_array().map(Vec::len), Some(1));
    let (_, hidden) = ask(&agent, "", "GET", "/v1/health/service/web", "");
    assert_eq!(hidden, json!([]));
    // DNS answers as the anonymous token may see, until the agent has a token for it.
    let dns = agent.dns.expect("the agent serves DNS");
    assert!(!resolves(dns), "it is hidden");
    let body = json!({ "Token": secret }).to_string();
    assert_eq!(ask(&agent, ROOT, "PUT", "/v1/agent/token/dns", &body).0, 200);
    eventually("DNS finds the service", || resolves(dns));
}

/// True if DNS has an address of `web`: a question of type A, and a look at the number of answers.
fn resolves(dns: std::net::SocketAddr) -> bool {
    let mut question = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in ["web", "service", "consul"] {
        question.push(u8::try_from(label.len()).expect("short"));
        question.extend(label.as_bytes());
    }
    question.extend([0, 0, 1, 0, 1]);
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_read_timeout(Some(crate::support::HANG)).expect("a timeout can be set");
    socket.send_to(&question, dns).expect("it can be sent");
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer).expect("an answer comes");
    assert!(length > 12);
    answer[6..8] != [0, 0]
}

#[test]
fn no_secret_is_in_the_log() {
    let (mut agent, _folder) = guarded();
    ask(&agent, ROOT, "PUT", "/v1/kv/a", "1");
    let body = json!({"Token": "another secret"}).to_string();
    ask(&agent, ROOT, "PUT", "/v1/agent/token/default", &body);
    agent.signal("TERM");
    agent.exit_code();
    while agent.read_log_until("\n") {}
    let log = agent.log.join("\n");
    assert!(!log.contains(ROOT) && !log.contains("another secret"), "{log}");
}
