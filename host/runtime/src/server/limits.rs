//! What a client may cost, whatever it sends and however slowly.

use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto::Builder;

/// Limits of a server's connections.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Connections at a time, those in their TLS handshake included.
    pub(crate) connections: usize,
    /// Clients that wait to be accepted; the operating system may allow fewer.
    pub(crate) pending: u32,
    /// From a connection's begin to its first request's whole header, and from each further
    /// request's possible begin to its header (HTTP/1.1).
    pub(crate) header: Duration,
    /// A connection on which no request began for this long, and up to twice as long, is asked to
    /// close: what is in flight ends.
    pub(crate) idle: Duration,
    /// How long a client may take nothing of what is written to it.
    pub(crate) write: Duration,
    /// The bytes of a request's header.
    pub(crate) header_bytes: u32,
    /// Requests at a time on one HTTP/2 connection.
    pub(crate) streams: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            pending: 1024,
            header: Duration::from_secs(30),
            idle: Duration::from_secs(120),
            write: Duration::from_secs(60),
            header_bytes: 64 << 10,
            streams: 128,
        }
    }
}

/// Streams that a client opened and reset before they were served; beyond that the connection ends
/// (CVE-2023-44487, "rapid reset").
const RESET_STREAMS: usize = 20;

/// Streams that this side reset for the client's faults; beyond that the connection ends
/// (CVE-2025-8671, "made you reset").
const ERROR_STREAMS: usize = 256;

/// A client that is gone without a word is noticed after this and again as long.
const PING: Duration = Duration::from_secs(20);

impl Limits {
    /// HTTP/1.1 and HTTP/2 within these limits. HTTP/1.1's count of headers is hyper's, 100.
    pub(super) fn protocols(&self) -> Builder<TokioExecutor> {
        let mut server = Builder::new(TokioExecutor::new());
        server
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.header)
            .max_buf_size(usize::try_from(self.header_bytes).unwrap_or(usize::MAX))
            // It would buffer an answer without bound for a client that does not read.
            .pipeline_flush(false);
        server
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING)
            .max_header_list_size(self.header_bytes)
            .max_concurrent_streams(self.streams)
            .max_pending_accept_reset_streams(RESET_STREAMS)
            .max_local_error_reset_streams(ERROR_STREAMS);
        server
    }
}
