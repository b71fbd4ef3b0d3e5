//! Which locality of a priority a request goes to: by the localities' weights
//! (reference/load-balancing.md 2.11) or by where the proxy is (2.12).

use proxy_config::{EndpointHealth, Endpoints, Place, ZoneAware};

/// Endpoints of one locality.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Presence {
    /// Its weight.
    pub weight: u32,
    /// All its endpoints.
    pub all: usize,
    /// Those that can be used.
    pub usable: usize,
}

/// Weights of localities as they count: less than overprovisioning makes up for, and a locality's
/// weight shrinks with what of it can be used: `weight × min(1, overprovisioning × usable / all)`.
/// In units of 1/65536 of the greatest weight, 0 for none.
pub(crate) fn effective_weights(
    localities: &[Presence],
    overprovisioning_percent: u32,
) -> Vec<u32> {
    let exact = |it: &Presence| {
        if it.usable == 0 || it.all == 0 {
            return 0.0;
        }
        let available = f64::from(overprovisioning_percent) / 100.0 * it.usable as f64;
        f64::from(it.weight) * (available / it.all as f64).min(1.0)
    };
    let weights: Vec<f64> = localities.iter().map(exact).collect();
    // Whole weights stay whole, so that few localities with simple weights get a short cycle.
    if weights.iter().all(|it| it.fract() == 0.0 && *it <= 65_536.0) {
        return weights.iter().map(|it| *it as u32).collect();
    }
    let greatest = weights.iter().copied().fold(0.0, f64::max);
    let scaled = |it: f64| if it > 0.0 { (it / greatest * 65_536.0).round().max(1.0) } else { 0.0 };
    weights.iter().map(|it| scaled(*it) as u32).collect()
}

/// Where the proxy and its likes are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Home {
    place: Place,
    /// Healthy endpoints of the cluster that the proxy is an endpoint of, by place.
    likes: Vec<(Place, usize)>,
    /// All endpoints of it, healthy or not.
    all: usize,
}

impl Home {
    pub(crate) fn new(place: &Place, local: &Endpoints) -> Self {
        let mut likes: Vec<(Place, usize)> =
            local.localities.iter().map(|it| (it.place.clone(), 0)).collect();
        for endpoint in &local.endpoints {
            let healthy = matches!(endpoint.health, EndpointHealth::Healthy);
            if let Some(like) = likes.get_mut(usize::from(endpoint.locality)) {
                like.1 += usize::from(healthy);
            }
        }
        Self { place: place.clone(), likes, all: local.endpoints.len() }
    }

    fn count_at(&self, place: &Place) -> usize {
        self.likes.iter().filter(|it| it.0 == *place).map(|it| it.1).sum()
    }

    fn count(&self) -> usize {
        self.likes.iter().map(|it| it.1).sum()
    }
}

/// Shares of the localities of a priority for a proxy at one place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum ZoneRouting {
    /// All stay in this locality.
    Direct(usize),
    /// What is too much for the own locality goes to those that have more than their share.
    Residual {
        /// The own locality and its share of 10,000.
        own: Option<(usize, u64)>,
        /// What each locality has over, summed up.
        residual: Vec<u64>,
    },
}

impl ZoneRouting {
    /// How requests are shared among localities with so many healthy endpoints each; `None` when
    /// places do not matter. Envoy's `regenerateLocalityRoutingStructures`.
    pub(crate) fn new(
        zone: &ZoneAware,
        home: &Home,
        upstream: &[(&Place, usize)],
        panic_threshold_percent: u8,
    ) -> Option<Self> {
        let total: usize = upstream.iter().map(|it| it.1).sum();
        let own = upstream.iter().position(|it| *it.0 == home.place);
        let forced = zone.force_local_min.zip(own).filter(|(least, own)| {
            let there = upstream[*own].1;
            there > 0 && there >= *least as usize
        });
        let local_panic = 100 * home.count() < usize::from(panic_threshold_percent) * home.all;
        if upstream.iter().filter(|it| it.1 > 0).count() < 2
            || home.count_at(&home.place) == 0
            || (home.likes.len() < 2 && forced.is_none())
            || total < zone.endpoints_min as usize
            || local_panic
        {
            return None;
        }
        if let Some((_, own)) = forced {
            return Some(Self::Direct(own));
        }
        let local_share = |place| (10_000 * home.count_at(place) / home.count()) as u64;
        let share = |count: usize| (10_000 * count / total) as u64;
        if let Some(own) = own
            && upstream[own].1 > 0
            && share(upstream[own].1) >= local_share(&home.place)
        {
            return Some(Self::Direct(own));
        }
        let mut sum = 0;
        let residual = upstream.iter().enumerate().map(|(idx, (place, count))| {
            if Some(idx) != own {
                sum += share(*count).saturating_sub(local_share(place));
            }
            sum
        });
        let residual = residual.collect();
        let own =
            own.map(|own| (own, share(upstream[own].1) * 10_000 / local_share(&home.place).max(1)));
        Some(Self::Residual { own, residual })
    }

    /// The locality for two random numbers.
    pub(crate) fn at(&self, first: u64, second: u64) -> usize {
        match self {
            Self::Direct(own) => *own,
            Self::Residual { own: Some((own, share)), .. } if first % 10_000 < *share => *own,
            Self::Residual { residual, .. } => match residual.last().copied() {
                // All are full to the 10,000th: rounding. Any will do.
                None | Some(0) => (second % residual.len().max(1) as u64) as usize,
                Some(sum) => residual.partition_point(|it| *it <= second % sum),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use proxy_config::{Endpoint, Endpoints, Locality, Place, ZoneAware};

    use super::{Home, Presence, ZoneRouting, effective_weights};

    const ZONE: ZoneAware = ZoneAware {
        enabled_percent: 100,
        endpoints_min: 6,
        fail_on_panic: false,
        force_local_min: None,
    };

    fn place(zone: &str) -> Place {
        Place { zone: zone.to_owned(), ..Place::default() }
    }

    fn home(zone: &str, local: &[(&str, usize)]) -> Home {
        let locality = |it: &(&str, usize)| Locality { place: place(it.0), ..Locality::default() };
        let mut endpoints = Vec::new();
        for (idx, (_, count)) in (0u16..).zip(local) {
            endpoints
                .extend((0..*count).map(|_| Endpoint { locality: idx, ..Endpoint::default() }));
        }
        let localities = local.iter().map(locality).collect();
        Home::new(&place(zone), &Endpoints { endpoints, localities, ..Endpoints::default() })
    }

    fn routing(zone: &ZoneAware, home: &Home, upstream: &[(&str, usize)]) -> Option<ZoneRouting> {
        let places: Vec<Place> = upstream.iter().map(|it| place(it.0)).collect();
        let upstream: Vec<_> = places.iter().zip(upstream).map(|it| (it.0, it.1.1)).collect();
        ZoneRouting::new(zone, home, &upstream, 0)
    }

    #[test]
    fn all_stay_in_a_zone_that_has_its_share() {
        let home = home("a", &[("a", 2), ("b", 2)]);
        assert_eq!(routing(&ZONE, &home, &[("b", 5), ("a", 5)]), Some(ZoneRouting::Direct(1)));
    }

    /// The example in Envoy's source: local 40, 40, 20 %, upstream 25, 50, 25 %.
    #[test]
    fn what_is_too_much_goes_where_there_is_more_than_enough() {
        let home = home("a", &[("a", 4), ("b", 4), ("c", 2)]);
        let routing = routing(&ZONE, &home, &[("a", 5), ("b", 10), ("c", 5)]).unwrap();
        let residual = vec![0, 1000, 1500];
        assert_eq!(routing, ZoneRouting::Residual { own: Some((0, 6250)), residual });
        assert_eq!(routing.at(6249, 0), 0);
        assert_eq!(routing.at(6250, 999), 1);
        assert_eq!(routing.at(6250, 1000), 2);
        assert_eq!(routing.at(9999, 2499), 1);
    }

    #[test]
    fn a_zone_without_endpoints_sends_all_to_the_others() {
        let home = home("a", &[("a", 5), ("b", 5)]);
        let routing = routing(&ZONE, &home, &[("b", 4), ("c", 4)]).unwrap();
        assert_eq!(routing, ZoneRouting::Residual { own: None, residual: vec![0, 5000] });
        assert_eq!(routing.at(0, 7), 1);
    }

    #[test]
    fn places_do_not_matter_in_small_or_unknown_surroundings() {
        let two = home("a", &[("a", 2), ("b", 2)]);
        let none = |home: &Home, upstream: &[(&str, usize)]| {
            assert_eq!(routing(&ZONE, home, upstream), None, "{upstream:?}");
        };
        none(&two, &[("a", 3), ("b", 2)]);
        none(&two, &[("a", 9), ("b", 0)]);
        none(&home("a", &[("a", 4)]), &[("a", 5), ("b", 5)]);
        none(&home("c", &[("a", 4), ("b", 4)]), &[("a", 5), ("b", 5)]);
    }

    #[test]
    fn the_zone_can_be_forced_while_it_has_enough() {
        let home = home("a", &[("a", 9), ("b", 1)]);
        let forced = ZoneAware { force_local_min: Some(2), ..ZONE };
        let upstream = [("a", 2), ("b", 8)];
        assert_eq!(routing(&forced, &home, &upstream), Some(ZoneRouting::Direct(0)));
        let more = ZoneAware { force_local_min: Some(3), ..ZONE };
        assert!(matches!(routing(&more, &home, &upstream), Some(ZoneRouting::Residual { .. })));
    }

    #[test]
    fn a_locality_weight_shrinks_with_what_can_be_used() {
        let presence = |weight, usable| Presence { weight, all: 10, usable };
        assert_eq!(effective_weights(&[presence(3, 10), presence(1, 8)], 140), [3, 1]);
        assert_eq!(effective_weights(&[presence(1, 10), presence(1, 5)], 140), [65_536, 45_875]);
        assert_eq!(effective_weights(&[presence(1, 0), presence(0, 10)], 140), [0, 0]);
    }
}
