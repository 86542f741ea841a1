//! Bodies of requests and responses on their way: what moves counts as activity, what is too long
//! is cut, and a response whose instance died does not look complete.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use bytesize::ByteSize;
use http_body::{Body, Frame, SizeHint};
use wasmtime_wasi_http::{Error as HttpError, WasiBody};

use super::activity::Activity;
use crate::app::component::Component;
use crate::exceeded::Exceeded;
use crate::stats::Running;

/// Counts the bytes of a frame; false if they are more than are `left`.
fn count<T>(left: &mut u64, frame: &Frame<T>) -> bool
where
    T: AsRef<[u8]>,
{
    let length = frame.data_ref().map_or(0, |data| data.as_ref().len() as u64);
    left.checked_sub(length).inspect(|rest| *left = *rest).is_some()
}

/// A request's body, as the component reads it.
pub(super) struct RequestBody<B> {
    pub(super) body: B,
    pub(super) activity: Arc<Activity>,
    /// How many bytes it may still have.
    pub(super) left: u64,
}

impl<B: Body<Data = Bytes> + Unpin> Body for RequestBody<B>
where
    HttpError: From<B::Error>,
{
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let this = &mut *self;
        let frame = Pin::new(&mut this.body).poll_frame(cx);
        if frame.is_ready() {
            this.activity.touch();
        }
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && !count(&mut this.left, frame)
        {
            this.activity.is_too_large();
            return Poll::Ready(Some(Err(HttpError::HttpRequestBodySize(None))));
        }
        frame.map_err(HttpError::from)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A response's body, as the client reads it. Keeps the request in flight until it is dropped.
pub(super) struct ResponseBody {
    pub(super) body: WasiBody,
    pub(super) activity: Arc<Activity>,
    pub(super) component: Arc<Component>,
    pub(super) limit: u64,
    pub(super) left: u64,
    /// As announced.
    pub(super) length: Option<u64>,
    /// Whether its end was read.
    pub(super) ended: bool,
    pub(super) _running: Running,
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let this = &mut *self;
        let frame = Pin::new(&mut this.body).poll_frame(cx);
        if frame.is_ready() {
            this.activity.touch();
        }
        this.ended = matches!(frame, Poll::Ready(None | Some(Err(_))));
        match &frame {
            Poll::Ready(Some(Ok(data))) if !count(&mut this.left, data) => {
                let exceeded =
                    Exceeded::ResponseBody { component: Arc::clone(&this.component.id), limit: ByteSize(this.limit) };
                this.component.stats.exceeded.response_body.increment();
                tracing::error!(component = &*this.component.id, "the response was cut off: {exceeded}");
                Poll::Ready(Some(Err(HttpError::HttpResponseBodySize(Some(this.limit)))))
            }
            // To the body, a writer that died is one that has ended.
            Poll::Ready(None) if this.activity.end().is_some() => {
                Poll::Ready(Some(Err(HttpError::HttpResponseIncomplete)))
            }
            _ => frame,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream() && self.activity.end().is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        // Whoever knows the length does not ask for the end.
        let whole = self.length.is_some_and(|length| self.limit.saturating_sub(self.left) >= length);
        if !self.ended && !whole && !self.body.is_end_stream() {
            self.activity.abandon();
        }
    }
}
