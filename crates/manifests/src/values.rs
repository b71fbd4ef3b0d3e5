//! Scalars with bounds: words, whole numbers, durations, quantities and percents.

use std::ops::RangeInclusive;
use std::time::Duration;

use model::go::{format_duration, parse_duration};
use model::workload::CountOrPercent;

use crate::fields::{Field, Report, nearest};
use crate::node::Content;

mod quantity;

pub(crate) use quantity::{binary, bytes, thousandths};

/// Sets `slot` if there is a value.
pub(crate) fn set<T>(slot: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *slot = value;
    }
}

/// Reads one of `words`, in their letter case.
pub(crate) fn word<T: Copy>(
    field: &Field<'_>,
    words: &[(&str, T)],
    report: &mut Report<'_>,
) -> Option<T> {
    let text = field.text(report)?;
    let found = words.iter().find(|it| it.0 == text);
    if found.is_none() {
        let known: Vec<&str> = words.iter().map(|it| it.0).collect();
        let remedy = match nearest(text, &known) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("use {}", either(&known)),
        };
        report.error(&field.at, format!("`{text}` is not known here"), remedy);
    }
    found.map(|it| it.1)
}

/// `a`, `a or b`, `a, b or c`.
pub(crate) fn either(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
    }
}

/// Reads a whole number.
pub(crate) fn whole(
    field: &Field<'_>,
    bounds: RangeInclusive<u32>,
    report: &mut Report<'_>,
) -> Option<u32> {
    let remedy = format!("write a whole number from {} to {}", bounds.start(), bounds.end());
    let Content::Number(number) = &field.node.content else {
        let remedy = match field.node.text().map(str::parse::<u32>) {
            Some(Ok(number)) => format!("leave the quotes out: {number}"),
            Some(Err(_)) | None => remedy,
        };
        report.error(&field.at, format!("must be a number, not {}", field.node.kind()), remedy);
        return None;
    };
    let value = number.as_u64().and_then(|it| u32::try_from(it).ok());
    let value = value.filter(|it| bounds.contains(it));
    if value.is_none() {
        report.error(&field.at, format!("{number} is out of bounds"), remedy);
    }
    value
}

/// Reads a duration in Go's notation, as `500ms`, `10s` or `1m30s`.
pub(crate) fn duration(
    field: &Field<'_>,
    bounds: RangeInclusive<Duration>,
    report: &mut Report<'_>,
) -> Option<Duration> {
    if let Content::Number(number) = &field.node.content {
        let remedy = format!("add a unit: {number}s");
        report.error(&field.at, "a duration needs its unit", remedy);
        return None;
    }
    let text = field.text(report)?;
    match parse_duration(text) {
        Ok(duration) if bounds.contains(&duration) => return Some(duration),
        Ok(_) => {
            let remedy =
                format!("write from {} to {}", short(*bounds.start()), short(*bounds.end()));
            report.error(&field.at, format!("`{text}` is out of bounds"), remedy);
        }
        Err(_) => {
            let remedy = "write numbers with the units ms, s, m or h, for example 500ms or 1m30s";
            report.error(&field.at, format!("`{text}` is not a duration"), remedy);
        }
    }
    None
}

/// As Go writes it, without parts that are zero: `1h` for `1h0m0s`.
pub(crate) fn short(duration: Duration) -> String {
    let text = format_duration(duration);
    let text = text.strip_suffix("m0s").map_or(text.clone(), |it| format!("{it}m"));
    text.strip_suffix("h0m").map_or(text.clone(), |it| format!("{it}h"))
}

/// Reads a number of copies: up to 1000, or up to 100 % in the form `25%`.
pub(crate) fn count_or_percent(
    field: &Field<'_>,
    report: &mut Report<'_>,
) -> Option<CountOrPercent> {
    let Some(text) = field.node.text() else {
        return whole(field, 0..=1000, report).map(CountOrPercent::Count);
    };
    let percent = text.strip_suffix('%').and_then(|it| it.parse::<u8>().ok());
    let percent = percent.filter(|it| *it <= 100).map(CountOrPercent::Percent);
    if percent.is_none() {
        let message = format!("`{text}` is neither a count nor a percentage");
        report.error(&field.at, message, "write a number, or a percentage such as 25%");
    }
    percent
}

/// Reads a percentage such as `0.5%`, with at most two digits behind the point, as hundredths of a percent.
pub(crate) fn percent_hundredths(
    field: &Field<'_>,
    percent_max: u32,
    report: &mut Report<'_>,
) -> Option<u32> {
    let error = |report: &mut Report<'_>, written: &str, remedy: String| {
        report.error(&field.at, format!("`{written}` is not a percentage"), remedy);
    };
    if let Content::Number(number) = &field.node.content {
        error(report, &number.to_string(), format!("add the sign: {number}%"));
        return None;
    }
    let text = field.text(report)?;
    let hundredths = text.strip_suffix('%').and_then(hundredths);
    let hundredths = hundredths.filter(|it| *it <= percent_max * 100);
    if hundredths.is_none() {
        let remedy = format!(
            "write from 0% to {percent_max}%, at most two digits behind the point: for example 0.5%"
        );
        error(report, text, remedy);
    }
    hundredths
}

/// A hundred times the decimal number.
fn hundredths(text: &str) -> Option<u32> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_digits = |it: &str| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit());
    if !is_digits(whole) || !is_digits(fraction) || fraction.len() > 2 {
        return None;
    }
    let fraction: u32 = format!("{fraction:0<2}").parse().ok()?;
    whole.parse::<u32>().ok()?.checked_mul(100)?.checked_add(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_has_two_digits_behind_the_point() {
        for (text, expected) in [("0", 0), ("0.5", 50), ("0.05", 5), ("12.34", 1234), ("7", 700)] {
            assert_eq!(hundredths(text), Some(expected), "{text}");
        }
        for bad in ["", ".", ".5", "5.", "1.234", "-1", "+1", "1e2", "99999999999", "1.+2"] {
            assert_eq!(hundredths(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_bound_is_written_short() {
        for (seconds, expected) in [(0, "0s"), (10, "10s"), (60, "1m"), (3600, "1h"), (90, "1m30s")]
        {
            assert_eq!(short(Duration::from_secs(seconds)), expected);
        }
        assert_eq!(short(Duration::from_millis(1)), "1ms");
    }
}
