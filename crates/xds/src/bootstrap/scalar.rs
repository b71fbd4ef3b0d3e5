//! Protobuf's scalars as JSON has them.

use std::ops::RangeInclusive;
use std::time::Duration;

use base64::Engine;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;

use super::fields::{Field, Message};
use super::schema;

/// What a limit of zero, which Envoy takes for none, becomes where the contract knows no such zero: a hundred years. It is
/// the longest duration too, for clocks count nanoseconds in 64 bits.
pub(crate) const NEVER: Duration = Duration::from_hours(100 * 365 * 24);

/// Longest duration that protobuf allows, some 10,000 years, in seconds.
const DURATION_SECONDS_MAX: u64 = 315_576_000_000;

impl Field<'_> {
    pub(crate) fn bool(&self) -> Option<bool> {
        match self.value {
            Value::Bool(it) => Some(*it),
            _ => {
                self.expected("true or false");
                None
            }
        }
    }

    /// A whole number, which may also be written as a text or with a fraction of zero.
    pub(crate) fn number_in(&self, range: RangeInclusive<i64>) -> Option<i64> {
        let Some(number) = whole(self.value) else {
            self.expected("a whole number");
            return None;
        };
        if range.contains(&number) {
            return Some(number);
        }
        let (first, last) = (range.start(), range.end());
        self.error(
            format!("{number} is not from {first} to {last}"),
            "choose a number in this range",
        );
        None
    }

    pub(crate) fn u32(&self) -> Option<u32> {
        self.number_in(0..=i64::from(u32::MAX)).and_then(|it| u32::try_from(it).ok())
    }

    pub(crate) fn f64(&self) -> Option<f64> {
        let number = match self.value {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.parse::<f64>().ok(),
            _ => None,
        };
        let number = number.filter(|it| it.is_finite());
        if number.is_none() {
            self.expected("a number");
        }
        number
    }

    /// A time that is not negative: `1.5s`.
    pub(crate) fn duration(&self) -> Option<Duration> {
        let Value::String(text) = self.value else {
            self.expected("a duration such as \"1.5s\"");
            return None;
        };
        let duration = parse_duration(text);
        if duration.is_none() {
            let message = format!("{text:?} is not a duration");
            self.error(message, "write seconds and `s`, such as 0.25s or 30s");
        }
        duration
    }

    /// Base64, of the ordinary or the URL alphabet.
    pub(crate) fn bytes(&self) -> Option<Vec<u8>> {
        let text = self.text()?;
        let config =
            GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
        let alphabet =
            if text.contains(['-', '_']) { alphabet::URL_SAFE } else { alphabet::STANDARD };
        let decoded = GeneralPurpose::new(&alphabet, config).decode(text);
        if decoded.is_err() {
            self.error("is not base64", "encode the bytes with base64");
        }
        decoded.ok()
    }

    /// An enum, by its name or its number. What it does not have is an error.
    pub(crate) fn choice<T: Copy>(&self, choices: &[(&str, i64, T)]) -> Option<T> {
        let found = match self.value {
            Value::String(name) => choices.iter().find(|it| it.0 == name),
            other => whole(other).and_then(|number| choices.iter().find(|it| it.1 == number)),
        };
        if found.is_none() {
            let names: Vec<&str> = choices.iter().map(|it| it.0).collect();
            let given = match self.value {
                Value::String(name) => format!("{name:?} is not supported here"),
                other => format!("{other} is not supported here"),
            };
            self.error(given, format!("choose one of {}", names.join(", ")));
        }
        found.map(|it| it.2)
    }

    /// `FractionalPercent` in millionths.
    pub(crate) fn fraction(&self) -> Option<u32> {
        let mut it = self.message(&schema::FRACTION)?;
        let numerator = it.u32("numerator").unwrap_or(0);
        let denominator = [("HUNDRED", 0, 10_000), ("TEN_THOUSAND", 1, 100), ("MILLION", 2, 1)];
        let scale = it.choice("denominator", &denominator).unwrap_or(10_000_u64);
        let millionths = u64::from(numerator) * scale;
        Some(u32::try_from(millionths.min(1_000_000)).expect("a million fits"))
    }

    /// `RuntimeFractionalPercent` in millionths.
    pub(crate) fn runtime_fraction(&self) -> Option<u32> {
        let mut it = self.message(&schema::RUNTIME_FRACTION)?;
        it.refuse_runtime_key();
        match it.take("default_value") {
            Some(field) => field.fraction(),
            None => Some(1_000_000),
        }
    }

    /// `Percent`, rounded to whole ones.
    pub(crate) fn percent(&self) -> Option<u8> {
        let mut it = self.message(&schema::PERCENT)?;
        let Some(field) = it.take("value") else { return Some(0) };
        let value = field.f64()?;
        if !(0.0..=100.0).contains(&value) {
            field.error(format!("{value} is not from 0 to 100"), "write a percentage");
            return None;
        }
        let whole = value.round();
        if (whole - value).abs() > f64::EPSILON {
            field.approximated(format!("{value} % is taken as {whole} %"), "write a whole number");
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Some(whole as u8)
    }
}

impl Message<'_> {
    pub(crate) fn bool(&mut self, name: &str) -> Option<bool> {
        self.take(name)?.bool()
    }

    pub(crate) fn is(&mut self, name: &str) -> bool {
        self.bool(name).unwrap_or(false)
    }

    pub(crate) fn u32(&mut self, name: &str) -> Option<u32> {
        self.take(name)?.u32()
    }

    pub(crate) fn u32_in(&mut self, name: &str, range: RangeInclusive<u32>) -> Option<u32> {
        let range = i64::from(*range.start())..=i64::from(*range.end());
        self.take(name)?.number_in(range).and_then(|it| u32::try_from(it).ok())
    }

    /// A percentage as a whole number from 0 to 100.
    pub(crate) fn u8_percent(&mut self, name: &str) -> Option<u8> {
        self.u32_in(name, 0..=100).and_then(|it| u8::try_from(it).ok())
    }

    pub(crate) fn duration(&mut self, name: &str) -> Option<Duration> {
        self.take(name)?.duration()
    }

    /// A duration that must be longer than nothing.
    pub(crate) fn positive_duration(&mut self, name: &str) -> Option<Duration> {
        let field = self.take(name)?;
        let duration = field.duration()?;
        if duration.is_zero() {
            field.error("must be longer than 0s", "write a longer one");
            return None;
        }
        Some(duration)
    }

    pub(crate) fn choice<T: Copy>(&mut self, name: &str, choices: &[(&str, i64, T)]) -> Option<T> {
        self.take(name)?.choice(choices)
    }

    /// `RuntimeFeatureFlag`.
    pub(crate) fn runtime_flag(&mut self, name: &str) -> Option<bool> {
        let mut it = self.message(name, &schema::RUNTIME_FLAG)?;
        it.refuse_runtime_key();
        it.bool("default_value")
    }

    /// A key of Envoy's runtime, which has no meaning without one: the default holds in Envoy too until somebody sets it.
    pub(crate) fn refuse_runtime_key(&mut self) {
        self.skip(&["runtime_key"]);
    }
}

fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => {
            #[expect(clippy::cast_possible_truncation)]
            let integral = |it: f64| (it.fract() == 0.0 && it.abs() < 1e15).then_some(it as i64);
            number.as_i64().or_else(|| number.as_f64().and_then(integral))
        }
        Value::String(text) => text.parse::<i64>().ok(),
        _ => None,
    }
}

/// Protobuf's JSON form: decimal seconds with at most nine digits of a fraction, and `s`.
fn parse_duration(text: &str) -> Option<Duration> {
    let number = text.strip_suffix('s')?;
    let (seconds, fraction) = number.split_once('.').unwrap_or((number, ""));
    let is_digits = |it: &str| it.bytes().all(|b| b.is_ascii_digit());
    if seconds.is_empty() || !is_digits(seconds) || !is_digits(fraction) || fraction.len() > 9 {
        return None;
    }
    if number.ends_with('.') {
        return None;
    }
    let seconds = seconds.parse::<u64>().ok().filter(|it| *it <= DURATION_SECONDS_MAX)?;
    let nanos = format!("{fraction:0<9}").parse::<u32>().ok()?;
    Some(Duration::new(seconds, nanos).min(NEVER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_decimal_seconds() {
        let parsed = |text| parse_duration(text);
        assert_eq!(parsed("1.5s"), Some(Duration::from_millis(1500)));
        assert_eq!(parsed("0s"), Some(Duration::ZERO));
        assert_eq!(parsed("0.000000001s"), Some(Duration::from_nanos(1)));
        for wrong in
            ["", "s", "1", "1m", "-1s", "1.s", ".5s", "1.0000000001s", "1e3s", "9999999999999s"]
        {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
    }
}
