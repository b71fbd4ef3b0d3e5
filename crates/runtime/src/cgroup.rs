//! Groups of processes with limits of their own (cgroup v2), in the group that this process is in.
//!
//! A group whose controllers are enabled for its children may hold no process itself (the kernel's "no internal processes"
//! rule), so this process moves into a child of its own first; only where the group is its own, holding nobody else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::process::is_descendant;

mod leaf;
#[cfg(test)]
mod tests;

pub(crate) use leaf::Entry;
pub use leaf::{ControlGroup, GroupLimits};

/// How often processes are moved that others have started meanwhile.
const MOVE_ROUNDS_MAX: usize = 16;
/// Bytes of the name of a group; the kernel takes 255, and a made name may be a part of another.
const NAME_BYTES_MAX: usize = 200;

/// What a kernel can limit for a group.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Controller {
    /// Memory, with that of the page cache.
    Memory,
    /// Processor time.
    Cpu,
    /// The number of processes and threads.
    Pids,
}

impl Controller {
    const ALL: [Self; 3] = [Self::Memory, Self::Cpu, Self::Pids];

    fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Pids => "pids",
        }
    }
}

impl fmt::Display for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The place where this process makes groups.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ControlGroups {
    folder: PathBuf,
    /// Controllers that groups here do not have, each with the reason.
    lacking: BTreeMap<Controller, String>,
}

impl ControlGroups {
    /// Finds the group of this process, and has groups in it get what controllers they can. Where they are to be enabled, and the
    /// group holds this process and its descendants alone, these move into the group `own_leaf` in it. Where this process was started
    /// in a group of that name, whose parent holds no process, that parent is the place.
    ///
    /// # Errors
    /// Why no groups can be made here.
    pub fn prepare(own_leaf: &str) -> Result<Self, String> {
        let read = |path: &str| {
            fs::read_to_string(path).map_err(|error| format!("{path} cannot be read: {error}"))
        };
        let own = locate(&read("/proc/self/mountinfo")?, &read("/proc/self/cgroup")?)?;
        Self::prepare_in(&own, own_leaf)
    }

    fn prepare_in(own: &Path, own_leaf: &str) -> Result<Self, String> {
        let is_in_own_leaf = own.file_name().is_some_and(|it| it == own_leaf);
        let above =
            own.parent().filter(|it| is_in_own_leaf && members(it).is_ok_and(|it| it.is_empty()));
        let folder = above.unwrap_or(own).to_owned();
        try_to_make_one(&folder, own_leaf)
            .map_err(|error| format!("no groups can be made in {}: {error}", folder.display()))?;
        let lacking = enable(&folder, own_leaf);
        Ok(Self { folder, lacking })
    }

    /// Why groups here have no such controller; `None` when they do.
    #[must_use]
    pub fn lacks(&self, controller: Controller) -> Option<&str> {
        self.lacking.get(&controller).map(String::as_str)
    }

    /// Makes a group with what of these limits it has controllers for. An empty one of the same name is replaced.
    ///
    /// # Errors
    /// What could not be done, where and why; then there is no group.
    pub fn make(&self, name: &str, limits: &GroupLimits) -> Result<ControlGroup, String> {
        let folder = self.folder_of(name)?;
        let made = match fs::create_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // With a process in it, it cannot be removed.
                fs::remove_dir(&folder).and_then(|()| fs::create_dir(&folder))
            }
            made => made,
        };
        made.map_err(|error| format!("the group {} cannot be made: {error}", folder.display()))?;
        let limits = GroupLimits {
            memory_bytes: limits.memory_bytes.filter(|_| self.lacks(Controller::Memory).is_none()),
            cpu_millis: limits.cpu_millis.filter(|_| self.lacks(Controller::Cpu).is_none()),
            processes: limits.processes.filter(|_| self.lacks(Controller::Pids).is_none()),
        };
        ControlGroup::begin(folder, &limits)
    }

    /// The group of this name, which an earlier life of this program has made; `None` when there is none.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<ControlGroup> {
        let folder = self.folder_of(name).ok().filter(|it| it.is_dir())?;
        Some(ControlGroup::found(folder))
    }

    /// Removes groups whose names begin so, that hold no process and were made longer ago than `older_than`: one that was just made
    /// may be waiting for its first process.
    pub fn remove_empty(&self, prefix: &str, older_than: Duration) {
        let Ok(all) = fs::read_dir(&self.folder) else { return };
        for entry in all.flatten() {
            let is_named_so = entry.file_name().to_str().is_some_and(|it| it.starts_with(prefix));
            let made = entry.metadata().and_then(|it| it.modified()).ok();
            let is_old = made.and_then(|it| it.elapsed().ok()).is_some_and(|it| it >= older_than);
            if is_named_so && is_old && entry.file_type().is_ok_and(|it| it.is_dir()) {
                // What holds a process stays, for the kernel refuses it.
                let _ = leaf::remove_tree(&entry.path());
            }
        }
    }

    fn folder_of(&self, name: &str) -> Result<PathBuf, String> {
        let is_allowed = |it: u8| it.is_ascii_alphanumeric() || b"-._".contains(&it);
        let is_good = name.starts_with(|it: char| it.is_ascii_alphanumeric())
            && name.len() <= NAME_BYTES_MAX
            && name.bytes().all(is_allowed);
        if is_good {
            Ok(self.folder.join(name))
        } else {
            Err(format!(
                "{name:?} is no name for a group: letters, digits, -, . and _, at most 200"
            ))
        }
    }
}

/// The folder of the group that a process is in, by its `mountinfo` and its `cgroup` (proc(5)).
fn locate(mounts: &str, own: &str) -> Result<PathBuf, String> {
    let path = own.lines().find_map(|it| it.strip_prefix("0::"));
    let path = path.ok_or("this system has no cgroup v2: /proc/self/cgroup has no line 0::")?;
    let in_mount = |(root, point): (String, String)| {
        let rest = Path::new(path).strip_prefix(root).ok()?;
        // What lies outside of the namespace is shown with `..`.
        let is_inside = !rest.components().any(|it| it.as_os_str() == "..");
        let point = PathBuf::from(point);
        is_inside.then(|| if rest.as_os_str().is_empty() { point } else { point.join(rest) })
    };
    let found = mounts.lines().filter_map(mount_of).find_map(in_mount);
    found.ok_or_else(|| format!("no cgroup2 is mounted that has the group {path} in it"))
}

/// Root and mount point of a line of `mountinfo`, if it is of cgroup v2.
fn mount_of(line: &str) -> Option<(String, String)> {
    let (mount, kind) = line.split_once(" - ")?;
    if kind.split(' ').next() != Some("cgroup2") {
        return None;
    }
    let mut fields = mount.split(' ').skip(3);
    // Spaces, tabs, line feeds and backslashes are written in octal.
    let unescape = |text: &str| {
        [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
            .iter()
            .fold(text.to_owned(), |text, (escaped, plain)| text.replace(escaped, plain))
    };
    Some((unescape(fields.next()?), unescape(fields.next()?)))
}

fn try_to_make_one(folder: &Path, own_leaf: &str) -> io::Result<()> {
    let folder = folder.join(format!("{own_leaf}-try-{}", std::process::id()));
    fs::create_dir(&folder)?;
    fs::remove_dir(&folder)
}

/// Enables the controllers for the groups in `folder`. Returns those that they do not have, each with the reason.
fn enable(folder: &Path, own_leaf: &str) -> BTreeMap<Controller, String> {
    let place = folder.display();
    let (available, enabled) =
        (words(&folder.join("cgroup.controllers")), words(&folder.join("cgroup.subtree_control")));
    let mut lacking = BTreeMap::new();
    let mut missing = Vec::new();
    for controller in Controller::ALL {
        if !available.contains(controller.name()) {
            let all: Vec<&str> = available.iter().map(String::as_str).collect();
            let has =
                if all.is_empty() { "none".to_owned() } else { format!("{} only", all.join(" ")) };
            let text = format!(
                "this agent has no {controller} controller (cgroup v2 at {place} has {has})"
            );
            lacking.insert(controller, text);
        } else if !enabled.contains(controller.name()) {
            missing.push(controller);
        }
    }
    if missing.is_empty() {
        return lacking;
    }
    let room = make_room(folder, own_leaf);
    for controller in missing {
        let done = room.clone().and_then(|()| {
            write(&folder.join("cgroup.subtree_control"), &format!("+{controller}"))
                .map_err(|error| error.to_string())
        });
        if let Err(reason) = done {
            let text =
                format!("the {controller} controller cannot be enabled in {place}: {reason}");
            lacking.insert(controller, text);
        }
    }
    lacking
}

/// Moves the processes of the group into a group in it.
fn make_room(folder: &Path, own_leaf: &str) -> Result<(), String> {
    let text = |error: io::Error| error.to_string();
    let own = std::process::id();
    for _ in 0..MOVE_ROUNDS_MAX {
        let all = members(folder).map_err(text)?;
        if all.is_empty() {
            return Ok(());
        }
        if let Some(other) = all.iter().find(|it| !is_descendant(**it, own)) {
            return Err(format!("it holds processes of others, as process {other}"));
        }
        let leaf = folder.join(own_leaf);
        match fs::create_dir(&leaf) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(text(error)),
            _ => {}
        }
        for pid in all {
            match write(&leaf.join("cgroup.procs"), &pid.to_string()) {
                // It has ended.
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                moved => moved.map_err(text)?,
            }
        }
    }
    Err("processes are started faster than they can be moved".to_owned())
}

/// Numbers of the processes in a group; 0 for one that cannot be seen from here.
fn members(folder: &Path) -> io::Result<Vec<u32>> {
    let text = fs::read_to_string(folder.join("cgroup.procs"))?;
    Ok(text.lines().filter_map(|it| it.parse().ok()).collect())
}

fn words(path: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_ascii_whitespace().map(str::to_owned).collect()
}

/// Writes to a file that is there: the kernel makes those of a group.
fn write(path: &Path, text: &str) -> io::Result<()> {
    File::options().write(true).truncate(true).open(path)?.write_all(text.as_bytes())
}
