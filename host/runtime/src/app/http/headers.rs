//! The request headers by which a component learns how it was reached: `spin-path-info` and so on,
//! as Spin sets them.
//!
//! What a client sends under these names never reaches a component. What depends on the route alone
//! is made once.

use std::net::SocketAddr;

use bytes::Bytes;
use http::header::HeaderName;
use http::{HeaderMap, HeaderValue, Uri};
use routefinder::Captures;

use super::routes::Found;
use crate::manifest::{Route, Segment};

const FULL_URL: HeaderName = HeaderName::from_static("spin-full-url");
const PATH_INFO: HeaderName = HeaderName::from_static("spin-path-info");
const MATCHED_ROUTE: HeaderName = HeaderName::from_static("spin-matched-route");
const BASE_PATH: HeaderName = HeaderName::from_static("spin-base-path");
const RAW_COMPONENT_ROUTE: HeaderName = HeaderName::from_static("spin-raw-component-route");
const COMPONENT_ROUTE: HeaderName = HeaderName::from_static("spin-component-route");
const CLIENT_ADDR: HeaderName = HeaderName::from_static("spin-client-addr");
const PATH_MATCH: &str = "spin-path-match-";

/// What the headers say about a route.
pub(crate) struct Labels {
    matched: HeaderValue,
    base: HeaderValue,
    raw: HeaderValue,
    component: HeaderValue,
    /// One for each parameter, in the order of the route.
    parameters: Vec<HeaderName>,
}

impl Labels {
    /// Of a route in an application whose routes begin with `base`.
    pub(super) fn new(route: &Route, base: &str) -> Self {
        let raw = route.as_written();
        Self {
            matched: value(&route.with_base()),
            base: value(base),
            raw: value(raw),
            component: value(raw.strip_suffix("/...").unwrap_or(raw)),
            parameters: route
                .segments()
                .iter()
                .filter_map(|segment| match segment {
                    Segment::Parameter(name) => {
                        let name = name.to_ascii_lowercase().replace('_', "-");
                        HeaderName::try_from(format!("{PATH_MATCH}{name}")).ok()
                    }
                    Segment::Literal(_) => None,
                })
                .collect(),
        }
    }

    /// Of a call by the component's name, which sees every path.
    pub(crate) fn of_a_call() -> Self {
        let wildcard = HeaderValue::from_static("/...");
        Self {
            matched: wildcard.clone(),
            base: HeaderValue::from_static("/"),
            raw: wildcard,
            component: HeaderValue::from_static(""),
            parameters: Vec::new(),
        }
    }

    /// Sets all headers, and removes what else has a name of theirs.
    pub(crate) fn set(
        &self,
        headers: &mut HeaderMap,
        uri: &Uri,
        client: SocketAddr,
        path_info: &str,
        parameters: &Captures<'_, '_>,
    ) {
        strip_path_matches(headers);
        headers.reserve(7);
        headers.insert(PATH_INFO, value(path_info));
        headers.insert(FULL_URL, owned(uri.to_string()));
        headers.insert(MATCHED_ROUTE, self.matched.clone());
        headers.insert(BASE_PATH, self.base.clone());
        headers.insert(RAW_COMPONENT_ROUTE, self.raw.clone());
        headers.insert(COMPONENT_ROUTE, self.component.clone());
        headers.insert(CLIENT_ADDR, owned(client.to_string()));
        for (name, (_, text)) in self.parameters.iter().zip(parameters.iter()) {
            headers.insert(name, value(text));
        }
    }
}

impl Found<'_, '_> {
    /// Tells a request how it came to its component.
    pub(crate) fn describe(&self, headers: &mut HeaderMap, uri: &Uri, client: SocketAddr) {
        if let Some(labels) = self.labels {
            labels.set(headers, uri, client, &self.path_info, &self.parameters);
        }
    }
}

fn strip_path_matches(headers: &mut HeaderMap) {
    let forged: Vec<_> = headers.keys().filter(|name| name.as_str().starts_with(PATH_MATCH)).cloned().collect();
    for name in forged {
        headers.remove(name);
    }
}

/// Paths have no control characters, so this is never empty for what is not.
fn value(text: &str) -> HeaderValue {
    match text {
        "" => HeaderValue::from_static(""),
        "/" => HeaderValue::from_static("/"),
        _ => HeaderValue::from_bytes(text.as_bytes()).unwrap_or_else(|_| HeaderValue::from_static("")),
    }
}

fn owned(text: String) -> HeaderValue {
    HeaderValue::from_maybe_shared(Bytes::from(text)).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::fixed::Fixed;
    use super::super::routes::{Routes, Target};
    use super::*;

    fn headers(base: &str, route: &str, url: &str, sent: &[(&'static str, &'static str)]) -> Vec<String> {
        let mut routes = Routes::default();
        let target = Arc::new(Target::Static(Fixed::not_found()));
        routes.add(&Route::parse(base, route).unwrap(), base, &target);
        let uri: Uri = url.parse().unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let client = "127.0.0.1:8777".parse().unwrap();
        routes.find(uri.path()).unwrap().describe(&mut headers, &uri, client);
        let mut lines: Vec<_> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        lines.sort();
        lines
    }

    #[test]
    fn a_request_says_how_it_was_routed() {
        assert_eq!(
            headers("/", "/base/:path_segment/:Path_end/...", "http://example.com/base/path/end/rest?key=value", &[]),
            [
                "spin-base-path: /",
                "spin-client-addr: 127.0.0.1:8777",
                "spin-component-route: /base/:path_segment/:Path_end",
                "spin-full-url: http://example.com/base/path/end/rest?key=value",
                "spin-matched-route: /base/:path_segment/:Path_end/...",
                "spin-path-info: /rest",
                "spin-path-match-path-end: end",
                "spin-path-match-path-segment: path",
                "spin-raw-component-route: /base/:path_segment/:Path_end/...",
            ]
        );
    }

    #[test]
    fn a_base_is_before_the_route_and_said() {
        assert_eq!(
            headers("/base/", "foo/", "https://a/base/foo", &[]),
            [
                "spin-base-path: /base/",
                "spin-client-addr: 127.0.0.1:8777",
                "spin-component-route: foo/",
                "spin-full-url: https://a/base/foo",
                "spin-matched-route: /base/foo",
                "spin-path-info: ",
                "spin-raw-component-route: foo/",
            ]
        );
    }

    #[test]
    fn what_a_client_sends_under_these_names_is_gone() {
        let sent = [
            ("spin-path-info", "/forged"),
            ("spin-path-info", "/twice"),
            ("spin-client-addr", "10.0.0.1:1"),
            ("spin-path-match-user", "root"),
            ("accept", "*/*"),
        ];
        let lines = headers("/", "/...", "http://a/x", &sent);
        assert!(lines.contains(&"spin-path-info: /x".to_owned()), "{lines:?}");
        assert!(lines.contains(&"accept: */*".to_owned()), "{lines:?}");
        assert!(!lines.iter().any(|line| line.contains("forged") || line.contains("root") || line.contains("twice")));
        assert!(!lines.iter().any(|line| line.contains("10.0.0.1")));
    }
}
