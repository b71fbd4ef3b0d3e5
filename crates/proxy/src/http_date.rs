//! The value of the header `Date`, made once per second.

use std::cell::Cell;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;

/// The date as it was made last.
#[derive(Default)]
pub(crate) struct HttpDate {
    text: Cell<[u8; HttpDate::BYTES]>,
    /// `None` before the first.
    until: Cell<Option<Instant>>,
}

impl HttpDate {
    /// `Thu, 01 Jan 1970 00:00:00 GMT` (RFC 9110, section 5.6.7).
    pub(crate) const BYTES: usize = 29;

    /// The date at `now`, which is about now: it may be the one of a second ago.
    pub(crate) fn at(&self, now: Instant) -> [u8; Self::BYTES] {
        if self.until.get().is_none_or(|until| until <= now) {
            let unix_ms = runtime::unix_ms();
            self.text.set(text(unix_ms));
            self.until.set(Some(now + Duration::from_millis(1000 - unix_ms % 1000)));
        }
        self.text.get()
    }
}

fn text(unix_ms: u64) -> [u8; HttpDate::BYTES] {
    let time = i64::try_from(unix_ms).ok().and_then(|it| Timestamp::from_millisecond(it).ok());
    let mut text = Vec::with_capacity(HttpDate::BYTES);
    let printer = DateTimePrinter::new();
    // Fails only for years that the form has no room for.
    let printed = printer.print_timestamp_rfc9110(&time.unwrap_or_default(), &mut text);
    match (printed, text.try_into()) {
        (Ok(()), Ok(text)) => text,
        (Ok(()) | Err(_), _) => *b"Thu, 01 Jan 1970 00:00:00 GMT",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_has_the_fixed_form() {
        assert_eq!(&text(0), b"Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(&text(784_111_777_999), b"Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(&text(u64::MAX), b"Thu, 01 Jan 1970 00:00:00 GMT");
    }
}
