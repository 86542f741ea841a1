//! Which addresses are not on the public internet, by IANA's registries of special addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use ipnet::IpNet;

/// Where an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// On the public internet.
    Public,
    /// In somebody's own network.
    Private,
    /// On this machine or its link, where metadata services are, or nowhere.
    Local,
}

const PRIVATE: &[&str] = &["10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"];

const LOCAL: &[&str] = &[
    "0.0.0.0/8",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/96",
    "64:ff9b:1::/48",
    "100::/64",
    "2001::/23",
    "2001:db8::/32",
    "3fff::/20",
    "5f00::/16",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
];

static NETWORKS: LazyLock<Vec<(IpNet, Scope)>> = LazyLock::new(|| {
    let private = PRIVATE.iter().map(|network| (network, Scope::Private));
    let local = LOCAL.iter().map(|network| (network, Scope::Local));
    private.chain(local).filter_map(|(network, scope)| Some((network.parse().ok()?, scope))).collect()
});

/// The scope of an address. An IPv6 address that leads to an IPv4 address has that one's.
pub(super) fn scope(address: IpAddr) -> Scope {
    let address = match address {
        IpAddr::V6(address) => embedded(address).map_or(IpAddr::V6(address), IpAddr::V4),
        address => address,
    };
    NETWORKS.iter().find(|(network, _)| network.contains(&address)).map_or(Scope::Public, |(_, scope)| *scope)
}

/// True for what is on the public internet.
pub(crate) fn is_public(address: IpAddr) -> bool {
    scope(address) == Scope::Public
}

/// The IPv4 address that packets to this address end at: mapped, translated (NAT64) or tunnelled
/// (6to4).
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let from = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            Some(from(high, low))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_network_is_well_formed() {
        assert_eq!(NETWORKS.len(), PRIVATE.len() + LOCAL.len());
    }

    #[test]
    fn addresses_have_their_scopes() {
        for (scope_, addresses) in [
            (Scope::Public, ["1.1.1.1", "172.15.0.1", "172.32.0.1", "100.128.0.1", "2606:4700::1", "64:ff9b::808:808"]),
            (Scope::Private, ["10.1.2.3", "172.31.0.1", "192.168.1.1", "100.64.0.1", "fd00::1", "::ffff:10.0.0.1"]),
            (Scope::Local, ["127.0.0.1", "169.254.169.254", "::1", "fe80::1", "0.0.0.0", "::ffff:127.0.0.1"]),
            (Scope::Local, ["::", "255.255.255.255", "224.0.0.1", "::7f00:1", "64:ff9b::7f00:1", "2002:7f00:1::"]),
        ] {
            for address in addresses {
                assert_eq!(scope(address.parse().unwrap()), scope_, "{address}");
            }
        }
    }
}
