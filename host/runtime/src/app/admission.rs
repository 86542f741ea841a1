//! Who may come in: so many calls of a component at a time, and so many more that wait.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::exceeded::Exceeded;
use crate::manifest::Limits;

/// The way in to one component.
pub(crate) struct Admission {
    component: Arc<str>,
    permits: Arc<Semaphore>,
    concurrency: usize,
    waiting: AtomicUsize,
    most: usize,
    failures: Mutex<Failures>,
    refusals: Mutex<Refusals>,
}

/// How often work was refused since the log said so.
struct Refusals {
    told: Option<Instant>,
    count: u64,
}

/// The log says at most this often that work is refused.
const TELL: Duration = Duration::from_secs(1);

/// How often a component failed of late.
struct Failures {
    since: Instant,
    count: u32,
}

/// So many failures in a second cost a component nothing.
const TOLERATED: u32 = 10;

/// For how long the next one keeps its permit; each further one that much longer than the last.
const PENALTY: Duration = Duration::from_millis(100);

/// No failure costs more.
const MOST: Duration = Duration::from_secs(1);

/// Counts whoever waits, however that ends.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Admission {
    pub(crate) fn new(component: Arc<str>, limits: &Limits) -> Self {
        Self {
            component,
            permits: Arc::new(Semaphore::new(limits.concurrency)),
            concurrency: limits.concurrency,
            waiting: AtomicUsize::new(0),
            most: limits.waiting,
            failures: Mutex::new(Failures { since: Instant::now(), count: 0 }),
            refusals: Mutex::new(Refusals { told: None, count: 0 }),
        }
    }

    /// The component failed: for how long it is to keep its permit, so that one which fails at
    /// every call does not spend the host's time on making instances and writing backtraces.
    pub(crate) fn failed(&self) -> Duration {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.since.elapsed() >= Duration::from_secs(1) {
            *failures = Failures { since: Instant::now(), count: 0 };
        }
        failures.count = failures.count.saturating_add(1);
        PENALTY.saturating_mul(failures.count.saturating_sub(TOLERATED)).min(MOST)
    }

    /// Work was refused. If it is time to say so in the log again: how often that happened since the
    /// last time. A line for each would let an overload fill the log.
    pub(crate) fn refused(&self) -> Option<u64> {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        refusals.count = refusals.count.saturating_add(1);
        if refusals.told.is_some_and(|told| told.elapsed() < TELL) {
            return None;
        }
        refusals.told = Some(Instant::now());
        Some(std::mem::take(&mut refusals.count))
    }

    /// A permit for one call, at once or when it is its turn.
    ///
    /// # Errors
    /// If too many wait already.
    pub(crate) async fn enter(&self) -> Result<OwnedSemaphorePermit, Exceeded> {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Ok(permit);
        }
        if self.waiting.fetch_add(1, Relaxed) >= self.most {
            self.waiting.fetch_sub(1, Relaxed);
            return Err(self.full());
        }
        let _waiting = Waiting(&self.waiting);
        self.wait().await
    }

    /// A permit for one call whose number is bounded elsewhere.
    ///
    /// # Errors
    /// None: the permits are never closed.
    pub(crate) async fn wait(&self) -> Result<OwnedSemaphorePermit, Exceeded> {
        Arc::clone(&self.permits).acquire_owned().await.map_err(|_| self.full())
    }

    fn full(&self) -> Exceeded {
        Exceeded::Work { component: Arc::clone(&self.component), concurrency: self.concurrency, waiting: self.most }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn who_fails_often_is_slowed_down() {
        let admission = Admission::new("a".into(), &Limits::default());
        for _ in 0..TOLERATED {
            assert_eq!(admission.failed(), Duration::ZERO);
        }
        assert_eq!([admission.failed(), admission.failed()], [PENALTY, PENALTY * 2]);
        assert_eq!((0..100).map(|_| admission.failed()).max(), Some(MOST));
    }

    #[test]
    fn the_log_is_told_of_refusals_now_and_then() {
        let admission = Admission::new("a".into(), &Limits::default());
        assert_eq!((0..100).filter_map(|_| admission.refused()).collect::<Vec<_>>(), [1]);
        admission.refusals.lock().unwrap().told = None;
        assert_eq!(admission.refused(), Some(100));
    }

    #[test]
    fn some_wait_and_the_rest_is_refused() {
        let admission = Admission::new("a".into(), &Limits { concurrency: 1, waiting: 1, ..Limits::default() });
        let first = admission.enter().now_or_never().expect("at once").expect("a permit");
        let mut second = Box::pin(admission.enter());
        assert!(second.as_mut().now_or_never().is_none(), "it waits");
        let error = admission.enter().now_or_never().expect("at once").unwrap_err().to_string();
        assert!(error.contains("limits.concurrency") && error.contains("limits.waiting"), "{error}");
        drop(first);
        let second = second.now_or_never().expect("its turn").expect("a permit");
        // Whoever gives up waiting makes room.
        let mut third = Box::pin(admission.enter());
        assert!(third.as_mut().now_or_never().is_none());
        drop(third);
        assert!(admission.enter().now_or_never().is_none(), "it may wait");
        drop(second);
        assert!(admission.enter().now_or_never().is_some());
    }
}
