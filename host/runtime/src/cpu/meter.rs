//! The CPU time that an instance has used.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::threads::through;
use super::{TICK, Turn};
use crate::exceeded::Exceeded;
use crate::stats::Stats;

/// A guest has computed through a tick if its thread was given this much of it.
const MOST_OF_A_TICK: Duration = Duration::from_millis(TICK.as_millis() as u64 * 3 / 4);

/// No slice counts for more. Between two ticks a guest computes for longer only within one bulk
/// operation on its memory.
const MOST_OF_A_SLICE: Duration = Duration::from_millis(100);

/// Measures one instance. What it computes is a sequence of slices: a slice begins and ends within
/// one poll of the instance's task, hence on one thread.
///
/// An instance for HTTP may be polled once more after it was said to wait, so the end of a slice can
/// go unnoticed. What its thread does then until the next poll, perhaps on another thread, is not
/// the instance's doing: on another thread the slice counts for nothing, and on the same one for no
/// more than [`MOST_OF_A_SLICE`].
pub(crate) struct Meter {
    component: Arc<str>,
    stats: Arc<Stats>,
    /// In nanoseconds, without the slice that is open.
    used: AtomicU64,
    /// What `used` may become, and what was allowed last, in nanoseconds.
    allowed: AtomicU64,
    limit: AtomicU64,
    slice: Mutex<Option<Slice>>,
}

struct Slice {
    thread: ThreadId,
    /// The thread's CPU time at its beginning.
    since: Duration,
    /// Given back at its end.
    _turn: Option<Turn>,
}

impl Slice {
    fn begin(turn: Option<Turn>) -> Self {
        Self { thread: thread::current().id(), since: now(), _turn: turn }
    }

    /// What it counts for so far; `None`: its end went unnoticed.
    fn used(&self) -> Option<Duration> {
        let here = self.thread == thread::current().id();
        here.then(|| now().saturating_sub(self.since).min(MOST_OF_A_SLICE))
    }
}

/// What a guest that is interrupted does next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Tick {
    /// It has only begun, and goes on.
    Begun,
    /// It has computed through a tick: others first.
    Through,
}

impl Meter {
    /// A meter that allows nothing until [`Meter::allow`].
    pub(crate) fn new(component: Arc<str>, stats: Arc<Stats>) -> Self {
        let zero = || AtomicU64::new(0);
        Self { component, stats, used: zero(), allowed: zero(), limit: zero(), slice: Mutex::new(None) }
    }

    /// The instance may compute for `limit` from now on, whatever it has used.
    pub(crate) fn allow(&self, limit: Duration) {
        let limit = nanoseconds(limit);
        self.limit.store(limit, Relaxed);
        self.allowed.fetch_max(self.used.load(Relaxed).saturating_add(limit), Relaxed);
    }

    /// Whose CPU time it is.
    pub(crate) fn component(&self) -> &Arc<str> {
        &self.component
    }

    /// All that it has used.
    #[cfg(test)]
    pub(crate) fn used(&self) -> Duration {
        Duration::from_nanos(self.used.load(Relaxed))
    }

    /// The guest goes on computing, in its `turn` if it needs one.
    pub(crate) fn begin(&self, turn: Option<Turn>) {
        *self.slice() = Some(Slice::begin(turn));
    }

    /// The guest waits for something, or somebody else goes first.
    pub(crate) fn end(&self) {
        if let Some(used) = self.slice().take().and_then(|slice| slice.used()) {
            self.used.fetch_add(nanoseconds(used), Relaxed);
            if used >= MOST_OF_A_TICK {
                self.stats.load.computed(used);
            }
        }
    }

    /// A tick of the clock interrupts the guest.
    ///
    /// # Errors
    /// If it has used more than it may.
    pub(crate) fn tick(&self) -> Result<Tick, Exceeded> {
        let mut slice = self.slice();
        match slice.as_ref().and_then(Slice::used) {
            // It waited meanwhile, and nobody noted when it went on: at the last tick at the earliest.
            None => {
                *slice = Some(Slice::begin(None));
                return Ok(Tick::Begun);
            }
            Some(used) if used < MOST_OF_A_TICK => return Ok(Tick::Begun),
            Some(_) => {}
        }
        drop(slice);
        self.end();
        if self.used.load(Relaxed) > self.allowed.load(Relaxed) {
            let limit = Duration::from_nanos(self.limit.load(Relaxed));
            self.stats.exceeded.cpu_time.increment();
            return Err(Exceeded::CpuTime { component: Arc::clone(&self.component), limit });
        }
        through();
        Ok(Tick::Through)
    }

    fn slice(&self) -> MutexGuard<'_, Option<Slice>> {
        self.slice.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Meter {
    /// Runs `call` and measures all that it computes.
    pub(crate) async fn measure<F: Future>(&self, call: F) -> F::Output {
        let mut call = pin!(call);
        poll_fn(|cx| {
            self.begin(None);
            let result = call.as_mut().poll(cx);
            self.end();
            result
        })
        .await
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The CPU time of this thread.
fn now() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computes for `time` of this thread's.
    fn compute(time: Duration) {
        let end = now() + time;
        while now() < end {
            std::hint::spin_loop();
        }
    }

    #[test]
    fn what_is_computed_counts_and_what_is_waited_does_not() {
        let meter = Meter::new("spinner".into(), Arc::default());
        meter.allow(TICK * 4);
        assert_eq!(meter.tick().unwrap(), Tick::Begun, "nobody knows for how long it has computed");
        meter.end();
        compute(TICK * 2);
        assert_eq!(meter.tick().unwrap(), Tick::Begun, "it waited meanwhile");
        compute(TICK);
        assert_eq!(meter.tick().unwrap(), Tick::Through);
        assert!((TICK..TICK * 3).contains(&meter.used()), "{:?}", meter.used());
        meter.begin(None);
        compute(TICK * 4);
        let error = meter.tick().unwrap_err().to_string();
        assert!(error.contains("limits.cpu_time") && error.contains("component.spinner.tool.tessera"), "{error}");
        meter.allow(TICK * 4);
        meter.begin(None);
        compute(TICK);
        assert_eq!(meter.tick().unwrap(), Tick::Through, "the next request may compute again");
    }

    #[test]
    fn what_a_thread_does_for_others_is_not_counted() {
        let meter = Arc::new(Meter::new("waiter".into(), Arc::default()));
        meter.allow(MOST_OF_A_SLICE * 2);
        // A slice whose end nobody noted, while the thread computes for others.
        meter.begin(None);
        compute(MOST_OF_A_SLICE * 4);
        assert_eq!(meter.tick().unwrap(), Tick::Through);
        assert_eq!(meter.used(), MOST_OF_A_SLICE);
        // One that goes on where another thread has computed for long.
        meter.begin(None);
        let other = Arc::clone(&meter);
        let tick = std::thread::spawn(move || {
            compute(MOST_OF_A_SLICE * 4);
            other.tick()
        });
        assert_eq!(tick.join().unwrap().unwrap(), Tick::Begun);
        assert_eq!(meter.used(), MOST_OF_A_SLICE);
    }

    #[tokio::test]
    async fn a_measured_call_is_measured_whole() {
        let meter = Arc::new(Meter::new("worker".into(), Arc::default()));
        let call = async {
            compute(TICK);
            tokio::task::yield_now().await;
            compute(TICK);
        };
        meter.measure(call).await;
        assert!((TICK * 2..TICK * 4).contains(&meter.used()), "{:?}", meter.used());
    }
}
