//! Answers plain HTTP by the way to HTTPS.

use bytes::Bytes;
use http::header::{HOST, LOCATION};
use http::uri::Authority;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Empty;

/// The same place on HTTPS at `port`. 308: the method and the body stay as they are.
pub(crate) fn to_https<B>(request: &Request<B>, port: u16) -> Response<Empty<Bytes>> {
    let mut response = Response::new(Empty::new());
    match location(request, port) {
        Some(location) => {
            *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
            response.headers_mut().insert(LOCATION, location);
        }
        None => *response.status_mut() = StatusCode::BAD_REQUEST,
    }
    response
}

fn location<B>(request: &Request<B>, port: u16) -> Option<HeaderValue> {
    let authority = match request.uri().authority() {
        Some(authority) => authority.clone(),
        None => Authority::try_from(request.headers().get(HOST)?.as_bytes()).ok()?,
    };
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    HeaderValue::try_from(format!("https://{}{port}{path}", authority.host())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(uri: &str, host: Option<&str>, port: u16) -> (u16, Option<String>) {
        let mut request = Request::builder().uri(uri);
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        let response = to_https(&request.body(()).unwrap(), port);
        let location = response.headers().get(LOCATION).map(|value| value.to_str().unwrap().to_owned());
        (response.status().as_u16(), location)
    }

    #[test]
    fn the_same_place_on_https() {
        let found = |location: &str| (308, Some(location.to_owned()));
        assert_eq!(answer("/a/b?c=d", Some("example.org"), 443), found("https://example.org/a/b?c=d"));
        assert_eq!(answer("/", Some("example.org:80"), 8443), found("https://example.org:8443/"));
        assert_eq!(answer("http://[::1]:80/x", None, 443), found("https://[::1]/x"));
    }

    #[test]
    fn without_a_host_there_is_no_place() {
        assert_eq!(answer("/", None, 443), (400, None));
        assert_eq!(answer("/", Some("user@evil.example/path"), 443), (400, None));
    }
}
