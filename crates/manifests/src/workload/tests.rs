use std::time::Duration;

use model::workload::{CommandLine, CountOrPercent, OnAgentExit, PortChoice, Probe, RestartPolicy};
use model::{Document, Severity, Spec, WorkloadSpec};

use crate::node::{Content, Node};
use crate::{find_circles, read};

fn text(spec: &str) -> String {
    format!(
        "{{apiVersion: leno.dev/v1, kind: Workload, metadata: {{name: web}}, spec: {{{spec}}}}}"
    )
}

fn spec_of(document: &Document) -> &WorkloadSpec {
    match &document.spec {
        Spec::Workload(spec) => spec,
        Spec::Service(_) | Spec::Ingress(_) | Spec::Secret(_) | Spec::Rollout(_) => {
            panic!("a workload")
        }
    }
}

/// What is read of a spec that is right and honored whole.
fn good(spec: &str) -> WorkloadSpec {
    let reading = read(&text(spec), "");
    assert_eq!(reading.errors, [], "{spec}");
    assert_eq!(reading.documents[0].diagnostics, [], "{spec}");
    spec_of(&reading.documents[0]).clone()
}

/// A finding about `field` that contains all `words`, and no other.
fn check_finding(spec: &str, severity: Severity, field: &str, words: &[&str]) {
    let reading = read(&text(spec), "");
    let mut findings = reading.errors;
    findings.extend(reading.documents.into_iter().flat_map(|it| it.diagnostics));
    let found = findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    let [finding] = findings.as_slice() else { panic!("{spec}: not one finding:\n{found}") };
    assert_eq!((finding.severity, finding.field.as_str()), (severity, field), "{spec}:\n{found}");
    for word in words {
        assert!(found.contains(word), "{spec}: {word:?} is not in {found}");
    }
}

fn bad(spec: &str, field: &str, words: &[&str]) {
    check_finding(spec, Severity::Error, &format!("spec.{field}"), words);
}

fn ignored(spec: &str, field: &str, words: &[&str]) {
    check_finding(spec, Severity::Ignored, &format!("spec.{field}"), words);
}

#[test]
fn a_command_alone_is_a_service_with_every_default() {
    let spec = good("command: [./web]");
    let service = spec.service.as_ref().expect("it is registered");
    assert_eq!((service.name.as_str(), service.weight), ("web", 1));
    assert_eq!((spec.replicas, spec.port), (1, PortChoice::Auto));
    assert_eq!(spec.checks.len(), 1);
    assert_eq!(spec.checks[0].probe, Probe::Tcp);
    assert_eq!((spec.version.len(), spec.restart.policy), (8, RestartPolicy::Always));
    assert_ne!(good("command: [./web2]").version, spec.version);
    assert_eq!(good("command: [./web], replicas: 3").version, spec.version);
}

#[test]
fn a_job_is_not_registered() {
    let spec = good("type: Job, command: [./migrate]");
    assert_eq!((spec.service, spec.port), (None, PortChoice::None));
    assert!(spec.checks.is_empty());
    assert_eq!(spec.restart.policy, RestartPolicy::OnFailure);
    assert_eq!((spec.on_agent_exit, spec.active_deadline), (OnAgentExit::Keep, None));
    let spec = good("type: Job, command: [x], activeDeadline: 90s, onAgentExit: Stop");
    assert_eq!(spec.active_deadline, Some(Duration::from_secs(90)));
    assert_eq!(spec.on_agent_exit, OnAgentExit::Stop);
    assert!(good("type: Job, command: [x], service: jobs").service.is_some());
}

#[test]
fn a_service_can_be_none_and_a_port_too() {
    let spec = good("command: [x], service: None");
    assert_eq!((spec.service, spec.port), (None, PortChoice::None));
    let spec = good("command: [x], service: None, port: Auto, checks: [{http: /}]");
    assert_eq!((spec.service, spec.port), (None, PortChoice::Auto));
    let spec = good("command: [x], port: None");
    assert!(spec.service.is_some() && spec.checks.is_empty());
    assert!(good("command: [x], checks: []").checks.is_empty());
}

#[test]
fn arguments_follow_a_list_and_a_text_goes_to_the_shell() {
    let words = |it: &[&str]| CommandLine::Exec(it.iter().map(|it| (*it).to_owned()).collect());
    let spec = good(r#"command: [a, "$(PORT)"], args: [b]"#);
    assert_eq!(spec.command, words(&["a", "$(PORT)", "b"]));
    let spec = good("command: 'exec a $PORT $(date)'");
    assert_eq!(spec.command, CommandLine::Shell("exec a $PORT $(date)".into()));
    bad("command: a, args: [b]", "args", &["takes no arguments", "as a list"]);
    bad("command: 'a $(PORT)'", "command", &["write $PORT"]);
    bad("command: ''", "command", &["is empty"]);
    bad("command: []", "command", &["names no program"]);
    bad("command: ['']", "command", &["names no program"]);
    bad("command: 7", "command", &["must be a list or a string, not a number"]);
    bad("command: [a, 7]", "command[1]", &["put it in quotes"]);
    bad(r#"command: [a, "x\0"]"#, "command[1]", &["zero byte"]);
    bad("replicas: 1", "command", &["missing"]);
    ignored(
        r#"command: [a, "$(LENO_ADRESS)"]"#,
        "command[1]",
        &["did you mean `$(LENO_ADDRESS)`?"],
    );
    ignored(r#"command: [a, "$(X)"]"#, "command[1]", &["stays as it is", "$$(X)"]);
    ignored(r#"command: [a, "$(PORT)"], service: None"#, "command[1]", &["names no variable"]);
    good(r#"command: [a, "$$(X) $(A) $() $(a b)"], env: {A: x}"#);
}

#[test]
fn the_environment_is_a_map_or_a_list() {
    let map = good("command: [x], env: {B: b, A: '$(B)$(PORT)'}");
    let list = good("command: [x], env: [{name: B, value: b}, {name: A, value: '$(B)$(PORT)'}]");
    assert_eq!(map.env, list.env);
    assert_eq!(good("command: [x], env: [{name: A}]").env[0].value, "");
    bad("command: [x], env: {PORT: '1'}", "env.PORT", &["given to every copy", "`port`"]);
    bad("command: [x], env: {LENO_REPLICA: '1'}", "env.LENO_REPLICA", &["given to every copy"]);
    assert_eq!(good("command: [x], env: {PORT: '1'}, service: None").env.len(), 1);
    bad("command: [x], env: {A: 1}", "env.A", &["put it in quotes"]);
    bad("command: [x], env: {a=b: c}", "env.a=b", &["not a name of a variable"]);
    bad("command: [x], env: [{name: A}, {name: A}]", "env[1]", &["set twice"]);
    bad("command: [x], env: [{value: a}]", "env[0].name", &["missing"]);
    bad("command: [x], env: [{name: A, valueFrom: {}}]", "env[0].valueFrom", &["write `value`"]);
    ignored("command: [x], env: {A: '$(B)', B: x}", "env.A", &["names no variable"]);
}

#[test]
fn a_fixed_port_is_for_one_copy_that_is_stopped_first() {
    let rollout = good("command: [x], port: 8080, rollout: {deadline: 1m}").rollout;
    assert_eq!(rollout.surge_max, CountOrPercent::Count(0));
    assert_eq!(rollout.unavailable_max, CountOrPercent::Count(1));
    assert_eq!(good("command: [x], port: 8080").rollout.surge_max, CountOrPercent::Count(0));
    bad("command: [x], port: 8080, replicas: 2", "port", &["2 copies", "port: Auto"]);
    bad(
        "command: [x], port: 8080, rollout: {maxSurge: 1}",
        "rollout.maxSurge",
        &["a second copy cannot listen on port 8080", "stopped before the new one"],
    );
    bad(
        "command: [x], port: 8080, rollout: {maxUnavailable: 0}",
        "rollout.maxUnavailable",
        &["could not begin", "maxUnavailable: 1"],
    );
    bad(
        "command: [x], port: 8080, rollout: {strategy: BlueGreen}",
        "rollout.strategy",
        &["two releases cannot both listen on port 8080"],
    );
    for port in ["0", "-1", "65536", "1.5", "auto", "''", "[]"] {
        bad(&format!("command: [x], port: {port}"), "port", &["port"]);
    }
    bad("command: [x], port: '80'", "port", &["leave the quotes out: 80"]);
}

#[test]
fn what_it_is_registered_as_is_checked() {
    let spec = good("command: [x], service: {name: a, tags: [t], meta: {k: v}, weight: 3}");
    let service = spec.service.expect("it is registered");
    assert_eq!((service.name.as_str(), service.weight), ("a", 3));
    assert_eq!(
        (service.tags[0].as_str(), service.meta.get("k").map(String::as_str)),
        ("t", Some("v"))
    );
    assert_eq!(good("command: [x], service: {tags: [t]}").service.unwrap().name.as_str(), "web");
    bad("command: [x], service: Web_1", "service", &["or None"]);
    bad("command: [x], service: {name: a.b}", "service.name", &["63 characters"]);
    bad("command: [x], service: {weight: 0}", "service.weight", &["from 1 to 65535"]);
    bad("command: [x], service: {tags: [a, a]}", "service.tags[1]", &["twice"]);
    bad("command: [x], service: {meta: {version: a}}", "service.meta.version", &["spec.version"]);
    bad("command: [x], service: {meta: {a/b: c}}", "service.meta[\"a/b\"]", &["letters, digits"]);
    bad("command: [x], service: 7", "service", &["must be a map"]);
    bad("command: [x], address: localhost", "address", &["127.0.0.1"]);
    bad("command: [x], address: 0.0.0.0", "address", &["means any address"]);
    bad("command: [x], version: 1.4", "version", &["put it in quotes"]);
    bad("command: [x], version: 'a b'", "version", &["without blanks"]);
}

#[test]
fn checks_ask_one_thing_each() {
    let spec = good(
        "command: [x], checks: [{http: /health?a=b, interval: 5s, timeout: 100ms, failureThreshold: 3}, \
         {tcp: true}, {grpc: true}, {grpc: a.B, successThreshold: 2}, {command: [./probe, '$(PORT)']}]",
    );
    assert_eq!(spec.checks[0].probe, Probe::Http("/health?a=b".into()));
    assert_eq!((spec.checks[0].failure_threshold, spec.checks[3].success_threshold), (3, 2));
    assert_eq!(spec.checks[2].probe, Probe::Grpc(String::new()));
    let check = |check: &str, field: &str, words: &[&str]| {
        bad(&format!("command: [x], checks: [{{{check}}}]"), &format!("checks[0]{field}"), words);
    };
    check("", "", &["says nothing to ask"]);
    check("http: /, tcp: true", "", &["asks several things"]);
    check("http: health", ".http", &["from its slash on"]);
    check("http: 'http://a/b'", ".http", &["address and port are the copy's"]);
    check("tcp: false", ".tcp", &["must be true"]);
    check("grpc: 7", ".grpc", &["or the name of a gRPC service"]);
    check("command: []", ".command", &["names no program"]);
    check("http: /, interval: 10ms", ".interval", &["write from 100ms to 1h"]);
    check("http: /, interval: 10", ".interval", &["add a unit: 10s"]);
    check("http: /, timeout: 1 s", ".timeout", &["is not a duration"]);
    check("http: /, failureThreshold: 0", ".failureThreshold", &["from 1 to 1000"]);
    bad("command: [x], port: None, checks: [{tcp: true}]", "checks[0].tcp", &["port: Auto"]);
    ignored("command: [x], checks: [{tcp: true, retries: 3}]", "checks[0].retries", &["unknown"]);
}

#[test]
fn policies_are_checked() {
    let check = |text: &str, field: &str, words: &[&str]| {
        bad(&format!("command: [x], {text}"), field, words);
    };
    check("type: Cron", "type", &["use Service or Job"]);
    check("type: job", "type", &["did you mean `Job`?"]);
    check("replicas: 0", "replicas", &["leno stop", "leno delete"]);
    check("replicas: 1001", "replicas", &["from 1 to 1000"]);
    check("replicas: '3'", "replicas", &["leave the quotes out: 3"]);
    check("restart: {policy: always}", "restart.policy", &["did you mean `Always`?"]);
    check("type: Job, restart: {policy: Always}", "restart.policy", &["never completes"]);
    check("restart: {delay: 1m}", "restart.delay", &["longer than the longest, 30s"]);
    check("restart: {delay: 2s, maxDelay: 1s}", "restart.maxDelay", &["at least as long"]);
    check("restart: {maxRestarts: -1}", "restart.maxRestarts", &["from 0 to 10000"]);
    check("stop: {signal: SIGNOPE}", "stop.signal", &["use SIGHUP,", "or SIGWINCH"]);
    check("stop: {signal: 15}", "stop.signal", &["must be a string"]);
    check("stop: {gracePeriod: -1s}", "stop.gracePeriod", &["is not a duration"]);
    check("stop: {drainTimeout: 2h}", "stop.drainTimeout", &["write from 0s to 1h"]);
    check("startTimeout: 0s", "startTimeout", &["from 1s to 24h"]);
    check("logs: {maxSize: 1Ki}", "logs.maxSize", &["from 64Ki to 64Gi"]);
    check("logs: {maxFiles: 0}", "logs.maxFiles", &["from 1 to 1000"]);
    check("onAgentExit: Leave", "onAgentExit", &["use Stop or Keep"]);
    check("dependsOn: [web]", "dependsOn[0]", &["wait for itself"]);
    check("dependsOn: [a, a]", "dependsOn[1]", &["listed twice"]);
    check("dependsOn: [a.b]", "dependsOn[0]", &["same namespace"]);
    check("dependsOn: a", "dependsOn", &["begin each item with"]);
    check("workingDir: srv", "workingDir", &["begin it with `/`"]);
    for user in ["''", "':web'", "'web:'", "'a b'", "-1", "4294967295", "'-a'", "'a:b:c'"] {
        check(&format!("user: {user}"), "user", &["is not a user", "1000:1000"]);
    }
    for user in ["www-data", "1000", "'1000:1000'", "'www-data:adm'", "'svc$'"] {
        assert!(good(&format!("command: [x], user: {user}")).run_as.is_some());
    }
    ignored("command: [x], image: nginx", "image", &["no container image is run here"]);
    ignored("command: [x], environment: {}", "environment", &["write `env`"]);
    ignored("command: [x], depends_on: []", "depends_on", &["did you mean `dependsOn`?"]);
}

#[test]
fn limits_are_quantities_with_bounds() {
    let limits = good(
        "command: [x], resources: {memory: 512Mi, cpu: 0.5, processes: 9, openFiles: 99, coreSize: 0}",
    );
    let limits = limits.limits;
    assert_eq!((limits.memory_bytes, limits.cpu_millis), (Some(512 << 20), Some(500)));
    assert_eq!((limits.open_files, limits.core_bytes), (Some(99), Some(0)));
    let check = |text: &str, field: &str, words: &[&str]| {
        bad(&format!("command: [x], resources: {{{text}}}"), &format!("resources.{field}"), words);
    };
    check("memory: 512MB", "memory", &["is not a quantity", "512Mi"]);
    check("memory: 512m", "memory", &["`m` means a thousandth: write 512Mi"]);
    check("memory: 512", "memory", &["write from 1Mi to 1Ei"]);
    check("memory: -1", "memory", &["is not a quantity"]);
    check("memory: []", "memory", &["must be a string"]);
    check("cpu: 0", "cpu", &["write from 1m to 1024"]);
    check("cpu: half", "cpu", &["for example 500m"]);
    check("processes: 0", "processes", &["from 1"]);
    check("openFiles: 1", "openFiles", &["from 16"]);
    ignored("command: [x], resources: {limits: {}}", "resources.limits", &["directly under"]);
}

#[test]
fn a_rollout_can_begin_and_end() {
    let check = |text: &str, field: &str, words: &[&str]| {
        let field = format!("rollout{field}");
        bad(&format!("command: [x], replicas: 3, rollout: {{{text}}}"), &field, words);
    };
    check("strategy: Recreate", ".strategy", &["use Rolling, Canary"]);
    check("maxSurge: 0, maxUnavailable: 0", ".maxUnavailable", &["could not begin"]);
    check("maxSurge: 0, maxUnavailable: 10%", ".maxUnavailable", &["of 3 copies"]);
    check("maxSurge: 101%", ".maxSurge", &["a percentage such as 25%"]);
    check("maxSurge: x", ".maxSurge", &["neither a count nor"]);
    check("strategy: Canary, steps: []", ".steps", &["write 1 to 20 steps"]);
    check("strategy: Canary, steps: [{weight: 10}]", ".steps[0].duration", &["missing"]);
    let step = "{weight: 10, duration: 30s}";
    check(&format!("strategy: Canary, steps: [{step}, {step}]"), ".steps[1]", &["ascend"]);
    check(
        "strategy: Canary, steps: [{weight: 0, duration: 1s}]",
        ".steps[0].weight",
        &["1 to 100"],
    );
    check(
        "strategy: Canary, steps: [{weight: 10, duration: 10m}]",
        ".deadline",
        &["the steps take 10m, and it is undone after 10m"],
    );
    check("evidence: {maxErrorIncrease: 0.5}", ".evidence.maxErrorIncrease", &["0.5%"]);
    check("evidence: {maxErrorIncrease: 0.505%}", ".evidence.maxErrorIncrease", &["two digits"]);
    check("evidence: {minRequests: 0}", ".evidence.minRequests", &["from 1 to 1000000"]);
    bad(
        "command: [x], service: None, rollout: {strategy: Canary}",
        "rollout.strategy",
        &["without a service"],
    );
    ignored("command: [x], rollout: {keepOld: 1s}", "rollout.keepOld", &["BlueGreen"]);
    ignored(
        "command: [x], rollout: {strategy: Canary, maxSurge: 1}",
        "rollout.maxSurge",
        &["`strategy: Rolling`"],
    );
    ignored("type: Job, command: [x], rollout: {}", "rollout", &["a job is not rolled out"]);
    ignored("type: Job, command: [x], replicas: 2", "replicas", &["run once, as one process"]);
    ignored("command: [x], activeDeadline: 5s", "activeDeadline", &["counts only for a job"]);
    ignored("type: Job, command: [x], backoffLimit: 6", "backoffLimit", &["maxRestarts: 6"]);
    let rollout = good("command: [x], rollout: {maxSurge: 0}").rollout;
    assert_eq!(rollout.unavailable_max, CountOrPercent::Count(1));
    let rollout = good("command: [x], rollout: {strategy: RollingUpdate, maxSurge: 25%}").rollout;
    assert_eq!(rollout.surge_max, CountOrPercent::Percent(25));
}

#[test]
fn a_value_of_the_environment_is_in_no_finding() {
    let spec = "command: [x], env: {A: 'secret-1 $(secret-2)', PORT: secret-3, B: [secret-4]}";
    let reading = read(&text(spec), "");
    let found =
        format!("{:?}", reading.errors) + &format!("{:?}", reading.documents[0].diagnostics);
    assert!(found.contains("PORT") && !found.contains("secret"), "{found}");
}

/// Puts each of some odd values in the place of each value of a document.
#[test]
fn no_value_in_any_place_makes_it_panic() {
    let whole = include_str!("../../testdata/workloads.yaml");
    let odd = [
        Content::Null,
        Content::Bool(true),
        Content::Number((-1).into()),
        Content::Number(u64::MAX.into()),
        Content::Number(serde_json::Number::from_f64(1e300).unwrap()),
        Content::String(String::new()),
        Content::String("$$(é%e:.\0".to_owned()),
        Content::String("9".repeat(400) + "Ei"),
        Content::List(Vec::new()),
        Content::Map(Vec::new()),
    ];
    let mut readings = 0;
    for root in crate::node::parse(whole, "").unwrap() {
        for idx in 1..count(&root) {
            for odd in &odd {
                let mut changed = root.clone();
                replace(&mut changed, idx, odd);
                let text = changed.to_json().to_string();
                let reading = read(&text, "");
                let _ = find_circles(&reading.documents);
                assert!(reading.errors.iter().all(|it| !it.remedy.is_empty()), "{text}");
                readings += 1;
            }
        }
    }
    assert!(readings > 1000);
}

fn count(node: &Node) -> usize {
    1 + match &node.content {
        Content::List(items) => items.iter().map(count).sum(),
        Content::Map(entries) => entries.iter().map(|it| count(&it.value)).sum(),
        Content::Null | Content::Bool(_) | Content::Number(_) | Content::String(_) => 0,
    }
}

/// Replaces the value that is `idx` values behind the first, in the order written.
fn replace(node: &mut Node, idx: usize, by: &Content) {
    if idx == 0 {
        node.content = by.clone();
        return;
    }
    let mut rest = idx - 1;
    let children: Vec<&mut Node> = match &mut node.content {
        Content::List(items) => items.iter_mut().collect(),
        Content::Map(entries) => entries.iter_mut().map(|it| &mut it.value).collect(),
        Content::Null | Content::Bool(_) | Content::Number(_) | Content::String(_) => Vec::new(),
    };
    for child in children {
        let size = count(child);
        if rest < size {
            return replace(child, rest, by);
        }
        rest -= size;
    }
}
