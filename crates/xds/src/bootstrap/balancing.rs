//! Balancing policies in both of Envoy's forms, and what narrows endpoints down before.

use proxy_config::{
    Balancing, HashFunction, HashKey, LeastRequest, Maglev, Narrowing, PeakEwma, RingHash,
    SlowStart, SubsetFallback, SubsetSelector, Subsets, ZoneAware,
};

use super::fields::{Field, Message};
use super::{matching, schema};

/// Envoy's `healthy_panic_threshold`.
const PANIC_PERCENT: u8 = 50;
/// Envoy's default for zone-aware routing.
const ZONE_AWARE: ZoneAware = ZoneAware {
    enabled_percent: 100,
    endpoints_min: 6,
    fail_on_panic: false,
    force_local_min: None,
};

/// What is known of a cluster before its policy is read.
#[derive(Clone, Copy)]
pub(crate) struct Spread {
    /// Its endpoints have different weights.
    pub(crate) has_weights: bool,
    /// The file says which cluster the proxy itself is a part of.
    pub(crate) has_local_cluster: bool,
}

/// How the endpoints of a cluster are chosen from.
pub(crate) fn read(it: &mut Message<'_>, spread: Spread) -> (Balancing, Narrowing) {
    let mut narrowing =
        Narrowing { panic_threshold_percent: PANIC_PERCENT, ..Narrowing::default() };
    let mut key = ConsistentKey::default();
    if let Some(common) = it.message("common_lb_config", &schema::COMMON_LB) {
        read_common(common, &mut narrowing, &mut key);
    }
    let mut balancing = read_old(it, &key, &mut narrowing);
    if let Some(field) = it.take("load_balancing_policy") {
        balancing = read_policies(&field, &mut narrowing, 0);
    }
    let balancing = match balancing.unwrap_or_default() {
        Balancing::RoundRobin if spread.has_weights || narrowing.slow_start.is_some() => {
            Balancing::Weighted
        }
        other => other,
    };
    // With a local cluster Envoy stays in the zone unless it is told otherwise; consistent hashing never does.
    if !spread.has_local_cluster || balancing.is_consistent() {
        narrowing.zone_aware = None;
    } else if narrowing.zone_aware.is_none() && !narrowing.locality_weighted {
        narrowing.zone_aware = Some(ZONE_AWARE);
    }
    (balancing, narrowing)
}

/// What the consistent policies have in common.
#[derive(Clone, Default)]
struct ConsistentKey {
    key: HashKey,
    load_max_percent: Option<u32>,
}

/// `CommonLbConfig`.
fn read_common(mut it: Message<'_>, narrowing: &mut Narrowing, key: &mut ConsistentKey) {
    if let Some(percent) = it.take("healthy_panic_threshold").and_then(|it| it.percent()) {
        narrowing.panic_threshold_percent = percent;
    }
    match it.one_of(&["zone_aware_lb_config", "locality_weighted_lb_config"]) {
        Some(("zone_aware_lb_config", field)) => {
            if let Some(zone) = field.message(&schema::LB_ZONE_AWARE) {
                read_zone_aware(zone, narrowing);
            }
        }
        Some((_, field)) => {
            field.message(&schema::EMPTY);
            narrowing.locality_weighted = true;
        }
        None => {}
    }
    if let Some(consistent) = it.message("consistent_hashing_lb_config", &schema::LB_CONSISTENT) {
        *key = read_key(consistent);
    }
    narrowing.ignore_unchecked = it.is("ignore_new_hosts_until_first_hc");
    // Changes of a file come all at once.
    it.skip(&["update_merge_window"]);
}

/// Either of the two messages that have these fields.
fn read_zone_aware(mut it: Message<'_>, narrowing: &mut Narrowing) {
    let enabled = it.take("routing_enabled").and_then(|it| it.percent());
    let smallest = it.u32("min_cluster_size");
    let fails = it.is("fail_traffic_on_panic");
    narrowing.fail_in_panic = fails;
    narrowing.zone_aware = Some(ZoneAware {
        enabled_percent: enabled.unwrap_or(ZONE_AWARE.enabled_percent),
        endpoints_min: smallest.unwrap_or(ZONE_AWARE.endpoints_min),
        fail_on_panic: fails,
        force_local_min: None,
    });
}

fn read_key(mut it: Message<'_>) -> ConsistentKey {
    let by_name = it.is("use_hostname_for_hashing");
    ConsistentKey {
        key: if by_name { HashKey::Hostname } else { HashKey::Address },
        load_max_percent: it.u32_in("hash_balance_factor", 100..=u32::MAX),
    }
}

/// The cluster's own fields.
fn read_old(
    it: &mut Message<'_>,
    key: &ConsistentKey,
    narrowing: &mut Narrowing,
) -> Option<Balancing> {
    let least_request = it.message("least_request_lb_config", &schema::LB_LEAST_REQUEST);
    let round_robin = it.message("round_robin_lb_config", &schema::LB_ROUND_ROBIN);
    let ring = it.message("ring_hash_lb_config", &schema::LB_RING_HASH);
    let maglev = it.message("maglev_lb_config", &schema::LB_MAGLEV);
    if let Some(field) = it.take("lb_subset_config") {
        narrowing.subsets = field
            .message(&schema::LB_SUBSET)
            .map(|it| read_subsets(it, &schema::LB_SUBSET_SELECTOR));
    }
    /// `LbPolicy`.
    #[derive(Clone, Copy)]
    enum Policy {
        RoundRobin,
        LeastRequest,
        RingHash,
        Random,
        Maglev,
    }
    let policies = [
        ("ROUND_ROBIN", 0, Policy::RoundRobin),
        ("LEAST_REQUEST", 1, Policy::LeastRequest),
        ("RING_HASH", 2, Policy::RingHash),
        ("RANDOM", 3, Policy::Random),
        ("MAGLEV", 5, Policy::Maglev),
        // What holds is in `load_balancing_policy`.
        ("LOAD_BALANCING_POLICY_CONFIG", 7, Policy::RoundRobin),
    ];
    Some(match it.choice("lb_policy", &policies).unwrap_or(Policy::RoundRobin) {
        Policy::RoundRobin => {
            if let Some(mut config) = round_robin {
                narrowing.slow_start = read_slow_start(&mut config, &schema::LB_SLOW_START);
            }
            Balancing::RoundRobin
        }
        Policy::LeastRequest => {
            let read = |it| read_least_request(it, narrowing, &schema::LB_SLOW_START);
            Balancing::LeastRequest(least_request.map(read).unwrap_or_default())
        }
        Policy::RingHash => {
            let ring = ring.map(|it| read_ring(it, &OLD_FUNCTIONS)).unwrap_or_default();
            Balancing::RingHash(RingHash {
                key: key.key,
                load_max_percent: key.load_max_percent,
                ..ring
            })
        }
        Policy::Random => Balancing::Random,
        Policy::Maglev => Balancing::Maglev(Maglev {
            table_size: maglev
                .map_or(Maglev::default().table_size, |mut it| read_table_size(&mut it)),
            key: key.key,
            load_max_percent: key.load_max_percent,
        }),
    })
}

type Schema = &'static schema::Schema;

/// Of either of the two messages that have these fields.
fn read_least_request(
    mut it: Message<'_>,
    narrowing: &mut Narrowing,
    slow_start: Schema,
) -> LeastRequest {
    narrowing.slow_start = read_slow_start(&mut it, slow_start);
    let choices = it.u32_in("choice_count", 2..=u32::MAX);
    let bias = it.take("active_request_bias").and_then(|it| read_factor(&it));
    LeastRequest { choices: choices.unwrap_or(2), active_request_bias_percent: bias.unwrap_or(100) }
}

/// `RuntimeDouble` as a percentage.
fn read_factor(field: &Field<'_>) -> Option<u32> {
    let mut it = field.message(&schema::RUNTIME_DOUBLE)?;
    it.refuse_runtime_key();
    let Some(field) = it.take("default_value") else { return Some(0) };
    let value = field.f64()?;
    if !(0.0..=1000.0).contains(&value) {
        field.error(format!("{value} is not from 0 to 1000"), "choose a number in this range");
        return None;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    Some((value * 100.0).round() as u32)
}

fn read_slow_start(it: &mut Message<'_>, schema: Schema) -> Option<SlowStart> {
    let mut it = it.message("slow_start_config", schema)?;
    let window = it.duration("slow_start_window").filter(|it| !it.is_zero());
    let aggression = it.take("aggression").and_then(|it| read_factor(&it));
    let least = it.take("min_weight_percent").and_then(|it| it.percent());
    Some(SlowStart {
        window: window?,
        aggression_percent: aggression.unwrap_or(100).max(1),
        weight_min_percent: least.unwrap_or(10),
    })
}

/// Largest ring that Envoy makes.
const RING_SIZE_MAX: u32 = 8 * 1024 * 1024;

/// `HashFunction` of the cluster's own field, and that of the policy.
const OLD_FUNCTIONS: [(&str, i64, HashFunction); 2] =
    [("XX_HASH", 0, HashFunction::XxHash), ("MURMUR_HASH_2", 1, HashFunction::MurmurHash2)];
const FUNCTIONS: [(&str, i64, HashFunction); 3] = [
    ("DEFAULT_HASH", 0, HashFunction::XxHash),
    ("XX_HASH", 1, HashFunction::XxHash),
    ("MURMUR_HASH_2", 2, HashFunction::MurmurHash2),
];

fn read_ring(mut it: Message<'_>, functions: &[(&str, i64, HashFunction)]) -> RingHash {
    let default = RingHash::default();
    let size_min = it.u32_in("minimum_ring_size", 1..=RING_SIZE_MAX).unwrap_or(default.size_min);
    let size_max = it.u32_in("maximum_ring_size", 1..=RING_SIZE_MAX).unwrap_or(default.size_max);
    if size_min > size_max {
        let message = format!("the least size {size_min} is above the greatest, {size_max}");
        it.field.error(message, "lower minimum_ring_size");
    }
    let function = it.choice("hash_function", functions).unwrap_or_default();
    RingHash { size_min, size_max, function, ..default }
}

/// Largest table that Envoy makes.
const TABLE_SIZE_MAX: u32 = 5_000_011;

fn read_table_size(it: &mut Message<'_>) -> u32 {
    let default = Maglev::default().table_size;
    let Some(size) = it.u32_in("table_size", 1..=TABLE_SIZE_MAX) else { return default };
    let is_prime = size > 1 && (2..).take_while(|it| it * it <= size).all(|it| size % it != 0);
    if !is_prime {
        it.at("table_size").error(format!("{size} is not prime"), "choose a prime, such as 65537");
    }
    size
}

/// `LbSubsetConfig`, or the policy of the same fields.
fn read_subsets(mut it: Message<'_>, selector: Schema) -> Subsets {
    let fallbacks = [
        ("NO_FALLBACK", 0, SubsetFallback::None),
        ("ANY_ENDPOINT", 1, SubsetFallback::Any),
        ("DEFAULT_SUBSET", 2, SubsetFallback::Default),
    ];
    let fallback = it.choice("fallback_policy", &fallbacks).unwrap_or_default();
    let default = it.take("default_subset").map(|it| matching::read_values(&it));
    let panic_any = it.is("panic_mode_any");
    let mut selectors = Vec::new();
    for field in it.items("subset_selectors") {
        let Some(mut it) = field.message(selector) else { continue };
        let fallbacks = [
            ("NOT_DEFINED", 0, None),
            ("NO_FALLBACK", 1, Some(SubsetFallback::None)),
            ("ANY_ENDPOINT", 2, Some(SubsetFallback::Any)),
            ("DEFAULT_SUBSET", 3, Some(SubsetFallback::Default)),
        ];
        let mut keys = it.texts("keys");
        keys.sort();
        keys.dedup();
        let fallback = it.choice("fallback_policy", &fallbacks).flatten();
        selectors.push(SubsetSelector { keys, fallback });
    }
    Subsets { selectors, fallback, default: default.unwrap_or_default(), panic_any }
}

/// Policies within policies; Envoy has two levels (subset or locality, and endpoint), and more mean nothing.
const POLICY_LEVELS_MAX: u32 = 4;

/// `LoadBalancingPolicy`: the first policy that is known.
fn read_policies(field: &Field<'_>, narrowing: &mut Narrowing, level: u32) -> Option<Balancing> {
    let mut it = field.message(&schema::LB_POLICIES)?;
    let mut found = None;
    for field in it.items("policies") {
        let Some(mut policy) = field.message(&schema::LB_POLICY) else { continue };
        let Some(field) = policy.required("typed_extension_config") else { continue };
        let Some(mut extension) = field.message(&schema::TYPED_EXTENSION) else { continue };
        extension.required_text("name");
        let Some(field) = extension.required("typed_config") else { continue };
        let Some((kind, config)) = field.typed() else { continue };
        // Those after the first that is known are for older versions.
        if found.is_none() {
            found = read_policy(kind, &config, narrowing, level);
        }
    }
    if found.is_none() {
        let remedy = "add one of round_robin, least_request, random, ring_hash, maglev";
        it.field.error("none of the policies is supported", remedy);
    }
    found
}

fn read_policy(
    kind: &str,
    config: &Field<'_>,
    narrowing: &mut Narrowing,
    level: u32,
) -> Option<Balancing> {
    if level >= POLICY_LEVELS_MAX {
        config.error("policies are nested too deeply", "put one into another once");
        return None;
    }
    let name = kind.strip_prefix("extensions.load_balancing_policies.").unwrap_or(kind);
    match name {
        "round_robin.v3.RoundRobin" => {
            let mut it = config.message(&schema::POLICY_ROUND_ROBIN)?;
            narrowing.slow_start = read_slow_start(&mut it, &schema::POLICY_SLOW_START);
            read_locality(&mut it, narrowing);
            Some(Balancing::RoundRobin)
        }
        "random.v3.Random" => {
            let mut it = config.message(&schema::POLICY_RANDOM)?;
            read_locality(&mut it, narrowing);
            Some(Balancing::Random)
        }
        "least_request.v3.LeastRequest" => read_least_request_policy(config, narrowing),
        "ring_hash.v3.RingHash" => {
            let mut it = config.message(&schema::POLICY_RING_HASH)?;
            let key = read_policy_key(&mut it, narrowing);
            let old_factor = it.u32_in("hash_balance_factor", 100..=u32::MAX);
            let by_name = it.is("use_hostname_for_hashing");
            let ring = read_ring(it, &FUNCTIONS);
            Some(Balancing::RingHash(RingHash {
                key: if by_name { HashKey::Hostname } else { key.key },
                load_max_percent: key.load_max_percent.or(old_factor),
                ..ring
            }))
        }
        "maglev.v3.Maglev" => {
            let mut it = config.message(&schema::POLICY_MAGLEV)?;
            let key = read_policy_key(&mut it, narrowing);
            Some(Balancing::Maglev(Maglev {
                table_size: read_table_size(&mut it),
                key: key.key,
                load_max_percent: key.load_max_percent,
            }))
        }
        "subset.v3.Subset" => {
            let mut it = config.message(&schema::POLICY_SUBSET)?;
            let inner = it.required("subset_lb_policy")?;
            let balancing = read_policies(&inner, narrowing, level + 1);
            narrowing.subsets = Some(read_subsets(it, &schema::POLICY_SUBSET_SELECTOR));
            balancing
        }
        "wrr_locality.v3.WrrLocality" => {
            let mut it = config.message(&schema::POLICY_WRR_LOCALITY)?;
            narrowing.locality_weighted = true;
            read_policies(&it.required("endpoint_picking_policy")?, narrowing, level + 1)
        }
        "client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin" => {
            // That is what Envoy does too until endpoints report their load.
            config.approximated(
                "endpoints are used in turn: what they report about their load is not read",
                "use least_request or peak_ewma",
            );
            Some(Balancing::RoundRobin)
        }
        "peak_ewma.v3alpha.PeakEwma" => Some(Balancing::PeakEwma(read_peak_ewma(config)?)),
        other => {
            let message = format!("the policy {other} is not supported; the next one is used");
            config.ignored(message, "remove it");
            None
        }
    }
}

fn read_least_request_policy(config: &Field<'_>, narrowing: &mut Narrowing) -> Option<Balancing> {
    let mut it = config.message(&schema::POLICY_LEAST_REQUEST)?;
    read_locality(&mut it, narrowing);
    let methods = [("N_CHOICES", 0, false), ("FULL_SCAN", 1, true)];
    let scans = it.choice("selection_method", &methods).unwrap_or(false);
    let scans = it.is("enable_full_scan") || scans;
    let mut policy = read_least_request(it, narrowing, &schema::POLICY_SLOW_START);
    if scans {
        policy.choices = LeastRequest::ALL;
    }
    Some(Balancing::LeastRequest(policy))
}

fn read_peak_ewma(config: &Field<'_>) -> Option<PeakEwma> {
    let mut it = config.message(&schema::POLICY_PEAK_EWMA)?;
    let default = PeakEwma::default();
    // Envoy keeps samples of each worker apart; here there is one figure for all.
    it.skip(&["aggregation_interval", "max_samples_per_host", "penalty_value"]);
    Some(PeakEwma {
        decay: it.positive_duration("decay_time").unwrap_or(default.decay),
        initial_rtt: it.positive_duration("default_rtt").unwrap_or(default.initial_rtt),
    })
}

/// `LocalityLbConfig`.
fn read_locality(it: &mut Message<'_>, narrowing: &mut Narrowing) {
    let Some(mut it) = it.message("locality_lb_config", &schema::POLICY_LOCALITY) else { return };
    match it.one_of(&["zone_aware_lb_config", "locality_weighted_lb_config"]) {
        Some(("zone_aware_lb_config", field)) => {
            let Some(mut zone) = field.message(&schema::POLICY_ZONE_AWARE) else { return };
            let forced = zone.message("force_local_zone", &schema::POLICY_FORCE_LOCAL);
            let forced = forced.map(|mut it| it.u32("min_size").unwrap_or(1));
            let old = zone.is("force_locality_direct_routing").then_some(1);
            read_zone_aware(zone, narrowing);
            if let Some(zone) = &mut narrowing.zone_aware {
                zone.force_local_min = forced.or(old);
            }
        }
        Some((_, field)) => {
            field.message(&schema::EMPTY);
            narrowing.locality_weighted = true;
        }
        None => {}
    }
}

fn read_policy_key(it: &mut Message<'_>, narrowing: &mut Narrowing) -> ConsistentKey {
    if it.take("locality_weighted_lb_config").is_some() {
        narrowing.locality_weighted = true;
    }
    let consistent = it.message("consistent_hashing_lb_config", &schema::POLICY_CONSISTENT);
    consistent.map(read_key).unwrap_or_default()
}
