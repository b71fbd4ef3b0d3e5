//! Which of a listener's filter chains a connection gets: Envoy's filter chain match
//! (<https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/listener/v3/listener_components.proto#config-listener-v3-filterchainmatch>).
//!
//! Conditions are looked at in a fixed order: destination port, server name, transport, application protocol, source
//! network. In each, the chains whose condition fits best are kept and all others are out; there is no way back when
//! these fail at a later condition.

mod network;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use proxy_config::{ChainMatch, TransportMatch};

use self::network::Network;

/// What is known of a connection when its chain is chosen.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    /// Port that it was made to.
    pub destination_port: u16,
    /// Server name of TLS in lower case, if the client sent one.
    pub server_name: Option<&'a str>,
    /// Whether the client speaks TLS.
    pub transport: TransportMatch,
    /// Protocols that the client offers through ALPN, the preferred one first.
    pub application_protocols: &'a [Vec<u8>],
    /// The client.
    pub source: IpAddr,
}

/// A condition that cannot be kept. The rest of the chain's conditions hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ChainProblem {
    /// Not an address with a prefix length.
    Network {
        /// Index of the chain.
        chain: usize,
        /// The text.
        text: String,
    },
    /// A star that is not the first label of a server name.
    ServerName {
        /// Index of the chain.
        chain: usize,
        /// The text.
        text: String,
    },
    /// Another chain has the same conditions and comes first; this one is never chosen by them.
    Duplicate {
        /// Index of the chain.
        chain: usize,
        /// Index of the other one.
        first: usize,
    },
}

impl fmt::Display for ChainProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChainProblem::Network { chain, text } => {
                write!(f, "chain {chain}: {text:?} is not a network; write it as 10.0.0.0/8")
            }
            ChainProblem::ServerName { chain, text } => {
                write!(f, "chain {chain}: a star must be the first label of server name {text:?}")
            }
            ChainProblem::Duplicate { chain, first } => {
                write!(f, "chain {chain} has conditions that chain {first} has too")
            }
        }
    }
}

impl std::error::Error for ChainProblem {}

/// The conditions of a listener's chains, made ready for look-ups.
#[derive(Debug, Default)]
pub struct ChainMatcher {
    ports: BTreeMap<Option<u16>, ServerNames>,
}

#[derive(Debug, Default)]
struct ServerNames {
    exact: BTreeMap<String, Transports>,
    /// What follows the star, with its dot.
    below: BTreeMap<String, Transports>,
    any: Option<Transports>,
}

#[derive(Debug, Default)]
struct Transports {
    tls: Option<Protocols>,
    plain: Option<Protocols>,
    any: Option<Protocols>,
}

#[derive(Debug, Default)]
struct Protocols {
    named: BTreeMap<Vec<u8>, Sources>,
    any: Option<Sources>,
}

/// The longest prefix first.
#[derive(Debug, Default)]
struct Sources(Vec<(Network, usize)>);

impl ChainMatcher {
    /// Of the conditions of all chains, in the order of the chains.
    pub fn new<'a>(
        chains: impl IntoIterator<Item = &'a ChainMatch>,
    ) -> (ChainMatcher, Vec<ChainProblem>) {
        let mut matcher = ChainMatcher::default();
        let mut problems = Vec::new();
        for (chain, matches) in chains.into_iter().enumerate() {
            matcher.add(chain, matches, &mut problems);
        }
        (matcher, problems)
    }

    fn add(&mut self, chain: usize, matches: &ChainMatch, problems: &mut Vec<ChainProblem>) {
        let networks = networks(chain, &matches.source_prefixes, problems);
        let mut names: Vec<Option<&str>> = Vec::new();
        for name in &matches.server_names {
            let is_fit = name == "*" || !name.strip_prefix("*.").unwrap_or(name).contains('*');
            if is_fit && !name.is_empty() {
                names.push(Some(name));
            } else {
                problems.push(ChainProblem::ServerName { chain, text: name.clone() });
            }
        }
        if matches.server_names.is_empty() {
            names.push(None);
        }
        let names_of_port = self.ports.entry(matches.destination_port).or_default();
        let mut duplicate_of = None;
        for name in names {
            let transports = names_of_port.at_mut(name);
            let protocols = transports.at_mut(matches.transport);
            let mut wanted: Vec<Option<&str>> =
                matches.application_protocols.iter().map(|it| Some(it.as_str())).collect();
            if wanted.is_empty() {
                wanted.push(None);
            }
            for protocol in wanted {
                let sources = protocols.at_mut(protocol);
                for network in &networks {
                    duplicate_of = duplicate_of.or(sources.add(*network, chain));
                }
            }
        }
        if let Some(first) = duplicate_of {
            problems.push(ChainProblem::Duplicate { chain, first });
        }
    }

    /// Whether the first bytes of a connection to this port must be seen before a chain can be chosen.
    #[must_use]
    pub fn needs_first_bytes(&self, destination_port: u16) -> bool {
        self.names_of(destination_port).is_some_and(|names| {
            let is_plain = |it: &Transports| {
                it.tls.is_none()
                    && it.plain.is_none()
                    && it.any.as_ref().is_none_or(|it| it.named.is_empty())
            };
            !names.exact.is_empty()
                || !names.below.is_empty()
                || !names.any.as_ref().is_none_or(is_plain)
        })
    }

    /// Whether some chain wants to know the port that a connection was made to.
    #[must_use]
    pub fn needs_destination_port(&self) -> bool {
        self.ports.keys().any(Option::is_some)
    }

    /// Index of the chain that a connection gets; `None` when no chain's conditions hold.
    #[must_use]
    pub fn find(&self, opening: &Opening<'_>) -> Option<usize> {
        self.names_of(opening.destination_port)?
            .fitting(opening.server_name)?
            .fitting(opening.transport)?
            .fitting(opening.application_protocols)?
            .fitting(opening.source)
    }

    fn names_of(&self, destination_port: u16) -> Option<&ServerNames> {
        self.ports.get(&Some(destination_port)).or_else(|| self.ports.get(&None))
    }
}

impl ServerNames {
    fn at_mut(&mut self, name: Option<&str>) -> &mut Transports {
        match name {
            None | Some("*") => self.any.get_or_insert_default(),
            Some(name) => match name.strip_prefix('*') {
                Some(below) => self.below.entry(below.to_ascii_lowercase()).or_default(),
                None => self.exact.entry(name.to_ascii_lowercase()).or_default(),
            },
        }
    }

    fn fitting(&self, name: Option<&str>) -> Option<&Transports> {
        let Some(name) = name else { return self.any.as_ref() };
        // The name that begins with the first dot after a label is the longest one that a star can stand before.
        let below = || {
            let dots = name.match_indices('.').map(|(dot, _)| dot).filter(|dot| *dot > 0);
            dots.into_iter().find_map(|dot| self.below.get(&name[dot..]))
        };
        self.exact.get(name).or_else(below).or(self.any.as_ref())
    }
}

impl Transports {
    fn at_mut(&mut self, transport: Option<TransportMatch>) -> &mut Protocols {
        let place = match transport {
            Some(TransportMatch::Tls) => &mut self.tls,
            Some(TransportMatch::Plain) => &mut self.plain,
            None => &mut self.any,
        };
        place.get_or_insert_default()
    }

    fn fitting(&self, transport: TransportMatch) -> Option<&Protocols> {
        let named = match transport {
            TransportMatch::Tls => &self.tls,
            TransportMatch::Plain => &self.plain,
        };
        named.as_ref().or(self.any.as_ref())
    }
}

impl Protocols {
    fn at_mut(&mut self, protocol: Option<&str>) -> &mut Sources {
        match protocol {
            Some(protocol) => self.named.entry(protocol.as_bytes().to_vec()).or_default(),
            None => self.any.get_or_insert_default(),
        }
    }

    fn fitting(&self, offered: &[Vec<u8>]) -> Option<&Sources> {
        offered.iter().find_map(|it| self.named.get(it)).or(self.any.as_ref())
    }
}

impl Sources {
    /// The chain that has this network already, when it is another one.
    fn add(&mut self, network: Network, chain: usize) -> Option<usize> {
        if let Some((_, first)) = self.0.iter().find(|(it, _)| *it == network) {
            return (*first != chain).then_some(*first);
        }
        let at = self.0.partition_point(|(it, _)| it.prefix_length() >= network.prefix_length());
        self.0.insert(at, (network, chain));
        None
    }

    fn fitting(&self, source: IpAddr) -> Option<usize> {
        self.0.iter().find(|(network, _)| network.contains(source)).map(|(_, chain)| *chain)
    }
}

/// The networks of a chain, all addresses when it names none. Of a chain whose networks are all wrong there are none.
fn networks(chain: usize, prefixes: &[String], problems: &mut Vec<ChainProblem>) -> Vec<Network> {
    if prefixes.is_empty() {
        return vec![Network::ANY];
    }
    let mut networks = Vec::with_capacity(prefixes.len());
    for text in prefixes {
        match Network::parse(text) {
            Some(network) => networks.push(network),
            None => problems.push(ChainProblem::Network { chain, text: text.clone() }),
        }
    }
    networks
}

#[cfg(test)]
mod tests;
