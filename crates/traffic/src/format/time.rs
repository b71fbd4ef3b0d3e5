//! Times as `strftime` writes them, in UTC, without a clock.

use std::io::Write;

/// Longest format; each of its parts writes at most 29 bytes (`%c`-like compounds are written out).
const FORMAT_BYTES_MAX: usize = 256;

/// A format of times.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct TimeFormat(Vec<Part>);

#[derive(Clone, PartialEq, Eq, Debug)]
enum Part {
    Text(String),
    Year,
    Month,
    Day,
    DayPadded,
    DayOfYear,
    Hour,
    Hour12,
    Minute,
    Second,
    AmPm,
    MonthName {
        is_short: bool,
    },
    WeekdayName {
        is_short: bool,
    },
    Weekday {
        monday_is_1: bool,
    },
    Zone,
    ZoneName,
    UnixSeconds,
    /// So many digits of the fraction of the second.
    Fraction(usize),
}

impl TimeFormat {
    /// Reads a format.
    pub(super) fn parse(text: &str) -> Result<TimeFormat, String> {
        if text.len() > FORMAT_BYTES_MAX {
            return Err(format!("the format of the time is longer than {FORMAT_BYTES_MAX} bytes"));
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            push_text(&mut parts, &rest[..at]);
            rest = specifier(&rest[at + 1..], &mut parts)?;
        }
        push_text(&mut parts, rest);
        Ok(TimeFormat(parts))
    }

    /// Appends a time, given in nanoseconds since the Unix epoch.
    pub(super) fn write(&self, unix_ns: u64, out: &mut Vec<u8>) {
        let time = Civil::new(unix_ns);
        for part in &self.0 {
            write_part(part, &time, out);
        }
    }
}

/// Appends `2016-04-15T20:17:00.310Z`.
pub(super) fn write_default(unix_ns: u64, out: &mut Vec<u8>) {
    let Civil { year, month, day, seconds_of_day, nanos, .. } = Civil::new(unix_ns);
    let (hour, minute, second) =
        (seconds_of_day / 3600, seconds_of_day / 60 % 60, seconds_of_day % 60);
    digits(out, year, 4);
    for (before, number) in
        [(b'-', month), (b'-', day), (b'T', hour), (b':', minute), (b':', second)]
    {
        out.push(before);
        digits(out, number, 2);
    }
    out.push(b'.');
    digits(out, u64::from(nanos) / 1_000_000, 3);
    out.push(b'Z');
}

fn push_text(parts: &mut Vec<Part>, text: &str) {
    match parts.last_mut() {
        _ if text.is_empty() => {}
        Some(Part::Text(before)) => before.push_str(text),
        _ => parts.push(Part::Text(text.to_owned())),
    }
}

/// Reads what follows `%` and gives back the rest.
fn specifier<'t>(text: &'t str, parts: &mut Vec<Part>) -> Result<&'t str, String> {
    let mut chars = text.chars();
    let wrong = || {
        let shown: String = text.chars().take(3).collect();
        format!("the format of the time has %{shown}, which is not known")
    };
    match chars.next().ok_or_else(wrong)? {
        'Y' => parts.push(Part::Year),
        'm' => parts.push(Part::Month),
        'd' => parts.push(Part::Day),
        'e' => parts.push(Part::DayPadded),
        'j' => parts.push(Part::DayOfYear),
        'H' => parts.push(Part::Hour),
        'I' => parts.push(Part::Hour12),
        'M' => parts.push(Part::Minute),
        'S' => parts.push(Part::Second),
        'p' => parts.push(Part::AmPm),
        'b' | 'h' => parts.push(Part::MonthName { is_short: true }),
        'B' => parts.push(Part::MonthName { is_short: false }),
        'a' => parts.push(Part::WeekdayName { is_short: true }),
        'A' => parts.push(Part::WeekdayName { is_short: false }),
        'u' => parts.push(Part::Weekday { monday_is_1: true }),
        'w' => parts.push(Part::Weekday { monday_is_1: false }),
        'z' => parts.push(Part::Zone),
        'Z' => parts.push(Part::ZoneName),
        's' => parts.push(Part::UnixSeconds),
        'f' => parts.push(Part::Fraction(9)),
        'F' => compound(parts, &[Part::Year, Part::Month, Part::Day], "-"),
        'T' => compound(parts, &[Part::Hour, Part::Minute, Part::Second], ":"),
        'R' => compound(parts, &[Part::Hour, Part::Minute], ":"),
        '%' => push_text(parts, "%"),
        'n' => push_text(parts, "\n"),
        't' => push_text(parts, "\t"),
        digit @ '1'..='9' if chars.next() == Some('f') => {
            parts.push(Part::Fraction(digit as usize - '0' as usize));
        }
        // Of the library that Envoy uses: seconds with a fraction.
        'E' => match (chars.next(), chars.next()) {
            (Some(digit @ '1'..='9'), Some('S')) => {
                parts.push(Part::Second);
                push_text(parts, ".");
                parts.push(Part::Fraction(digit as usize - '0' as usize));
            }
            _ => return Err(wrong()),
        },
        _ => return Err(wrong()),
    }
    Ok(chars.as_str())
}

fn compound(parts: &mut Vec<Part>, of: &[Part], between: &str) {
    for (idx, part) in of.iter().enumerate() {
        if idx > 0 {
            push_text(parts, between);
        }
        parts.push(part.clone());
    }
}

fn write_part(part: &Part, time: &Civil, out: &mut Vec<u8>) {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    const DAYS: [&str; 7] =
        ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
    let hour = time.seconds_of_day / 3600;
    let name = |out: &mut Vec<u8>, name: &str, is_short: bool| {
        out.extend_from_slice(if is_short { &name.as_bytes()[..3] } else { name.as_bytes() });
    };
    match part {
        Part::Text(text) => out.extend_from_slice(text.as_bytes()),
        Part::Year => digits(out, time.year, 4),
        Part::Month => digits(out, time.month, 2),
        Part::Day => digits(out, time.day, 2),
        Part::DayPadded => write!(out, "{:>2}", time.day).expect("a Vec can be written to"),
        Part::DayOfYear => digits(out, time.day_of_year, 3),
        Part::Hour => digits(out, hour, 2),
        Part::Hour12 => digits(out, (hour + 11) % 12 + 1, 2),
        Part::Minute => digits(out, time.seconds_of_day / 60 % 60, 2),
        Part::Second => digits(out, time.seconds_of_day % 60, 2),
        Part::AmPm => out.extend_from_slice(if hour < 12 { b"AM" } else { b"PM" }),
        Part::MonthName { is_short } => name(out, MONTHS[time.month as usize - 1], *is_short),
        Part::WeekdayName { is_short } => name(out, DAYS[time.weekday as usize], *is_short),
        Part::Weekday { monday_is_1 } => {
            let is_sunday = *monday_is_1 && time.weekday == 0;
            digits(out, if is_sunday { 7 } else { time.weekday }, 1);
        }
        Part::Zone => out.extend_from_slice(b"+0000"),
        Part::ZoneName => out.extend_from_slice(b"UTC"),
        Part::UnixSeconds => digits(out, time.unix_seconds, 1),
        Part::Fraction(count) => {
            digits(out, u64::from(time.nanos) / 10u64.pow(9 - *count as u32), *count);
        }
    }
}

/// Appends a number with at least so many digits.
pub(super) fn digits(out: &mut Vec<u8>, number: u64, least: usize) {
    let mut text = [b'0'; 20];
    let mut at = text.len();
    let mut rest = number;
    while rest > 0 || text.len() - at < least {
        at -= 1;
        text[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out.extend_from_slice(&text[at..]);
}

/// A time in the Gregorian calendar, UTC.
struct Civil {
    year: u64,
    /// 1 to 12.
    month: u64,
    /// 1 to 31.
    day: u64,
    /// 1 to 366.
    day_of_year: u64,
    /// 0 is Sunday.
    weekday: u64,
    seconds_of_day: u64,
    nanos: u32,
    unix_seconds: u64,
}

impl Civil {
    fn new(unix_ns: u64) -> Self {
        let unix_seconds = unix_ns / 1_000_000_000;
        let days = unix_seconds / 86_400;
        // A year that begins in March has its leap day at its end, and then months of 153 days in
        // each five.
        let since_march_0000 = days + 719_468;
        let era = since_march_0000 / 146_097;
        let day_of_era = since_march_0000 % 146_097;
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_march_year =
            day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_march_year + 2) / 153;
        let day = day_of_march_year - (153 * march_month + 2) / 5 + 1;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        let year = era * 400 + year_of_era + u64::from(month <= 2);
        let is_leap =
            year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let day_of_year = if month > 2 {
            day_of_march_year + 60 + u64::from(is_leap)
        } else {
            day_of_march_year - 305
        };
        Self {
            year,
            month,
            day,
            day_of_year,
            weekday: (days + 4) % 7,
            seconds_of_day: unix_seconds % 86_400,
            nanos: (unix_ns % 1_000_000_000) as u32,
            unix_seconds,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{TimeFormat, write_default};

    fn check(format: &str, unix_ns: u64, expected: &str) {
        let mut out = Vec::new();
        TimeFormat::parse(format).unwrap().write(unix_ns, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected, "{format}");
    }

    #[test]
    fn times_are_written_as_strftime_does() {
        // `date -u -d @1527590590`: Tue May 29 10:43:10 UTC 2018
        let time = 1_527_590_590_528_017_009;
        check("%Y/%m/%dT%H:%M:%S%z %s", time, "2018/05/29T10:43:10+0000 1527590590");
        check("%s.%3f", time, "1527590590.528");
        check("%s.%6f", time, "1527590590.528017");
        check("%s.%9f", time, "1527590590.528017009");
        check("%f", time, "528017009");
        check("%Y-%m-%dT%H:%M:%E3SZ", time, "2018-05-29T10:43:10.528Z");
        check("%F %T %R", time, "2018-05-29 10:43:10 10:43");
        check("%a %A %b %B %e %j %u %w", time, "Tue Tuesday May May 29 149 2 2");
        check("%I %p %Z %%%n%t", time, "10 AM UTC %\n\t");
    }

    #[test]
    fn days_are_counted_over_leap_years_and_ends_of_years() {
        let day = |days: u64| days * 86_400_000_000_000;
        check("%F %j %a", day(0), "1970-01-01 001 Thu");
        check("%F %j %a %e", day(11_015), "2000-02-28 059 Mon 28");
        check("%F %j %a", day(11_016), "2000-02-29 060 Tue");
        check("%F %j", day(11_017), "2000-03-01 061");
        check("%F %j", day(11_322), "2000-12-31 366");
        check("%F %j %u", day(11_323), "2001-01-01 001 1");
        check("%F %j", day(11_382), "2001-03-01 060");
        check("%F", day(47_541), "2100-03-01");
        check("%I %p", 0, "12 AM");
        check("%I %p", 13 * 3_600_000_000_000, "01 PM");
        check("%F", u64::MAX, "2554-07-21");
    }

    #[test]
    fn the_default_has_milliseconds() {
        let mut out = Vec::new();
        write_default(1_460_751_420_310_999_999, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "2016-04-15T20:17:00.310Z");
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for format in ["%", "%Q", "%0f", "%E0S", "%E3", "%3", "%é"] {
            let error = TimeFormat::parse(format).unwrap_err();
            assert!(error.contains("not known"), "{format}: {error}");
        }
        assert!(TimeFormat::parse(&"x".repeat(257)).unwrap_err().contains("longer"));
    }
}
