use std::net::TcpListener;

use super::*;

/// A server that answers each request on each connection, and counts nothing.
fn server(answer: &'static str) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let port = listener.local_addr().expect("it is bound").port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            thread::spawn(move || {
                let mut buffer = [0; 4096];
                let mut held = Vec::new();
                while let Ok(read @ 1..) = stream.read(&mut buffer) {
                    held.extend_from_slice(&buffer[..read]);
                    if held.ends_with(b"\r\n\r\n") {
                        held.clear();
                        let _ = stream.write_all(answer.as_bytes());
                    }
                }
            });
        }
    });
    port
}

const GOOD: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn load(plan: &Plan) -> anyhow::Result<Load> {
    busy(plan, &Target { address: plan.address, tls: None })
}

#[test]
fn a_plan_survives_the_way_into_its_process() {
    let mut plan = Plan::new(80, "/10m", 10, 3, Pace::Open { rate: 400, seconds: 2 });
    plan.certificate = Some("a/certificate.pem".into());
    plan.connection_each = true;
    let arguments = plan.arguments();
    assert_eq!(Plan::parse(&arguments[3]).expect("it is its own"), plan);
    assert!(Plan::parse("{}").is_err());
}

#[test]
fn an_open_loop_sends_exactly_what_was_due() {
    let plan = Plan::new(server(GOOD), "/", 2, 4, Pace::Open { rate: 203, seconds: 1 });
    let load = load(&plan).expect("the server is good");
    assert_eq!((load.requests, load.failures), (203, 0));
}

#[test]
fn a_closed_loop_of_no_time_sends_nothing() {
    let plan = Plan::new(server(GOOD), "/", 2, 4, Pace::Closed { seconds: 0 });
    assert_eq!(load(&plan).expect("nothing can fail").requests, 0);
}

#[test]
fn an_answer_of_another_length_fails_the_run() {
    let mut plan = Plan::new(server(GOOD), "/", 3, 1, Pace::Open { rate: 5, seconds: 1 });
    assert!(load(&plan).is_err());
    plan.tolerant = true;
    let load = load(&plan).expect("failures are counted");
    assert_eq!((load.requests, load.failures), (0, 5));
}

#[test]
fn a_bad_status_fails_the_run() {
    let answer = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\nno";
    let plan = Plan::new(server(answer), "/", 2, 1, Pace::Open { rate: 5, seconds: 1 });
    assert!(load(&plan).is_err());
}

#[test]
fn a_connection_may_serve_one_request_each() {
    let mut plan = Plan::new(server(GOOD), "/", 2, 2, Pace::Open { rate: 10, seconds: 1 });
    plan.connection_each = true;
    assert_eq!(load(&plan).expect("the server is good").requests, 10);
}

#[test]
fn each_target_is_reached_from_addresses_of_its_own() {
    let from =
        |port, number| source((Ipv4Addr::LOCALHOST, port).into(), number).map(|it| it.to_string());
    assert_eq!(from(0xab12, 0).expect("it is the first"), "127.171.18.1");
    assert_eq!(from(0xab13, 4).expect("it is the fifth"), "127.171.19.5");
    assert!(from(0xab12, 255).is_err());
}
