//! Proxies, gateways and sidecars.

use super::*;

fn refused_text(body: &str) -> String {
    let refused = service_registration(body.as_bytes(), &agent()).unwrap_err();
    assert_eq!(refused.status, 400, "{}", refused.text);
    refused.text
}

#[test]
fn a_proxy_is_read_in_any_letter_case() {
    let body = r#"{"Name":"web-proxy","Kind":"connect-proxy","Port":21000,"Proxy":{
        "destination_service_name":"web","upstreams":[{"destination_name":"db","local_bind_port":9191,
        "config":{"a_b":1}}],"transparent_proxy":{"outbound_listener_port":808},"mode":"transparent"}}"#;
    let read = service_registration(body.as_bytes(), &agent()).unwrap();
    let proxy = read.instance.proxy.as_deref().unwrap();
    let expected = json!({"DestinationServiceName": "web", "Mode": "transparent",
        "Upstreams": [{"DestinationName": "db", "LocalBindPort": 9191, "Config": {"a_b": 1}}],
        "TransparentProxy": {"OutboundListenerPort": 808}});
    assert_eq!(*proxy, expected);
    assert_eq!(read.instance.mesh_service(), Some("web"));
}

#[test]
fn faults_of_proxies_are_said() {
    let proxy = |proxy: &str| {
        refused_text(&format!(r#"{{"Name":"p","Kind":"connect-proxy","Port":1,"Proxy":{proxy}}}"#))
    };
    let one = |text: &str| format!("Validation failed: 1 error occurred:\n\t* {text}\n\n");
    assert_eq!(
        proxy("{}"),
        one("Proxy.DestinationServiceName must be non-empty for Connect proxy services")
    );
    assert_eq!(
        proxy(r#"{"DestinationServiceName":"a","Upstreams":[{"DestinationName":"b"}]}"#),
        one("upstream local bind port or local socket path must be defined and nonzero")
    );
    assert_eq!(
        proxy(
            r#"{"DestinationServiceName":"a","Expose":{"Paths":[{"Path":"/","ListenerPort":70000}]}}"#
        ),
        one("expose.paths: invalid listener port: 70000")
    );
    assert_eq!(proxy(r#"{"Foo":1}"#), "Request decode failed: json: unknown field \"Foo\"");
    assert_eq!(
        refused_text(r#"{"Name":"g","Kind":"mesh-gateway"}"#),
        one("Port must be non-zero for a mesh-gateway")
    );
    assert_eq!(
        refused_text(r#"{"Name":"g","Kind":"ingress-gateway","Proxy":{"LocalServicePort":1}}"#),
        one("The Proxy.LocalServicePort configuration is invalid for a ingress-gateway")
    );
    assert_eq!(
        refused_text(r#"{"Name":"a","Connect":{"Native":true}}"#),
        one("Port or SocketPath must be set for a Connect native service.")
    );
    assert!(
        refused_text(r#"{"Name":"a","Kind":"nothing"}"#).starts_with("Invalid Kind \"nothing\"")
    );
}

#[test]
fn a_sidecar_takes_from_its_service_what_it_does_not_say() {
    let body = r#"{"ID":"web1","Name":"web","Port":80,"Address":"10.0.0.1","Tags":["a"],"Meta":{"k":"v"},
        "Connect":{"SidecarService":{"Nobody":"knows"}}}"#;
    let read = service_registration(body.as_bytes(), &agent()).unwrap();
    let sidecar = read.sidecar.unwrap();
    let it = &sidecar.instance;
    assert_eq!(
        (it.id.as_str(), it.service.as_str(), it.port),
        ("web1-sidecar-proxy", "web-sidecar-proxy", 0)
    );
    assert_eq!((it.kind.as_str(), it.address.as_str()), ("connect-proxy", "10.0.0.1"));
    assert_eq!((&it.tags, &it.meta), (&read.instance.tags, &read.instance.meta));
    assert_eq!(it.sidecar_of, read.instance.id);
    let expected = json!({"DestinationServiceName": "web", "DestinationServiceID": "web1",
        "LocalServiceAddress": "127.0.0.1", "LocalServicePort": 80});
    assert_eq!(**it.proxy.as_ref().unwrap(), expected);
    assert!(sidecar.checks.is_empty());
    let body = r#"{"Name":"web","connect":{"sidecar_service":{"Name":"own","Port":7,"Tags":["b"],
        "Check":{"TTL":"5s"},"Proxy":{"LocalServicePort":9}}}}"#;
    let sidecar = service_registration(body.as_bytes(), &agent()).unwrap().sidecar.unwrap();
    let it = &sidecar.instance;
    assert_eq!(
        (it.service.as_str(), it.port, it.tags.as_slice()),
        ("own", 7, &["b".to_owned()][..])
    );
    assert_eq!(it.proxy.as_ref().unwrap()["LocalServicePort"], 9);
    assert_eq!(sidecar.checks[0].id.as_str(), "service:web-sidecar-proxy");
}

#[test]
fn faults_of_sidecars_are_said() {
    let sidecar = |sidecar: &str| {
        refused_text(&format!(r#"{{"Name":"web","Connect":{{"SidecarService":{sidecar}}}}}"#))
    };
    assert_eq!(
        sidecar(r#"{"ID":"x"}"#),
        "Validation failed: 1 error occurred:\n\t* A SidecarService cannot specify an ID as this is managed by the agent\n\n"
    );
    assert_eq!(
        sidecar(r#"{"Connect":{"SidecarService":{}}}"#),
        "Validation failed: 1 error occurred:\n\t* A SidecarService cannot have a nested SidecarService\n\n"
    );
    assert_eq!(
        sidecar(r#"{"Check":{"HTTP":"http://x"}}"#),
        "Invalid check in sidecar_service: Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks"
    );
    assert!(sidecar(r#"{"Meta":{"consul-x":"y"}}"#).starts_with("Invalid SidecarService: "));
    assert!(
        sidecar(r#"{"Proxy":{"Upstreams":[{"DestinationName":"*","LocalBindPort":1}]}}"#)
            .starts_with("Failed Validation: 1 error occurred")
    );
}
