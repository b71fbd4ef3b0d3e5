//! The stage: an agent in memory, a proxy, and three workloads, each a copy of `leno echo`.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use bytes::Bytes;
use control::agent::{AgentOptions, CompilerSettings};
use control::workloads::{CopyReport, WorkloadName};
use http::{Method, StatusCode};
use model::{CheckStatus, Folded};
use proxy::ProxyOptions;
use serde_json::{Value, json};

use super::report::Report;
use crate::args::DemoArguments;
use crate::client::{get_json, send};
use crate::node::Node;

/// The workloads, each of one copy, in the order of their weights 1, 2 and 3.
pub(crate) const COPIES: [&str; 3] = ["echo-a", "echo-b", "echo-c"];
/// Name of the service.
pub(crate) const SERVICE: &str = "echo";
/// Name of the agent's node.
const NODE: &str = "demo";
/// How often a copy is probed.
const PROBE_INTERVAL: &str = "250ms";
/// How long anything that the demo waits for may take.
const PATIENCE: Duration = Duration::from_secs(15);

pub(crate) struct Stage {
    pub(crate) node: Node,
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
        let stage = Self { node };
        stage.declare([1; 3]).await?;
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

    /// How the copy of a workload is.
    pub(crate) fn copy(&self, idx: usize) -> anyhow::Result<CopyReport> {
        let report = self.node.agent.workloads.report(&WorkloadName::parse(COPIES[idx]));
        let copy = report.and_then(|it| it.copies.into_iter().next());
        copy.with_context(|| format!("{} has no copy", COPIES[idx]))
    }

    /// Address of a copy itself.
    pub(crate) fn address(&self, idx: usize) -> anyhow::Result<SocketAddr> {
        let port = self.copy(idx)?.port.context("every copy has a port")?;
        Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
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

    /// Declares the workloads, with these weights, as `leno apply` would, and waits until the proxy has the weights of those
    /// that run.
    pub(crate) async fn declare(&self, weights: [u16; 3]) -> anyhow::Result<()> {
        let program = std::env::current_exe().context("cannot find the running program")?;
        let program = program.to_str().context("the path of the running program is not UTF-8")?;
        let document = |(name, weight): (&str, u16)| {
            let document = json!({
                "apiVersion": "leno.dev/v1", "kind": "Workload", "metadata": { "name": name },
                "spec": {
                    "version": "v1",
                    "command": [program, "echo", "--name", name, "--listen", "127.0.0.1:$(PORT)"],
                    "service": { "name": SERVICE, "weight": weight },
                    "port": "Auto", "address": "127.0.0.1",
                    "checks": [{ "http": "/health", "interval": PROBE_INTERVAL }],
                },
            });
            document.to_string()
        };
        let documents: Vec<String> = COPIES.into_iter().zip(weights).map(document).collect();
        self.apply(&documents.join("\n---\n")).await?;
        let has_weights = |stage: &Stage| {
            let config = stage.node.agent.compilation.configs().borrow().clone();
            let endpoints = config.endpoints.get(SERVICE).map(|it| it.endpoints.clone());
            endpoints.unwrap_or_default().iter().all(|it| {
                let mut named = COPIES.iter().zip(weights);
                named.any(|(name, weight)| it.id.contains(*name) && it.weight == weight)
            })
        };
        self.until(has_weights).await.context("the proxy did not take the weights in 15 s")?;
        self.proxy_is_current().await
    }

    /// Declares how the service is balanced, as `leno apply` would.
    pub(crate) async fn balance_by(&self, policy: &str) -> anyhow::Result<()> {
        let document = format!(
            "apiVersion: v1\nkind: Service\nmetadata:\n  name: {SERVICE}\n  annotations:\n    \
             leno.dev/balance: {policy}\nspec:\n  selector:\n    app: {SERVICE}\n  ports:\n  - port: 80\n"
        );
        self.apply(&document).await?;
        self.proxy_is_current().await
    }

    async fn apply(&self, documents: &str) -> anyhow::Result<()> {
        let files = json!({ "files": [{ "source": "demo.yaml", "text": documents }] });
        self.ask(Method::POST, "/leno/v1/apply", files.to_string()).await.map(drop)
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
        add("the copies", format!("leno ps --http-addr {}", self.api()));
        if let Ok(copy) = self.address(0) {
            add("a sick copy", format!("curl -X PUT 'http://{copy}/health?status=fail'"));
        }
        lines
    }

    /// Ends everything that the demo started.
    pub(crate) async fn clear(&self) {
        self.node.shut_down().await;
    }
}

/// The status of a copy's own check in the registry.
pub(crate) fn check_status(stage: &Stage, id: &str) -> Option<CheckStatus> {
    let catalog = stage.node.agent.mesh.catalog();
    let mut checks = catalog.checks_of_instance(&Folded::new(NODE), &id.into());
    checks.find(|check| check.kind == "http").map(|check| check.status)
}

/// The usual address, or one that the system chooses if the usual one is taken.
fn place(port: u16, any: bool) -> SocketAddr {
    let usual = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let is_free = !any && TcpListener::bind(usual).is_ok();
    if is_free { usual } else { SocketAddr::from((Ipv4Addr::LOCALHOST, 0)) }
}
