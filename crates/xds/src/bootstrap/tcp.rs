//! `TcpProxy`.

use std::time::Duration;

use proxy_config::{HashInput, HashPolicy, TcpListener, WeightedCluster};

use super::fields::{Field, Message};
use super::{Build, access_log, matching, schema};

/// Envoy's `idle_timeout` of TCP.
const IDLE_TIMEOUT: Duration = Duration::from_hours(1);

pub(crate) fn read<'a>(field: &Field<'a>, build: &mut Build<'a>) -> Option<TcpListener> {
    let mut it = field.message(&schema::TCP_PROXY)?;
    let stat_prefix = it.required_text("stat_prefix").unwrap_or_default().to_owned();
    let mut clusters = read_clusters(&mut it, build);
    if let Some(field) = it.take("metadata_match") {
        let subset = matching::read_subset(&field);
        for cluster in &mut clusters {
            for (key, value) in &subset {
                cluster.subset.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
    }
    it.forbid("tunneling_config", "TCP is not carried in HTTP", "remove the listener");
    it.forbid("on_demand", "clusters are not asked for from a server", "list the cluster");
    let hash = it.items("hash_policy").iter().filter_map(read_hash).collect();
    let tries = it.u32_in("max_connect_attempts", 1..=u32::MAX).unwrap_or(1);
    Some(TcpListener {
        stat_prefix,
        clusters,
        idle_timeout: it.duration("idle_timeout").unwrap_or(IDLE_TIMEOUT),
        connect_tries_max: tries,
        hash,
        access_logs: access_log::read(&mut it),
    })
}

fn read_clusters<'a>(it: &mut Message<'a>, build: &mut Build<'a>) -> Vec<WeightedCluster> {
    match it.required_one_of(&["cluster", "weighted_clusters"]) {
        Some(("cluster", field)) => {
            let name = build.refer_for_bytes(&field);
            name.map(|it| WeightedCluster::new(&it, 1)).into_iter().collect()
        }
        Some((_, field)) => {
            let Some(mut weighted) = field.message(&schema::TCP_WEIGHTED) else {
                return Vec::new();
            };
            let items = weighted.items("clusters");
            items.iter().filter_map(|it| read_weighted(it, build)).collect()
        }
        None => Vec::new(),
    }
}

fn read_weighted<'a>(field: &Field<'a>, build: &mut Build<'a>) -> Option<WeightedCluster> {
    let mut it = field.message(&schema::TCP_CLUSTER_WEIGHT)?;
    let name = it.required("name").and_then(|it| build.refer_for_bytes(&it))?;
    let weight = it.u32_in("weight", 1..=u32::MAX).unwrap_or_else(|| {
        it.at("weight").error("missing", "add a `weight` of at least 1");
        1
    });
    let subset = it.take("metadata_match").map(|it| matching::read_subset(&it));
    let mut cluster = WeightedCluster::new(&name, weight);
    cluster.subset = subset.unwrap_or_default();
    Some(cluster)
}

fn read_hash(field: &Field<'_>) -> Option<HashPolicy> {
    let mut it = field.message(&schema::TCP_HASH_POLICY)?;
    it.refuse("filter_state", "there is no filter state", "hash the source_ip");
    it.take("source_ip")?;
    Some(HashPolicy { input: HashInput::SourceIp, terminal: false })
}
