use proxy_config::Mirror;
use rand::Rng;

use crate::rate_limit::is_drawn;

/// Those of a route's mirrors that get a copy of one request; each is drawn for itself.
pub fn mirrors<'a, R: Rng + ?Sized>(
    mirrors: &'a [Mirror],
    rng: &'a mut R,
) -> impl Iterator<Item = &'a Mirror> {
    mirrors.iter().filter(move |it| is_drawn(it.per_million, rng))
}

/// The host of a copy ([`Mirror::shadow_host`]): `web-shadow` of `web`, `web-shadow:80` of
/// `web:80`. As in Envoy the addition is at the end of what has more than one colon, an IPv6
/// address.
#[must_use]
pub fn shadow_host(host: &str) -> String {
    match host.split_once(':') {
        Some((name, port)) if !port.contains(':') => format!("{name}-shadow:{port}"),
        Some(_) | None => format!("{host}-shadow"),
    }
}

#[cfg(test)]
mod tests {
    use proxy_config::Mirror;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::{mirrors, shadow_host};

    fn mirror(cluster: &str, per_million: u32) -> Mirror {
        Mirror { cluster: cluster.to_owned(), per_million, shadow_host: true }
    }

    #[test]
    fn each_mirror_gets_its_share_of_the_requests() {
        let all = [mirror("all", 1_000_000), mirror("none", 0), mirror("some", 100_000)];
        let mut rng = StdRng::seed_from_u64(7);
        let mut counts = [0; 3];
        for _ in 0..10_000 {
            for it in mirrors(&all, &mut rng) {
                counts[all.iter().position(|other| other == it).unwrap()] += 1;
            }
        }
        assert_eq!(counts[..2], [10_000, 0]);
        // 1,000 expected, standard deviation 30: five of them.
        assert!((850..=1150).contains(&counts[2]), "{counts:?}");
    }

    #[test]
    fn the_host_of_a_copy_keeps_its_port() {
        assert_eq!(shadow_host("web"), "web-shadow");
        assert_eq!(shadow_host("web:8080"), "web-shadow:8080");
        assert_eq!(shadow_host("[::1]:8080"), "[::1]:8080-shadow");
    }
}
