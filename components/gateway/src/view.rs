//! What a client sees of a job.

use messages::{Choices, Job, Status};
use serde::Serialize;

/// A job in JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JobView<'a> {
    id: String,
    status: Status,
    progress: u8,
    reason: Option<&'a str>,
    warning: Option<&'a str>,
    missing_seconds: Option<f64>,
    file_name: &'a str,
    content_type: &'a str,
    choices: &'a Choices,
    video_bytes: u64,
    mp3_bytes: Option<u64>,
    duration_seconds: Option<f64>,
    created_time: String,
    started_time: Option<String>,
    finished_time: Option<String>,
    /// The path of the MP3 once there is one.
    download: Option<String>,
}

impl<'a> From<&'a Job> for JobView<'a> {
    fn from(job: &'a Job) -> Self {
        Self {
            id: job.id.to_string(),
            status: job.status,
            progress: job.progress,
            reason: job.reason.as_deref(),
            warning: job.warning.as_deref(),
            missing_seconds: job.missing_seconds,
            file_name: &job.file_name,
            content_type: &job.content_type,
            choices: &job.choices,
            video_bytes: job.video_bytes,
            mp3_bytes: job.mp3_bytes,
            duration_seconds: job.duration_seconds,
            created_time: api::rfc3339(job.created),
            started_time: job.started.map(api::rfc3339),
            finished_time: job.finished.map(api::rfc3339),
            download: (job.status == Status::Done).then(|| format!("/download?fid={}", job.id)),
        }
    }
}

/// One page of jobs, newest first.
#[derive(Debug, Serialize)]
pub struct JobsView<'a> {
    /// The jobs.
    pub jobs: Vec<JobView<'a>>,
    /// The path of the next page, when there may be one.
    pub next: Option<String>,
}

#[cfg(test)]
mod tests {
    use messages::{JobId, Owner};

    use super::*;

    #[test]
    fn a_job_is_shown_without_its_owner() {
        let owner = Owner { id: "o".into(), email: "o@example.org".into() };
        let id = JobId::new(1, [1; 10]);
        let mut job = Job::queued(id, owner, "a.mp4".into(), "video/mp4".into(), 5, 1_700_000_000_000);
        let view = serde_json::to_value(JobView::from(&job)).unwrap();
        assert_eq!(view["createdTime"], "2023-11-14T22:13:20.000Z");
        assert_eq!((&view["status"], &view["download"]), (&"queued".into(), &serde_json::Value::Null));
        assert!(!view.to_string().contains("example.org"));
        job.finish(1_700_000_001_000, 9, 2.5, None);
        let view = serde_json::to_value(JobView::from(&job)).unwrap();
        assert_eq!(
            (&view["progress"], &view["mp3Bytes"], &view["durationSeconds"]),
            (&100.into(), &9.into(), &2.5.into())
        );
        assert_eq!(view["download"], format!("/download?fid={id}"));
    }
}
