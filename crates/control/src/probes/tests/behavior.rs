use super::*;
use crate::door::Heartbeats;

#[tokio::test(start_paused = true)]
async fn a_new_check_gets_its_verdict_at_once() {
    let world = world().await;
    world.network.answer("a", PASS, "fine");
    let registered = Instant::now();
    world.mesh.register(check("c", every_10_s("a"))).await;
    assert_eq!(world.mesh.until_status("c", PASS).await.output, "fine");
    assert!(registered.elapsed() <= Duration::from_millis(201), "{:?}", registered.elapsed());
    assert!(world.probes.live_checks().is_empty());
}

#[tokio::test(start_paused = true)]
async fn runs_follow_each_other_by_the_interval() {
    let world = world().await;
    world.mesh.register(check("c", every_10_s("a"))).await;
    world.network.more_runs("a", 20).await;
    for pair in world.network.runs_of("a").windows(2) {
        let gap = (pair[1] - pair[0]).as_secs_f64();
        assert!((9.49..=10.51).contains(&gap), "{gap}");
    }
}

#[tokio::test(start_paused = true)]
async fn only_a_changed_verdict_is_written_and_the_freshest_output_is_shown() {
    let world = world().await;
    world.network.answer("a", PASS, "first");
    world.mesh.register(check("c", every_10_s("a"))).await;
    world.mesh.until_status("c", PASS).await;
    let revision = world.mesh.revision();
    world.network.answer("a", PASS, "second");
    world.network.more_runs("a", 3).await;
    assert_eq!(world.mesh.revision(), revision);
    let live = world.probes.live_checks();
    let expected = LiveCheck { status: PASS, output: "second".into() };
    assert_eq!(live.get(&"c".into()), Some(&expected));

    world.network.answer("a", PASS, "first");
    world.network.more_runs("a", 3).await;
    assert!(world.probes.live_checks().is_empty(), "what the catalog says is not repeated");
}

#[tokio::test(start_paused = true)]
async fn thresholds_hold_back_a_verdict() {
    let world = world().await;
    world.network.answer("a", PASS, "fine");
    let definition = CheckDefinition {
        failures_before_warning: 2,
        failures_before_critical: 3,
        ..every_10_s("a")
    };
    world.mesh.register(check("c", definition)).await;
    world.mesh.until_status("c", PASS).await;
    let before = world.network.runs_of("a").len();
    world.network.answer("a", FAIL, "refused");
    world.mesh.until_status("c", WARN).await;
    assert_eq!(world.network.runs_of("a").len(), before + 2);
    world.mesh.until_status("c", FAIL).await;
    assert_eq!(world.network.runs_of("a").len(), before + 3);
}

#[tokio::test(start_paused = true)]
async fn a_changed_definition_replaces_the_task_and_a_removed_check_ends_it() {
    let world = world().await;
    world.network.answer("b", PASS, "fine");
    world.mesh.register(check("c", every_10_s("a"))).await;
    world.network.more_runs("a", 2).await;
    world.mesh.register(check("c", every_10_s("b"))).await;
    world.mesh.until_status("c", PASS).await;
    let of_a = world.network.runs_of("a").len();
    world.network.answer("b", PASS, "finer");
    world.network.more_runs("b", 3).await;
    assert_eq!(world.network.runs_of("a").len(), of_a);
    assert_eq!(world.probes.live_checks().len(), 1);

    let gone = Command::DeregisterCheck { node: "n1".into(), id: "c".into() };
    world.mesh.done(gone).await;
    world.mesh.register(check("other", every_10_s("x"))).await;
    world.network.more_runs("x", 1).await;
    let of_b = world.network.runs_of("b").len();
    world.network.more_runs("x", 10).await;
    assert_eq!(world.network.runs_of("b").len(), of_b);
    assert!(!world.probes.live_checks().contains_key(&"c".into()));
}

#[tokio::test(start_paused = true)]
async fn a_check_of_the_catalog_is_not_run() {
    let world = world().await;
    let foreign = Check { origin: Origin::Catalog, ..check("foreign", every_10_s("a")) };
    let node = Node { name: "n1".into(), address: "127.0.0.1".into(), ..Node::default() };
    let checks = vec![foreign];
    let registration = CatalogRegistration { node, checks, ..CatalogRegistration::default() };
    world.mesh.done(Command::RegisterInCatalog(registration)).await;
    assert!(find(&truth::Truth::catalog(&world.mesh), "foreign").unwrap().definition.is_some());
    world.mesh.register(check("own", every_10_s("b"))).await;
    world.network.more_runs("b", 5).await;
    assert!(world.network.runs_of("a").is_empty());
}

fn ttl_check() -> Check {
    let ttl = Duration::from_secs(10);
    check("ttl", CheckDefinition { ttl, ..CheckDefinition::default() })
}

/// What the HTTP server does for a heartbeat.
async fn beat(world: &World, output: &str) {
    world.mesh.set("ttl", PASS, output).await;
    world.probes.heartbeat(&"ttl".into(), PASS, output.into());
}

#[tokio::test(start_paused = true)]
async fn a_ttl_check_lapses_when_its_heartbeats_stop() {
    let world = world().await;
    world.mesh.register(ttl_check()).await;
    // The reconciler must have seen the check before a heartbeat can reach it.
    world.mesh.register(check("c", every_10_s("a"))).await;
    world.network.more_runs("a", 1).await;
    let mut last = Instant::now();
    for _ in 0..5 {
        beat(&world, "alive").await;
        last = Instant::now();
        sleep(Duration::from_secs(9)).await;
    }
    let now = find(&truth::Truth::catalog(&world.mesh), "ttl").unwrap();
    assert_eq!(now.status, PASS);
    let lapsed = world.mesh.until_status("ttl", FAIL).await;
    assert_eq!(lapsed.output, "TTL expired (last output before timeout follows): alive");
    let silence = last.elapsed();
    assert!(silence >= Duration::from_secs(10) && silence < Duration::from_millis(10_010));

    beat(&world, "again").await;
    world.mesh.until_status("ttl", PASS).await;
    world.mesh.until_status("ttl", FAIL).await;
}

#[tokio::test(start_paused = true)]
async fn a_ttl_check_that_is_registered_again_gets_its_whole_time_again() {
    let world = world().await;
    let register = || async {
        let command = Command::RegisterCheck(ttl_check());
        let beats = Heartbeats::of(&command);
        world.mesh.done(command).await;
        beats.tell(&truth::Truth::catalog(&world.mesh), &world.probes);
    };
    register().await;
    // The reconciler must have seen the check before a heartbeat can reach it.
    world.mesh.register(check("c", every_10_s("a"))).await;
    world.network.more_runs("a", 1).await;
    beat(&world, "alive").await;
    let mut last = Instant::now();
    for _ in 0..5 {
        sleep(Duration::from_secs(9)).await;
        register().await;
        last = Instant::now();
    }
    let now = find(&truth::Truth::catalog(&world.mesh), "ttl").unwrap();
    assert_eq!((now.status, now.output.as_str()), (PASS, "alive"));
    let expected = "TTL expired (last output before timeout follows): alive";
    assert_eq!(world.mesh.until_status("ttl", FAIL).await.output, expected);
    assert!(last.elapsed() >= Duration::from_secs(10), "{:?}", last.elapsed());
    register().await;
    sleep(Duration::from_secs(60)).await;
    let now = find(&truth::Truth::catalog(&world.mesh), "ttl").unwrap();
    assert_eq!((now.status, now.output.as_str()), (FAIL, expected), "only a heartbeat revives it");
}

#[tokio::test(start_paused = true)]
async fn a_lapse_written_after_a_heartbeat_is_taken_back() {
    let world = world().await;
    world.mesh.register(ttl_check()).await;
    // The heartbeat's write comes before the lapse's, and the call about it after.
    world.mesh.set("ttl", PASS, "alive").await;
    world.mesh.until_status("ttl", FAIL).await;
    world.probes.heartbeat(&"ttl".into(), PASS, "alive".into());
    assert_eq!(world.mesh.until_status("ttl", PASS).await.output, "alive");
}

#[tokio::test(start_paused = true)]
async fn a_lapse_that_could_not_be_written_is_written_later() {
    let world = world().await;
    world.mesh.register(Check { status: PASS, ..ttl_check() }).await;
    world.mesh.break_store(true);
    sleep(Duration::from_secs(15)).await;
    let live = world.probes.live_checks();
    assert_eq!(live.get(&"ttl".into()).map(|it| it.status), Some(FAIL));
    world.mesh.break_store(false);
    world.mesh.until_status("ttl", FAIL).await;
}

#[tokio::test(start_paused = true)]
async fn a_lapse_after_a_restart_remembers_the_last_note() {
    let mesh = FakeMesh::new().await;
    mesh.register(ttl_check()).await;
    mesh.set("ttl", PASS, "alive").await;
    let tasks = Tasks::new();
    let options = ProbeOptions::default();
    let _probes = start(mesh.clone(), FakeNetwork::new(), "n1".into(), options, &tasks);
    let lapsed = mesh.until_status("ttl", FAIL).await;
    assert_eq!(lapsed.output, "TTL expired (last output before timeout follows): alive");
}

#[tokio::test(start_paused = true)]
async fn an_alias_follows_what_it_stands_for() {
    let world = world().await;
    world.network.answer("a", PASS, "fine");
    let mut alias = check("alias", CheckDefinition::default());
    alias.service_id = ServiceId::default();
    let alias_service = "web-1".to_owned();
    alias.definition =
        Some(Arc::new(CheckDefinition { alias_service, ..CheckDefinition::default() }));
    world.mesh.register(alias).await;
    world.mesh.until_status("alias", PASS).await;
    world.mesh.register(check("c", every_10_s("a"))).await;
    world.mesh.until_status("c", PASS).await;
    world.mesh.until_status("alias", PASS).await;
    world.network.answer("a", FAIL, "refused");
    let alias = world.mesh.until_status("alias", FAIL).await;
    assert_eq!(alias.output, "Aliased check \"check c\" failing: refused");
    world.network.answer("a", PASS, "fine");
    world.mesh.until_status("alias", PASS).await;
}

#[tokio::test(start_paused = true)]
async fn evidence_has_the_checks_run_now_but_not_too_often() {
    let world = world().await;
    world.mesh.register(check("c", every_10_s("a"))).await;
    world.network.more_runs("a", 1).await;
    world.probes.probe_now(&"n2".into(), &"web-1".into());
    world.probes.probe_now(&"n1".into(), &"web-2".into());
    world.network.more_runs("a", 1).await;
    let runs = world.network.runs_of("a");
    assert!(runs[1] - runs[0] > Duration::from_secs(9), "others' evidence does not count");
    sleep(Duration::from_secs(5)).await;
    let asked = Instant::now();
    for _ in 0..5 {
        world.probes.probe_now(&"N1".into(), &"web-1".into());
    }
    world.network.more_runs("a", 1).await;
    world.probes.probe_now(&"n1".into(), &"web-1".into());
    world.network.more_runs("a", 1).await;
    let runs = world.network.runs_of("a");
    assert!(runs[2] - asked <= Duration::from_millis(2), "{:?}", runs[2] - asked);
    let gap = runs[3] - runs[2];
    assert!((100..=110).contains(&gap.as_millis()), "{gap:?}");
    world.network.more_runs("a", 1).await;
    let runs = world.network.runs_of("a");
    assert!(runs[4] - runs[3] > Duration::from_secs(9), "many calls are one run");
}

#[tokio::test(start_paused = true)]
async fn a_verdict_that_could_not_be_written_is_shown_and_written_later() {
    let world = world().await;
    world.network.answer("a", PASS, "fine");
    world.mesh.register(check("c", every_10_s("a"))).await;
    world.mesh.until_status("c", PASS).await;
    world.mesh.break_store(true);
    world.network.answer("a", FAIL, "refused");
    world.network.more_runs("a", 3).await;
    let expected = LiveCheck { status: FAIL, output: "refused".into() };
    assert_eq!(world.probes.live_checks().get(&"c".into()), Some(&expected));
    world.mesh.break_store(false);
    world.mesh.until_status("c", FAIL).await;
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_stays_critical_is_removed() {
    let world = world().await;
    let after = Duration::from_secs(1);
    let definition =
        CheckDefinition { deregister_critical_service_after: after, ..every_10_s("a") };
    world.mesh.register(check("c", definition)).await;
    let registered = Instant::now();
    let node = NodeName::from("n1").folded();
    let gone = |catalog: &Catalog| catalog.instance(&node, &"web-1".into()).is_none();
    world.mesh.until("web-1 is removed", gone).await;
    // A limit under a minute counts as one, and the reaper looks every 30 s.
    let lived = registered.elapsed();
    assert!(lived >= Duration::from_secs(60) && lived <= Duration::from_secs(121), "{lived:?}");
}

#[tokio::test(start_paused = true)]
async fn a_probe_under_way_when_the_process_ends_does_not_revive_the_instance() {
    let world = world().await;
    world.network.answer("a", PASS, "fine");
    *world.network.0.takes.lock() = Duration::from_secs(5);
    world.mesh.register(check("c", every_10_s("a"))).await;
    world.network.more_runs("a", 1).await;
    world.probes.hold(&"web-1".into(), "process 1 ended");
    let before = world.mesh.revision();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(world.network.runs_of("a").len(), 1, "nobody is probed");
    let check = world.mesh.until_status("c", FAIL).await;
    assert_eq!(check.output, "process 1 ended", "it was critical, stays so, and says why");
    let once = Revision(before.0 + 1);
    assert_eq!(world.mesh.revision(), once, "which is written once");
    world.probes.release(&"web-1".into());
    let released = Instant::now();
    world.mesh.until_status("c", PASS).await;
    assert!(released.elapsed() >= Duration::from_secs(5), "by a probe of its own");
}

#[tokio::test(start_paused = true)]
async fn a_held_instance_is_critical_however_its_checks_answer() {
    let world = world().await;
    world.network.answer("a", PASS, "fine");
    world.mesh.register(check("c", every_10_s("a"))).await;
    world.mesh.until_status("c", PASS).await;
    world.mesh.break_store(true);
    world.probes.hold(&"web-1".into(), "process 1 ended");
    world.probes.hold(&"web-2".into(), "somebody else's");
    sleep(Duration::from_secs(5)).await;
    world.mesh.break_store(false);
    assert_eq!(world.mesh.until_status("c", FAIL).await.output, "process 1 ended");
    // A check that is registered meanwhile is held too.
    world.network.answer("b", PASS, "fine");
    world.mesh.register(Check { status: PASS, ..check("late", every_10_s("b")) }).await;
    assert_eq!(world.mesh.until_status("late", FAIL).await.output, "process 1 ended");
    assert!(world.network.runs_of("b").is_empty());
    world.probes.release(&"web-2".into());
    world.probes.release(&"web-1".into());
    world.mesh.until_status("c", PASS).await;
    world.mesh.until_status("late", PASS).await;
}

#[tokio::test(start_paused = true)]
async fn a_process_that_is_replaced_at_once_is_not_judged_by_the_old_one() {
    let world = world().await;
    world.network.answer("a", PASS, "the old process");
    *world.network.0.takes.lock() = Duration::from_secs(5);
    world.mesh.register(check("c", every_10_s("a"))).await;
    world.network.more_runs("a", 1).await;
    world.network.answer("a", FAIL, "the new process");
    world.probes.hold(&"web-1".into(), "process 1 ended");
    world.probes.release(&"web-1".into());
    let before = world.mesh.revision();
    world.network.more_runs("a", 3).await;
    let check = world.mesh.until_status("c", FAIL).await;
    assert_ne!(check.output, "the old process");
    let once = Revision(before.0 + 1);
    assert_eq!(world.mesh.revision(), once, "only why it is critical is written");
}

#[tokio::test(start_paused = true)]
async fn only_so_many_probes_run_at_once() {
    let options = ProbeOptions { probes_at_once_max: 2, ..ProbeOptions::default() };
    let world = world_with(options).await;
    *world.network.0.takes.lock() = Duration::from_secs(3);
    for id in ["a", "b", "c", "d", "e"] {
        world.mesh.register(check(id, every_10_s(id))).await;
    }
    for id in ["a", "b", "c", "d", "e"] {
        world.network.more_runs(id, 3).await;
    }
    assert_eq!(*world.network.0.running_most.lock(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_drain_ends_every_task() {
    let world = world().await;
    *world.network.0.takes.lock() = Duration::from_secs(3600);
    world.mesh.register(check("c", every_10_s("a"))).await;
    world.mesh.register(ttl_check()).await;
    world.network.more_runs("a", 1).await;
    let late = world.tasks.shut_down(Duration::from_secs(5)).await;
    assert!(late.is_empty(), "{late:?}");
}
