//! Whole answers, and errors as problem details (RFC 9457).

use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value};

/// An answer with its whole body.
pub type Answer = Response<Vec<u8>>;

/// An answer in JSON.
#[must_use]
pub fn json(status: StatusCode, body: &impl Serialize) -> Answer {
    match serde_json::to_vec(body) {
        Ok(body) => with_body(status, "application/json", body),
        Err(error) => {
            eprintln!("cannot write an answer as JSON: {error}");
            Problem::internal().into()
        }
    }
}

/// An answer in plain text.
#[must_use]
pub fn text(status: StatusCode, body: impl Into<String>) -> Answer {
    with_body(status, "text/plain; charset=utf-8", body.into().into_bytes())
}

/// An answer without a body.
#[must_use]
pub fn empty(status: StatusCode) -> Answer {
    let mut answer = Answer::new(Vec::new());
    *answer.status_mut() = status;
    // RFC 9110, section 8.6: never with 204.
    if status != StatusCode::NO_CONTENT {
        answer.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    answer
}

fn with_body(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Answer {
    let length = HeaderValue::from(body.len());
    let mut answer = Answer::new(body);
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer.headers_mut().insert(CONTENT_LENGTH, length);
    answer
}

/// Why a request was not served.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    status: StatusCode,
    detail: String,
    members: Map<String, Value>,
    // Boxed to keep the type small, as it is an error everywhere.
    header: Option<Box<(HeaderName, HeaderValue)>>,
}

impl Problem {
    /// A problem in words for whoever sent the request.
    #[must_use]
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), members: Map::new(), header: None }
    }

    /// 400.
    #[must_use]
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 401, with the scheme that would do, `Basic` or `Bearer`.
    #[must_use]
    pub fn unauthorized(detail: impl Into<String>, scheme: &'static str) -> Self {
        let challenge = match scheme {
            "Basic" => "Basic realm=\"tessera\", charset=\"UTF-8\"",
            _ => "Bearer realm=\"tessera\"",
        };
        let header = Box::new((WWW_AUTHENTICATE, HeaderValue::from_static(challenge)));
        Self { header: Some(header), ..Self::new(StatusCode::UNAUTHORIZED, detail) }
    }

    /// 403.
    #[must_use]
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, detail)
    }

    /// 404.
    #[must_use]
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// 405, with the methods that would do, as the header `Allow` lists them.
    #[must_use]
    pub fn method_not_allowed(allow: &'static str) -> Self {
        let header = Box::new((ALLOW, HeaderValue::from_static(allow)));
        let detail = format!("this address allows {allow}");
        Self { header: Some(header), ..Self::new(StatusCode::METHOD_NOT_ALLOWED, detail) }
    }

    /// 413.
    #[must_use]
    pub fn too_large(limit: u64) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the limit is {limit} bytes"))
    }

    /// 416, with the object's size.
    #[must_use]
    pub fn range_not_satisfiable(size: u64) -> Self {
        let header =
            HeaderValue::from_str(&format!("bytes */{size}")).ok().map(|value| Box::new((CONTENT_RANGE, value)));
        let detail = format!("there are {size} bytes");
        Self { header, ..Self::new(StatusCode::RANGE_NOT_SATISFIABLE, detail) }
    }

    /// 503.
    #[must_use]
    pub fn unavailable() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "not available now, try again later")
    }

    /// 500; the cause belongs to the log.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "something went wrong on our side")
    }

    /// One more member of the object (RFC 9457, section 3.2). The standard ones cannot be replaced.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.into(), value.into());
        self
    }

    /// Its status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Its text.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

impl From<Problem> for Answer {
    fn from(problem: Problem) -> Self {
        let mut body = problem.members;
        body.insert("type".into(), "about:blank".into());
        body.insert("title".into(), problem.status.canonical_reason().unwrap_or("Error").into());
        body.insert("status".into(), problem.status.as_u16().into());
        body.insert("detail".into(), problem.detail.into());
        let body = Value::Object(body).to_string().into_bytes();
        let mut answer = with_body(problem.status, "application/problem+json", body);
        if let Some((name, value)) = problem.header.map(|header| *header) {
            answer.headers_mut().insert(name, value);
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(answer: &Answer) -> Value {
        serde_json::from_slice(answer.body()).unwrap()
    }

    #[test]
    fn problems_have_the_standard_members() {
        let answer = Answer::from(Problem::new(StatusCode::CONFLICT, "taken").with("job", "x").with("status", 1));
        assert_eq!(answer.headers()[CONTENT_TYPE], "application/problem+json");
        assert_eq!(
            body(&answer),
            serde_json::json!({"type": "about:blank", "title": "Conflict", "status": 409, "detail": "taken", "job": "x"})
        );
        assert_eq!(answer.headers()[CONTENT_LENGTH], answer.body().len().to_string());
    }

    #[test]
    fn refusals_say_what_would_do() {
        let answer = Answer::from(Problem::unauthorized("missing credentials", "Basic"));
        assert!(answer.headers()[WWW_AUTHENTICATE].to_str().unwrap().starts_with("Basic "));
        let answer = Answer::from(Problem::method_not_allowed("GET, HEAD"));
        assert_eq!((answer.status().as_u16(), &answer.headers()[ALLOW]), (405, &HeaderValue::from_static("GET, HEAD")));
    }

    #[test]
    fn bodies_carry_their_type() {
        assert_eq!(text(StatusCode::OK, "hi").headers()[CONTENT_TYPE], "text/plain; charset=utf-8");
        assert_eq!(body(&json(StatusCode::OK, &[1, 2])), serde_json::json!([1, 2]));
        assert!(empty(StatusCode::NO_CONTENT).headers().is_empty());
        assert_eq!(empty(StatusCode::OK).headers()[CONTENT_LENGTH], "0");
    }
}
