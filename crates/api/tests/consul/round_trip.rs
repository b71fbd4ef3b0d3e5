//! Writes through the registry and back.

use crate::fixture::World;

const UNKNOWN_SERVICE: &str =
    "Unknown service ID \"nope\". Ensure that the service ID is passed, not the service name.";
const UNKNOWN_CHECK: &str =
    "Unknown check ID \"nope\". Ensure that the check ID is passed, not the check name.";

fn done() -> (u16, String) {
    (200, String::new())
}

#[test]
fn registered_service_is_there_until_it_is_deregistered() {
    let mut world = World::full();
    let body = r#"{"name":"api","port":9090,"check":{"ttl":"15s"}}"#;
    assert_eq!(world.put("/v1/agent/service/register", body), done());
    assert!(world.body("/v1/agent/services").contains(r#""api":{"ID":"api","Service":"api""#));
    assert_eq!(world.get("/v1/agent/health/service/id/api").status(), 503);
    assert_eq!(world.body("/v1/health/service/api?passing"), "[]");

    assert_eq!(world.put("/v1/agent/check/pass/service:api?note=fine", ""), done());
    assert_eq!(world.get("/v1/agent/health/service/id/api").status(), 200);
    assert!(world.body("/v1/health/service/api?passing").contains(r#""Output":"fine""#));

    assert_eq!(
        world.put("/v1/agent/service/maintenance/api?enable=true&reason=repair", ""),
        done()
    );
    let response = world.get("/v1/agent/health/service/name/api");
    assert_eq!(
        (response.status().as_u16(), &response.headers()["x-consul-reason"]),
        (503, &"maintenance".parse().unwrap())
    );
    assert_eq!(world.put("/v1/agent/service/maintenance/api?enable=false", ""), done());

    assert_eq!(world.put("/v1/agent/service/deregister/api", ""), done());
    assert_eq!(world.get("/v1/agent/service/api").status(), 404);
    assert_eq!(world.body("/v1/health/checks/api"), "[]");
}

#[test]
fn unknown_objects_of_the_agent_are_404() {
    let mut world = World::full();
    for (path, text) in [
        ("/v1/agent/service/deregister/nope", UNKNOWN_SERVICE),
        ("/v1/agent/service/maintenance/nope?enable=true", UNKNOWN_SERVICE),
        ("/v1/agent/check/deregister/nope", UNKNOWN_CHECK),
        ("/v1/agent/check/pass/nope", UNKNOWN_CHECK),
    ] {
        assert_eq!(world.put(path, ""), (404, text.to_owned()), "{path}");
    }
    let body = r#"{"Name":"c","TTL":"15s","ServiceID":"nope"}"#;
    let expected = (404, "ServiceID \"nope\" does not exist".to_owned());
    assert_eq!(world.put("/v1/agent/check/register", body), expected);
    // Of the catalog, not of the agent.
    assert_eq!(world.put("/v1/agent/service/deregister/consul", "").0, 404);
}

#[test]
fn catalog_writes_say_true_or_500() {
    let mut world = World::full();
    let body = r#"{"Node":"e2","Address":"10.0.0.9","Service":{"Service":"mail","Port":25}}"#;
    assert_eq!(world.put("/v1/catalog/register", body), (200, "true".to_owned()));
    let revision = world.catalog.revision();
    assert_eq!(world.put("/v1/catalog/register?pretty", body), (200, "true\n".to_owned()));
    assert_eq!(world.catalog.revision(), revision);
    assert!(world.body("/v1/catalog/service/mail").contains(r#""ServicePort":25"#));

    for (body, text) in [
        (r#"{"Address":"10.0.0.9"}"#, "Must provide node"),
        (r#"{"Node":"e3"}"#, "Must provide address if SkipNodeUpdate is not set"),
        (
            r#"{"Node":"e3","Address":"a","Service":{"Service":""}}"#,
            "Must provide service name (Service.Service)",
        ),
        (
            r#"{"Node":"e3","Address":"a","Check":{"Name":"c","ServiceID":"x"}}"#,
            "Unknown service ID 'x' for check ID 'c'",
        ),
    ] {
        assert_eq!(world.put("/v1/catalog/register", body), (500, text.to_owned()), "{body}");
    }
    let body = r#"{"Node":"e\u0001","Address":"a"}"#;
    assert_eq!(world.put("/v1/catalog/register", body).0, 400);

    let body = r#"{"Node":"e2"}"#;
    assert_eq!(world.put("/v1/catalog/deregister", body), (200, "true".to_owned()));
    assert_eq!(world.put("/v1/catalog/deregister", body), (200, "true".to_owned()));
    assert_eq!(world.body("/v1/catalog/service/mail"), "[]");
    let expected = (500, "Must provide node".to_owned());
    assert_eq!(world.put("/v1/catalog/deregister", "{}"), expected);
}

#[test]
fn heartbeat_for_another_kind_of_check_is_500() {
    let mut world = World::full();
    let expected = (500, "CheckID \"service:web1\" does not have associated TTL".to_owned());
    assert_eq!(world.put("/v1/agent/check/pass/service:web1", ""), expected);
}

#[test]
fn long_note_is_cut() {
    let mut world = World::full();
    let note = "x".repeat(5000);
    assert_eq!(world.put(&format!("/v1/agent/check/warn/db-ttl?note={note}"), ""), done());
    let output = &world.catalog.check(&model::Folded::new("n1"), &"db-ttl".into()).unwrap().output;
    assert!(output.starts_with(&note[..4000]) && output.len() < 4200, "{} bytes", output.len());
}

#[test]
fn failed_store_is_500() {
    let world = World::full();
    let request = crate::fixture::request("PUT", "/v1/agent/service/deregister/web1", "");
    let api::Step::Write(_, reply) = world.step(&request, false) else {
        panic!("it does not write")
    };
    let response = reply(api::WriteOutcome::Failed("disk full".into()), &world.context());
    assert_eq!((response.status().as_u16(), &response.body()[..]), (500, &b"disk full"[..]));
}
