//! Where the API listens, who gets in, and how much of it.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::StatusCode;
use axum::http::header::{AUTHORIZATION, HOST};
use axum::http::uri::Authority;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_service::Service as _;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use super::http::{Json, Problem};
use super::{ADDRESS_FILE, TOKEN_FILE, Token};
use crate::server::{self, Limits, Peer, Tls};

/// Few connections, soon closed: an operator needs no more, and a flood gets no more.
const LIMITS: Limits = Limits {
    connections: 64,
    pending: 64,
    header: Duration::from_secs(10),
    idle: Duration::from_secs(60),
    write: Duration::from_secs(30),
    header_bytes: 16 << 10,
    streams: 16,
};

/// The largest body, where a route does not say otherwise.
const MAX_BODY: usize = 64 << 10;

/// No answer begins later. What takes longer must answer at once and go on by itself.
const PATIENCE: Duration = Duration::from_secs(100);

/// What may be read without the token from this machine.
const METRICS: &str = "/metrics";

/// A wrong token is answered no sooner, so that guessing is slow.
const WRONG_TOKEN: Duration = Duration::from_millis(250);

/// Where a running application's API is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Address {
    /// `http://127.0.0.1:3001`
    pub(crate) url: String,
    /// The process.
    pub(crate) pid: u32,
}

/// Why there is no API.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The address was asked for and is taken.
    #[error("{0} is in use: stop what listens there, or choose another with --admin")]
    InUse(SocketAddr),
    /// The token would cross a network in the clear.
    #[error(
        "the administration would be reachable from other machines at {0} without TLS: give a certificate with \
         --tls-cert and --tls-key or [tls], or choose a loopback address with --admin, such as 127.0.0.1:3001"
    )]
    Exposed(SocketAddr),
    /// The address cannot be had.
    #[error("cannot listen on {0} for the administration: {1}")]
    Listen(SocketAddr, #[source] io::Error),
    /// The token cannot be kept.
    #[error("cannot keep the administration's token in {0}: {1}")]
    Token(String, #[source] io::Error),
}

/// Listeners and the token of their clients.
pub(crate) struct Bound {
    /// For this machine, without TLS.
    local: TcpListener,
    local_address: SocketAddr,
    /// For other machines.
    remote: Option<(TcpListener, SocketAddr, Tls)>,
    token: Token,
}

impl Bound {
    /// Where people find the API.
    pub(crate) fn url(&self) -> String {
        match &self.remote {
            Some((_, address, _)) => format!("https://{address}"),
            None => format!("http://{}", self.local_address),
        }
    }
}

/// Listens on `address`: without TLS if it is a loopback one, else with `tls`, and on a free
/// loopback port besides for the command line's verbs.
///
/// # Errors
/// As [`Error`] says.
pub(crate) fn bind(address: SocketAddr, tls: Option<Tls>, state_dir: &Path) -> Result<Bound, Error> {
    let tls = match tls {
        _ if address.ip().is_loopback() => None,
        Some(tls) => Some(tls),
        None => return Err(Error::Exposed(address)),
    };
    let file = state_dir.join(TOKEN_FILE);
    let token = Token::keep(&file).map_err(|error| Error::Token(file.display().to_string(), error))?;
    let (listener, bound) = listen(address)?;
    let Some(tls) = tls else {
        return Ok(Bound { local: listener, local_address: bound, remote: None, token });
    };
    let (local, local_address) = listen(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0))?;
    Ok(Bound { local, local_address, remote: Some((listener, bound, tls)), token })
}

fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let failed = |error: io::Error| match error.kind() {
        ErrorKind::AddrInUse => Error::InUse(address),
        _ => Error::Listen(address, error),
    };
    let listener = server::listen(address, &LIMITS).map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// Serves `routes` to whoever shows the token, on a thread of its own, until `shutdown`. From this
/// call to the returned future's end the state directory says where.
pub(crate) fn serve(
    bound: Bound,
    state_dir: &Path,
    routes: OpenApiRouter,
    shutdown: CancellationToken,
    grace: Duration,
) -> impl Future<Output = ()> + use<> {
    let address = Address { url: format!("http://{}", bound.local_address), pid: std::process::id() };
    let file = state_dir.join(ADDRESS_FILE);
    if let Err(error) = publish(&file, &address) {
        tracing::warn!(%error, "cannot write {}: `tessera ps` and its like will not find this process", file.display());
    }
    let (routes, api) = routes.split_for_parts();
    let router = protect(routes, api, bound.token);
    let mut listeners = vec![(bound.local, None)];
    listeners.extend(bound.remote.map(|(listener, _, tls)| (listener, Some(tls))));
    async move {
        match tokio::task::spawn_blocking(move || run(listeners, &router, &shutdown, grace)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the administration ended"),
            Err(error) => tracing::error!(%error, "the administration ended"),
        }
        // Another process may have taken the directory over.
        if read(&file).is_ok_and(|there| there == address) {
            _ = fs::remove_file(&file);
        }
    }
}

fn run(
    listeners: Vec<(TcpListener, Option<Tls>)>,
    router: &Router,
    shutdown: &CancellationToken,
    grace: Duration,
) -> io::Result<()> {
    let listeners: Vec<_> =
        listeners.into_iter().map(|(listener, tls)| Ok((listener.into_std()?, tls))).collect::<io::Result<_>>()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let serving = listeners.into_iter().map(|(listener, tls)| {
            let listener = TcpListener::from_std(listener)?;
            let router = router.clone();
            let answer = move |peer: Peer, mut request: http::Request<Incoming>| {
                let mut router = router.clone();
                request.extensions_mut().insert(peer);
                async move {
                    let Ok(response) = router.call(request).await;
                    response
                }
            };
            Ok(server::serve(listener, tls, LIMITS, shutdown.clone(), grace, answer))
        });
        futures::future::join_all(serving.collect::<io::Result<Vec<_>>>()?).await;
        Ok(())
    })
}

/// The routes, for those with the token.
fn protect(routes: Router, api: OpenApi, token: Token) -> Router {
    let document = move || async move { Json(api) };
    let missing = || async { Problem::not_found("there is no such route; /openapi.json lists them") };
    routes
        .route("/openapi.json", axum::routing::get(document))
        .fallback(missing)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn(move |request: Request, next: Next| authorized(token.clone(), request, next)))
}

async fn authorized(token: Token, request: Request, next: Next) -> Response {
    let shown = request.headers().get(AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    if shown.is_some_and(|shown| token.matches(shown)) || may_scrape(&request) {
        return match tokio::time::timeout(PATIENCE, next.run(request)).await {
            Ok(response) => response,
            Err(_) => {
                let what = "this takes too long; the log may say why";
                Problem::new(StatusCode::GATEWAY_TIMEOUT, what).into_response()
            }
        };
    }
    tokio::time::sleep(WRONG_TOKEN).await;
    let detail = format!("show the token in `{TOKEN_FILE}` of the state directory: `Authorization: Bearer <token>`");
    let mut response = Problem::new(StatusCode::UNAUTHORIZED, detail).into_response();
    response
        .headers_mut()
        .insert(axum::http::header::WWW_AUTHENTICATE, axum::http::HeaderValue::from_static("Bearer realm=\"tessera\""));
    response
}

/// Whether the request is for metrics and comes from this machine: Prometheus runs as another user,
/// who cannot read the token, and metrics are no secret here. The named host keeps web pages out
/// that let their own name resolve to this machine.
fn may_scrape(request: &Request) -> bool {
    let local = request.extensions().get::<Peer>().is_some_and(|peer| !peer.secure && peer.address.ip().is_loopback());
    local && request.uri().path() == METRICS && names_loopback(request)
}

fn names_loopback(request: &Request) -> bool {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let authority = match (request.uri().authority(), host) {
        (Some(authority), _) => authority.clone(),
        (None, Some(host)) => match host.parse::<Authority>() {
            Ok(authority) => authority,
            Err(_) => return false,
        },
        (None, None) => return false,
    };
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Writes where the API is, whole or not at all.
fn publish(file: &Path, address: &Address) -> io::Result<()> {
    let draft = file.with_extension(format!("json.{}", std::process::id()));
    fs::write(&draft, serde_json::to_vec_pretty(address)?)?;
    fs::rename(&draft, file)
}

/// Reads where the API is.
///
/// # Errors
/// `NotFound` if nothing runs, or what else is wrong with the file.
pub(crate) fn read(file: &Path) -> io::Result<Address> {
    Ok(serde_json::from_slice(&fs::read(file)?)?)
}
