//! Where the API listens, who gets in, and how much of it.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::StatusCode;
use axum::http::header::AUTHORIZATION;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_service::Service as _;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use super::http::{Json, Problem};
use super::{ADDRESS_FILE, TOKEN_FILE, Token};
use crate::server::{self, Limits};

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
        "the administration would be reachable from other machines at {0} without TLS: choose a loopback address \
         with --admin, such as 127.0.0.1:3001"
    )]
    Exposed(SocketAddr),
    /// The address cannot be had.
    #[error("cannot listen on {0} for the administration: {1}")]
    Listen(SocketAddr, #[source] io::Error),
    /// The token cannot be kept.
    #[error("cannot keep the administration's token in {0}: {1}")]
    Token(String, #[source] io::Error),
}

/// A listener and the token of its clients.
pub(crate) struct Bound {
    listener: TcpListener,
    token: Token,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

/// Listens on `address`.
///
/// # Errors
/// As [`Error`] says.
pub(crate) fn bind(address: SocketAddr, state_dir: &Path) -> Result<Bound, Error> {
    if !address.ip().is_loopback() {
        return Err(Error::Exposed(address));
    }
    let file = state_dir.join(TOKEN_FILE);
    let token = Token::keep(&file).map_err(|error| Error::Token(file.display().to_string(), error))?;
    let failed = |error: io::Error| match error.kind() {
        ErrorKind::AddrInUse => Error::InUse(address),
        _ => Error::Listen(address, error),
    };
    let listener = server::listen(address, &LIMITS).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(Bound { listener, token, address })
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
    let address = Address { url: format!("http://{}", bound.address), pid: std::process::id() };
    let file = state_dir.join(ADDRESS_FILE);
    if let Err(error) = publish(&file, &address) {
        tracing::warn!(%error, "cannot write {}: `tessera ps` and its like will not find this process", file.display());
    }
    let (routes, api) = routes.split_for_parts();
    let router = protect(routes, api, bound.token);
    async move {
        match tokio::task::spawn_blocking(move || run(bound.listener, router, shutdown, grace)).await {
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

fn run(listener: TcpListener, router: Router, shutdown: CancellationToken, grace: Duration) -> io::Result<()> {
    let listener = listener.into_std()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().thread_name("admin").build()?;
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener)?;
        server::serve(listener, None, LIMITS, shutdown, grace, move |_peer, request| {
            let mut router = router.clone();
            async move {
                let Ok(response) = router.call(request).await;
                response
            }
        })
        .await;
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
    if shown.is_some_and(|shown| token.matches(shown)) {
        return next.run(request).await;
    }
    tokio::time::sleep(WRONG_TOKEN).await;
    let detail = format!("show the token in `{TOKEN_FILE}` of the state directory: `Authorization: Bearer <token>`");
    let mut response = Problem::new(StatusCode::UNAUTHORIZED, detail).into_response();
    response
        .headers_mut()
        .insert(axum::http::header::WWW_AUTHENTICATE, axum::http::HeaderValue::from_static("Bearer realm=\"tessera\""));
    response
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
