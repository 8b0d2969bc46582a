//! How the texts of settings are read.

use std::path::PathBuf;
use std::time::Duration;

use super::SettingsSource;

pub(super) fn database_url(text: &str) -> Result<String, &'static str> {
    let expected = "expected sqlite:<path> or postgres://...";
    let known = ["sqlite:", "postgres://", "postgresql://"]
        .iter()
        .any(|scheme| text.starts_with(scheme));
    if !known || text == "sqlite:" {
        Err(expected)
    } else {
        Ok(text.to_owned())
    }
}

/// Beside the program as installed, then in its build's repository, then in the working directory.
pub(super) fn find_ansible(source: &SettingsSource) -> PathBuf {
    let holds = |folder: &PathBuf| folder.join("playbooks").is_dir();
    let above = source
        .program
        .iter()
        .flat_map(|program| program.ancestors().skip(1).take(4));
    let candidates = above.map(|folder| folder.join("ansible"));
    let here = source.directory.join("ansible");
    candidates.into_iter().find(holds).unwrap_or(here)
}

/// `250ms`, `60s`, `5m`, `2h`, `90d`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_secs(number.checked_mul(60)?)),
        "h" => Some(Duration::from_secs(number.checked_mul(3600)?)),
        "d" => Some(Duration::from_secs(number.checked_mul(24 * 3600)?)),
        _ => None,
    }
}

/// A size in bytes: `4096`, `512KiB`, `4MiB`, `1GiB`.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    match unit {
        "" => Some(number),
        "KiB" => number.checked_mul(1024),
        "MiB" => number.checked_mul(1024 * 1024),
        "GiB" => number.checked_mul(1024 * 1024 * 1024),
        _ => None,
    }
}

/// A text that stands as one argument of a program and is not taken for an option.
pub(super) fn argument(text: &str) -> Result<String, &'static str> {
    if text.is_empty() || text.starts_with('-') || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("expected a text without spaces that does not begin with a dash");
    }
    Ok(text.to_owned())
}

/// A domain that host names are made under.
pub(super) fn domain(text: &str) -> Result<String, &'static str> {
    let label = |label: &str| {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        (1..=63).contains(&label.len()) && label.bytes().all(plain) && !label.starts_with('-') && !label.ends_with('-')
    };
    // A name whose last label is a number is read as an address.
    let named = |last: &str| !last.bytes().all(|byte| byte.is_ascii_digit());
    let named = text.rsplit('.').next().is_some_and(named);
    // The short id and its dot are put before it.
    if text.len() <= 240 && text.contains('.') && text.split('.').all(label) && named {
        Ok(text.to_owned())
    } else {
        Err("expected a domain such as preview.example.com")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_are_read_with_their_units_and_other_text_is_refused() {
        assert_eq!(duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(duration("90d"), Some(Duration::from_secs(90 * 24 * 3600)));
        for text in ["", "90", "d", "90 d", "-1d", "1y", "18446744073709551615d"] {
            assert_eq!(duration(text), None, "{text:?}");
        }
        assert_eq!(
            [bytes("4096"), bytes("512KiB"), bytes("4MiB"), bytes("1GiB")],
            [Some(4096), Some(512 << 10), Some(4 << 20), Some(1 << 30)]
        );
        for text in ["", "MiB", "4MB", "4 MiB", "-1", "18446744073709551615GiB"] {
            assert_eq!(bytes(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_domain_is_lower_case_labels_with_a_dot_between() {
        assert_eq!(domain("preview.example.com").as_deref(), Ok("preview.example.com"));
        for bad in [
            "",
            "localhost",
            "Preview.example.com",
            "-a.com",
            "a-.com",
            "a..com",
            ".com",
            "a.com/x",
            "a_b.com",
            "192.0.2.7",
        ] {
            assert!(domain(bad).is_err(), "{bad:?}");
        }
    }
}
