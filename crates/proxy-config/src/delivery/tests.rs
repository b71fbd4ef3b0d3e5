use super::*;
use crate::{
    Cluster, Endpoint, Endpoints, Forward, Listener, ListenerProtocol, PathMatch, PrivateKey,
    Route, RouteAction, RouteTable, Secret, TcpListener, VirtualHost,
};

fn config() -> ProxyConfig {
    let route = RouteAction::Forward(Box::new(Forward::to("web")));
    let host = VirtualHost {
        name: "web".into(),
        domains: vec!["web".into()],
        routes: vec![Route::new("web", PathMatch::PathPrefix("/".into()), route)],
        require_tls: false,
    };
    let table = RouteTable { name: "out".into(), virtual_hosts: vec![host] };
    let tcp = ListenerProtocol::Tcp(TcpListener::to("web"));
    let listener = Listener::with_one_chain("db", ([127, 0, 0, 1], 1).into(), None, tcp);
    let endpoints = Endpoints {
        cluster: "web".into(),
        endpoints: vec![Endpoint::new("n/web-1", "10.0.0.1", 80)],
        ..Endpoints::default()
    };
    let secret = Secret {
        name: "edge".into(),
        certificate_chain_pem: "certificate".into(),
        private_key: PrivateKey("the key".into()),
        trust_bundle_pem: String::new(),
    };
    ProxyConfig {
        revision: model::Revision(7),
        listeners: [("db".into(), listener.into())].into(),
        route_tables: [("out".into(), table.into())].into(),
        clusters: [("web".into(), Cluster::named("web").into())].into(),
        endpoints: [("web".into(), endpoints.into())].into(),
        secrets: [("edge".into(), secret.into())].into(),
        ..ProxyConfig::default()
    }
}

/// The delivery with a change of its JSON.
fn changed(change: impl FnOnce(&mut Value)) -> Result<Received, DeliveryError> {
    let mut value: Value = serde_json::from_slice(&deliver(&config(), "life")).unwrap();
    change(&mut value);
    receive(&serde_json::to_vec(&value).unwrap())
}

fn words(result: Result<Received, DeliveryError>) -> String {
    result.expect_err("it is refused").to_string()
}

#[test]
fn what_is_delivered_arrives_with_its_private_keys() {
    let received = receive(&deliver(&config(), "life")).unwrap();
    assert_eq!(received.config, config());
    assert_eq!(received.agent, "life");
}

#[test]
fn private_keys_are_in_a_delivery_and_nowhere_else() {
    let text = String::from_utf8(deliver(&config(), "life")).unwrap();
    assert!(text.contains(r#""private_keys":{"edge":"the key"}"#), "{text}");
    assert!(!serde_json::to_string(&config()).unwrap().contains("the key"));
    let received = receive(text.as_bytes()).unwrap();
    assert!(!format!("{received:?}").contains("the key"));
}

#[test]
fn an_unknown_field_that_is_empty_is_left_out() {
    for empty in ["null", "false", "0", "\"\"", "[]", "{}"] {
        let empty: Value = serde_json::from_str(empty).unwrap();
        let received = changed(|it| it["config"]["clusters"]["web"]["new_field"] = empty).unwrap();
        assert_eq!(received.config, config());
    }
}

#[test]
fn an_unknown_field_that_says_something_refuses_the_whole() {
    let path = "route_tables.out.virtual_hosts[0].routes[0].conditions.body";
    let refused = changed(|it| {
        it["config"]["route_tables"]["out"]["virtual_hosts"][0]["routes"][0]["conditions"]["body"] =
            "x".into();
    });
    assert!(words(refused).contains(path));
}

#[test]
fn an_unknown_variant_or_another_form_refuses_the_whole() {
    let refused = changed(|it| it["config"]["clusters"]["web"]["protocol"] = "http9".into());
    assert!(words(refused).contains("upgrade the proxy"));
    assert!(words(changed(|it| it["form"] = 2.into())).contains("form 2"));
    assert!(matches!(receive(b"no JSON"), Err(DeliveryError::Envelope(_))));
}

#[test]
fn a_field_that_an_older_agent_does_not_send_has_its_default() {
    let received = changed(|it| {
        let cluster = it["config"]["clusters"]["web"].as_object_mut().unwrap();
        cluster.remove("breakers").unwrap();
    });
    assert_eq!(received.unwrap().config, config());
}

#[test]
fn equal_resources_are_shared_with_the_configuration_before() {
    let before = config();
    let mut now = receive(&deliver(&before, "life")).unwrap().config;
    now.clusters.insert("web".into(), Cluster { streams_max: 1, ..Cluster::named("web") }.into());
    let now = now.sharing(&before);
    assert!(Arc::ptr_eq(&now.endpoints["web"], &before.endpoints["web"]));
    assert!(Arc::ptr_eq(&now.secrets["edge"], &before.secrets["edge"]));
    assert_eq!(now.clusters["web"].streams_max, 1);
    assert!(!now.is_same_content(&before));
    assert!(before.is_same_content(&ProxyConfig { revision: model::Revision(9), ..config() }));
}
