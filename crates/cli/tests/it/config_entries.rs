//! Configuration entries that are written through Consul's API, and where requests go then.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::program::{Program, echo_of_version};
use crate::support::{Agent, Answer, eventually, request, text};

/// Two versions of `web` and one of `api`, registered.
struct Services {
    agent: Agent,
    mesh: SocketAddr,
    _programs: Vec<Program>,
    api: Value,
}

impl Services {
    fn start() -> Self {
        let agent = Agent::dev(&[]);
        let mesh = agent.mesh.expect("the agent has a mesh listener");
        let mut services = Self { agent, mesh, _programs: Vec::new(), api: Value::Null };
        for (name, version) in [("web", "1"), ("web", "2"), ("api", "1")] {
            let (program, address) = echo_of_version(name, version);
            services._programs.push(program);
            let instance = json!({
                "Name": name, "ID": format!("{name}-{version}"),
                "Address": address.ip().to_string(), "Port": address.port(),
                "Meta": {"version": version},
            });
            services.put("/v1/agent/service/register", &instance);
            if name == "api" {
                services.api = instance;
            }
        }
        services
    }

    fn put(&self, path: &str, body: &Value) {
        let answer = self.agent.ask("PUT", path, &body.to_string());
        assert_eq!(answer.status, 200, "{body}: {answer:?}");
    }

    fn write(&self, entry: &Value) {
        self.put("/v1/config", entry);
    }

    fn ask(&self, host: &str, path: &str) -> Answer {
        request(self.mesh, &[("Host", host)], "GET", path, b"")
    }

    /// Who answers: `name version path`, or the status.
    fn who(&self, host: &str, path: &str) -> String {
        let answer = self.ask(host, path);
        if answer.status != 200 {
            return answer.status.to_string();
        }
        let said = answer.json();
        let word = |field: &str| said[field].as_str().unwrap_or_default().to_owned();
        format!("{} {} {}", word("name"), word("version"), word("path"))
    }

    /// Waits until `leno explain` names an entry.
    fn explained(&self, host: &str, entry: &str) {
        let admin = self.agent.admin.expect("the agent has a proxy").to_string();
        let url = format!("http://{host}/");
        eventually(&format!("{entry} is in effect"), || {
            let shown = self.agent.cli(&["explain", "--proxy-admin", &admin, &url]);
            text(&shown.stdout).contains(&format!("from {entry} @ revision"))
        });
    }
}

#[test]
fn entries_written_through_the_api_decide_where_requests_through_the_mesh_go() {
    let mut services = Services::start();
    for name in ["web", "api", "old"] {
        services.write(&json!({"Kind": "service-defaults", "Name": name, "Protocol": "http"}));
    }
    services.write(&json!({
        "Kind": "service-resolver", "Name": "web",
        "Subsets": {
            "v1": {"Filter": "Service.Meta.version == 1"},
            "v2": {"Filter": "Service.Meta.version == 2"},
        },
    }));
    services.write(&json!({
        "Kind": "service-splitter", "Name": "web",
        "Splits": [{"Weight": 90, "ServiceSubset": "v1"}, {"Weight": 10, "ServiceSubset": "v2"}],
    }));
    services.explained("web", "service-splitter/web");
    let mut of_two = 0;
    for _ in 0..2000 {
        match services.who("web", "/").as_str() {
            "web 1 /" => {}
            "web 2 /" => of_two += 1,
            other => panic!("{other}"),
        }
    }
    // A tenth is 200, with a standard deviation of 13.4: six of them to either side.
    assert!((120..=280).contains(&of_two), "{of_two} of 2000 went to version 2");

    services.write(&json!({
        "Kind": "service-router", "Name": "web",
        "Routes": [
            {
                "Match": {"HTTP": {"PathPrefix": "/api/"}},
                "Destination": {
                    "Service": "api", "PrefixRewrite": "/",
                    "RequestHeaders": {"Set": {"X-Through": "router"}},
                    "ResponseHeaders": {"Set": {"X-Back": "router"}},
                },
            },
            {
                "Match": {"HTTP": {"Header": [{"Name": "X-New", "Present": true}]}},
                "Destination": {"ServiceSubset": "v2"},
            },
        ],
    }));
    services.explained("web", "service-router/web");
    assert_eq!(services.who("web", "/api/users"), "api 1 /users");
    let answer = services.ask("web.service.consul", "/api/users");
    assert_eq!(answer.json()["headers"]["x-through"], "router", "{answer:?}");
    assert_eq!(answer.header("x-back"), Some("router"));
    for _ in 0..20 {
        let answer = request(services.mesh, &[("Host", "web"), ("X-New", "1")], "GET", "/", b"");
        assert_eq!(answer.json()["version"], "2", "{answer:?}");
    }

    services.write(&json!({
        "Kind": "service-resolver", "Name": "old",
        "Redirect": {"Service": "web", "ServiceSubset": "v2"},
    }));
    services.explained("old", "service-resolver/old");
    assert_eq!(services.who("old", "/x"), "web 2 /x");

    services.write(&json!({
        "Kind": "service-resolver", "Name": "api", "PrioritizeByLocality": {"Mode": "failover"},
        "Failover": {"*": {"Service": "web", "ServiceSubset": "v1"}},
    }));
    services.explained("api", "service-resolver/api");
    assert!(services.agent.read_log_until("PrioritizeByLocality"), "what is not honored is logged");
    for _ in 0..20 {
        assert_eq!(services.who("api", "/y"), "api 1 /y");
    }
    services.put("/v1/agent/service/deregister/api-1", &Value::Null);
    eventually("requests fail over", || services.who("api", "/y") == "web 1 /y");
    services.put("/v1/agent/service/register", &services.api);
    eventually("requests come back", || services.who("api", "/y") == "api 1 /y");
}
