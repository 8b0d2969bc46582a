//! The firewall rules of one node, as one nftables table that is replaced and deleted whole. Pure.

use crate::address::Link;
use crate::names::MachineNames;

/// The text for `nft -f -` that puts the table in place, whatever stood there before, in one transaction.
///
/// The node reaches the world behind the host's address, answers whoever asks it from this host, and starts nothing towards
/// the host or another node. Nothing but this host starts a connection to it.
pub(crate) fn replace_table(names: &MachineNames, link: Link) -> String {
    let table = names.table();
    let interface = names.interface();
    let node = link.node();
    format!(
        "\
table inet {table}
delete table inet {table}
table inet {table} {{
	chain input {{
		type filter hook input priority filter; policy accept;
		iifname \"{interface}\" ct state established,related accept
		iifname \"{interface}\" drop
	}}
	chain forward {{
		type filter hook forward priority filter; policy accept;
		iifname \"{interface}\" meta nfproto ipv6 drop
		iifname \"{interface}\" ip saddr != {node} drop
		iifname \"{interface}\" oifname \"pl*\" drop
		oifname \"{interface}\" ct state established,related accept
		oifname \"{interface}\" drop
	}}
	chain postrouting {{
		type nat hook postrouting priority srcnat; policy accept;
		ip saddr {node} oifname != \"{interface}\" masquerade
	}}
}}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::AddressRange;

    #[test]
    fn a_node_starts_nothing_towards_the_host_or_another_node() {
        let names = MachineNames::new(&"0123456789ab".parse().unwrap());
        let link = AddressRange::standard().links().nth(1).unwrap();
        let text = replace_table(&names, link);
        assert!(text.contains("delete table inet pressluft_0123456789ab"));
        assert!(text.contains(
            "iifname \"pl0123456789ab\" ct state established,related accept\n\t\tiifname \"pl0123456789ab\" drop"
        ));
        assert!(text.contains("iifname \"pl0123456789ab\" oifname \"pl*\" drop"));
        assert!(text.contains("iifname \"pl0123456789ab\" ip saddr != 10.210.0.6 drop"));
        assert!(text.contains("ip saddr 10.210.0.6 oifname != \"pl0123456789ab\" masquerade"));
        assert_eq!(text.matches('{').count(), text.matches('}').count());
    }
}
