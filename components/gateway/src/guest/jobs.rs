//! Job records: showing, listing and deleting them.

use api::{Answer, Problem, Query, answer};
use futures::future::try_join_all;
use http::StatusCode;
use messages::{Event, JSON, Job, JobId, names};

use super::bindings::tessera::auth::tokens::Claims;
use super::bindings::tessera::blob::store as blobs;
use super::bindings::tessera::keyvalue::store;
use super::bindings::tessera::keyvalue::types::{Check, Error as StoreError, Operation, Publication, Range, Version};
use super::bindings::tessera::queue::types::Message;
use super::{blob_problem, now, store_problem};
use crate::view::{JobView, JobsView};

/// The jobs of a page, when the client does not say.
const PAGE: u32 = 20;
/// The most jobs of a page.
const MAX_PAGE: u32 = 100;
/// How often a deletion is tried while a converter writes the record.
const DELETE_ATTEMPTS: usize = 10;

/// `GET /jobs/<id>`
pub(super) async fn show(user: &Claims, id: JobId) -> Result<Answer, Problem> {
    let (job, _) = find(user, id).await?;
    Ok(answer::json(StatusCode::OK, &JobView::from(&job)))
}

/// `GET /jobs`: the user's own, or everybody's for an admin. A page is `size` jobs made before the
/// job `before`.
pub(super) async fn list(user: &Claims, query: &Query) -> Result<Answer, Problem> {
    let size = query.number("size", PAGE, 1..=MAX_PAGE)?;
    let before: Option<JobId> = query
        .get("before")
        .map(str::parse)
        .transpose()
        .map_err(|_| Problem::bad_request("before is the id of a job"))?;
    let (prefix, end) = if user.admin {
        (names::JOB_PREFIX.as_bytes().to_vec(), before.map(names::job_key))
    } else {
        (names::owner_prefix(&user.sub), before.map(|id| names::owner_key(&user.sub, id)))
    };
    let range = Range { prefix: Some(prefix), start: None, end };
    let page = store::list(names::JOBS.into(), range, size, true, None)
        .await
        .map_err(|error| store_problem("listing jobs", &error))?;
    let ids: Vec<JobId> = page.entries.iter().filter_map(|entry| names::job_of_key(&entry.key)).collect();
    let jobs: Vec<Job> = if user.admin {
        page.entries.iter().filter_map(|entry| messages::from_json(&entry.value).ok()).collect()
    } else {
        // A job that was deleted meanwhile is left out.
        try_join_all(ids.iter().map(|id| get(*id))).await?.into_iter().flatten().map(|(job, _)| job).collect()
    };
    let next = match (page.cursor, ids.last()) {
        (Some(_), Some(last)) => Some(format!("/jobs?size={size}&before={last}")),
        _ => None,
    };
    Ok(answer::json(StatusCode::OK, &JobsView { jobs: jobs.iter().map(JobView::from).collect(), next }))
}

/// `DELETE /jobs/<id>`: first the record, then the blobs; what a crash between leaves is unreachable.
pub(super) async fn delete(user: &Claims, id: JobId) -> Result<Answer, Problem> {
    for _ in 0..DELETE_ATTEMPTS {
        let (job, version) = find(user, id).await?;
        let checks = vec![Check { key: names::job_key(id), version: Some(version) }];
        let operations = vec![
            Operation::Delete(names::job_key(id)),
            Operation::Delete(names::owner_key(&job.owner.id, id)),
            event(&Event::about(names::events::DELETED, now(), &job))?,
        ];
        match store::commit(names::JOBS.into(), checks, operations).await {
            Ok(_) => {
                for label in [names::VIDEOS, names::MP3S] {
                    blobs::delete(label.into(), names::blob_key(id))
                        .await
                        .map_err(|error| blob_problem("deleting a blob", &error))?;
                }
                return Ok(answer::empty(StatusCode::NO_CONTENT));
            }
            // A converter has noted its progress meanwhile.
            Err(StoreError::Conflict) => {}
            Err(error) => return Err(store_problem("deleting a job", &error)),
        }
    }
    Err(Problem::unavailable())
}

/// A job that the user may see. Somebody else's is as unknown as one that never was.
pub(super) async fn find(user: &Claims, id: JobId) -> Result<(Job, Version), Problem> {
    match get(id).await? {
        Some((job, version)) if user.admin || job.owner.id == user.sub => Ok((job, version)),
        _ => Err(Problem::not_found("no such job")),
    }
}

/// True if there is such a job, whoever's it is.
pub(super) async fn exists(id: JobId) -> Result<bool, String> {
    let entry = store::get(names::JOBS.into(), names::job_key(id)).await;
    entry.map(|entry| entry.is_some()).map_err(|error| error.to_string())
}

/// A job, whoever's it is.
pub(super) async fn get(id: JobId) -> Result<Option<(Job, Version)>, Problem> {
    let entry = store::get(names::JOBS.into(), names::job_key(id))
        .await
        .map_err(|error| store_problem("reading a job", &error))?;
    let Some(entry) = entry else { return Ok(None) };
    match messages::from_json(&entry.value) {
        Ok(job) => Ok(Some((job, entry.version))),
        Err(error) => {
            eprintln!("gateway: the record of job {id} is damaged: {error}");
            Err(Problem::internal())
        }
    }
}

/// The publication of an event within a commit.
pub(super) fn event(event: &Event) -> Result<Operation, Problem> {
    publication(&event.topic, event)
}

/// A publication within a commit.
pub(super) fn publication<T: serde::Serialize>(queue: &str, body: &T) -> Result<Operation, Problem> {
    let message = Message {
        body: to_json(body)?,
        content_type: Some(JSON.into()),
        headers: Vec::new(),
        deduplication_id: None,
        not_before: None,
        ordering_key: None,
    };
    Ok(Operation::Publish(Publication { queue: queue.into(), message }))
}

/// JSON bytes to store or send.
pub(super) fn to_json<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, Problem> {
    messages::to_json(value).map_err(|error| {
        eprintln!("gateway: cannot write JSON: {error}");
        Problem::internal()
    })
}
