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
            exact: format!("{} UTC", exact(moment)),
            relative: relative(moment, now),
        }
    }
}

/// What goes on since a moment: how long already, and since when for `app.js`, which counts on.
#[derive(Serialize)]
pub(crate) struct Since {
    iso: String,
    exact: String,
    words: String,
}

impl Since {
    pub(crate) fn new(begun: Timestamp, now: Timestamp) -> Self {
        Self {
            iso: begun.to_string(),
            exact: format!("{} UTC", exact(begun)),
            words: duration(now.since(begun)),
        }
    }
}

/// A moment as a text has it, `2030-01-31 12:34:56`, in UTC.
pub(crate) fn exact(moment: Timestamp) -> String {
    seconds_of(moment).replace('T', " ")
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
        return format!("in {}", rough(nearest(moment.since(now))));
    }
    let ago = now.since(moment);
    if ago < Duration::from_secs(5) {
        return "just now".to_owned();
    }
    format!("{} ago", rough(ago))
}

/// The nearest whole number of the unit that it is told in: what ends in 30 days does so a moment later, too.
fn nearest(ahead: Duration) -> Duration {
    let seconds = ahead.as_secs();
    let unit = [86_400, 3600, 60]
        .into_iter()
        .find(|unit| seconds >= *unit)
        .unwrap_or(1);
    Duration::from_secs((seconds + unit / 2) / unit * unit)
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

/// The distance between the marks of an axis so long: a round one, with 8 of them at most.
pub(crate) fn tick(span: Duration) -> Duration {
    const DAY: u64 = 86_400_000;
    const ROUND: [u64; 21] = [
        20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000, 900_000,
        1_800_000, 3_600_000, 10_800_000, 21_600_000, 43_200_000,
    ];
    let fits = |step: Duration| span <= step * 8;
    let mut round = ROUND.into_iter().map(Duration::from_millis);
    round.find(|step| fits(*step)).unwrap_or_else(|| {
        let mut days = Duration::from_millis(DAY);
        while !fits(days) {
            days *= 2;
        }
        days
    })
}

/// A round time, as an axis has it.
pub(crate) fn round(time: Duration) -> String {
    let (millis, seconds) = (time.subsec_millis(), time.as_secs());
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3600 % 24, "h"),
        (seconds / 60 % 60, "min"),
    ];
    let mut words: Vec<String> = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count} {unit}"))
        .collect();
    match (seconds % 60, millis) {
        (0, 0) if !words.is_empty() => {}
        (seconds, 0) => words.push(format!("{seconds} s")),
        (seconds, millis) => words.push(format!("{seconds}.{} s", format!("{millis:03}").trim_end_matches('0'))),
    }
    words.join(" ")
}

/// How long something should still take: no more exact than it can be known.
pub(crate) fn about(left: Duration) -> String {
    match left.as_secs() {
        ..5 => "a few seconds".to_owned(),
        seconds @ 5..55 => format!("{} seconds", seconds.div_ceil(5) * 5),
        55..90 => "a minute".to_owned(),
        seconds => format!("{} minutes", (seconds + 30) / 60),
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
        let day = 86_400;
        for (seconds, words) in [
            (10, "in 10 seconds"),
            (89, "in 1 minute"),
            (90, "in 2 minutes"),
            (3599, "in 1 hour"),
            (day - 1, "in 1 day"),
            (30 * day - 1, "in 30 days"),
            (29 * day + day / 2 - 1, "in 29 days"),
        ] {
            assert_eq!(When::new(now.plus(Duration::from_secs(seconds)), now).relative, words);
        }
        let ahead = When::new(now.plus(Duration::from_secs(90)), now);
        assert_eq!(ahead.exact, "2030-01-31 12:01:30 UTC");
        assert_eq!(clock_time(now), "12:00:00");
    }

    #[test]
    fn an_axis_has_a_few_round_marks() {
        for (millis, step, words) in [
            (100, 20, "0.02 s"),
            (1300, 200, "0.2 s"),
            (9000, 2000, "2 s"),
            (80_000, 10_000, "10 s"),
            (700_000, 120_000, "2 min"),
            (90_000_000, 21_600_000, "6 h"),
            (86_400_000 * 30, 86_400_000 * 4, "4 d"),
        ] {
            let found = tick(Duration::from_millis(millis));
            assert_eq!(found, Duration::from_millis(step), "{millis}");
            assert_eq!(round(found), words);
        }
        assert_eq!(round(Duration::ZERO), "0 s");
        assert_eq!(round(Duration::from_secs(90)), "1 min 30 s");
    }

    #[test]
    fn what_is_left_is_told_roughly() {
        for (seconds, words) in [
            (0, "a few seconds"),
            (6, "10 seconds"),
            (54, "55 seconds"),
            (60, "a minute"),
            (100, "2 minutes"),
            (600, "10 minutes"),
        ] {
            assert_eq!(about(Duration::from_secs(seconds)), words);
        }
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
