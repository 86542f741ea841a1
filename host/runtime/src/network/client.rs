//! The HTTP client of a component: HTTP/1.1, and HTTP/2 where a server offers it with TLS.
//!
//! Connections are kept for further requests of the same component only. A kept connection was
//! granted when it was made, and grants do not change while it lives.

use std::error::Error as _;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::capture_connection;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::Sleep;
use wasmtime_wasi_http::{Error as HttpError, RequestOptions, WasiBody};

use super::Network;
use super::connect::{self, CONNECT_TIMEOUT, Connector};
use super::tls::Configs;

/// How long a connection may take to be made, if the component says nothing.
pub(super) const CONNECT: Duration = Duration::from_secs(30);
/// How long the head of an answer may take, if the component says nothing. As in Spin.
const FIRST_BYTE: Duration = Duration::from_secs(600);
/// How long the next part of an answer may take, if the component says nothing. As in Spin.
const BETWEEN_BYTES: Duration = Duration::from_secs(600);
/// A connection without a request is kept this long.
const IDLE: Duration = Duration::from_secs(30);
/// So many connections without a request are kept for a host.
const MAX_IDLE: usize = 16;

/// Sends the requests of one component.
pub(super) struct Client(legacy::Client<Connector, WasiBody>);

impl Client {
    pub(super) fn new(network: Weak<Network>, tls: Configs, pooling: bool) -> Self {
        let connector = Connector { network, tls: Arc::new(tls) };
        let mut builder = legacy::Client::builder(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(if pooling { MAX_IDLE } else { 0 });
        Self(builder.build(connector))
    }

    /// Sends a request to its URL's host, if that is granted.
    pub(super) async fn send(
        &self,
        mut request: Request<WasiBody>,
        options: Option<RequestOptions>,
    ) -> Result<Response<WasiBody>, HttpError> {
        let options = options.unwrap_or_default();
        let connect = options.connect_timeout.unwrap_or(CONNECT);
        let first = options.first_byte_timeout.unwrap_or(FIRST_BYTE);
        let between = options.between_bytes_timeout.unwrap_or(BETWEEN_BYTES);
        // The client sets it where the protocol needs it: some servers refuse it in HTTP/2.
        request.headers_mut().remove(HOST);
        let mut connection = capture_connection(&mut request);
        let sent = CONNECT_TIMEOUT.scope(connect, self.0.request(request));
        // Connecting has a limit of its own, so this one begins when there is a connection.
        let overdue = async {
            _ = connection.wait_for_connection_metadata().await;
            tokio::time::sleep(first).await;
        };
        let response = tokio::select! {
            biased;
            response = sent => response.map_err(|error| to_http(&error))?,
            () = overdue => return Err(HttpError::ConnectionReadTimeout),
        };
        Ok(response.map(|body| Timed { body, timeout: between, sleep: None }.boxed_unsync()))
    }
}

fn to_http(error: &legacy::Error) -> HttpError {
    tracing::debug!(%error, cause = error.source(), "an outgoing request failed");
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<connect::Error>() {
            return error.to_http();
        }
        if let Some(error) = error.downcast_ref::<hyper::Error>()
            && (error.is_incomplete_message() || error.is_closed())
        {
            return HttpError::ConnectionTerminated;
        }
        cause = error.source();
    }
    HttpError::HttpProtocolError
}

/// A body that fails if its next part does not come in time.
struct Timed {
    body: Incoming,
    timeout: Duration,
    /// While one is waited for.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Body for Timed {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            this.sleep = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(HttpError::from)));
        }
        let timeout = this.timeout;
        ready!(this.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout))).as_mut().poll(cx));
        Poll::Ready(Some(Err(HttpError::ConnectionReadTimeout)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
