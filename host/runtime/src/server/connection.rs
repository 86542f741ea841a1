//! One connection from its first byte to its last.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_io_timeout::TimeoutWriter;
use tokio_util::sync::CancellationToken;

use super::flow::{Flow, Watched};
use super::{Limits, Peer};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Serves what `peer` asks on `stream` until either side is done or a limit is reached. After
/// `shutdown` requests in flight end and no others begin.
pub(super) async fn run<S, A, F, B>(
    protocols: &Builder<TokioExecutor>,
    limits: &Limits,
    stream: S,
    peer: Peer,
    shutdown: CancellationToken,
    answer: A,
) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    A: Fn(Peer, Request<Incoming>) -> F + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes, Error: Into<Error>> + Send + Unpin + 'static,
{
    let mut stream = TimeoutWriter::new(stream);
    stream.set_timeout(Some(limits.write));
    let busy = Arc::new(AtomicBool::new(false));
    let began = Arc::clone(&busy);
    let flow = Flow::new();
    let flowing = Arc::clone(&flow);
    let service = service_fn(move |request: Request<Incoming>| {
        began.store(true, Relaxed);
        let flow = (request.version() == Version::HTTP_2).then(|| Arc::clone(&flowing));
        let response = answer(peer, request);
        async move {
            Ok::<_, Infallible>(response.await.map(|body| match flow {
                Some(flow) => flow.watch(body),
                None => Watched::unwatched(body),
            }))
        }
    });
    let mut connection = pin!(protocols.serve_connection(TokioIo::new(Box::pin(stream)), service));
    // What is sent before the protocol is known has no timeout of its own in hyper.
    let mut look = pin!(tokio::time::sleep(limits.header));
    let mut stuck = pin!(tokio::time::sleep(limits.write));
    let mut first = true;
    let mut closing = false;
    loop {
        tokio::select! {
            biased;
            result = connection.as_mut() => return result,
            () = shutdown.cancelled(), if !closing => closing = true,
            () = look.as_mut(), if !closing => {
                closing = !busy.swap(false, Relaxed);
                if closing && first {
                    return Err("no request within the time limit".into());
                }
                first = false;
                look.as_mut().reset(tokio::time::Instant::now() + limits.idle);
            }
            () = stuck.as_mut() => {
                if flow.is_stuck(limits.write) {
                    return Err("the client takes nothing of an answer".into());
                }
                stuck.as_mut().reset(tokio::time::Instant::now() + limits.write / 4);
            }
        }
        if closing {
            connection.as_mut().graceful_shutdown();
        }
    }
}
