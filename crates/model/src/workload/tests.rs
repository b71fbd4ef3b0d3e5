use super::*;

fn spec() -> WorkloadSpec {
    WorkloadSpec {
        command: CommandLine::Exec(vec!["./web".into(), "$(PORT)".into(), "$(URL)".into()]),
        env: vec![
            Variable { name: "HOST".into(), value: "a.example".into() },
            Variable { name: "URL".into(), value: "http://$(HOST):$(PORT)/$(LATER)".into() },
            Variable { name: "LATER".into(), value: "$$x".into() },
        ],
        ..WorkloadSpec::default()
    }
}

#[test]
fn a_variable_refers_to_those_before_it() {
    let given = BTreeMap::from([("PORT".to_owned(), "81".to_owned())]);
    let environment = spec().environment(&given);
    assert_eq!(environment["URL"], "http://a.example:81/$(LATER)");
    assert_eq!(environment["LATER"], "$x");
    let arguments = spec().command.arguments(|name| environment.get(name).map(String::as_str));
    assert_eq!(arguments, ["./web", "81", "http://a.example:81/$(LATER)"]);
    let shell = CommandLine::Shell("exec web $PORT $$ $(date)".into());
    assert_eq!(shell.arguments(|_| Some("x")), ["/bin/sh", "-c", "exec web $PORT $$ $(date)"]);
}

#[test]
fn the_hash_is_of_what_runs_and_of_nothing_else() {
    let hash = spec().template_hash();
    let check = |change: fn(&mut WorkloadSpec), is_same: bool| {
        let mut changed = spec();
        change(&mut changed);
        assert_eq!(changed.template_hash() == hash, is_same, "{changed:?}");
    };
    assert_eq!(hash, "f9c1b8c9a6f2f0d4", "it stays from release to release");
    check(|it| it.replicas = 7, true);
    check(|it| it.rollout.deadline = Duration::from_secs(1), true);
    check(|it| it.restart.policy = RestartPolicy::Never, true);
    check(|it| it.version = "2".into(), false);
    check(|it| it.env[0].value.clear(), false);
    check(|it| it.port = PortChoice::Fixed(80), false);
    check(|it| it.limits.memory_bytes = Some(1 << 30), false);
}

#[test]
fn a_value_that_is_stored_reads_back_equal() {
    let mut spec = spec();
    spec.run_as = Some(RunAs { user: "1000".into(), group: Some("web".into()) });
    spec.port = PortChoice::Fixed(80);
    spec.service = Some(Registration::default());
    spec.checks = vec![
        HealthCheck::default(),
        HealthCheck { probe: Probe::Http("/".into()), ..HealthCheck::default() },
    ];
    for strategy in [
        Strategy::Rolling,
        Strategy::Canary { steps: CanaryStep::DEFAULT.to_vec() },
        Strategy::BlueGreen { keep_old: Duration::from_secs(1) },
    ] {
        spec.rollout.strategy = strategy;
        let json = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<WorkloadSpec>(&json).unwrap(), spec);
    }
    assert_eq!(serde_json::from_str::<WorkloadSpec>("{}").unwrap(), WorkloadSpec::default());
}

#[test]
fn a_value_of_the_environment_is_not_logged() {
    assert!(!format!("{:?}", spec()).contains("a.example"));
}

#[test]
fn percents_round_as_in_kubernetes() {
    for (percent, replicas, up, down) in
        [(25, 3, 1, 0), (25, 4, 1, 1), (0, 9, 0, 0), (100, 9, 9, 9)]
    {
        let share = CountOrPercent::Percent(percent);
        assert_eq!((share.round_up(replicas), share.round_down(replicas)), (up, down));
    }
    assert_eq!(CountOrPercent::Count(7).round_down(3), 7);
}

#[test]
fn a_signal_is_known_by_its_name() {
    for name in ["SIGTERM", "TERM", "sigterm"] {
        assert_eq!(StopSignal::parse(name), Some(StopSignal::SigTerm), "{name}");
    }
    for name in ["", "SIG", "15", "SIGNAL", "SIGSTOP"] {
        assert_eq!(StopSignal::parse(name), None, "{name}");
    }
    assert_eq!(serde_json::to_string(&StopSignal::SigUsr1).unwrap(), "\"SIGUSR1\"");
}
