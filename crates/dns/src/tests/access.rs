//! What may not be found is not there.

use std::sync::Arc;

use acl::{Authorizer, DefaultPolicy, Rules};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use model::{Object, PreparedQuery, Record, ServiceQuery};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::fixture::{Fixture, NOW, question};
use crate::{Answer, DnsConfig, Transport, answer};

fn authorizer(rules: &str) -> Arc<Authorizer> {
    let rules = Rules::parse(rules).unwrap();
    Arc::new(Authorizer::new([&rules], DefaultPolicy::Deny))
}

fn mesh() -> Fixture {
    let query = PreparedQuery {
        id: "5e000000-0000-4000-8000-0000000000aa".to_owned(),
        name: "all".to_owned(),
        token: "of the query".into(),
        service: ServiceQuery { service: "web".to_owned(), ..ServiceQuery::default() },
        ..PreparedQuery::default()
    };
    Fixture::default()
        .node("n1", "10.0.0.1")
        .node("n2", "10.0.0.2")
        .instance("n1", "web", "", 80)
        .instance("n2", "web", "", 80)
        .instance("n1", "db", "", 80)
        .put(&Object::Record(Record::PreparedQuery(query)))
}

/// How many answers there are, and the code.
fn ask(name: &str, qtype: RecordType, rules: &str) -> (usize, ResponseCode) {
    let who = |secret: &str| match secret {
        "" => authorizer(rules),
        _ => authorizer(
            r#"node_prefix "" { policy = "read" } service_prefix "" { policy = "read" }"#,
        ),
    };
    let mut rng = StdRng::seed_from_u64(7);
    let (request, config) = (question(name, qtype, None), DnsConfig::default());
    let mesh = mesh();
    let reply = answer(&request, &mesh.0, &who, &config, Transport::Udp, &mut rng, NOW);
    let Answer::Reply(bytes) = reply else { panic!("no reply") };
    let reply = Message::from_vec(&bytes).unwrap();
    (reply.answers.len(), reply.metadata.response_code)
}

#[test]
fn nodes_and_services_that_may_not_be_found_vanish() {
    let all = r#"node_prefix "" { policy = "read" } service_prefix "" { policy = "read" }"#;
    let some = r#"node "n1" { policy = "read" } service "web" { policy = "read" }"#;
    let found = |count| (count, ResponseCode::NoError);
    let gone = (0, ResponseCode::NXDomain);
    for (name, qtype, rules, expected) in [
        ("web.service.consul.", RecordType::A, all, found(2)),
        ("web.service.consul.", RecordType::A, some, found(1)),
        ("web.service.consul.", RecordType::SRV, some, found(1)),
        ("web.service.consul.", RecordType::A, "", gone),
        ("db.service.consul.", RecordType::A, all, found(1)),
        ("db.service.consul.", RecordType::A, some, gone),
        ("n1.node.consul.", RecordType::A, some, found(1)),
        ("n2.node.consul.", RecordType::A, some, gone),
        ("1.0.0.10.in-addr.arpa.", RecordType::PTR, some, found(1)),
        ("2.0.0.10.in-addr.arpa.", RecordType::PTR, some, gone),
        // What the query's own token may find.
        ("all.query.consul.", RecordType::A, "", found(2)),
    ] {
        assert_eq!(ask(name, qtype, rules), expected, "{name} {qtype} with {rules}");
    }
}
