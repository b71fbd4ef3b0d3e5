//! The examples in appendix A of the reference, to the byte.

use model::{Check, CheckDefinition, CheckStatus, Instance, Object};

use crate::fixture::World;

const N1: &str = concat!(
    r#"{"ID":"8c7f0a2e-0000-4000-8000-000000000001","Node":"n1","Address":"127.0.0.1","Datacenter":"dc1","#,
    r#""TaggedAddresses":{"lan":"127.0.0.1","lan_ipv4":"127.0.0.1","wan":"127.0.0.1","wan_ipv4":"127.0.0.1"},"#,
    r#""Meta":{"consul-network-segment":"","consul-version":"1.21.4"},"CreateIndex":12,"ModifyIndex":15}"#,
);

const WEB1: &str = concat!(
    r#"{"ID":"web1","Service":"web","Tags":["primary"],"Address":"10.0.0.5","#,
    r#""TaggedAddresses":{"lan_ipv4":{"Address":"10.0.0.5","Port":80},"wan_ipv4":{"Address":"10.0.0.5","Port":80}},"#,
    r#""Meta":{},"Port":80,"Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false,"#,
    r#""Proxy":{"Mode":"","MeshGateway":{},"Expose":{}},"Connect":{},"PeerName":"","CreateIndex":21,"ModifyIndex":21}"#,
);

const AGENT_WEB1: &str = concat!(
    r#"{"ID":"web1","Service":"web","Tags":["primary"],"Meta":{},"Port":80,"Address":"10.0.0.5","#,
    r#""TaggedAddresses":{"lan_ipv4":{"Address":"10.0.0.5","Port":80},"wan_ipv4":{"Address":"10.0.0.5","Port":80}},"#,
    r#""Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false,"#,
);

#[test]
fn a1_catalog_nodes() {
    let world = World::of_appendix();
    let ext = r#"{"ID":"","Node":"ext","Address":"10.1.1.1","Datacenter":"dc1","TaggedAddresses":null,"Meta":null,"CreateIndex":20,"ModifyIndex":20}"#;
    let response = world.get("/v1/catalog/nodes");
    // Nodes come in the order of their names, which the reference's example does not keep.
    assert_eq!(response.body(), format!("[{ext},{N1}]").as_bytes());
    let mut headers: Vec<String> = response
        .headers()
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    headers.sort();
    assert_eq!(
        headers,
        [
            "content-type: application/json",
            "vary: Accept-Encoding",
            "x-consul-default-acl-policy: allow",
            "x-consul-effective-consistency: leader",
            "x-consul-index: 21",
            "x-consul-knownleader: true",
            "x-consul-lastcontact: 0",
            "x-consul-query-backend: blocking-query",
        ]
    );
}

#[test]
fn a2_catalog_services() {
    let mut world = World::of_appendix();
    let instance = |id: &str, service: &str, tags: &[&str]| {
        Object::Instance(Instance {
            node: "n1".into(),
            id: id.into(),
            service: service.into(),
            tags: tags.iter().map(|&tag| tag.into()).collect(),
            ..Instance::default()
        })
    };
    world.put_at(
        30,
        [instance("consul", "consul", &[]), instance("web2", "web", &["v1", "primary"])],
    );
    assert_eq!(world.body("/v1/catalog/services"), r#"{"consul":[],"web":["primary","v1"]}"#);
}

#[test]
fn a3_catalog_service() {
    let expected = concat!(
        r#"[{"ID":"8c7f0a2e-0000-4000-8000-000000000001","Node":"n1","Address":"127.0.0.1","Datacenter":"dc1","#,
        r#""TaggedAddresses":{"lan":"127.0.0.1","lan_ipv4":"127.0.0.1","wan":"127.0.0.1","wan_ipv4":"127.0.0.1"},"#,
        r#""NodeMeta":{"consul-network-segment":"","consul-version":"1.21.4"},"#,
        r#""ServiceKind":"","ServiceID":"web1","ServiceName":"web","ServiceTags":["primary"],"ServiceAddress":"10.0.0.5","#,
        r#""ServiceTaggedAddresses":{"lan_ipv4":{"Address":"10.0.0.5","Port":80},"wan_ipv4":{"Address":"10.0.0.5","Port":80}},"#,
        r#""ServiceWeights":{"Passing":1,"Warning":1},"ServiceMeta":{},"ServicePort":80,"ServiceSocketPath":"","#,
        r#""ServiceEnableTagOverride":false,"ServiceProxy":{"Mode":"","MeshGateway":{},"Expose":{}},"ServiceConnect":{},"#,
        r#""ServiceLocality":null,"CreateIndex":21,"ModifyIndex":21}]"#,
    );
    assert_eq!(World::of_appendix().body("/v1/catalog/service/web"), expected);
}

#[test]
fn a4_catalog_node() {
    let world = World::of_appendix();
    let expected = format!(r#"{{"Node":{N1},"Services":{{"web1":{WEB1}}}}}"#);
    assert_eq!(world.body("/v1/catalog/node/n1"), expected);
    assert_eq!(world.body("/v1/catalog/node/8c7f"), expected);
    assert_eq!(world.body("/v1/catalog/node/nowhere"), "null");
    let expected = format!(r#"{{"Node":{N1},"Services":[{WEB1}]}}"#);
    assert_eq!(world.body("/v1/catalog/node-services/N1"), expected);
    let unknown = r#"{"Node":null,"Services":null}"#;
    assert_eq!(world.body("/v1/catalog/node-services/nowhere"), unknown);
}

#[test]
fn a5_health_service() {
    let serf = concat!(
        r#"{"Node":"n1","CheckID":"serfHealth","Name":"Serf Health Status","Status":"passing","Notes":"","Output":"Agent alive and reachable","#,
        r#""ServiceID":"","ServiceName":"","ServiceTags":[],"Type":"","Interval":"","Timeout":"","ExposedPort":0,"Definition":{},"CreateIndex":12,"ModifyIndex":12}"#,
    );
    let web = concat!(
        r#"{"Node":"n1","CheckID":"service:web1","Name":"Service 'web' check","Status":"passing","Notes":"","Output":"HTTP GET http://10.0.0.5/health: 200 OK Output: ok","#,
        r#""ServiceID":"web1","ServiceName":"web","ServiceTags":["primary"],"Type":"http","Interval":"10s","Timeout":"1s","ExposedPort":0,"Definition":{},"CreateIndex":21,"ModifyIndex":25}"#,
    );
    let expected = format!(r#"[{{"Node":{N1},"Service":{WEB1},"Checks":[{serf},{web}]}}]"#);
    assert_eq!(World::of_appendix().body("/v1/health/service/web"), expected);
}

#[test]
fn a6_agent_services() {
    let world = World::of_appendix();
    let expected = format!(r#"{{"web1":{AGENT_WEB1}"Datacenter":"dc1"}}}}"#);
    assert_eq!(world.body("/v1/agent/services"), expected);
    let response = world.get("/v1/agent/service/web1");
    let hash = response.headers()["x-consul-contenthash"].to_str().unwrap();
    let expected = format!(r#"{AGENT_WEB1}"ContentHash":"{hash}","Datacenter":"dc1"}}"#);
    assert_eq!(response.body(), expected.as_bytes());
    assert!(!response.headers().contains_key("x-consul-index"));
}

#[test]
fn a6_agent_checks_and_health() {
    let mut world = World::of_appendix();
    let ttl =
        CheckDefinition { ttl: std::time::Duration::from_secs(15), ..CheckDefinition::default() };
    let node = model::Folded::new("n1");
    let check = Check {
        status: CheckStatus::Critical,
        output: String::new(),
        kind: "ttl".into(),
        definition: Some(ttl.into()),
        ..world.catalog.check(&node, &"service:web1".into()).unwrap().value.clone()
    };
    world.put_at(30, [Object::Check(check)]);
    let expected = concat!(
        r#"{"service:web1":{"Node":"n1","CheckID":"service:web1","Name":"Service 'web' check","Status":"critical","Notes":"","Output":"","#,
        r#""ServiceID":"web1","ServiceName":"web","ServiceTags":["primary"],"Type":"ttl","Interval":"","Timeout":"","ExposedPort":0,"Definition":{},"CreateIndex":0,"ModifyIndex":0}}"#,
    );
    assert_eq!(world.body("/v1/agent/checks"), expected);
    let response = world.get("/v1/agent/health/service/id/web1");
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["x-consul-reason"], "critical");
    let body = str::from_utf8(response.body()).unwrap();
    let start = format!(
        r#"{{"AggregatedStatus":"critical","Service":{AGENT_WEB1}"Datacenter":"dc1"}},"Checks":[{{"Node":"n1","CheckID":"service:web1","#
    );
    assert!(body.starts_with(&start), "{body}");
}
