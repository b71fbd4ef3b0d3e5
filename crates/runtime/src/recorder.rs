//! Processes whose end is written down, so that it is known also to who did not start them.
//!
//! Only a parent is told how a process ended, and a parent may die first. So between this program and one whose end matters
//! stands a small process of this program, as containerd's shim does: it starts the other, waits for it, and writes its end
//! into a file that it holds locked as long as it lives. Whoever finds the file unlocked knows that nobody runs any more.

use std::error::Error;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::Stdio;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::process::{Signal, getpgrp, getppid, kill_process_group};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

use crate::cgroup::ControlGroup;
use crate::child::end_of;
use crate::fork::{self, Preparation};
use crate::process::{Identity, ResourceLimits};
use crate::{ChildError, Exit};

#[cfg(test)]
mod tests;

/// Bytes of a record that are read; one has a handful of short lines.
const RECORD_BYTES_MAX: u64 = 64 << 10;
/// Exit code when the program could not be started, as shells have it.
const NOT_STARTED: u8 = 127;
/// The option with the group of the program: after it whether that limits memory, and processes, each as 0 or 1.
const CONTROL_GROUP: &str = "control-group-";

/// Where the end of a process is written down.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EndRecord {
    /// The file.
    pub path: PathBuf,
    /// Which process it is about, in one line; what the file says of another one counts for nothing.
    pub key: String,
    /// How this program is called so that it calls [`run_recorded`] with what follows.
    pub recorder: Vec<OsString>,
}

/// What a record says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Recorded {
    /// The process was never started.
    Nothing,
    /// It runs, or is just about to.
    Running,
    /// It has ended.
    Ended(RecordedEnd),
}

/// How a process has ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordedEnd {
    /// How; `None` when it could not be started, or when whoever was to write it down was killed, too.
    pub exit: Option<Exit>,
    /// It was ended together with who started it.
    pub is_interrupted: bool,
    /// How, in words.
    pub text: String,
}

impl EndRecord {
    /// Begins the record, with the file locked; the lock is that of the returned file and of its copies in other processes.
    ///
    /// # Errors
    /// When the file cannot be written, or the process that it was about before still runs.
    pub(crate) fn begin(&self) -> io::Result<File> {
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut file = File::options().read(true).append(true).create(true).open(&self.path)?;
        if let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
            let text = "the process that was started before still runs";
            let is_held = error == Errno::WOULDBLOCK;
            return Err(if is_held { io::Error::other(text) } else { error.into() });
        }
        file.set_len(0)?;
        writeln!(file, "for {}", self.key)?;
        Ok(file)
    }

    /// What is known of the process.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn read(&self) -> io::Result<Recorded> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Recorded::Nothing),
            Err(error) => return Err(error),
        };
        // Whoever holds the lock writes before letting go of it.
        let is_held = match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => false,
            Err(Errno::WOULDBLOCK) => true,
            Err(error) => return Err(error.into()),
        };
        let mut bytes = Vec::new();
        file.take(RECORD_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(parse(&String::from_utf8_lossy(&bytes), &self.key, is_held))
    }

    /// Notes that the process is about to be ended only because this one ends.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn note_interruption(&self) -> io::Result<()> {
        let mut file = File::options().append(true).open(&self.path)?;
        file.write_all(b"interrupted\n")
    }
}

fn parse(text: &str, key: &str, is_held: bool) -> Recorded {
    let mut lines = text.lines();
    if lines.next().and_then(|it| it.strip_prefix("for ")) != Some(key) {
        return Recorded::Nothing;
    }
    let (mut is_started, mut is_interrupted, mut end) = (false, false, None);
    for line in lines {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "started" => is_started = true,
            "interrupted" => is_interrupted = true,
            "code" => end = rest.parse().ok().map(Exit::Code).map(Ok),
            "signal" => end = rest.parse().ok().map(Exit::Signal).map(Ok),
            "failed" => end = Some(Err(rest.to_owned())),
            _ => {}
        }
    }
    match end {
        Some(Ok(exit)) => {
            let text = exit.to_string();
            Recorded::Ended(RecordedEnd { exit: Some(exit), is_interrupted, text })
        }
        Some(Err(text)) => Recorded::Ended(RecordedEnd { exit: None, is_interrupted, text }),
        None if is_held => Recorded::Running,
        None if is_started => {
            let text = "how is not known: it was killed together with who was to write it down";
            Recorded::Ended(RecordedEnd { exit: None, is_interrupted, text: text.to_owned() })
        }
        None => Recorded::Nothing,
    }
}

/// What stands behind the words that call the recorder.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct RecordedCommand {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) identity: Option<Identity>,
    pub(crate) limits: ResourceLimits,
    /// What the program enters; the recorder stays outside, so that it can write down that all in it were killed.
    pub(crate) group: Option<ControlGroup>,
    /// It is killed when this process ends.
    pub(crate) ends_with: Option<u32>,
}

impl RecordedCommand {
    pub(crate) fn to_arguments(&self) -> Vec<OsString> {
        let mut options = Vec::new();
        let mut add = |name: &str, value: Option<u64>| {
            options.extend(value.map(|it| OsString::from(format!("{name}={it}"))));
        };
        add("user", self.identity.map(|it| it.user.into()));
        add("group", self.identity.map(|it| it.group.into()));
        add("open-files", self.limits.open_files);
        add("processes", self.limits.processes);
        add("data", self.limits.data);
        add("core", self.limits.core);
        add("ends-with", self.ends_with.map(u64::from));
        if let Some((folder, limits_memory, limits_processes)) =
            self.group.as_ref().map(ControlGroup::to_parts)
        {
            let mut word = OsString::from(CONTROL_GROUP);
            word.push(format!("{}{}=", u8::from(limits_memory), u8::from(limits_processes)));
            word.push(folder);
            options.push(word);
        }
        options.push("--".into());
        options.push(self.program.clone().into());
        options.extend(self.arguments.iter().cloned());
        options
    }

    fn parse(arguments: &[OsString]) -> Option<Self> {
        let mut it = Self::default();
        let (mut user, mut group) = (None, None);
        let split = arguments.iter().position(|it| it == "--")?;
        for option in &arguments[..split] {
            let (name, value) = option.to_str()?.split_once('=')?;
            if let Some(limited) = name.strip_prefix(CONTROL_GROUP) {
                let (memory, processes) = (limited.starts_with('1'), limited.ends_with('1'));
                it.group = Some(ControlGroup::from_parts(value.into(), memory, processes));
                continue;
            }
            let value: u64 = value.parse().ok()?;
            match name {
                "user" => user = Some(u32::try_from(value).ok()?),
                "group" => group = Some(u32::try_from(value).ok()?),
                "open-files" => it.limits.open_files = Some(value),
                "processes" => it.limits.processes = Some(value),
                "data" => it.limits.data = Some(value),
                "core" => it.limits.core = Some(value),
                "ends-with" => it.ends_with = Some(u32::try_from(value).ok()?),
                _ => return None,
            }
        }
        it.identity = user.zip(group).map(|(user, group)| Identity { user, group });
        it.program = arguments.get(split + 1)?.into();
        it.arguments = arguments[split + 2..].to_vec();
        Some(it)
    }
}

/// Runs what the arguments say and writes its end into the file that is standard input. Returns the exit code for this process.
///
/// # Errors
/// When it was not called by [`crate::Process::start`]: nobody else knows what to say.
pub fn run_recorded(arguments: &[OsString]) -> io::Result<u8> {
    let command = RecordedCommand::parse(arguments);
    let command = command.ok_or_else(|| io::Error::other("this is called by an agent alone"))?;
    let record = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(command, record))
}

pub(crate) async fn run(command: RecordedCommand, mut record: File) -> io::Result<u8> {
    let own_parent = getppid();
    // Signals are for the program, which is in the same group. Handled, not ignored: what is ignored is inherited.
    let kinds = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGALRM];
    let others = [libc::SIGUSR1, libc::SIGUSR2];
    for kind in kinds.into_iter().chain(others) {
        // Once handled, always handled, also when nobody listens.
        drop(signal(SignalKind::from_raw(kind))?);
    }
    let parent = command.ends_with.map(|pid| (pid, end_of(pid)));
    let lives =
        |pid: u32| getppid().is_some_and(|it| it.as_raw_nonzero().get() == pid.cast_signed());
    if parent.as_ref().is_some_and(|it| !lives(it.0)) {
        return Ok(NOT_STARTED);
    }
    let mut child = match start(&command) {
        Ok(child) => child,
        Err(error) => {
            let text =
                error.source().map_or_else(|| error.to_string(), |it| format!("{error}: {it}"));
            note(&mut record, &format!("failed {}", text.replace('\n', " ")))?;
            return Ok(NOT_STARTED);
        }
    };
    // A file that cannot be written, on a full disk, is no reason to end the program.
    let _ = note(&mut record, &format!("started {}", child.id().unwrap_or_default()));
    let parent_ends = async {
        match &parent {
            Some((_, Some(end))) => drop(end.readable().await),
            Some((_, None)) | None => std::future::pending().await,
        }
    };
    let status = tokio::select! {
        status = child.wait() => status?,
        () = parent_ends => {
            let _ = note(&mut record, "interrupted");
            child.start_kill()?;
            child.wait().await?
        }
    };
    let exit = Exit::from(status);
    let (line, code) = match exit {
        Exit::Code(code) => (format!("code {code}"), code),
        Exit::Signal(signal) => (format!("signal {signal}"), 128 + signal),
    };
    note(&mut record, &line)?;
    if getppid() != own_parent {
        // Nobody else ends what it has left in its groups; the record is written.
        if let Some(group) = &command.group {
            group.end().await;
        }
        let _ = kill_process_group(getpgrp(), Signal::KILL);
    }
    Ok(u8::try_from(code).unwrap_or(u8::MAX))
}

fn start(command: &RecordedCommand) -> Result<tokio::process::Child, ChildError> {
    let mut new = Command::new(&command.program);
    new.args(&command.arguments).stdin(Stdio::null());
    if let Some(identity) = command.identity {
        new.uid(identity.user).gid(identity.group);
    }
    let group = command.group.as_ref().and_then(ControlGroup::entry);
    let preparation = Preparation { survives: false, limits: command.limits, group };
    let program = command.program.display().to_string();
    fork::spawn_with(new, preparation).map_err(|source| ChildError::Start { program, source })
}

fn note(record: &mut File, line: &str) -> io::Result<()> {
    record.write_all(format!("{line}\n").as_bytes())?;
    record.sync_data()
}
