//! How long a component's calls compute.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// About so many calls count; what was before is forgotten.
const CALLS: u64 = 64;

/// The CPU time of calls on average, of late. What computes for less than a tick counts for nothing.
#[derive(Debug, Default)]
pub(crate) struct Load {
    calls: AtomicU64,
    /// In nanoseconds.
    computed: AtomicU64,
}

impl Load {
    /// A call begins.
    pub(crate) fn call(&self) {
        if self.calls.fetch_add(1, Relaxed) == CALLS * 2 {
            self.calls.fetch_sub(CALLS, Relaxed);
            self.computed.fetch_sub(self.computed.load(Relaxed) / 2, Relaxed);
        }
    }

    /// One of the calls has computed for `time`.
    pub(crate) fn computed(&self, time: Duration) {
        self.computed.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    /// For how long a call computes.
    pub(crate) fn average(&self) -> Duration {
        Duration::from_nanos(self.computed.load(Relaxed) / self.calls.load(Relaxed).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_long_ago_is_forgotten() {
        let load = Load::default();
        assert_eq!(load.average(), Duration::ZERO);
        for _ in 0..CALLS {
            load.call();
            load.computed(Duration::from_millis(8));
        }
        assert_eq!(load.average(), Duration::from_millis(8));
        for _ in 0..CALLS * 20 {
            load.call();
        }
        assert!(load.average() < Duration::from_micros(1), "{:?}", load.average());
    }
}
