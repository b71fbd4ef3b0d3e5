use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{FlatMap, Secret, SessionId, duration_ns};

/// A prepared query: a question about a service that is asked by name, and where to ask if there is no answer here.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PreparedQuery {
    /// A UUID.
    pub id: String,
    /// Name; empty for one that is asked by its id alone, or a template for all names.
    pub name: String,
    /// The session with which it ends; empty for none.
    pub session: SessionId,
    /// Token that is used when it is asked; empty for that of who asks.
    pub token: Secret,
    /// How it is made for the name that is asked.
    pub template: QueryTemplate,
    /// What is asked for.
    pub service: ServiceQuery,
    /// How long DNS answers may be kept; `None` as DNS says otherwise.
    pub dns_ttl: Option<QueryTtl>,
}

/// A time with the text that a client wrote it as.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct QueryTtl {
    /// As written, for example `10s`.
    pub text: String,
    /// What it means.
    #[serde(with = "duration_ns")]
    pub time: Duration,
}

/// A query stands for all names that start with its own.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct QueryTemplate {
    /// `name_prefix_match`, the only kind there is; empty for a query that is no template.
    pub kind: String,
    /// Regular expression that the asked name is matched with, for `${match(N)}`; empty for none.
    pub regexp: String,
    /// Tags that come out empty are left out.
    pub remove_empty_tags: bool,
}

/// Which instances a query finds.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceQuery {
    /// Service.
    pub service: String,
    /// Cluster peer that is asked instead; empty for none.
    pub peer: String,
    /// Where to look when there is nothing here.
    pub failover: QueryFailover,
    /// Only instances all of whose checks pass; else those with warnings are found too.
    pub only_passing: bool,
    /// Checks that do not count.
    pub ignore_check_ids: Vec<String>,
    /// Node near which instances are preferred; `_agent` the one that is asked, `_ip` the one that asks.
    pub near: String,
    /// Tags that instances must have; with `!` in front must not have.
    pub tags: Vec<String>,
    /// Metadata that their nodes must have.
    pub node_meta: FlatMap<String>,
    /// Metadata that they must have.
    pub service_meta: FlatMap<String>,
    /// Find the proxies of the service instead.
    pub connect: bool,
}

/// Where a query looks when there is nothing here.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct QueryFailover {
    /// So many of the nearest datacenters.
    pub nearest_n: i64,
    /// These datacenters, after the nearest.
    pub datacenters: Vec<String>,
    /// These, instead of both.
    pub targets: Vec<QueryFailoverTarget>,
}

/// One place of a failover: a cluster peer or a datacenter.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct QueryFailoverTarget {
    /// Cluster peer; empty for none.
    pub peer: String,
    /// Datacenter; empty for ours.
    pub datacenter: String,
}

impl fmt::Debug for PreparedQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreparedQuery")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("session", &self.session)
            .field("has_token", &!self.token.is_empty())
            .field("template", &self.template)
            .field("service", &self.service)
            .field("dns_ttl", &self.dns_ttl)
            .finish()
    }
}

impl PreparedQuery {
    /// True for one that stands for all names that start with its own.
    #[must_use]
    pub fn is_template(&self) -> bool {
        !self.template.kind.is_empty()
    }

    pub(crate) fn name_in_table(&self) -> String {
        self.id.clone()
    }
}
