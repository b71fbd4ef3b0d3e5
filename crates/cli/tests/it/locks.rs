//! Locks and semaphores as the official Go client takes them.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Agent, HANG, eventually, peer, request};

/// TTL of the sessions that the program makes.
const TTL: Duration = Duration::from_secs(10);

struct Contender {
    process: Child,
    lines: mpsc::Receiver<String>,
}

impl Contender {
    fn start(program: &PathBuf, agent: &Agent, arguments: &[&str]) -> Self {
        let mut process = Command::new(program)
            .args(arguments)
            .env("CONSUL_HTTP_ADDR", agent.http.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the client runs");
        let stdout: ChildStdout = process.stdout.take().expect("it is piped");
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Self { process, lines }
    }

    fn waits_for(&self, line: &str) {
        let got = self.lines.recv_timeout(HANG).expect("it says something");
        assert_eq!(got, line);
    }

    fn holds_nothing(&self) -> bool {
        self.lines.try_recv().is_err()
    }

    fn lets_go(mut self) {
        drop(self.process.stdin.take());
        self.waits_for("released");
        assert!(self.process.wait().expect("it ends").success());
    }

    fn killed(mut self) -> Instant {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it ends");
        Instant::now()
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn sessions(agent: &Agent) -> usize {
    let answer = request(agent.http, &[], "GET", "/v1/session/list", b"").body;
    let sessions: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
    sessions.as_array().expect("a list").len()
}

/// Blocked reads, by which a contender waits.
fn blocked(agent: &Agent) -> usize {
    let metrics = request(agent.http, &[], "GET", "/metrics", b"").body;
    let line =
        metrics.lines().find(|it| it.starts_with("leno_blocked_queries")).expect("it is told");
    line.rsplit(' ').next().and_then(|it| it.parse().ok()).expect("a number")
}

/// The holder's session was renewed last at most half its time before it was killed.
fn assert_was_free_in_time(killed: Instant) {
    let after = killed.elapsed();
    assert!(after >= TTL / 2 && after < 2 * TTL + HANG / 4, "free after {after:?}");
}

#[test]
fn one_of_two_holds_a_lock_and_the_other_gets_it_when_the_holder_lets_go_or_dies() {
    let Some(program) = peer("consul-lock") else { return };
    let agent = Agent::dev(&[]);
    let contender = || Contender::start(&program, &agent, &["lock", "jobs/leader"]);
    let first = contender();
    first.waits_for("held");
    let second = contender();
    eventually("the second waits", || sessions(&agent) == 2 && blocked(&agent) >= 2);
    assert!(second.holds_nothing());
    first.lets_go();
    second.waits_for("held");
    let third = contender();
    eventually("the third waits", || sessions(&agent) == 2 && blocked(&agent) >= 2);
    let killed = second.killed();
    third.waits_for("held");
    assert_was_free_in_time(killed);
    third.lets_go();
}

#[test]
fn a_semaphore_has_so_many_places_and_gives_away_those_of_the_dead() {
    let Some(program) = peer("consul-lock") else { return };
    let agent = Agent::dev(&[]);
    let contender = || Contender::start(&program, &agent, &["semaphore", "jobs/slots", "2"]);
    let (first, second) = (contender(), contender());
    first.waits_for("held");
    second.waits_for("held");
    let third = contender();
    eventually("the third waits", || sessions(&agent) == 3 && blocked(&agent) >= 3);
    assert!(third.holds_nothing());
    let killed = first.killed();
    third.waits_for("held");
    assert_was_free_in_time(killed);
    second.lets_go();
    third.lets_go();
}
