//! What the proxy sees of instances becomes the registry's verdict, and `leno explain instance` says how.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::program::{Program, echo};
use crate::support::{Agent, eventually, leno, request, text};

/// How long it may take from what a proxy sees to the verdict.
const IN_TIME: Duration = Duration::from_secs(1);

/// An agent with so many `leno echo` that have registered themselves as `web-0`, `web-1` …, without checks.
struct World {
    agent: Agent,
    programs: Vec<Option<(Program, SocketAddr)>>,
}

impl World {
    fn new(instances: usize) -> Self {
        Self::with(Agent::dev(&[]), instances, &json!({}))
    }

    fn with(agent: Agent, instances: usize, check: &Value) -> Self {
        let start = |number: usize| {
            let (program, address) = echo(&format!("web-{number}"));
            register(&agent, number, address, check);
            Some((program, address))
        };
        let programs = (0..instances).map(start).collect();
        let world = Self { agent, programs };
        eventually("all are called", || {
            let answered = (0..4 * instances).map(|_| world.call()).collect::<Vec<_>>();
            (0..instances).all(|it| answered.contains(&format!("web-{it}")))
        });
        world
    }

    /// Kills an instance as `kill -9` does; returns where it was.
    fn kill(&mut self, number: usize) -> SocketAddr {
        let (program, address) = self.programs[number].take().expect("it runs");
        drop(program);
        address
    }

    /// Who answers a request, or the status if that is not 200.
    fn call(&self) -> String {
        let mesh = self.agent.mesh.expect("the agent has a proxy");
        let answer = request(mesh, &[("Host", "web")], "GET", "/", b"");
        if answer.status != 200 {
            return answer.status.to_string();
        }
        answer.json()["name"].as_str().expect("its name").to_owned()
    }

    /// The state of an instance, to those who ask as Consul's clients do.
    fn state(&self, number: usize) -> String {
        let entries = self.agent.ask("GET", "/v1/health/service/web", "").json();
        let id = format!("web-{number}");
        let mut entries = entries.as_array().expect("a list").iter();
        let entry = entries.find(|it| it["Service"]["ID"] == *id).expect("it is registered");
        let checks = entry["Checks"].as_array().expect("a list");
        let is_critical = checks.iter().any(|it| it["Status"] == "critical");
        if is_critical { "critical" } else { "passing" }.to_owned()
    }

    fn page(&self, id: &str) -> Value {
        self.agent.ask("GET", &format!("/leno/v1/instances/{id}"), "").json()[0].clone()
    }

    fn explained(&self, id: &str) -> String {
        let output = self.agent.cli(&["explain", "instance", id]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Calls the service until an instance is critical; checks that the verdict came in time.
    fn call_until_critical(&self, number: usize) {
        eventually("it is critical", || {
            self.call();
            self.state(number) == "critical"
        });
        let page = self.page(&format!("web-{number}"));
        let first = page["Sightings"]["Proxies"][0]["FirstMs"].as_u64().expect("it was seen");
        let since = page["SinceMs"].as_u64().expect("it has a state");
        let took = Duration::from_millis(since.saturating_sub(first));
        println!("web-{number}: the verdict came {} ms after the first sighting", took.as_millis());
        assert!(took < IN_TIME, "{took:?}: {page:#}");
    }
}

fn register(agent: &Agent, number: usize, address: SocketAddr, check: &Value) {
    let mut service = json!({
        "Name": "web", "ID": format!("web-{number}"), "Address": "127.0.0.1", "Port": address.port(),
    });
    if check.as_object().is_some_and(|it| !it.is_empty()) {
        let mut check = check.clone();
        if check["TCP"] == "itself" {
            check["TCP"] = address.to_string().into();
        }
        service["Check"] = check;
    }
    let answer = agent.ask("PUT", "/v1/agent/service/register", &service.to_string());
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// A `leno echo` at this address, with more arguments.
fn echo_at(address: SocketAddr, name: &str, more: &[&str]) -> Program {
    let address = address.to_string();
    let arguments = ["echo", "--listen", &address, "--name", name];
    let mut program = Program::start(leno().args(arguments).args(more));
    program.says(" on http://");
    program
}

#[test]
fn an_instance_without_checks_that_is_killed_is_out_of_use_within_a_second_and_comes_back() {
    let mut world = World::new(3);
    let address = world.kill(1);
    world.call_until_critical(1);
    assert_eq!((world.state(0).as_str(), world.state(2).as_str()), ("passing", "passing"));

    let page = world.explained("web-1");
    println!("{page}");
    for said in [
        "web-1 of service web on node test",
        "CRITICAL, since ",
        "what proxies see",
        "proxy agent: connection refused or unreachable, ",
        "out of use until ",
        "it is let in again, on trial",
    ] {
        assert!(page.contains(said), "{said:?} is not in\n{page}");
    }
    // Everybody who asks for healthy instances is told: Consul's clients and DNS alike.
    let healthy = world.agent.ask("GET", "/v1/health/service/web?passing", "").json();
    assert_eq!(healthy.as_array().map(Vec::len), Some(2), "{healthy}");
    let reasons = world.agent.ask("GET", "/leno/v1/services/web", "").json();
    let reason = reasons[1]["Reasons"][0]["Text"].as_str().expect("it says why");
    assert!(reason.starts_with("proxy agent: connection refused"), "{reason}");
    // What a client lists of the agent's own checks is not touched by it.
    let own = world.agent.ask("GET", "/v1/agent/checks", "").json();
    assert_eq!(own, json!({}));

    // Registering it again as it is changes nothing, and starting it again does in time.
    register(&world.agent, 1, address, &json!({}));
    assert_eq!(world.state(1), "critical");
    let _back = echo_at(address, "web-1", &[]);
    eventually("it is let in again", || world.state(1) == "passing");
    eventually("it is called again", || world.call() == "web-1");
    assert!(
        world.page("web-1")["Evidence"]
            .as_array()
            .is_some_and(|it| { it.iter().all(|it| it["State"] == "passing") })
    );
}

#[test]
fn an_instance_that_answers_500_again_and_again_is_out_of_use_and_says_why() {
    let mut world = World::new(2);
    let address = world.kill(0);
    let _bad = echo_at(address, "web-0", &["--error-rate", "1"]);
    eventually("it is critical", || {
        world.call();
        world.state(0) == "critical" && world.explained("web-0").contains("server errors in a row")
    });
    let page = world.explained("web-0");
    assert!(page.contains("a success at every proxy that saw it fail"), "{page}");
    let proxy = &world.page("web-0")["Proxies"][0];
    assert!(proxy["Failures"].as_u64().is_some_and(|it| it >= 5), "{proxy}");
}

#[test]
fn a_service_whose_instances_all_fail_keeps_half_of_them() {
    let mut world = World::new(4);
    (0..4).for_each(|it| {
        world.kill(it);
    });
    let critical = |world: &World| (0..4).filter(|it| world.state(*it) == "critical").count();
    let spared = |world: &World| {
        let state = |it: usize| world.page(&format!("web-{it}"))["Sightings"]["State"].clone();
        (0..4).filter(|it| state(*it) == "spared").count()
    };
    eventually("two are out of use and two are spared", || {
        world.call();
        assert!(critical(&world) <= 2, "the floor is two");
        critical(&world) == 2 && spared(&world) == 2
    });
    let is_spared = |it: &usize| world.page(&format!("web-{it}"))["Sightings"]["State"] == "spared";
    let one = (0..4).find(is_spared).expect("two were a moment ago");
    let page = world.explained(&format!("web-{one}"));
    assert!(page.contains("but without it 1 of 4 usable instances would be left"), "{page}");
}

#[test]
fn an_instance_that_is_back_serves_as_soon_as_the_last_other_one_is_killed() {
    let mut world = World::new(2);
    // Twice, so that it is out of use for ten seconds and longer.
    let address = world.kill(0);
    world.call_until_critical(0);
    eventually("it is out of use for longer", || {
        world.call();
        let seen = &world.page("web-0")["Sightings"];
        seen["State"] == "against" && seen["TimesInARow"].as_u64() >= Some(2)
    });
    let until = world.page("web-0")["Sightings"]["UntilMs"].as_u64().expect("it is out of use");
    let _back = echo_at(address, "web-0", &[]);
    assert_eq!(world.call(), "web-1");
    world.kill(1);
    let began = std::time::Instant::now();
    eventually("the one that is back serves", || world.call() == "web-0");
    let took = began.elapsed();
    let page = world.page("web-0");
    let now = page["NowMs"].as_u64().expect("it is told");
    println!("served after {} ms, {} ms early", took.as_millis(), until.saturating_sub(now));
    assert!(took < Duration::from_secs(4) && now < until, "{took:?}: {page:#}");
    // The dead one is taken out in its place, and nothing fails any more.
    eventually("the dead one is out of use", || {
        world.call();
        world.state(1) == "critical"
    });
    let answers: Vec<String> = (0..50).map(|_| world.call()).collect();
    assert!(answers.iter().all(|it| it == "web-0"), "{answers:?}");
}

#[test]
fn the_last_instance_says_that_it_is_spared_and_how_often_it_failed() {
    let mut world = World::new(1);
    world.kill(0);
    let spared =
        "spared: proxies see it fail (connection refused or unreachable), but it is the last one";
    eventually("it is spared", || {
        world.call();
        world.page("web-0")["Sightings"]["State"] == "spared"
    });
    (0..20).for_each(|_| drop(world.call()));
    let services = world.agent.ask("GET", "/leno/v1/services/web", "").json();
    let reason = &services[0]["Reasons"][0];
    assert!(services[0]["State"] == "passing" && reason["State"] == "passing", "{services:#}");
    assert!(reason["Text"].as_str().is_some_and(|it| it.starts_with(spared)), "{services:#}");
    let listed = text(&world.agent.cli(&["services", "web"]).stdout);
    assert!(listed.contains("passing") && listed.contains(spared), "{listed}");
    let page = world.explained("web-0");
    let headline = page.lines().nth(1).expect("its state");
    assert!(headline.starts_with("PASSING") && headline.ends_with(spared), "{page}");
    let counted = world.page("web-0")["Proxies"][0]["Failures"].as_u64().expect("a number");
    assert!(counted >= 20, "{counted} failures");
    assert!(page.contains(&format!("{counted} failures in all, last ")), "{page}");
}

#[test]
fn an_instance_is_in_no_state_for_longer_than_it_is_registered() {
    let agent = Agent::dev(&[]);
    let now = || {
        let page = agent.ask("GET", "/leno/v1/instances/web-0", "").json()[0].clone();
        page["NowMs"].as_u64()
    };
    register(&agent, 0, SocketAddr::from(([127, 0, 0, 1], 9)), &json!({}));
    let first = now().expect("it is registered");
    eventually("time passes", || now() > Some(first + 20));
    // The node's check is as old as the agent.
    let before = now().expect("it is registered");
    register(&agent, 1, SocketAddr::from(([127, 0, 0, 1], 9)), &json!({}));
    let page = agent.ask("GET", "/leno/v1/instances/web-1", "").json()[0].clone();
    assert!(page["SinceMs"].is_null() || page["SinceMs"].as_u64() >= Some(before), "{page:#}");
    let own = json!({"TTL": "1h", "Status": "passing"});
    register(&agent, 2, SocketAddr::from(([127, 0, 0, 1], 9)), &own);
    let page = agent.ask("GET", "/leno/v1/instances/web-2", "").json()[0].clone();
    assert!(page["SinceMs"].as_u64() >= Some(before), "{page:#}");
}

#[test]
fn a_probe_confirms_at_once_and_brings_back_long_before_its_turn() {
    let check = json!({"TCP": "itself", "Interval": "1h", "FailuresBeforeCritical": 50});
    let mut world = World::with(Agent::dev(&[]), 2, &check);
    let address = world.kill(0);
    world.call_until_critical(0);
    let page = world.explained("web-0");
    assert!(page.contains("its check service:web-0 failed then: "), "{page}");
    assert!(page.contains("49 failing runs in a row make it critical"), "{page}");
    let began = std::time::Instant::now();
    let _back = echo_at(address, "web-0", &[]);
    eventually("a passing probe brings it back", || world.state(0) == "passing");
    // Its own turn would be in an hour; the time out of use is five seconds.
    println!("back after {} ms", began.elapsed().as_millis());
}

#[test]
fn a_heartbeat_that_does_not_come_is_told_and_so_is_what_follows() {
    let agent = Agent::dev(&[]);
    let check = json!({"TTL": "2s", "Status": "passing", "DeregisterCriticalServiceAfter": "90m"});
    let address = SocketAddr::from(([127, 0, 0, 1], 9));
    register(&agent, 0, address, &check);
    let explained = || text(&agent.cli(&["explain", "instance", "web-0"]).stdout);
    let lapse = || {
        let page = agent.ask("GET", "/leno/v1/instances/web-0", "").json()[0].clone();
        let checks = page["Evidence"].as_array().cloned().unwrap_or_default();
        checks.iter().find_map(|it| it["Run"]["LapsesMs"].as_u64()).unwrap_or_default()
    };
    // The check's task begins a moment after the registration.
    eventually("the next heartbeat is due", || lapse() > 0);
    let page = explained();
    assert!(page.contains("; the next is due in ") || page.contains("; lapsed "), "{page}");
    let due = lapse();
    eventually("it lapses", || explained().contains("; lapsed "));
    let since = agent.ask("GET", "/leno/v1/instances/web-0", "").json()[0]["SinceMs"].clone();
    let late = since.as_u64().expect("it has a state").saturating_sub(due);
    assert!(late < 1000, "it lapsed {late} ms late");
    let page = explained();
    for said in
        ["CRITICAL", "TTL expired", "deregisters the instance in 89 min", "a heartbeat of check"]
    {
        assert!(page.contains(said), "{said:?} is not in\n{page}");
    }
    let answer = agent.ask("PUT", "/v1/agent/check/pass/service:web-0", "");
    assert_eq!(answer.status, 200, "{answer:?}");
    let page = explained();
    assert!(page.contains("PASSING") && page.contains("last heartbeat "), "{page}");
}

#[test]
fn what_an_agent_that_was_killed_has_said_does_not_stay() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut world = World::with(Agent::durable(folder.path()), 2, &json!({}));
    let address = world.kill(0);
    world.call_until_critical(0);
    world.agent.kill();
    let _back = echo_at(address, "web-0", &[]);
    world.agent = Agent::durable(folder.path());
    eventually("it is let in again", || world.state(0) == "passing");
}

#[test]
fn an_id_of_several_instances_is_named_with_each_of_them() {
    let agent = Agent::dev(&[]);
    for node in ["a", "b"] {
        let body = json!({
            "Node": node, "Address": "10.0.0.1", "Service": {"Service": "web", "ID": "w", "Port": 1},
        });
        assert_eq!(agent.ask("PUT", "/v1/catalog/register", &body.to_string()).status, 200);
    }
    let output = agent.cli(&["explain", "instance", "w"]);
    assert!(!output.status.success());
    let said = text(&output.stderr);
    assert!(said.contains("w is the id of several instances; say which: a/w, b/w"), "{said}");
    let one = text(&agent.cli(&["explain", "instance", "b/w"]).stdout);
    assert!(one.starts_with("w of service web on node b, at 10.0.0.1:1\nPASSING"), "{one}");
    let none = agent.cli(&["explain", "instance", "nobody"]);
    assert!(!none.status.success() && text(&none.stderr).contains("there is no instance nobody"));
    let both = agent.cli(&["explain", "instance", "w", "-o", "json"]);
    let both: Value = serde_json::from_slice(&both.stdout).expect("JSON");
    assert_eq!(both.as_array().map(Vec::len), Some(2));
}
