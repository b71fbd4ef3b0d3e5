//! The agent is killed between any two acts of a rollout.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

use crate::support::{Agent, eventually, leno};
use crate::{World, document, is_running};

/// More steps than a rollout of two copies has.
const STEPS_MAX: u32 = 200;

/// Requests, wherever the mesh listener is just now, so that there is something to judge by.
struct Chatter {
    stop: Arc<AtomicBool>,
    mesh: Arc<Mutex<Option<SocketAddr>>>,
    thread: Option<JoinHandle<()>>,
}

impl Chatter {
    fn start() -> Self {
        let (stop, mesh) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(None)));
        let thread = std::thread::spawn({
            let (stop, mesh) = (Arc::clone(&stop), Arc::clone(&mesh));
            move || {
                while !stop.load(Ordering::Relaxed) {
                    let address: Option<SocketAddr> = *mesh.lock().expect("nobody panics with it");
                    if let Some(mut stream) = address.and_then(|it| TcpStream::connect(it).ok()) {
                        let request = b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n";
                        // The agent may be killed at any time.
                        let _ = stream.write_all(request);
                        let _ = std::io::copy(&mut stream, &mut std::io::sink());
                    }
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        });
        Self { stop, mesh, thread: Some(thread) }
    }

    fn talk_to(&self, mesh: Option<SocketAddr>) {
        *self.mesh.lock().expect("nobody panics with it") = mesh;
    }
}

impl Drop for Chatter {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Rolls a version out, with the agent killed at a step of it; whether there was such a step.
fn is_killed_at(step: u32, keep: &str, chatter: &Chatter) -> bool {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let data = folder.path().join("data");
    let data_dir = data.to_str().expect("a readable path");
    let mut command = leno();
    command.env("LENO_KILLED_AT_STEP", step.to_string());
    let agent = Agent::try_start_by(command, &["--data-dir", data_dir]);
    let mut world = World { agent: agent.expect("the agent starts"), folder };
    chatter.talk_to(world.agent.mesh);
    let more = format!(
        "  onAgentExit: {keep}\n  rollout: {{evidence: {{minRequests: 1, maxLatencyIncrease: 1000%}}}}\n"
    );
    world.apply(&document("1", 2, &[], &more));
    world.settle("1");
    let file = world.file(&document("2", 2, &[], &more));
    // The agent may be killed before it has answered.
    world.agent.cli(&["apply", "-f", file.to_str().expect("a readable path")]);
    let mut is_killed = false;
    eventually("it is killed, or the rollout is over", || {
        is_killed = !is_running(world.agent.pid());
        is_killed || {
            let report = world.report();
            report["version"] == "2" && report["state"] == "running" && world.pids().len() == 2
        }
    });
    if is_killed {
        world.agent = Agent::durable(&data);
        chatter.talk_to(world.agent.mesh);
        let mut report = Value::Null;
        eventually("it ends in a good state", || {
            report = world.report();
            let is_good = ["1", "2"].iter().any(|it| report["version"] == *it);
            is_good
                && report["state"] == "running"
                && report["ready"] == 2
                && world.pids().len() == 2
        });
    }
    let mut running = world.pids();
    running.sort_unstable();
    let node = world.agent.ask("GET", "/leno/v1/status", "").json()["node_id"].clone();
    let node = node.as_str().expect("it is a text").to_owned();
    let marked = runtime::marked_processes("LENO_COPY");
    let ours = marked.iter().filter(|it| it.value.starts_with(&node)).map(|it| it.id.pid);
    let mut ours: Vec<u32> = ours.collect();
    ours.sort_unstable();
    assert_eq!(ours, running, "step {step}, {keep}: neither lost nor doubled");
    world.leno(&["stop", "web"]);
    is_killed
}

#[test]
fn an_agent_that_is_killed_at_any_step_of_a_rollout_ends_it_in_a_good_state() {
    let chatter = Chatter::start();
    for keep in ["Keep", "Stop"] {
        let steps = (0..STEPS_MAX).take_while(|step| is_killed_at(*step, keep, &chatter)).count();
        println!("{steps} steps with {keep}");
        assert!((10..STEPS_MAX as usize).contains(&steps), "{steps}");
    }
}
