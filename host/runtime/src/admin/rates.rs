//! How fast groups of consumers work, over the last minute.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::app::App;

/// How often is counted, and how many counts are kept: those of a minute.
const EVERY: Duration = Duration::from_secs(5);
const KEPT: usize = 12;

/// Counts of the last minute.
#[derive(Clone, Default)]
pub(crate) struct Rates(Arc<Mutex<VecDeque<Sample>>>);

/// What all groups had done at a moment.
struct Sample {
    at: Instant,
    groups: BTreeMap<String, Done>,
}

/// What a group had done.
#[derive(Debug, Clone, Copy, Default)]
struct Done {
    handled: u64,
    failed: u64,
}

/// Something a second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Rate {
    pub(crate) handled: f64,
    pub(crate) failed: f64,
}

impl Rates {
    /// Counts until dropped.
    pub(super) async fn run(self, app: Arc<App>) {
        let mut ticks = tokio::time::interval(EVERY);
        loop {
            ticks.tick().await;
            self.add(Instant::now(), now(&app));
        }
    }

    fn add(&self, at: Instant, groups: BTreeMap<String, Done>) {
        let mut samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        samples.push_back(Sample { at, groups });
        while samples.len() > KEPT.saturating_add(1) {
            samples.pop_front();
        }
    }

    /// How fast a group works.
    pub(super) fn of(&self, group: &str) -> Rate {
        let samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(first), Some(last)) = (samples.front(), samples.back()) else { return Rate::default() };
        let seconds = last.at.saturating_duration_since(first.at).as_secs_f64();
        if seconds <= 0.0 {
            return Rate::default();
        }
        let done = |sample: &Sample| sample.groups.get(group).copied().unwrap_or_default();
        let (before, after) = (done(first), done(last));
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = |before: u64, after: u64| after.saturating_sub(before) as f64 / seconds;
        Rate { handled: rate(before.handled, after.handled), failed: rate(before.failed, after.failed) }
    }
}

fn now(app: &App) -> BTreeMap<String, Done> {
    let groups = app.groups();
    let done = |stats: &crate::stats::Group| Done { handled: stats.handled.get(), failed: stats.failed.get() };
    groups.iter().map(|(group, stats)| (group.clone(), done(stats))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_the_last_minute() {
        let rates = Rates::default();
        assert_eq!(rates.of("a"), Rate::default());
        let start = Instant::now();
        for tick in 0..100_u64 {
            // Ten a second, and one failure every five; nothing in the last half minute.
            let tick = tick.min(94);
            let done = Done { handled: tick * 50, failed: tick };
            rates.add(start + EVERY * u32::try_from(tick).unwrap(), BTreeMap::from([("a".to_owned(), done)]));
        }
        // Kept: ticks 88 to 94, and 94 six times more at the same moment.
        assert_eq!(rates.of("a"), Rate { handled: 10.0, failed: 0.2 });
        assert_eq!(rates.of("b"), Rate::default());
        assert_eq!(rates.0.lock().unwrap().len(), KEPT + 1);
    }
}
