//! Measurements of one thing, and what they come to.

use std::time::Duration;

/// Measurements in ascending order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sample(Vec<f64>);

impl Sample {
    /// Takes them in any order.
    pub(crate) fn new(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    /// Of durations, in milliseconds.
    pub(crate) fn in_ms(durations: impl IntoIterator<Item = Duration>) -> Self {
        Self::new(durations.into_iter().map(|took| took.as_secs_f64() * 1000.0).collect())
    }

    /// The value that `percent` of all do not exceed (nearest rank); 0 where there are none.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or(0.0)
    }

    /// The smallest.
    pub(crate) fn min(&self) -> f64 {
        self.percentile(0)
    }

    /// The middle one.
    pub(crate) fn median(&self) -> f64 {
        self.percentile(50)
    }

    /// The largest.
    pub(crate) fn max(&self) -> f64 {
        self.percentile(100)
    }

    /// Minimum, median and 99th percentile, as the table names them.
    pub(crate) fn spread(&self) -> Vec<(&'static str, f64)> {
        vec![
            ("min", self.min()),
            ("median", self.median()),
            ("p99", self.percentile(99)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_value_that_so_many_do_not_exceed() {
        let sample = Sample::new((1..=200).rev().map(f64::from).collect());
        assert_eq!(
            (sample.min(), sample.median(), sample.percentile(99), sample.max()),
            (1.0, 100.0, 198.0, 200.0)
        );
        let one = Sample::new(vec![7.0]);
        assert_eq!((one.min(), one.median(), one.percentile(99)), (7.0, 7.0, 7.0));
        assert_eq!(Sample::default().median(), 0.0);
    }
}
