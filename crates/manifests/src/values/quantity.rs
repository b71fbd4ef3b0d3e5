//! Kubernetes' quantities: `512Mi`, `1.5G`, `500m`, `2`, `1e3`.

use std::ops::RangeInclusive;

use crate::fields::{Field, Report};
use crate::node::Content;

/// Thousand millionths, the smallest unit of a quantity.
const BILLION: u128 = 1_000_000_000;

/// A quantity, never negative.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Quantity {
    billionths: u128,
}

impl Quantity {
    /// Reads Kubernetes' notation. Digits beyond a billionth are rounded up, as there.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix('+').unwrap_or(text);
        let digits_end = text.find(|it: char| !it.is_ascii_digit() && it != '.');
        let (number, suffix) = text.split_at(digits_end.unwrap_or(text.len()));
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        // 20 digits hold all that 64 bits do.
        if (whole.len() + fraction.len()) == 0
            || whole.len() > 20
            || fraction.len() > 20
            || fraction.contains('.')
        {
            return None;
        }
        let (numerator, denominator) = scale(suffix)?;
        let places = 10u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
        let scaled = digits.checked_mul(numerator)?.checked_mul(BILLION);
        let billionths = match scaled {
            Some(scaled) => scaled.div_ceil(places.checked_mul(denominator)?),
            // What does not fit before the division is far beyond any bound, unless it has a long fraction.
            None => digits.div_ceil(places).checked_mul(numerator)?.checked_mul(BILLION)?,
        };
        Some(Self { billionths })
    }

    /// In whole units, rounded up.
    pub(crate) fn units(self) -> u128 {
        self.billionths.div_ceil(BILLION)
    }

    /// In thousandths of a unit, rounded up.
    pub(crate) fn thousandths(self) -> u128 {
        self.billionths.div_ceil(BILLION / 1000)
    }
}

/// What a suffix multiplies by, as a fraction.
fn scale(suffix: &str) -> Option<(u128, u128)> {
    let decimal = |exponent: u32| Some((10u128.pow(exponent), 1));
    match suffix {
        "n" => Some((1, BILLION)),
        "u" => Some((1, 1_000_000)),
        "m" => Some((1, 1000)),
        "" => Some((1, 1)),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => Some((1 << 10, 1)),
        "Mi" => Some((1 << 20, 1)),
        "Gi" => Some((1 << 30, 1)),
        "Ti" => Some((1 << 40, 1)),
        "Pi" => Some((1 << 50, 1)),
        "Ei" => Some((1 << 60, 1)),
        other => match other.strip_prefix(['e', 'E'])?.parse::<i32>().ok()? {
            exponent @ 0..=18 => decimal(exponent.unsigned_abs()),
            exponent @ -9..0 => Some((1, 10u128.pow(exponent.unsigned_abs()))),
            _ => None,
        },
    }
}

/// Reads a number of bytes, rounded up.
pub(crate) fn bytes(
    field: &Field<'_>,
    bounds: RangeInclusive<u64>,
    report: &mut Report<'_>,
) -> Option<u64> {
    let (quantity, text) = quantity(field, "512Mi", report)?;
    let value = u64::try_from(quantity.units()).ok().filter(|it| bounds.contains(it));
    if value.is_none() {
        let remedy = match text.strip_suffix('m') {
            Some(number) => format!("`m` means a thousandth: write {number}Mi"),
            None => format!("write from {} to {}", binary(*bounds.start()), binary(*bounds.end())),
        };
        report.error(&field.at, format!("`{text}` bytes are out of bounds"), remedy);
    }
    value
}

/// Reads a number of thousandths, rounded up.
pub(crate) fn thousandths(
    field: &Field<'_>,
    bounds: RangeInclusive<u32>,
    report: &mut Report<'_>,
) -> Option<u32> {
    let (quantity, text) = quantity(field, "500m", report)?;
    let value = u32::try_from(quantity.thousandths()).ok().filter(|it| bounds.contains(it));
    if value.is_none() {
        let remedy = format!("write from {}m to {}", bounds.start(), bounds.end() / 1000);
        report.error(&field.at, format!("`{text}` is out of bounds"), remedy);
    }
    value
}

/// A quantity in either form, number or string, with how it was written.
fn quantity(
    field: &Field<'_>,
    example: &str,
    report: &mut Report<'_>,
) -> Option<(Quantity, String)> {
    let text = match &field.node.content {
        Content::Number(number) => number.to_string(),
        Content::String(text) => text.clone(),
        Content::Null | Content::Bool(_) | Content::List(_) | Content::Map(_) => {
            field.text(report)?.to_owned()
        }
    };
    let Some(quantity) = Quantity::parse(&text) else {
        let remedy = format!("write for example {example}; suffixes are m, k, M, G, Ki, Mi and Gi");
        report.error(&field.at, format!("`{text}` is not a quantity"), remedy);
        return None;
    };
    Some((quantity, text))
}

/// With the largest binary suffix that leaves a whole number.
pub(crate) fn binary(bytes: u64) -> String {
    let suffixes = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    let steps = if bytes == 0 { 0 } else { bytes.trailing_zeros() / 10 };
    let suffix = suffixes.get(steps as usize).copied().unwrap_or_default();
    format!("{}{suffix}", bytes >> (10 * steps))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_kubernetes_reads_them() {
        for (text, units, thousandths) in [
            ("0", 0, 0),
            ("2", 2, 2000),
            ("0.5", 1, 500),
            (".5", 1, 500),
            ("5.", 5, 5000),
            ("+5", 5, 5000),
            ("500m", 1, 500),
            ("1.5k", 1500, 1_500_000),
            ("512Mi", 512 << 20, 512_000 << 20),
            ("1.5Gi", 3 << 29, 3000 << 29),
            ("1e3", 1000, 1_000_000),
            ("1E3", 1000, 1_000_000),
            ("5e-1", 1, 500),
            ("1E", 10u128.pow(18), 10u128.pow(21)),
            ("1n", 1, 1),
            ("1500u", 1, 2),
            ("0.00000000001", 1, 1),
            ("15Ei", 15 << 60, 15_000 << 60),
        ] {
            let quantity = Quantity::parse(text).expect(text);
            assert_eq!((quantity.units(), quantity.thousandths()), (units, thousandths), "{text}");
        }
        for bad in ["", ".", "-1", "1 Mi", "512MB", "1K", "1mi", "1..2", "e3", "1e99", "1e", "Mi"] {
            assert_eq!(Quantity::parse(bad), None, "{bad}");
        }
        assert_eq!(Quantity::parse(&"9".repeat(21)), None);
        Quantity::parse(&format!("{0}.{0}Ei", "9".repeat(20)));
    }

    #[test]
    fn bytes_are_written_with_the_largest_whole_suffix() {
        for (bytes, text) in [(0, "0"), (1000, "1000"), (1 << 20, "1Mi"), (3 << 29, "1536Mi")] {
            assert_eq!(binary(bytes), text);
        }
    }
}
