use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What a pick leaves behind on its way. The pipeline is compiled once for each kind, so that
/// nothing is left of the record where none is asked for.
pub(crate) trait Trace {
    /// Takes the next turn.
    fn turn(&mut self, counter: &AtomicU64) -> u64;

    /// Records a stage.
    fn note(&mut self, stage: impl FnOnce() -> String);
}

/// Takes turns, records nothing.
pub(crate) struct Silent;

impl Trace for Silent {
    #[inline]
    fn turn(&mut self, counter: &AtomicU64) -> u64 {
        counter.fetch_add(1, Relaxed)
    }

    #[inline]
    fn note(&mut self, _stage: impl FnOnce() -> String) {}
}

/// Takes turns and records.
#[derive(Default)]
pub(crate) struct Recorded(pub Vec<String>);

impl Trace for Recorded {
    fn turn(&mut self, counter: &AtomicU64) -> u64 {
        counter.fetch_add(1, Relaxed)
    }

    fn note(&mut self, stage: impl FnOnce() -> String) {
        self.0.push(stage());
    }
}

/// Records and leaves the turns to others.
#[derive(Default)]
pub(crate) struct Dry {
    pub stages: Vec<String>,
    /// Turns that a pick would have taken, by the address of their counter.
    taken: Vec<(*const AtomicU64, u64)>,
}

impl Trace for Dry {
    fn turn(&mut self, counter: &AtomicU64) -> u64 {
        let at = std::ptr::from_ref(counter);
        let position = self.taken.iter().position(|it| it.0 == at).unwrap_or_else(|| {
            self.taken.push((at, 0));
            self.taken.len() - 1
        });
        let taken = &mut self.taken[position].1;
        *taken += 1;
        counter.load(Relaxed).wrapping_add(*taken - 1)
    }

    fn note(&mut self, stage: impl FnOnce() -> String) {
        self.stages.push(stage());
    }
}
