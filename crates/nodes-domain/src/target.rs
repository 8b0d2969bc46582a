//! How to reach a node: all that anything after acquisition knows of where it came from.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text is not a host key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a host key: expected `<type> <base64>`, as in an OpenSSH public key file")]
pub struct HostKeyError;

/// A host's public key in OpenSSH's form, `<type> <base64>`, without a comment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostKey(String);

impl HostKey {
    /// `<type> <base64>`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for HostKey {
    type Err = HostKeyError;

    fn from_str(text: &str) -> Result<Self, HostKeyError> {
        let mut words = text.split_ascii_whitespace();
        let (Some(kind), Some(data)) = (words.next(), words.next()) else {
            return Err(HostKeyError);
        };
        let known = kind.starts_with("ssh-") || kind.starts_with("ecdsa-");
        let base64 = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
        if known && data.len() >= 40 && data.bytes().all(base64) {
            Ok(Self(format!("{kind} {data}")))
        } else {
            Err(HostKeyError)
        }
    }
}

impl TryFrom<String> for HostKey {
    type Error = HostKeyError;

    fn try_from(text: String) -> Result<Self, HostKeyError> {
        text.parse()
    }
}

impl From<HostKey> for String {
    fn from(key: HostKey) -> Self {
        key.0
    }
}

/// Where and as whom a node is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeTarget {
    /// The name or address that SSH connects to.
    pub hostname: String,
    /// The address that sites are served from.
    pub public_ip: Option<IpAddr>,
    /// The SSH port, 1 to 65535.
    pub ssh_port: u16,
    /// The login user; needs sudo without a password.
    pub ssh_user: String,
    /// Pressluft's managed private key.
    pub ssh_private_key_path: PathBuf,
    /// The pinned host key. SSH refuses any other.
    pub host_key: HostKey,
}

impl NodeTarget {
    /// The address that sites are served from, as it is compared with others; empty where it is not known.
    pub fn served_from(&self) -> Vec<String> {
        let address = self.public_ip.map(|address| address.to_canonical().to_string());
        address.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_key_loses_its_comment_and_bad_text_is_refused() {
        let data = "AAAAC3NzaC1lZDI1NTE5AAAAIJ".to_owned() + &"x".repeat(40);
        let key: HostKey = format!("ssh-ed25519 {data} root@host\n").parse().unwrap();
        assert_eq!(key.as_str(), format!("ssh-ed25519 {data}"));
        for text in ["", "ssh-ed25519", "ssh-ed25519 short", "foo AAAA"] {
            assert_eq!(text.parse::<HostKey>(), Err(HostKeyError), "{text:?}");
        }
    }
}
