//! `fermyon:spin/http` and `fermyon:spin/inbound-http`: HTTP as Spin had it before WASI, with whole
//! bodies, in and out. SDKs of Spin 2 for other languages than Rust still use it.

use std::pin::Pin;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use tokio_util::task::AbortOnDropHandle;
use wasmtime::component::{ComponentType, Lift, Linker, Lower};
use wasmtime::{Result, StoreContextMut};
use wasmtime_wasi_http::{Error as WasiError, WasiBody, WasiHttpView};

/// The export that handles requests.
pub(crate) const INBOUND: &str = "fermyon:spin/inbound-http";

/// Its function: from a [`Request`] to a [`Response`].
pub(crate) const HANDLE: &str = "handle-request";

/// The import for outgoing requests.
const OUTBOUND: &str = "fermyon:spin/http";

/// The most bytes of a body that a component is given in answer to a request of its own.
const MAX_BODY: usize = 64 << 20;

/// The methods that it knows.
#[derive(ComponentType, Lift, Lower, Clone, Copy, Debug, PartialEq, Eq)]
#[component(enum)]
#[repr(u8)]
pub(crate) enum Method {
    #[component(name = "get")]
    Get,
    #[component(name = "post")]
    Post,
    #[component(name = "put")]
    Put,
    #[component(name = "delete")]
    Delete,
    #[component(name = "patch")]
    Patch,
    #[component(name = "head")]
    Head,
    #[component(name = "options")]
    Options,
}

/// A request with its whole body.
#[derive(ComponentType, Lift, Lower, Debug)]
#[component(record)]
pub(crate) struct Request {
    method: Method,
    uri: String,
    headers: Vec<(String, String)>,
    /// Always empty; Spin has given this up.
    params: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

/// A response with its whole body.
#[derive(ComponentType, Lift, Lower, Debug)]
#[component(record)]
pub(crate) struct Response {
    status: u16,
    headers: Option<Vec<(String, String)>>,
    body: Option<Vec<u8>>,
}

// Not all of them are errors that happen here.
#[allow(dead_code)]
#[derive(ComponentType, Lift, Lower, Clone, Copy, Debug, PartialEq, Eq)]
#[component(enum)]
#[repr(u8)]
#[expect(clippy::enum_variant_names, reason = "the names that the interface has")]
enum Error {
    #[component(name = "success")]
    Success,
    #[component(name = "destination-not-allowed")]
    DestinationNotAllowed,
    #[component(name = "invalid-url")]
    InvalidUrl,
    #[component(name = "request-error")]
    RequestError,
    #[component(name = "runtime-error")]
    RuntimeError,
    #[component(name = "too-many-requests")]
    TooManyRequests,
}

const METHODS: &[(Method, http::Method)] = &[
    (Method::Get, http::Method::GET),
    (Method::Post, http::Method::POST),
    (Method::Put, http::Method::PUT),
    (Method::Delete, http::Method::DELETE),
    (Method::Patch, http::Method::PATCH),
    (Method::Head, http::Method::HEAD),
    (Method::Options, http::Method::OPTIONS),
];

impl Request {
    /// What the component reads; `None` if it has no word for the method. Headers that are no text
    /// are left out, as Spin does.
    pub(crate) fn new(parts: &http::request::Parts, body: &Bytes) -> Option<Self> {
        let (method, _) = METHODS.iter().find(|(_, method)| *method == parts.method)?;
        let uri = parts.uri.path_and_query().map_or_else(|| parts.uri.to_string(), ToString::to_string);
        Some(Self {
            method: *method,
            uri,
            headers: texts(&parts.headers),
            params: Vec::new(),
            body: Some(body.to_vec()),
        })
    }

    /// The request to send. A path alone is the application's own.
    fn to_send(&self) -> Option<http::Request<WasiBody>> {
        let (_, method) = METHODS.iter().find(|(method, _)| *method == self.method)?;
        let uri = if self.uri.starts_with('/') { format!("http://self{}", self.uri) } else { self.uri.clone() };
        let mut request = http::Request::builder().method(method.clone()).uri(uri);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let body = Bytes::from(self.body.clone().unwrap_or_default());
        let request = request.body(Full::new(body).map_err(WasiError::from).boxed_unsync()).ok()?;
        request.uri().host().is_some().then_some(request)
    }
}

impl Response {
    /// The answer to the client.
    ///
    /// # Errors
    /// If the component's status or headers are none.
    pub(crate) fn into_answer(self) -> Result<http::Response<WasiBody>> {
        let mut response = http::Response::builder().status(self.status);
        for (name, value) in self.headers.unwrap_or_default() {
            response = response.header(name, value);
        }
        let body = Full::new(Bytes::from(self.body.unwrap_or_default()));
        Ok(response.body(body.map_err(WasiError::from).boxed_unsync())?)
    }
}

fn texts(headers: &http::HeaderMap) -> Vec<(String, String)> {
    let text = headers.iter().filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())));
    text.collect()
}

/// Provides `fermyon:spin/http`: the same grants, and the same way out, as `wasi:http` has.
///
/// # Errors
/// None, but for a fault of this host.
pub(crate) fn add_to_linker<T: WasiHttpView + 'static>(linker: &mut Linker<T>) -> Result<()> {
    linker.instance(OUTBOUND)?.func_wrap_async(
        "send-request",
        |mut store: StoreContextMut<'_, T>, (request,): (Request,)| {
            let sent = request.to_send().map(|request| {
                // Who reads the whole body has no errors of its own to tell.
                let read = Box::new(std::future::ready(Ok(())));
                Pin::from(store.data_mut().http().hooks.send_request(request, None, read))
            });
            Box::new(async move {
                let Some(sent) = sent else { return Ok((Err(Error::InvalidUrl),)) };
                Ok((receive(sent).await,))
            })
        },
    )
}

type Io = Box<dyn Future<Output = Result<(), WasiError>> + Send>;
type Sent = Pin<Box<dyn Future<Output = Result<(http::Response<WasiBody>, Io), WasiError>> + Send>>;

async fn receive(sent: Sent) -> Result<Response, Error> {
    let (response, io) = sent.await.map_err(|error| match error {
        WasiError::HttpRequestDenied => Error::DestinationNotAllowed,
        WasiError::HttpRequestUriInvalid => Error::InvalidUrl,
        _ => Error::RuntimeError,
    })?;
    // It moves the bytes, and ends with this request.
    let _io = AbortOnDropHandle::new(tokio::spawn(Pin::from(io)));
    let (parts, body) = response.into_parts();
    let body = Limited::new(body, MAX_BODY).collect().await.map_err(|_| Error::RuntimeError)?.to_bytes();
    Ok(Response { status: parts.status.as_u16(), headers: Some(texts(&parts.headers)), body: Some(body.to_vec()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(uri: &str) -> Request {
        Request {
            method: Method::Put,
            uri: uri.into(),
            headers: vec![("x".into(), "y".into())],
            params: vec![],
            body: None,
        }
    }

    #[test]
    fn a_path_alone_is_the_application_itself() {
        assert_eq!(request("/a?b").to_send().unwrap().uri(), "http://self/a?b");
        let sent = request("https://example.com/").to_send().unwrap();
        assert_eq!((sent.uri().host(), sent.method()), (Some("example.com"), &http::Method::PUT));
        assert_eq!(sent.headers()["x"], "y");
        assert!(request("").to_send().is_none() && request("https://").to_send().is_none());
    }

    #[test]
    fn a_response_that_is_none_is_an_error() {
        let response = |status| Response { status, headers: Some(vec![("a".into(), "b".into())]), body: None };
        assert_eq!(response(201).into_answer().unwrap().status(), 201);
        assert!(response(99).into_answer().is_err());
        let wrong = Response { status: 200, headers: Some(vec![("a b".into(), "c".into())]), body: None };
        assert!(wrong.into_answer().is_err());
    }

    #[test]
    fn unknown_methods_have_no_request() {
        let (mut parts, ()) = http::Request::get("http://a/b?c").body(()).unwrap().into_parts();
        assert_eq!(Request::new(&parts, &Bytes::new()).unwrap().uri, "/b?c");
        parts.method = http::Method::TRACE;
        assert!(Request::new(&parts, &Bytes::new()).is_none());
    }
}
