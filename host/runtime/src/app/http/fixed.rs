//! Answers that are always the same, made once.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use wasmtime_wasi_http::{Error as HttpError, WasiBody};

use crate::manifest::StaticResponse;

/// An answer that the host gives itself.
#[derive(Clone)]
pub(crate) struct Fixed {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Fixed {
    /// A `static_response` of the manifest.
    ///
    /// # Errors
    /// Names what HTTP does not allow.
    pub(crate) fn new(response: &StaticResponse) -> Result<Self, http::Error> {
        let mut headers = HeaderMap::new();
        for (name, value) in &response.headers {
            headers.append(HeaderName::try_from(name)?, HeaderValue::try_from(value)?);
        }
        Ok(Self { status: StatusCode::from_u16(response.status)?, headers, body: Bytes::from(response.body.clone()) })
    }

    /// 200 with a text.
    pub(crate) fn text(text: &str) -> Self {
        Self { status: StatusCode::OK, headers: HeaderMap::new(), body: Bytes::copy_from_slice(text.as_bytes()) }
    }

    /// What `/.well-known/spin/info` says about an application. As in Spin.
    pub(crate) fn info(name: &str, version: &str) -> Self {
        let mut info = serde_json::Map::new();
        info.insert("name".to_owned(), name.into());
        if !version.is_empty() {
            info.insert("version".to_owned(), version.into());
        }
        let mut fixed = Self::text(&format!("{:#}", serde_json::Value::Object(info)));
        fixed.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        fixed
    }

    /// 404.
    pub(crate) fn not_found() -> Self {
        Self { status: StatusCode::NOT_FOUND, headers: HeaderMap::new(), body: Bytes::new() }
    }

    /// The answer.
    pub(crate) fn response(&self) -> Response<WasiBody> {
        let mut response = Response::new(Full::new(self.body.clone()).map_err(HttpError::from).boxed_unsync());
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers.clone();
        response
    }

    #[cfg(test)]
    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }
}
