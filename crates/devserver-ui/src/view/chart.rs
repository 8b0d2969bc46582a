//! The jobs of the last 24 hours as bars, one for each hour: drawn by the server, with the same numbers in words.

use std::time::Duration;

use domain_kernel::Timestamp;
use jobs::JobStatus;
use serde::Serialize;
use sites_domain::EndedJobs;

use super::when::clock_time;

const HOUR: Duration = Duration::from_secs(3600);
const HOURS: usize = 24;

/// How a job can end, in the order of a bar's parts from its foot.
const ENDS: [(JobStatus, &str); 3] = [
    (JobStatus::Succeeded, "done"),
    (JobStatus::Failed, "failed"),
    (JobStatus::Cancelled, "cancelled"),
];

/// The picture is this high, and an hour this wide, in units of its own: it is stretched to its place.
const HEIGHT: f64 = 100.0;
const WIDTH: f64 = 10.0;

/// The highest bar, and the least that a part is high, so that one failure among many jobs is still seen.
const HIGHEST: f64 = 93.0;
const LEAST: f64 = 2.0;

/// The chart.
#[derive(Serialize)]
pub(crate) struct Chart {
    /// The same in a sentence, for who does not see it.
    words: String,
    /// All jobs by how they ended, those that no job ended with left out.
    totals: Vec<Share>,
    most: u64,
    bars: Vec<Bar>,
    /// The hours that are named under it, six apart.
    labels: Vec<String>,
    /// The hours in which a job ended.
    rows: Vec<HourRow>,
}

/// Jobs that ended in one way.
#[derive(Debug, Clone, Serialize)]
struct Share {
    status: JobStatus,
    words: &'static str,
    jobs: u64,
}

#[derive(Serialize)]
struct Bar {
    x: f64,
    title: String,
    parts: Vec<Part>,
}

#[derive(Serialize)]
struct Part {
    status: JobStatus,
    x: f64,
    y: f64,
    height: f64,
}

/// A row of the table: jobs by how they ended, in the order of [`ENDS`].
#[derive(Serialize)]
struct HourRow {
    hour: String,
    jobs: [u64; 3],
}

impl Chart {
    /// Hours from `first` on; `None` where no job ended in any.
    pub(crate) fn new(ended: &[EndedJobs], first: Timestamp) -> Option<Self> {
        let counted: Vec<[u64; 3]> = (0..HOURS).map(|at| in_hour(ended, hour_at(first, at))).collect();
        let sum = |jobs: &[u64; 3]| jobs.iter().sum::<u64>();
        let (busiest, most) = counted
            .iter()
            .map(sum)
            .enumerate()
            .rev()
            .max_by_key(|(_, jobs)| *jobs)?;
        if most == 0 {
            return None;
        }
        let all = counted.iter().fold([0; 3], |all: [u64; 3], jobs| {
            std::array::from_fn(|at| all[at] + jobs[at])
        });
        let totals = shares(&all);
        let name = |at: usize| span(hour_at(first, at));
        let bars = counted.iter().enumerate().map(|(at, jobs)| Bar {
            x: at as f64 * WIDTH,
            title: format!("{}: {}", name(at), words_of(&shares(jobs))),
            parts: parts(at, jobs, most),
        });
        let rows = counted.iter().enumerate().filter(|(_, jobs)| sum(jobs) > 0);
        Some(Self {
            words: format!(
                "Jobs that ended in the last 24 hours: {}. The most in one hour: {most}, {}.",
                words_of(&totals),
                name(busiest)
            ),
            totals,
            most,
            bars: bars.collect(),
            labels: (0..HOURS).step_by(6).map(|at| time(hour_at(first, at))).collect(),
            rows: rows
                .map(|(at, jobs)| HourRow {
                    hour: name(at),
                    jobs: *jobs,
                })
                .collect(),
        })
    }
}

fn hour_at(first: Timestamp, at: usize) -> Timestamp {
    first.plus(HOUR * at as u32)
}

fn in_hour(ended: &[EndedJobs], hour: Timestamp) -> [u64; 3] {
    ENDS.map(|(status, _)| {
        let found = ended
            .iter()
            .filter(|ended| ended.hour == hour && ended.status == status);
        found.map(|ended| ended.jobs).sum()
    })
}

fn shares(jobs: &[u64; 3]) -> Vec<Share> {
    let all = ENDS.iter().zip(jobs).map(|((status, words), jobs)| Share {
        status: *status,
        words,
        jobs: *jobs,
    });
    all.filter(|share| share.jobs > 0).collect()
}

fn words_of(shares: &[Share]) -> String {
    let words: Vec<_> = shares
        .iter()
        .map(|share| format!("{} {}", share.jobs, share.words))
        .collect();
    if words.is_empty() {
        return "no job ended".to_owned();
    }
    words.join(", ")
}

fn parts(at: usize, jobs: &[u64; 3], most: u64) -> Vec<Part> {
    let mut foot = HEIGHT;
    shares(jobs)
        .into_iter()
        .map(|share| {
            let height = (share.jobs as f64 / most as f64 * HIGHEST).max(LEAST);
            foot -= height;
            Part {
                status: share.status,
                x: at as f64 * WIDTH + 1.0,
                y: tenths(foot),
                height: tenths(height),
            }
        })
        .collect()
}

fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

/// `12:00`.
fn time(moment: Timestamp) -> String {
    clock_time(moment).chars().take(5).collect()
}

/// `12:00 to 13:00 UTC`.
fn span(hour: Timestamp) -> String {
    format!("{} to {} UTC", time(hour), time(hour.plus(HOUR)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(hour: Timestamp, status: JobStatus, jobs: u64) -> EndedJobs {
        EndedJobs { hour, status, jobs }
    }

    #[test]
    fn every_hour_has_a_bar_and_the_words_have_the_same_numbers() {
        let first = Timestamp::parse("2030-01-30T13:00:00Z").unwrap();
        let last = first.plus(HOUR * 23);
        let chart = Chart::new(
            &[
                ended(first, JobStatus::Succeeded, 3),
                ended(last, JobStatus::Succeeded, 400),
                ended(last, JobStatus::Failed, 1),
                ended(last, JobStatus::Cancelled, 1),
                // Later than the last bar: another clock.
                ended(last.plus(HOUR), JobStatus::Failed, 9),
            ],
            first,
        );
        let chart = chart.unwrap();
        assert_eq!((chart.bars.len(), chart.most), (24, 402));
        assert_eq!(
            chart.words,
            "Jobs that ended in the last 24 hours: 403 done, 1 failed, 1 cancelled. The most in one hour: 402, 12:00 to \
             13:00 UTC."
        );
        assert_eq!(
            chart.bars[23].title,
            "12:00 to 13:00 UTC: 400 done, 1 failed, 1 cancelled"
        );
        assert_eq!(chart.bars[1].title, "14:00 to 15:00 UTC: no job ended");
        assert_eq!(chart.labels, ["13:00", "19:00", "01:00", "07:00"]);
        assert_eq!(chart.rows.len(), 2);
        for part in chart.bars.iter().flat_map(|bar| &bar.parts) {
            assert!(part.height >= LEAST && part.y >= 0.0, "{} {}", part.height, part.y);
        }
    }

    #[test]
    fn there_is_no_chart_of_nothing() {
        let first = Timestamp::parse("2030-01-30T13:00:00Z").unwrap();
        assert!(Chart::new(&[], first).is_none());
    }
}
