//! What the requests in one instance share: its CPU time, and its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::SetOnce;

use super::activity::Last;
use crate::cpu::Meter;
use crate::exceeded::Exceeded;

/// A request learns of its instance's end a moment before the instance says why.
const MOMENT: Duration = Duration::from_secs(1);

/// Why an instance ended though it had requests.
#[derive(Debug, Clone)]
pub(super) enum Cause {
    /// Nothing moved for too long.
    Late,
    /// Its version was replaced, and has had its time to drain.
    CutOff,
    /// Its clients went away.
    Abandoned,
    /// It had too much of something.
    Exceeded(Exceeded),
    /// It trapped.
    Trap,
}

/// An early end.
#[derive(Debug, Clone)]
pub(super) struct End {
    pub(super) cause: Cause,
    /// How many requests were in the instance.
    pub(super) requests: usize,
}

/// An instance, as the requests in it see it.
pub(super) struct Shared {
    pub(super) last: Last,
    pub(super) cpu: Arc<Meter>,
    requests: AtomicUsize,
    abandoned: AtomicBool,
    end: SetOnce<End>,
}

impl Shared {
    pub(super) fn new(cpu: Arc<Meter>) -> Self {
        Self {
            last: Last::default(),
            cpu,
            requests: AtomicUsize::new(0),
            abandoned: AtomicBool::new(false),
            end: SetOnce::new(),
        }
    }

    /// One more request is in it.
    pub(super) fn join(&self) {
        self.requests.fetch_add(1, Relaxed);
    }

    /// A client went away before the end of its answer.
    pub(super) fn abandon(&self) {
        self.abandoned.store(true, Relaxed);
    }

    /// Whether a client went away; and whether, besides, no other request or answer is in it.
    pub(super) fn is_abandoned(&self) -> (bool, bool) {
        (self.abandoned.load(Relaxed), self.requests.load(Relaxed) == 0)
    }

    /// A request and its answer have ended.
    pub(super) fn leave(&self) {
        self.requests.fetch_sub(1, Relaxed);
    }

    /// It ends early.
    pub(super) fn ends(&self, cause: Cause) {
        // The first cause is the cause.
        _ = self.end.set(End { cause, requests: self.requests.load(Relaxed) });
    }

    /// How it ended, if it did so early.
    pub(super) fn end(&self) -> Option<&End> {
        self.end.get()
    }

    /// Waits for the end of an instance that is about to end.
    pub(super) async fn ended(&self) -> Option<&End> {
        tokio::time::timeout(MOMENT, self.end.wait()).await.ok()
    }
}
