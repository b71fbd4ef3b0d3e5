//! The filters of one level, made ready; one for all workers.

use std::sync::Arc;

use codec::message::HeaderMap;
use proxy_config::{Fault, FilterSetting, Filters};
use rand::Rng;
use traffic::{
    ConcurrencyLimiter, CorsPolicy, FaultState, HeaderCondition, Injection, RateLimiter,
    RequestView,
};

use super::Compressing;

/// The filters of a listener or of a route.
#[derive(Debug)]
pub(crate) struct FilterSet {
    rate_limit: FilterSetting<Arc<RateLimiter>>,
    fault: FilterSetting<Arc<FaultFilter>>,
    cors: FilterSetting<CorsPolicy>,
    compression: FilterSetting<Compressing>,
    concurrency: FilterSetting<Arc<ConcurrencyLimiter>>,
}

/// Faults with what is known of those under way.
#[derive(Debug)]
pub(crate) struct FaultFilter {
    settings: Fault,
    conditions: Vec<HeaderCondition>,
    state: Arc<FaultState>,
}

impl FilterSet {
    /// `None` when nothing is said. What is known of requests (tokens, limits) is taken from `previous` where the
    /// settings are the same. What cannot be done is left out and added to `problems`.
    pub(crate) fn new(
        filters: &Filters,
        previous: Option<&FilterSet>,
        now_ns: u64,
        problems: &mut Vec<String>,
    ) -> Option<FilterSet> {
        if *filters == Filters::default() {
            return None;
        }
        let kept_limiter = previous.and_then(|it| on(&it.rate_limit));
        let kept_fault = previous.and_then(|it| on(&it.fault));
        let kept_concurrency = previous.and_then(|it| on(&it.concurrency));
        Some(FilterSet {
            rate_limit: map(&filters.local_rate_limit, |settings| {
                Some(match kept_limiter {
                    Some(kept) if kept.settings() == settings => kept.clone(),
                    _ => Arc::new(RateLimiter::new(settings.clone(), now_ns)),
                })
            }),
            fault: map(&filters.fault, |settings| match kept_fault {
                Some(kept) if kept.settings == *settings => Some(kept.clone()),
                _ => FaultFilter::new(settings, problems).map(Arc::new),
            }),
            cors: map(&filters.cors, |settings| {
                let (policy, refused) = CorsPolicy::new(settings);
                problems.extend(refused);
                Some(policy)
            }),
            compression: map(&filters.compression, |settings| Some(Compressing::new(settings))),
            concurrency: map(&filters.adaptive_concurrency, |settings| {
                Some(match kept_concurrency {
                    Some(kept) if kept.settings() == settings => kept.clone(),
                    _ => Arc::new(ConcurrencyLimiter::new(*settings, now_ns)),
                })
            }),
        })
    }

    /// Each of these: what holds for a route on a listener.
    pub(super) fn rate_limit<'a>(
        listener: Option<&'a FilterSet>,
        route: Option<&'a FilterSet>,
    ) -> Option<&'a Arc<RateLimiter>> {
        holds(listener.map(|it| &it.rate_limit), route.map(|it| &it.rate_limit))
    }

    pub(super) fn fault<'a>(
        listener: Option<&'a FilterSet>,
        route: Option<&'a FilterSet>,
    ) -> Option<&'a Arc<FaultFilter>> {
        holds(listener.map(|it| &it.fault), route.map(|it| &it.fault))
    }

    pub(super) fn cors<'a>(
        listener: Option<&'a FilterSet>,
        route: Option<&'a FilterSet>,
    ) -> Option<&'a CorsPolicy> {
        holds(listener.map(|it| &it.cors), route.map(|it| &it.cors))
    }

    pub(super) fn compression<'a>(
        listener: Option<&'a FilterSet>,
        route: Option<&'a FilterSet>,
    ) -> Option<&'a Compressing> {
        holds(listener.map(|it| &it.compression), route.map(|it| &it.compression))
    }

    pub(super) fn concurrency<'a>(
        listener: Option<&'a FilterSet>,
        route: Option<&'a FilterSet>,
    ) -> Option<&'a Arc<ConcurrencyLimiter>> {
        holds(listener.map(|it| &it.concurrency), route.map(|it| &it.concurrency))
    }
}

impl FaultFilter {
    /// A fault for requests with headers that cannot be looked for is left out: it would hit all of them.
    fn new(settings: &Fault, problems: &mut Vec<String>) -> Option<Self> {
        let made: Result<Vec<_>, _> = settings.headers.iter().map(HeaderCondition::new).collect();
        match made {
            Ok(conditions) => {
                let state = Arc::new(FaultState::default());
                Some(Self { settings: settings.clone(), conditions, state })
            }
            Err(why) => {
                problems.push(format!("fault: {why}"));
                None
            }
        }
    }

    pub(super) fn decide<R: Rng + ?Sized>(
        &self,
        request: &RequestView<'_, HeaderMap>,
        rng: &mut R,
    ) -> Option<Injection> {
        let meets = || self.conditions.iter().all(|it| it.holds(request));
        self.state.decide(&self.settings, request.fields, meets, rng)
    }
}

fn on<T>(setting: &FilterSetting<T>) -> Option<&T> {
    match setting {
        FilterSetting::On(it) => Some(it),
        FilterSetting::Inherit | FilterSetting::Off => None,
    }
}

fn map<T, U>(setting: &FilterSetting<T>, make: impl FnOnce(&T) -> Option<U>) -> FilterSetting<U> {
    match setting {
        FilterSetting::Inherit => FilterSetting::Inherit,
        FilterSetting::Off => FilterSetting::Off,
        FilterSetting::On(it) => make(it).map_or(FilterSetting::Off, FilterSetting::On),
    }
}

fn holds<'a, T>(
    listener: Option<&'a FilterSetting<T>>,
    route: Option<&'a FilterSetting<T>>,
) -> Option<&'a T> {
    match (route, listener) {
        (Some(route), Some(listener)) => route.or(listener),
        (Some(only), None) | (None, Some(only)) => on(only),
        (None, None) => None,
    }
}
