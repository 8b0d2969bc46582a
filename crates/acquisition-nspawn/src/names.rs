//! What a machine's parts are called on the host. Everything begins with `pressluft` or `pl`, and follows from the node's
//! short id alone, so that a repeated acquire or release meets its own parts. Pure.

use domain_kernel::ShortId;

/// The names of one machine's parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MachineNames {
    short_id: String,
}

impl MachineNames {
    /// The names for a node.
    pub(crate) fn new(short_id: &ShortId) -> Self {
        Self {
            short_id: short_id.as_str().to_owned(),
        }
    }

    /// The machine, its folder, its host name, its network namespace, its cgroup and its unit.
    pub(crate) fn instance(&self) -> String {
        format!("pressluft-{}", self.short_id)
    }

    /// The host's end of the link; an interface's name has at most 15 characters.
    pub(crate) fn interface(&self) -> String {
        format!("pl{}", self.short_id)
    }

    /// The nftables table of family `inet`.
    pub(crate) fn table(&self) -> String {
        format!("pressluft_{}", self.short_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_fits_its_place() {
        let names = MachineNames::new(&"0123456789ab".parse().unwrap());
        assert_eq!(names.instance(), "pressluft-0123456789ab");
        assert_eq!(names.table(), "pressluft_0123456789ab");
        assert_eq!(names.interface(), "pl0123456789ab");
        assert!(names.interface().len() <= 15);
    }
}
