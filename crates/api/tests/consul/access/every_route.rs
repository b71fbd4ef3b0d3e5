//! All endpoints that there are, asked without a token, with one that is not there, with one that is bound to nothing, with
//! one that may see everything, and with one of management. An endpoint without an expectation here fails the test.

use api::Step;
use http::Method;

use super::{MANAGER, READER, WEAK, asked, guarded};
use crate::fixture::World;

/// What comes of a request.
#[derive(Clone, Copy, Debug)]
enum Expect {
    /// Everybody is answered, also with a token that is not there.
    Open,
    /// Everybody is answered whose token is there.
    Known,
    /// For who may read, and for management.
    Read,
    /// For management, and for who may write.
    Write,
    /// As `Write`, and refused in the body of the answer, operation by operation.
    WriteInTxn,
    /// Everybody is answered with what he may see: those who may see nothing with this body, and with a token are told.
    List(&'static str),
    /// As `List`, and nothing is 404.
    ListOr404,
    /// Everybody is answered, and there is nothing to be seen by anybody.
    Nothing,
}
use Expect::{Known, List, ListOr404, Nothing, Open, Read, Write, WriteInTxn};

const ACCESSOR: &str = "5e000000-0000-4000-8000-00000000000a";
const TXN: &str = r#"[{"KV":{"Verb":"set","Key":"x","Value":""}}]"#;
const INSTANCE: &str = r#"{"Name":"web"}"#;
const QUERY: &str = r#"{"Name":"q2","Service":{"Service":"web"}}"#;
const INTENTION: &str = r#"{"SourceName":"a","DestinationName":"b","Action":"allow"}"#;
const ENTRY: &str = r#"{"Kind":"service-defaults","Name":"web","Protocol":"tcp"}"#;
const COORDINATE: &str =
    r#"{"Node":"n1","Coord":{"Vec":[0,0,0,0,0,0,0,0],"Error":1.5,"Adjustment":0,"Height":0.1}}"#;
const SPIFFE: &str =
    r#"{"Target":"web","ClientCertURI":"spiffe://x.consul/ns/default/dc/dc1/svc/db"}"#;

/// Pattern of the endpoint; method; a path, which is the pattern with this at its end unless it has a slash at its
/// beginning; body; what comes of it.
type Row = (&'static str, &'static str, &'static str, &'static str, Expect);

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("/v1/agent/self", "GET", "", "", Read),
    ("/v1/agent/version", "GET", "", "", Open),
    ("/v1/agent/members", "GET", "", "", List("[]")),
    ("/v1/agent/reload", "PUT", "", "", Write),
    ("/v1/agent/maintenance", "PUT", "?enable=true", "", Write),
    ("/v1/agent/services", "GET", "", "", List("{}")),
    ("/v1/agent/service/", "GET", "web1", "", Read),
    ("/v1/agent/service/register", "PUT", "", INSTANCE, Write),
    ("/v1/agent/service/deregister/", "PUT", "web1", "", Write),
    ("/v1/agent/service/maintenance/", "PUT", "web1?enable=true", "", Write),
    ("/v1/agent/checks", "GET", "", "", List("{}")),
    ("/v1/agent/check/register", "PUT", "", r#"{"Name":"c","TTL":"9s"}"#, Write),
    ("/v1/agent/check/deregister/", "PUT", "mem", "", Write),
    ("/v1/agent/check/pass/", "PUT", "db-ttl", "", Write),
    ("/v1/agent/check/warn/", "PUT", "db-ttl", "", Write),
    ("/v1/agent/check/fail/", "PUT", "db-ttl", "", Write),
    ("/v1/agent/check/update/", "PUT", "db-ttl", r#"{"Status":"passing"}"#, Write),
    ("/v1/agent/health/service/id/", "GET", "web1", "", Read),
    ("/v1/agent/health/service/name/", "GET", "web", "", Read),
    ("/v1/agent/connect/ca/roots", "GET", "", "", Open),
    ("/v1/agent/connect/ca/leaf/", "GET", "web", "", Write),
    ("/v1/agent/connect/authorize", "POST", "", SPIFFE, Write),
    ("/v1/agent/force-leave/", "PUT", "ext", "", Write),
    ("/v1/agent/host", "GET", "", "", Read),
    ("/v1/agent/join/", "PUT", "10.0.0.1", "", Write),
    ("/v1/agent/leave", "PUT", "", "", Write),
    ("/v1/agent/metrics", "GET", "", "", Read),
    ("/v1/agent/metrics/stream", "GET", "", "", Read),
    ("/v1/agent/monitor", "GET", "", "", Read),
    ("/v1/agent/token/", "PUT", "default", r#"{"Token":"x"}"#, Write),
    ("/v1/catalog/register", "PUT", "", r#"{"Node":"n9","Address":"10.0.0.9"}"#, Write),
    ("/v1/catalog/register", "PUT", "", r#"{"Node":"ext","SkipNodeUpdate":true,"Service":{"Service":"web"}}"#, Write),
    ("/v1/catalog/register", "PUT", "", r#"{"Node":"ext","SkipNodeUpdate":true,"Check":{"Name":"c","Status":"passing"}}"#, Write),
    ("/v1/catalog/deregister", "PUT", "", r#"{"Node":"ext"}"#, Write),
    ("/v1/catalog/deregister", "PUT", "", r#"{"Node":"ext","ServiceID":"web2"}"#, Write),
    ("/v1/catalog/deregister", "PUT", "", r#"{"Node":"ext","CheckID":"web2-http"}"#, Write),
    ("/v1/catalog/datacenters", "GET", "", "", Open),
    ("/v1/catalog/nodes", "GET", "", "", List("[]")),
    ("/v1/catalog/services", "GET", "", "", List("{}")),
    ("/v1/catalog/service/", "GET", "web", "", List("[]")),
    ("/v1/catalog/connect/", "GET", "web", "", List("[]")),
    ("/v1/catalog/node/", "GET", "n1", "", List("null")),
    ("/v1/catalog/node-services/", "GET", "n1", "", List(r#"{"Node":null,"Services":null}"#)),
    ("/v1/catalog/gateway-services/", "GET", "web", "", Read),
    ("/v1/health/node/", "GET", "n1", "", List("[]")),
    ("/v1/health/checks/", "GET", "web", "", List("[]")),
    ("/v1/health/state/", "GET", "any", "", List("[]")),
    ("/v1/health/service/", "GET", "web", "", List("[]")),
    ("/v1/health/connect/", "GET", "web", "", List("[]")),
    ("/v1/health/ingress/", "GET", "web", "", Nothing),
    ("/v1/kv/", "GET", "app/a", "", Read),
    ("/v1/kv/", "GET", "app/?recurse", "", ListOr404),
    ("/v1/kv/", "GET", "?keys", "", List("[]")),
    ("/v1/kv/", "PUT", "app/b", "x", Write),
    ("/v1/kv/", "DELETE", "app/a", "", Write),
    ("/v1/kv/", "DELETE", "app/?recurse", "", Write),
    ("/v1/session/create", "PUT", "", "{}", Write),
    ("/v1/session/destroy/", "PUT", "0f3a0000-0000-4000-8000-000000000001", "", Write),
    ("/v1/session/renew/", "PUT", "0f3a0000-0000-4000-8000-000000000001", "", Write),
    ("/v1/session/info/", "GET", "0f3a0000-0000-4000-8000-000000000001", "", List("[]")),
    ("/v1/session/node/", "GET", "n1", "", List("[]")),
    ("/v1/session/list", "GET", "", "", List("[]")),
    ("/v1/txn", "PUT", "", TXN, WriteInTxn),
    ("/v1/status/leader", "GET", "", "", Open),
    ("/v1/status/peers", "GET", "", "", Open),
    ("/v1/coordinate/datacenters", "GET", "", "", Open),
    ("/v1/coordinate/nodes", "GET", "", "", List("[]")),
    ("/v1/coordinate/node/", "GET", "n1", "", Read),
    ("/v1/coordinate/update", "PUT", "", COORDINATE, Write),
    ("/v1/connect/ca/roots", "GET", "", "", Open),
    ("/v1/connect/ca/configuration", "GET", "", "", Read),
    ("/v1/connect/ca/configuration", "PUT", "", r#"{"Provider":"consul","Config":{}}"#, Write),
    ("/v1/connect/intentions", "GET", "", "", List("[]")),
    ("/v1/connect/intentions", "POST", "", INTENTION, Write),
    ("/v1/connect/intentions/", "GET", "5e000000-0000-4000-8000-0000000000ff", "", Known),
    ("/v1/connect/intentions/", "PUT", "5e000000-0000-4000-8000-0000000000ff", INTENTION, Write),
    ("/v1/connect/intentions/", "DELETE", "5e000000-0000-4000-8000-0000000000ff", "", Known),
    ("/v1/connect/intentions/check", "GET", "?source=db&destination=web", "", Read),
    ("/v1/connect/intentions/exact", "GET", "?source=db&destination=web", "", Read),
    ("/v1/connect/intentions/exact", "PUT", "?source=a&destination=b", r#"{"Action":"allow"}"#, Write),
    ("/v1/connect/intentions/exact", "DELETE", "?source=db&destination=web", "", Write),
    ("/v1/connect/intentions/match", "GET", "?by=destination&name=web", "", Read),
    ("/v1/config", "PUT", "", ENTRY, Write),
    ("/v1/config/", "GET", "service-defaults", "", List("[]")),
    ("/v1/config/", "GET", "service-defaults/web", "", Read),
    ("/v1/config/", "GET", "service-intentions/web", "", Read),
    ("/v1/config/", "GET", "mesh/mesh", "", Known),
    ("/v1/config/", "DELETE", "service-defaults/web", "", Write),
    ("/v1/config/", "DELETE", "proxy-defaults/global", "", Write),
    ("/v1/discovery-chain/", "GET", "web", "", Read),
    ("/v1/discovery-chain/", "POST", "web", "{}", Read),
    ("/v1/exported-services", "GET", "", "", Read),
    ("/v1/event/fire/", "PUT", "deploy", "", Write),
    ("/v1/event/list", "GET", "", "", List("[]")),
    ("/v1/internal/federation-state/", "GET", "dc1", "", Read),
    ("/v1/internal/federation-states", "GET", "", "", Read),
    ("/v1/internal/federation-states/mesh-gateways", "GET", "", "", Read),
    ("/v1/internal/service-virtual-ip", "PUT", "", "{}", Write),
    ("/v1/internal/ui/nodes", "GET", "", "", List("[]")),
    ("/v1/internal/ui/node/", "GET", "n1", "", List("null")),
    ("/v1/internal/ui/services", "GET", "", "", List("[]")),
    ("/v1/internal/ui/catalog-overview", "GET", "", "", Read),
    ("/v1/internal/ui/", "GET", "gateway-intentions/web", "", Known),
    ("/v1/internal/acl/authorize", "POST", "", r#"[{"Resource":"key","Access":"read","Segment":"x"}]"#, Known),
    ("/v1/operator/raft/configuration", "GET", "", "", Read),
    ("/v1/operator/raft/peer", "DELETE", "?id=x", "", Write),
    ("/v1/operator/raft/transfer-leader", "POST", "", "", Write),
    ("/v1/operator/autopilot/configuration", "GET", "", "", Read),
    ("/v1/operator/autopilot/configuration", "PUT", "", "{}", Write),
    ("/v1/operator/autopilot/health", "GET", "", "", Read),
    ("/v1/operator/autopilot/state", "GET", "", "", Read),
    ("/v1/operator/keyring", "GET", "", "", Read),
    ("/v1/operator/keyring", "POST", "", r#"{"Key":"x"}"#, Write),
    ("/v1/operator/keyring", "PUT", "", r#"{"Key":"x"}"#, Write),
    ("/v1/operator/keyring", "DELETE", "", r#"{"Key":"x"}"#, Write),
    ("/v1/operator/usage", "GET", "", "", Read),
    ("/v1/peering/", "GET", "x", "", Read),
    ("/v1/peering/", "DELETE", "x", "", Write),
    ("/v1/peering/establish", "POST", "", "{}", Write),
    ("/v1/peering/token", "POST", "", "{}", Write),
    ("/v1/peerings", "GET", "", "", Read),
    ("/v1/query", "GET", "", "", List("[]")),
    ("/v1/query", "POST", "", QUERY, Write),
    ("/v1/query/", "GET", "5e000000-0000-4000-8000-0000000000aa", "", Read),
    ("/v1/query/", "GET", "q1/explain", "", Read),
    ("/v1/query/", "GET", "q1/execute", "", Known),
    ("/v1/query/", "PUT", "5e000000-0000-4000-8000-0000000000aa", QUERY, Write),
    // Without a name nobody's rule is about it, but the one in whose place it comes has one.
    ("/v1/query/", "PUT", "5e000000-0000-4000-8000-0000000000aa", r#"{"Session":"0f3a0000-0000-4000-8000-000000000001","Service":{"Service":"web"}}"#, Write),
    ("/v1/query/", "DELETE", "5e000000-0000-4000-8000-0000000000aa", "", Write),
    ("/v1/snapshot", "GET", "", "", Write),
    ("/v1/snapshot", "PUT", "", "", Write),

    ("/v1/acl/auth-method", "PUT", "", "{}", Write),
    ("/v1/acl/auth-method/", "GET", "m", "", Read),
    ("/v1/acl/auth-method/", "PUT", "m", "{}", Write),
    ("/v1/acl/auth-method/", "DELETE", "m", "", Write),
    ("/v1/acl/auth-methods", "GET", "", "", Read),
    ("/v1/acl/binding-rule", "PUT", "", "{}", Write),
    ("/v1/acl/binding-rule/", "GET", "r", "", Read),
    ("/v1/acl/binding-rule/", "PUT", "r", "{}", Write),
    ("/v1/acl/binding-rule/", "DELETE", "r", "", Write),
    ("/v1/acl/binding-rules", "GET", "", "", Read),
    ("/v1/acl/bootstrap", "PUT", "", "", Open),
    ("/v1/acl/login", "POST", "", r#"{"AuthMethod":"m"}"#, Open),
    ("/v1/acl/policies", "GET", "", "", Read),
    ("/v1/acl/policy", "PUT", "", "{}", Write),
    ("/v1/acl/policy/", "GET", "p", "", Read),
    ("/v1/acl/policy/", "PUT", "p", "{}", Write),
    ("/v1/acl/policy/", "DELETE", "p", "", Write),
    ("/v1/acl/policy/name/", "GET", "p", "", Read),
    ("/v1/acl/replication", "GET", "", "", Read),
    ("/v1/acl/role", "PUT", "", "{}", Write),
    ("/v1/acl/role/", "GET", "r", "", Read),
    ("/v1/acl/role/", "PUT", "r", "{}", Write),
    ("/v1/acl/role/", "DELETE", "r", "", Write),
    ("/v1/acl/role/name/", "GET", "r", "", Read),
    ("/v1/acl/roles", "GET", "", "", Read),
    ("/v1/acl/templated-policies", "GET", "", "", Read),
    ("/v1/acl/templated-policy/name/", "GET", "builtin/dns", "", Read),
    ("/v1/acl/templated-policy/preview/", "POST", "builtin/dns", "", Read),
    ("/v1/acl/token", "PUT", "", "{}", Write),
    ("/v1/acl/token/", "GET", ACCESSOR, "", Read),
    ("/v1/acl/token/", "PUT", ACCESSOR, "{}", Write),
    ("/v1/acl/token/", "PUT", "5e000000-0000-4000-8000-00000000000a/clone", "", Write),
    ("/v1/acl/token/", "DELETE", ACCESSOR, "", Write),
    ("/v1/acl/token/self", "GET", "", "", Known),
    ("/v1/acl/tokens", "GET", "", "", Read),

    ("/leno/v1/status", "GET", "", "", Read),
    ("/leno/v1/services", "GET", "", "", List("[]")),
    ("/leno/v1/services/:name", "GET", "/leno/v1/services/web", "", List("[]")),
    ("/leno/v1/instances/:id", "GET", "/leno/v1/instances/web1", "", List("[]")),
    ("/leno/v1/documents", "GET", "", "", Read),
    ("/leno/v1/guards", "GET", "", "", Read),
    ("/leno/v1/apply", "POST", "", r#"{"files":[]}"#, Write),
    ("/leno/v1/delete", "POST", "", r#"{"files":[]}"#, Write),
    ("/leno/v1/workloads", "GET", "", "", Read),
    ("/leno/v1/workloads/logs", "GET", "", "", Read),
    ("/leno/v1/workloads/start", "POST", "", "", Write),
    ("/leno/v1/workloads/stop", "POST", "", "", Write),
    ("/leno/v1/workloads/restart", "POST", "", "", Write),
    ("/leno/v1/workloads/scale", "POST", "", "", Write),
    ("/leno/v1/workloads/pause", "POST", "", "", Write),
    ("/leno/v1/workloads/resume", "POST", "", "", Write),
    ("/leno/v1/workloads/promote", "POST", "", "", Write),
    ("/leno/v1/workloads/undo", "POST", "", "", Write),
    ("/leno/v1/workloads/retry", "POST", "", "", Write),
    ("/leno/v1/rollouts", "GET", "", "", Read),
    ("/leno/v1/proxies", "GET", "", "", Read),
    ("/leno/v1/proxies/follow", "POST", "", "", Write),
    ("/leno/v1/proxies/report", "POST", "", "", Write),
    ("/metrics", "GET", "", "", Read),
];

/// `/v1/acl/logout` has a test of its own: who may not is refused as who has not logged in is.
const ELSEWHERE: &[&str] = &["/v1/acl/logout"];
/// What the shell serves, once the door has nothing against it.
const OF_THE_SHELL: &[&str] = &[
    "/leno/v1/documents",
    "/leno/v1/guards",
    "/leno/v1/apply",
    "/leno/v1/delete",
    "/leno/v1/workloads",
    "/leno/v1/workloads/logs",
    "/leno/v1/workloads/start",
    "/leno/v1/workloads/stop",
    "/leno/v1/workloads/restart",
    "/leno/v1/workloads/scale",
    "/leno/v1/workloads/pause",
    "/leno/v1/workloads/resume",
    "/leno/v1/workloads/promote",
    "/leno/v1/workloads/undo",
    "/leno/v1/workloads/retry",
    "/leno/v1/rollouts",
    "/leno/v1/proxies",
    "/leno/v1/proxies/follow",
    "/leno/v1/proxies/report",
    "/metrics",
];

/// What came of a request, as far as it matters.
#[derive(Debug)]
struct Outcome {
    /// 0 for what goes on: a write, a wait, a certificate.
    status: u16,
    body: String,
    is_filtered: bool,
    /// It was refused for lack of permission.
    is_denied: bool,
    is_unknown: bool,
}

fn ask(world: &World, row: &Row, secret: &str) -> Outcome {
    let (pattern, method, end, body, _) = *row;
    let path = if end.starts_with('/') { end.to_owned() } else { format!("{pattern}{end}") };
    let request = asked(method, &path, body, secret);
    let response = if OF_THE_SHELL.contains(&pattern) {
        api::refuse(&request, &world.context())
    } else {
        match world.step(&request, false) {
            Step::Reply(response) => Some(response),
            Step::Wait { .. } | Step::Write(..) | Step::Leaf(_) | Step::AgentToken(..) => None,
        }
    };
    let status = response.as_ref().map_or(0, |it| it.status().as_u16());
    let body = response.as_ref().map(|it| String::from_utf8_lossy(it.body()).into_owned());
    let body = body.unwrap_or_default();
    let header = "x-consul-results-filtered-by-acls";
    let is_filtered = response.is_some_and(|it| it.headers().get(header).is_some());
    let is_denied = status == 403 && body.contains("Permission denied");
    let is_unknown = status == 403 && body == "ACL not found";
    Outcome { status, body, is_filtered, is_denied, is_unknown }
}

fn check(world: &World, row: &Row) {
    let expect = row.4;
    let [nobody, wrong, weak, reader, manager] =
        ["", "no-such-secret", WEAK, READER, MANAGER].map(|secret| ask(world, row, secret));
    let say = |what: &str| {
        format!(
            "{} {}{}: {what}: nobody {nobody:?}, wrong {wrong:?}, weak {weak:?}, reader {reader:?}, manager {manager:?}",
            row.1, row.0, row.2
        )
    };
    let passes = |it: &Outcome| !it.is_denied && !it.is_unknown;
    assert!(passes(&manager) || matches!(expect, Open), "{}", say("management may not"));
    if !matches!(expect, Open) {
        assert!(wrong.is_unknown, "{}", say("a secret of nobody"));
    }
    match expect {
        Open => {
            // Bootstrapping and logging in have refusals of their own, the same for all.
            for it in [&wrong, &weak, &reader, &manager] {
                let same = it.status == nobody.status || row.0 == "/v1/acl/login";
                assert!(same && !it.is_unknown, "{}", say("not open"));
            }
        }
        Known => {
            assert!(passes(&nobody) && passes(&weak) && passes(&reader), "{}", say("not for all"));
        }
        Read => {
            assert!(nobody.is_denied && weak.is_denied, "{}", say("whoever may not, may"));
            assert!(passes(&reader), "{}", say("whoever may read, may not"));
        }
        Write => {
            let all = [&nobody, &weak, &reader];
            assert!(all.iter().all(|it| it.is_denied), "{}", say("whoever may not, may"));
        }
        WriteInTxn => {
            for it in [&nobody, &weak, &reader] {
                let is_refused = it.status == 409 && it.body.contains("Permission denied");
                assert!(is_refused, "{}", say("whoever may not, may"));
            }
        }
        List(empty) => {
            for it in [&nobody, &weak] {
                assert_eq!((it.status, it.body.as_str()), (200, empty), "{}", say("not empty"));
            }
            for it in [&reader, &manager] {
                assert_eq!(it.status, 200, "{}", say("a list"));
                assert!(it.body != empty && !it.is_filtered, "{}", say("empty or filtered"));
            }
            assert!(weak.is_filtered && !nobody.is_filtered, "{}", say("who is told"));
        }
        ListOr404 => {
            assert_eq!((nobody.status, weak.status), (404, 404), "{}", say("not empty"));
            assert_eq!((reader.status, manager.status), (200, 200), "{}", say("a list"));
            assert!(weak.is_filtered && !nobody.is_filtered, "{}", say("who is told"));
        }
        Nothing => {
            for it in [&nobody, &weak, &reader, &manager] {
                assert_eq!((it.status, it.body.as_str()), (200, "[]"), "{}", say("something"));
            }
        }
    }
}

#[test]
fn every_endpoint_asks_for_what_is_expected_of_it() {
    let world = guarded();
    let mut missing = Vec::new();
    for (pattern, methods) in api::endpoints() {
        if ELSEWHERE.contains(&pattern) {
            continue;
        }
        for method in methods {
            if !ROWS.iter().any(|row| (row.0, row.1) == (pattern, method)) {
                missing.push(format!("{method} {pattern}"));
            }
        }
    }
    assert!(missing.is_empty(), "these have no expectation: {missing:#?}");
    for row in ROWS {
        let is_there = api::endpoints().any(|it| it.0 == row.0 && it.1.contains(&row.1));
        assert!(is_there, "there is no {} {}", row.1, row.0);
        check(&world, row);
    }
}

#[test]
fn nothing_is_asked_of_anybody_while_access_control_is_off() {
    let mut world = guarded();
    world.acl = api::Acl::default();
    for row in ROWS.iter().filter(|row| !row.0.starts_with("/v1/acl/")) {
        for secret in ["", "no-such-secret"] {
            let outcome = ask(&world, row, secret);
            assert_ne!(outcome.status, 403, "{} {}: {outcome:?}", row.1, row.0);
            assert!(!outcome.is_filtered, "{} {}: {outcome:?}", row.1, row.0);
        }
    }
    for row in ROWS.iter().filter(|row| row.0.starts_with("/v1/acl/")) {
        assert_eq!(ask(&world, row, MANAGER).status, 401, "{} {}", row.1, row.0);
    }
}

#[test]
fn other_methods_and_paths_ask_for_no_token() {
    let world = guarded();
    for (method, path, status) in [
        (Method::POST, "/v1/kv/x", 405),
        (Method::GET, "/v1/nothing", 404),
        (Method::OPTIONS, "/v1/txn", 200),
    ] {
        let request = asked(method.as_str(), path, "", "no-such-secret");
        let Step::Reply(response) = world.step(&request, false) else { panic!("no reply") };
        assert_eq!(response.status(), status, "{path}");
    }
}
