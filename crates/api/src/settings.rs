use std::net::IpAddr;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use registry::SidecarPorts;

/// Rules of the doors, as the agent was told. The defaults are Consul's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// How long a blocking read waits when the client does not say.
    pub wait_default: Duration,
    /// The longest that a blocking read waits.
    pub wait_max: Duration,
    /// Shortest time to live of a session.
    pub session_ttl_min: Duration,
    /// Most bytes of a value of the key-value store.
    pub kv_value_bytes_max: usize,
    /// Most bytes of the body of a transaction.
    pub txn_bytes_max: usize,
    /// Starts of paths that are answered with 403.
    pub blocked_paths: Vec<String>,
    /// Networks from which writes are taken; empty: all.
    pub write_networks: Vec<Network>,
    /// Headers that every response has.
    pub response_headers: Vec<(HeaderName, HeaderValue)>,
    /// Most bytes of a check's output that are kept, at most 4096.
    pub check_output_bytes_max: u32,
    /// Ports that clients are told; nothing listens there.
    pub ports: ToldPorts,
    /// Ports for proxies that do not say theirs.
    pub sidecar_ports: SidecarPorts,
    /// The service mesh is on: there are authorities and certificates.
    pub connect: bool,
    /// Peerings are on.
    pub peering: bool,
    /// Coordinates are kept.
    pub coordinates: bool,
    /// Metrics may be asked for in Prometheus' form.
    pub prometheus: bool,
    /// The UI is served.
    pub ui: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            wait_default: Duration::from_secs(300),
            wait_max: Duration::from_secs(600),
            session_ttl_min: Duration::from_secs(10),
            kv_value_bytes_max: 512 * 1024,
            txn_bytes_max: 512 * 1024,
            blocked_paths: Vec::new(),
            write_networks: Vec::new(),
            response_headers: Vec::new(),
            check_output_bytes_max: 4096,
            ports: ToldPorts::default(),
            sidecar_ports: SidecarPorts::default(),
            connect: true,
            peering: true,
            coordinates: true,
            prometheus: true,
            ui: true,
        }
    }
}

/// Ports that Consul's servers use among themselves. Nothing listens there; clients show and compare them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ToldPorts {
    /// Of the servers.
    pub server: u16,
    /// Of gossip.
    pub serf_lan: u16,
    /// Of gossip between datacenters.
    pub serf_wan: u16,
}

impl Default for ToldPorts {
    fn default() -> Self {
        Self { server: 8300, serf_lan: 8301, serf_wan: 8302 }
    }
}

/// The addresses that start with the same bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network {
    /// Any address of it.
    pub ip: IpAddr,
    /// How many bits they share: at most 32 or 128.
    pub bits: u8,
}

impl Network {
    /// True for an address of the network. An IPv4 address that is mapped into IPv6 is one of IPv4.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        let same = |a: u128, b: u128, width: u32| {
            let shift = width.saturating_sub(u32::from(self.bits));
            a.checked_shr(shift) == b.checked_shr(shift)
        };
        match (self.ip, ip.to_canonical()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_contains_what_starts_with_its_bits() {
        let cases = [
            ("10.1.2.3", 8, "10.255.0.1", true),
            ("10.1.2.3", 16, "10.2.0.1", false),
            ("10.1.2.3", 32, "10.1.2.3", true),
            ("0.0.0.0", 0, "200.1.2.3", true),
            ("0.0.0.0", 0, "::1", false),
            ("127.0.0.0", 8, "::ffff:127.0.0.1", true),
            ("::", 0, "2001:db8::1", true),
            ("2001:db8::", 32, "2001:db9::1", false),
        ];
        for (ip, bits, asked, contains) in cases {
            let network = Network { ip: ip.parse().unwrap(), bits };
            assert_eq!(
                network.contains(asked.parse().unwrap()),
                contains,
                "{asked} in {ip}/{bits}"
            );
        }
    }
}
