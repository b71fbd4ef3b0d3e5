//! Names of prepared queries.

use std::time::Duration;

use hickory_proto::op::ResponseCode::{NXDomain, NoError};
use hickory_proto::rr::RecordType::{A, SRV};
use model::{Object, PreparedQuery, QueryTemplate, QueryTtl, Record, ServiceQuery};

use super::fixture::mesh;

fn query(id: &str, name: &str, service: &str) -> PreparedQuery {
    PreparedQuery {
        id: id.into(),
        name: name.into(),
        service: ServiceQuery { service: service.into(), ..ServiceQuery::default() },
        dns_ttl: Some(QueryTtl { text: "7s".into(), time: Duration::from_secs(7) }),
        ..PreparedQuery::default()
    }
}

#[test]
fn a_query_is_found_by_its_name_its_id_and_the_names_that_its_template_stands_for() {
    let template = PreparedQuery {
        template: QueryTemplate { kind: "name_prefix_match".into(), ..QueryTemplate::default() },
        ..query("2", "geo-", "${name.suffix}")
    };
    let mut fixture = mesh();
    for query in [query("1", "main.web", "web"), query("3", "gone", "down"), template] {
        fixture = fixture.put(&Object::Record(Record::PreparedQuery(query)));
    }
    for (name, rtype, code, count) in [
        ("main.web.query.consul.", A, NoError, 2),
        ("1.query.consul.", A, NoError, 2),
        ("MAIN.web.query.dc1.consul.", SRV, NoError, 2),
        ("geo-web.query.consul.", A, NoError, 2),
        ("_geo-web._tcp.query.consul.", SRV, NoError, 2),
        ("geo-nothing.query.consul.", A, NXDomain, 0),
        ("gone.query.consul.", A, NXDomain, 0),
        ("other.query.consul.", A, NXDomain, 0),
        ("main.web.query.dc2.consul.", A, NXDomain, 0),
        ("query.consul.", A, NXDomain, 0),
    ] {
        let reply = fixture.ask(name, rtype);
        assert_eq!((reply.metadata.response_code, reply.answers.len()), (code, count), "{name}");
        assert!(reply.answers.iter().all(|it| it.ttl == 7), "{name}: {:?}", reply.answers);
    }
}
