use codec::message::HeaderMap;

/// Read access to headers, whatever a shell keeps them in.
pub trait HeaderLookup {
    /// First value of a header, by its name in lower case; `None` too when it is not text.
    fn header(&self, name: &str) -> Option<&str>;
}

impl HeaderLookup for HeaderMap {
    fn header(&self, name: &str) -> Option<&str> {
        self.get(name)?.to_str().ok()
    }
}

/// No headers.
impl HeaderLookup for () {
    fn header(&self, _name: &str) -> Option<&str> {
        None
    }
}

/// The whole number that a header says; `None` when it says none.
pub(crate) fn number<T: std::str::FromStr>(
    headers: &(impl HeaderLookup + ?Sized),
    name: &str,
) -> Option<T> {
    headers.header(name)?.trim().parse().ok()
}
