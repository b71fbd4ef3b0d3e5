use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::unix::AsyncFd;
use tokio::process::Command;

use crate::cgroup::ControlGroup;
use crate::child::{end, end_of};
use crate::fork::{self, Preparation};
use crate::recorder::{EndRecord, RecordedCommand};
use crate::{ChildError, Exit};

mod table;
#[cfg(test)]
mod tests;

pub(crate) use table::is_descendant;
pub use table::{MarkedProcess, marked_processes};

/// A process to start that writes into a file.
#[derive(Clone, Debug, Default)]
pub struct ProcessSpec {
    /// Program, looked up on `PATH` when it has no slash, from the folder that it works in.
    pub program: PathBuf,
    /// Arguments.
    pub arguments: Vec<OsString>,
    /// Variables added to the environment of this process.
    pub environment: BTreeMap<String, String>,
    /// The folder that it works in; that of this process when `None`.
    pub working_dir: Option<PathBuf>,
    /// User and group that it runs as; those of this process when `None`. It has no other groups.
    pub identity: Option<Identity>,
    /// Limits of resources.
    pub limits: ResourceLimits,
    /// File that its standard output and error are appended to.
    pub output: PathBuf,
    /// It goes on when this process ends. Otherwise it gets SIGKILL when this process ends, and when it is dropped.
    pub survives: bool,
    /// Where its end is written down, by a process of this program that stands in between; the end of that one is said to be
    /// its own, with 128 and the signal as code. `None`: only who starts it learns of its end.
    pub record: Option<EndRecord>,
    /// The group that it enters before its program begins; what that limits is not limited for each process (`data`, `processes`).
    pub group: Option<ControlGroup>,
}

/// Who a process runs as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// User id.
    pub user: u32,
    /// Group id.
    pub group: u32,
}

impl Identity {
    /// Who is meant by a user and a group, each a name or a number; without a group, the user's own.
    ///
    /// Names are looked up in `/etc/passwd` and `/etc/group` alone.
    ///
    /// # Errors
    /// What is not known, and what to say instead.
    pub fn find(user: &str, group: Option<&str>) -> Result<Self, String> {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        Self::find_in(user, group, &read("/etc/passwd"), &read("/etc/group"))
    }

    fn find_in(user: &str, group: Option<&str>, users: &str, groups: &str) -> Result<Self, String> {
        // Both tables begin with name, password and number; users go on with the number of their group.
        let entry = |table: &str, name: &str| -> Option<(u32, Option<u32>)> {
            table.lines().find_map(|line| {
                let mut fields = line.split(':');
                let (found, number) = (fields.next()?, fields.nth(1)?);
                let is_it = found == name || number == name;
                is_it
                    .then_some((number.parse().ok()?, fields.next().and_then(|it| it.parse().ok())))
            })
        };
        let of_user = entry(users, user);
        let number = of_user.map(|it| it.0).or_else(|| user.parse().ok());
        let number = number
            .ok_or_else(|| format!("the user {user:?} is not in /etc/passwd; say the number"))?;
        let own = of_user.and_then(|it| it.1);
        let group = match group {
            Some(name) => {
                entry(groups, name).map(|it| it.0).or_else(|| name.parse().ok()).ok_or_else(
                    || format!("the group {name:?} is not in /etc/group; say the number"),
                )?
            }
            None => own.ok_or_else(|| {
                format!("the user {user} has no group in /etc/passwd; say one: {user}:GROUP")
            })?,
        };
        Ok(Self { user: number, group })
    }
}

/// Limits of resources of one process (`setrlimit`), each for soft and hard; what is `None` stays as it is here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ResourceLimits {
    /// Open files.
    pub open_files: Option<u64>,
    /// Processes and threads of its user.
    pub processes: Option<u64>,
    /// Bytes of memory that it may write to, without what it shares (`RLIMIT_DATA`).
    pub data: Option<u64>,
    /// Bytes of a core dump.
    pub core: Option<u64>,
}

/// One process among all that have lived on this machine since it was started: numbers are used again, together with
/// the time of the start they are not.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ProcessId {
    /// Its number.
    pub pid: u32,
    /// When it was started, in clock ticks since the machine was.
    pub started: u64,
}

/// A running process in a process group of its own, started here or by an earlier life of this program. What is left of
/// its group gets SIGKILL when it has ended.
#[derive(Debug)]
pub struct Process {
    id: ProcessId,
    /// `None` when it was adopted: then nobody here may ask how it ended.
    child: Option<tokio::process::Child>,
    end: Option<AsyncFd<OwnedFd>>,
    survives: bool,
    has_ended: bool,
    /// Ends with it.
    group: Option<ControlGroup>,
    was_out_of_memory: bool,
}

impl Process {
    /// Starts a process. Must be called within a tokio runtime. Its file of output is made, with its folder.
    ///
    /// # Errors
    /// When it cannot be started, or its output cannot be opened.
    pub fn start(spec: &ProcessSpec) -> Result<Self, ChildError> {
        let started = Self::start_in_group(spec);
        if started.is_err() {
            spec.group.iter().for_each(ControlGroup::remove);
        }
        started
    }

    fn start_in_group(spec: &ProcessSpec) -> Result<Self, ChildError> {
        let program = spec.program.display().to_string();
        let failed = |source| ChildError::Start { program: program.clone(), source };
        let output = open_output(&spec.output).map_err(failed)?;
        let (mut command, preparation) = match &spec.record {
            Some(record) => recorded(spec, record).map_err(failed)?,
            None => direct(spec),
        };
        command
            .envs(&spec.environment)
            .stderr(output.try_clone().map_err(failed)?)
            .stdout(output)
            .process_group(0)
            .kill_on_drop(!spec.survives);
        if let Some(folder) = &spec.working_dir {
            command.current_dir(folder);
        }
        let child = fork::spawn_with(command, preparation).map_err(failed)?;
        let pid = child.id().expect("a child that was not waited for has a pid");
        // Until it is reaped, there is an entry for it.
        let started = table::start_of(pid).unwrap_or_default();
        // What is recorded is not started yet, and is not this process.
        let is_inside = |it: &ControlGroup| spec.record.is_some() || it.holds(pid);
        let group = spec.group.clone().filter(|it| {
            let is_inside = is_inside(it);
            if !is_inside {
                it.remove();
            }
            is_inside
        });
        Ok(Self {
            id: ProcessId { pid, started },
            child: Some(child),
            end: end_of(pid),
            survives: spec.survives,
            has_ended: false,
            group,
            was_out_of_memory: false,
        })
    }

    /// Takes over a process that an earlier life of this program has started; it survives this one. `None` when it has
    /// ended. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When it cannot be watched: another user's, or a kernel before 5.3.
    pub fn adopt(id: ProcessId) -> io::Result<Option<Self>> {
        if table::start_of(id.pid) != Some(id.started) {
            return Ok(None);
        }
        let Some(end) = end_of(id.pid) else {
            let is_there = table::start_of(id.pid) == Some(id.started);
            let error = io::Error::other(format!("process {} cannot be watched", id.pid));
            return if is_there { Err(error) } else { Ok(None) };
        };
        // The number may have passed to another one between the two lines above.
        if table::start_of(id.pid) != Some(id.started) {
            return Ok(None);
        }
        Ok(Some(Self {
            id,
            child: None,
            end: Some(end),
            survives: true,
            has_ended: false,
            group: None,
            was_out_of_memory: false,
        }))
    }

    /// The group that it was started in. `None` also when it could not enter: then each process has limits of its own.
    #[must_use]
    pub fn group(&self) -> Option<&ControlGroup> {
        self.group.as_ref()
    }

    /// Says which group an adopted process was started in, so that it ends with it.
    pub fn set_group(&mut self, group: ControlGroup) {
        self.group = Some(group);
    }

    /// It has ended, and of its group processes were killed for the group's limit of memory.
    #[must_use]
    pub fn was_out_of_memory(&self) -> bool {
        self.was_out_of_memory
    }

    /// Whether this one has not ended yet.
    #[must_use]
    pub fn is_running(id: ProcessId) -> bool {
        table::start_of(id.pid) == Some(id.started)
    }

    /// Which one it is.
    #[must_use]
    pub fn id(&self) -> ProcessId {
        self.id
    }

    /// Waits for its end, kills what it leaves behind in its groups, and reaps it. `None` when it was adopted, for only
    /// who started it is told how it ended. Cancel-safe.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub async fn end(&mut self) -> Result<Option<Exit>, ChildError> {
        let pid = self.id.pid;
        let ended = match &mut self.child {
            Some(child) => end(child, pid, self.end.as_ref()).await.map(Some),
            None => {
                if let Some(end) = &self.end {
                    let readable = end.readable().await.map(drop);
                    readable.map_err(|source| ChildError::Wait { pid, source })?;
                }
                table::kill_leftovers(pid);
                Ok(None)
            }
        };
        self.has_ended = true;
        if let Some(group) = &self.group {
            // The kernel forgets it with the group.
            self.was_out_of_memory |= group.was_out_of_memory();
            group.end().await;
            self.group = None;
        }
        ended
    }

    /// Sends a signal to its process group, unless it has ended.
    pub fn signal(&self, signal: i32) {
        let Some(signal) = Signal::from_named_raw(signal) else { return };
        // Of an adopted one nobody here keeps the number from being used again.
        let is_there = match &self.child {
            Some(child) => child.id().is_some(),
            None => !self.has_ended && table::start_of(self.id.pid) == Some(self.id.started),
        };
        if is_there && let Some(pid) = i32::try_from(self.id.pid).ok().and_then(Pid::from_raw) {
            // It may have ended just now; then there is nobody left to tell.
            let _ = kill_process_group(pid, signal);
        }
    }

    /// Kills its process group, and what is in the group that it was started in.
    pub fn kill(&self) {
        self.signal(libc::SIGKILL);
        self.group.iter().for_each(ControlGroup::kill);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.survives {
            self.kill();
        }
    }
}

fn direct(spec: &ProcessSpec) -> (Command, Preparation) {
    let mut command = Command::new(&spec.program);
    command.args(&spec.arguments).stdin(Stdio::null());
    if let Some(identity) = spec.identity {
        command.uid(identity.user).gid(identity.group);
    }
    let group = spec.group.as_ref().and_then(ControlGroup::entry);
    (command, Preparation { survives: spec.survives, limits: spec.limits, group })
}

/// A recorder, which runs as this process does, and the program behind it, for which user, limits and group are meant.
fn recorded(spec: &ProcessSpec, record: &EndRecord) -> io::Result<(Command, Preparation)> {
    let behind = RecordedCommand {
        program: spec.program.clone(),
        arguments: spec.arguments.clone(),
        identity: spec.identity,
        limits: spec.limits,
        group: spec.group.clone(),
        ends_with: (!spec.survives).then(std::process::id),
    };
    let mut words = record.recorder.iter();
    let program = words.next().ok_or_else(|| io::Error::other("there is no recorder"))?;
    let mut command = Command::new(program);
    command.args(words).args(behind.to_arguments()).stdin(record.begin()?);
    // If it were killed, nobody would write down how the program ended.
    Ok((command, Preparation { survives: true, ..Preparation::default() }))
}

fn open_output(path: &std::path::Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    File::options().create(true).append(true).open(path)
}

/// The number of a signal by its name: `SIGTERM`, `TERM` or `15`.
#[must_use]
pub fn signal_number(name: &str) -> Option<i32> {
    const NAMES: [(&str, i32); 12] = [
        ("HUP", libc::SIGHUP),
        ("INT", libc::SIGINT),
        ("QUIT", libc::SIGQUIT),
        ("ABRT", libc::SIGABRT),
        ("KILL", libc::SIGKILL),
        ("USR1", libc::SIGUSR1),
        ("USR2", libc::SIGUSR2),
        ("ALRM", libc::SIGALRM),
        ("TERM", libc::SIGTERM),
        ("CONT", libc::SIGCONT),
        ("STOP", libc::SIGSTOP),
        ("WINCH", libc::SIGWINCH),
    ];
    let upper = name.to_ascii_uppercase();
    let short = upper.strip_prefix("SIG").unwrap_or(&upper);
    let named = NAMES.iter().find(|it| it.0 == short || it.1.to_string() == short);
    named.map(|it| it.1)
}

/// Where a program would be found that is started from `folder` with the variable `PATH` being `path`.
///
/// # Errors
/// What is wrong: there is none, or it may not be executed.
pub fn find_program(
    program: &std::path::Path,
    folder: Option<&std::path::Path>,
    path: &str,
) -> io::Result<PathBuf> {
    let in_folder = |it: &std::path::Path| folder.map_or_else(|| it.to_owned(), |at| at.join(it));
    if program.components().count() > 1 || program.is_absolute() {
        return executable(in_folder(program));
    }
    let mut refused = None;
    for part in path.split(':').filter(|it| !it.is_empty()) {
        match executable(in_folder(&std::path::Path::new(part).join(program))) {
            Ok(found) => return Ok(found),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => refused = Some(error),
        }
    }
    Err(refused.unwrap_or_else(|| io::Error::new(io::ErrorKind::NotFound, "it is not on PATH")))
}

fn executable(path: PathBuf) -> io::Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let about = fs::metadata(&path)?;
    if !about.is_file() || about.permissions().mode() & 0o111 == 0 {
        let text = format!("{} is not executable", path.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    Ok(path)
}
