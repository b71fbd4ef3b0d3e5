//! The form of bodies: indented, compressed.

use std::io::Read;

use api::Step;
use bytes::Bytes;
use http::{Request, Response};

use crate::fixture::{World, request};

fn get(world: &World, path: &str, accepted: &str) -> Response<Bytes> {
    let mut request: Request<Bytes> = request("GET", path, "");
    request.headers_mut().insert("accept-encoding", accepted.parse().unwrap());
    match world.step(&request, false) {
        Step::Reply(response) => response,
        Step::Wait { .. } | Step::Write(..) | Step::Leaf(_) | Step::AgentToken(..) => {
            panic!("GET {path} does not reply")
        }
    }
}

#[test]
fn large_bodies_are_compressed_for_those_who_take_it() {
    let world = World::full();
    let plain = world.body("/v1/health/service/web");
    assert!(plain.len() >= 1400);
    for accepted in ["gzip", "br, GZIP;q=0.5", "deflate,gzip"] {
        let response = get(&world, "/v1/health/service/web", accepted);
        assert_eq!(response.headers()["content-encoding"], "gzip", "{accepted}");
        assert_eq!(response.headers()["vary"], "Accept-Encoding");
        let mut text = String::new();
        flate2::read::GzDecoder::new(&response.body()[..]).read_to_string(&mut text).unwrap();
        assert_eq!(text, plain);
    }
    for accepted in ["br", "gzip;q=0", "identity", "*"] {
        let response = get(&world, "/v1/health/service/web", accepted);
        assert!(!response.headers().contains_key("content-encoding"), "{accepted}");
        assert_eq!(response.body(), plain.as_bytes());
    }
}

#[test]
fn small_bodies_are_not_compressed() {
    let response = get(&World::full(), "/v1/catalog/datacenters", "gzip");
    assert!(!response.headers().contains_key("content-encoding"));
    assert_eq!(response.headers()["vary"], "Accept-Encoding");
}

#[test]
fn pretty_ends_the_line_and_dev_mode_does_not() {
    let mut world = World::full();
    assert_eq!(world.body("/v1/catalog/datacenters"), "[\"dc1\"]");
    assert_eq!(world.body("/v1/catalog/datacenters?pretty=0"), "[\n    \"dc1\"\n]\n");
    world.agent.dev = true;
    assert_eq!(world.body("/v1/catalog/datacenters"), "[\n    \"dc1\"\n]");
    assert_eq!(world.body("/v1/catalog/datacenters?pretty"), "[\n    \"dc1\"\n]\n");
}

#[test]
fn cached_reads_say_so() {
    let world = World::full();
    for path in [
        "/v1/catalog/datacenters",
        "/v1/catalog/services",
        "/v1/catalog/service/web",
        "/v1/catalog/connect/web",
        "/v1/health/service/web",
    ] {
        let response = world.get(&format!("{path}?cached"));
        assert_eq!(
            (&response.headers()["x-cache"], &response.headers()["age"]),
            (&"HIT".parse().unwrap(), &"0".parse().unwrap())
        );
        assert!(!world.get(path).headers().contains_key("x-cache"), "{path}");
    }
    assert!(!world.get("/v1/catalog/nodes?cached").headers().contains_key("x-cache"));
}
