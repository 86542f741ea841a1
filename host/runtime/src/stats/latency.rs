//! How long work takes: a histogram that many threads add to at once.

use std::time::Duration;

use histogram::{AtomicHistogram, Config, Histogram};

/// Values are kept in microseconds, in buckets at most a sixteenth wider than their beginning.
const GROUPING_POWER: u8 = 4;

/// Longer than `2^40` microseconds, twelve days, counts as that.
const MAX_VALUE_POWER: u8 = 40;

/// Durations of all work so far. About 5 KiB, whatever it holds; adding is one atomic addition.
pub(crate) struct Latency {
    buckets: AtomicHistogram,
    sum: super::Counter,
}

impl std::fmt::Debug for Latency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.load().fmt(f)
    }
}

const CONFIG: Config = match Config::new(GROUPING_POWER, MAX_VALUE_POWER) {
    Ok(config) => config,
    // At compile time.
    Err(_) => panic!("the powers are valid"),
};

impl Default for Latency {
    fn default() -> Self {
        Self { buckets: AtomicHistogram::with_config(&CONFIG), sum: super::Counter::default() }
    }
}

impl Latency {
    /// Adds one.
    pub(crate) fn record(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).min((1 << MAX_VALUE_POWER) - 1);
        self.sum.add(micros);
        // Only values beyond the greatest fail.
        _ = self.buckets.increment(micros);
    }

    /// All so far.
    pub(crate) fn load(&self) -> Latencies {
        Latencies { buckets: self.buckets.load(), sum: self.sum.get() }
    }
}

/// Durations of work, for reading.
#[derive(Debug, Clone)]
pub(crate) struct Latencies {
    buckets: Histogram,
    /// Microseconds.
    sum: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { buckets: Histogram::with_config(&CONFIG), sum: 0 }
    }
}

impl Latencies {
    /// How many.
    pub(crate) fn count(&self) -> u64 {
        self.buckets.as_slice().iter().fold(0, |sum, count| sum.wrapping_add(*count))
    }

    /// All together.
    pub(crate) fn sum(&self) -> Duration {
        Duration::from_micros(self.sum)
    }

    /// The duration that `quantile` of them, from 0 to 1, did not exceed; `None` without any. It
    /// is at most 6 % too long.
    pub(crate) fn quantile(&self, quantile: f64) -> Option<Duration> {
        let bucket = self.buckets.quantile_bucket(quantile).ok().flatten()?;
        Some(Duration::from_micros(bucket.end()))
    }

    /// For each of `bounds`, ascending, how many took no longer; to within 6 % of the bound.
    pub(crate) fn cumulative(&self, bounds: &[Duration]) -> Vec<u64> {
        let mut buckets = self.buckets.iter().peekable();
        let mut sum = 0_u64;
        let mut counts = Vec::with_capacity(bounds.len());
        for bound in bounds {
            let bound = u64::try_from(bound.as_micros()).unwrap_or(u64::MAX);
            while let Some(bucket) = buckets.next_if(|bucket| bucket.start() <= bound) {
                sum = sum.saturating_add(bucket.count());
            }
            counts.push(sum);
        }
        counts
    }

    /// Those that are not in `earlier`, which was loaded from the same before.
    #[must_use]
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let buckets = self.buckets.wrapping_sub(&earlier.buckets).unwrap_or_else(|_| self.buckets.clone());
        Self { buckets, sum: self.sum.saturating_sub(earlier.sum) }
    }

    /// Both together.
    #[must_use]
    pub(crate) fn with(&self, other: &Self) -> Self {
        let buckets = self.buckets.wrapping_add(&other.buckets).unwrap_or_else(|_| self.buckets.clone());
        Self { buckets, sum: self.sum.saturating_add(other.sum) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(millis: impl IntoIterator<Item = u64>) -> Latency {
        let latency = Latency::default();
        millis.into_iter().for_each(|millis| latency.record(Duration::from_millis(millis)));
        latency
    }

    #[test]
    fn quantiles_are_near() {
        let all = of(1..=1000).load();
        assert_eq!(all.count(), 1000);
        assert_eq!(all.sum(), Duration::from_millis(500_500));
        for (quantile, expected) in [(0.5, 500), (0.99, 990), (1.0, 1000)] {
            let got = all.quantile(quantile).unwrap().as_secs_f64() * 1000.0;
            let expected = f64::from(expected);
            assert!((expected..=expected * 1.07).contains(&got), "{quantile}: {got}");
        }
        assert_eq!(Latencies::default().quantile(0.5), None);
    }

    #[test]
    fn extremes_are_counted() {
        let latency = Latency::default();
        latency.record(Duration::ZERO);
        latency.record(Duration::MAX);
        let all = latency.load();
        assert_eq!(all.count(), 2);
        assert_eq!(all.quantile(0.1), Some(Duration::ZERO));
        assert!(all.quantile(1.0).unwrap() > Duration::from_secs(12 * 24 * 3600));
    }

    #[test]
    fn cumulative_counts_grow_and_end_with_all() {
        let all = of([1, 5, 50, 500, 5000]).load();
        let bounds = [2, 10, 100, 1000, 10_000].map(Duration::from_millis);
        assert_eq!(all.cumulative(&bounds), [1, 2, 3, 4, 5]);
        assert_eq!(all.cumulative(&[]), [0; 0]);
    }

    #[test]
    fn what_was_before_can_be_taken_away() {
        let latency = of([1, 2, 3]);
        let before = latency.load();
        latency.record(Duration::from_secs(1));
        let new = latency.load().since(&before);
        assert_eq!((new.count(), new.sum()), (1, Duration::from_secs(1)));
        assert_eq!(new.with(&before).count(), 4);
    }
}
