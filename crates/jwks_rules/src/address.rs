//! Addresses that may be connected to.
//!
//! The ranges are those of the IANA registries of special-purpose addresses (RFC 6890 and its
//! updates, <https://www.iana.org/assignments/iana-ipv4-special-registry> and
//! <https://www.iana.org/assignments/iana-ipv6-special-registry>) and the addresses at which cloud
//! providers serve a machine's credentials to anything that runs on it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Class of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressClass {
    /// Any host on the Internet.
    Public,
    /// This machine, a private network (RFC 1918), an operator's network (RFC 6598) or a unique
    /// local address (RFC 4193): only for a host that is listed by its exact name.
    Internal,
    /// Never connected to: link-local, cloud metadata, multicast, broadcast, unspecified, reserved,
    /// documentation, benchmarking, and tunnels whose end is unknown.
    Forbidden,
}

use AddressClass::{Forbidden, Internal, Public};

/// Everything that is not public, the narrower range first.
const V4: &[(Ipv4Addr, u32, AddressClass)] = &[
    // Metadata services outside the link-local range: Alibaba Cloud, Azure.
    (Ipv4Addr::new(100, 100, 100, 200), 32, Forbidden),
    (Ipv4Addr::new(168, 63, 129, 16), 32, Forbidden),
    (Ipv4Addr::new(0, 0, 0, 0), 8, Forbidden), // "this network", RFC 791
    (Ipv4Addr::new(10, 0, 0, 0), 8, Internal),
    (Ipv4Addr::new(100, 64, 0, 0), 10, Internal), // RFC 6598
    (Ipv4Addr::new(127, 0, 0, 0), 8, Internal),   // loopback
    (Ipv4Addr::new(169, 254, 0, 0), 16, Forbidden), // link-local and metadata, RFC 3927
    (Ipv4Addr::new(172, 16, 0, 0), 12, Internal),
    (Ipv4Addr::new(192, 0, 0, 0), 24, Forbidden), // protocols, and Oracle's metadata, RFC 6890
    (Ipv4Addr::new(192, 0, 2, 0), 24, Forbidden), // documentation, RFC 5737
    (Ipv4Addr::new(192, 88, 99, 0), 24, Forbidden), // 6to4 relays, RFC 7526
    (Ipv4Addr::new(192, 168, 0, 0), 16, Internal),
    (Ipv4Addr::new(198, 18, 0, 0), 15, Forbidden), // benchmarking, RFC 2544
    (Ipv4Addr::new(198, 51, 100, 0), 24, Forbidden), // documentation, RFC 5737
    (Ipv4Addr::new(203, 0, 113, 0), 24, Forbidden), // documentation, RFC 5737
    (Ipv4Addr::new(224, 0, 0, 0), 3, Forbidden),   // multicast, reserved, broadcast
];

/// The first range that has the address decides. An address of no range is forbidden: outside of
/// 2000::/3 nothing is assigned to hosts of the Internet.
const V6: &[(Ipv6Addr, u32, AddressClass)] = &[
    // Metadata services in the unique local range: AWS (all of its services), Google, Oracle,
    // Scaleway, Akamai, Alibaba Cloud.
    (
        Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0),
        32,
        Forbidden,
    ),
    (
        Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
        128,
        Forbidden,
    ),
    (
        Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe),
        128,
        Forbidden,
    ),
    (
        Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42),
        128,
        Forbidden,
    ),
    (
        Ipv6Addr::new(0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 1),
        128,
        Forbidden,
    ),
    (
        Ipv6Addr::new(0xfd00, 0x100, 0, 0, 0, 0, 0x100, 0x200),
        128,
        Forbidden,
    ),
    (Ipv6Addr::LOCALHOST, 128, Internal),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, Internal), // unique local, RFC 4193
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, Forbidden), // protocols, and Teredo (RFC 4380)
    (
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0),
        32,
        Forbidden,
    ), // documentation, RFC 3849
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, Forbidden), // documentation, RFC 9637
    (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3, Public),
];

impl AddressClass {
    /// Returns the class of an address. An IPv6 address that stands for an IPv4 address has the
    /// class of that one.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self::of_v4(v4),
            IpAddr::V6(v6) => Self::of_v6(v6),
        }
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        let bits = address.to_bits();
        let range = V4.iter().find(|(prefix, length, _)| {
            let ignored = u32::BITS.saturating_sub(*length);
            bits.checked_shr(ignored) == prefix.to_bits().checked_shr(ignored)
        });
        range.map_or(Public, |range| range.2)
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        // Comes before the rest, because it is in the range of compatible addresses.
        if address == Ipv6Addr::LOCALHOST {
            return Internal;
        }
        if let Some(v4) = embedded(address) {
            return Self::of_v4(v4);
        }
        let bits = address.to_bits();
        let range = V6.iter().find(|(prefix, length, _)| {
            let ignored = u128::BITS.saturating_sub(*length);
            bits.checked_shr(ignored) == prefix.to_bits().checked_shr(ignored)
        });
        range.map_or(Forbidden, |range| range.2)
    }
}

/// Returns a host's addresses in the order of attempts: the families in turn, that of the first
/// address first (RFC 8305 §4). Before them `former`, if it is one of them: it has just answered.
///
/// The resolver's order is kept within a family. A host whose addresses of one family are all dead is
/// reached by the second attempt.
#[must_use]
pub fn in_turn(addresses: Vec<SocketAddr>, former: Option<SocketAddr>) -> Vec<SocketAddr> {
    let former = former.filter(|former| addresses.contains(former));
    let begins_with_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let others = addresses
        .into_iter()
        .filter(|address| Some(*address) != former);
    let (first, second): (Vec<_>, Vec<_>) =
        others.partition(|address| address.is_ipv6() == begins_with_v6);
    let mut turns: Vec<_> = former.into_iter().collect();
    let mut second = second.into_iter();
    for address in first {
        turns.push(address);
        turns.extend(second.next());
    }
    turns.extend(second);
    turns
}

/// Returns the IPv4 address that packets to `address` end up at, if its form says so.
///
/// A translator with a prefix of its operator's choice (RFC 6052 §2.2, RFC 8215's 64:ff9b:1::/48)
/// looks like any other address. The latter range is forbidden as a whole.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from_bits((u32::from(high) << 16) | u32::from(low));
    match [a, b, c, d, e, f] {
        // Mapped and compatible (RFC 4291 §2.5.5), which includes the unspecified address.
        [0, 0, 0, 0, 0, 0 | 0xffff] => Some(v4(g, h)),
        // Translated (RFC 2765 §2.1).
        [0, 0, 0, 0, 0xffff, 0] => Some(v4(g, h)),
        // NAT64 (RFC 6052 §2.1).
        [0x64, 0xff9b, 0, 0, 0, 0] => Some(v4(g, h)),
        // 6to4 (RFC 3056 §2).
        [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(address: &str) -> AddressClass {
        AddressClass::of(address.parse().unwrap())
    }

    #[track_caller]
    fn all(expected: AddressClass, addresses: &[&str]) {
        for address in addresses {
            assert_eq!(class(address), expected, "{address}");
        }
    }

    #[test]
    fn families_are_tried_in_turn() {
        let at = |list: &[&str]| -> Vec<SocketAddr> {
            let ip = |ip: &&str| SocketAddr::new(ip.parse().unwrap(), 443);
            list.iter().map(ip).collect()
        };
        let turns = |list: &[&str]| in_turn(at(list), None);
        assert_eq!(
            turns(&["2::1", "2::2", "2::3", "1.0.0.1"]),
            at(&["2::1", "1.0.0.1", "2::2", "2::3"])
        );
        assert_eq!(
            turns(&["1.0.0.1", "1.0.0.2", "2::1", "2::2", "2::3"]),
            at(&["1.0.0.1", "2::1", "1.0.0.2", "2::2", "2::3"])
        );
        assert_eq!(turns(&["1.0.0.1"]), at(&["1.0.0.1"]));
        assert_eq!(turns(&[]), at(&[]));
        // An address that stands for one of the other family is connected to by its own.
        let mapped = ["::ffff:1.0.0.1", "2::1", "1.0.0.1"];
        assert_eq!(turns(&mapped), at(&["::ffff:1.0.0.1", "1.0.0.1", "2::1"]));

        let former = Some(at(&["1.0.0.2"])[0]);
        assert_eq!(
            in_turn(at(&["2::1", "2::2", "1.0.0.1", "1.0.0.2"]), former),
            at(&["1.0.0.2", "2::1", "1.0.0.1", "2::2"])
        );
        // One that the host does not have (any more) is not connected to.
        assert_eq!(in_turn(at(&["2::1"]), former), at(&["2::1"]));
    }

    #[test]
    fn ordinary_addresses_are_public() {
        all(
            Public,
            &[
                "1.1.1.1",
                "9.255.255.255",
                "11.0.0.0",
                "100.63.255.255",
                "100.128.0.0",
                "126.255.255.255",
                "128.0.0.0",
                "169.253.255.255",
                "169.255.0.0",
                "172.15.255.255",
                "172.32.0.0",
                "192.0.1.0",
                "192.167.255.255",
                "192.169.0.0",
                "198.17.255.255",
                "198.20.0.0",
                "223.255.255.255",
                "2000::",
                "2001:200::",
                "2606:4700:4700::1111",
                "2a00:1450:4001:80b::200e",
                "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            ],
        );
    }

    #[test]
    fn networks_of_ones_own_are_internal() {
        all(
            Internal,
            &[
                "10.0.0.0",
                "10.255.255.255",
                "100.64.0.0",
                "100.127.255.255",
                "127.0.0.1",
                "127.255.255.255",
                "172.16.0.0",
                "172.31.255.255",
                "192.168.0.0",
                "192.168.255.255",
                "::1",
                "fc00::",
                "fd00::1",
                "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            ],
        );
    }

    #[test]
    fn special_addresses_are_forbidden() {
        all(
            Forbidden,
            &[
                "0.0.0.0",
                "0.255.255.255",
                "169.254.0.0",
                "169.254.169.254",
                "169.254.170.2",
                "169.254.255.255",
                "100.100.100.200",
                "168.63.129.16",
                "192.0.0.0",
                "192.0.0.192",
                "192.0.2.1",
                "192.88.99.1",
                "198.18.0.0",
                "198.19.255.255",
                "198.51.100.1",
                "203.0.113.1",
                "224.0.0.1",
                "239.255.255.255",
                "240.0.0.0",
                "255.255.255.255",
                "::",
                "fe80::1",
                "febf::1",
                "fec0::1",
                "ff02::1",
                "fd00:ec2::254",
                "fd20:ce::254",
                "fd00:c1::a9fe:a9fe",
                "fd00:42::42",
                "fd00:a9fe:a9fe::1",
                "fd00:100::100:200",
                "100::1",
                "1fff::1",
                "4000::1",
                "5f00::1",
                "2001::1",
                "2001:2::1",
                "2001:10::1",
                "2001:1ff:ffff::1",
                "2001:db8::1",
                "3fff::1",
                "3fff:fff::1",
                "64:ff9b:1::1",
                "64:ff9b:1:ffff::808:808",
            ],
        );
    }

    #[test]
    fn an_address_that_stands_for_another_has_its_class() {
        let forms: &[fn(Ipv4Addr) -> Ipv6Addr] = &[
            |v4| v4.to_ipv6_mapped(),
            |v4| v4.to_ipv6_compatible(),
            |v4| Ipv6Addr::from_bits((0xffff << 48) | u128::from(v4.to_bits())),
            |v4| Ipv6Addr::from_bits((0x0064_ff9b << 96) | u128::from(v4.to_bits())),
            |v4| Ipv6Addr::from_bits((0x2002 << 112) | (u128::from(v4.to_bits()) << 80) | 1),
        ];
        for (address, expected) in [
            ("8.8.8.8", Public),
            ("10.1.2.3", Internal),
            ("127.0.0.1", Internal),
            ("169.254.169.254", Forbidden),
            ("255.255.255.255", Forbidden),
            ("0.0.0.0", Forbidden),
        ] {
            for form in forms {
                let v6 = form(address.parse().unwrap());
                assert_eq!(AddressClass::of(v6.into()), expected, "{address} as {v6}");
            }
        }
        // Teredo's client is the rest's complement; no server is reached by it.
        all(Forbidden, &["2001:0:4136:e378:8000:63bf:f7f7:f7f7"]);
    }

    #[test]
    fn ranges_have_no_bits_beyond_their_prefix() {
        for (prefix, length, _) in V4 {
            let rest = prefix.to_bits().checked_shl(*length).unwrap_or(0);
            assert_eq!(rest, 0, "{prefix}/{length}");
        }
        for (prefix, length, _) in V6 {
            let rest = prefix.to_bits().checked_shl(*length).unwrap_or(0);
            assert_eq!(rest, 0, "{prefix}/{length}");
        }
    }

    proptest::proptest! {
        /// Everything that the standard library knows to be special is not public.
        #[test]
        fn no_special_address_is_public(bits: u32) {
            let v4 = Ipv4Addr::from_bits(bits);
            let special = v4.is_private() || v4.is_loopback() || v4.is_link_local()
                || v4.is_broadcast() || v4.is_documentation() || v4.is_multicast()
                || v4.is_unspecified();
            proptest::prop_assert!(!special || AddressClass::of(v4.into()) != Public);
        }

        #[test]
        fn no_special_v6_address_is_public(bits: u128) {
            let v6 = Ipv6Addr::from_bits(bits);
            let special = v6.is_loopback() || v6.is_unspecified() || v6.is_multicast()
                || v6.is_unique_local() || v6.is_unicast_link_local();
            proptest::prop_assert!(!special || AddressClass::of(v6.into()) != Public);
        }
    }
}
