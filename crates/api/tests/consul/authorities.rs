//! The authorities of the mesh: listed, told otherwise, replaced by a root that is given.

use ca::Authority;
use model::{Object, Record, Setting, Timestamp};
use serde_json::{Value, json};

use crate::fixture::{World, request};

const CLUSTER: &str = "11111111-2222-3333-4444-555555555555";
const CONFIGURATION: &str = "/v1/connect/ca/configuration";
const DAY_MS: u64 = 86_400_000;

fn authority() -> Authority {
    Authority::new(CLUSTER, Timestamp(100 * 365 * DAY_MS / 2)).unwrap()
}

fn world(authority: &Authority) -> World {
    let mut world = World::full();
    let setting = Setting { name: api::CA.to_owned(), body: json!({ "Roots": [authority] }) };
    world.put_at(40, [Object::Record(Record::Setting(setting))]);
    world
}

fn given(it: &Authority) -> Value {
    json!({"Provider": "consul", "Config": {"RootCert": it.cert_pem, "PrivateKey": it.key_pem}})
}

fn roots(world: &mut World) -> Vec<(String, bool)> {
    let list = world.read("/v1/connect/ca/roots");
    let all = list["Roots"].as_array().unwrap();
    let of = |it: &Value| (it["ID"].as_str().unwrap().to_owned(), it["Active"].as_bool().unwrap());
    let roots: Vec<_> = all.iter().map(of).collect();
    assert_eq!(list["ActiveRootID"], roots[0].0.as_str());
    roots
}

#[test]
fn roots_are_listed_for_agents_and_operators() {
    let first = authority();
    let mut world = world(&first);
    let list = world.read("/v1/connect/ca/roots");
    assert_eq!(list["TrustDomain"], format!("{CLUSTER}.consul"));
    let root = &list["Roots"][0];
    assert_eq!(
        (&root["RootCert"], &root["Active"]),
        (&first.cert_pem.as_str().into(), &true.into())
    );
    assert_eq!((&root["CreateIndex"], &root["ModifyIndex"]), (&40.into(), &40.into()));
    assert!(!list.to_string().contains("PRIVATE KEY"));
    assert_eq!(world.read("/v1/agent/connect/ca/roots"), list);
    let response = world.get("/v1/agent/connect/ca/roots");
    assert_eq!(response.headers()["x-cache"], "HIT");
    assert_eq!(world.index("/v1/connect/ca/roots"), 40);
    assert!(world.waits("/v1/connect/ca/roots?index=40"));
    assert!(world.waits("/v1/agent/connect/ca/roots?index=40"));

    let pem = world.respond(&request("GET", "/v1/connect/ca/roots?pem=true", ""));
    assert_eq!(pem.headers()["content-type"], "application/pem-certificate-chain");
    assert_eq!(pem.body(), first.cert_pem.as_bytes());
    assert_eq!(world.exchange("GET", "/v1/connect/ca/roots?pem=false", "").json(), list);
}

#[test]
fn a_given_root_becomes_the_active_one_and_those_before_lose_their_keys() {
    let (first, second, third) = (authority(), authority(), authority());
    let mut world = world(&first);
    assert_eq!(world.exchange("PUT", CONFIGURATION, &given(&second).to_string()), (200, ""));
    assert_eq!(roots(&mut world), [(second.id.clone(), true), (first.id.clone(), false)]);
    assert!(!world.waits("/v1/connect/ca/roots?index=40"), "the roots are other ones");
    world.exchange("PUT", CONFIGURATION, &given(&third).to_string());
    let expected =
        [(third.id.clone(), true), (second.id.clone(), false), (first.id.clone(), false)];
    assert_eq!(roots(&mut world), expected);
    let stored = world.catalog.record::<Setting>(api::CA).unwrap().body.clone();
    let kept = Authority::all_of(&stored["Roots"]);
    assert_eq!(kept[0], third);
    assert!(kept[1..].iter().all(|it| it.key_pem.is_empty()));
    let pem = world.exchange("GET", "/v1/connect/ca/roots?pem", "").text;
    assert_eq!(pem.matches("BEGIN CERTIFICATE").count(), 3);

    // One that was retired comes back, and stands there once.
    world.exchange("PUT", CONFIGURATION, &given(&first).to_string());
    let expected = [(first.id, true), (third.id, false), (second.id, false)];
    assert_eq!(roots(&mut world), expected);
}

#[test]
fn only_so_many_roots_are_kept() {
    let mut world = world(&authority());
    for _ in 0..10 {
        world.exchange("PUT", CONFIGURATION, &given(&authority()).to_string());
    }
    assert_eq!(roots(&mut world).len(), 8);
}

#[test]
fn a_configuration_is_read_back_and_leaves_the_root() {
    let first = authority();
    let mut world = world(&first);
    let default = world.read(CONFIGURATION);
    assert_eq!(
        (&default["Provider"], &default["Config"]["LeafCertTTL"]),
        (&"consul".into(), &"72h".into())
    );
    let body = json!({
        "Provider": "consul", "ForceWithoutCrossSigning": true,
        "Config": {"leaf_cert_ttl": "1h", "RootCertTTL": "9h", "RotationPeriod": "", "test_state": {"a": "b"}},
    });
    assert_eq!(world.exchange("PUT", CONFIGURATION, &body.to_string()), (200, ""));
    let read = world.read(CONFIGURATION);
    assert_eq!(
        (&read["Config"]["LeafCertTTL"], &read["Config"]["RootCertTTL"]),
        (&"1h".into(), &"9h".into())
    );
    assert_eq!((&read["State"], &read["CreateIndex"]), (&json!({"a": "b"}), &40.into()));
    assert!(read["ModifyIndex"].as_u64() > Some(40));
    assert!(!read.to_string().contains("PRIVATE KEY"));
    assert_eq!(roots(&mut world), [(first.id, true)]);
}

#[test]
fn what_cannot_be_an_authority_is_refused_and_changes_nothing() {
    let (first, second, third) = (authority(), authority(), authority());
    let mut world = world(&first);
    let leaf =
        second.issue("web", "dc1", Timestamp(second.not_before.0 + DAY_MS), ca::LEAF_TTL).unwrap();
    let root = |cert: &str, key: &str| json!({"Config": {"RootCert": cert, "PrivateKey": key}});
    for (body, word) in [
        (root(&second.cert_pem, ""), "must be given together"),
        (root("", &second.key_pem), "must be given together"),
        (root(&second.cert_pem, &third.key_pem), "the private key is another certificate's"),
        (root("nonsense", &third.key_pem), "it is no PEM"),
        (root(&second.cert_pem, "nonsense"), "its private key cannot be read"),
        (root(&second.key_pem, &second.key_pem), "it is no certificate"),
        (root(&leaf.cert_pem, &leaf.key_pem), "it is not the certificate of an authority"),
        (json!({"Config": {"LeafCertTTL": "59m"}}), "LeafCertTTL must be a duration of one hour"),
        (json!({"Config": {"RootCertTTL": "soon"}}), "RootCertTTL must be a duration of one hour"),
        (json!({"Provider": "vault", "Config": {}}), "unknown CA provider \"vault\""),
        (json!({"Config": {"Nonsense": "x"}}), "\"Nonsense\" is not supported"),
    ] {
        let told = world.exchange("PUT", CONFIGURATION, &body.to_string());
        assert_eq!(told.status, 500, "{told:?}");
        assert!(told.text.contains(word), "{word}: {told:?}");
        assert!(!told.text.contains("PRIVATE KEY"), "{told:?}");
        assert_eq!(world.catalog.revision().0, 40);
    }
    let told = world.exchange("PUT", CONFIGURATION, "{\"Provider\":");
    assert_eq!(told.status, 400, "{told:?}");
}
