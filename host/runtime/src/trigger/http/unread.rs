//! What a component leaves unread of a request's body is read and thrown away for a while.
//!
//! A component may answer before it has read everything, such as 413. Closing the connection then
//! resets it while the client still writes, and the client loses the answer.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::runtime::Handle;

/// For how long and how much at most: the client should read the answer and stop by then.
const PATIENCE: Duration = Duration::from_secs(5);
const MOST: usize = 64 << 20;

/// A request's body whose rest is read when it is dropped.
pub(super) struct Unread {
    /// Present until then.
    body: Option<Incoming>,
    /// The client sends nothing before somebody reads, so there is nothing to throw away.
    waits: bool,
}

impl Unread {
    pub(super) fn new(body: Incoming, waits: bool) -> Self {
        Self { body: Some(body), waits }
    }
}

impl Body for Unread {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.waits = false;
        self.body.as_mut().map_or(Poll::Ready(None), |body| Pin::new(body).poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let Some(mut body) = self.body.take().filter(|body| !self.waits && !body.is_end_stream()) else { return };
        let Ok(runtime) = Handle::try_current() else { return };
        runtime.spawn(tokio::time::timeout(PATIENCE, async move {
            let mut left = MOST;
            while let Some(Ok(frame)) = body.frame().await {
                let length = frame.data_ref().map_or(0, Bytes::len);
                let Some(rest) = left.checked_sub(length) else { return };
                left = rest;
            }
        }));
    }
}
