//! The stage: an agent in memory, a proxy, and three supervised copies of `leno echo`.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use bytes::Bytes;
use control::agent::{AgentOptions, CompilerSettings};
use control::supervisor::{Event, Supervised};
use http::{Method, StatusCode};
use model::{
    Check, CheckDefinition, CheckStatus, Folded, Instance, NodeName, Origin, ServiceId, Weights,
};
use proxy::ProxyOptions;
use runtime::ChildSpec;
use serde_json::Value;

use super::report::Report;
use crate::args::DemoArguments;
use crate::client::{get_json, send};
use crate::node::Node;

/// The copies, in the order of their weights 1, 2 and 3.
pub(crate) const COPIES: [&str; 3] = ["echo-1", "echo-2", "echo-3"];
/// Name of the service.
pub(crate) const SERVICE: &str = "echo";
/// Name of the agent's node.
const NODE: &str = "demo";
/// How often a copy is probed.
const PROBE_INTERVAL: Duration = Duration::from_millis(250);
/// How long anything that the demo waits for may take.
const PATIENCE: Duration = Duration::from_secs(15);

pub(crate) struct Stage {
    pub(crate) node: Node,
    ports: Vec<u16>,
}

impl Stage {
    pub(crate) async fn set(
        arguments: &DemoArguments,
        report: &mut Report,
    ) -> anyhow::Result<Self> {
        let any = arguments.any_ports;
        let at = |port| place(port, any);
        let (http, dns) = (at(8500), at(8600));
        let compiler = CompilerSettings {
            ingress_http: Some(at(10_000)),
            ingress_https: None,
            outbound: Some(at(15_001)),
            ..CompilerSettings::default()
        };
        let agent = AgentOptions {
            http: Some(http),
            dns: Some(dns),
            node_name: NODE.into(),
            compiler,
            ..AgentOptions::default()
        };
        let proxy = ProxyOptions {
            workers: 1,
            admin: Some(at(15_000)),
            seed: Some(arguments.seed),
            ..ProxyOptions::default()
        };
        report.heading("Starting an agent in memory, and three copies of a service");
        let node = Node::start(agent, proxy).await?;
        let stage = Self { node, ports: free_ports(COPIES.len())? };
        for (copy, port) in COPIES.iter().zip(&stage.ports) {
            stage.node.agent.supervisor.supervise(supervised(copy, *port)?);
        }
        let began = Instant::now();
        let up = stage.until(|stage| stage.usable().len() == COPIES.len()).await;
        let took = began.elapsed();
        report.claim(
            up.is_some(),
            "three copies are started, registered and healthy",
            &format!("{} of 3 after {} ms", stage.usable().len(), took.as_millis()),
        );
        up.context("the copies did not become healthy within 15 s; see the log above")?;
        Ok(stage)
    }

    /// Address of the HTTP API.
    pub(crate) fn api(&self) -> String {
        self.node.agent.http.map(|it| it.to_string()).unwrap_or_default()
    }

    /// Address of DNS.
    pub(crate) fn dns(&self) -> anyhow::Result<SocketAddr> {
        self.node.agent.dns.context("the demo's agent serves DNS")
    }

    /// Address of the mesh listener.
    pub(crate) fn mesh(&self) -> anyhow::Result<SocketAddr> {
        self.node.listener("outbound").context("the demo's proxy has a mesh listener")
    }

    /// Address of a copy itself.
    pub(crate) fn copy(&self, idx: usize) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.ports[idx]))
    }

    /// Ids of the copies that the proxy may use now.
    pub(crate) fn usable(&self) -> Vec<String> {
        let config = self.node.agent.compilation.configs().borrow().clone();
        let Some(endpoints) = config.endpoints.get(SERVICE) else { return Vec::new() };
        let usable = endpoints.endpoints.iter().filter(|it| it.health == Default::default());
        usable.filter_map(|it| it.id.split_once('/').map(|(_, id)| id.to_owned())).collect()
    }

    /// Waits until the proxy's configuration makes `holds` true; returns when that was, `None` after 15 s.
    pub(crate) async fn until(&self, holds: impl Fn(&Stage) -> bool) -> Option<Instant> {
        let mut configs = self.node.agent.compilation.configs();
        let wait = async {
            loop {
                configs.borrow_and_update();
                if holds(self) {
                    return Some(Instant::now());
                }
                configs.changed().await.ok()?;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.ok().flatten()
    }

    /// What happens to the copies from now on.
    pub(crate) fn events(&self) -> tokio::sync::broadcast::Receiver<Event> {
        self.node.agent.supervisor.events()
    }

    /// Sets the weights of the copies by registering them again, as a Consul client would.
    pub(crate) async fn set_weights(&self, weights: [u16; 3]) -> anyhow::Result<()> {
        for ((copy, port), weight) in COPIES.iter().zip(&self.ports).zip(weights) {
            let body = serde_json::json!({
                "ID": copy, "Name": SERVICE, "Address": "127.0.0.1", "Port": port,
                "Meta": { "version": "v1" },
                "Weights": { "Passing": weight, "Warning": 1 },
            });
            self.ask(Method::PUT, "/v1/agent/service/register", body.to_string()).await?;
        }
        Ok(())
    }

    /// Declares how the service is balanced, as `leno apply` would.
    pub(crate) async fn balance_by(&self, policy: &str) -> anyhow::Result<()> {
        let document = format!(
            "apiVersion: v1\nkind: Service\nmetadata:\n  name: {SERVICE}\n  annotations:\n    \
             leno.dev/balance: {policy}\nspec:\n  selector:\n    app: {SERVICE}\n  ports:\n  - port: 80\n"
        );
        let files = serde_json::json!({ "files": [{ "source": "demo.yaml", "text": document }] });
        self.ask(Method::POST, "/leno/v1/apply", files.to_string()).await?;
        self.proxy_is_current().await
    }

    /// Waits until every worker of the proxy has what the catalog says now.
    async fn proxy_is_current(&self) -> anyhow::Result<()> {
        let revision = self.node.agent.mesh.catalog().revision();
        let taken = async {
            while self.node.proxy.config().revision < revision {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(PATIENCE, taken)
            .await
            .context("the proxy did not take the change in 15 s")
    }

    /// Asks the agent; anything but 200 is an error.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: impl Into<Bytes>,
    ) -> anyhow::Result<Bytes> {
        let (status, answer) = send(&self.api(), method, path, body).await?;
        if status == StatusCode::OK {
            return Ok(answer);
        }
        Err(anyhow!("{path}: {status}: {}", String::from_utf8_lossy(&answer)))
    }

    /// Asks the agent for JSON.
    pub(crate) async fn read(&self, path: &str) -> anyhow::Result<Value> {
        get_json(&self.api(), path).await
    }

    pub(crate) fn what_to_try(&self) -> Vec<String> {
        let agent = &self.node.agent;
        let mut lines = vec!["It stays up until Ctrl-C. Things to try:".to_owned()];
        let mut add = |what: &str, line: String| lines.push(format!("  {what:<18} {line}"));
        add(
            "discovery",
            format!("curl 'http://{}/v1/health/service/{SERVICE}?passing'", self.api()),
        );
        if let Some(dns) = agent.dns {
            add("DNS", format!("dig @{} -p {} {SERVICE}.service.consul SRV", dns.ip(), dns.port()));
        }
        if let Some(mesh) = self.node.listener("outbound") {
            add("through the mesh", format!("curl -H 'Host: {SERVICE}' http://{mesh}/"));
            add("as a proxy", format!("http_proxy=http://{mesh} curl http://{SERVICE}/"));
        }
        if let Some(admin) = self.node.proxy.admin_addr() {
            add("proxy admin", format!("curl http://{admin}/clusters"));
            add("explain", format!("curl 'http://{admin}/explain?host={SERVICE}&path=/'"));
            add("proxy metrics", format!("curl http://{admin}/stats/prometheus"));
        }
        add("metrics", format!("curl http://{}/metrics", self.api()));
        add("a sick copy", format!("curl -X PUT 'http://{}/health?status=fail'", self.copy(0)));
        lines
    }

    /// Ends everything that the demo started.
    pub(crate) async fn clear(&self) {
        self.node.shut_down().await;
    }
}

/// The copy's status in the registry.
pub(crate) fn check_status(stage: &Stage, copy: &str) -> Option<CheckStatus> {
    let catalog = stage.node.agent.mesh.catalog();
    let node = Folded::new(NODE);
    let mut checks = catalog.checks_of_instance(&node, &ServiceId::from(copy));
    checks.next().map(|check| check.status)
}

/// The usual address, or one that the system chooses if the usual one is taken.
fn place(port: u16, any: bool) -> SocketAddr {
    let usual = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let is_free = !any && TcpListener::bind(usual).is_ok();
    if is_free { usual } else { SocketAddr::from((Ipv4Addr::LOCALHOST, 0)) }
}

/// Ports that are free now: a copy must come back on the port that it is registered with, so the system cannot
/// choose at each start.
fn free_ports(count: usize) -> anyhow::Result<Vec<u16>> {
    let bound: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port is free"))
        .collect::<Result<_, _>>()?;
    bound.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}

fn supervised(copy: &str, port: u16) -> anyhow::Result<Supervised> {
    let program = std::env::current_exe().context("cannot find the running program")?;
    let listen = format!("127.0.0.1:{port}");
    let arguments = ["echo", "--name", copy, "--listen", &listen];
    let child = ChildSpec {
        program,
        arguments: arguments.iter().map(Into::into).collect(),
        ..ChildSpec::default()
    };
    let instance = Instance {
        node: NodeName::from(NODE),
        id: copy.into(),
        service: SERVICE.into(),
        address: "127.0.0.1".into(),
        port,
        meta: Some([("version", "v1".to_owned())].into_iter().collect()),
        weights: Weights::default(),
        origin: Origin::Agent,
        ..Instance::default()
    };
    let definition = CheckDefinition {
        http: format!("http://{listen}/health"),
        interval: PROBE_INTERVAL,
        timeout: Duration::from_secs(1),
        ..CheckDefinition::default()
    };
    let check = Check {
        node: NodeName::from(NODE),
        id: format!("service:{copy}").into(),
        name: format!("Service '{SERVICE}' check"),
        service_id: copy.into(),
        kind: "http".into(),
        definition: Some(Arc::new(definition)),
        origin: Origin::Agent,
        ..Check::default()
    };
    Ok(Supervised::new(child, instance, vec![check]))
}
