//! Nothing from outside makes a door panic.

use api::Step;
use http::Method;
use proptest::prelude::*;

use crate::fixture::{World, request};

const ENDPOINTS: &[&str] = &[
    "agent/self",
    "agent/members",
    "agent/services",
    "agent/service/",
    "agent/checks",
    "agent/health/service/id/",
    "agent/health/service/name/",
    "agent/service/register",
    "agent/service/maintenance/",
    "agent/check/register",
    "agent/check/pass/",
    "agent/check/update/",
    "catalog/register",
    "catalog/deregister",
    "catalog/nodes",
    "catalog/services",
    "catalog/service/",
    "catalog/connect/",
    "catalog/node/",
    "catalog/node-services/",
    "health/node/",
    "health/checks/",
    "health/state/",
    "health/service/",
    "status/leader",
    "coordinate/node/",
    "kv/",
    "acl/token/",
];

proptest! {
    #[test]
    fn any_request_is_answered(
        endpoint in proptest::sample::select(ENDPOINTS),
        name in "[ -~\u{e9}]{0,12}",
        parameters in proptest::collection::vec(
            ("(index|wait|filter|tag|node-meta|passing|cached|stale|near|hash|enable|dc|pretty)", "[ -~]{0,16}"),
            0..4,
        ),
        method in proptest::sample::select(&[Method::GET, Method::PUT, Method::OPTIONS, Method::POST][..]),
        body in prop_oneof![Just(String::new()), "[ -~]{0,40}", "\\{\"[A-Z][a-z]{1,8}\":[0-9a-z\"{}\\[\\]]{0,8}\\}"],
        timed_out: bool,
    ) {
        let encode = |text: &str| {
            percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
        };
        let pairs: Vec<String> =
            parameters.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
        let path = format!("/v1/{endpoint}{}?{}", encode(&name), pairs.join("&"));
        let world = World::full();
        match world.step(&request(method.as_str(), &path, &body), timed_out) {
            Step::Reply(response) => prop_assert!(response.headers().contains_key("vary")),
            Step::Wait { timeout, .. } => prop_assert!(!timed_out && timeout.as_secs() <= 600),
            Step::Leaf(wanted) => prop_assert!(!wanted.service.is_empty()),
            Step::AgentToken(..) => unreachable!("access control is off"),
            Step::Write(_, reply) => {
                let done = api::WriteOutcome::Done(world.catalog.revision(), Vec::new());
                prop_assert_eq!(reply(done, &world.context()).status(), 200);
            }
        }
    }

    #[test]
    fn any_path_is_answered(path in "/[!-~]{0,30}") {
        if path.parse::<http::Uri>().is_ok() {
            World::empty().step(&request("GET", &path, ""), false);
        }
    }
}
