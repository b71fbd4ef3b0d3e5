use std::fmt;
use std::time::Duration;

/// A duration as Go prints it (`time.Duration.String`): `1m30s`, `1.5s`, `250ms`.
pub(super) struct GoDuration(pub(super) Duration);

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ns = self.0.as_nanos();
        let (unit, name) = match ns {
            0 => return f.write_str("0s"),
            1..1_000 => (1, "ns"),
            1_000..1_000_000 => (1_000, "µs"),
            1_000_000..1_000_000_000 => (1_000_000, "ms"),
            _ => (1_000_000_000, "s"),
        };
        let minutes = ns / 60_000_000_000;
        if minutes >= 60 {
            write!(f, "{}h", minutes / 60)?;
        }
        if minutes > 0 {
            write!(f, "{}m", minutes % 60)?;
        }
        let rest = ns % 60_000_000_000;
        write!(f, "{}", rest / unit)?;
        let fraction = rest % unit;
        if fraction > 0 {
            let digits = format!("{fraction:0width$}", width = unit.ilog10() as usize);
            write!(f, ".{}", digits.trim_end_matches('0'))?;
        }
        f.write_str(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_in_go() {
        let check = |ns: u64, expected: &str| {
            assert_eq!(GoDuration(Duration::from_nanos(ns)).to_string(), expected);
        };
        check(0, "0s");
        check(5, "5ns");
        check(1_500, "1.5µs");
        check(250_000_000, "250ms");
        check(1_050_000_000, "1.05s");
        check(30_000_000_000, "30s");
        check(90_000_000_000, "1m30s");
        check(3_600_000_000_000, "1h0m0s");
    }
}
