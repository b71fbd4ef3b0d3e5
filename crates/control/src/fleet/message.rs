//! What a proxy elsewhere tells its agent, as JSON.

use std::collections::BTreeMap;

use proxy_config::{EndpointUse, HostUse};
use serde::{Deserialize, Serialize};

/// "I have taken this configuration, and this is what I see of my endpoints since then; give me the next one."
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Follow {
    /// The proxy's name.
    pub name: String,
    /// Tells this life of the proxy from others of the same name: letters, digits and `-`, at most 64.
    pub life: String,
    /// Version of Leno that it runs.
    pub version: String,
    /// Life of the agent that its configuration is from; empty when it has none.
    pub agent: String,
    /// Revision of its configuration.
    pub taken: u64,
    /// Counts what this life has told, over both messages. What is told under a higher number was read later, and this was
    /// read after the configuration was taken.
    pub at: u64,
    /// Endpoints that it has sent something to; it has sent nothing to others.
    pub uses: BTreeMap<String, EndpointUse>,
    /// Virtual hosts that were asked for.
    pub hosts: BTreeMap<String, HostUse>,
    /// What it cannot do of its configuration.
    pub trouble: String,
    /// It ends what is under way, and takes no new configuration: it only makes itself known.
    pub leaving: bool,
}

/// "This has changed of what I see", and "I am alive".
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// See [`Follow::name`].
    pub name: String,
    /// See [`Follow::life`].
    pub life: String,
    /// See [`Follow::at`].
    pub at: u64,
    /// Endpoints of which something has changed.
    pub uses: BTreeMap<String, EndpointUse>,
    /// Virtual hosts of which something has changed.
    pub hosts: BTreeMap<String, HostUse>,
    /// Endpoints that were seen failing, or well again.
    pub seen: Vec<Seen>,
    /// It ends what is under way, and takes no new configuration.
    pub leaving: bool,
    /// It has ended.
    pub left: bool,
}

/// An endpoint was seen failing, or well again.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Seen {
    /// Id of the endpoint: `node/instance id`.
    pub endpoint: String,
    /// What was seen, in a word: `connect-failed`, …, `recovered`.
    pub kind: String,
    /// For how long it gets no requests; 0 when it does.
    pub ejected_ms: u64,
}
