//! Ids, and how they cross a border: the headers `traceparent`, `tracestate` and `x-request-id`.

use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::span;

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";
const REQUEST_ID: &str = "x-request-id";

/// The longest `tracestate` that is passed on, in bytes (W3C Trace Context, 3.3.1.5).
const MAX_STATE: usize = 512;
/// The longest request id that is taken over from outside, in bytes.
const MAX_REQUEST_ID: usize = 64;

/// Where a piece of work belongs. A child of a context has its trace and request id, and a span id
/// of its own.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    trace: u128,
    span: u64,
    parent: Option<u64>,
    sampled: bool,
    state: Option<Arc<str>>,
    request: RequestId,
}

#[derive(Debug, Clone)]
enum RequestId {
    Made(u64),
    Given(Arc<str>),
}

/// Headers that a context is read from: an HTTP request's or a message's.
pub(crate) trait Headers {
    /// The value of a header whose name is in lower case, if there is exactly one.
    fn one(&self, name: &str) -> Option<&str>;
}

impl Headers for HeaderMap {
    fn one(&self, name: &str) -> Option<&str> {
        let mut values = self.get_all(name).iter();
        let first = values.next()?;
        if values.next().is_some() { None } else { first.to_str().ok() }
    }
}

impl Headers for Vec<(String, String)> {
    fn one(&self, name: &str) -> Option<&str> {
        let mut values = self.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        let (_, first) = values.next()?;
        if values.next().is_some() { None } else { Some(first) }
    }
}

impl Context {
    /// Continues what `headers` say, or begins a trace where they say nothing valid.
    pub(crate) fn incoming(headers: &impl Headers) -> Self {
        let request = match headers.one(REQUEST_ID) {
            Some(id) if is_request_id(id) => RequestId::Given(id.into()),
            _ => RequestId::Made(rand::random()),
        };
        let span = new_id();
        match headers.one(TRACEPARENT).and_then(parse) {
            Some((trace, parent, sampled)) => {
                let state = headers.one(TRACESTATE).filter(|state| state.len() <= MAX_STATE).map(Into::into);
                Self { trace, span, parent: Some(parent), sampled, state, request }
            }
            None => {
                let trace = u128::from(new_id()) << 64 | u128::from(new_id());
                Self { trace, span, parent: None, sampled: span::samples(trace), state: None, request }
            }
        }
    }

    /// Part of this work.
    pub(crate) fn child(&self) -> Self {
        Self { span: new_id(), parent: Some(self.span), ..self.clone() }
    }

    /// 32 hexadecimal digits.
    pub(crate) fn trace_id(&self) -> impl fmt::Display {
        Hex(self.trace)
    }

    /// At most 64 letters, digits, `-`, `_`, `.`.
    pub(crate) fn request_id(&self) -> impl fmt::Display {
        &self.request
    }

    pub(super) fn ids(&self) -> (u128, u64, Option<u64>) {
        (self.trace, self.span, self.parent)
    }

    pub(super) fn is_sampled(&self) -> bool {
        self.sampled
    }

    /// The value of `traceparent` for what this work causes.
    fn traceparent(&self) -> String {
        format!("00-{:032x}-{:016x}-{:02x}", self.trace, self.span, u8::from(self.sampled))
    }

    /// The header `x-request-id`, if the id came from outside.
    pub(crate) fn given_request_header(&self) -> Option<(HeaderName, HeaderValue)> {
        if matches!(self.request, RequestId::Given(_)) { self.request_header() } else { None }
    }

    /// The header `x-request-id`.
    fn request_header(&self) -> Option<(HeaderName, HeaderValue)> {
        let value = HeaderValue::try_from(self.request.to_string()).ok()?;
        Some((HeaderName::from_static(REQUEST_ID), value))
    }

    /// Adds the context to an outgoing request. What a component set itself stays, unless it just
    /// passes on what came in.
    pub(crate) fn inject(&self, headers: &mut HeaderMap) {
        let own = headers.one(TRACEPARENT).and_then(parse);
        if own.is_some_and(|(trace, parent, _)| trace != self.trace || Some(parent) != self.parent) {
            return;
        }
        if let Ok(value) = HeaderValue::try_from(self.traceparent()) {
            headers.insert(HeaderName::from_static(TRACEPARENT), value);
        }
        if let Some(Ok(value)) = self.state.as_deref().map(HeaderValue::try_from) {
            headers.insert(HeaderName::from_static(TRACESTATE), value);
        }
        if let Some((name, value)) = self.request_header() {
            headers.entry(name).or_insert(value);
        }
    }

    /// The headers for a message, but for those that it has.
    pub(crate) fn message_headers(&self, existing: &[(String, String)]) -> Vec<(String, String)> {
        let mut headers = Vec::new();
        let has = |name: &str| existing.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
        if !has(TRACEPARENT) {
            headers.push((TRACEPARENT.to_owned(), self.traceparent()));
            if let Some(state) = self.state.as_ref().filter(|_| !has(TRACESTATE)) {
                headers.push((TRACESTATE.to_owned(), state.to_string()));
            }
        }
        if !has(REQUEST_ID) {
            headers.push((REQUEST_ID.to_owned(), self.request.to_string()));
        }
        headers
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Made(id) => write!(f, "{id:016x}"),
            Self::Given(id) => f.write_str(id),
        }
    }
}

struct Hex(u128);

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Random and not zero.
fn new_id() -> u64 {
    rand::random::<u64>().max(1)
}

fn is_request_id(text: &str) -> bool {
    (1..=MAX_REQUEST_ID).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// Trace id, parent id and whether it is sampled, of a valid `traceparent` (version 00, or what a
/// later version has in common with it).
fn parse(text: &str) -> Option<(u128, u64, bool)> {
    let mut parts = text.trim().splitn(5, '-');
    let [version, trace, parent, flags] = [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
    let further = parts.next().is_some();
    let is_hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let lengths = [version.len(), trace.len(), parent.len(), flags.len()] == [2, 32, 16, 2];
    if !lengths || ![version, trace, parent, flags].into_iter().all(is_hex) {
        return None;
    }
    if version == "ff" || (version == "00" && further) {
        return None;
    }
    let (trace, parent) = (u128::from_str_radix(trace, 16).ok()?, u64::from_str_radix(parent, 16).ok()?);
    let flags = u8::from_str_radix(flags, 16).ok()?;
    (trace != 0 && parent != 0).then_some((trace, parent, flags & 1 == 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn of(headers: &[(&str, &str)]) -> Context {
        Context::incoming(
            &headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Vec<_>>(),
        )
    }

    #[test]
    fn a_trace_is_continued() {
        let context = of(&[("Traceparent", PARENT), ("tracestate", "a=b"), ("x-request-id", "r-1")]);
        assert_eq!(context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(context.request_id().to_string(), "r-1");
        assert_eq!(context.parent, Some(0x00f0_67aa_0ba9_02b7));
        let headers = context.message_headers(&[]);
        let next = Context::incoming(&headers);
        assert_eq!((next.trace, next.parent), (context.trace, Some(context.span)));
        assert_eq!(next.state.as_deref(), Some("a=b"));
        assert_eq!(next.request_id().to_string(), "r-1");
    }

    #[test]
    fn what_is_not_valid_begins_a_trace() {
        for text in [
            "",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert!(parse(&PARENT.replace("00-4", "cc-4").replace("-01", "-01-what-comes-later")).is_some());
        assert_eq!(of(&[("traceparent", PARENT), ("traceparent", PARENT)]).parent, None, "given twice");
        assert!(of(&[("x-request-id", "no spaces")]).request_id().to_string() != "no spaces");
        assert_ne!(of(&[]).trace, of(&[]).trace);
    }

    #[test]
    fn a_components_own_trace_stays() {
        let context = of(&[("traceparent", PARENT)]);
        let mut headers = HeaderMap::new();
        context.inject(&mut headers);
        assert_eq!(headers.one(TRACEPARENT), Some(&*context.traceparent()));
        // What came in is passed on by many a proxy; the request is caused by this one.
        headers.insert(TRACEPARENT, HeaderValue::from_static(PARENT));
        context.inject(&mut headers);
        assert_eq!(headers.one(TRACEPARENT), Some(&*context.traceparent()));
        let own = PARENT.replace("00f067aa0ba902b7", "00f067aa0ba902b8");
        headers.insert(TRACEPARENT, HeaderValue::try_from(&own).unwrap());
        context.inject(&mut headers);
        assert_eq!(headers.one(TRACEPARENT), Some(&*own));
    }
}
