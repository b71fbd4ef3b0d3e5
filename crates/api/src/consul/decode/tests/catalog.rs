use super::*;

#[track_caller]
fn read(body: &str) -> registry::CatalogRegistration {
    catalog_registration(body.as_bytes(), &agent()).unwrap_or_else(|it| panic!("{}", it.text))
}

#[test]
fn a_catalog_registration_is_read() {
    let body = r#"{"Datacenter":"dc1","ID":"u","Node":"ext","Address":"10.1.1.1","Token":"t",
        "TaggedAddresses":{"lan":"10.1.1.1"},"NodeMeta":{"external":"true"},"SkipNodeUpdate":true,
        "Service":{"ID":"s1","Service":"db","Tags":["a"],"Port":5432,"Meta":null,"PeerName":"",
            "Weights":{"Passing":0,"Warning":1},"Proxy":{"Mode":"","MeshGateway":{},"Expose":{}},
            "Connect":{"Native":true},"CreateIndex":3,"ModifyIndex":4,"EnableTagOverride":false},
        "Check":{"Node":"ext","CheckID":"c1","Name":"up","Status":"passing","ServiceID":"s1"},
        "Checks":[{"Name":"http","ServiceTags":[],"ServiceName":"db","Interval":"10s",
            "Definition":{"HTTP":"http://h","Interval":"10s","TTL":5,"Unknown":true}}]}"#;
    let registration = read(body);
    let node = json!({"id": "u", "name": "ext", "address": "10.1.1.1",
        "tagged_addresses": {"lan": "10.1.1.1"}, "meta": {"external": "true"}});
    assert_has(&stored(&registration.node), &node, body);
    assert!(registration.skip_node_update);
    let instance = json!({"node": "ext", "id": "s1", "service": "db", "tags": ["a"], "port": 5432,
        "meta": null, "tagged_addresses": null, "weights": {"passing": 1, "warning": 1},
        "connect_native": true, "origin": "catalog"});
    assert_has(&stored(&registration.instance.unwrap()), &instance, body);
    let checks = [
        json!({"node": "", "id": "", "name": "http", "status": "critical", "kind": "http",
            "definition": {"http": "http://h", "interval": 10_000_000_000_u64, "ttl": 5,
                "success_before_passing": 0, "failures_before_warning": 0,
                "failures_before_critical": 0, "output_bytes_max": 0}}),
        json!({"node": "ext", "id": "c1", "name": "up", "status": "passing", "service_id": "s1",
            "kind": null, "definition": null, "origin": "catalog"}),
    ];
    for (found, expected) in registration.checks.iter().zip(&checks) {
        assert_has(&stored(found), expected, body);
    }
    assert_eq!(registration.checks.len(), checks.len());
}

#[test]
fn a_bare_catalog_registration_is_left_to_the_registry() {
    let registration = read("{}");
    assert!(registration.node.name.is_empty() && registration.instance.is_none());
    assert_eq!((registration.node.meta, registration.node.tagged_addresses), (None, None));
    assert!(read(r#"{"node":"n","service":{}}"#).instance.unwrap().service.is_empty());
    let typed = read(r#"{"Check":{"Type":"mine","Definition":{"TCP":"h:1"}}}"#);
    assert_eq!(typed.checks[0].kind, "mine");
}

#[test]
fn a_malformed_catalog_registration_is_refused() {
    let cases = [
        (r#"{"Datacenter":"dc2"}"#, 500, "No path to datacenter"),
        (r#"{"PeerName":"p"}"#, 500, "cannot register requests with PeerName in them"),
        (r#"{"Service":{"PeerName":"p"}}"#, 500, "cannot register requests with PeerName in them"),
        (
            r#"{"Node":"n","Namespace":"default"}"#,
            400,
            "Request decode failed: json: unknown field \"Namespace\" - Namespaces are a Consul Enterprise feature",
        ),
        (
            r#"{"Service":{"Namespace":""}}"#,
            400,
            "Request decode failed: json: unknown field \"Namespace\" - Namespaces are a Consul Enterprise feature",
        ),
        (r#"{"Meta":{}}"#, 400, "Request decode failed: json: unknown field \"Meta\""),
        (
            r#"{"Service":{"Port":"x"}}"#,
            400,
            "Request decode failed: json: cannot unmarshal string into Go struct field NodeService.Service.Port of type int",
        ),
        (
            r#"{"Checks":[1]}"#,
            400,
            "Request decode failed: json: cannot unmarshal number into Go struct field RegisterRequest.Checks of type HealthCheck",
        ),
        (r#"{"Check":{"Status":"maintenance"}}"#, 400, "Bad check status"),
        (
            r#"{"Service":{"Service":"a","Kind":"connect-proxy"}}"#,
            500,
            "2 errors occurred:\n\t* Port or SocketPath must be set for a connect-proxy\n\t* Proxy.DestinationServiceName \
             must be non-empty for Connect proxy services\n\n",
        ),
        (
            r#"{"Check":{"Definition":{"SessionName":"s"}}}"#,
            400,
            "SessionName of a check is not supported by this version of Leno",
        ),
    ];
    for (body, status, text) in cases {
        refused(catalog_registration(body.as_bytes(), &agent()), status, text, body);
    }
}

#[test]
fn a_deregistration_takes_the_service_before_the_check_before_the_node() {
    use registry::CatalogTarget::{Check, Node, Service};
    let cases = [
        (r#"{"Node":"n"}"#, Node),
        (r#"{"node":"n","checkid":"c","Address":"x"}"#, Check("c".into())),
        (r#"{"Node":"n","ServiceID":"s","CheckID":"c"}"#, Service("s".into())),
        (r#"{"Datacenter":"DC1","Node":"n","ServiceID":"","Token":null}"#, Node),
    ];
    for (body, target) in cases {
        let read = catalog_deregistration(body.as_bytes(), &agent());
        assert_eq!(read, Ok(("n".into(), target)), "{body}");
    }
    let cases = [
        (r#"{"Datacenter":"dc2","Node":"n"}"#, 500, "No path to datacenter"),
        (
            r#"{"Node":"n","PeerName":"p"}"#,
            400,
            "PeerName is not supported by this version of Leno",
        ),
        (
            r#"{"Namespace":"x"}"#,
            400,
            "Request decode failed: json: unknown field \"Namespace\" - Namespaces are a Consul Enterprise feature",
        ),
    ];
    for (body, status, text) in cases {
        refused(catalog_deregistration(body.as_bytes(), &agent()), status, text, body);
    }
}
