use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

#[cfg(test)]
mod tests;

/// The order in which workloads start and stop, from what each depends on.
///
/// Built once from a whole configuration, so that a cycle or a name that nobody has is told before anything is started.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Order {
    /// By name: what it depends on.
    needs: BTreeMap<String, BTreeSet<String>>,
    waves: Vec<Vec<String>>,
}

/// What is wrong with the dependencies.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OrderError {
    /// A name that no workload has.
    #[error("{workload} depends on {dependency}, which is not a workload")]
    Unknown {
        /// Who depends.
        workload: String,
        /// On what.
        dependency: String,
    },
    /// Workloads wait for each other, so that none of them could ever start.
    #[error("workloads depend on each other in a circle: {}", .path.join(" -> "))]
    Cycle {
        /// Each depends on the next; the last is the first again. It begins with the least name.
        path: Vec<String>,
    },
}

/// How far a workload is, as those that depend on it see it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Standing {
    /// It has not been started.
    #[default]
    Waiting,
    /// It was started; no check has passed yet.
    Started,
    /// Its checks pass.
    Healthy,
    /// It was healthy and is not now.
    Unhealthy,
    /// A job that ran to its end with code 0.
    Completed,
    /// It is held, or a job that failed for good.
    Failed,
}

impl Standing {
    /// Those that depend on it may start: healthy, not merely started; for a job, completed.
    #[must_use]
    pub fn satisfies(self) -> bool {
        match self {
            Self::Healthy | Self::Completed => true,
            Self::Waiting | Self::Started | Self::Unhealthy | Self::Failed => false,
        }
    }

    /// Something of it may be running, so it can be stopped.
    #[must_use]
    pub fn runs(self) -> bool {
        match self {
            Self::Started | Self::Healthy | Self::Unhealthy => true,
            Self::Waiting | Self::Completed | Self::Failed => false,
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waiting => "waiting",
            Self::Started => "started",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Completed => "completed",
            Self::Failed => "failed",
        })
    }
}

impl Order {
    /// The order of `workloads`: names with the names that each depends on. O(V · E) at worst.
    ///
    /// # Errors
    /// Everything that is wrong: all unknown names, and one circle for each group of workloads that wait for each other.
    pub fn new(workloads: &BTreeMap<String, BTreeSet<String>>) -> Result<Self, Vec<OrderError>> {
        let mut errors: Vec<OrderError> = unknown(workloads).collect();
        let mut left = workloads.clone();
        let mut waves = Vec::new();
        loop {
            let wave: Vec<String> = left
                .iter()
                .filter(|(_, needs)| !needs.iter().any(|it| left.contains_key(it)))
                .map(|(name, _)| name.clone())
                .collect();
            if wave.is_empty() {
                break;
            }
            left.retain(|name, _| !wave.contains(name));
            waves.push(wave);
        }
        while let Some(path) = find_cycle(&left) {
            // What only waits for the circle is no error of its own.
            left.retain(|name, _| !path.contains(name));
            errors.push(OrderError::Cycle { path });
        }
        if errors.is_empty() { Ok(Self { needs: workloads.clone(), waves }) } else { Err(errors) }
    }

    /// Names in groups: each depends only on earlier groups, and is in the earliest that it can be in.
    #[must_use]
    pub fn waves(&self) -> &[Vec<String>] {
        &self.waves
    }

    /// Who has not been started and may be now. A name that `standing` does not know is [`Standing::Waiting`].
    #[must_use]
    pub fn may_start(&self, standing: &BTreeMap<String, Standing>) -> Vec<&str> {
        let waits = |name: &str| standing_of(standing, name) == Standing::Waiting;
        let free = |name: &str| self.waits_for(name, standing).is_empty();
        self.waves.iter().flatten().map(String::as_str).filter(|it| waits(it) && free(it)).collect()
    }

    /// What keeps `name` from starting, with how far that is.
    #[must_use]
    pub fn waits_for(
        &self,
        name: &str,
        standing: &BTreeMap<String, Standing>,
    ) -> Vec<(&str, Standing)> {
        let needs = self.needs.get(name).into_iter().flatten();
        let with_standing = needs.map(|it| (it.as_str(), standing_of(standing, it)));
        with_standing.filter(|(_, standing)| !standing.satisfies()).collect()
    }

    /// Who runs and may be stopped now when all are to stop: nobody that depends on it runs any more, be it through others
    /// (a service over a job that has completed still needs what the job needed).
    #[must_use]
    pub fn may_stop(&self, standing: &BTreeMap<String, Standing>) -> Vec<&str> {
        let runs = |name: &str| standing_of(standing, name).runs();
        let is_needed = |name: &str| {
            let mut running = self.needs.keys().filter(|it| runs(it));
            running.any(|it| reaches(&self.needs, it, name))
        };
        let latest_first = self.waves.iter().rev().flatten().map(String::as_str);
        latest_first.filter(|it| runs(it) && !is_needed(it)).collect()
    }
}

fn standing_of(standing: &BTreeMap<String, Standing>, name: &str) -> Standing {
    standing.get(name).copied().unwrap_or_default()
}

fn unknown(workloads: &BTreeMap<String, BTreeSet<String>>) -> impl Iterator<Item = OrderError> {
    workloads.iter().flat_map(|(workload, needs)| {
        let missing = needs.iter().filter(|it| !workloads.contains_key(*it));
        missing.map(|dependency| OrderError::Unknown {
            workload: workload.clone(),
            dependency: dependency.clone(),
        })
    })
}

/// A circle among `left`, from its least name back to it. Each that is left depends on another that is left, unless a
/// circle was taken out before; so a walk along first dependencies ends in a circle or at such a gap.
fn find_cycle(left: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    for start in left.keys() {
        let mut path: Vec<&String> = vec![start];
        while let Some(next) = left[*path.last()?]
            .iter()
            .filter(|it| left.contains_key(*it))
            .find(|it| reaches(left, it, it))
        {
            if let Some(at) = path.iter().position(|it| *it == next) {
                return Some(closed(&path[at..]));
            }
            path.push(next);
        }
    }
    None
}

/// Whether `from` leads to `to` over one dependency or more.
fn reaches(needs: &BTreeMap<String, BTreeSet<String>>, from: &str, to: &str) -> bool {
    let mut seen = BTreeSet::new();
    let mut open = vec![from];
    while let Some(name) = open.pop() {
        for next in needs.get(name).into_iter().flatten() {
            if next == to {
                return true;
            }
            if seen.insert(next) {
                open.push(next);
            }
        }
    }
    false
}

fn closed(circle: &[&String]) -> Vec<String> {
    let least = (0..circle.len()).min_by_key(|at| circle[*at]).unwrap_or(0);
    (0..=circle.len()).map(|it| circle[(least + it) % circle.len()].clone()).collect()
}
