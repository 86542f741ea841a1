//! `GET /download`: the MP3, straight from its blob into the response.

use api::{Problem, Query, wasi};
use http::StatusCode;
use messages::{Status, names};
use spin_sdk::wasip3::http::types::{ErrorCode, Fields};
use spin_sdk::wasip3::{wit_bindgen, wit_future};

use super::bindings::tessera::auth::tokens::Claims;
use super::bindings::tessera::blob::store as blobs;
use super::bindings::tessera::blob::types::{ByteRange, Error as BlobError};
use super::{Reply, blob_problem, jobs};
use crate::download::{self, Conditions, Part};

/// `GET` and `HEAD` of `/download?fid=<id>`
pub(super) async fn download(user: &Claims, query: &Query, headers: &Fields, head: bool) -> Result<Reply, Problem> {
    let id = query.get("fid").ok_or_else(|| Problem::bad_request("fid is required"))?;
    let id = id.parse().map_err(|_| Problem::not_found("no such job"))?;
    let (job, _) = jobs::find(user, id).await?;
    if job.status != Status::Done {
        let status = job.status.as_str();
        let detail = format!("the MP3 is not ready, its job is {status}");
        let problem = Problem::new(StatusCode::CONFLICT, detail).with("jobStatus", status);
        return Err(problem.with("progress", job.progress).with("reason", job.reason));
    }
    let key = names::blob_key(id);
    let info = blobs::head(names::MP3S.into(), key.clone()).await.map_err(|error| problem(&error))?;
    let [if_none_match, if_range, range] =
        ["if-none-match", "if-range", "range"].map(|name| wasi::header_text(headers, name));
    let part = download::select(
        Conditions {
            if_none_match: if_none_match.as_deref(),
            if_range: if_range.as_deref(),
            range: range.as_deref().filter(|_| !head),
        },
        &info.etag,
        info.size,
    );
    if part == Part::Unsatisfiable {
        return Err(Problem::range_not_satisfiable(info.size));
    }
    let (mut parts, ()) = http::Response::new(()).into_parts();
    parts.status = part.status();
    parts.headers = download::headers(part, &info.etag, info.size, &job.file_name);
    let (end, end_reader) = wit_future::new(|| Ok(None));
    let byte_range = match part {
        Part::Range { offset, length } => Some(ByteRange { offset, length: Some(length) }),
        Part::Whole if !head && info.size > 0 => None,
        _ => {
            drop(end);
            return wasi::response(&parts, None, end_reader).map(Reply::Stream).map_err(refused);
        }
    };
    let (opened, body, complete) =
        blobs::get(names::MP3S.into(), key, byte_range).await.map_err(|error| problem(&error))?;
    if opened.etag != info.etag {
        // Replaced between the two calls; the next request finds them alike.
        return Err(Problem::unavailable());
    }
    let response = wasi::response(&parts, Some(body), end_reader).map_err(refused)?;
    wit_bindgen::spawn(async move {
        let outcome = match complete.await {
            Ok(()) => Ok(None),
            Err(error) => {
                eprintln!("gateway: an MP3 broke off: {error}");
                Err(ErrorCode::InternalError(Some("the MP3 broke off".into())))
            }
        };
        // Refused only if the client is gone.
        let _ = end.write(outcome).await;
    });
    Ok(Reply::Stream(response))
}

fn problem(error: &BlobError) -> Problem {
    match error {
        BlobError::NotFound => Problem::not_found("the MP3 is gone"),
        error => blob_problem("reading an MP3", error),
    }
}

pub(super) fn refused(error: ErrorCode) -> Problem {
    eprintln!("gateway: the host refused a response: {error}");
    Problem::internal()
}
