//! Times and durations in words. `app.js` keeps them true while a page is open and uses the same words.

use std::time::Duration;

use domain_kernel::Timestamp;
use serde::Serialize;

/// A moment: how long ago for reading, exactly for hovering and for programs.
#[derive(Serialize)]
pub(crate) struct When {
    iso: String,
    exact: String,
    relative: String,
}

impl When {
    pub(crate) fn new(moment: Timestamp, now: Timestamp) -> Self {
        Self {
            iso: moment.to_string(),
            exact: format!("{} UTC", seconds_of(moment).replace('T', " ")),
            relative: relative(moment, now),
        }
    }
}

/// The time of day, `12:34:56`.
pub(crate) fn clock_time(moment: Timestamp) -> String {
    seconds_of(moment).split('T').nth(1).unwrap_or_default().to_owned()
}

/// `2030-01-31T12:34:56`.
fn seconds_of(moment: Timestamp) -> String {
    moment.to_string().chars().take(19).collect()
}

/// How long ago a moment was, or how far ahead it is.
fn relative(moment: Timestamp, now: Timestamp) -> String {
    if moment > now.plus(Duration::from_secs(5)) {
        return format!("in {}", rough(moment.since(now)));
    }
    let ago = now.since(moment);
    if ago < Duration::from_secs(5) {
        return "just now".to_owned();
    }
    format!("{} ago", rough(ago))
}

fn rough(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (count, unit) = match seconds {
        ..60 => (seconds, "second"),
        60..3600 => (seconds / 60, "minute"),
        3600..86_400 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural}")
}

/// How long something took.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        ..10 => format!("{:.1} s", duration.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_told_as_people_tell_them() {
        let now = Timestamp::parse("2030-01-31T12:00:00.5Z").unwrap();
        for (seconds, words) in [
            (0, "just now"),
            (4, "just now"),
            (5, "5 seconds ago"),
            (60, "1 minute ago"),
            (7199, "1 hour ago"),
            (86_400 * 3, "3 days ago"),
        ] {
            let when = When::new(now.minus(Duration::from_secs(seconds)), now);
            assert_eq!(when.relative, words);
        }
        let ahead = When::new(now.plus(Duration::from_secs(90)), now);
        assert_eq!(ahead.relative, "in 1 minute");
        assert_eq!(ahead.exact, "2030-01-31 12:01:30 UTC");
        assert_eq!(clock_time(now), "12:00:00");
    }

    #[test]
    fn durations_are_as_exact_as_they_are_useful() {
        for (millis, words) in [
            (40, "0.0 s"),
            (1500, "1.5 s"),
            (59_900, "59 s"),
            (61_000, "1 min 01 s"),
            (3_720_000, "1 h 02 min"),
        ] {
            assert_eq!(duration(Duration::from_millis(millis)), words);
        }
    }
}
