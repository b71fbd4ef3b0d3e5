//! Addresses that a thread has looked up lately, so that a burst of connections asks once.

use std::cell::RefCell;
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use foldhash::HashMap;

use super::Lookup;

/// How long an answer is used without asking again: that of Envoy's `dns_refresh_rate`.
const FRESH: Duration = Duration::from_secs(5);
/// Names that a thread remembers, of at most 255 bytes, with some addresses each: some 400 KB.
const NAMES_MAX: usize = 1024;

struct Answer {
    at: Instant,
    addresses: Vec<IpAddr>,
}

thread_local! {
    static ANSWERS: RefCell<HashMap<String, Answer>> = RefCell::default();
}

/// The addresses of a name. When it cannot be looked up any more, the last answer goes on.
pub(crate) async fn addresses(lookup: &Lookup, name: &str) -> io::Result<Vec<IpAddr>> {
    let now = runtime::monotonic();
    let known = ANSWERS.with_borrow(|answers| {
        let answer = answers.get(name)?;
        let is_fresh = now.saturating_duration_since(answer.at) < FRESH;
        Some((is_fresh, answer.addresses.clone()))
    });
    if let Some((true, addresses)) = known {
        return Ok(addresses);
    }
    let found = lookup.find(name).await.and_then(|addresses| match addresses.is_empty() {
        true => Err(io::ErrorKind::NotFound.into()),
        false => Ok(addresses),
    });
    match (found, known) {
        (Ok(addresses), _) => {
            remember(name, Answer { at: now, addresses: addresses.clone() });
            Ok(addresses)
        }
        (Err(_), Some((_, last))) => Ok(last),
        (Err(error), None) => Err(error),
    }
}

/// Looks the name up again for the next connection: nobody answers where it points to.
pub(crate) fn forget(name: &str) {
    ANSWERS.with_borrow_mut(|answers| answers.remove(name));
}

fn remember(name: &str, answer: Answer) {
    ANSWERS.with_borrow_mut(|answers| {
        if answers.len() >= NAMES_MAX {
            let now = answer.at;
            answers.retain(|_, it| now.saturating_duration_since(it.at) < FRESH);
        }
        if answers.len() < NAMES_MAX {
            answers.insert(name.to_owned(), answer);
        }
    });
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_name_is_asked_for_once_and_again_when_it_was_forgotten() {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let lookup = Lookup::new(move |_| {
            let nth = count.fetch_add(1, Ordering::SeqCst);
            Box::pin(async move {
                match nth {
                    0 => Ok(vec!["10.0.0.1".parse().unwrap(), "::1".parse().unwrap()]),
                    _ => Err(io::ErrorKind::NotFound.into()),
                }
            })
        });
        for _ in 0..3 {
            assert_eq!(addresses(&lookup, "web.test").await.unwrap().len(), 2);
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        forget("web.test");
        assert!(addresses(&lookup, "web.test").await.is_err());
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }
}
