//! Which cores the threads run on.
//!
//! The kernel balances cores by the weight of what runs there, now and then. Beside nice threads that
//! compute without end this puts two threads that serve on one core for many milliseconds, because
//! the other never falls idle. So while guests compute and requests come in, each thread that serves
//! keeps to a core of its own, and those that compute leave one core to them. At all other times
//! every thread may run anywhere.
//!
//! Nice threads also get their share in pieces of a millisecond and more, for which a request waits
//! that arrives meanwhile. So as long as they keep apart, they give up their core at every tick, and
//! with it what the kernel owes them.
//!
//! A thread sees to its own place, when it serves or computes next.

use std::cell::{Cell, OnceCell};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use super::threads::is_computing;

/// So many ticks are a window in which requests are counted: 50 ms.
const WINDOW: u32 = 25;

/// So many requests in a window are worth a core: 80 a second.
const MANY: usize = 4;

/// After so many windows with fewer the threads may run anywhere again: half a second.
const CALM: u32 = 10;

/// Whether the threads are to keep apart.
static APART: AtomicBool = AtomicBool::new(false);
/// Whether a guest has computed in this window.
static COMPUTED: AtomicBool = AtomicBool::new(false);
/// How many requests came in this window since then.
static SERVED: AtomicUsize = AtomicUsize::new(0);
/// How many threads serve.
static SERVING: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Whether this thread keeps apart.
    static PLACED: Cell<bool> = const { Cell::new(false) };
    /// Which of those that serve this thread is.
    static NUMBER: OnceCell<usize> = const { OnceCell::new() };
}

/// Decides whether the threads keep apart. Looks once in each tick.
#[derive(Default)]
pub(crate) struct Places {
    ticks: u32,
    calm: u32,
}

impl Places {
    /// A tick is over.
    pub(crate) fn tick(&mut self) {
        self.ticks = self.ticks.saturating_add(1);
        if self.ticks >= WINDOW {
            self.ticks = 0;
            if let Some(apart) = self.window(COMPUTED.swap(false, Relaxed), SERVED.swap(0, Relaxed)) {
                APART.store(apart, Relaxed);
            }
        }
    }

    /// Whether the threads are to keep apart after a window in which guests `computed` and so many
    /// requests were `served`; `None`: as before.
    fn window(&mut self, computed: bool, served: usize) -> Option<bool> {
        if computed && served >= MANY {
            self.calm = 0;
            return Some(CORES.len() > 1);
        }
        self.calm = self.calm.saturating_add(1);
        (self.calm == CALM).then_some(false)
    }
}

/// This thread serves a request that will not compute for long.
pub(crate) fn serves() {
    if COMPUTED.load(Relaxed) {
        SERVED.fetch_add(1, Relaxed);
    }
    settle();
}

/// A guest computes on this thread, a computing one.
pub(super) fn computes() {
    COMPUTED.store(true, Relaxed);
    settle();
    give_up();
}

/// This thread begins: it does not keep the place of the thread that made it.
pub(crate) fn anywhere() {
    run_on(&CORES);
}

/// Lets others go first on this thread's core, if it keeps apart.
fn give_up() {
    #[cfg(target_os = "linux")]
    if PLACED.get() {
        rustix::thread::sched_yield();
    }
}

fn settle() {
    let apart = APART.load(Relaxed);
    if PLACED.replace(apart) != apart {
        run_on(place(&CORES, apart, is_computing(), number()));
    }
}

/// Where a thread runs.
fn place(cores: &[usize], apart: bool, computing: bool, number: usize) -> &[usize] {
    let last = cores.len().saturating_sub(1);
    let own = number.checked_rem(cores.len()).unwrap_or(0);
    match (apart, computing) {
        (false, _) => cores,
        (true, true) => cores.get(..last).unwrap_or(cores),
        (true, false) => cores.get(own..=own).unwrap_or(cores),
    }
}

/// The number of this thread among those that serve.
fn number() -> usize {
    NUMBER.with(|number| *number.get_or_init(|| if is_computing() { 0 } else { SERVING.fetch_add(1, Relaxed) }))
}

/// The cores that this process was given; none where threads cannot choose.
static CORES: LazyLock<Vec<usize>> = LazyLock::new(given);

#[cfg(target_os = "linux")]
fn given() -> Vec<usize> {
    use rustix::thread::{CpuSet, sched_getaffinity};

    let set = sched_getaffinity(None).unwrap_or_default();
    (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect()
}

#[cfg(target_os = "linux")]
fn run_on(cores: &[usize]) {
    use rustix::thread::{CpuSet, sched_setaffinity};

    let mut set = CpuSet::new();
    cores.iter().for_each(|core| set.set(*core));
    // The system may have taken the cores away meanwhile; then it has chosen others itself.
    _ = sched_setaffinity(None, &set);
}

#[cfg(not(target_os = "linux"))]
fn given() -> Vec<usize> {
    Vec::new()
}

#[cfg(not(target_os = "linux"))]
fn run_on(_: &[usize]) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_keep_apart_while_guests_compute_and_requests_come_in() {
        let mut places = Places::default();
        let many = CORES.len() > 1;
        assert_eq!(places.window(false, 1000), None, "nobody computes");
        assert_eq!(places.window(true, MANY - 1), None, "few requests");
        assert_eq!(places.window(true, MANY), Some(many));
        for _ in 1..CALM {
            assert_eq!(places.window(true, 0), None, "a pause");
        }
        assert_eq!(places.window(true, 0), Some(false));
        assert_eq!(places.window(true, 0), None, "they are told once");
        assert_eq!(places.window(true, MANY), Some(many));
    }

    #[test]
    fn those_that_compute_leave_a_core_and_those_that_serve_have_one_each() {
        let cores = [0, 2, 5];
        assert_eq!(place(&cores, false, true, 0), cores);
        assert_eq!(place(&cores, false, false, 7), cores);
        assert_eq!(place(&cores, true, true, 0), [0, 2]);
        assert_eq!([0, 1, 2, 3].map(|number| place(&cores, true, false, number)), [&[0][..], &[2], &[5], &[0]]);
        assert!(place(&[], true, true, 0).is_empty(), "nothing to choose from");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_thread_runs_where_it_is_put_and_the_next_one_anywhere() {
        std::thread::spawn(|| {
            let all = given();
            let last = &all[all.len() - 1..];
            run_on(last);
            assert_eq!(given(), last);
            let next = std::thread::spawn(|| {
                anywhere();
                given()
            });
            assert_eq!(next.join().unwrap(), *CORES);
        })
        .join()
        .unwrap();
    }
}
