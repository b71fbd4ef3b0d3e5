use std::collections::BTreeMap;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::evidence::Counts;
use crate::evidence::tests::{SOUND, Service, serve};
use crate::rollout::*;

/// What a release is like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quality {
    pub(super) service: Service,
    /// From the start of a process to its first passed check.
    pub(super) start_ms: u64,
    pub(super) never_ready: bool,
    /// Its processes end so long after they became ready.
    pub(super) crashes_after_ms: Option<u64>,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} failing, {} ms", self.failing, self.median_ms)
    }
}

pub(super) const GOOD: Quality =
    Quality { service: SOUND, start_ms: 500, never_ready: false, crashes_after_ms: None };

#[derive(Clone, Debug)]
pub(super) struct Process {
    pub(super) phase: Phase,
    /// When its phase goes on by itself.
    next_ms: u64,
    pub(super) crashes: u32,
    /// The proxies' configuration about it changed then…
    pub(super) changed_ms: u64,
    /// …and each proxy acknowledges that then.
    pub(super) known_ms: Vec<u64>,
    pub(super) in_flight: u64,
}

/// Requests, counted by how they went.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Served {
    pub(super) requests: f64,
    pub(super) affected: f64,
}

pub(super) struct World {
    pub(super) rng: SmallRng,
    pub(super) now_ms: u64,
    pub(super) workload: Workload,
    persisted: Workload,
    persisted_ms: u64,
    pub(super) processes: BTreeMap<CopyId, Process>,
    pub(super) split: Option<Split>,
    split_known_ms: Vec<u64>,
    pub(super) quality: BTreeMap<ReleaseId, Quality>,
    /// By proxy: how long it takes to acknowledge.
    pub(super) acknowledge_ms: Vec<u64>,
    counters: Vec<BTreeMap<ReleaseId, Counts>>,
    /// Requests per second, over all proxies; 0 for none.
    pub(super) rate: f64,
    /// Each request is drawn; otherwise its numbers are rounded from the means.
    pub(super) exact: bool,
    pub(super) loses_reports: f64,
    pub(super) served: Served,
    pub(super) acted: Vec<Action>,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let now_ms = 1_700_000_000_000;
        let workload = Workload::new(Timestamp(now_ms));
        Self {
            rng: SmallRng::seed_from_u64(seed),
            now_ms,
            persisted: workload.clone(),
            persisted_ms: now_ms,
            workload,
            processes: BTreeMap::new(),
            split: None,
            split_known_ms: Vec::new(),
            quality: BTreeMap::new(),
            acknowledge_ms: vec![100, 300],
            counters: vec![BTreeMap::new(); 2],
            rate: 200.0,
            exact: true,
            loses_reports: 0.0,
            served: Served::default(),
            acted: Vec::new(),
        }
    }

    pub(super) fn command(&mut self, command: Command) -> Result<(), Refusal> {
        let done = self.workload.handle_command(command, Timestamp(self.now_ms));
        self.persist();
        done
    }

    /// Starts a release; `quality` is what it is like.
    pub(super) fn release(&mut self, version: &str, spec: Spec, quality: Quality) -> ReleaseId {
        let (version, spec) = (version.to_owned(), Box::new(spec));
        let start = Command::Start { fingerprint: version.clone(), version, spec };
        self.command(start).unwrap();
        let id = self.workload.target().or(self.workload.stable()).unwrap().id;
        self.quality.insert(id, quality);
        id
    }

    /// A world in which `version` is the good release and all is quiet.
    pub(super) fn with_good(seed: u64, spec: Spec) -> Self {
        let mut world = Self::new(seed);
        world.release("v1", spec, GOOD);
        world.run_until(250, 30_000, |it| it.workload.target().is_none());
        assert_eq!(world.workload.stable().unwrap().version, "v1");
        world.run(250, 2_000);
        world.acted.clear();
        world.served = Served::default();
        world
    }

    pub(super) fn observed(&mut self) -> Observed {
        let now_ms = self.now_ms;
        let unacknowledged = |known_ms: &[u64]| -> Vec<String> {
            let waits = |it: &(usize, &u64)| *it.1 > now_ms;
            known_ms.iter().enumerate().filter(waits).map(|it| format!("p{}", it.0)).collect()
        };
        let copies = self.processes.iter().map(|(id, process)| Copy {
            id: *id,
            phase: process.phase,
            crashes: process.crashes,
            unacknowledged: match process.phase {
                Phase::Ready | Phase::Draining => unacknowledged(&process.known_ms),
                _ => Vec::new(),
            },
            in_flight: process.in_flight,
            output: "said so".into(),
        });
        let copies = copies.collect();
        let split_unacknowledged = unacknowledged(&self.split_known_ms);
        let (rng, lost) = (&mut self.rng, self.loses_reports);
        let heard = self.counters.iter().enumerate().filter(|_| !rng.random_bool(lost));
        let reports = heard
            .map(|(nth, counts)| ReleaseReport { proxy: format!("p{nth}"), counts: counts.clone() })
            .collect();
        Observed { copies, split: self.split.clone(), split_unacknowledged, reports }
    }

    /// Looks, decides, persists, acts.
    pub(super) fn reconcile(&mut self) -> (Observed, Vec<Action>) {
        let observed = self.observed();
        let before = self.workload.revision();
        let actions = self.workload.reconcile(&observed, Timestamp(self.now_ms));
        if self.workload.revision() != before || self.now_ms - self.persisted_ms >= 5_000 {
            self.persist();
        }
        (observed, actions)
    }

    fn persist(&mut self) {
        self.persisted.clone_from(&self.workload);
        self.persisted_ms = self.now_ms;
    }

    /// The agent is killed and started again.
    pub(super) fn kill_agent(&mut self) {
        let text = serde_json::to_string(&self.persisted).unwrap();
        self.workload = serde_json::from_str(&text).unwrap();
        assert!(self.workload.is_readable());
    }

    /// When each proxy will have acknowledged what changes now.
    fn known_ms(&self) -> Vec<u64> {
        self.acknowledge_ms.iter().map(|it| self.now_ms.saturating_add(*it)).collect()
    }

    pub(super) fn act(&mut self, action: &Action) {
        let now_ms = self.now_ms;
        match action {
            Action::StartCopy(id) => {
                let start_ms = self.quality[&id.release].start_ms;
                let spread = self.rng.random_range(0..=start_ms / 4);
                self.processes.entry(*id).or_insert(Process {
                    phase: Phase::Starting,
                    next_ms: now_ms + start_ms + spread,
                    crashes: 0,
                    changed_ms: now_ms,
                    known_ms: Vec::new(),
                    in_flight: 0,
                });
            }
            Action::Drain(id) => self.change(*id, |it| it != Phase::Draining, Phase::Draining, 0),
            Action::Undrain(id) => {
                self.change(*id, |it| it == Phase::Draining, Phase::Checking, 100);
            }
            Action::Stop(id) => self.change(*id, |it| it != Phase::Stopping, Phase::Stopping, 300),
            Action::SetSplit(split) => {
                if self.split.as_ref() != Some(split) {
                    self.split = Some(split.clone());
                    self.split_known_ms = self.known_ms();
                }
            }
            Action::Note(_) | Action::Finish(_) => {}
        }
        self.acted.push(action.clone());
    }

    fn change(&mut self, id: CopyId, from: impl Fn(Phase) -> bool, to: Phase, takes_ms: u64) {
        let (now_ms, known_ms) = (self.now_ms, self.known_ms());
        if let Some(process) = self.processes.get_mut(&id).filter(|it| from(it.phase)) {
            process.phase = to;
            process.changed_ms = now_ms;
            process.known_ms = known_ms;
            process.next_ms = now_ms + takes_ms;
        }
    }

    /// A process ends by itself, and is restarted in place.
    pub(super) fn crash(&mut self, id: CopyId) {
        let start_ms = self.quality[&id.release].start_ms;
        let process = self.processes.get_mut(&id).unwrap();
        process.in_flight = 0;
        process.crashes += 1;
        match process.phase {
            Phase::Draining | Phase::Stopping => {
                self.processes.remove(&id);
            }
            _ => (process.phase, process.next_ms) = (Phase::Starting, self.now_ms + start_ms),
        }
    }

    /// Time goes on in the world.
    pub(super) fn pass(&mut self, step_ms: u64) {
        self.now_ms += step_ms;
        let now_ms = self.now_ms;
        let (mut crashed, known_ms) = (Vec::new(), self.known_ms());
        self.processes.retain(|id, process| {
            let quality = &self.quality[&id.release];
            let is_due = process.next_ms <= now_ms;
            match process.phase {
                Phase::Starting | Phase::Checking if is_due && !quality.never_ready => {
                    process.phase = Phase::Ready;
                    process.changed_ms = now_ms;
                    process.known_ms.clone_from(&known_ms);
                }
                Phase::Ready => {
                    let lives_ms = quality.crashes_after_ms.unwrap_or(u64::MAX);
                    if now_ms - process.changed_ms >= lives_ms {
                        crashed.push(*id);
                    }
                    process.in_flight = 2;
                }
                // Requests end, as long as no proxy sends new ones.
                Phase::Draining if process.known_ms.iter().all(|it| *it < now_ms) => {
                    process.in_flight = process.in_flight.saturating_sub(1);
                }
                Phase::Stopping if is_due => return false,
                _ => {}
            }
            true
        });
        for id in crashed {
            self.crash(id);
        }
        self.send_requests(step_ms);
    }

    /// Requests go where each proxy believes that they should: to the split, as far as there are copies.
    fn send_requests(&mut self, step_ms: u64) {
        let mut ready: BTreeMap<ReleaseId, u32> = BTreeMap::new();
        for (id, process) in &self.processes {
            if process.phase == Phase::Ready {
                *ready.entry(id.release).or_default() += 1;
            }
        }
        let weight = |release: &ReleaseId, copies: &u32| match &self.split {
            Some(Split::Weights(weights)) => weights.get(release).copied().unwrap_or(0),
            Some(Split::ByCopies(releases)) if releases.contains(release) => *copies,
            Some(Split::ByCopies(_)) | None => 0,
        };
        let weights: BTreeMap<ReleaseId, u32> =
            ready.iter().map(|(release, copies)| (*release, weight(release, copies))).collect();
        let total: u32 = weights.values().sum();
        let mean = self.rate * step_ms as f64 / 1000.0 / self.counters.len() as f64;
        for counters in &mut self.counters {
            for (release, weight) in weights.iter().filter(|it| *it.1 > 0) {
                let mean = mean * f64::from(*weight) / f64::from(total);
                let quality = self.quality[release];
                let counts = counters.entry(*release).or_default();
                let before = *counts;
                if self.exact {
                    serve(counts, mean, quality.service, &mut self.rng);
                } else {
                    serve_roughly(counts, mean, quality.service, &mut self.rng);
                }
                let came = counts.since(&before);
                let slow = quality.service.median_ms > 1.5 * SOUND.median_ms;
                let affected = if slow { came.requests } else { came.failures };
                self.served.requests += came.requests as f64;
                self.served.affected += affected as f64;
            }
        }
    }

    pub(super) fn step(&mut self, step_ms: u64) {
        self.pass(step_ms);
        let (_, actions) = self.reconcile();
        actions.iter().for_each(|it| self.act(it));
    }

    pub(super) fn run(&mut self, step_ms: u64, for_ms: u64) {
        (0..for_ms / step_ms).for_each(|_| self.step(step_ms));
    }

    /// Until `done`, at most so long: how long it took.
    pub(super) fn run_until(
        &mut self,
        step_ms: u64,
        most_ms: u64,
        done: impl Fn(&Self) -> bool,
    ) -> u64 {
        let began_ms = self.now_ms;
        while !done(self) {
            let took_ms = self.now_ms - began_ms;
            assert!(took_ms < most_ms, "not done: {:?}\n{:?}", self.workload, self.processes);
            self.step(step_ms);
        }
        self.now_ms - began_ms
    }

    pub(super) fn last_outcome(&self) -> Option<&Outcome> {
        self.workload.history().next_back().map(|it| &it.outcome)
    }

    /// Copies by release, whatever their phase.
    pub(super) fn copies(&self) -> BTreeMap<u64, usize> {
        let mut copies = BTreeMap::new();
        for id in self.processes.keys() {
            *copies.entry(id.release.0).or_default() += 1;
        }
        copies
    }
}

/// As [`serve`], in a few draws.
fn serve_roughly(counts: &mut Counts, mean: f64, service: Service, rng: &mut SmallRng) {
    let round = |it: f64, rng: &mut SmallRng| (it + rng.random::<f64>()) as u64;
    let requests = round(mean, rng);
    let failures = round(requests as f64 * service.failing, rng).min(requests);
    counts.requests += requests;
    counts.failures += failures;
    let us = (service.median_ms * 1000.0) as u64;
    counts.latency[proxy_config::duration_bucket(us)] += requests;
    counts.latency_sum_us += requests * us;
}
