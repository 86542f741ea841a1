//! Bodies between the component model's streams and the host's: back-pressure both ways, and at
//! most two chunks in memory for each.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::channel::oneshot;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};
use tessera_capability::blob::Body;
use tessera_capability::{Error, Result};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::PollSender;
use wasmtime::StoreContextMut;
use wasmtime::component::{
    Destination, FutureConsumer, Lift, Source, StreamConsumer, StreamProducer, StreamResult, VecBuffer,
};

/// The most bytes taken from a guest's buffer at once.
const MAX_CHUNK: usize = 256 << 10;

/// What a guest writes, on its way to an engine.
pub(super) struct Chunks(PollSender<Bytes>);

/// Both ends of a channel for what a guest writes.
pub(super) fn chunks() -> (Chunks, mpsc::Receiver<Bytes>) {
    let (sender, receiver) = mpsc::channel(1);
    (Chunks(PollSender::new(sender)), receiver)
}

impl<T: 'static> StreamConsumer<T> for Chunks {
    type Item = u8;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        store: StoreContextMut<T>,
        source: Source<'_, u8>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        match self.0.poll_reserve(cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(_)) => return Poll::Ready(Ok(StreamResult::Dropped)),
            Poll::Pending if finish => return Poll::Ready(Ok(StreamResult::Cancelled)),
            Poll::Pending => return Poll::Pending,
        }
        let mut source = source.as_direct(store);
        let available = source.remaining();
        let length = available.len().min(MAX_CHUNK);
        let chunk = Bytes::copy_from_slice(available.get(..length).unwrap_or_default());
        source.mark_read(length);
        if length == 0 {
            self.0.abort_send();
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        Poll::Ready(Ok(match self.0.send_item(chunk) {
            Ok(()) => StreamResult::Completed,
            Err(_) => StreamResult::Dropped,
        }))
    }
}

/// Takes the one value of a guest's future.
pub(super) struct Once<V>(Option<oneshot::Sender<V>>);

/// Both ends of a channel for a guest's future. The receiver fails if the guest drops its end.
pub(super) fn once<V>() -> (Once<V>, oneshot::Receiver<V>) {
    let (sender, receiver) = oneshot::channel();
    (Once(Some(sender)), receiver)
}

impl<T: 'static, V: Lift + Send + Unpin + 'static> FutureConsumer<T> for Once<V> {
    type Item = V;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        store: StoreContextMut<T>,
        mut source: Source<'_, V>,
        _finish: bool,
    ) -> Poll<wasmtime::Result<()>> {
        let mut value = None;
        source.read(store, &mut value)?;
        if let (Some(value), Some(sender)) = (value, self.0.take()) {
            // The receiver is gone if the call that wanted the value already failed.
            _ = sender.send(value);
        }
        Poll::Ready(Ok(()))
    }
}

/// A guest's stream as a body: it ends well only if `completion` gives ok.
pub(super) fn body(
    chunks: mpsc::Receiver<Bytes>,
    completion: oneshot::Receiver<Result<(), String>>,
) -> impl Stream<Item = Result<Bytes>> + Send {
    let content =
        futures::stream::unfold(chunks, |mut chunks| async { chunks.recv().await.map(|chunk| (Ok(chunk), chunks)) });
    let end = futures::stream::once(async {
        match completion.await {
            Ok(Ok(())) => None,
            Ok(Err(reason)) => Some(Err(Error::Incomplete(reason.chars().take(256).collect()))),
            Err(_) => Some(Err(Error::Incomplete("the writer went away".into()))),
        }
    });
    content.chain(end.filter_map(std::future::ready))
}

/// An engine's body on its way to a guest. How it ended is told through the channel.
pub(super) struct Content {
    body: Body<'static>,
    end: Option<oneshot::Sender<Result<()>>>,
    _open: OwnedSemaphorePermit,
}

impl Content {
    pub(super) fn new(body: Body<'static>, open: OwnedSemaphorePermit) -> (Self, oneshot::Receiver<Result<()>>) {
        let (sender, receiver) = oneshot::channel();
        (Self { body, end: Some(sender), _open: open }, receiver)
    }

    fn end(&mut self, result: Result<()>) -> StreamResult {
        if let Some(sender) = self.end.take() {
            _ = sender.send(result);
        }
        StreamResult::Dropped
    }
}

impl<T: 'static> StreamProducer<T> for Content {
    type Item = u8;
    type Buffer = Bytes;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        store: StoreContextMut<'a, T>,
        mut destination: Destination<'a, u8, Bytes>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        if destination.remaining(store) == Some(0) {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        let next = self.body.poll_next_unpin(cx);
        if next.is_pending() && finish {
            return Poll::Ready(Ok(StreamResult::Cancelled));
        }
        Poll::Ready(Ok(match ready!(next) {
            Some(Ok(chunk)) => {
                destination.set_buffer(chunk);
                StreamResult::Completed
            }
            Some(Err(error)) => self.end(Err(error)),
            None => self.end(Ok(())),
        }))
    }
}

/// Values, a few at a time, on their way to a guest. How they ended is told through the channel.
pub(super) struct Items<V, E> {
    items: BoxStream<'static, Result<Vec<V>, E>>,
    end: Option<oneshot::Sender<Result<(), E>>>,
}

impl<V, E: Send + 'static> Items<V, E> {
    /// The values, and a future of their end for the guest: ok too if it does not read that far.
    pub(super) fn new(
        items: BoxStream<'static, Result<Vec<V>, E>>,
    ) -> (Self, impl Future<Output = wasmtime::Result<Result<(), E>>> + Send + 'static) {
        let (sender, receiver) = oneshot::channel();
        (Self { items, end: Some(sender) }, async move { Ok(receiver.await.unwrap_or(Ok(()))) })
    }

    fn end(&mut self, result: Result<(), E>) -> StreamResult {
        if let Some(sender) = self.end.take() {
            _ = sender.send(result);
        }
        StreamResult::Dropped
    }
}

impl<T: 'static, V: Unpin + Send + Sync + 'static, E: Send + Unpin + 'static> StreamProducer<T> for Items<V, E> {
    type Item = V;
    type Buffer = VecBuffer<V>;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        store: StoreContextMut<'a, T>,
        mut destination: Destination<'a, V, VecBuffer<V>>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        if destination.remaining(store) == Some(0) {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        loop {
            let next = self.items.poll_next_unpin(cx);
            if next.is_pending() && finish {
                return Poll::Ready(Ok(StreamResult::Cancelled));
            }
            return Poll::Ready(Ok(match ready!(next) {
                // Completing without a value would look like the end.
                Some(Ok(items)) if items.is_empty() => continue,
                Some(Ok(items)) => {
                    destination.set_buffer(items.into());
                    StreamResult::Completed
                }
                Some(Err(error)) => self.end(Err(error)),
                None => self.end(Ok(())),
            }));
        }
    }
}
