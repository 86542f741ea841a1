//! Whether a request still moves: its deadline starts again with every chunk of a body.
//!
//! A fixed deadline would cut off a large upload over a slow line; none at all would let a guest
//! that waits for nothing keep its instance for ever.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

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

/// A request's activity, and that of the instance it was given to.
#[derive(Default)]
pub(crate) struct Activity {
    own: Last,
    instance: OnceLock<Arc<Last>>,
}

impl Activity {
    fn touch(&self) {
        self.own.touch();
        if let Some(instance) = self.instance.get() {
            instance.touch();
        }
    }

    /// The request is handled by an instance whose activity is `instance`.
    pub(super) fn belongs_to(&self, instance: &Arc<Last>) {
        // A request is accepted once; a second time would change nothing.
        _ = self.instance.set(Arc::clone(instance));
    }

    /// Whether nothing has moved for `timeout`, in a request that began at `start`.
    pub(crate) fn has_stalled(&self, start: Instant, timeout: Duration) -> bool {
        self.own.deadline(start, timeout) <= Instant::now()
    }

    /// Ends when nothing has moved for `timeout`.
    pub(super) async fn stalled(self: Arc<Self>, timeout: Duration) {
        let start = Instant::now();
        loop {
            let deadline = self.own.deadline(start, timeout);
            if deadline <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(deadline.into()).await;
        }
    }
}

/// A body whose chunks count as activity, and that keeps `G` until it is dropped.
pub(crate) struct Tracked<B, G> {
    pub(crate) body: B,
    pub(crate) activity: Arc<Activity>,
    pub(crate) _guard: G,
}

impl<B: Body<Data = Bytes> + Unpin, G: Unpin> Body for Tracked<B, G> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if frame.is_ready() {
            self.activity.touch();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
