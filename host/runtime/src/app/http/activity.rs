//! Whether a request still moves: its deadline starts again with every chunk of a body.
//!
//! A fixed deadline would cut off a large upload over a slow line; none at all would let a guest
//! that waits for nothing keep its instance for ever.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit, SetOnce};

use super::shared::{End, Shared};
use crate::trace;

/// How long a component has to clean up after a client that went away without an answer.
pub(super) const ABANDONED: Duration = Duration::from_secs(5);

/// The last time that something moved, readable without a lock.
#[derive(Default)]
pub(super) struct Last(AtomicU64);

/// Times are kept as milliseconds since this.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Last {
    fn touch(&self) {
        let now = u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.fetch_max(now, Relaxed);
    }

    /// When what is timed from `start` or this, whichever is later, is over after `timeout`.
    pub(super) fn deadline(&self, start: Instant, timeout: Duration) -> Instant {
        start.max(*START + Duration::from_millis(self.0.load(Relaxed))) + timeout
    }
}

/// A request's activity, and the instance that it was given to.
pub(crate) struct Activity {
    /// Whose request it is.
    pub(super) context: Option<Arc<trace::Context>>,
    own: Last,
    instance: OnceLock<Arc<Shared>>,
    too_large: Notify,
    abandoned: SetOnce<()>,
    depth: u8,
    /// Its place among those in flight: taken as long as anybody works for it.
    _permit: OwnedSemaphorePermit,
}

impl Activity {
    /// Of a request that so many calls between components led to.
    pub(super) fn at_depth(depth: u8, permit: OwnedSemaphorePermit) -> Self {
        Self {
            context: trace::current(),
            own: Last::default(),
            instance: OnceLock::new(),
            too_large: Notify::new(),
            abandoned: SetOnce::new(),
            depth,
            _permit: permit,
        }
    }

    pub(super) fn depth(&self) -> u8 {
        self.depth
    }

    pub(super) fn touch(&self) {
        self.own.touch();
        if let Some(instance) = self.instance.get() {
            instance.last.touch();
        }
    }

    /// The request is handled by `instance`.
    pub(super) fn joins(&self, instance: &Arc<Shared>) {
        // A request is accepted once; a second time would change nothing.
        if self.instance.set(Arc::clone(instance)).is_ok() {
            instance.join();
            if self.abandoned.get().is_some() {
                instance.abandon();
            }
        }
    }

    /// The instance that handles it.
    pub(super) fn instance(&self) -> Option<&Shared> {
        self.instance.get().map(|instance| &**instance)
    }

    /// How its instance ended, if that ended early.
    pub(super) fn end(&self) -> Option<&End> {
        self.instance()?.end()
    }

    /// The request's body turned out to be too large.
    pub(super) fn is_too_large(&self) {
        self.too_large.notify_one();
    }

    /// Ends when the request's body turns out to be too large.
    pub(super) async fn too_large(&self) {
        self.too_large.notified().await;
    }

    /// Nobody waits for an answer any more.
    pub(super) fn abandon(&self) {
        // Once is enough.
        _ = self.abandoned.set(());
        if let Some(instance) = self.instance.get() {
            instance.abandon();
        }
    }

    /// Ends when nothing has moved for `timeout`, or a while after the client went away.
    pub(super) async fn stalled(self: Arc<Self>, timeout: Duration) {
        let start = Instant::now();
        let moves = async {
            loop {
                let deadline = self.own.deadline(start, timeout);
                if deadline <= Instant::now() {
                    return;
                }
                tokio::time::sleep_until(deadline.into()).await;
            }
        };
        let is_wanted = async {
            self.abandoned.wait().await;
            tokio::time::sleep(ABANDONED).await;
        };
        tokio::select! {
            () = moves => {}
            () = is_wanted => {}
        }
    }
}

/// Whoever waits for an answer; dropped before [`Self::answered`], it is a client that went away.
pub(super) struct Waiting(Option<Arc<Activity>>);

impl Waiting {
    pub(super) fn new(activity: &Arc<Activity>) -> Self {
        Self(Some(Arc::clone(activity)))
    }

    /// There is an answer.
    pub(super) fn answered(mut self) {
        self.0 = None;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(activity) = &self.0 {
            activity.abandon();
        }
    }
}

impl Drop for Activity {
    fn drop(&mut self) {
        if let Some(instance) = self.instance.get() {
            instance.leave();
        }
    }
}
