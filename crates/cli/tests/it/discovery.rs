//! Programs that look for services in Consul, and find those of an agent.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::Command;

use serde_json::{Value, json};

use crate::program::{Program, echo, free_port};
use crate::support::{Agent, Answer, eventually, peer, request};

fn register(agent: &Agent, service: Value) {
    let answer = agent.ask("PUT", "/v1/agent/service/register", &service.to_string());
    assert_eq!(answer.status, 200, "{answer:?}");
}

fn deregister(agent: &Agent, id: &str) {
    let answer = agent.ask("PUT", &format!("/v1/agent/service/deregister/{id}"), "");
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// A Prometheus that looks for services with the tag `metrics`, and keeps of what it learns about them.
fn prometheus(agent: &Agent, folder: &std::path::Path) -> Option<(Program, SocketAddr)> {
    let binary = peer("prometheus")?;
    let configuration = format!(
        r#"scrape_configs:
- job_name: mesh
  scrape_interval: 1s
  consul_sd_configs:
  - server: {}
    tags: [metrics]
    refresh_interval: 1s
  relabel_configs:
  - {{source_labels: [__meta_consul_service_metadata_path], target_label: __metrics_path__}}
  - {{source_labels: [__meta_consul_service], target_label: service}}
  - {{source_labels: [__meta_consul_service_id], target_label: id}}
  - {{source_labels: [__meta_consul_tags], target_label: tags}}
  - {{source_labels: [__meta_consul_node], target_label: node}}
  - {{source_labels: [__meta_consul_dc], target_label: datacenter}}
  - {{source_labels: [__meta_consul_health], target_label: verdict}}
"#,
        agent.http
    );
    let file = folder.join("prometheus.yml");
    std::fs::write(&file, configuration).expect("it can be written");
    let mut program = Program::start(
        Command::new(binary)
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg("--web.listen-address=127.0.0.1:0"),
    );
    let line = program.says("Listening on");
    let address = line.split(['=', ' ']).find_map(|it| it.parse().ok());
    Some((program, address.expect("it says where it listens")))
}

/// What Prometheus has found, and whether it could read metrics there: `[id, address, verdict, health]`.
fn targets(prometheus: SocketAddr) -> BTreeSet<[String; 4]> {
    let answer = request(prometheus, &[("Host", "a")], "GET", "/api/v1/targets?state=active", b"");
    let answer = answer.json();
    let targets = answer["data"]["activeTargets"].as_array().expect("a list").iter();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    targets
        .map(|it| {
            let labels = &it["labels"];
            let claims = [&labels["id"], &labels["instance"], &labels["verdict"], &it["health"]];
            claims.map(text)
        })
        .collect()
}

#[test]
fn prometheus_reads_the_metrics_of_services_as_they_come_and_go() {
    let agent = Agent::dev(&[]);
    let folder = tempfile::tempdir().expect("a folder");
    let Some((mut program, address)) = prometheus(&agent, folder.path()) else { return };
    let admin = agent.admin.expect("the agent has a proxy");
    let follows = |program: &mut Program, what: &str, expected: &[[&str; 4]]| {
        let expected = expected.iter().map(|it| it.map(str::to_owned)).collect();
        let mut last = BTreeSet::new();
        let began = std::time::Instant::now();
        while last != expected {
            let log =
                if began.elapsed() < crate::support::HANG { None } else { Some(program.log()) };
            assert!(log.is_none(), "{what}: {last:?}\n{}", log.unwrap_or_default());
            std::thread::sleep(std::time::Duration::from_millis(50));
            last = targets(address);
        }
    };
    let (http_text, admin_text) = (agent.http.to_string(), admin.to_string());
    let instance = |id: &str, at: SocketAddr, path: &str| {
        json!({
            "Name": "leno", "ID": id, "Address": "127.0.0.1", "Port": at.port(),
            "Tags": ["metrics", "v1"], "Meta": {"path": path},
            "Check": {"TTL": "10m", "Status": "passing"},
        })
    };
    register(&agent, instance("agent", agent.http, "/metrics"));
    register(&agent, json!({"Name": "other", "Port": 1, "Tags": ["no-metrics"]}));
    let first = ["agent", http_text.as_str(), "passing", "up"];
    follows(&mut program, "the first instance is found and read", &[first]);
    let answer = request(address, &[("Host", "a")], "GET", "/api/v1/query?query=up", b"").json();
    let labels = &answer["data"]["result"][0]["metric"];
    assert_eq!(labels["service"], "leno", "{answer}");
    assert_eq!(labels["tags"], ",metrics,v1,", "{answer}");
    assert_eq!((&labels["node"], &labels["datacenter"]), (&json!("test"), &json!("dc1")));

    register(&agent, instance("proxy", admin, "/stats/prometheus"));
    let second = ["proxy", admin_text.as_str(), "passing", "up"];
    follows(&mut program, "the second instance is found and read", &[first, second]);
    let failed = agent.ask("PUT", "/v1/agent/check/fail/service:proxy", "");
    assert_eq!(failed.status, 200, "{failed:?}");
    let critical = ["proxy", admin_text.as_str(), "critical", "up"];
    follows(&mut program, "a failed check is told", &[first, critical]);
    deregister(&agent, "agent");
    follows(&mut program, "what was deregistered is gone", &[critical]);
    deregister(&agent, "proxy");
    follows(&mut program, "the whole service is gone", &[]);
}

/// A Traefik that routes to services of the agent, and where it listens.
fn traefik(agent: &Agent, watches: bool) -> Option<(Program, SocketAddr)> {
    let binary = peer("traefik")?;
    let port = free_port();
    let provider = |name: &str, value: &str| format!("--providers.consulCatalog.{name}={value}");
    let program = Program::start(
        Command::new(binary)
            .arg(format!("--entryPoints.web.address=127.0.0.1:{port}"))
            .arg(provider("endpoint.address", &agent.http.to_string()))
            .arg(provider("refreshInterval", "1s"))
            .arg(provider("exposedByDefault", "false"))
            .arg(provider("watch", if watches { "true" } else { "false" }))
            .arg("--providers.providersThrottleDuration=100ms")
            .args(["--global.checkNewVersion=false", "--global.sendAnonymousUsage=false"])
            .arg("--log.level=INFO"),
    );
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    eventually("Traefik listens", || std::net::TcpStream::connect(address).is_ok());
    Some((program, address))
}

fn shop(id: &str, at: SocketAddr) -> Value {
    json!({
        "Name": "shop", "ID": id, "Address": "127.0.0.1", "Port": at.port(),
        "Tags": [
            "traefik.enable=true",
            "traefik.http.routers.shop.rule=Host(`shop.test`) && PathPrefix(`/cart`)",
            "traefik.http.routers.shop.entrypoints=web",
        ],
        "Check": {"HTTP": format!("http://{at}/health"), "Interval": "100ms", "Timeout": "2s"},
    })
}

fn ask_shop(traefik: SocketAddr, path: &str) -> Answer {
    request(traefik, &[("Host", "shop.test")], "GET", path, b"")
}

/// Who answers requests through Traefik, by so many of them; a failed request answers as its status.
fn answering(traefik: SocketAddr, requests: usize) -> BTreeSet<String> {
    (0..requests)
        .map(|_| ask_shop(traefik, "/cart/1"))
        .map(|answer| match answer.status {
            200 => answer.json()["name"].as_str().expect("a name").to_owned(),
            status => status.to_string(),
        })
        .collect()
}

fn traefik_follows(watches: bool) {
    let agent = Agent::dev(&[]);
    let Some((_traefik, address)) = traefik(&agent, watches) else { return };
    assert_eq!(ask_shop(address, "/cart/1").status, 404, "there is no route yet");
    let answers = |what: &str, names: &[&str]| {
        let expected: BTreeSet<String> = names.iter().map(|it| (*it).to_owned()).collect();
        eventually(what, || answering(address, 10) == expected);
    };
    let (_one, first) = echo("one");
    register(&agent, shop("shop-1", first));
    answers("the first instance answers", &["one"]);
    assert_eq!(ask_shop(address, "/other").status, 404, "the rule of the tag holds");
    let (_two, second) = echo("two");
    register(&agent, shop("shop-2", second));
    answers("both instances answer", &["one", "two"]);
    deregister(&agent, "shop-1");
    answers("the second instance answers alone", &["two"]);
    assert_eq!(answering(address, 100), BTreeSet::from(["two".to_owned()]));
    let hidden =
        json!({"Name": "shop", "ID": "hidden", "Address": "127.0.0.1", "Port": first.port()});
    register(&agent, hidden);
    request(second, &[("Host", "a")], "PUT", "/health?status=fail", b"");
    eventually("an instance whose check fails is not asked", || {
        ask_shop(address, "/cart/1").status != 200
    });
}

#[test]
fn traefik_routes_to_services_by_their_tags_when_it_polls() {
    traefik_follows(false);
}

#[test]
fn traefik_routes_to_services_by_their_tags_when_it_waits_for_changes() {
    traefik_follows(true);
}
