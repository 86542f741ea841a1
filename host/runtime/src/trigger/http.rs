//! The HTTP trigger: from a request to a component's handler and back. Connections are
//! [`server`]'s.

mod chain;
mod traced;
mod unread;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, EXPECT, HOST, RETRY_AFTER};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, StatusCode, Uri, Version};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use wasmtime_wasi_http::{Error as HttpError, WasiBody};

pub(crate) use self::chain::chain;
use self::unread::Unread;
use crate::app::App;
use crate::app::http::{Refused, Target};
use crate::server::{self, Limits, Peer, Tls};

/// The names of components in URLs that they call one another by: `<component>.spin.internal`.
const INTERNAL: &str = ".spin.internal";

/// Serves `listener`, over TLS if there is `tls`, until `shutdown`; then lets requests in flight end
/// for at most `grace`.
pub(crate) async fn serve(
    app: Arc<App>,
    listener: TcpListener,
    tls: Option<Tls>,
    shutdown: CancellationToken,
    grace: Duration,
) {
    server::serve(listener, tls, Limits::default(), shutdown, grace, move |peer, request| {
        let app = Arc::clone(&app);
        traced::traced(request, move |request| async move { answer(&app, request, peer).await })
    })
    .await;
}

async fn answer(app: &App, request: Request<Incoming>, peer: Peer) -> Response<WasiBody> {
    if app.drain().is_on() {
        return drained(&request);
    }
    let snapshot = app.load();
    let (mut parts, body) = request.into_parts();
    let Some(found) = snapshot.routes.find(parts.uri.path()) else {
        app.unrouted.increment();
        return not_found();
    };
    let target = match &**found.target {
        // Only this version is kept while the request lasts, not the whole snapshot.
        Target::Component(slot) => Arc::clone(slot.pick()),
        Target::Static(fixed) => return fixed.response(),
    };
    let Some(uri) = absolute(&parts, peer) else {
        return plain(StatusCode::BAD_REQUEST, "the request names no valid host\n");
    };
    found.describe(&mut parts.headers, &uri, peer.address);
    drop(found);
    drop(snapshot);
    parts.uri = uri;
    let waits = parts.headers.contains_key(EXPECT);
    let request = Request::from_parts(parts, Unread::new(body, waits));
    target.answer(request).await.unwrap_or_else(|refused| refusal(&refused))
}

/// What a client reads when an operator wants no new work: whatever balances load goes elsewhere.
fn drained(request: &Request<Incoming>) -> Response<WasiBody> {
    let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, "no new requests are taken here now\n");
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
    if request.version() < Version::HTTP_2 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// What a client reads when its request could not be served; the log has the cause.
fn refusal(refused: &Refused) -> Response<WasiBody> {
    let text = match refused {
        Refused::Overload => "too many requests at a time\n",
        Refused::RequestTooLarge => "the request is too large\n",
        Refused::ResponseTooLarge => "the answer is too large\n",
        Refused::Late => "the component did not answer in time\n",
        Refused::CutOff => "the component was replaced and did not answer in time\n",
        Refused::Failed => "the component failed\n",
        Refused::FailedTogether => {
            "the component failed while several requests shared its instance, perhaps not because of this one\n"
        }
    };
    let mut response = plain(refused.status(), text);
    if let Refused::Overload | Refused::CutOff = refused {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// The request's URL with the scheme and authority that WASI asks for: HTTP/1.1 has them in `Host`.
/// No client can pass for a component of the application.
fn absolute(parts: &Parts, peer: Peer) -> Option<Uri> {
    let authority = match parts.uri.authority() {
        Some(authority) => authority.clone(),
        None => Authority::try_from(parts.headers.get(HOST)?.as_bytes()).ok()?,
    };
    if authority.host().ends_with(INTERNAL) {
        return None;
    }
    let scheme = if peer.secure { Scheme::HTTPS } else { Scheme::HTTP };
    let path = parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build().ok()
}

/// What a client reads where no route leads; without a body, as Spin has it.
fn not_found() -> Response<WasiBody> {
    let mut response = Response::new(Empty::new().map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

fn plain(status: StatusCode, text: &'static str) -> Response<WasiBody> {
    let mut response =
        Response::new(Full::new(Bytes::from_static(text.as_bytes())).map_err(HttpError::from).boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
