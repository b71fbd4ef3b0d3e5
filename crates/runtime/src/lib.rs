//! # runtime: tasks, clock, drain, signals, child processes
//!
//! The only room that spawns or reads the clock. It knows no noun of the mesh.
//!
//! Invariants:
//! * Every task has a name and is joined: [`Tasks::shut_down`] returns the names of those that did not end in time.
//! * A child process started here dies with this process (parent-death signal), unless it is told to survive it, and is
//!   always reaped.
//! * The end of a process that is recorded is known to every later life of this program, however the earlier ones ended.

mod cgroup;
mod child;
mod clock;
mod command;
mod foreground;
mod fork;
mod interfaces;
mod memory;
mod output_file;
mod pace;
mod port_owner;
mod process;
mod recorder;
mod tasks;
mod termination;

pub use cgroup::{ControlGroup, ControlGroups, Controller, GroupLimits};
pub use child::{ChildError, ChildSpec, Exit, kill};
pub use clock::{monotonic, unix_ms};
pub use command::{CommandOutput, run_command};
pub use foreground::{Foreground, Input, PassedSignal, PassedSignals};
pub use fork::raise_open_files_limit;
pub use interfaces::{InterfaceAddress, interfaces};
pub use memory::{MemoryUse, host_name, memory_use, release_unused_code};
pub use output_file::{Rotation, last_lines, output_after, rotate_output};
pub use pace::{Pace, REST_MAX};
pub use port_owner::{PortOwner, naming_port_owner, port_owner};
pub use process::{
    Identity, MarkedProcess, Process, ProcessId, ProcessSpec, ResourceLimits, find_program,
    marked_processes, signal_number,
};
pub use recorder::{EndRecord, Recorded, RecordedEnd, run_recorded};
pub use tasks::{Drain, Tasks};
pub use termination::{Hangup, LogRotation, Termination, TerminationSignal};
