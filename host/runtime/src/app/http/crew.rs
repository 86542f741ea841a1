//! How many instances of a component are of use at a time.
//!
//! Requests are dealt out to idle instances one after another. Whatever was made for a burst would so
//! stay busy for ever, each instance with a small part of the work, and each request would find its
//! instance's memory cold. So instances that were too many of late end once they are idle.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

/// What is of late: so many requests.
const WINDOW: usize = 256;

/// The instances of a component that serve.
pub(super) struct Crew {
    live: AtomicUsize,
    /// Those that take no further request for now, because they compute or block.
    at_work: AtomicUsize,
    /// The most at work in this window.
    most: AtomicUsize,
    /// Requests in this window.
    requests: AtomicUsize,
    /// The most at work of late; it falls by one with each window that had less.
    wanted: AtomicUsize,
}

impl Crew {
    pub(super) fn new() -> Arc<Self> {
        let zero = || AtomicUsize::new(0);
        let wanted = AtomicUsize::new(usize::MAX);
        Arc::new(Self { live: zero(), at_work: zero(), most: zero(), requests: zero(), wanted })
    }

    /// One more instance.
    pub(super) fn join(self: &Arc<Self>) -> Member {
        self.live.fetch_add(1, Relaxed);
        let no = || AtomicBool::new(false);
        Member { crew: Arc::clone(self), at_work: no(), asked: no(), left: no() }
    }

    fn begins(&self) {
        self.most.fetch_max(self.at_work.fetch_add(1, Relaxed).saturating_add(1), Relaxed);
    }

    fn request(&self) {
        if self.requests.fetch_add(1, Relaxed) != WINDOW {
            return;
        }
        self.requests.store(0, Relaxed);
        let most = self.most.swap(self.at_work.load(Relaxed), Relaxed);
        let before = match self.wanted.load(Relaxed) {
            usize::MAX => 0,
            wanted => wanted.saturating_sub(1),
        };
        self.wanted.store(most.max(before), Relaxed);
    }

    /// Whether one may leave; it has left then. One more than at work stays, for whoever comes next.
    fn dismiss(&self) -> bool {
        let stay = self.wanted.load(Relaxed).saturating_add(1);
        self.live.try_update(Relaxed, Relaxed, |live| (live > stay).then(|| live.saturating_sub(1))).is_ok()
    }
}

/// An instance's place in its crew, until it is dropped.
pub(super) struct Member {
    crew: Arc<Crew>,
    at_work: AtomicBool,
    /// Whether it was asked for more work since its latest request began.
    asked: AtomicBool,
    left: AtomicBool,
}

impl Member {
    /// A request begins.
    pub(super) fn begins(&self) {
        self.crew.request();
        self.asked.store(false, Relaxed);
        if !self.at_work.swap(true, Relaxed) {
            self.crew.begins();
        }
    }

    /// It is asked whether it takes another request. The first time is at once after a request began;
    /// whoever computes or blocks then is not asked again before that is over.
    pub(super) fn asked(&self) {
        if self.asked.swap(true, Relaxed) && self.at_work.swap(false, Relaxed) {
            self.crew.at_work.fetch_sub(1, Relaxed);
        }
    }

    /// Whether it is one too many, now that it is idle; it does not count any more then.
    pub(super) fn is_dismissed(&self) -> bool {
        let dismissed = self.crew.dismiss();
        if dismissed {
            self.left.store(true, Relaxed);
        }
        dismissed
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if *self.at_work.get_mut() {
            self.crew.at_work.fetch_sub(1, Relaxed);
        }
        if !*self.left.get_mut() {
            self.crew.live.fetch_sub(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Serves a request, at once.
    fn serve(member: &Member) {
        member.begins();
        member.asked();
        member.asked();
    }

    #[test]
    fn those_that_a_burst_needed_leave_later() {
        let crew = Crew::new();
        let members: Vec<_> = (0..16).map(|_| crew.join()).collect();
        for member in &members {
            member.begins();
        }
        members.iter().for_each(Member::asked);
        assert_eq!(crew.at_work.load(Relaxed), 16);
        members.iter().for_each(Member::asked);
        assert_eq!(crew.at_work.load(Relaxed), 0);
        assert!(!members[0].is_dismissed(), "nobody knows yet how many are wanted");
        let windows = |count: usize| (0..count * (WINDOW + 1)).for_each(|_| serve(&members[0]));
        windows(1);
        assert!(!members[0].is_dismissed(), "all were at work in this window");
        windows(20);
        let left = members.iter().filter(|member| member.is_dismissed()).count();
        assert_eq!(left, 14, "one at work, and one for whoever comes next");
        drop(members);
        assert_eq!(crew.live.load(Relaxed), 0);
    }

    #[test]
    fn those_that_work_at_the_same_time_stay() {
        let crew = Crew::new();
        let members: Vec<_> = (0..4).map(|_| crew.join()).collect();
        for _ in 0..WINDOW * 4 {
            members.iter().for_each(Member::begins);
            members.iter().for_each(Member::asked);
            members.iter().for_each(Member::asked);
        }
        assert!(!members.iter().any(Member::is_dismissed));
        // One that ends while it works does not count as at work.
        members[0].begins();
        drop(members);
        assert_eq!((crew.live.load(Relaxed), crew.at_work.load(Relaxed)), (0, 0));
    }
}
