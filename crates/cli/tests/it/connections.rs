//! How many connections one client has, when nobody says otherwise.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::support::{Agent, HANG, eventually};

fn connect(agent: &Agent) -> TcpStream {
    let stream = TcpStream::connect(agent.http).expect("it listens");
    stream.set_read_timeout(Some(HANG)).expect("a timeout can be set");
    stream
}

/// The status line that a request on the connection gets; it stays open.
fn status(stream: &mut TcpStream) -> String {
    let request = b"GET /v1/status/leader HTTP/1.1\r\nHost: a\r\n\r\n";
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|it| it == 1) {
        answer.extend_from_slice(&byte);
    }
    let head = String::from_utf8_lossy(&answer).into_owned();
    let length = head
        .lines()
        .find_map(|it| it.to_lowercase().strip_prefix("content-length: ").map(str::to_owned));
    let mut body = vec![0; length.map_or(0, |it| it.parse().expect("a number"))];
    let _ = stream.read_exact(&mut body);
    head.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn the_201st_connection_of_a_client_is_told_so() {
    let agent = Agent::dev(&[]);
    let mut held: Vec<TcpStream> = (0..200).map(|_| connect(&agent)).collect();
    for stream in &mut held {
        assert_eq!(status(stream), "HTTP/1.1 200 OK");
    }
    assert_eq!(status(&mut connect(&agent)), "HTTP/1.1 429 Too Many Requests");
    assert_eq!(status(&mut held[7]), "HTTP/1.1 200 OK", "the others go on");
    held.truncate(100);
    eventually("there is room again", || status(&mut connect(&agent)) == "HTTP/1.1 200 OK");
}
