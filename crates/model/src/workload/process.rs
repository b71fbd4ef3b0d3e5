use std::fmt;

use serde::{Deserialize, Serialize};

use super::expand;

/// What is executed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CommandLine {
    /// A program, looked up on `PATH` when it has no slash, with its arguments. Never empty once read.
    Exec(Vec<String>),
    /// A text for `/bin/sh -c`, in which nothing is replaced: the shell knows the variables.
    Shell(String),
}

impl Default for CommandLine {
    fn default() -> Self {
        CommandLine::Exec(Vec::new())
    }
}

impl CommandLine {
    /// Program and arguments, with every `$(NAME)` of a list replaced by what `lookup` finds.
    #[must_use]
    pub fn arguments<'a>(&self, lookup: impl Fn(&str) -> Option<&'a str>) -> Vec<String> {
        match self {
            CommandLine::Exec(words) => words.iter().map(|it| expand(it, &lookup)).collect(),
            CommandLine::Shell(text) => vec!["/bin/sh".to_owned(), "-c".to_owned(), text.clone()],
        }
    }
}

/// A variable of the environment.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Variable {
    /// Name.
    pub name: String,
    /// Value as written, with its references.
    pub value: String,
}

/// The value may be a password.
impl fmt::Debug for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Variable").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Who a copy runs as: names or numbers, not looked up.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RunAs {
    /// User by name or number.
    pub user: String,
    /// Group by name or number; `None` means the user's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

/// Limits of one copy; `None` means none but those of the agent.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Memory in bytes, at least 1 MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Processor time in thousandths of a processor, at least 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_millis: Option<u32>,
    /// Processes and threads, at least 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<u32>,
    /// Open files (`RLIMIT_NOFILE`), at least 16.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_files: Option<u64>,
    /// Size of a core dump in bytes (`RLIMIT_CORE`); 0 means that none is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub core_bytes: Option<u64>,
}

/// What is kept of the output of each copy.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Logs {
    /// Bytes after which a new file is begun, 64 KiB to 64 GiB.
    pub file_bytes_max: u64,
    /// Files kept, the one being written among them; 1 to 1000.
    pub files_max: u32,
}

impl Default for Logs {
    /// 5 files of 10 MiB.
    fn default() -> Self {
        Self { file_bytes_max: 10 << 20, files_max: 5 }
    }
}
