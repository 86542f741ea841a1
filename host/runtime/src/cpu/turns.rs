//! Turns to compute: a bounded number at a time, dealt out between components one after another.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

/// Requests count as coming in for this long after the last one.
const FLOW: Duration = Duration::from_millis(200);

/// Who may compute for long now, and who waits to. Shared by a whole application.
pub(crate) struct Turns {
    cores: usize,
    start: Instant,
    /// When a request came in, in milliseconds since `start`; 0: never.
    last_request: AtomicU64,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    taken: usize,
    /// By component, so that many instances of one get no more than one of another.
    waiting: VecDeque<(Arc<str>, VecDeque<oneshot::Sender<Turn>>)>,
}

/// The right to compute for a tick; given back when dropped.
pub(crate) struct Turn(Option<Arc<Turns>>);

impl Default for Turns {
    fn default() -> Self {
        Self::of(available_parallelism().map_or(1, usize::from))
    }
}

impl Turns {
    fn of(cores: usize) -> Self {
        Self { cores, start: Instant::now(), last_request: AtomicU64::new(0), queue: Mutex::default() }
    }

    /// A request comes in `now`: leave room for it.
    pub(crate) fn request(&self, now: Instant) {
        self.last_request.store(self.milliseconds(now), Relaxed);
    }

    /// The next turn of `component`.
    pub(crate) async fn turn(self: &Arc<Self>, component: &Arc<str>) -> Turn {
        let (sender, turn) = oneshot::channel();
        {
            let mut queue = self.queue();
            match queue.waiting.iter_mut().find(|(other, _)| other == component) {
                Some((_, senders)) => senders.push_back(sender),
                None => queue.waiting.push_back((Arc::clone(component), VecDeque::from([sender]))),
            }
            self.deal(&mut queue);
        }
        // A sender is dropped only with all turns, which this borrows.
        turn.await.unwrap_or(Turn(None))
    }

    /// Gives the free turns to those that wait.
    fn deal(self: &Arc<Self>, queue: &mut Queue) {
        while queue.taken < self.most() {
            let Some((component, mut senders)) = queue.waiting.pop_front() else { return };
            let next = senders.pop_front();
            if !senders.is_empty() {
                queue.waiting.push_back((component, senders));
            }
            let Some(next) = next else { continue };
            match next.send(Turn(Some(Arc::clone(self)))) {
                Ok(()) => queue.taken += 1,
                // Whoever waited is gone. To drop the turn would give back what was not taken.
                Err(mut turn) => turn.0 = None,
            }
        }
    }

    /// How many turns there are at a time: one core stays free while requests come in.
    fn most(&self) -> usize {
        let last = self.last_request.load(Relaxed);
        let flow = u64::try_from(FLOW.as_millis()).unwrap_or(u64::MAX);
        let calm = last == 0 || self.milliseconds(Instant::now()).saturating_sub(last) > flow;
        if calm { self.cores } else { self.cores.saturating_sub(1).max(1) }
    }

    fn milliseconds(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.start).as_millis()).unwrap_or(u64::MAX).max(1)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(turns) = self.0.take() {
            let mut queue = turns.queue();
            queue.taken = queue.taken.saturating_sub(1);
            turns.deal(&mut queue);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn components_take_turns_and_not_instances() {
        let turns = Arc::new(Turns::of(1));
        let [many, one]: [Arc<str>; 2] = ["many".into(), "one".into()];
        let first = turns.turn(&many).now_or_never().expect("a free turn");
        let mut second = Box::pin(turns.turn(&many));
        let mut third = Box::pin(turns.turn(&many));
        let mut other = Box::pin(turns.turn(&one));
        assert!(second.as_mut().now_or_never().is_none() && third.as_mut().now_or_never().is_none());
        assert!(other.as_mut().now_or_never().is_none());
        drop(first);
        let second = second.now_or_never().expect("its turn");
        assert!(third.as_mut().now_or_never().is_none() && other.as_mut().now_or_never().is_none());
        drop(second);
        let other = other.now_or_never().expect("the other component's turn");
        assert!(third.as_mut().now_or_never().is_none());
        drop(other);
        assert!(third.now_or_never().is_some());
    }

    #[test]
    fn who_gives_up_waiting_takes_no_turn() {
        let turns = Arc::new(Turns::of(1));
        let component: Arc<str> = "a".into();
        let first = turns.turn(&component).now_or_never().expect("a free turn");
        let mut gone = Box::pin(turns.turn(&component));
        assert!(gone.as_mut().now_or_never().is_none());
        let mut late = Box::pin(turns.turn(&component));
        assert!(late.as_mut().now_or_never().is_none());
        drop(gone);
        drop(first);
        // One that is dealt and never taken comes back too.
        drop(late);
        assert!(turns.turn(&component).now_or_never().is_some());
        assert_eq!(turns.queue().taken, 0);
    }

    #[test]
    fn a_core_stays_free_while_requests_come_in() {
        let turns = Arc::new(Turns::of(2));
        let component: Arc<str> = "a".into();
        assert_eq!(turns.most(), 2);
        turns.request(Instant::now());
        assert_eq!(turns.most(), 1);
        let _first = turns.turn(&component).now_or_never().expect("a free turn");
        assert!(turns.turn(&component).now_or_never().is_none());
        assert_eq!(Turns::of(1).most(), 1);
    }
}
