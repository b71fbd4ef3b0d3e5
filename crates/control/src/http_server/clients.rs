//! How many connections each client address has.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

/// What a client that has too many is told, as Consul tells it.
pub(super) const REFUSAL: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\n\
Content-Type: text/plain\r\nContent-Length: 80\r\nConnection: close\r\n\r\n\
Your IP is issuing too many concurrent connections, please rate limit your calls";

/// Connections by client address.
type Counts = Arc<Mutex<HashMap<IpAddr, usize>>>;

/// The connections of all clients.
#[derive(Clone, Debug)]
pub(crate) struct Clients {
    /// Most of one address; 0: no limit.
    most: usize,
    counts: Counts,
}

impl Clients {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, counts: Arc::default() }
    }

    /// Counts a connection; `None` when its address has too many already.
    pub(super) fn enter(&self, from: Option<IpAddr>) -> Option<Entered> {
        let (Some(ip), 1..) = (from, self.most) else { return Some(Entered(None)) };
        let mut counts = self.counts.lock();
        let count = counts.entry(ip).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Entered(Some((ip, Arc::clone(&self.counts)))))
    }
}

/// A counted connection; dropping it takes it from the count.
#[derive(Debug)]
pub(super) struct Entered(Option<(IpAddr, Counts)>);

impl Drop for Entered {
    fn drop(&mut self) {
        let Some((ip, counts)) = &self.0 else { return };
        let mut counts = counts.lock();
        if let Some(count) = counts.get_mut(ip) {
            *count -= 1;
            if *count == 0 {
                counts.remove(ip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_connections_and_others_their_own() {
        let ip = |last| Some(IpAddr::from([127, 0, 0, last]));
        let clients = Clients::new(2);
        let first = clients.enter(ip(1)).unwrap();
        let _second = clients.enter(ip(1)).unwrap();
        assert!(clients.enter(ip(1)).is_none());
        assert!(clients.enter(ip(2)).is_some() && clients.enter(None).is_some());
        drop(first);
        let _third = clients.enter(ip(1)).unwrap();
        assert_eq!(clients.counts.lock().len(), 1);
        let unlimited = Clients::new(0);
        let many: Vec<_> = (0..1000).map(|_| unlimited.enter(ip(1)).unwrap()).collect();
        assert!(unlimited.counts.lock().is_empty() && many.len() == 1000);
    }

    #[test]
    fn the_refusal_says_how_long_it_is() {
        let text = std::str::from_utf8(REFUSAL).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())));
    }
}
