//! `GET /jobs/<id>/events`: the job's record, looked at again and again, as server-sent events.
//!
//! The converter writes the record twice a second anyway, and reading one costs the store next to nothing; so no
//! message has to find its way to the one instance that serves a client. `spin.toml` has these requests served by a
//! component of their own, with limits of its own: however many clients watch, everything else goes on.

use std::time::{Duration, Instant};

use api::{Problem, wasi};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, StatusCode};
use messages::{JobId, Status};
use spin_sdk::wasip3::clocks::monotonic_clock;
use spin_sdk::wasip3::wit_bindgen::{self, StreamWriter};
use spin_sdk::wasip3::{wit_future, wit_stream};

use super::bindings::tessera::auth::tokens::Claims;
use super::{Reply, download::refused, jobs};
use crate::events;

/// The shortest and the longest time between two looks at the record. Between them it is a hundredth of the time that
/// the client has waited: so a short job's end is told at once, and a long one's is no later by its own measure.
const LOOKS: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(400)];
/// While a job is converted it is shown so often, even if nothing has changed.
const SHOW: Duration = Duration::from_millis(900);
/// While nothing is told the client hears a heartbeat so often.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// The longest stream. Clients come back by themselves.
const LONGEST: Duration = Duration::from_secs(30 * 60);
/// Tells proxies to pass on every event at once.
const UNBUFFERED: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Answers the stream. `Last-Event-ID` changes nothing: the first event always shows the job as it is.
pub(super) async fn events(user: &Claims, id: JobId) -> Result<Reply, Problem> {
    let (job, version) = jobs::find(user, id).await?;
    let first = format!("{}{}", events::PREAMBLE, shown(&job, version)?);
    let (mut parts, ()) = http::Response::new(()).into_parts();
    parts.status = StatusCode::OK;
    parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static(events::CONTENT_TYPE));
    parts.headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    parts.headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    parts.headers.insert(UNBUFFERED, HeaderValue::from_static("no"));
    let (end, end_reader) = wit_future::new(|| Ok(None));
    let (mut writer, reader) = wit_stream::new();
    let response = wasi::response(&parts, Some(reader), end_reader).map_err(refused)?;
    let is_final = job.status.is_final();
    wit_bindgen::spawn(async move {
        if write(&mut writer, first).await && !is_final {
            follow(&mut writer, id, version).await;
        }
        drop(writer);
        drop(end);
    });
    Ok(Reply::Stream(response))
}

/// Tells what becomes of a job, until it is final or gone, or the client is.
async fn follow(writer: &mut StreamWriter<u8>, id: JobId, mut seen: u64) {
    let (started, mut told) = (Instant::now(), Instant::now());
    while started.elapsed() < LONGEST {
        let [shortest, longest] = LOOKS;
        let look = (started.elapsed() / 100).clamp(shortest, longest);
        monotonic_clock::wait_for(look.as_nanos() as u64).await;
        let (text, is_last) = match jobs::get(id).await {
            Ok(None) => (events::deleted(id), true),
            Ok(Some((job, version)))
                if version != seen || (job.status == Status::Converting && told.elapsed() >= SHOW) =>
            {
                seen = version;
                match shown(&job, version) {
                    Ok(text) => (text, job.status.is_final()),
                    Err(_) => return,
                }
            }
            // The store may be back at the next look.
            Ok(Some(_)) | Err(_) if told.elapsed() >= HEARTBEAT => (events::HEARTBEAT.into(), false),
            Ok(Some(_)) | Err(_) => continue,
        };
        told = Instant::now();
        if !write(writer, text).await || is_last {
            return;
        }
    }
}

fn shown(job: &messages::Job, version: u64) -> Result<String, Problem> {
    events::event(job, version).map_err(|error| {
        eprintln!("gateway: cannot write an event as JSON: {error}");
        Problem::internal()
    })
}

/// False if the client is gone.
async fn write(writer: &mut StreamWriter<u8>, text: String) -> bool {
    writer.write_all(text.into_bytes()).await.is_empty()
}
