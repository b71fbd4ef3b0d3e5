//! # recovery: restart, rollout and rollback as state machines
//!
//! What to do when a supervised process ends: start it again, when, and when to stop trying ([`Restart`]). In which order
//! workloads that depend on each other start and stop ([`Order`]). How a new release takes over and is taken back, and how a
//! copy is removed without losing a request ([`Workload`]). How something is run to its end, once ([`Job`]). Whether a release is worse than the old one, from the counters
//! of the proxies ([`Evidence`]), or a changed configuration worse than the one before ([`Guard`]). (state, evidence, now)
//! -> actions, and nothing else.
//!
//! *May touch:* nothing. `now` and `rng` are arguments: `Instant` where state lives as long as the process ([`Restart`]),
//! `Timestamp` where it is written down. *Does not know:* processes, proxies, the registry, time's source.
//!
//! Invariants:
//! * A release that is as good as the old one is called worse with at most the chance that its settings allow, however
//!   often it is looked at.
//! * No act of ours leaves fewer available copies serving than are promised.
//! * A process is signalled only after every proxy acknowledged the configuration without it (or was named and passed) and
//!   its requests have ended (or their deadline has passed).
//! * At most one rollout of a workload at a time, and every one ends.
//! * At most one try of a job at a time, and none after one that ended with code 0.
//! * A state that is written and read goes on where it was; time in which the agent was away counts for no deadline.

mod clock;
mod evidence;
mod guard;
mod job;
mod order;
mod restart;
mod rollout;

pub use evidence::{Counts, Evidence, Figures, Regression, Report, Settings, Verdict};
pub use guard::{Breach, Guard, GuardVerdict, ScopeCounts, Watched};
pub use job::{
    Attempt, AttemptEnd, JOB_FORMAT, Job, JobAction, JobSpec, JobStanding, RunOutcome, RunRecord,
};
pub use order::{Order, OrderError, Standing};
pub use restart::{CheckAction, Ended, Next, Policy, Restart, RestartLimits, RestartMemory};
pub use rollout::{
    Action, Amount, Approach, Command, Copy, CopyId, Deadlines, Grounds, LittleTraffic, Note,
    Observed, Outcome, Phase, Reason, Record, Refusal, Release, ReleaseId, ReleaseReport, Spec,
    Split, Step, Strategy, WORKLOAD_FORMAT, Workload,
};
