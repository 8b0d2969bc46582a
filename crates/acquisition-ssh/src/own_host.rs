//! What the control plane's host is called and where it is. Asked of the kernel alone: nothing is sent.

use std::fs;
use std::net::IpAddr;

use nodes_domain::{Hostname, OwnHost};
use process_exec::is_own_address;

/// This host.
#[derive(Debug, Clone)]
pub struct SystemHost {
    names: Vec<String>,
}

impl SystemHost {
    /// This host under its own names and `more`, such as the one in the address of the control plane's pages.
    pub fn new(more: impl IntoIterator<Item = Hostname>) -> Self {
        let node = rustix::system::uname().nodename().to_string_lossy().into_owned();
        // The kernel says `(none)` where none was set.
        let domain = fs::read_to_string("/proc/sys/kernel/domainname").unwrap_or_default();
        let names = names_of(&node, domain.trim()).into_iter();
        let names = names.filter_map(|name| name.parse::<Hostname>().ok()).chain(more);
        Self {
            names: names.map(|name| name.canonical()).collect(),
        }
    }
}

/// The host's name as it is, without its domain, and with it.
fn names_of(node: &str, domain: &str) -> Vec<String> {
    let short = node.split('.').next().unwrap_or(node);
    vec![node.to_owned(), short.to_owned(), format!("{short}.{domain}")]
}

impl OwnHost for SystemHost {
    fn has_address(&self, address: IpAddr) -> bool {
        // The address in the control plane's own URL is this host's, too, though it may be on no interface: behind NAT.
        is_own_address(address) || self.names.contains(&address.to_canonical().to_string())
    }

    fn has_name(&self, name: &Hostname) -> bool {
        self.names.contains(&name.canonical())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Hostname {
        text.parse().unwrap()
    }

    #[test]
    fn this_hosts_names_and_the_given_ones_and_given_addresses_are_its_own_and_others_are_not() {
        let host = SystemHost::new([name("Panel.example.test")]);
        let node = rustix::system::uname().nodename().to_string_lossy().into_owned();
        for own in [
            node.as_str(),
            &node.to_uppercase(),
            "panel.example.test",
            "panel.example.test.",
        ] {
            assert!(host.has_name(&name(own)), "{own}");
        }
        for other in [
            "example.test",
            "panel",
            "web.example.test",
            &format!("{node}.elsewhere.test"),
        ] {
            assert!(!host.has_name(&name(other)), "{other}");
        }
        let behind_nat = SystemHost::new([name("203.0.113.5"), name("2001:DB8::5")]);
        for own in ["203.0.113.5", "::ffff:203.0.113.5", "2001:db8::5"] {
            assert!(behind_nat.has_address(own.parse().unwrap()), "{own}");
        }
        assert!(!behind_nat.has_address("203.0.113.6".parse().unwrap()));
        assert_eq!(names_of("a.b.test", "(none)"), ["a.b.test", "a", "a.(none)"]);
        assert_eq!(names_of("a", "b.test"), ["a", "a", "a.b.test"]);
    }
}
