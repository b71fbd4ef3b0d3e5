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

type Work = Box<dyn FnOnce() + Send>;

/// The thread that forks; `None` if the system has no thread for it.
static FORKER: OnceLock<Option<mpsc::Sender<Work>>> = OnceLock::new();
/// The limit of open files that this process was started with, if it was raised.
static OPEN_FILES: OnceLock<Rlimit> = OnceLock::new();

/// Starts a process that gets SIGKILL when this one dies. Must be called within a tokio runtime.
pub(crate) fn spawn(mut command: Command) -> io::Result<Child> {
    prepare(&mut command);
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

#[allow(unsafe_code)]
fn prepare(command: &mut Command) {
    let parent = i32::try_from(std::process::id()).ok().and_then(Pid::from_raw);
    let open_files = OPEN_FILES.get().cloned();
    // SAFETY: the closure runs between fork and exec and makes system calls only, which is async-signal-safe.
    unsafe {
        command.pre_exec(move || {
            set_parent_process_death_signal(Some(Signal::KILL))?;
            // The parent may have died before the line above.
            if getppid() != parent {
                return Err(io::Error::from_raw_os_error(rustix::io::Errno::SRCH.raw_os_error()));
            }
            if let Some(limit) = &open_files {
                let limit = Rlimit { current: limit.current, maximum: limit.maximum };
                let _ = setrlimit(Resource::Nofile, limit);
            }
            Ok(())
        });
    }
}
