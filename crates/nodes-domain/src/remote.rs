//! A host of the operator's: what is said of it, and which addresses are none.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use base64ct::{Base64Unpadded, Encoding};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::HostKey;

macro_rules! checked_text {
    ($(#[$doc:meta])* $name:ident, $error:ident $message:literal, $is_valid:path) => {
        #[doc = concat!("Why a text is no [`", stringify!($name), "`].")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
        #[error($message)]
        pub struct $error;

        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Its text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = $error;

            fn from_str(text: &str) -> Result<Self, $error> {
                if $is_valid(text) { Ok(Self(text.to_owned())) } else { Err($error) }
            }
        }

        impl TryFrom<String> for $name {
            type Error = $error;

            fn try_from(text: String) -> Result<Self, $error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0
            }
        }
    };
}

checked_text!(
    /// A host's name (RFC 1123) or its address.
    Hostname,
    HostnameError "expected a host name or an IP address",
    is_hostname
);

checked_text!(
    /// A POSIX login name.
    SshUser,
    SshUserError "expected a login name: 1 to 32 characters of a-z, 0-9, `_` and `-`, the first a letter or `_`",
    is_login_name
);

checked_text!(
    /// A host key's fingerprint: `SHA256:` and 43 characters of base64, as `ssh-keygen -l` prints it.
    Fingerprint,
    FingerprintError "expected `SHA256:` and 43 characters, as `ssh-keygen -lf` prints it",
    is_fingerprint
);

fn is_hostname(text: &str) -> bool {
    let label = |label: &str| {
        let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        (1..=63).contains(&label.len()) && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    // A last label of digits only is a mistyped address and never a name.
    let is_number = |label: &str| label.bytes().all(|b| b.is_ascii_digit());
    let is_name = name.len() <= 253 && name.split('.').all(label) && !name.rsplit('.').next().is_some_and(is_number);
    is_name || text.parse::<IpAddr>().is_ok()
}

fn is_login_name(text: &str) -> bool {
    let first = |b: u8| b.is_ascii_lowercase() || b == b'_';
    let later = |b: u8| first(b) || b.is_ascii_digit() || b == b'-';
    let mut bytes = text.bytes();
    text.len() <= 32 && bytes.next().is_some_and(first) && bytes.all(later)
}

fn is_fingerprint(text: &str) -> bool {
    let base64 = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    let hash = text.strip_prefix("SHA256:");
    hash.is_some_and(|hash| hash.len() == 43 && hash.bytes().all(base64))
}

impl Hostname {
    /// The address, where it is one.
    pub fn address(&self) -> Option<IpAddr> {
        self.0.parse().ok()
    }

    /// The text by which two names of one host are compared: small letters, no dot at the end, an address in its shortest
    /// form.
    pub fn canonical(&self) -> String {
        match self.address() {
            Some(address) => address.to_canonical().to_string(),
            None => self.0.trim_end_matches('.').to_ascii_lowercase(),
        }
    }

    /// Whether the name means the host that it is looked up on, wherever that is (RFC 6761).
    pub fn is_localhost(&self) -> bool {
        let name = self.canonical();
        name == "localhost" || name.ends_with(".localhost")
    }
}

impl HostKey {
    /// Its fingerprint: SHA-256 of the key's data, as `ssh-keygen -l` prints it. `None` where the data is no base64.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        let data = self.as_str().split(' ').nth(1)?;
        let data = Base64Unpadded::decode_vec(data.trim_end_matches('=')).ok()?;
        let hash = Base64Unpadded::encode_string(&Sha256::digest(data));
        format!("SHA256:{hash}").parse().ok()
    }
}

/// What an operator says of a host: all that is known of it before it is looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteHost {
    /// The name or address for SSH.
    pub hostname: Hostname,
    /// The SSH port, 1 to 65535.
    pub ssh_port: u16,
    /// The login user; needs sudo without a password, unless it is root.
    pub ssh_user: SshUser,
    /// The address that sites are served from, where it is not the one that `hostname` means.
    pub public_ip: Option<IpAddr>,
    /// The host key's fingerprint. Without one, the key of the first contact is pinned and shown.
    pub host_key_fingerprint: Option<Fingerprint>,
}

impl RemoteHost {
    /// The texts by which this host and another are known to be one.
    pub fn addresses(&self) -> Vec<String> {
        let public = self.public_ip.map(|address| address.to_canonical().to_string());
        std::iter::once(self.hostname.canonical()).chain(public).collect()
    }
}

/// A host of the operator's, with the host key that was pinned for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteMachine {
    /// The host.
    pub host: RemoteHost,
    /// The pinned host key; `None` before the first contact.
    pub host_key: Option<HostKey>,
}

/// Why an address can be nobody's node: it means this host, or no single one. `None` where it may be one.
pub fn unsuitable_address(address: IpAddr) -> Option<&'static str> {
    let address = address.to_canonical();
    let broadcast = address == IpAddr::V4(Ipv4Addr::BROADCAST);
    if address.is_loopback() {
        Some("it is a loopback address, which means the control plane's own host")
    } else if address.is_unspecified() {
        Some("it is the unspecified address, which means the control plane's own host")
    } else if address.is_multicast() || broadcast {
        Some("it means more than one host")
    } else {
        None
    }
}

/// What the control plane's host knows of itself. A node is never this host.
pub trait OwnHost: Send + Sync {
    /// Whether an address is one of this host's interfaces.
    fn has_address(&self, address: IpAddr) -> bool;

    /// Whether a name is this host's own, or the one that the control plane is reached by.
    fn has_name(&self, name: &Hostname) -> bool;
}

/// Why an address is none for a node, the host's own ones included. `None` where it may be one.
pub fn refused_address(own: &dyn OwnHost, address: IpAddr) -> Option<&'static str> {
    let of_this_host = || {
        own.has_address(address.to_canonical())
            .then_some("it is an address of the control plane's own host")
    };
    unsuitable_address(address).or_else(of_this_host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_and_addresses_are_taken_and_other_text_is_not() {
        for text in [
            "a",
            "web-1.example.test",
            "web.example.test.",
            "192.0.2.7",
            "2001:db8::1",
            "xn--bcher-kva.test",
        ] {
            assert!(text.parse::<Hostname>().is_ok(), "{text:?}");
        }
        let (long_label, long_name) = ("a".repeat(64), "a.".repeat(127) + "a");
        for text in [
            "",
            ".",
            "-a",
            "a-",
            "a..b",
            "a b",
            "a/b",
            "a;b",
            "192.0.2.256",
            "1",
            "ü",
            &long_label,
            &long_name,
            "[::1]",
        ] {
            assert!(text.parse::<Hostname>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn login_names_are_taken_and_other_text_is_not() {
        for text in ["root", "_a-1", &"a".repeat(32)] {
            assert!(text.parse::<SshUser>().is_ok(), "{text:?}");
        }
        for text in ["", "1a", "-a", "A", "a b", "a;b", &"a".repeat(33)] {
            assert!(text.parse::<SshUser>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn fingerprints_are_sha256_ones() {
        assert!(format!("SHA256:{}", "a".repeat(43)).parse::<Fingerprint>().is_ok());
        for text in ["", "SHA256:", "MD5:aa:bb", &format!("SHA256:{}", "a".repeat(44))] {
            assert!(text.parse::<Fingerprint>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_fingerprint_is_the_one_that_ssh_keygen_prints() {
        let key: HostKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIK0wmN/Cr3JXqmLW7u+g9pTh+wyqDHpSQEIQczXkVx9q"
            .parse()
            .unwrap();
        let printed = "SHA256:FHsTyFHNmvNpw4o7+rp+M1yqMyBF8vXSBRkZtkQ0RKY";
        assert_eq!(key.fingerprint().unwrap().as_str(), printed);
    }

    #[test]
    fn names_of_one_host_are_compared_alike() {
        let canonical = |text: &str| text.parse::<Hostname>().unwrap().canonical();
        assert_eq!(canonical("Web.Example.test."), "web.example.test");
        assert_eq!(canonical("2001:DB8:0::1"), "2001:db8::1");
        assert_eq!(canonical("::ffff:192.0.2.7"), "192.0.2.7");
    }

    #[test]
    fn no_address_of_this_host_or_of_many_hosts_is_a_nodes() {
        for text in [
            "127.0.0.1",
            "127.8.8.8",
            "::1",
            "::ffff:127.0.0.1",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "ff02::1",
            "255.255.255.255",
        ] {
            assert!(unsuitable_address(text.parse().unwrap()).is_some(), "{text}");
        }
        for text in ["192.0.2.7", "10.0.0.1", "2001:db8::1"] {
            assert!(unsuitable_address(text.parse().unwrap()).is_none(), "{text}");
        }
        assert!("LOCALHOST".parse::<Hostname>().unwrap().is_localhost());
        assert!("a.localhost.".parse::<Hostname>().unwrap().is_localhost());
        assert!(!"localhost.test".parse::<Hostname>().unwrap().is_localhost());
    }
}
