//! What a version of a component has done and is doing, counted as it happens.
//!
//! Counting costs a few relaxed atomic additions for each piece of work and never waits; adding up
//! and percentiles are left to whoever reads. Counts begin at zero with each version.

mod latency;
mod load;
mod operations;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

pub(crate) use self::latency::{Latencies, Latency};
pub(crate) use self::load::Load;
pub(crate) use self::operations::{Changes, Operations, Outcome};

/// Bounds of the buckets that histograms are shown in, in milliseconds.
pub(crate) const BOUNDS: [u64; 15] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 60_000, 600_000];

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub(crate) fn increment(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    /// More by `amount`.
    pub(crate) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Relaxed);
    }

    /// How many.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that grows and shrinks. Every addition is taken back once.
#[derive(Debug, Default)]
pub(crate) struct Gauge(AtomicU64);

impl Gauge {
    /// More by `amount`.
    pub(crate) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Relaxed);
    }

    /// Less by `amount`, which was added before.
    pub(crate) fn subtract(&self, amount: u64) {
        self.0.fetch_sub(amount, Relaxed);
    }

    /// How much now.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What one version of a component did.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    /// HTTP requests. They fail if the answer's status is 500 or above; the time is that to the
    /// answer's header.
    pub(crate) http: Work,
    /// How long they compute.
    pub(crate) load: Load,
    /// Answers to HTTP requests by the first digit of their status, 1 to 5.
    statuses: [Counter; 5],
    /// Deliveries of queue messages. They fail if the consumer does not answer ok.
    pub(crate) deliveries: Work,
    /// Calls from other components. They fail if they trap or time out, not by returning an error.
    pub(crate) calls: Work,
    /// Work that ended in a trap.
    pub(crate) traps: Counter,
    /// Work that was ended because it took too long.
    pub(crate) timeouts: Counter,
    /// Work that was refused because too much was in flight.
    pub(crate) rejected: Counter,
    /// Limits of the manifest that it met; `rejected` and `timeouts` are limits too.
    pub(crate) exceeded: Arc<Exceeded>,
    /// Messages that became dead letters.
    pub(crate) dead_letters: Counter,
    /// Instances made.
    pub(crate) instantiated: Counter,
    /// Instances alive.
    pub(crate) instances: Gauge,
    /// Bytes of the linear memories of the instances alive.
    pub(crate) memory: Gauge,
}

impl Stats {
    /// Of a component whose grants count what they refuse in `exceeded`.
    pub(crate) fn new(exceeded: Arc<Exceeded>) -> Self {
        Self { exceeded, ..Self::default() }
    }

    /// Answers to HTTP requests with a status of `class` hundreds, 1 to 5.
    pub(crate) fn answers(&self, class: u16) -> u64 {
        class.checked_sub(1).and_then(|index| self.statuses.get(usize::from(index))).map_or(0, Counter::get)
    }

    /// All kinds of work.
    pub(crate) fn work(&self) -> [&Work; 3] {
        [&self.http, &self.deliveries, &self.calls]
    }
}

/// What this process did for a group of consumers.
#[derive(Debug, Default)]
pub(crate) struct Group {
    /// Messages handled.
    pub(crate) handled: Counter,
    /// Attempts that failed.
    pub(crate) failed: Counter,
}

/// How often each limit was met.
#[derive(Debug, Default)]
pub(crate) struct Exceeded {
    /// Instances ended because they computed for too long.
    pub(crate) cpu_time: Counter,
    /// Instances ended because they needed too much memory.
    pub(crate) memory: Counter,
    /// Work refused or put off because the host had no room for another instance.
    pub(crate) instances: Counter,
    /// Requests refused because their bodies were too long.
    pub(crate) request_body: Counter,
    /// Responses refused or cut off because their bodies were too long.
    pub(crate) response_body: Counter,
    /// Instances ended, and blobs not opened, because too much was open.
    pub(crate) resources: Counter,
    /// Outgoing connections that were not made because there were too many.
    pub(crate) connections: Counter,
    /// Lines that were not logged because there were too many.
    pub(crate) log_lines: Counter,
}

/// One kind of work.
#[derive(Debug, Default)]
pub(crate) struct Work {
    /// That came to an end, well or not.
    pub(crate) ended: Counter,
    /// That failed.
    pub(crate) errors: Counter,
    /// In flight.
    pub(crate) in_flight: Gauge,
    /// How long it took.
    pub(crate) latency: Latency,
}

/// Which of [`Stats::work`].
type Kind = fn(&Stats) -> &Work;

/// A piece of work in flight, until it is dropped. Dropped before it ended it counts as neither
/// ended nor failed: a client that went away, a delivery that was given back.
#[derive(Debug)]
pub(crate) struct Running {
    stats: Arc<Stats>,
    kind: Kind,
    start: Instant,
}

impl Running {
    /// An HTTP request begins.
    pub(crate) fn request(stats: &Arc<Stats>) -> Self {
        Self::new(stats, |stats| &stats.http)
    }

    /// A delivery begins.
    pub(crate) fn delivery(stats: &Arc<Stats>) -> Self {
        Self::new(stats, |stats| &stats.deliveries)
    }

    /// A call from another component begins.
    pub(crate) fn call(stats: &Arc<Stats>) -> Self {
        Self::new(stats, |stats| &stats.calls)
    }

    fn new(stats: &Arc<Stats>, kind: Kind) -> Self {
        kind(stats).in_flight.add(1);
        Self { stats: Arc::clone(stats), kind, start: Instant::now() }
    }

    /// It came to an end; call it once. It stays in flight until dropped, as a request does while
    /// its answer's body is sent.
    pub(crate) fn ended(&self, well: bool) {
        let work = (self.kind)(&self.stats);
        work.ended.increment();
        if !well {
            work.errors.increment();
        }
        work.latency.record(self.start.elapsed());
    }

    /// As [`Self::ended`], for an HTTP request whose answer has this status.
    pub(crate) fn answered(&self, status: u16) {
        let class = (status / 100).checked_sub(1);
        if let Some(counter) = class.and_then(|class| self.stats.statuses.get(usize::from(class))) {
            counter.increment();
        }
        self.ended(status < 500);
    }

    /// It ended in a trap, which is to be told by [`Self::ended`] too.
    pub(crate) fn trapped(&self) {
        self.stats.traps.increment();
    }

    /// It was refused because too much was in flight, which is to be told by [`Self::ended`] too.
    pub(crate) fn rejected(&self) {
        self.stats.rejected.increment();
    }

    /// It took too long, which is to be told by [`Self::ended`] too.
    pub(crate) fn timed_out(&self) {
        self.stats.timeouts.increment();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        (self.kind)(&self.stats).in_flight.subtract(1);
    }
}

/// An instance alive, until it is dropped, with the memory it has by then.
#[derive(Debug)]
pub(crate) struct Alive {
    stats: Arc<Stats>,
    memory: u64,
}

impl Alive {
    /// An instance begins, without memory yet.
    pub(crate) fn new(stats: &Arc<Stats>) -> Self {
        stats.instantiated.increment();
        stats.instances.add(1);
        Self { stats: Arc::clone(stats), memory: 0 }
    }

    /// Its linear memories have `bytes` more.
    pub(crate) fn grew(&mut self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.memory = self.memory.saturating_add(bytes);
        self.stats.memory.add(bytes);
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.stats.instances.subtract(1);
        self.stats.memory.subtract(self.memory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_in_flight_until_dropped() {
        let stats = Arc::<Stats>::default();
        let (one, two) = (Running::request(&stats), Running::request(&stats));
        one.answered(204);
        assert_eq!((stats.http.in_flight.get(), stats.http.ended.get(), stats.http.errors.get()), (2, 1, 0));
        two.answered(503);
        drop((one, two));
        assert_eq!((stats.http.in_flight.get(), stats.http.ended.get(), stats.http.errors.get()), (0, 2, 1));
        assert_eq!((1..=5).map(|class| stats.answers(class)).collect::<Vec<_>>(), [0, 1, 0, 0, 1]);
        assert_eq!(stats.http.latency.load().count(), 2);
        // What nobody waited for is no error.
        drop(Running::delivery(&stats));
        let deliveries = &stats.deliveries;
        assert_eq!((deliveries.in_flight.get(), deliveries.ended.get(), deliveries.errors.get()), (0, 0, 0));
    }

    #[test]
    fn statuses_that_do_not_exist_are_counted_as_work_alone() {
        let stats = Arc::<Stats>::default();
        Running::request(&stats).answered(0);
        Running::request(&stats).answered(999);
        assert_eq!((0..=10).map(|class| stats.answers(class)).sum::<u64>(), 0);
        assert_eq!(stats.http.ended.get(), 2);
    }

    #[test]
    fn an_instances_memory_goes_with_it() {
        let stats = Arc::<Stats>::default();
        let (mut one, mut two) = (Alive::new(&stats), Alive::new(&stats));
        one.grew(1000);
        one.grew(24);
        two.grew(5);
        assert_eq!((stats.instances.get(), stats.memory.get()), (2, 1029));
        drop(one);
        assert_eq!((stats.instances.get(), stats.memory.get(), stats.instantiated.get()), (1, 5, 2));
    }
}
