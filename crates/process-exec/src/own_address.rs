//! Which addresses are this host's own. Asked of the kernel alone: nothing is sent.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

/// Whether an address is one of this host's interfaces.
pub fn is_own_address(address: IpAddr) -> bool {
    // Only a host's own addresses can be bound to, unless it was told to allow all of them.
    UdpSocket::bind((address, 0)).is_ok() && (!binds_to_any(address) || is_source_of_its_own(address))
}

/// Whether this host lets foreign addresses be bound to, as those with a floating address do.
fn binds_to_any(address: IpAddr) -> bool {
    let family = if address.is_ipv4() { "ipv4" } else { "ipv6" };
    let setting = fs::read_to_string(format!("/proc/sys/net/{family}/ip_nonlocal_bind"));
    setting.is_ok_and(|value| value.trim() != "0")
}

/// Whether the kernel would talk to the address from that very address. A datagram socket is connected without traffic.
fn is_source_of_its_own(address: IpAddr) -> bool {
    let any = match address {
        IpAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
    };
    let source = UdpSocket::bind((any, 0)).and_then(|socket| {
        // Any port will do; 9 is the one that discards.
        socket.connect((address, 9))?;
        socket.local_addr()
    });
    source.is_ok_and(|source| source.ip() == address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_hosts_addresses_are_its_own_and_others_are_not() {
        for own in ["127.0.0.1", "::1"] {
            assert!(is_own_address(own.parse().unwrap()), "{own}");
            assert!(is_source_of_its_own(own.parse().unwrap()), "{own}");
        }
        for other in ["203.0.113.9", "2001:db8::9", "8.8.8.8"] {
            assert!(!is_own_address(other.parse().unwrap()), "{other}");
            assert!(!is_source_of_its_own(other.parse().unwrap()), "{other}");
        }
    }
}
