//! `host[:port]`, as in a `Host` header, in one spelling.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Why a text is no `host[:port]`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a host with an optional port")]
pub struct AuthorityError;

/// A host with an optional port. Names are kept in lower case, addresses in their canonical form without brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    host: String,
    port: Option<u16>,
}

impl Authority {
    /// The host: a name or an address.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, where one is named.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The host as an address, where it is one.
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// Whether both mean the same place, `default_port` standing for a port that is not named.
    pub fn same_place(&self, other: &Self, default_port: u16) -> bool {
        self.host == other.host && self.port.unwrap_or(default_port) == other.port.unwrap_or(default_port)
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]", self.host)?;
        } else {
            f.write_str(&self.host)?;
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Authority {
    type Err = AuthorityError;

    fn from_str(text: &str) -> Result<Self, AuthorityError> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']').ok_or(AuthorityError)?;
                let address: std::net::Ipv6Addr = address.parse().map_err(|_| AuthorityError)?;
                (address.to_string(), port)
            }
            None => {
                let end = text.find(':').unwrap_or(text.len());
                (name(&text[..end])?, &text[end..])
            }
        };
        let port = match port.strip_prefix(':') {
            Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
                Some(digits.parse().map_err(|_| AuthorityError)?)
            }
            Some(_) => return Err(AuthorityError),
            None if port.is_empty() => None,
            None => return Err(AuthorityError),
        };
        Ok(Self { host, port })
    }
}

fn name(text: &str) -> Result<String, AuthorityError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    if text.is_empty() || text.len() > 253 || !text.bytes().all(plain) {
        return Err(AuthorityError);
    }
    Ok(text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_one_spelling() {
        for (text, same) in [
            ("Example.TEST:8080", "example.test:8080"),
            ("localhost", "localhost"),
            ("[0:0:0:0:0:0:0:1]:80", "[::1]:80"),
            ("10.0.0.1:1", "10.0.0.1:1"),
        ] {
            assert_eq!(text.parse::<Authority>().unwrap().to_string(), same);
        }
    }

    #[test]
    fn other_text_is_no_host() {
        for text in [
            "", ":80", "a:", "a:70000", "a:+1", "a:b", "[::1", "[::1]x", "::1", "a b", "a/b", "u@a", "[a]:1",
        ] {
            assert_eq!(text.parse::<Authority>(), Err(AuthorityError), "{text:?}");
        }
    }
}
