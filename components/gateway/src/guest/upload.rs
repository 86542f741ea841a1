//! `POST /upload`: the body goes to its blob as it comes; then one commit makes the job.

use std::fmt;
use std::sync::Arc;
use std::task::Poll;

use api::{Answer, Problem, Query, answer, wasi};
use bytes::Bytes;
use futures::future::{self, Either};
use futures::stream::{self, Stream};
use http::StatusCode;
use messages::{Choices, ConvertVideo, Event, Job, JobId, Owner, names};
use multer::{Field, Multipart};
use spin_sdk::variables;
use spin_sdk::wasip3::http::types::{ErrorCode, Fields, Request};
use spin_sdk::wasip3::wit_bindgen::StreamResult;

use super::bindings::tessera::auth::tokens::Claims;
use super::bindings::tessera::blob::store as blobs;
use super::bindings::tessera::blob::types::{Error as BlobError, Info, PutOptions};
use super::bindings::tessera::keyvalue::store;
use super::bindings::tessera::keyvalue::types::{Check, Error as StoreError, Operation, Set};
use super::bindings::{wit_future, wit_stream};
use super::{blob_problem, jobs, now, store_problem, sweep};
use crate::choices::{Draft, MAX_VALUE, NAMES};
use crate::upload::{self, Allowance, Body, CHUNK, ONE_FILE};

/// How often the commit is tried while the store is unavailable.
const COMMIT_ATTEMPTS: usize = 3;

/// A video that is stored.
struct Video {
    info: Info,
    file_name: String,
    content_type: String,
    choices: Choices,
}

/// `POST /upload`. With a raw body, `filename` in the query names the file. Choices stand in the query or in the
/// form's fields, best before the file: then a wrong one is refused before any of it is stored.
pub(super) async fn upload(
    user: &Claims,
    query: &Query,
    headers: &Fields,
    request: Request,
) -> Result<Answer, Problem> {
    let limit = limit().await?;
    let content_type = wasi::header_text(headers, "content-type");
    let content_length = wasi::header_text(headers, "content-length");
    let body = upload::judge(content_type.as_deref(), content_length.as_deref(), limit)?;
    let mut draft = Draft::default();
    for (name, value) in query.pairs() {
        draft.take(name, value)?;
    }
    let choices = draft.finish()?;
    let id = new_id()?;
    let video = match body {
        Body::Raw { content_type } => {
            let file_name = upload::file_name(query.get("filename"));
            let info = store_raw(request, id, &content_type, limit).await?;
            Video { info, file_name, content_type, choices }
        }
        Body::Multipart { boundary } => store_multipart(request, id, &boundary, draft, limit).await?,
    };
    if video.info.size == 0 {
        discard(id).await;
        return Err(Problem::bad_request(ONE_FILE));
    }
    create_job(user, id, video).await?;
    sweep::sweep().await;
    let message = serde_json::json!({ "message": "success!", "id": id, "status": format!("/jobs/{id}") });
    Ok(answer::json(StatusCode::ACCEPTED, &message))
}

async fn limit() -> Result<u64, Problem> {
    match variables::get("max_upload_bytes").await {
        Ok(text) => text.trim().parse().map_err(|_| {
            eprintln!("gateway: the variable max_upload_bytes is not a number of bytes: {text:?}");
            Problem::internal()
        }),
        Err(variables::Error::Undefined(_)) => Ok(upload::DEFAULT_LIMIT),
        Err(error) => {
            eprintln!("gateway: cannot read the variable max_upload_bytes: {error}");
            Err(Problem::unavailable())
        }
    }
}

fn new_id() -> Result<JobId, Problem> {
    let mut random = [0; 10];
    getrandom::fill(&mut random).map_err(|error| {
        eprintln!("gateway: no random numbers: {error}");
        Problem::internal()
    })?;
    Ok(JobId::new(now(), random))
}

fn put_options(content_type: &str, limit: u64) -> PutOptions {
    PutOptions { content_type: Some(content_type.into()), metadata: Vec::new(), if_absent: true, max_size: Some(limit) }
}

fn put_problem(error: &BlobError, limit: u64) -> Problem {
    match error {
        BlobError::TooLarge(_) => Problem::too_large(limit),
        BlobError::Incomplete(_) => Problem::bad_request("the body ended before its end"),
        error => blob_problem("storing a video", error),
    }
}

/// Hands the body itself to the store: its bytes never pass through this component.
async fn store_raw(request: Request, id: JobId, content_type: &str, limit: u64) -> Result<Info, Problem> {
    let (body, end) = wasi::open_body(request);
    let (completion, completed) = wit_future::new(|| Err("the upload was abandoned".into()));
    let options = put_options(content_type, limit);
    let put = blobs::put(names::VIDEOS.into(), names::blob_key(id), options, body, completed);
    let pass_end_on = async {
        let outcome = end.await.map(|_trailers| ()).map_err(|error| error.to_string());
        // Refused only if the store has given up, and then it says why.
        let _ = completion.write(outcome).await;
    };
    let outcome = match future::select(Box::pin(put), Box::pin(pass_end_on)).await {
        Either::Left((outcome, _)) => outcome,
        Either::Right(((), put)) => put.await,
    };
    outcome.map_err(|error| put_problem(&error, limit))
}

/// A multipart body's bytes, at most [`CHUNK`] at a time.
fn chunks(request: Request, allowance: Arc<Allowance>) -> impl Stream<Item = Result<Bytes, BodyError>> + Send {
    stream::unfold(Some(wasi::open_body(request)), move |state| {
        let allowance = Arc::clone(&allowance);
        async move {
            let (mut body, end) = state?;
            // The parser buffers for as long as the stream is ready; so it is not, between two chunks.
            give_way().await;
            let (result, chunk) = body.read(Vec::with_capacity(CHUNK)).await;
            if !matches!(result, StreamResult::Complete(_)) {
                return end.await.err().map(|error| (Err(BodyError::Broken(error)), None));
            }
            if !allowance.take(chunk.len()) {
                return Some((Err(BodyError::TooMuchBeside), None));
            }
            Some((Ok(Bytes::from(chunk)), Some((body, end))))
        }
    })
}

/// Lets others go first, once.
async fn give_way() {
    let mut given = false;
    future::poll_fn(|context| {
        if given {
            return Poll::Ready(());
        }
        given = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Why a multipart body cannot be read on.
#[derive(Debug)]
enum BodyError {
    Broken(ErrorCode),
    TooMuchBeside,
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(error) => write!(f, "the body broke off: {error}"),
            Self::TooMuchBeside => {
                write!(f, "more than {} bytes beside the file", upload::MULTIPART_OVERHEAD)
            }
        }
    }
}

impl std::error::Error for BodyError {}

/// Stores the one file of a multipart body. The store learns that the file is complete only after
/// the whole body was seen to have no second one, and no choice that cannot be met.
async fn store_multipart(
    request: Request,
    id: JobId,
    boundary: &str,
    mut draft: Draft,
    limit: u64,
) -> Result<Video, Problem> {
    let allowance = Arc::new(Allowance::default());
    let mut parts = Multipart::new(chunks(request, Arc::clone(&allowance)), boundary);

    let file = next_file(&mut parts, &mut draft).await?.ok_or_else(|| Problem::bad_request(ONE_FILE))?;
    draft.finish()?;
    let file_name = upload::file_name(file.file_name());
    let content_type = upload::part_type(file.content_type());

    let (writer, reader) = wit_stream::new::<u8>();
    let (completion, completed) = wit_future::new(|| Err("the upload was abandoned".into()));
    let options = put_options(&content_type, limit);
    let put = blobs::put(names::VIDEOS.into(), names::blob_key(id), options, reader, completed);
    let feed = async {
        let fed = feed(file, writer, &mut parts, &mut draft, &allowance).await;
        let outcome = fed.as_ref().map(|_| ()).map_err(|problem| problem.detail().to_owned());
        let _ = completion.write(outcome).await;
        fed
    };
    // The store's own refusal ends the upload at once; a refusal found here ends the store's.
    let stored = match future::select(Box::pin(put), Box::pin(feed)).await {
        Either::Left((stored, _)) => stored,
        Either::Right((fed, put)) => {
            let stored = put.await;
            fed?;
            stored
        }
    };
    let info = stored.map_err(|error| put_problem(&error, limit))?;
    Ok(Video { info, file_name, content_type, choices: draft.finish()? })
}

/// Writes a file's bytes and looks at the rest of the body.
async fn feed(
    mut file: Field<'static>,
    mut writer: spin_sdk::wasip3::wit_bindgen::StreamWriter<u8>,
    parts: &mut Multipart<'static>,
    draft: &mut Draft,
    allowance: &Allowance,
) -> Result<(), Problem> {
    while let Some(chunk) = file.chunk().await.map_err(|error| multipart_problem(&error))? {
        allowance.give_back(chunk.len());
        if !writer.write_all(chunk.into()).await.is_empty() {
            // The store has given up, and says why.
            return Ok(());
        }
    }
    drop(file);
    drop(writer);
    match next_file(parts, draft).await? {
        None => draft.finish().map(|_| ()),
        Some(_) => Err(Problem::bad_request(ONE_FILE)),
    }
}

/// The next part that is a file. Of the fields before it choices are taken, others are read and ignored.
async fn next_file(parts: &mut Multipart<'static>, draft: &mut Draft) -> Result<Option<Field<'static>>, Problem> {
    while let Some(mut part) = parts.next_field().await.map_err(|error| multipart_problem(&error))? {
        if part.file_name().is_some() {
            return Ok(Some(part));
        }
        let Some(name) = NAMES.into_iter().find(|name| part.name() == Some(name)) else { continue };
        let mut value = Vec::new();
        while let Some(chunk) = part.chunk().await.map_err(|error| multipart_problem(&error))? {
            value.extend_from_slice(&chunk);
            if value.len() > MAX_VALUE {
                return Err(Problem::bad_request(format!("{name} has more than {MAX_VALUE} bytes")));
            }
        }
        let value = String::from_utf8(value).map_err(|_| Problem::bad_request(format!("{name} is not UTF-8")))?;
        draft.take(name, &value)?;
    }
    Ok(None)
}

fn multipart_problem(error: &multer::Error) -> Problem {
    match error {
        multer::Error::StreamReadFailed(cause) => Problem::bad_request(cause.to_string()),
        error => Problem::bad_request(format!("the multipart body is malformed: {error}")),
    }
}

/// Makes the job and its messages in one commit. If that fails for good, the video goes.
async fn create_job(user: &Claims, id: JobId, video: Video) -> Result<(), Problem> {
    let owner = Owner { id: user.sub.clone(), email: user.username.clone() };
    let mut job = Job::queued(id, owner, video.file_name, video.content_type, video.info.size, now());
    job.choices = video.choices;
    let checks = vec![Check { key: names::job_key(id), version: None }];
    let operations = vec![
        set(names::job_key(id), jobs::to_json(&job)?),
        set(names::owner_key(&user.sub, id), Vec::new()),
        jobs::publication(names::VIDEO, &ConvertVideo { job: id })?,
        jobs::event(&Event::about(names::events::UPLOADED, job.created, &job))?,
    ];
    let mut problem = Problem::unavailable();
    for _ in 0..COMMIT_ATTEMPTS {
        match store::commit(names::JOBS.into(), checks.clone(), operations.clone()).await {
            Ok(_) => return Ok(()),
            // Nobody else knows the id: an earlier attempt was applied after all.
            Err(StoreError::Conflict) => return Ok(()),
            Err(error @ StoreError::Unavailable(_)) => problem = store_problem("creating a job", &error),
            Err(error) => {
                discard(id).await;
                return Err(store_problem("creating a job", &error));
            }
        }
    }
    // The job may exist or not, so its video stays.
    Err(problem)
}

fn set(key: Vec<u8>, value: Vec<u8>) -> Operation {
    Operation::Set(Set { key, value, time_to_live: None })
}

/// Deletes a video without a job.
async fn discard(id: JobId) {
    if let Err(error) = blobs::delete(names::VIDEOS.into(), names::blob_key(id)).await {
        eprintln!("gateway: the video {id} has no job and cannot be deleted: {error}");
    }
}
