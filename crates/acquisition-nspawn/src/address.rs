//! Addresses of local nodes: the range, the links carved out of it, and which link is free. Pure; the leases that survive
//! are kept by [`crate::root::leases`].

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An IPv4 network: its address and the length of its prefix in bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Subnet {
    network: u32,
    prefix: u8,
}

/// Why a text is no range for local nodes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// Not `a.b.c.d/n`.
    #[error("`{0}` is not an IPv4 range such as 10.210.0.0/16")]
    Form(String),
    /// Bits are set behind the prefix.
    #[error("`{0}` has bits set behind its prefix")]
    Unaligned(String),
    /// Addresses of others would be taken.
    #[error("`{0}` is not inside a private range (10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16)")]
    Public(String),
    /// No link fits in.
    #[error("`{0}` is too small: a node needs a /30")]
    Small(String),
}

impl Subnet {
    /// The network that an address with this prefix belongs to. `prefix` is at most 32.
    pub(crate) fn containing(address: Ipv4Addr, prefix: u8) -> Self {
        let prefix = prefix.min(32);
        Self {
            network: u32::from(address) & mask(prefix),
            prefix,
        }
    }

    /// The length of the prefix in bits.
    pub(crate) fn prefix(self) -> u8 {
        self.prefix
    }

    /// Whether the two share an address.
    pub(crate) fn overlaps(self, other: Self) -> bool {
        let shorter = mask(self.prefix.min(other.prefix));
        self.network & shorter == other.network & shorter
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.network), self.prefix)
    }
}

/// The private range that local nodes get their addresses from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressRange(Subnet);

impl AddressRange {
    /// The range where no setting names another.
    pub fn standard() -> Self {
        Self(Subnet::containing(Ipv4Addr::new(10, 210, 0, 0), 16))
    }

    /// Every link of the range, lowest first.
    pub(crate) fn links(self) -> impl Iterator<Item = Link> {
        let count = 1_u32 << (30 - self.0.prefix);
        let network = self.0.network;
        (0..count).map(move |index| Link {
            network: network + index * 4,
        })
    }

    /// The range as a network.
    pub(crate) fn subnet(self) -> Subnet {
        self.0
    }
}

impl FromStr for AddressRange {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        let form = || RangeError::Form(text.to_owned());
        let (address, prefix) = text.split_once('/').ok_or_else(form)?;
        let address: Ipv4Addr = address.parse().map_err(|_| form())?;
        let prefix: u8 = prefix.parse().map_err(|_| form())?;
        if prefix > 32 {
            return Err(form());
        }
        let subnet = Subnet::containing(address, prefix);
        if subnet.network != u32::from(address) {
            return Err(RangeError::Unaligned(text.to_owned()));
        }
        let private = [([10, 0, 0, 0], 8), ([172, 16, 0, 0], 12), ([192, 168, 0, 0], 16)];
        let inside = |(base, length): ([u8; 4], u8)| {
            prefix >= length && Subnet::containing(base.into(), length).overlaps(subnet)
        };
        if !private.into_iter().any(inside) {
            return Err(RangeError::Public(text.to_owned()));
        }
        if prefix > 30 {
            return Err(RangeError::Small(text.to_owned()));
        }
        Ok(Self(subnet))
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The /30 between the host and one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Link {
    network: u32,
}

impl Link {
    /// The host's end.
    pub(crate) fn host(self) -> Ipv4Addr {
        Ipv4Addr::from(self.network + 1)
    }

    /// The node's end: the address that it is known by.
    pub(crate) fn node(self) -> Ipv4Addr {
        Ipv4Addr::from(self.network + 2)
    }

    /// The /30 itself.
    pub(crate) fn subnet(self) -> Subnet {
        Subnet {
            network: self.network,
            prefix: 30,
        }
    }
}

impl Serialize for Link {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.subnet())
    }
}

impl<'de> Deserialize<'de> for Link {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.parse::<AddressRange>() {
            Ok(range) if range.0.prefix == 30 => Ok(Self {
                network: range.0.network,
            }),
            _ => Err(serde::de::Error::custom(format!("`{text}` is not a private /30"))),
        }
    }
}

/// The lowest link of `range` that is not in `leased` and shares no address with `occupied`.
pub(crate) fn first_free(range: AddressRange, leased: &[Link], occupied: &[Subnet]) -> Option<Link> {
    range
        .links()
        .find(|link| !leased.contains(link) && !occupied.iter().any(|other| other.overlaps(link.subnet())))
}

/// The networks that stand in a listing of `ip -j -4 route show table all`. A route to something wider than the range is left
/// out: the node's own link is more specific and wins.
pub(crate) fn routed_networks(listing: &str, range: AddressRange) -> Result<Vec<Subnet>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Route {
        dst: String,
    }
    let routes: Vec<Route> = serde_json::from_str(if listing.trim().is_empty() { "[]" } else { listing })?;
    let networks = routes.iter().filter_map(|route| {
        let (address, prefix) = route.dst.split_once('/').unwrap_or((&route.dst, "32"));
        Some(Subnet::containing(address.parse().ok()?, prefix.parse().ok()?))
    });
    Ok(networks
        .filter(|subnet| subnet.prefix() >= range.subnet().prefix())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> AddressRange {
        text.parse().unwrap()
    }

    #[test]
    fn a_link_has_a_host_end_and_a_node_end() {
        let links: Vec<_> = range("10.210.0.0/29").links().collect();
        assert_eq!(links.len(), 2);
        assert_eq!(links[1].host(), Ipv4Addr::new(10, 210, 0, 5));
        assert_eq!(links[1].node(), Ipv4Addr::new(10, 210, 0, 6));
        assert_eq!(links[1].subnet().to_string(), "10.210.0.4/30");
    }

    #[test]
    fn the_standard_range_holds_sixteen_thousand_nodes() {
        assert_eq!(AddressRange::standard(), range("10.210.0.0/16"));
        assert_eq!(AddressRange::standard().links().count(), 16_384);
    }

    #[test]
    fn a_leased_or_occupied_link_is_passed_over() {
        let range = range("10.210.0.0/28");
        let links: Vec<_> = range.links().collect();
        let occupied = [Subnet::containing(Ipv4Addr::new(10, 210, 0, 6), 32)];
        assert_eq!(first_free(range, &links[..1], &occupied), Some(links[2]));
        assert_eq!(first_free(range, &links, &[]), None);
    }

    #[test]
    fn a_range_that_is_public_unaligned_or_too_small_is_refused() {
        for (text, expected) in [
            ("8.8.0.0/16", "private"),
            ("10.0.0.0/7", "private"),
            ("172.0.0.0/8", "private"),
            ("10.210.0.1/16", "bits"),
            ("10.210.0.0/31", "small"),
            ("10.210.0.0", "range such as"),
            ("10.210.0.0/99", "range such as"),
            ("x/16", "range such as"),
        ] {
            let error = text.parse::<AddressRange>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_link_survives_json() {
        let link = range("10.210.0.0/16").links().nth(700).unwrap();
        let json = serde_json::to_string(&link).unwrap();
        assert_eq!(json, "\"10.210.10.240/30\"");
        assert_eq!(serde_json::from_str::<Link>(&json).unwrap(), link);
        assert!(serde_json::from_str::<Link>("\"10.210.0.0/16\"").is_err());
    }

    #[test]
    fn routes_inside_the_range_are_occupied_and_wider_ones_are_not() {
        let listing = r#"[{"dst":"default","gateway":"192.0.2.1"},{"dst":"10.0.0.0/8","dev":"tun0"},
            {"dst":"10.210.0.0/24","dev":"br0"},{"dst":"10.210.9.1","dev":"lo"}]"#;
        let networks = routed_networks(listing, AddressRange::standard()).unwrap();
        let names: Vec<_> = networks.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["10.210.0.0/24", "10.210.9.1/32"]);
        assert!(routed_networks("", AddressRange::standard()).unwrap().is_empty());
    }
}
