//! `consul lock` and `consul watch`: commands that wait, and run programs.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::thread;

use crate::consul::{Link, done, failed};
use crate::support::{Agent, HANG, eventually, peer};

/// A command that runs beside the test.
struct Running {
    process: Child,
    stdin: Option<ChildStdin>,
    lines: mpsc::Receiver<String>,
    errors: mpsc::Receiver<String>,
}

fn lines_of(source: impl std::io::Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(source).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    lines
}

impl Running {
    fn start(link: &Link, agent: &Agent, line: &[&str]) -> Self {
        let mut command = link.to(agent);
        command.args(line).env("SHELL", "/bin/sh").stdin(Stdio::piped());
        let process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut process = process.expect("the binary runs");
        let stdin = process.stdin.take();
        let lines = lines_of(process.stdout.take().expect("it is piped"));
        let errors = lines_of(process.stderr.take().expect("it is piped"));
        Self { process, stdin, lines, errors }
    }

    fn says(&self, line: &str) {
        let got = self.lines.recv_timeout(HANG).unwrap_or_else(|_| {
            panic!("it did not say {line:?}, but: {:?}", self.errors.try_iter().collect::<Vec<_>>())
        });
        assert_eq!(got, line);
    }

    fn next_line(&self) -> String {
        self.lines.recv_timeout(HANG).expect("it says something")
    }

    fn signal(&self, name: &str) {
        let pid = self.process.id().to_string();
        let sent = Command::new("kill").arg(format!("-{name}")).arg(pid).status();
        assert!(sent.expect("there is a kill").success());
    }

    /// Its exit code, and what it has said on standard error.
    fn ends(mut self) -> (Option<i32>, String) {
        drop(self.stdin.take());
        let mut code = None;
        eventually("the command ends", || {
            let ended = self.process.try_wait().expect("it can be waited for");
            ended.inspect(|status| code = status.code()).is_some()
        });
        (code, self.errors.iter().collect::<Vec<_>>().join("\n"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn sessions(agent: &Agent) -> Vec<String> {
    let sessions = agent.ask("GET", "/v1/session/list", "").json();
    let ids = sessions.as_array().expect("a list").iter().map(|it| it["ID"].as_str());
    ids.map(|id| id.expect("an ID").to_owned()).collect()
}

fn is_alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
}

/// Says its pid, and then waits for a line.
const HOLDER: &str = "echo $$; read line; echo $line";

#[test]
fn a_program_runs_under_a_lock_and_nothing_is_left_of_it() {
    let link = Link::new();
    let agent = Agent::dev(&[]);
    let run = |line: &[&str]| link.run(&agent, &[&["lock"], line].concat());
    assert_eq!(run(&["jobs", "echo", "held: $CONSUL_LOCK_HELD"]), done("held: true"));
    assert_eq!(run(&["-shell=false", "jobs", "echo", "$PATH"]), done("$PATH"));
    assert_eq!(run(&["-n=2", "jobs", "echo", "one of two"]), done("one of two"));
    assert_eq!(sessions(&agent), Vec::<String>::new());
    assert_eq!(agent.ask("GET", "/v1/kv/jobs?recurse", "").status, 404);
    let complaint = "Error running handler: exit status 3\n".to_owned();
    assert_eq!(run(&["jobs", "exit 3"]), (Some(0), String::new(), complaint.clone()));
    let code = run(&["-child-exit-code", "jobs", "exit 3"]);
    assert_eq!(code, (Some(2), String::new(), complaint));
    assert_eq!(run(&["jobs"]), failed("Key prefix and child command must be specified"));
    assert_eq!(run(&["-n=0", "jobs", "x"]), failed("Lock holder limit must be positive"));
    let (code, out, _) = run(&["-verbose", "jobs", "true"]);
    assert_eq!(code, Some(0));
    let expected = "Setting up lock at path: jobs/.lock\nAttempting lock acquisition\nStarting \
                    handler\nChild terminated, releasing lock\nCleanup succeeded\n";
    assert_eq!(out, expected);
}

#[test]
fn a_lock_has_one_holder_and_a_semaphore_as_many_as_it_says() {
    let link = Link::new();
    let agent = Agent::dev(&[]);
    for (flag, places) in [("-n=1", 1), ("-n=2", 2)] {
        let start = || {
            let line = ["lock", flag, "-pass-stdin", "jobs", HOLDER];
            let holder = Running::start(&link, &agent, &line);
            holder.next_line();
            holder
        };
        let mut holders: Vec<Running> = (0..places).map(|_| start()).collect();
        let late = link.run(&agent, &["lock", flag, "-try=300ms", "jobs", "echo", "in"]);
        assert_eq!(late, failed("Shutdown triggered or timeout during lock acquisition"));
        let waiting = Running::start(&link, &agent, &["lock", flag, "jobs", "echo", "in"]);
        eventually("it waits", || sessions(&agent).len() == places + 1);
        let mut first = holders.remove(0);
        first.stdin.take().expect("it is piped").write_all(b"bye\n").expect("it reads");
        first.says("bye");
        assert_eq!(first.ends(), (Some(0), String::new()));
        waiting.says("in");
        assert_eq!(waiting.ends().0, Some(0));
        for holder in holders {
            assert_eq!(holder.ends().0, Some(0));
        }
        assert_eq!(sessions(&agent), Vec::<String>::new());
        assert_eq!(agent.ask("GET", "/v1/kv/jobs?recurse", "").status, 404);
    }
}

#[test]
fn a_program_is_ended_when_its_lock_is_lost_or_its_command_is_told_to_end() {
    let link = Link::new();
    let agent = Agent::dev(&[]);
    let held = |script: &str| {
        let line = ["lock", "-verbose", "-pass-stdin", "jobs", script];
        let holder = Running::start(&link, &agent, &line);
        while !holder.next_line().starts_with("Stdin passed") {}
        let pid = holder.next_line();
        (holder, pid)
    };
    // It ends with its lock, and so does what it has started.
    let (holder, pid) = held("sleep 1000 & echo $!; read line");
    let id = sessions(&agent).remove(0);
    assert_eq!(agent.ask("PUT", &format!("/v1/session/destroy/{id}"), "").status, 200);
    holder.says("Lock lost, killing child");
    assert!(holder.next_line().starts_with("Terminating child pid "));
    holder.says("Child terminated");
    assert_eq!(holder.ends(), (Some(0), String::new()));
    eventually("its own child is dead", || !is_alive(&pid));

    // The rest after a lost lock is over for who writes the key anew.
    assert_eq!(agent.ask("DELETE", "/v1/kv/jobs/.lock", "").status, 200);
    let line =
        ["lock", "-pass-stdin", "other", "trap 'echo told; exit 0' TERM; echo up; read line"];
    let holder = Running::start(&link, &agent, &line);
    holder.says("up");
    holder.signal("TERM");
    holder.says("told");
    assert_eq!(holder.ends().0, Some(0));
    assert_eq!(sessions(&agent), Vec::<String>::new());
}

#[test]
fn a_lock_keeps_out_who_takes_it_with_the_official_go_client() {
    let Some(program) = peer("consul-lock") else { return };
    let link = Link::new();
    let agent = Agent::dev(&[]);
    let mut other = Command::new(program)
        .args(["lock", "jobs/.lock"])
        .env("CONSUL_HTTP_ADDR", agent.http.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the client runs");
    let lines = lines_of(other.stdout.take().expect("it is piped"));
    assert_eq!(lines.recv_timeout(HANG).expect("it says something"), "held");
    let late = link.run(&agent, &["lock", "-try=300ms", "jobs", "echo", "in"]);
    assert_eq!(late, failed("Shutdown triggered or timeout during lock acquisition"));
    let waiting = Running::start(&link, &agent, &["lock", "jobs", "echo", "in"]);
    eventually("it waits", || sessions(&agent).len() == 2);
    drop(other.stdin.take());
    waiting.says("in");
    assert!(other.wait().expect("it ends").success());
    assert_eq!(waiting.ends().0, Some(0));
}

#[test]
fn a_watch_without_a_program_prints_what_is_there_and_ends() {
    let link = Link::new();
    let agent = Agent::dev(&[]);
    let run = |line: &[&str]| link.run(&agent, &[&["watch"], line].concat());
    assert_eq!(run(&["-type=key", "-key=app"]), done("null"));
    assert_eq!(run(&["-type=keyprefix", "-prefix=app"]), done("null"));
    agent.ask("PUT", "/v1/kv/app", "<hi>");
    let (code, out, _) = run(&["-type=key", "-key=app"]);
    assert_eq!(code, Some(0));
    assert!(out.starts_with("{\n    \"Key\": \"app\",\n    \"CreateIndex\": "), "{out}");
    assert!(out.ends_with("    \"Value\": \"PGhpPg==\",\n    \"Session\": \"\"\n}\n"), "{out}");
    assert!(run(&["-type=keyprefix", "-prefix=a"]).1.starts_with("[\n    {\n        \"Key\": "));
    for (line, part) in [
        (&["-type=services"][..], "\"consul\": []"),
        (&["-type=nodes"], "\"Node\": \"test\""),
        (&["-type=service", "-service=consul"], "\"Service\": \"consul\""),
        (&["-type=checks"], "\"CheckID\": \"serfHealth\""),
        (&["-type=checks", "-state=critical"], "[]"),
    ] {
        let (code, out, errors) = run(line);
        assert_eq!((code, errors.as_str()), (Some(0), ""), "{line:?}");
        assert!(out.contains(part), "{line:?}: {out}");
    }
    let (code, _, errors) = run(&[]);
    assert!(code == Some(1) && errors.starts_with("Watch type must be specified\n"), "{errors}");
    assert_eq!(run(&["-type=key"]), failed("Must specify a single key to watch"));
    assert_eq!(run(&["-type=nodes", "-key=a"]), failed("Invalid parameters: [key]"));
    assert_eq!(run(&["-type=x"]), failed("Unsupported watch type: x"));
}

#[test]
fn a_watch_gives_each_state_to_its_program() {
    let link = Link::new();
    let agent = Agent::dev(&[]);
    agent.ask("PUT", "/v1/kv/app", "a");
    let index =
        |agent: &Agent| agent.ask("GET", "/v1/kv/app", "").json()[0]["ModifyIndex"].to_string();
    let line = ["watch", "-type=key", "-key=app", "read it; echo $CONSUL_INDEX: $it"];
    let watch = Running::start(&link, &agent, &line);
    for value in ["YQ==", "Yg=="] {
        let said = watch.next_line();
        assert!(said.starts_with(&format!("{}: {{\"Key\":\"app\",", index(&agent))), "{said}");
        assert!(said.contains(value), "{said}");
        agent.ask("PUT", "/v1/kv/app", "b");
    }
    watch.signal("TERM");
    assert_eq!(watch.ends(), (Some(0), String::new()));
    let failing = Running::start(&link, &agent, &["watch", "-type=key", "-key=app", "exit 4"]);
    let (code, errors) = failing.ends();
    assert_eq!((code, errors.as_str()), (Some(1), "Error executing handler: exit status 4"));
    let slow = ["watch", "-type=key", "-key=app", "sleep 1000 & echo $!; wait"];
    let slow = Running::start(&link, &agent, &slow);
    let pid = slow.next_line();
    slow.signal("INT");
    assert_eq!(slow.ends().0, Some(0));
    eventually("its program is dead", || !is_alive(&pid));
}

#[test]
fn a_monitor_prints_what_an_agent_logs_as_it_does() {
    let link = Link::new();
    let agent = Agent::dev(&[]);
    let monitor = Running::start(&link, &agent, &["monitor", "-log-level=debug"]);
    // Nobody says when it listens, so something is logged again and again.
    let began = std::time::Instant::now();
    let line = loop {
        agent.ask("PUT", "/v1/agent/service/register", r#"{"Name":"web"}"#);
        agent.ask("PUT", "/v1/agent/service/maintenance/web?enable=true", "");
        agent.ask("PUT", "/v1/agent/service/maintenance/web?enable=false", "");
        match monitor.lines.recv_timeout(std::time::Duration::from_millis(50)) {
            Ok(line) => break line,
            Err(_) => assert!(began.elapsed() < HANG, "it prints nothing"),
        }
    };
    assert!(line.contains('['), "a line of the log has its level in brackets: {line}");
}
