//! Turns to compute: a bounded number at a time, dealt out between components one after another.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::cores;
use super::threads::is_computing;

/// Who may compute for long now, and who waits to. Shared by a whole application.
pub(crate) struct Turns {
    /// On the threads that serve.
    serving: Arc<Dealer>,
    /// On the computing threads.
    computing: Arc<Dealer>,
}

/// Deals out the turns on threads of one kind.
struct Dealer {
    /// How many turns there are at a time.
    most: usize,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    taken: usize,
    /// By component, so that many instances of one get no more than one of another.
    waiting: VecDeque<(Arc<str>, VecDeque<oneshot::Sender<Turn>>)>,
}

/// The right to compute for a tick; given back when dropped.
pub(crate) struct Turn(Option<Arc<Dealer>>);

impl Default for Turns {
    fn default() -> Self {
        let cores = cores();
        // A thread that serves is always free for what comes in.
        Self { serving: Dealer::of(cores.saturating_sub(1).max(1)), computing: Dealer::of(cores) }
    }
}

impl Turns {
    /// The next turn of `component` on this thread, or another of its kind.
    pub(crate) async fn turn(&self, component: &Arc<str>) -> Turn {
        if is_computing() { self.computing.turn(component).await } else { self.serving.turn(component).await }
    }
}

impl Dealer {
    fn of(most: usize) -> Arc<Self> {
        Arc::new(Self { most, queue: Mutex::default() })
    }

    async fn turn(self: &Arc<Self>, component: &Arc<str>) -> Turn {
        let (sender, turn) = oneshot::channel();
        {
            let mut queue = self.queue();
            match queue.waiting.iter_mut().find(|(other, _)| other == component) {
                Some((_, senders)) => senders.push_back(sender),
                None => queue.waiting.push_back((Arc::clone(component), VecDeque::from([sender]))),
            }
            self.deal(&mut queue);
        }
        // A sender is dropped only with the dealer, which this borrows.
        turn.await.unwrap_or(Turn(None))
    }

    /// Gives the free turns to those that wait.
    fn deal(self: &Arc<Self>, queue: &mut Queue) {
        while queue.taken < self.most {
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

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(dealer) = self.0.take() {
            let mut queue = dealer.queue();
            queue.taken = queue.taken.saturating_sub(1);
            dealer.deal(&mut queue);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn components_take_turns_and_not_instances() {
        let turns = Dealer::of(1);
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
        let turns = Dealer::of(1);
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
    fn a_thread_that_serves_stays_free() {
        let turns = Turns::default();
        assert_eq!(turns.serving.most, (cores() - 1).max(1));
        assert_eq!(turns.computing.most, cores());
    }
}
