//! Keys and locks behave as if one request came after the other, over several clients and over `kill -9`.
//!
//! Clients ask for a few keys at once and write down what they asked, when, and what was answered. A request that the
//! kill cut off may have happened or not. The checker then looks for an order that explains all of it.
//!
//! Ends of sessions are a part of the history. Their lock delay is 0 here, so that no clock decides what is answered, and
//! they have no TTL for the same reason.

mod checker;
mod client;
mod history;
mod key;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::Instant;

use self::client::Client;
use self::history::{Input, Moment, Operation, Output};
use crate::support::{Agent, HANG, eventually};

/// Clients that ask at once.
const CLIENTS: u64 = 8;
/// Few, so that clients meet at each.
const KEYS: usize = 5;
/// Requests before each of the kills.
const REQUESTS: [u64; 3] = [3_400, 6_800, 10_200];
/// Of what the clients choose to do.
const SEED: u64 = 20_261_130;

/// What was asked of a key; `None` of all keys.
type Record = (Option<usize>, Operation);

/// What clients and the one who kills the agent share.
#[derive(Default)]
struct Stage {
    clock: AtomicU64,
    /// Requests that were answered.
    answered: AtomicU64,
    values: AtomicU64,
    /// Ids of all sessions that were made, by their number.
    sessions: Mutex<Vec<String>>,
    turn: Mutex<Turn>,
    changed: Condvar,
}

/// An agent's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Turn {
    #[default]
    NotBegun,
    /// It is the n-th, and answers there.
    Agent {
        number: usize,
        http: SocketAddr,
    },
    Over,
}

impl Stage {
    fn now(&self) -> Moment {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    fn set(&self, turn: Turn) {
        *self.turn.lock().expect("nobody panics with it") = turn;
        self.changed.notify_all();
    }

    /// The next agent after the one with this number.
    fn agent_after(&self, last: Option<usize>) -> Option<(usize, SocketAddr)> {
        let mut turn = self.turn.lock().expect("nobody panics with it");
        let began = Instant::now();
        loop {
            match *turn {
                Turn::Over => return None,
                Turn::Agent { number, http } if Some(number) != last => {
                    return Some((number, http));
                }
                Turn::NotBegun | Turn::Agent { .. } => {}
            }
            assert!(began.elapsed() < HANG, "no agent came");
            let left = HANG.saturating_sub(began.elapsed());
            turn = self.changed.wait_timeout(turn, left).expect("nobody panics with it").0;
        }
    }
}

/// Asks one agent after the other; returns what was asked of each.
fn ask_agents(stage: &Stage, number: u64) -> Vec<(usize, Record)> {
    let mut client = Client::new(stage, SEED + number);
    let (mut records, mut last) = (Vec::new(), None);
    while let Some((agent, http)) = stage.agent_after(last) {
        last = Some(agent);
        let asked = client.ask_until_it_dies(http);
        records.extend(asked.into_iter().map(|record| (agent, record)));
    }
    records
}

/// What was asked of each key, cut-off requests ended with the agent that they were sent to.
fn by_key(records: Vec<(usize, Record)>, deaths: &[Moment]) -> Vec<Vec<Operation>> {
    let mut histories = vec![Vec::new(); KEYS];
    for (agent, (key, mut operation)) in records {
        if operation.output == Output::Unknown {
            operation.returned = deaths[agent];
            // A read changes nothing, and what was sent to a dead agent did nothing.
            if operation.input == Input::Get || operation.called > operation.returned {
                continue;
            }
        }
        match key {
            Some(key) => histories[key].push(operation),
            None => histories.iter_mut().for_each(|history| history.push(operation.clone())),
        }
    }
    histories
}

/// How often each kind of request ended in each way. A history in which nothing is refused proves little.
fn assert_all_happened(histories: &[Vec<Operation>]) {
    let all = || histories.iter().flatten();
    let mut unlikely = Vec::new();
    let mut expect = |what: &str, at_least: usize, is: &dyn Fn(&Operation) -> bool| {
        let count = all().filter(|it| is(it)).count();
        println!("{count:>6} {what}");
        if count < at_least {
            unlikely.push(format!("{what}: {count}, not {at_least}"));
        }
    };
    let (done, refused) = (Output::Done(true), Output::Done(false));
    let is_cas = |it: &Operation| matches!(it.input, Input::Cas { .. });
    let is_delete = |it: &Operation| matches!(it.input, Input::DeleteCas { .. });
    let is_acquire = |it: &Operation| matches!(it.input, Input::Acquire { .. });
    let is_release = |it: &Operation| matches!(it.input, Input::Release { .. });
    let is_end = |it: &Operation| matches!(it.input, Input::End { .. });
    expect("reads", 1_000, &|it| it.input == Input::Get);
    expect("reads of no entry", 50, &|it| it.output == Output::Seen(None));
    expect("writes at an index", 50, &|it| is_cas(it) && it.output == done);
    expect("writes refused for their index", 50, &|it| is_cas(it) && it.output == refused);
    expect("deletions at an index", 20, &|it| is_delete(it) && it.output == done);
    expect("deletions refused for it", 20, &|it| is_delete(it) && it.output == refused);
    expect("locks taken", 50, &|it| is_acquire(it) && it.output == done);
    expect("locks refused", 50, &|it| is_acquire(it) && it.output == refused);
    expect("locks for ended sessions", 10, &|it| it.output == Output::NoSuchSession);
    expect("locks let go", 50, &|it| is_release(it) && it.output == done);
    expect("locks that another held", 50, &|it| is_release(it) && it.output == refused);
    expect("ends of sessions, for each key", 50, &is_end);
    expect("writes cut off", 3, &|it| it.output == Output::Unknown);
    assert!(unlikely.is_empty(), "too rare to prove much: {unlikely:?}");
}

/// The history with one read in its middle that saw an older value than it did, which no order explains.
fn with_a_lie(history: &[Operation]) -> Vec<Operation> {
    let mut history = history.to_vec();
    history.sort_by_key(|it| it.called);
    let reads = history.iter().enumerate().filter_map(|(place, it)| match &it.output {
        Output::Seen(Some(seen)) => Some((place, seen.clone())),
        Output::Seen(None) | Output::Done(_) | Output::NoSuchSession | Output::Unknown => None,
    });
    let reads: Vec<_> = reads.collect();
    let ((_, old), (place, _)) = (&reads[reads.len() / 4], &reads[reads.len() / 2]);
    history[*place].output = Output::Seen(Some(old.clone()));
    history
}

#[test]
fn keys_and_locks_are_linearizable_over_kill_9() {
    let folder = tempfile::tempdir().expect("a folder");
    let stage = Stage::default();
    let mut deaths = Vec::new();
    let mut records = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|it| {
                let stage = &stage;
                scope.spawn(move || ask_agents(stage, it))
            })
            .collect();
        for (number, requests) in REQUESTS.into_iter().enumerate() {
            let mut agent = Agent::durable(folder.path());
            stage.set(Turn::Agent { number, http: agent.http });
            eventually("the clients get through", || {
                let is_broken = clients.iter().any(|it| it.is_finished());
                is_broken || stage.answered.load(Ordering::Relaxed) >= requests
            });
            agent.kill();
            deaths.push(stage.now());
        }
        stage.set(Turn::Over);
        let ended = clients.into_iter().map(|it| it.join().expect("what was answered makes sense"));
        ended.flatten().collect::<Vec<_>>()
    });
    let agent = Agent::durable(folder.path());
    let last = Client::new(&stage, SEED).read_all(agent.http);
    records.extend(last.into_iter().map(|record| (REQUESTS.len(), record)));
    let histories = by_key(records, &deaths);
    assert_all_happened(&histories);
    for (key, history) in histories.iter().enumerate() {
        if let Err(violation) = checker::check(history) {
            panic!("key {key}: no order of requests explains this answer: {violation:#?}");
        }
        assert!(checker::check(&with_a_lie(history)).is_err(), "the checker sees a stale read");
    }
}
