//! `consul lock`: runs a program while a lock, or one of several places, is held.

mod mutex;
mod semaphore;
mod session;

use std::time::Duration;

use anyhow::{Context, ensure};
use runtime::{Exit, Foreground, Input, PassedSignals, Termination};
use serde_json::Value;

use self::mutex::Mutex;
use self::semaphore::Semaphore;
use self::session::Session;
use super::client::{Answer, Ask, Client};
use super::command::{Call, Command, Outcome, Reach, refuse};
use super::flags::{Kind, flag, switch, text};
use super::handler;
use crate::output::{note, print_line};

/// How long one question for the lock waits.
const WAIT: Duration = Duration::from_secs(15);
/// How long the wait for a lock is that rests after its last holder was lost.
const DELAY_RETRY: Duration = Duration::from_secs(5);
/// The pause between questions whether the lock is still held, when the agent fails.
const MONITOR_RETRY: Duration = Duration::from_secs(1);

pub(crate) const COMMANDS: &[Command] = &[Command {
    name: "lock",
    synopsis: "Runs a program while a lock is held; if the lock is lost, the program is ended.",
    arguments: "[options] PREFIX PROGRAM...",
    flags: &[
        switch("child-exit-code", "End with 2 when the program failed."),
        flag(
            "monitor-retry",
            Kind::Number(3),
            "How often the agent may fail before the lock counts as lost.",
        ),
        flag("n", Kind::Number(1), "How many may hold the lock at once."),
        text("name", "Name of the session; made from the program if left out."),
        switch("pass-stdin", "Let the program read this command's standard input."),
        flag("shell", Kind::Switch(true), "Run the program by a shell."),
        flag("timeout", Kind::Duration, "How long to try; without end if left out."),
        flag("try", Kind::Duration, "The same as -timeout."),
        switch("verbose", "Say what is done."),
    ],
    reach: Reach::Agent,
    run: lock,
}];

/// How a lock is asked for.
#[derive(Debug)]
struct Settings {
    /// Where it lies.
    prefix: String,
    /// Try for so long and no longer.
    once: Option<Duration>,
    /// Failures of the agent that are borne with while it is held.
    retries: u32,
}

/// What is held: a lock, or a place of several.
#[derive(Debug)]
enum Hold {
    One(Mutex),
    Several(Semaphore),
}

impl Hold {
    fn session_body(&self, name: &str) -> Value {
        match self {
            Hold::One(_) => serde_json::json!({"Name": name, "TTL": session::TTL}),
            Hold::Several(_) => {
                serde_json::json!({"Name": name, "TTL": session::TTL, "Behavior": "delete"})
            }
        }
    }

    /// False when the time to try is over.
    async fn acquire(&mut self, client: &Client, session: &str) -> anyhow::Result<bool> {
        match self {
            Hold::One(mutex) => mutex.acquire(client, session).await,
            Hold::Several(semaphore) => semaphore.acquire(client, session).await,
        }
    }

    /// Returns when it is held no more.
    async fn lost(&self, client: &Client, session: &str) {
        match self {
            Hold::One(mutex) => mutex.lost(client, session).await,
            Hold::Several(semaphore) => semaphore.lost(client, session).await,
        }
    }

    async fn release(&self, client: &Client, session: &str) -> anyhow::Result<()> {
        match self {
            Hold::One(mutex) => mutex.release(client, session).await,
            Hold::Several(semaphore) => semaphore.release(client, session).await,
        }
    }

    /// Removes what nobody uses any more; false when somebody does.
    async fn clean_up(&self, client: &Client) -> anyhow::Result<bool> {
        match self {
            Hold::One(mutex) => mutex.clean_up(client).await,
            Hold::Several(semaphore) => semaphore.clean_up(client).await,
        }
    }
}

fn lock(call: &Call) -> Outcome {
    ensure!(call.number("n") > 0, "Lock holder limit must be positive");
    let [prefix, program @ ..] = call.positional() else {
        return refuse("Key prefix and child command must be specified");
    };
    ensure!(!program.is_empty(), "Key prefix and child command must be specified");
    let prefix = prefix.strip_prefix('/').unwrap_or(prefix).trim_end_matches('/');
    ensure!(!prefix.is_empty(), "Lock setup failed: missing prefix");
    let timeout = call.duration("timeout").max(call.duration("try"));
    ensure!(timeout.0 >= 0, "Timeout must be positive");
    let retries = u32::try_from(call.number("monitor-retry"));
    let retries = retries.context("Number for 'monitor-retry' must be >= 0")?;
    let name = match call.text("name") {
        "" => format!("Consul lock for '{}' at '{prefix}'", program.join(" ")),
        name => name.to_owned(),
    };
    let client = call.client()?;
    client.own()?;
    let once = (timeout.0 > 0).then(|| timeout.to_duration());
    let settings = Settings { prefix: prefix.to_owned(), once, retries };
    let hold = match call.number("n") {
        1 => {
            verbose(call, || format!("Setting up lock at path: {prefix}/.lock"));
            Hold::One(Mutex::new(settings))
        }
        limit => {
            verbose(call, || format!("Setting up semaphore (limit {limit}) at prefix: {prefix}"));
            Hold::Several(Semaphore::new(settings, limit.unsigned_abs()))
        }
    };
    client.block_on(hold_and_run(call, &client, hold, &name, program))
}

fn verbose(call: &Call, text: impl Fn() -> String) {
    if call.is("verbose") {
        print_line(&text());
    }
}

async fn hold_and_run(
    call: &Call,
    client: &Client,
    mut hold: Hold,
    name: &str,
    program: &[String],
) -> Outcome {
    let mut termination = Termination::listen().context("cannot listen to signals")?;
    let session = Session::create(client, &hold.session_body(name)).await;
    let session = session.context("Lock acquisition failed: failed to create session")?;
    let kept = session.keep(client);
    tokio::pin!(kept);
    verbose(call, || "Attempting lock acquisition".to_owned());
    let acquired = tokio::select! {
        acquired = hold.acquire(client, &session.id) => acquired,
        _ = termination.next() => Ok(false),
        error = &mut kept => Err(error),
    };
    match acquired.context("Lock acquisition failed") {
        Ok(true) => {}
        Ok(false) => {
            session.destroy(client).await;
            return refuse("Shutdown triggered or timeout during lock acquisition");
        }
        Err(error) => {
            session.destroy(client).await;
            return Err(error);
        }
    }
    let code = run_program(call, program, &mut termination, async {
        tokio::select! {
            () = hold.lost(client, &session.id) => {}
            _ = &mut kept => {}
        }
    })
    .await;
    let released = hold.release(client, &session.id).await;
    session.destroy(client).await;
    released.context("Lock release failed")?;
    let is_clean = hold.clean_up(client).await.context("Lock cleanup failed")?;
    verbose(call, || {
        let text = if is_clean { "Cleanup succeeded" } else { "Cleanup aborted, lock in use" };
        text.to_owned()
    });
    Ok(if call.is("child-exit-code") { code } else { 0 })
}

/// Runs the program to its end, or ends it when the lock is lost or a signal comes. The code is 2 if it failed by itself.
async fn run_program(
    call: &Call,
    program: &[String],
    termination: &mut Termination,
    lost: impl Future<Output = ()>,
) -> u8 {
    verbose(call, || "Starting handler".to_owned());
    let spec = handler::spec(program, call.is("shell"), &[("CONSUL_LOCK_HELD", "true")]);
    let input = if call.is("pass-stdin") {
        verbose(call, || "Stdin passed to handler process".to_owned());
        Input::Ours
    } else {
        Input::Nothing
    };
    let started = PassedSignals::listen()
        .context("cannot listen to signals")
        .and_then(|passed| Ok((passed, Foreground::start(&spec, input)?)));
    let (mut passed, mut child) = match started {
        Ok(started) => started,
        Err(error) => {
            note(&format!("Error starting handler: {error:#}"));
            return 2;
        }
    };
    tokio::pin!(lost);
    loop {
        tokio::select! {
            exit = child.end() => {
                let complaint = match exit {
                    Ok(exit) => handler::complaint(exit),
                    Err(error) => Some(error.to_string()),
                };
                complain(complaint.as_deref());
                verbose(call, || "Child terminated, releasing lock".to_owned());
                return if complaint.is_some() { 2 } else { 0 };
            }
            signal = passed.next() => child.pass(signal),
            () = &mut lost => {
                verbose(call, || "Lock lost, killing child".to_owned());
                break;
            }
            _ = termination.next() => {
                verbose(call, || "Shutdown triggered, killing child".to_owned());
                break;
            }
        }
    }
    verbose(call, || format!("Terminating child pid {}", child.pid()));
    if handler::stop(&mut child).await {
        verbose(call, || "Child terminated".to_owned());
    } else {
        let pid = child.pid();
        verbose(call, || {
            let grace = handler::GRACE.as_secs();
            format!("Child did not exit after grace period of {grace}s\nKilling child pid {pid}")
        });
        complain(handler::complaint(Exit::Signal(9)).as_deref());
    }
    0
}

fn complain(complaint: Option<&str>) {
    if let Some(complaint) = complaint {
        note(&format!("Error running handler: {complaint}"));
    }
}

/// What a blocking read gave, while the agent may fail a few times.
struct Monitor<'c> {
    client: &'c Client,
    ask: Ask,
    retries: u32,
    index: u64,
}

impl<'c> Monitor<'c> {
    fn new(client: &'c Client, ask: Ask, retries: u32) -> Self {
        Self { client, ask: ask.with("consistent", ""), retries, index: 0 }
    }

    /// The next state; `None` when the agent has failed too often.
    async fn next(&mut self) -> Option<Answer> {
        let mut retries = self.retries;
        loop {
            let ask = self.ask.clone();
            let ask = if self.index > 0 { ask.with("index", self.index) } else { ask };
            match self.client.send(&ask).await {
                Ok(answer) if !answer.status.is_server_error() => {
                    self.index = answer.index();
                    return Some(answer);
                }
                _ if retries == 0 => return None,
                _ => {
                    retries -= 1;
                    self.index = 0;
                    tokio::time::sleep(MONITOR_RETRY).await;
                }
            }
        }
    }
}

/// Adds what a blocking read waits for.
fn waiting(ask: Ask, index: u64, wait: Duration) -> Ask {
    let ask = ask.with("wait", format!("{}ms", wait.as_millis()));
    if index > 0 { ask.with("index", index) } else { ask }
}
