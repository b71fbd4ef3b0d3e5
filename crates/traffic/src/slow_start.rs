//! Endpoints that are new, or back, get their share little by little (reference/load-balancing.md
//! 2.14).

use proxy_config::SlowStart;

/// Which part of its weight an endpoint has at `now_ns` that became usable at `since_ns`:
/// `max(min, (time / window)^(1 / aggression))`, 1 after the window. `since_ns` of 0 means that it
/// always was.
///
/// Envoy's `applySlowStartFactor`, whose code counts in milliseconds and at least one.
pub(crate) fn factor(slow_start: &SlowStart, since_ns: u64, now_ns: u64) -> f64 {
    const MS: u64 = 1_000_000;
    let window_ms = slow_start.window.as_millis() as f64;
    let time_ms = (now_ns.saturating_sub(since_ns) / MS).max(1) as f64;
    if since_ns == 0 || time_ms >= window_ms {
        return 1.0;
    }
    let aggression = f64::from(slow_start.aggression_percent.max(1)) / 100.0;
    let share = (time_ms / window_ms).powf(1.0 / aggression);
    share.max(f64::from(slow_start.weight_min_percent) / 100.0).min(1.0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proxy_config::SlowStart;

    use super::factor;

    fn at(seconds: u64, aggression_percent: u32) -> f64 {
        let slow_start = SlowStart {
            window: Duration::from_secs(100),
            aggression_percent,
            weight_min_percent: 10,
        };
        factor(&slow_start, 1, 1 + seconds * 1_000_000_000)
    }

    #[test]
    fn the_curve_is_linear_with_aggression_one_and_begins_at_the_minimum() {
        for (seconds, expected) in
            [(0, 0.1), (5, 0.1), (20, 0.2), (50, 0.5), (99, 0.99), (100, 1.0)]
        {
            assert!((at(seconds, 100) - expected).abs() < 1e-6, "{seconds} s");
        }
        assert!((at(25, 200) - 0.5).abs() < 1e-6, "an aggression of 2 is a square root");
        assert!((at(50, 50) - 0.25).abs() < 1e-6, "an aggression of 0.5 is a square");
    }

    #[test]
    fn an_endpoint_that_always_was_has_its_whole_weight() {
        let slow_start = SlowStart {
            window: Duration::from_secs(100),
            aggression_percent: 100,
            weight_min_percent: 10,
        };
        assert!((factor(&slow_start, 0, 5) - 1.0).abs() < 1e-9);
    }
}
