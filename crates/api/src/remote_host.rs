//! The form of what an operator says of a remote host. Whether the host is there is found out by a job.

use std::net::IpAddr;

use http_session::ApiError;

/// A name (RFC 1123) or an address.
pub(crate) fn check_hostname(text: &str) -> Result<(), ApiError> {
    let label = |label: &str| {
        let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        (1..=63).contains(&label.len()) && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    // A last label of digits only is a mistyped address and never a name.
    let is_number = |label: &str| label.bytes().all(|b| b.is_ascii_digit());
    let is_name = name.len() <= 253 && name.split('.').all(label) && !name.rsplit('.').next().is_some_and(is_number);
    if is_name || text.parse::<IpAddr>().is_ok() {
        Ok(())
    } else {
        Err(ApiError::bad_request("`hostname` is a host name or an IP address."))
    }
}

/// A POSIX login name.
pub(crate) fn check_ssh_user(text: &str) -> Result<(), ApiError> {
    let first = |b: u8| b.is_ascii_lowercase() || b == b'_';
    let later = |b: u8| first(b) || b.is_ascii_digit() || b == b'-';
    let mut bytes = text.bytes();
    if text.len() <= 32 && bytes.next().is_some_and(first) && bytes.all(later) {
        Ok(())
    } else {
        Err(ApiError::bad_request(
            "`ssh_user` is a login name: 1 to 32 characters of a-z, 0-9, `_` and `-`, the first a letter or `_`.",
        ))
    }
}

/// A TCP port; 22 where none is given.
pub(crate) fn check_ssh_port(port: Option<i64>) -> Result<u16, ApiError> {
    let port = u16::try_from(port.unwrap_or(22)).ok().filter(|port| *port > 0);
    port.ok_or_else(|| ApiError::bad_request("`ssh_port` is from 1 to 65535."))
}

/// An IPv4 or IPv6 address.
pub(crate) fn check_public_ip(text: &str) -> Result<IpAddr, ApiError> {
    text.parse()
        .map_err(|_| ApiError::bad_request("`public_ip` is an IPv4 or IPv6 address."))
}

/// `SHA256:` and 43 characters of base64, as `ssh-keygen -l` prints it.
pub(crate) fn check_fingerprint(text: &str) -> Result<(), ApiError> {
    let base64 = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    let hash = text.strip_prefix("SHA256:");
    if hash.is_some_and(|hash| hash.len() == 43 && hash.bytes().all(base64)) {
        Ok(())
    } else {
        Err(ApiError::bad_request(
            "`host_key_fingerprint` is `SHA256:` and 43 characters, as `ssh-keygen -lf` prints it.",
        ))
    }
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
            assert!(check_hostname(text).is_ok(), "{text:?}");
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
            assert!(check_hostname(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn ports_from_1_to_65535_are_taken() {
        assert!(matches!(check_ssh_port(None), Ok(22)));
        assert!(matches!(check_ssh_port(Some(1)), Ok(1)));
        assert!(matches!(check_ssh_port(Some(65535)), Ok(65535)));
        for port in [-1, 0, 65536, 70000, i64::MAX] {
            assert!(check_ssh_port(Some(port)).is_err(), "{port}");
        }
    }

    #[test]
    fn login_names_are_taken_and_other_text_is_not() {
        for text in ["root", "_a-1", &"a".repeat(32)] {
            assert!(check_ssh_user(text).is_ok(), "{text:?}");
        }
        for text in ["", "1a", "-a", "A", "a b", "a;b", &"a".repeat(33)] {
            assert!(check_ssh_user(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn fingerprints_are_sha256_ones() {
        assert!(check_fingerprint(&format!("SHA256:{}", "a".repeat(43))).is_ok());
        for text in ["", "SHA256:", "MD5:aa:bb", &format!("SHA256:{}", "a".repeat(44))] {
            assert!(check_fingerprint(text).is_err(), "{text:?}");
        }
    }
}
