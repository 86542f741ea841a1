//! Whether a canary is promoted or returned: a pure decision over what both versions did since the
//! canary began.

use std::time::Duration;

use crate::stats::{Latencies, Stats};

/// Fewer pieces of work say nothing before the window's end.
const MIN_EARLY: u64 = 5;

/// Fewer pieces of work say nothing about latency.
const MIN_LATENCY: u64 = 20;

/// Before the window's end a difference in errors counts if chance makes it in one of 700 cases:
/// it is looked at again and again.
const EARLY: f64 = 3.0;

/// At the window's end it counts if chance makes it in one of 20 cases.
const FINAL: f64 = 1.645;

/// Latency is worse beyond this factor and this much.
const SLOWER: f64 = 1.5;
const SLOWER_BY: Duration = Duration::from_millis(5);

/// What one version did in the window.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sample {
    /// Work that came to an end: requests, deliveries, calls.
    pub(super) ended: u64,
    /// How much of it failed.
    pub(super) errors: u64,
    /// What 95 of 100 took at most; `None` without any.
    pub(super) p95: Option<Duration>,
}

/// What a version did since it began.
pub(super) struct Totals {
    ended: u64,
    errors: u64,
    latencies: Latencies,
}

impl Totals {
    pub(super) fn of(stats: &Stats) -> Self {
        let mut totals = Self { ended: 0, errors: 0, latencies: Latencies::default() };
        for work in stats.work() {
            totals.ended = totals.ended.saturating_add(work.ended.get());
            totals.errors = totals.errors.saturating_add(work.errors.get());
            totals.latencies = totals.latencies.with(&work.latency.load());
        }
        totals
    }

    /// What it did since `before`.
    pub(super) fn since(&self, before: &Self) -> Sample {
        Sample {
            ended: self.ended.saturating_sub(before.ended),
            errors: self.errors.saturating_sub(before.errors),
            p95: self.latencies.since(&before.latencies).quantile(0.95),
        }
    }
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing yet.
    Wait,
    /// The canary loses its share, for this reason.
    Return(String),
    /// The canary takes all work; what it was judged by.
    Promote(String),
}

impl Sample {
    fn rate(&self) -> f64 {
        if self.ended == 0 { 0.0 } else { to_float(self.errors) / to_float(self.ended) }
    }
}

/// Judges `canary` against `stable`; `over`: the window has ended.
///
/// Errors are compared by the difference of two proportions, so that few errors among few pieces of
/// work count as little as they say. A stable version without work is taken to have no errors.
pub(super) fn judge(stable: &Sample, canary: &Sample, over: bool) -> Verdict {
    let rates = format!(
        "{} of {} failed, {} of {} on the old version",
        canary.errors, canary.ended, stable.errors, stable.ended
    );
    let worse = if over { FINAL } else { EARLY };
    if (over || canary.ended >= MIN_EARLY) && deviation(stable, canary) > worse {
        return Verdict::Return(format!("its error rate is worse: {rates}"));
    }
    let enough = if over { MIN_LATENCY } else { 5 * MIN_LATENCY };
    if let (Some(new), Some(old)) = (canary.p95, stable.p95)
        && canary.ended.min(stable.ended) >= enough
        && new > old.mul_f64(SLOWER) + SLOWER_BY
    {
        let slower = format!("its latency is worse: 95 of 100 took up to {new:?}, {old:?} on the old version");
        return Verdict::Return(slower);
    }
    if over { Verdict::Promote(rates) } else { Verdict::Wait }
}

/// By how many standard deviations the canary's error rate is over the stable version's.
fn deviation(stable: &Sample, canary: &Sample) -> f64 {
    if canary.errors == 0 || canary.rate() <= stable.rate() {
        return 0.0;
    }
    // Without work to compare with, as much of it without errors as the canary had work.
    let others = if stable.ended == 0 { canary.ended } else { stable.ended };
    let (new, old) = (to_float(canary.ended), to_float(others));
    let pooled = (to_float(canary.errors) + to_float(stable.errors)) / (new + old);
    let deviation = (pooled * (1.0 - pooled) * (1.0 / new + 1.0 / old)).sqrt();
    if deviation == 0.0 { f64::INFINITY } else { (canary.rate() - stable.rate()) / deviation }
}

/// Counts far below 2^53.
#[expect(clippy::cast_precision_loss, reason = "a rate needs no more precision")]
fn to_float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(ended: u64, errors: u64, p95: u64) -> Sample {
        Sample { ended, errors, p95: (ended > 0).then(|| Duration::from_millis(p95)) }
    }

    fn returned(verdict: &Verdict) -> bool {
        matches!(verdict, Verdict::Return(_))
    }

    #[test]
    fn as_good_is_promoted_at_the_end_and_not_before() {
        let (old, new) = (sample(900, 9, 10), sample(100, 1, 12));
        assert_eq!(judge(&old, &new, false), Verdict::Wait);
        assert!(matches!(judge(&old, &new, true), Verdict::Promote(_)));
        let better = sample(100, 0, 2);
        assert!(matches!(judge(&old, &better, true), Verdict::Promote(_)));
        assert!(matches!(judge(&sample(0, 0, 0), &sample(0, 0, 0), true), Verdict::Promote(_)), "nothing is not worse");
    }

    #[test]
    fn one_that_fails_is_returned_soon() {
        assert_eq!(judge(&sample(30, 0, 10), &sample(4, 4, 10), false), Verdict::Wait, "too few");
        assert!(returned(&judge(&sample(45, 0, 10), &sample(5, 5, 10), false)));
        assert!(returned(&judge(&sample(0, 0, 0), &sample(5, 5, 10), false)), "without work to compare with too");
        assert!(returned(&judge(&sample(900, 9, 10), &sample(100, 20, 10), false)));
    }

    #[test]
    fn chance_alone_does_not_return_it() {
        assert_eq!(judge(&sample(900, 9, 10), &sample(100, 3, 10), false), Verdict::Wait);
        assert!(matches!(judge(&sample(900, 18, 10), &sample(100, 3, 10), true), Verdict::Promote(_)));
        assert!(returned(&judge(&sample(900, 9, 10), &sample(100, 5, 10), true)), "the end is stricter");
        let all_fail = judge(&sample(50, 50, 10), &sample(50, 50, 10), true);
        assert!(matches!(all_fail, Verdict::Promote(_)), "it is no worse: {all_fail:?}");
    }

    #[test]
    fn a_slower_one_is_returned() {
        let old = sample(900, 0, 20);
        assert!(returned(&judge(&old, &sample(20, 0, 60), true)));
        assert!(returned(&judge(&old, &sample(100, 0, 60), false)));
        assert_eq!(judge(&old, &sample(99, 0, 60), false), Verdict::Wait, "too few to end it early");
        assert!(matches!(judge(&old, &sample(19, 0, 60), true), Verdict::Promote(_)), "too few to say");
        assert!(matches!(judge(&old, &sample(20, 0, 34), true), Verdict::Promote(_)), "within the tolerance");
        assert!(
            matches!(judge(&sample(900, 0, 1), &sample(99, 0, 6), true), Verdict::Promote(_)),
            "by no more than 5 ms"
        );
    }
}
