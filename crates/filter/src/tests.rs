use std::sync::Arc;
use std::time::Duration;

use model::{
    Check, CheckDefinition, CheckStatus, FlatMap, Instance, Node, Origin, ServiceAddress, Weights,
};
use proptest::prelude::*;

use super::row::Value;
use super::schema::Kind;
use super::syntax::{Condition, Expression, Operator, Selector};
use super::*;

mod corpus;
mod grammar;

fn strings(pairs: &[(&str, &str)]) -> FlatMap<String> {
    pairs.iter().map(|(key, value)| (*key, (*value).to_owned())).collect()
}

fn node() -> Node {
    Node {
        id: "8c7f0a2e".into(),
        name: "n1".into(),
        address: "10.0.0.1".into(),
        tagged_addresses: Some(strings(&[("lan", "10.0.0.1")])),
        meta: Some(strings(&[("rack-id", "r1"), ("zone", "a")])),
        locality: None,
    }
}

fn instance() -> Instance {
    let address = ServiceAddress { address: "1.2.3.4".into(), port: 81 };
    Instance {
        node: "n1".into(),
        id: "web-1".into(),
        service: "web".into(),
        tags: vec!["primary".into(), "v1".into()],
        address: "10.0.0.5".into(),
        tagged_addresses: [("wan", address)].into_iter().collect(),
        meta: Some(strings(&[("version", "1.2.3"), ("empty", "")])),
        port: 80,
        weights: Weights { passing: 10, warning: 1 },
        connect_native: true,
        ..Instance::default()
    }
}

fn check(id: &str, service: &str, status: CheckStatus) -> Check {
    let definition = CheckDefinition { interval: Duration::from_secs(90), ..Default::default() };
    Check {
        node: "n1".into(),
        id: id.into(),
        service_id: service.into(),
        status,
        kind: "http".into(),
        definition: Some(Arc::new(definition)),
        origin: Origin::Agent,
        ..Check::default()
    }
}

/// What `filter` says about the sample row of `health/service`.
fn ask_health(filter: &str) -> Result<bool, String> {
    let filter = Filter::parse(filter, &CHECK_SERVICE_NODE).map_err(|it| it.to_string())?;
    let (node, instance) = (node(), instance());
    let of_node = check("mem", "", CheckStatus::Passing);
    let of_service = check("service:web-1", "web-1", CheckStatus::Critical);
    let checks = [&of_node, &of_service];
    let row = HealthRow { node: &node, datacenter: "dc1", instance: &instance, checks: &checks };
    Ok(filter.matches(&row))
}

/// Filters, and whether they hold of the sample row.
const MEANINGS: &[(&str, bool)] = &[
    ("", true),
    // Strings.
    ("Service.Service == web", true),
    ("Service.Service == \"web\"", true),
    ("Service.Service == `web`", true),
    ("Service.Service==web", true),
    ("Service.Service != web", false),
    ("Service.ID == \"web-1\"", true),
    ("eb in Service.Service", true),
    ("Service.Service contains eb", true),
    ("Service.Service not contains eb", false),
    ("eb not in Service.Service", false),
    ("Service.Service matches `^w.b$`", true),
    ("Service.Service matches \"e\"", true),
    ("Service.Service not matches `^e`", true),
    ("Service.Kind == \"\"", true),
    ("Node.Datacenter == dc1", true),
    ("Node.PeerName == \"\"", true),
    // Numbers and truth values.
    ("Service.Port == 80", true),
    ("Service.Port == \"0x50\"", true),
    ("Service.Port != 80", false),
    ("Service.Port == -80", false),
    ("Service.Weights.Passing == 10", true),
    ("Service.Connect.Native == true", true),
    ("Service.Connect.Native == t", true),
    ("Service.Connect.Native != 0", true),
    ("Service.EnableTagOverride == false", true),
    // Lists of strings.
    ("primary in Service.Tags", true),
    ("prim in Service.Tags", false),
    ("Service.Tags contains v1", true),
    ("v2 not in Service.Tags", true),
    ("Service.Tags not contains v1", false),
    ("Service.Tags is empty", false),
    ("Service.Tags is not empty", true),
    // Maps.
    ("Service.Meta.version == \"1.2.3\"", true),
    ("Service.Meta[\"version\"] == \"1.2.3\"", true),
    ("Node.Meta[\"rack-id\"] == r1", true),
    ("Node.Meta[ `rack-id` ] == r1", true),
    ("version in Service.Meta", true),
    ("Service.Meta contains nope", false),
    ("nope not in Service.Meta", true),
    ("Service.Meta is not empty", true),
    ("Service.Meta.empty == \"\"", true),
    ("2.3 in Service.Meta.version", true),
    ("Service.TaggedAddresses.wan.Port == 81", true),
    ("Service.TaggedAddresses.wan.Address == \"1.2.3.4\"", true),
    ("wan in Service.TaggedAddresses", true),
    ("Service.TaggedAddresses is empty", false),
    ("Node.TaggedAddresses.lan matches \"^10[.]\"", true),
    // A key that is not there.
    ("Service.Meta.nope == \"\"", false),
    ("Service.Meta.nope == x", false),
    ("Service.Meta.nope != x", true),
    ("x in Service.Meta.nope", false),
    ("x not in Service.Meta.nope", true),
    ("Service.Meta.nope matches x", true),
    ("Service.Meta.nope not matches x", true),
    ("Service.TaggedAddresses.nope.Port == 0", false),
    ("Service.TaggedAddresses.nope.Port != 0", true),
    // Any of a list of structs.
    ("Checks.Status == passing", true),
    ("Checks.Status != passing", true),
    ("not Checks.Status == passing", false),
    ("not Checks.Status == warning", true),
    ("Checks.Status == warning", false),
    ("Checks.ServiceName == web", true),
    ("Checks.ServiceName == \"\"", true),
    ("v1 in Checks.ServiceTags", true),
    ("Checks.ServiceTags is empty", true),
    ("Checks.Interval == \"1m30s\"", true),
    ("Checks.Timeout == \"0s\"", true),
    ("Checks.Timeout == \"\"", true),
    ("Checks.Type == http", true),
    ("Checks is empty", false),
    ("Checks is not empty", true),
    // What is always zero here.
    ("Service.Proxy.DestinationServiceName == \"\"", true),
    ("Service.Proxy.LocalServicePort == 0", true),
    ("Service.Proxy.Upstreams is empty", true),
    ("Service.Proxy.Upstreams.DestinationName != x", false),
    ("Service.Proxy.MeshGateway.Mode in Service.Service", false),
    ("Service.Proxy.Expose.Checks == false", true),
    ("Service.Proxy.Mode matches `^$`", true),
    // How expressions combine.
    ("Service.Port == 1 and Service.Port == 1 or Service.Port == 80", true),
    ("Service.Port == 80 or Service.Port == 1 and Service.Port == 1", true),
    ("(Service.Port == 80 or Service.Port == 1) and Service.Port == 1", false),
    ("not Service.Port == 1 and Service.Port == 1", false),
    ("not (Service.Port == 1 and Service.Port == 1)", true),
    ("not not Service.Port == 80", true),
    ("not ( not ( Service.Port == 80 ) )", true),
];

#[test]
fn filters_mean_what_they_mean_to_go_bexpr() {
    for (filter, holds) in MEANINGS {
        let holds = *holds;
        assert_eq!(ask_health(filter), Ok(holds), "{filter}");
    }
}

#[test]
fn errors_have_go_bexprs_texts() {
    let cases = [
        ("Foo == 1", "Selector \"Foo\" is not valid"),
        ("Node.Foo.Bar == 1", "Selector \"Node.Foo\" is not valid"),
        ("node.Node == 1", "Selector \"node\" is not valid"),
        ("Service.Port.x == 1", "Selector \"Service.Port.x\" is not valid"),
        ("Service.Meta.a.b == 1", "Selector \"Service.Meta.a.b\" is not valid"),
        ("Service.CreateIndex == 1", "Selector \"Service.CreateIndex\" is not valid"),
        (
            "Service.Port matches x",
            "Invalid match operator \"Matches\" for selector \"Service.Port\"",
        ),
        (
            "1 not in Service.Port",
            "Invalid match operator \"Not In\" for selector \"Service.Port\"",
        ),
        ("Service == x", "Invalid match operator \"Equal\" for selector \"Service\""),
        (
            "Service.Service is empty",
            "Invalid match operator \"Is Empty\" for selector \"Service.Service\"",
        ),
        ("x in Checks", "Invalid match operator \"In\" for selector \"Checks\""),
        ("Service.Tags != x", "Invalid match operator \"Not Equal\" for selector \"Service.Tags\""),
        (
            "Service.Port == web",
            "Failed to coerce value \"web\" for selector \"Service.Port\": \
             strconv.ParseInt: parsing \"web\": invalid syntax",
        ),
        (
            "Service.Port == 99999999999999999999",
            "Failed to coerce value \"99999999999999999999\" for selector \"Service.Port\": \
             strconv.ParseInt: parsing \"99999999999999999999\": value out of range",
        ),
        (
            "Service.Connect.Native == yes",
            "Failed to coerce value \"yes\" for selector \"Service.Connect.Native\": \
             strconv.ParseBool: parsing \"yes\": invalid syntax",
        ),
        (
            "Service.Service matches `x(`",
            "Failed to compile regular expression \"x(\": error parsing regexp: unclosed group",
        ),
    ];
    for (filter, error) in cases {
        let expected = format!("Failed to create boolean expression evaluator: {error}");
        assert_eq!(ask_health(filter), Err(expected), "{filter}");
    }
}

#[test]
fn regular_expressions_are_few() {
    let one = "Service.Service matches x";
    let filter = |count: usize| vec![one; count].join(" or ");
    assert_eq!(ask_health(&filter(16)), Ok(false));
    let error = ask_health(&filter(17)).unwrap_err();
    assert!(error.ends_with("Expression has more than 16 regular expressions"), "{error}");
}

#[test]
fn an_empty_node_has_no_keys_and_no_elements() {
    let node = Node::default();
    let row = NodeRow { node: &node, datacenter: "" };
    let cases = [
        ("Meta is empty", true),
        ("Meta.a == b", false),
        ("Meta.a != b", true),
        ("a in Meta", false),
        ("TaggedAddresses.lan not matches x", true),
        ("TaggedAddresses is not empty", false),
    ];
    for (filter, holds) in cases {
        assert_eq!(Filter::parse(filter, &NODE).unwrap().matches(&row), holds, "{filter}");
    }
}

#[test]
fn members_are_filtered_by_tag_and_status() {
    let tags = strings(&[("role", "consul"), ("dc", "dc1")]);
    let row = MemberRow { name: "n1", address: "10.0.0.1", port: 8301, tags: &tags, status: 1 };
    for filter in ["Name == n1", "Tags.role == consul", "Status == 1", "Port == 8301", "dc in Tags"]
    {
        assert!(Filter::parse(filter, &MEMBER).unwrap().matches(&row), "{filter}");
    }
}

/// Every value that a view gives has the kind that the schema says; one that the view forgot would be zero.
#[test]
fn views_fit_their_schemas() {
    let (node, instance) = (node(), instance());
    let check = check("c", "web-1", CheckStatus::Warning);
    let tags = strings(&[("role", "consul")]);
    let datacenter = "dc1";
    let checks = [&check];
    let zeros = ["PeerName", "Proxy", "ServiceProxy", "ExposedPort"];
    let rows: [(&Schema, &dyn Row); 7] = [
        (&NODE, &NodeRow { node: &node, datacenter }),
        (&SERVICE_NODE, &ServiceNodeRow { node: &node, datacenter, instance: &instance }),
        (&NODE_SERVICE, &NodeServiceRow { instance: &instance }),
        (&AGENT_SERVICE, &NodeServiceRow { instance: &instance }),
        (&HEALTH_CHECK, &CheckRow { check: &check, instance: Some(&instance) }),
        (
            &CHECK_SERVICE_NODE,
            &HealthRow { node: &node, datacenter, instance: &instance, checks: &checks },
        ),
        (&MEMBER, &MemberRow { name: "n1", address: "10.0.0.1", port: 1, tags: &tags, status: 1 }),
    ];
    for (schema, row) in rows {
        assert_fits(row, schema, &zeros);
    }
}

fn assert_fits(row: &dyn Row, schema: &Schema, zeros: &[&str]) {
    for (name, kind) in schema.fields {
        match (row.field(name), kind) {
            (Value::Zero, _) => assert!(zeros.contains(name), "{name} has no value"),
            (Value::Str(_) | Value::Text(_), Kind::String)
            | (Value::Int(_), Kind::Int)
            | (Value::Bool(_), Kind::Bool)
            | (Value::Strings(_), Kind::Strings)
            | (Value::StringMap(_), Kind::StringMap) => {}
            (Value::StructMap(map), Kind::StructMap(Kind::Struct(inner))) => {
                assert_fits(&*map.row("wan").unwrap(), inner, zeros);
            }
            (Value::Struct(row), Kind::Struct(inner)) => assert_fits(&*row, inner, zeros),
            (Value::Structs(rows), Kind::Structs(inner)) => {
                assert_fits(&**rows.first().unwrap(), inner, zeros);
            }
            (_, kind) => panic!("{name} is not of kind {kind:?}"),
        }
    }
}
