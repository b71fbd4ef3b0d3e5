//! What is told about documents that are served otherwise than somebody expects.

use super::*;

fn selecting(name: &str, labels: &[(&str, &str)]) -> Object {
    service(name, labels, vec![port(80, PortRef::default())])
}

#[test]
fn a_selector_that_matches_nothing_is_told_until_an_instance_comes() {
    let mut world = World::with([node("n1"), selecting("s", &[("app", "wbe"), ("tier", "a")])]);
    let told = |world: &mut World| world.compile().diagnostics.pop().map(|it| it.1.to_string());
    let text = |known: &str| {
        Some(format!(
            "t.yaml:7: spec.selector: selector app=wbe,tier=a matches no registered instance; {known} \
             (correct it, or register an instance with these labels)"
        ))
    };
    assert_eq!(told(&mut world), text("no service is registered"));
    for name in ["web", "raw", "Api", "consul"] {
        world.put(Object::Instance(instance(name, name, 80)));
    }
    assert_eq!(told(&mut world), text("registered services are: api, raw, web"));
    for name in ["f", "e", "d"] {
        world.put(Object::Instance(instance(name, name, 80)));
    }
    assert_eq!(told(&mut world), text("registered services are: api, d, e, f, raw, …"));
    let wanted = Instance { meta: meta(&[("tier", "a")]), ..instance("1", "wbe", 80) };
    world.put(Object::Instance(wanted));
    assert_eq!(told(&mut world), None);
    world.put(Object::Instance(instance("1", "wbe", 80)));
    assert_eq!(told(&mut world), text("registered services are: api, d, e, f, raw, …"));
}

#[test]
fn a_matched_instance_need_not_be_reachable() {
    let mut world = World::with([node("n1"), selecting("s", &[("app", "web")])]);
    let mut silent = instance("1", "web", 80);
    silent.weights.warning = 0;
    world.put(Object::Instance(silent));
    world.put(check("1", "1", CheckStatus::Warning));
    assert_eq!(messages(&world.compile()), [""; 0]);
}

#[test]
fn what_selects_nothing_on_purpose_is_not_told() {
    let external = ServiceSpec {
        selector: [("app".to_owned(), "gone".to_owned())].into(),
        external_name: Some("db.example.com".into()),
        ports: vec![port(80, PortRef::default())],
        ..ServiceSpec::default()
    };
    let external = document("Service", "default", "db", Spec::Service(external));
    let mut world = World::with([node("n1"), external, selecting("none", &[])]);
    assert_eq!(messages(&world.compile()), [""; 0]);
}

#[test]
fn a_named_port_that_no_instance_has_is_told() {
    let mut world = World::with([node("n1"), Object::Instance(instance("1", "web", 8080))]);
    let ports = vec![port(80, PortRef::Name("admin".into()))];
    world.put(service("s", &[("app", "web")], ports));
    let expected = "s: spec.ports[0].targetPort: no instance names a port `admin`, which would be \
                    `port-admin` in its Meta: each is called on its own port";
    assert_eq!(messages(&world.compile()), [expected]);
    let meta = meta(&[("port-admin", "7000")]);
    world.put(Object::Instance(Instance { meta, ..instance("2", "web", 8080) }));
    assert_eq!(messages(&world.compile()), [""; 0]);
}

#[test]
fn a_certificate_in_a_secret_of_another_type_is_served_and_told() {
    let mut world = World::with([node("n1"), selecting("a", &[])]);
    let data = [("tls.crt", "C"), ("tls.key", "K")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    let secret = SecretSpec { kind: "Opaque".into(), data: data.into() };
    world.put(document("Secret", "default", "cert", Spec::Secret(secret)));
    assert_eq!(messages(&world.compile()), [""; 0]);
    for name in ["i", "j"] {
        let tls = vec![IngressTls { hosts: vec![name.into()], secret: "cert".into() }];
        world.put(ingress(name, IngressSpec { tls, ..IngressSpec::default() }));
    }
    let compiled = world.compile();
    assert_eq!(messages(&compiled), ["cert: type: type Opaque, used as TLS all the same"]);
    assert_eq!(compiled.config.secrets.len(), 1);
}
