//! Requests from one component to another, without a connection between: the callee's instances,
//! limits and routes are those of any request.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Weak};

use http::header::HOST;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, Uri};
use wasmtime_wasi_http::{Error as HttpError, WasiBody};

use super::{not_found, refusal};
use crate::app::App;
use crate::app::http::{Labels, Target};
use crate::network::{Call, Callee, Chain, Depth};

/// Whom a called component sees as its client. As in Spin.
const NOBODY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// Calls between the components of `app`, as it is at the time of each call.
pub(crate) fn chain(app: Weak<App>) -> Arc<Chain> {
    Arc::new(move |call| {
        let app = app.clone();
        Box::pin(async move {
            let app = app.upgrade().ok_or(HttpError::DestinationUnavailable)?;
            answer(&app, call).await
        })
    })
}

async fn answer(app: &App, call: Call) -> Result<Response<WasiBody>, HttpError> {
    let Call { callee, request, depth } = call;
    let snapshot = app.snapshot();
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    // The host is the caller's idea of the callee's.
    parts.headers.remove(HOST);
    parts.extensions.insert(Depth(depth));
    let target = match callee {
        Callee::Component(id) => {
            let target = snapshot.routes.component(&id).ok_or_else(|| {
                tracing::warn!("a call to `{id}.spin.internal`, but no component `{id}` has an HTTP trigger");
                HttpError::DestinationNotFound
            })?;
            Labels::of_a_call().set(&mut parts.headers, &parts.uri, NOBODY, path.path(), &Default::default());
            target
        }
        Callee::Route => {
            let Some(found) = snapshot.routes.find(path.path()) else {
                return Ok(not_found());
            };
            let uri = own(app, path.clone())?;
            found.describe(&mut parts.headers, &uri, NOBODY);
            parts.uri = uri;
            found.target
        }
    };
    // Only this version is kept while the call lasts, not the whole snapshot.
    let target = match &**target {
        Target::Static(fixed) => return Ok(fixed.response()),
        Target::Component(slot) => Arc::clone(slot.pick()),
    };
    drop(snapshot);
    let answer = target.answer(Request::from_parts(parts, body)).await;
    Ok(answer.unwrap_or_else(|refused| refusal(&refused)))
}

/// The application's own URL.
fn own(app: &App, path: PathAndQuery) -> Result<Uri, HttpError> {
    let mut parts = app.origin().cloned().unwrap_or_default().into_parts();
    parts.scheme.get_or_insert(Scheme::HTTP);
    parts.authority.get_or_insert(Authority::from_static("localhost"));
    parts.path_and_query = Some(path);
    Uri::from_parts(parts).map_err(|_| HttpError::HttpRequestUriInvalid)
}
