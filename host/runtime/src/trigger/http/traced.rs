//! A request's trace: continued or begun, recorded. A client that gave the request an id reads it in
//! the answer; others get no header that the component did not set.

use std::borrow::Cow;
use std::sync::Arc;

use http::{Request, Response};

use crate::trace::{self, Context, Kind, Span};

/// Lets `answer` work for the context that the request names, or for a new one.
pub(super) async fn traced<B, R, F>(request: Request<B>, answer: impl FnOnce(Request<B>) -> F) -> Response<R>
where
    F: Future<Output = Response<R>>,
{
    let context = Arc::new(Context::incoming(request.headers()));
    let mut span = Span::begin(&context, Kind::Server, || Cow::Owned(request.method().to_string()));
    if let Some(span) = &mut span {
        describe(span, &request);
    }
    let id = context.given_request_header();
    let mut response = trace::scope(Some(context), answer(request)).await;
    if let Some(span) = &mut span {
        let status = response.status();
        span.set("http.response.status_code", status.as_u16());
        if status.is_server_error() {
            span.error = Some(status.to_string());
        }
    }
    if let Some((name, value)) = id {
        response.headers_mut().insert(name, value);
    }
    response
}

/// By OpenTelemetry's semantic conventions for HTTP servers. The query is left out: it may hold
/// secrets.
fn describe<B>(span: &mut Span, request: &Request<B>) {
    span.set("http.request.method", request.method().as_str());
    span.set("url.path", request.uri().path());
    span.set(
        "network.protocol.version",
        match request.version() {
            http::Version::HTTP_2 => "2",
            http::Version::HTTP_10 => "1.0",
            _ => "1.1",
        },
    );
}
