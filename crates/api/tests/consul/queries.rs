//! Prepared queries: written, found by their names, answered.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::fixture::World;
use crate::tables::QUERIES;

const UNKNOWN: &str = "9e000000-0000-4000-8000-00000000ffff";

/// Writes a query; returns its id.
fn create(world: &mut World, body: &Value) -> String {
    let told = world.exchange("POST", "/v1/query", &body.to_string());
    assert_eq!(told.status, 200, "{told:?}");
    told.json()["ID"].as_str().unwrap().to_owned()
}

fn template(name: &str, service: &str) -> Value {
    json!({"Name": name, "Service": {"Service": service}, "Template": {"Type": "name_prefix_match"}})
}

fn named(name: &str, service: &str) -> Value {
    json!({"Name": name, "Service": {"Service": service}})
}

/// Ids of the instances that a query finds, in their order.
fn found(world: &mut World, path: &str) -> Vec<String> {
    let answer = world.read(&format!("/v1/query/{path}"));
    let nodes = answer["Nodes"].as_array().unwrap().iter();
    nodes.map(|it| it["Service"]["ID"].as_str().unwrap().to_owned()).collect()
}

fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort();
    ids
}

fn explained(world: &mut World, name: &str) -> Value {
    world.read(&format!("/v1/query/{name}/explain"))["Query"].clone()
}

#[test]
fn a_query_is_created_read_updated_and_deleted() {
    let mut world = World::full();
    let id = create(&mut world, &named("my-web", "web"));
    let path = format!("/v1/query/{id}");
    let read = world.read(&path);
    assert_eq!((&read[0]["Name"], &read[0]["ID"]), (&"my-web".into(), &id.as_str().into()));
    assert_eq!(read[0]["CreateIndex"], read[0]["ModifyIndex"]);
    let seen = world.index("/v1/query");
    assert!(world.waits(&format!("/v1/query?index={seen}")));

    // The id in the path counts, whatever the body says.
    let mut body = named("my-web", "db");
    body["ID"] = UNKNOWN.into();
    assert_eq!(
        world.exchange(
            "PUT",
            &path.to_uppercase().replace("/V1/QUERY", "/v1/query"),
            &body.to_string()
        ),
        (200, "")
    );
    assert!(!world.waits(&format!("/v1/query?index={seen}")));
    let read = world.read(&path);
    assert_eq!(read[0]["Service"]["Service"], "db");
    assert!(read[0]["ModifyIndex"].as_u64() > read[0]["CreateIndex"].as_u64());
    assert_eq!(found(&mut world, "my-web/execute"), ["db/1"]);

    assert_eq!(world.exchange("DELETE", &path, ""), (200, ""));
    assert_eq!(world.exchange("DELETE", &path, ""), (200, ""), "it is gone already");
    assert_eq!(world.exchange("GET", &path, ""), (404, "Query not found"));
    assert_eq!(world.exchange("GET", "/v1/query/my-web/execute", ""), (404, "Query not found"));
    assert_eq!(world.read("/v1/query"), json!([]));
}

#[test]
fn refusals_have_consuls_texts() {
    let mut world = World::of_queries();
    let put = format!("/v1/query/{UNKNOWN}");
    let own = format!("/v1/query/{}", QUERIES[0]);
    let unbound = json!({"Name": "s", "Session": UNKNOWN, "Service": {"Service": "web"}});
    let missing = format!("Cannot modify non-existent prepared query: '{UNKNOWN}'");
    let session = format!("raft apply failed: invalid session \"{UNKNOWN}\"");
    let alias_id = format!("raft apply failed: name '{}' aliases an existing query ID", QUERIES[1]);
    let upper = QUERIES[1].to_uppercase();
    let alias_upper = format!("raft apply failed: name '{upper}' aliases an existing query ID");
    let catch_all = "raft apply failed: a query template with an empty name already exists";
    let taken =
        |name: &str| format!("raft apply failed: name '{name}' aliases an existing query name");
    for (method, path, body, text) in [
        ("PUT", put.as_str(), named("new", "web"), missing.as_str()),
        ("POST", "/v1/query", unbound, &session),
        ("POST", "/v1/query", named("web-all", "web"), &taken("web-all")),
        ("POST", "/v1/query", named("WEB-All", "web"), &taken("WEB-All")),
        ("POST", "/v1/query", named("geo-", "web"), &taken("geo-")),
        ("POST", "/v1/query", template("web-all", "web"), &taken("web-all")),
        ("POST", "/v1/query", template("geo-db", "web"), &taken("geo-db")),
        ("POST", "/v1/query", template("", "web"), catch_all),
        ("POST", "/v1/query", named(QUERIES[1], "web"), &alias_id),
        ("POST", "/v1/query", named(&upper, "web"), &alias_upper),
        ("PUT", &own, named("geo-db", "web"), &taken("geo-db")),
    ] {
        let before = world.catalog.revision();
        let told = world.exchange(method, path, &body.to_string());
        assert_eq!(told, (500, text), "{method} {path} {body}");
        assert_eq!(world.catalog.revision(), before);
    }
    // What a query is called already is no other's name.
    assert_eq!(world.exchange("PUT", &own, &named("Web-All", "web").to_string()), (200, ""));
}

#[test]
fn a_name_finds_its_query_then_the_template_with_the_longest_name() {
    let mut world = World::of_queries();
    for (asked, service) in [
        ("web-all", "web"),
        ("WEB-ALL", "web"),
        ("geo-mail-v1", "mail"),
        ("geo-db", "db"),
        ("geo-db-x-y", "db"),
        ("GEO-DB-x", "db"),
        ("web", "web"),
        ("anything", "anything"),
    ] {
        assert_eq!(explained(&mut world, asked)["Service"]["Service"], service, "{asked}");
    }
    // The regular expression does not fit, so the service has no name, and nothing is found.
    assert_eq!(explained(&mut world, "geo-x")["Service"]["Service"], "");
    assert!(found(&mut world, "geo-x/execute").is_empty());
    let text = "prepared query templates can only be resolved up by name, not by ID";
    for end in ["execute", "explain"] {
        assert_eq!(
            world.exchange("GET", &format!("/v1/query/{}/{end}", QUERIES[1]), ""),
            (500, text)
        );
    }
    assert_eq!(
        sorted(found(&mut world, &format!("{}/execute", QUERIES[0]))),
        ["web1", "web2", "web3"]
    );
}

#[test]
fn a_template_fills_every_text_of_its_query() {
    let mut world = World::full();
    let body = json!({
        "Name": "t-",
        "Template": {"Type": "name_prefix_match", "Regexp": "^t-(\\w+)-(\\w*)$", "RemoveEmptyTags": true},
        "Service": {
            "Service": "${ match(1) }", "Near": "${name.suffix}",
            "Tags": ["${match(2)}", "!${match(2)}", "${match(9)}", "$${name.full}", "a${agent.segment}b"],
            "NodeMeta": {"k": "${name.prefix}"}, "ServiceMeta": {"m": "${match(0)}"},
            "Failover": {"Datacenters": ["${match(1)}-dc"]},
        },
    });
    create(&mut world, &body);
    let service = explained(&mut world, "t-web-")["Service"].clone();
    assert_eq!((&service["Service"], &service["Near"]), (&"web".into(), &"web-".into()));
    assert_eq!(service["Tags"], json!(["${name.full}", "ab"]));
    assert_eq!(service["NodeMeta"], json!({"k": "t-"}));
    assert_eq!(service["ServiceMeta"], json!({"m": "t-web-"}));
    assert_eq!(service["Failover"]["Datacenters"], json!(["web-dc"]));
    let service = explained(&mut world, "t-web-blue")["Service"].clone();
    assert_eq!(service["Tags"], json!(["blue", "!blue", "${name.full}", "ab"]));
}

#[test]
fn the_rules_of_a_query_decide_whom_it_finds() {
    let mut world = World::full();
    let all = json!(["web1", "web2", "web3"]);
    // web2 has a critical check of its own; the node n1 has a check that passes.
    for (rules, expected) in [
        (json!({}), json!(["web1", "web3"])),
        (json!({"IgnoreCheckIDs": ["web2-http"]}), all),
        (json!({"IgnoreCheckIDs": ["other"]}), json!(["web1", "web3"])),
        (json!({"Tags": ["PRIMARY"], "IgnoreCheckIDs": ["web2-http"]}), json!(["web1", "web2"])),
        (json!({"Tags": ["!primary"]}), json!(["web3"])),
        (json!({"Tags": ["primary", "!v1"]}), json!(["web1"])),
        (json!({"Tags": ["none"]}), json!([])),
        (json!({"NodeMeta": {"consul-version": "1.21.4"}}), json!(["web1"])),
        (json!({"NodeMeta": {"consul-version": "0"}}), json!([])),
        (json!({"ServiceMeta": {"team": "R&D"}, "IgnoreCheckIDs": ["web2-http"]}), json!(["web2"])),
        (json!({"Connect": true, "IgnoreCheckIDs": ["web2-http"]}), json!(["web2"])),
        (json!({"Peer": "other"}), json!([])),
    ] {
        let mut body = json!({"Name": "q", "Service": rules});
        body["Service"]["Service"] = "Web".into();
        let id = create(&mut world, &body);
        assert_eq!(json!(sorted(found(&mut world, "q/execute"))), expected, "{rules}");
        world.exchange("DELETE", &format!("/v1/query/{id}"), "");
    }
}

#[test]
fn warnings_are_found_unless_only_passing() {
    let mut world = World::full();
    create(&mut world, &named("any", "db"));
    create(&mut world, &json!({"Name": "well", "Service": {"Service": "db", "OnlyPassing": true}}));
    assert_eq!(found(&mut world, "any/execute"), ["db/1"]);
    assert!(found(&mut world, "well/execute").is_empty());
    let body = json!({
        "Name": "blind", "Service": {"Service": "db", "OnlyPassing": true, "IgnoreCheckIDs": ["db-ttl"]},
    });
    create(&mut world, &body);
    assert_eq!(found(&mut world, "blind/execute"), ["db/1"]);
}

#[test]
fn those_who_are_near_come_first_and_the_limit_comes_last() {
    let mut world = World::of_coordinates();
    let body = json!({
        "Name": "q", "Service": {"Service": "web", "IgnoreCheckIDs": ["web2-http"], "Near": "ext"},
    });
    create(&mut world, &body);
    for _ in 0..20 {
        let near_ext = found(&mut world, "q/execute");
        assert_eq!(near_ext[2], "web1", "{near_ext:?}");
        for near in ["n1", "_agent", "N1"] {
            assert_eq!(found(&mut world, &format!("q/execute?near={near}"))[0], "web1", "{near}");
        }
        assert_eq!(found(&mut world, "q/execute?near=_agent&limit=1"), ["web1"]);
        assert_eq!(found(&mut world, "q/execute?limit=2").len(), 2);
    }
    // No limit, as with Go's numbers.
    for limit in ["0", "-1", "100"] {
        assert_eq!(found(&mut world, &format!("q/execute?limit={limit}")).len(), 3, "{limit}");
    }
    let text = "Bad limit: strconv.Atoi: parsing \"x\": invalid syntax";
    assert_eq!(world.exchange("GET", "/v1/query/q/execute?limit=x", ""), (500, text));
}

#[test]
fn without_near_the_order_changes_from_time_to_time() {
    let mut world = World::full();
    create(
        &mut world,
        &json!({"Name": "q", "Service": {"Service": "web", "IgnoreCheckIDs": ["web2-http"]}}),
    );
    let mut firsts: Vec<String> =
        (0..60).map(|_| found(&mut world, "q/execute").remove(0)).collect();
    firsts.sort();
    firsts.dedup();
    assert_eq!(firsts, ["web1", "web2", "web3"]);
}

#[test]
fn datacenters_that_are_not_known_are_passed_by_and_peers_are_tried_in_vain() {
    let mut world = World::full();
    for (name, failover, tried) in [
        ("unknown", json!({"Datacenters": ["dc2", "dc3"]}), 0),
        ("own", json!({"Datacenters": ["dc2", "dc1"]}), 1),
        ("nearest", json!({"NearestN": 3}), 1),
        ("targets", json!({"Targets": [{"Datacenter": "dc2"}, {"Peer": "a"}, {"Peer": "b"}]}), 2),
    ] {
        let body = json!({
            "Name": name, "Service": {"Service": "none", "Failover": failover},
            "DNS": {"TTL": "10s"},
        });
        create(&mut world, &body);
        let answer = world.read(&format!("/v1/query/{name}/execute?cached"));
        assert_eq!((&answer["Nodes"], &answer["Failovers"]), (&json!([]), &tried.into()), "{name}");
        assert_eq!((&answer["DNS"]["TTL"], &answer["Datacenter"]), (&"10s".into(), &"dc1".into()));
    }
}

#[test]
fn a_query_ends_with_its_session() {
    let mut world = World::full();
    let told = world.exchange("PUT", "/v1/session/create", "{}");
    let session = told.json()["ID"].as_str().unwrap().to_owned();
    let bound = json!({"Session": session, "Service": {"Service": "web"}});
    let id = create(&mut world, &bound);
    let kept = create(&mut world, &named("kept", "web"));
    let moved = create(&mut world, &named("moved", "web"));
    let mut body = named("moved", "web");
    body["Session"] = session.as_str().into();
    assert_eq!(world.exchange("PUT", &format!("/v1/query/{moved}"), &body.to_string()), (200, ""));
    assert_eq!(world.read(&format!("/v1/query/{id}"))[0]["Session"], session.as_str());
    world.exchange("PUT", &format!("/v1/session/destroy/{session}"), "");
    for gone in [id, moved] {
        assert_eq!(
            world.exchange("GET", &format!("/v1/query/{gone}"), ""),
            (404, "Query not found")
        );
    }
    assert_eq!(world.exchange("GET", &format!("/v1/query/{kept}"), "").status, 200);
}

fn any_name() -> impl Strategy<Value = String> {
    prop_oneof!["[ab]{0,3}", "[AB]{1,2}"]
}

proptest! {
    /// Whatever queries there are, a name finds the one that is called so, else the template with the longest name that it
    /// starts with; and no two have the same name.
    #[test]
    fn names_find_what_a_plain_search_finds(
        written in proptest::collection::vec((any_name(), any::<bool>()), 0..10),
        asked in "[abAB]{1,4}",
    ) {
        let mut world = World::full();
        let mut there: Vec<(String, bool)> = Vec::new();
        for (name, is_template) in written {
            let body = if is_template { template(&name, "x") } else { named(&name, "x") };
            let told = world.exchange("POST", "/v1/query", &body.to_string());
            let is_taken = there.iter().any(|it| it.0 == name.to_lowercase());
            let is_nameless = name.is_empty() && !is_template;
            prop_assert_eq!(told.status == 200, !is_taken && !is_nameless, "{:?}", told);
            if told.status == 200 {
                there.push((name.to_lowercase(), is_template));
            }
        }
        let lower = asked.to_lowercase();
        let exact = there.iter().find(|it| it.0 == lower);
        let prefix = there.iter().filter(|it| it.1 && lower.starts_with(&it.0)).max_by_key(|it| it.0.len());
        let told = world.exchange("GET", &format!("/v1/query/{asked}/explain"), "");
        match exact.or(prefix) {
            None => prop_assert_eq!(told.status, 404),
            Some((name, _)) => {
                let is = told.json()["Query"]["Name"].as_str().unwrap().to_lowercase();
                prop_assert_eq!(&is, name);
            }
        }
    }
}
