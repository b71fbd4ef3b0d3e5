use std::net::{IpAddr, Ipv6Addr};

/// A range of addresses. Those of version 4 are taken as what IPv6 maps them to, so that a client that comes as
/// `::ffff:10.0.0.1` is in `10.0.0.0/8`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Network {
    first: u128,
    prefix_length: u8,
}

/// Bits before an address of version 4 in its mapped form.
const MAPPED_BITS: u8 = 96;

impl Network {
    /// All addresses.
    pub(super) const ANY: Network = Network { first: 0, prefix_length: 0 };

    /// `address/prefix length`, or an address alone. What the prefix does not cover is ignored.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length.parse::<u8>().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let (bits_max, before) = match address {
            IpAddr::V4(_) => (32, MAPPED_BITS),
            IpAddr::V6(_) => (128, 0),
        };
        let length = length.unwrap_or(bits_max);
        if length > bits_max {
            return None;
        }
        let prefix_length = before + length;
        Some(Self { first: bits(address) & mask(prefix_length), prefix_length })
    }

    pub(super) fn prefix_length(self) -> u8 {
        self.prefix_length
    }

    pub(super) fn contains(self, address: IpAddr) -> bool {
        bits(address) & mask(self.prefix_length) == self.first
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => Ipv6Addr::to_bits(address),
    }
}

fn mask(prefix_length: u8) -> u128 {
    u128::MAX.checked_shl(u32::from(128 - prefix_length)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_the_addresses_with_its_prefix() {
        for (network, address, expected) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("10.1.2.3/8", "10.9.9.9", true),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.4", false),
            ("0.0.0.0/0", "1.2.3.4", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "1.2.3.4", true),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::1/128", "::1", true),
        ] {
            let parsed = Network::parse(network).unwrap();
            assert_eq!(parsed.contains(address.parse().unwrap()), expected, "{network} {address}");
        }
        for bad in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/x", "a/8", "10.0.0.0/-1"] {
            assert_eq!(Network::parse(bad), None, "{bad}");
        }
    }
}
