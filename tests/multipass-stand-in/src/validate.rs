//! What Multipass refuses: sizes, names, images.

use crate::failure::Failure;
use crate::state::Settings;

const MIN_MEMORY: u64 = 128 << 20;
const MIN_DISK: u64 = 512 << 20;
const IMAGE_DISK: u64 = 7 << 29;

/// A size in bytes, or the client's refusal.
pub(crate) fn size(text: &str) -> Result<u64, Failure> {
    let upper = text.to_ascii_uppercase();
    let number = upper.trim_end_matches("IB").trim_end_matches('B');
    let (number, unit) = match number.chars().last() {
        Some('K') => (&number[..number.len() - 1], 1_u64 << 10),
        Some('M') => (&number[..number.len() - 1], 1 << 20),
        Some('G') => (&number[..number.len() - 1], 1 << 30),
        _ => (number, 1),
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 9 {
        return Err(Failure::refused(format!("error: '{text}' is not a valid memory size")));
    }
    let whole: u64 = whole.parse().unwrap_or(0);
    let part: u64 = part.parse::<u64>().unwrap_or(0) * unit / 10_u64.pow(u32::try_from(part.len()).unwrap_or(9));
    Ok(whole.saturating_mul(unit).saturating_add(part))
}

/// The number of processors.
pub(crate) fn cpus(text: &str) -> Result<(), Failure> {
    match text.parse::<u32>() {
        Ok(cpus) if cpus > 0 => Ok(()),
        _ => Err(Failure::refused(format!(
            "error: Invalid CPU count '{text}', need a positive integer value."
        ))),
    }
}

/// Looks an image up, first of all that the daemon does.
pub(crate) fn image(image: &str, settings: &Settings) -> Result<(), String> {
    if let Some(path) = image.strip_prefix("file://") {
        return if std::path::Path::new(path).is_file() {
            Ok(())
        } else {
            Err(format!("Custom image `{path}` does not exist."))
        };
    }
    let (remote, name) = image.split_once(':').unwrap_or(("", image));
    if !["", "release", "daily"].contains(&remote) {
        return Err(format!(
            "Remote \"{remote}\" is unknown or unreachable. If image mirror is enabled, please confirm it is valid."
        ));
    }
    if name == "21.10" {
        return Err("The \"21.10\" release is no longer supported.".to_owned());
    }
    if settings.images.iter().any(|known| known == name) {
        return Ok(());
    }
    Err(format!(
        "Unable to find an image matching \"{name}\" in remote \"{}\".",
        if remote.is_empty() { "release" } else { remote }
    ))
}

/// What is checked of the values, in this order.
pub(crate) fn values(memory: u64, disk: u64, name: &str) -> Result<(), String> {
    if memory < MIN_MEMORY {
        return Err(format!("Invalid memory size value supplied: {memory}."));
    }
    if disk < MIN_DISK {
        return Err(format!("Invalid disk size value supplied: {disk}."));
    }
    let bytes = name.as_bytes();
    let shaped = bytes.first().is_some_and(u8::is_ascii_alphabetic)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
    if shaped {
        Ok(())
    } else {
        Err(format!("Invalid instance name supplied: {name}."))
    }
}

/// What is checked once the image is there.
pub(crate) fn room(disk: u64, settings: &Settings) -> Result<(), String> {
    if disk < IMAGE_DISK {
        return Err(format!(
            "Requested disk ({disk} bytes) below minimum for this image ({IMAGE_DISK} bytes)"
        ));
    }
    if settings.host_disk_full {
        return Err(format!(
            "Available disk (1024 bytes) below minimum for this image ({IMAGE_DISK} bytes)"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_units() {
        for (text, bytes) in [
            ("2G", 2 << 30),
            ("1.5g", 3 << 29),
            ("512MiB", 512 << 20),
            ("7", 7),
            ("1KB", 1024),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "G", "2T", "-1G", "2 G", "lots", "1.G"] {
            assert_eq!(size(text).unwrap_err().code, 1, "{text:?}");
        }
    }
}
