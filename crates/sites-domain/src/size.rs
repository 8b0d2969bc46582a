//! Sizes in words.

/// A number of bytes in the largest unit that leaves a whole number, with one more digit: `27.2 MB`. Everywhere where people
/// read it, so that one size looks the same.
pub fn size_words(bytes: u64) -> String {
    const UNITS: [(u64, &str); 4] = [
        (1_000_000_000_000, "TB"),
        (1_000_000_000, "GB"),
        (1_000_000, "MB"),
        (1000, "kB"),
    ];
    match UNITS.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit),
        None if bytes == 1 => "1 byte".to_owned(),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_in_units_that_people_know() {
        for (bytes, words) in [
            (0, "0 bytes"),
            (1, "1 byte"),
            (999, "999 bytes"),
            (1000, "1.0 kB"),
            (27_262_976, "27.2 MB"),
            (999_999_999, "999.9 MB"),
            (5_300_000_000, "5.3 GB"),
        ] {
            assert_eq!(size_words(bytes), words);
        }
        assert!(size_words(u64::MAX).ends_with(" TB"));
    }
}
