//! Videos without a job: what a crash between an upload's last byte and its commit leaves. Each
//! upload looks at a few of the videos, the next upload at the next few, and so round and round;
//! those that had no job for long are deleted. A crash here does no harm either: the same videos
//! are looked at again.

use messages::{JobId, names};
use spin_sdk::variables;

use super::bindings::tessera::blob::store as blobs;
use super::bindings::tessera::keyvalue::store;
use super::bindings::tessera::keyvalue::types::{Operation, Set};
use super::{jobs, now};

/// Where the next upload goes on, in the store of the jobs: a cursor, or nothing for the beginning.
const NEXT: &[u8] = b"sweep/videos";
/// How many videos an upload looks at.
const STEP: u32 = 16;
/// How old a video without a job is when it goes, in seconds, unless `orphan_seconds` says
/// otherwise: far longer than the commit of any upload may take.
const AGE: u64 = 24 * 3600;

/// Looks at the next few videos. What fails is tried again by a later upload.
pub(super) async fn sweep() {
    if let Err(error) = step().await {
        eprintln!("gateway: sweeping videos without a job: {error}");
    }
}

async fn step() -> Result<(), String> {
    let age = match variables::get("orphan_seconds").await {
        Ok(text) => text.trim().parse().map_err(|_| format!("orphan_seconds is not a number: {text:?}"))?,
        Err(_) => AGE,
    };
    let next = store::get(names::JOBS.into(), NEXT.to_vec()).await.map_err(|error| error.to_string())?;
    let cursor = next.and_then(|entry| String::from_utf8(entry.value).ok()).filter(|cursor| !cursor.is_empty());
    let listed = blobs::list(names::VIDEOS.into(), String::new(), cursor.clone(), STEP).await;
    let (objects, following) = match listed {
        Ok(page) => (page.objects, page.cursor),
        // The blobs are on another engine now, which does not know the cursor: from the beginning.
        Err(_) if cursor.is_some() => (Vec::new(), None),
        Err(error) => return Err(error.to_string()),
    };
    for object in objects {
        let Ok(id) = object.key.parse::<JobId>() else { continue };
        let old = object.created.saturating_add(age.saturating_mul(1000)) < now();
        if old && !jobs::exists(id).await? {
            blobs::delete(names::VIDEOS.into(), object.key).await.map_err(|error| error.to_string())?;
            eprintln!("gateway: deleted the video {id}, which had no job");
        }
    }
    if cursor == following {
        return Ok(());
    }
    let value = following.unwrap_or_default().into_bytes();
    let set = Operation::Set(Set { key: NEXT.to_vec(), value, time_to_live: None });
    store::commit(names::JOBS.into(), Vec::new(), vec![set]).await.map_err(|error| error.to_string())?;
    Ok(())
}
