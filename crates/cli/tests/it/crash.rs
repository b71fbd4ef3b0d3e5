//! An agent that is killed loses nothing that it acknowledged.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::support::{Agent, HANG, eventually};

const ROUNDS: usize = 50;
const WRITERS: usize = 4;

#[test]
fn what_was_acknowledged_is_there_after_kill_9() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut acknowledged = BTreeSet::new();
    let mut slowest = std::time::Duration::ZERO;
    for round in 0..ROUNDS {
        let began = Instant::now();
        let mut agent = Agent::durable(folder.path());
        slowest = slowest.max(began.elapsed());
        let services = agent.ask("GET", "/v1/agent/services", "").json();
        let present: BTreeSet<String> =
            services.as_object().expect("an object").keys().cloned().collect();
        let lost: Vec<_> = acknowledged.difference(&present).collect();
        assert!(
            lost.is_empty(),
            "round {round}: {} of {} lost: {lost:?}",
            lost.len(),
            acknowledged.len()
        );
        let acknowledgements = Arc::new(AtomicUsize::new(0));
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (http, count) = (agent.http, Arc::clone(&acknowledgements));
                std::thread::spawn(move || write_until_it_dies(http, round, writer, &count))
            })
            .collect();
        // Another moment in each round.
        let kill_after = 5 + round * 7 % 90;
        eventually("the writers get through", || {
            acknowledgements.load(Ordering::Relaxed) >= kill_after
        });
        agent.kill();
        for writer in writers {
            acknowledged.extend(writer.join().expect("a writer ends with the agent"));
        }
    }
    println!(
        "{} acknowledged writes over {ROUNDS} rounds; slowest start {slowest:?}",
        acknowledged.len()
    );
    // A generous bound on a start that repairs page by page; a sound one takes tens of milliseconds.
    assert!(slowest.as_secs() < 20, "the slowest start took {slowest:?}");
}

/// Registers services one after the other; returns the ids that were acknowledged.
fn write_until_it_dies(
    http: SocketAddr,
    round: usize,
    writer: usize,
    count: &AtomicUsize,
) -> Vec<String> {
    let mut acknowledged = Vec::new();
    let Ok(mut stream) = TcpStream::connect(http) else { return acknowledged };
    stream.set_read_timeout(Some(HANG)).expect("a timeout can be set");
    for number in 0.. {
        let id = format!("s-{round}-{writer}-{number}");
        let body = format!(r#"{{"Name":"crash","ID":"{id}","Port":80}}"#);
        let request = format!(
            "PUT /v1/agent/service/register HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        if stream.write_all(request.as_bytes()).is_err() || !is_ok(&mut stream) {
            break;
        }
        acknowledged.push(id);
        count.fetch_add(1, Ordering::Relaxed);
    }
    acknowledged
}

/// Reads one answer without a body.
fn is_ok(stream: &mut TcpStream) -> bool {
    let mut head = Vec::new();
    let mut buffer = [0; 1024];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(read) if read > 0 => head.extend_from_slice(&buffer[..read]),
            Ok(_) | Err(_) => return false,
        }
    }
    head.starts_with(b"HTTP/1.1 200")
}
