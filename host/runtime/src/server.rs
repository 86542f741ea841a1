//! HTTP servers' connections: accepting them, their protocols, and what a client may cost. What is
//! answered is the caller's.
//!
//! A client that is slow, silent or hostile costs one connection for a bounded time and bounded
//! memory; how slow a body may be is the answering side's to say, because it knows how long a
//! component may take.

mod connection;
mod flow;
mod limits;
pub(crate) mod redirect;
pub(crate) mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use self::limits::Limits;
pub(crate) use self::tls::Tls;

/// After a failed accept, such as for want of file descriptors, the next one waits this long.
const PAUSE: Duration = Duration::from_millis(50);

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    /// Its address.
    pub(crate) address: SocketAddr,
    /// Whether the connection is encrypted.
    pub(crate) secure: bool,
}

/// Listens on `address`, with room for `limits.pending` clients that are not accepted yet.
///
/// # Errors
/// If the address cannot be had.
pub(crate) fn listen(address: SocketAddr, limits: &Limits) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // The port is free at once after a restart, though old connections linger.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(limits.pending)
}

/// Lets `answer` serve `listener`, over TLS if there is `tls`, until `shutdown`; then lets requests
/// in flight end for at most `grace`. Connections over the limit wait in the operating system's
/// queue.
pub(crate) async fn serve<A, F, B>(
    listener: TcpListener,
    tls: Option<Tls>,
    limits: Limits,
    shutdown: CancellationToken,
    grace: Duration,
    answer: A,
) where
    A: Fn(Peer, Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + Unpin + 'static,
{
    let protocols = Arc::new(limits.protocols());
    let connections = Arc::new(Semaphore::new(limits.connections));
    let open = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &connections) => accepted,
            () = shutdown.cancelled() => break,
        };
        let Some((stream, address, permit)) = accepted else { continue };
        // Responses are written whole; waiting to fill a segment only delays them.
        _ = stream.set_nodelay(true);
        let (protocols, tls) = (Arc::clone(&protocols), tls.clone());
        let (shutdown, answer) = (shutdown.clone(), answer.clone());
        open.spawn(async move {
            let peer = Peer { address, secure: tls.is_some() };
            let ended = match tls {
                None => connection::run(&protocols, &limits, stream, peer, shutdown, answer).await,
                Some(tls) => match tokio::time::timeout(limits.header, tls.accept(stream)).await {
                    Ok(Ok(stream)) => connection::run(&protocols, &limits, stream, peer, shutdown, answer).await,
                    Ok(Err(error)) => Err(error.into()),
                    Err(late) => Err(late.into()),
                },
            };
            if let Err(error) = ended {
                tracing::debug!(error, client = %address, "the connection ended early");
            }
            drop(permit);
        });
    }
    drop(listener);
    open.close();
    if tokio::time::timeout(grace, open.wait()).await.is_err() {
        tracing::warn!("requests were still running after {grace:?} and are cut off");
    }
}

/// A connection and its place among those allowed; `None` if accepting failed.
async fn accept(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = Arc::clone(connections).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, address)) => Some((stream, address, permit)),
        Err(error) => {
            // Out of file descriptors, or the client was gone already: neither ends the server.
            tracing::warn!(%error, "cannot accept a connection");
            tokio::time::sleep(PAUSE).await;
            None
        }
    }
}

#[cfg(test)]
mod tests;
