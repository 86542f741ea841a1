//! Between this crate's types and `wasi:http`.

use spin_sdk::wasip3::http::types::{ErrorCode, Fields, Method, Request, Response, Trailers};
use spin_sdk::wasip3::wit_bindgen::{self, FutureReader, StreamReader, StreamResult};
use spin_sdk::wasip3::{wit_future, wit_stream};

use crate::{Answer, Problem};

/// How a body ended: with its trailers, or not.
pub type BodyEnd = Result<Option<Trailers>, ErrorCode>;

/// The first value of a header.
#[must_use]
pub fn header(headers: &Fields, name: &str) -> Option<Vec<u8>> {
    headers.get(name).into_iter().next()
}

/// The first value of a header, if it is text.
#[must_use]
pub fn header_text(headers: &Fields, name: &str) -> Option<String> {
    header(headers, name).and_then(|value| String::from_utf8(value).ok())
}

/// The method's name in capitals.
#[must_use]
pub fn method_name(method: Method) -> String {
    match method {
        Method::Get => "GET".into(),
        Method::Head => "HEAD".into(),
        Method::Post => "POST".into(),
        Method::Put => "PUT".into(),
        Method::Delete => "DELETE".into(),
        Method::Connect => "CONNECT".into(),
        Method::Options => "OPTIONS".into(),
        Method::Trace => "TRACE".into(),
        Method::Patch => "PATCH".into(),
        Method::Other(name) => name,
    }
}

/// Opens a request's body: its bytes, and a future that says whether they came to their end.
pub fn open_body(request: Request) -> (StreamReader<u8>, FutureReader<BodyEnd>) {
    let (received, receipt) = wit_future::new(|| Ok(()));
    drop(received);
    Request::consume_body(request, receipt)
}

/// Reads a request's body of at most `limit` bytes.
///
/// # Errors
/// 413 if it has more, 400 if it does not come to its end.
pub async fn read_body(request: Request, limit: usize) -> Result<Vec<u8>, Problem> {
    let (mut stream, end) = open_body(request);
    let mut body = Vec::new();
    loop {
        let (result, chunk) = stream.read(Vec::with_capacity(16 * 1024)).await;
        if body.len().saturating_add(chunk.len()) > limit {
            return Err(Problem::too_large(u64::try_from(limit).unwrap_or(u64::MAX)));
        }
        body.extend_from_slice(&chunk);
        if !matches!(result, StreamResult::Complete(_)) {
            break;
        }
    }
    end.await.map_err(|_| Problem::bad_request("the body ended before its end"))?;
    Ok(body)
}

/// A `wasi:http` response with a body that is given as a stream and the future of its end.
///
/// # Errors
/// The host refuses a header.
pub fn response(
    parts: &http::response::Parts,
    body: Option<StreamReader<u8>>,
    end: FutureReader<BodyEnd>,
) -> Result<Response, ErrorCode> {
    let headers: Vec<(String, Vec<u8>)> =
        parts.headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect();
    let headers =
        Fields::from_list(&headers).map_err(|error| ErrorCode::InternalError(Some(format!("a header: {error:?}"))))?;
    let (response, _sent) = Response::new(headers, body, end);
    response
        .set_status_code(parts.status.as_u16())
        .map_err(|()| ErrorCode::InternalError(Some("a status code".into())))?;
    Ok(response)
}

/// A whole answer as a `wasi:http` response.
///
/// # Errors
/// The host refuses a header.
pub fn respond(answer: Answer) -> Result<Response, ErrorCode> {
    let (parts, body) = answer.into_parts();
    let (end, end_reader) = wit_future::new(|| Ok(None));
    if body.is_empty() {
        drop(end);
        return response(&parts, None, end_reader);
    }
    let (mut writer, reader) = wit_stream::new();
    let response = response(&parts, Some(reader), end_reader)?;
    wit_bindgen::spawn(async move {
        // What is left over was not wanted: the client is gone.
        writer.write_all(body).await;
        drop(writer);
        drop(end);
    });
    Ok(response)
}
