use std::time::{Duration, Instant};

/// Bounds the share of one core that a piece of work takes when it is asked for again and again: after each run it rests
/// for nine times as long as the run took, at least `rest_min` and at most [`REST_MAX`]. A lone request is never late.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    rest_min: Duration,
    began: Option<Instant>,
}

/// Longest rest: news is never older than this, however slow the work.
pub const REST_MAX: Duration = Duration::from_secs(1);
/// Rest in units of the run: 9 makes the work take at most a tenth of a core.
const REST_PER_RUN: u32 = 9;

impl Pace {
    /// A pace with this least rest.
    #[must_use]
    pub fn new(rest_min: Duration) -> Self {
        Self { rest_min, began: None }
    }

    /// The work begins.
    pub fn begin(&mut self) {
        self.began = Some(Instant::now());
    }

    /// Waits as long as the work that has just ended asks for. Cancel-safe.
    pub async fn rest(&mut self) {
        let ran = self.began.take().map_or(Duration::ZERO, |began| began.elapsed());
        tokio::time::sleep(rest_after(ran, self.rest_min)).await;
    }
}

fn rest_after(ran: Duration, rest_min: Duration) -> Duration {
    ran.saturating_mul(REST_PER_RUN).clamp(rest_min.min(REST_MAX), REST_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_grows_with_the_work_between_its_bounds() {
        let ms = Duration::from_millis;
        assert_eq!(rest_after(ms(0), ms(10)), ms(10));
        assert_eq!(rest_after(ms(20), ms(10)), ms(180));
        assert_eq!(rest_after(ms(900), ms(10)), REST_MAX);
    }
}
