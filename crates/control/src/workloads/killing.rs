//! A test may have the agent killed between any two acts of a rollout: at the step that `LENO_KILLED_AT_STEP` counts to, from
//! 0. Only a build with debug assertions listens to it.

use recovery::Workload;

/// Something was done, or is about to be. Counts where one release replaces another.
pub(super) fn step(workload: &Workload) {
    if cfg!(debug_assertions) && workload.stable().is_some() && workload.target().is_some() {
        count();
    }
}

fn count() {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};
    static ASKED: OnceLock<Option<u32>> = OnceLock::new();
    static STEPS: AtomicU32 = AtomicU32::new(0);
    let asked = || std::env::var("LENO_KILLED_AT_STEP").ok()?.parse().ok();
    if let Some(at) = *ASKED.get_or_init(asked)
        && STEPS.fetch_add(1, Ordering::Relaxed) == at
    {
        // It is the own process: there is no way back from here.
        let _ = runtime::kill(std::process::id());
    }
}
