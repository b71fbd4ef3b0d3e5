//! Sizes that both ends agree on, and the units in which tools print.

/// Bytes of a small answer.
pub(super) const BODY_SMALL: usize = 1 << 10;
/// Bytes of a large answer.
pub(super) const BODY_LARGE: usize = 10 << 20;
/// Bytes of a body that is posted.
pub(super) const BODY_POSTED: usize = 16 << 10;
/// Bytes of a gRPC message, with its five bytes of prefix.
pub(super) const GRPC_MESSAGE: usize = 5 + 64;

/// A gRPC message: not compressed, its length, its bytes (gRPC over HTTP/2, "Length-Prefixed-Message").
pub(super) fn grpc_message() -> Vec<u8> {
    let length = GRPC_MESSAGE - 5;
    let mut message = vec![0];
    message.extend((length as u32).to_be_bytes());
    message.extend(std::iter::repeat_n(b'm', length));
    message
}

/// Reads `1.43ms` and its like, in seconds.
pub(super) fn seconds(text: &str) -> Option<f64> {
    let text = text.trim();
    let unit = text.find(|it: char| it.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(unit);
    let scale = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * scale)
}

/// The value below which the given share of the sorted values lies; 0 for none.
pub(super) fn percentile(sorted: &[u32], share: f64) -> f64 {
    let index = (sorted.len().saturating_sub(1) as f64 * share).round() as usize;
    sorted.get(index).copied().map_or(0.0, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_every_unit() {
        let read: Vec<Option<f64>> =
            ["250us", "1.50ms", "2.00s", "1.5m", "12", "ms", "3d"].map(seconds).to_vec();
        let expected = [Some(250e-6), Some(1.5e-3), Some(2.0), Some(90.0), None, None, None];
        for (read, expected) in read.iter().zip(expected) {
            match (read, expected) {
                (Some(read), Some(expected)) => assert!((read - expected).abs() < 1e-12),
                (read, expected) => assert_eq!(*read, expected),
            }
        }
    }

    #[test]
    fn percentiles_are_of_the_sorted_values() {
        let values: Vec<u32> = (0..=100).collect();
        assert_eq!(percentile(&values, 0.5), 50.0);
        assert_eq!(percentile(&values, 0.99), 99.0);
        assert_eq!(percentile(&[], 0.5), 0.0);
    }

    #[test]
    fn a_grpc_message_carries_its_length() {
        let message = grpc_message();
        assert_eq!(message.len(), GRPC_MESSAGE);
        assert_eq!(&message[..5], [0, 0, 0, 0, 64]);
    }
}
