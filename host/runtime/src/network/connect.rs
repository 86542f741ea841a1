//! Connections for HTTP: a name is resolved once, its addresses are checked, and the connection is
//! made to one of those, so that a name whose records change in between leads nowhere else.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;
use wasmtime_wasi_http::Error as HttpError;

use super::tls::Configs;
use super::{Network, Refusal};
use crate::manifest::Destination;

tokio::task_local! {
    /// How long a request waits for its connection; the pool passes no such thing on.
    pub(super) static CONNECT_TIMEOUT: Duration;
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("the URL names no host")]
    Url,
    #[error("the component is gone")]
    Gone,
    #[error("the destination is not granted")]
    NotGranted,
    #[error("no address of the destination is granted")]
    Address,
    #[error("the name cannot be resolved: {0}")]
    Name(io::Error),
    #[error("no connection in time")]
    Timeout,
    #[error("no connection: {0}")]
    Connect(io::Error),
    #[error("no TLS: {0}")]
    Tls(io::Error),
}

impl Error {
    /// What the guest is told.
    pub(super) fn to_http(&self) -> HttpError {
        match self {
            Self::Url => HttpError::HttpRequestUriInvalid,
            Self::Gone => HttpError::DestinationUnavailable,
            Self::NotGranted => HttpError::HttpRequestDenied,
            Self::Address => HttpError::DestinationIpProhibited,
            Self::Name(_) => {
                HttpError::DnsError { rcode: Some("address not available".to_owned()), info_code: Some(0) }
            }
            Self::Timeout => HttpError::ConnectionTimeout,
            Self::Connect(error) if error.kind() == io::ErrorKind::ConnectionRefused => HttpError::ConnectionRefused,
            Self::Connect(_) => HttpError::DestinationUnavailable,
            Self::Tls(error) if error.kind() == io::ErrorKind::InvalidData => HttpError::TlsCertificateError,
            Self::Tls(_) => HttpError::TlsProtocolError,
        }
    }
}

/// Makes the connections of one component.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) network: Weak<Network>,
    pub(super) tls: Arc<Configs>,
}

impl tower_service::Service<http::Uri> for Connector {
    type Response = Stream;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, Error>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: http::Uri) -> Self::Future {
        let this = self.clone();
        let timeout = CONNECT_TIMEOUT.try_get().unwrap_or(super::client::CONNECT);
        Box::pin(async move { tokio::time::timeout(timeout, this.connect(&uri)).await.unwrap_or(Err(Error::Timeout)) })
    }
}

impl Connector {
    async fn connect(&self, uri: &http::Uri) -> Result<Stream, Error> {
        let scheme = uri.scheme_str().ok_or(Error::Url)?;
        let host = uri.host().ok_or(Error::Url)?;
        let secure = scheme == "https";
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let addresses = self.addresses(scheme, host, port).await?;
        let stream = TcpStream::connect(addresses.as_slice()).await.map_err(Error::Connect)?;
        _ = stream.set_nodelay(true);
        if !secure {
            return Ok(Stream { io: TokioIo::new(Either::Left(stream)), http2: false });
        }
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let config = self.tls.of(&bare);
        let name = ServerName::try_from(bare).map_err(|_| Error::Url)?;
        let stream = TlsConnector::from(config).connect(name, stream).await.map_err(Error::Tls)?;
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok(Stream { io: TokioIo::new(Either::Right(Box::new(stream))), http2 })
    }

    /// The addresses to try, all of them granted.
    async fn addresses(&self, scheme: &str, host: &str, port: u16) -> Result<Vec<SocketAddr>, Error> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let found: Vec<_> = tokio::net::lookup_host((bare, port)).await.map_err(Error::Name)?.map(|a| a.ip()).collect();
        let network = self.network.upgrade().ok_or(Error::Gone)?;
        let granted =
            network.filter(Destination { scheme, host, port: Some(port) }, found).map_err(|why| match why {
                Refusal::NotGranted => Error::NotGranted,
                Refusal::Address => Error::Address,
            })?;
        Ok(granted.into_iter().map(|address| SocketAddr::new(address, port)).collect())
    }
}

/// A connection, with TLS or without.
pub(super) struct Stream {
    io: TokioIo<Either<TcpStream, Box<TlsStream<TcpStream>>>>,
    http2: bool,
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        let connected = Connected::new();
        if self.http2 { connected.negotiated_h2() } else { connected }
    }
}

impl Read for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
}
