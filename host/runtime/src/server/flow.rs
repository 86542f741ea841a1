//! Answers that wait for an HTTP/2 client to take them.
//!
//! A client of HTTP/2 says for each stream how much it takes. One that says nothing more keeps its
//! answers, and what they hold, for ever, though the connection itself is never at a standstill: the
//! timeout of writes does not see it. HTTP/1.1 needs none of this.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};

/// The answers of one connection.
pub(super) struct Flow {
    start: Instant,
    streams: Mutex<Vec<Weak<Stream>>>,
}

/// What of one answer was handed over and is not sent yet.
struct Stream {
    start: Instant,
    pieces: AtomicUsize,
    /// When something of it was last handed over or sent, in milliseconds since `start`.
    moved: AtomicU64,
}

impl Flow {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { start: Instant::now(), streams: Mutex::default() })
    }

    /// Watches an answer's body.
    pub(super) fn watch<B: Body>(&self, body: B) -> Watched<B> {
        if body.is_end_stream() {
            return Watched { body, stream: None };
        }
        let stream = Arc::new(Stream { start: self.start, pieces: AtomicUsize::new(0), moved: AtomicU64::new(0) });
        self.streams.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&stream));
        Watched { body, stream: Some(stream) }
    }

    /// Whether the client took nothing of an answer for `patience`.
    pub(super) fn is_stuck(&self, patience: Duration) -> bool {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams.retain(|stream| stream.strong_count() > 0);
        let stuck = |stream: &Stream| {
            let moved = Duration::from_millis(stream.moved.load(Relaxed));
            stream.pieces.load(Relaxed) > 0 && self.start.elapsed().saturating_sub(moved) >= patience
        };
        streams.iter().filter_map(Weak::upgrade).any(|stream| stuck(&stream))
    }
}

impl Stream {
    fn touch(&self) {
        self.moved.store(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX), Relaxed);
    }
}

/// A body whose pieces know when they are sent.
pub(super) struct Watched<B> {
    body: B,
    stream: Option<Arc<Stream>>,
}

impl<B> Watched<B> {
    /// One that nobody needs to watch.
    pub(super) fn unwatched(body: B) -> Self {
        Self { body, stream: None }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Watched<B> {
    type Data = Piece;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Piece>, B::Error>>> {
        let this = &mut *self;
        let frame = Pin::new(&mut this.body).poll_frame(cx);
        frame.map_ok(|frame| frame.map_data(|bytes| Piece::new(bytes, this.stream.as_ref())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A part of a body, until it is sent.
pub(super) struct Piece {
    bytes: Bytes,
    stream: Option<Arc<Stream>>,
}

impl Piece {
    fn new(bytes: Bytes, stream: Option<&Arc<Stream>>) -> Self {
        let stream = stream.filter(|_| !bytes.is_empty()).cloned();
        if let Some(stream) = &stream {
            stream.touch();
            stream.pieces.fetch_add(1, Relaxed);
        }
        Self { bytes, stream }
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        if let Some(stream) = &self.stream {
            stream.touch();
        }
    }

    fn copy_to_bytes(&mut self, length: usize) -> Bytes {
        if let Some(stream) = &self.stream {
            stream.touch();
        }
        self.bytes.copy_to_bytes(length)
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        if let Some(stream) = &self.stream {
            stream.pieces.fetch_sub(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use http_body_util::{BodyExt as _, Empty, Full};

    use super::*;

    #[test]
    fn what_is_not_sent_is_stuck() {
        let flow = Flow::new();
        let mut body = flow.watch(Full::new(Bytes::from_static(b"answer")));
        assert!(!flow.is_stuck(Duration::ZERO), "nothing is handed over yet");
        let frame = body.frame().now_or_never().expect("at once").expect("a frame").expect("a frame");
        let mut piece = frame.into_data().ok().expect("data");
        assert!(flow.is_stuck(Duration::ZERO) && !flow.is_stuck(Duration::from_secs(60)));
        piece.advance(2);
        assert_eq!(piece.chunk(), b"swer");
        // The body may be gone before its last piece is sent.
        drop(body);
        assert!(flow.is_stuck(Duration::ZERO));
        drop(piece);
        assert!(!flow.is_stuck(Duration::ZERO));
        assert!(flow.watch(Empty::<Bytes>::new()).stream.is_none());
    }
}
