//! Starting a process so that it dies with this one.
//!
//! The kernel ties the parent-death signal to the *thread* that forked: were that a thread which ends before the
//! process does (a blocking thread of tokio's ends when it is idle for 10 s), its children would be killed with it. So
//! all forks are made by one thread that lives as long as the process.

use std::io;
use std::sync::{OnceLock, mpsc};
use std::thread;

use rustix::process::{
    Pid, Resource, Rlimit, Signal, getppid, getrlimit, set_parent_process_death_signal, setrlimit,
};
use tokio::process::{Child, Command};
use tokio::runtime::Handle;

use crate::cgroup::Entry;
use crate::process::ResourceLimits;

type Work = Box<dyn FnOnce() + Send>;

/// The thread that forks; `None` if the system has no thread for it.
static FORKER: OnceLock<Option<mpsc::Sender<Work>>> = OnceLock::new();
/// The limit of open files that this process was started with, if it was raised.
static OPEN_FILES: OnceLock<Rlimit> = OnceLock::new();

/// What is done in a new process before its program begins.
#[derive(Debug, Default)]
pub(crate) struct Preparation {
    /// It goes on when this process dies, instead of getting SIGKILL then.
    pub(crate) survives: bool,
    pub(crate) limits: ResourceLimits,
    /// The group that it enters. Where it cannot, all of `limits` are set for it; else what the group does not limit.
    pub(crate) group: Option<Entry>,
}

/// Starts a process that gets SIGKILL when this one dies. Must be called within a tokio runtime.
pub(crate) fn spawn(command: Command) -> io::Result<Child> {
    spawn_with(command, Preparation::default())
}

/// Starts a process. Must be called within a tokio runtime.
pub(crate) fn spawn_with(mut command: Command, preparation: Preparation) -> io::Result<Child> {
    prepare(&mut command, preparation);
    let Some(forker) = FORKER.get_or_init(start_forker) else { return command.spawn() };
    let handle = Handle::current();
    let (sender, receiver) = mpsc::sync_channel(1);
    let work = move || {
        let _runtime = handle.enter();
        // Whoever asked is waiting just below.
        let _ = sender.send(command.spawn());
    };
    let gone = || io::Error::other("the thread that starts processes has ended");
    forker.send(Box::new(work)).map_err(|_| gone())?;
    receiver.recv().unwrap_or_else(|_| Err(gone()))
}

/// Raises this process's limit of open files to what it may have: each connection is one, and the usual 1024 are for
/// programs that use `select`. Processes started here get the limit that this one was started with.
pub fn raise_open_files_limit() {
    let before = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: before.maximum, maximum: before.maximum };
    if before.current != before.maximum && setrlimit(Resource::Nofile, raised).is_ok() {
        let _ = OPEN_FILES.set(before);
    }
}

fn start_forker() -> Option<mpsc::Sender<Work>> {
    let (sender, receiver) = mpsc::channel::<Work>();
    let run = move || receiver.into_iter().for_each(|work| work());
    thread::Builder::new().name("fork".into()).spawn(run).ok()?;
    Some(sender)
}

/// The limits to set: those that are asked for, and else of open files that which this process was started with.
fn limits(asked: ResourceLimits) -> [Option<(Resource, Rlimit)>; 4] {
    let both = |most: u64| Rlimit { current: Some(most), maximum: Some(most) };
    let open_files = asked.open_files.map(both).or_else(|| OPEN_FILES.get().cloned());
    [
        (Resource::Nofile, open_files),
        (Resource::Nproc, asked.processes.map(both)),
        (Resource::Data, asked.data.map(both)),
        (Resource::Core, asked.core.map(both)),
    ]
    .map(|(resource, limit)| limit.map(|limit| (resource, limit)))
}

#[allow(unsafe_code)]
fn prepare(command: &mut Command, preparation: Preparation) {
    let parent = i32::try_from(std::process::id()).ok().and_then(Pid::from_raw);
    let outside = limits(preparation.limits);
    let asked = preparation.limits;
    let inside = limits(preparation.group.as_ref().map_or(asked, |it| it.group.remaining(asked)));
    // SAFETY: the closure runs between fork and exec and makes system calls only, which is async-signal-safe.
    unsafe {
        command.pre_exec(move || {
            if !preparation.survives {
                set_parent_process_death_signal(Some(Signal::KILL))?;
                // The parent may have died before the line above.
                if getppid() != parent {
                    return Err(rustix::io::Errno::SRCH.into());
                }
            }
            let has_entered = preparation.group.as_ref().is_some_and(Entry::enter);
            let limits = if has_entered { &inside } else { &outside };
            for (resource, limit) in limits.iter().flatten() {
                setrlimit(*resource, *limit)?;
            }
            Ok(())
        });
    }
}
