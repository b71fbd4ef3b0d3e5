use std::collections::BTreeMap;
use std::time::Duration;

use hickory_proto::rr::Name;

use crate::name::name_of;

/// What the DNS door answers and how. The defaults are Consul's, but for `enable_truncate`.
#[derive(Clone, PartialEq, Debug)]
pub struct DnsConfig {
    /// The one datacenter that is known: a name may end in it (`web.service.dc1.consul`), any other suffix does
    /// not exist. Compared without regard to letter case.
    pub datacenter: String,
    /// Zone that is answered beside `mesh.`; `consul.` unless told otherwise.
    pub domain: Domain,
    /// One more zone, an alias.
    pub alt_domain: Option<Domain>,
    /// True when the shell can forward to recursors: names outside of the zones are then
    /// [`Answer::Recurse`](crate::Answer::Recurse) and not REFUSED, and replies carry RA.
    pub recursion: bool,
    /// Leave out instances with a warning too, not only those that are critical.
    pub only_passing: bool,
    /// TTL of node, NS, `addr` and TXT records, in whole seconds on the wire.
    pub node_ttl: Duration,
    /// TTLs of service records.
    pub service_ttl: ServiceTtls,
    /// Most address records in the answer to a service lookup; 0 means no limit.
    pub a_record_limit: usize,
    /// Most answers on UDP to a client without EDNS (or with one of 512 bytes); at least 1 and at most 8.
    pub udp_answer_limit: usize,
    /// Set the TC bit when answers were left out because of their size or number, so that the client asks again
    /// by TCP. Consul's default is false: its clients get 3 of 100 instances and nobody tells them. Ours is
    /// true, because a partial answer that looks whole loses instances without a trace.
    pub enable_truncate: bool,
    /// Write all names out in full.
    pub disable_compression: bool,
    /// Add a node's metadata as TXT records to the Additional section of address and SRV answers
    /// (`enable_additional_node_meta_txt`).
    pub node_meta_txt: bool,
    /// Times in the SOA record.
    pub soa: SoaTimes,
}

impl Default for DnsConfig {
    fn default() -> Self {
        Self {
            datacenter: "dc1".into(),
            domain: Domain::default(),
            alt_domain: None,
            recursion: false,
            only_passing: false,
            node_ttl: Duration::ZERO,
            service_ttl: ServiceTtls::default(),
            a_record_limit: 0,
            udp_answer_limit: 3,
            enable_truncate: true,
            disable_compression: false,
            node_meta_txt: true,
            soa: SoaTimes::default(),
        }
    }
}

/// Name of a zone, such as `consul.`: at least one label.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Domain(Name);

impl Domain {
    /// Reads a domain, with or without the final dot.
    ///
    /// # Errors
    /// When it is not a name of at least one label.
    pub fn new(text: &str) -> Result<Self, BadDomain> {
        name_of(text).map(Self).ok_or_else(|| BadDomain(text.to_owned()))
    }

    pub(crate) fn name(&self) -> &Name {
        &self.0
    }
}

impl Default for Domain {
    fn default() -> Self {
        Self::new("consul.").expect("it is a name")
    }
}

/// A text that is not the name of a zone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadDomain(pub String);

impl std::fmt::Display for BadDomain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{}\" is not the name of a DNS zone, such as \"consul.\"", self.0)
    }
}

impl std::error::Error for BadDomain {}

/// TTLs by service: an exact name wins, then the longest prefix (`web*`), and 0 for the rest.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ServiceTtls(BTreeMap<String, Duration>);

impl ServiceTtls {
    pub(crate) fn of(&self, service: &str) -> Duration {
        if let Some(ttl) = self.0.get(service) {
            return *ttl;
        }
        self.0
            .iter()
            .filter_map(|(key, ttl)| Some((key.strip_suffix('*')?, *ttl)))
            .filter(|(prefix, _)| service.starts_with(prefix))
            .max_by_key(|(prefix, _)| prefix.len())
            .map_or(Duration::ZERO, |(_, ttl)| ttl)
    }
}

/// Pairs of a service's name, or a prefix with `*` at its end, and a TTL.
impl<K: AsRef<str>> FromIterator<(K, Duration)> for ServiceTtls {
    fn from_iter<I: IntoIterator<Item = (K, Duration)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(key, ttl)| (key.as_ref().to_lowercase(), ttl)).collect())
    }
}

/// The times of the SOA record, in seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SoaTimes {
    /// How often a secondary server asks again.
    pub refresh_s: u32,
    /// How soon it retries.
    pub retry_s: u32,
    /// After how long without an answer it stops serving the zone.
    pub expire_s: u32,
    /// TTL of the SOA record, and how long "does not exist" may be remembered.
    pub min_ttl_s: u32,
}

impl Default for SoaTimes {
    fn default() -> Self {
        Self { refresh_s: 3600, retry_s: 600, expire_s: 86400, min_ttl_s: 0 }
    }
}
