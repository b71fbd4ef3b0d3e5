use std::time::Instant;

use model::{CheckId, CheckStatus, CheckType, Timestamp};

use crate::Moment;

/// How a check that an agent looks after is going, beyond the verdict that the catalog has. Its times are of the clock that
/// does not jump, or as they are told, of the wall clock.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckRun<T = Instant> {
    /// The check.
    pub check: CheckId,
    /// What it does.
    pub kind: CheckType,
    /// Its last run that has ended, or its last heartbeat.
    pub last: Option<LastRun<T>>,
    /// When it runs next, or when it lapses without a heartbeat; `None` when it waits for something else.
    pub next: Option<T>,
    /// When it lapsed, if no heartbeat has come since.
    pub lapsed: Option<T>,
    /// Failures in a row that would still make it critical, at least 1.
    pub failures_left: u32,
    /// Successes in a row that would still make it pass, at least 1.
    pub successes_left: u32,
    /// Why it is not run now, if that is so: the instance has no process.
    pub held: Option<String>,
}

/// A run of a check that has ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LastRun<T = Instant> {
    /// When it began: it saw nothing that was before.
    pub started: T,
    /// When it ended.
    pub ended: T,
    /// What came of it.
    pub status: CheckStatus,
    /// What it said.
    pub output: String,
}

impl CheckRun {
    /// A check that has not run yet.
    #[must_use]
    pub fn new(check: CheckId, kind: CheckType) -> Self {
        Self {
            check,
            kind,
            last: None,
            next: None,
            lapsed: None,
            failures_left: 1,
            successes_left: 1,
            held: None,
        }
    }

    /// As it is told at this moment.
    #[must_use]
    pub fn told(self, now: Moment) -> CheckRun<Timestamp> {
        let last = self.last.map(|it| LastRun {
            started: now.wall_at(it.started),
            ended: now.wall_at(it.ended),
            status: it.status,
            output: it.output,
        });
        CheckRun {
            check: self.check,
            kind: self.kind,
            last,
            next: self.next.map(|it| now.wall_at(it)),
            lapsed: self.lapsed.map(|it| now.wall_at(it)),
            failures_left: self.failures_left,
            successes_left: self.successes_left,
            held: self.held,
        }
    }
}

impl<T> CheckRun<T> {
    /// Whether its runs see the instance itself: heartbeats tell only that somebody sends them.
    #[must_use]
    pub fn is_probe(&self) -> bool {
        match self.kind {
            CheckType::Ttl | CheckType::Alias => false,
            CheckType::Http
            | CheckType::Tcp
            | CheckType::Udp
            | CheckType::Grpc
            | CheckType::H2Ping
            | CheckType::Docker
            | CheckType::Script
            | CheckType::OsService => true,
        }
    }
}
