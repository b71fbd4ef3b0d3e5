//! Go's notation of durations: `10s`, `1m30s`, `1.5h`, `100ms`.

use std::time::Duration;

use super::quote;

/// Most nanoseconds that a Go duration holds (292 years).
const NANOSECONDS_MAX: u64 = i64::MAX as u64;

/// Why a text is no duration. The texts are those of Go's `time.ParseDuration`.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DurationError {
    /// Not in the notation, or longer than 292 years.
    #[error("time: invalid duration {}", quote(.0))]
    Invalid(String),
    /// A number without a unit.
    #[error("time: missing unit in duration {}", quote(.0))]
    UnitMissing(String),
    /// A unit that Go does not know.
    #[error("time: unknown unit {} in duration {}", quote(.unit), quote(.text))]
    UnitUnknown {
        /// The unit.
        unit: String,
        /// The whole text.
        text: String,
    },
    /// A negative duration. Go accepts it; whoever asks decides whether it means "not given".
    #[error("negative duration {}", quote(.0))]
    Negative(String),
}

/// Reads a duration: an optional sign, then numbers (fractions allowed), each with one of the units `ns`, `us`,
/// `µs`, `ms`, `s`, `m`, `h`; or `0`.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let invalid = || DurationError::Invalid(text.to_owned());
    let negative = text.starts_with('-');
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (nanoseconds, after) = parse_term(rest, text)?;
        total = total
            .checked_add(nanoseconds)
            .filter(|sum| *sum <= NANOSECONDS_MAX)
            .ok_or_else(invalid)?;
        rest = after;
    }
    if negative && total > 0 {
        return Err(DurationError::Negative(text.to_owned()));
    }
    Ok(Duration::from_nanos(total))
}

/// Reads one number with its unit from the head of `rest`; returns nanoseconds and what follows.
fn parse_term<'a>(rest: &'a str, text: &str) -> Result<(u64, &'a str), DurationError> {
    let invalid = || DurationError::Invalid(text.to_owned());
    let (whole, after) = split_digits(rest);
    let (fraction, after) = match after.strip_prefix('.') {
        Some(after) => split_digits(after),
        None => ("", after),
    };
    if whole.is_empty() && fraction.is_empty() {
        return Err(invalid());
    }
    let unit_end = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
    let (unit, after) = after.split_at(unit_end);
    let scale: u64 = match unit {
        "" => return Err(DurationError::UnitMissing(text.to_owned())),
        "ns" => 1,
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        unit => {
            let unit = unit.to_owned();
            return Err(DurationError::UnitUnknown { unit, text: text.to_owned() });
        }
    };
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| invalid())? };
    let nanoseconds = whole
        .checked_mul(scale)
        .and_then(|whole| whole.checked_add(fraction_of(fraction, scale)))
        .ok_or_else(invalid)?;
    Ok((nanoseconds, after))
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// `0.digits` of a unit, rounded down. Digits beyond the 15th are below a nanosecond of an hour.
fn fraction_of(digits: &str, scale: u64) -> u64 {
    let digits = &digits[..digits.len().min(15)];
    let value: u128 = digits.parse().unwrap_or(0);
    let divisor = 10u128.pow(u32::try_from(digits.len()).expect("at most 15 digits are kept"));
    u64::try_from(value * u128::from(scale) / divisor).expect("a part of a unit is below the unit")
}

/// Writes a duration as Go's `Duration.String()` does: `1m30s`, `1.5s`, `100ms`, `0s`, `2h0m0s`.
pub fn format_duration(duration: Duration) -> String {
    let total = u64::try_from(duration.as_nanos()).unwrap_or(NANOSECONDS_MAX);
    let total = total.min(NANOSECONDS_MAX);
    match total {
        0 => "0s".to_owned(),
        1..1_000 => format!("{total}ns"),
        1_000..1_000_000 => format!("{}µs", decimal(total, 1_000)),
        1_000_000..1_000_000_000 => format!("{}ms", decimal(total, 1_000_000)),
        _ => {
            let seconds = total / 1_000_000_000;
            let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
            let rest = decimal(total % 60_000_000_000, 1_000_000_000);
            match (hours, minutes) {
                (0, 0) => format!("{rest}s"),
                (0, minutes) => format!("{minutes}m{rest}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{rest}s"),
            }
        }
    }
}

/// `value / unit` (a power of ten) without trailing zeros.
fn decimal(value: u64, unit: u64) -> String {
    let (whole, rest) = (value / unit, value % unit);
    if rest == 0 {
        return whole.to_string();
    }
    let width = unit.ilog10() as usize;
    format!("{whole}.{rest:0width$}").trim_end_matches('0').to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_go_reads() {
        let cases: &[(&str, u64)] = &[
            ("0", 0),
            ("-0", 0),
            ("0s", 0),
            ("10s", 10_000_000_000),
            ("+10s", 10_000_000_000),
            ("1m30s", 90_000_000_000),
            ("100ms", 100_000_000),
            ("1.5h", 5_400_000_000_000),
            ("15.0s", 15_000_000_000),
            ("0.001s", 1_000_000),
            (".5s", 500_000_000),
            ("5.s", 5_000_000_000),
            ("1us2µs3μs", 6_000),
            ("7ns", 7),
            ("0.9ns", 0),
            ("0.33333333333333333333h", 1_199_999_999_999),
            ("2562047h47m16.854775807s", NANOSECONDS_MAX),
        ];
        for (text, nanoseconds) in cases {
            assert_eq!(parse_duration(text), Ok(Duration::from_nanos(*nanoseconds)), "{text}");
        }
    }

    #[test]
    fn refuses_what_go_refuses() {
        let cases = [
            ("", r#"time: invalid duration """#),
            ("abc", r#"time: invalid duration "abc""#),
            (".s", r#"time: invalid duration ".s""#),
            ("-", r#"time: invalid duration "-""#),
            ("10", r#"time: missing unit in duration "10""#),
            ("10x", r#"time: unknown unit "x" in duration "10x""#),
            ("1 s", r#"time: unknown unit " s" in duration "1 s""#),
            ("-1s", r#"negative duration "-1s""#),
            ("3000000h", r#"time: invalid duration "3000000h""#),
            ("99999999999999999999s", r#"time: invalid duration "99999999999999999999s""#),
        ];
        for (text, error) in cases {
            assert_eq!(
                parse_duration(text).map_err(|it| it.to_string()),
                Err(error.to_owned()),
                "{text}"
            );
        }
    }

    #[test]
    fn writes_what_go_writes() {
        let cases: &[(u64, &str)] = &[
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5µs"),
            (100_000_000, "100ms"),
            (1_500_000, "1.5ms"),
            (1_500_000_000, "1.5s"),
            (10_000_000_000, "10s"),
            (90_000_000_000, "1m30s"),
            (60_000_000_000, "1m0s"),
            (7_200_000_000_000, "2h0m0s"),
            (86_400_000_000_000, "24h0m0s"),
            (3_661_000_000_001, "1h1m1.000000001s"),
        ];
        for (nanoseconds, text) in cases {
            assert_eq!(format_duration(Duration::from_nanos(*nanoseconds)), *text);
        }
        assert_eq!(format_duration(Duration::MAX), "2562047h47m16.854775807s");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_equal(nanoseconds in 0..=NANOSECONDS_MAX) {
            let duration = Duration::from_nanos(nanoseconds);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[-+]?([0-9]{0,20}(\\.[0-9]{0,20})?(ns|µs|ms|s|m|h|x)?){0,3}") {
            let _ = parse_duration(&text);
        }
    }
}
