//! Which requests are written about.

use proxy_config::{Comparison, LogFilter};

use crate::format::facts::{Facts, NumberFact, TimePoint};
use crate::matching::HeaderCondition;
use crate::{ResponseFlag, ResponseFlags};

/// A condition on a request that is over.
#[derive(Clone, Debug)]
pub struct LogCondition(Condition);

#[derive(Clone, Debug)]
enum Condition {
    Status(Comparison, u64),
    DurationMs(Comparison, u64),
    AnyFlag,
    Flags(ResponseFlags),
    Header(HeaderCondition),
    PerMillion(u32),
    GrpcStatus { statuses: Vec<u8>, exclude: bool },
    And(Vec<LogCondition>),
    Or(Vec<LogCondition>),
}

impl LogCondition {
    /// Makes a condition ready.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(filter: &LogFilter) -> Result<LogCondition, String> {
        let all = |filters: &[LogFilter]| -> Result<Vec<LogCondition>, String> {
            filters.iter().map(LogCondition::new).collect()
        };
        Ok(LogCondition(match filter {
            LogFilter::Status(comparison, with) => Condition::Status(*comparison, *with),
            LogFilter::DurationMs(comparison, with) => Condition::DurationMs(*comparison, *with),
            LogFilter::ResponseFlags(names) if names.is_empty() => Condition::AnyFlag,
            LogFilter::ResponseFlags(names) => {
                let mut flags = ResponseFlags::NONE;
                for name in names {
                    flags.insert(flag(name)?);
                }
                Condition::Flags(flags)
            }
            LogFilter::Header(header) => Condition::Header(HeaderCondition::new(header)?),
            LogFilter::PerMillion(share) => Condition::PerMillion(*share),
            LogFilter::GrpcStatus { statuses, exclude } => {
                Condition::GrpcStatus { statuses: statuses.clone(), exclude: *exclude }
            }
            LogFilter::And(filters) => Condition::And(all(filters)?),
            LogFilter::Or(filters) => Condition::Or(all(filters)?),
        }))
    }

    /// Whether a request meets it. `random` is a number drawn for this request and log.
    #[must_use]
    pub fn holds(&self, facts: &impl Facts, random: u32) -> bool {
        match &self.0 {
            Condition::Status(comparison, with) => compare(*comparison, status(facts), *with),
            Condition::DurationMs(comparison, with) => facts
                .time(TimePoint::End)
                .is_some_and(|it| compare(*comparison, it / 1_000_000, *with)),
            Condition::AnyFlag => !facts.flags().is_empty(),
            Condition::Flags(flags) => flags.bits() & facts.flags().bits() != 0,
            Condition::Header(header) => header.holds(facts),
            Condition::PerMillion(share) => random % 1_000_000 < *share,
            Condition::GrpcStatus { statuses, exclude } => {
                let status = facts.grpc_status().unwrap_or_else(|| from_http(status(facts)));
                statuses.iter().any(|it| u64::from(*it) == status) != *exclude
            }
            Condition::And(all) => all.iter().all(|it| it.holds(facts, random)),
            Condition::Or(any) => any.iter().any(|it| it.holds(facts, random)),
        }
    }
}

fn status(facts: &impl Facts) -> u64 {
    facts.number(NumberFact::ResponseCode).unwrap_or(0)
}

fn compare(comparison: Comparison, value: u64, with: u64) -> bool {
    match comparison {
        Comparison::Equal => value == with,
        Comparison::AtLeast => value >= with,
        Comparison::AtMost => value <= with,
        Comparison::NotEqual => value != with,
    }
}

fn flag(name: &str) -> Result<ResponseFlag, String> {
    ResponseFlag::ALL
        .iter()
        .find(|it| it.as_str() == name)
        .copied()
        .ok_or_else(|| format!("{name:?} is not a response flag"))
}

/// What a client makes of a status without `grpc-status` (gRPC, "HTTP to gRPC status code
/// mapping").
fn from_http(status: u64) -> u64 {
    match status {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502..=504 => 14,
        _ => 2,
    }
}
