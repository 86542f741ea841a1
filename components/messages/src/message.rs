//! The bodies of the queues' messages.

use serde::{Deserialize, Serialize};

use crate::{Job, JobId, Status, Timestamp};

/// Body on [`crate::names::VIDEO`]: convert this job's video.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConvertVideo {
    /// The job; its record says the rest.
    pub job: JobId,
}

/// Body on [`crate::names::PART`]: make one of the parts that a job's MP3 is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConvertPart {
    /// The job; its record says what the part is.
    pub job: JobId,
    /// Which one, from 0 on.
    pub part: u32,
    /// How many there are.
    pub of: u32,
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The MP3 is ready.
    Done,
    /// The video cannot be converted.
    Failed,
}

/// Body on [`crate::names::MP3`]: a job is final. Says all that the owner is told, so that it can
/// be told even after the job was deleted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobFinished {
    /// The job.
    pub job: JobId,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it failed, in words for the owner.
    pub reason: Option<String>,
    /// What the owner should know about the MP3.
    pub warning: Option<String>,
    /// Where the owner is mailed.
    pub owner_email: String,
    /// The upload's name.
    pub file_name: String,
    /// The MP3's size in bytes, when done.
    pub mp3_bytes: Option<u64>,
    /// The MP3's length in seconds, when done.
    pub duration_seconds: Option<f64>,
}

impl JobFinished {
    /// What to tell about a job; none while its status is not final.
    #[must_use]
    pub fn of(job: &Job) -> Option<Self> {
        let outcome = match job.status {
            Status::Done => Outcome::Done,
            Status::Failed => Outcome::Failed,
            Status::Queued | Status::Converting => return None,
        };
        Some(Self {
            job: job.id,
            outcome,
            reason: job.reason.clone(),
            warning: job.warning.clone(),
            owner_email: job.owner.email.clone(),
            file_name: job.file_name.clone(),
            mp3_bytes: job.mp3_bytes,
            duration_seconds: job.duration_seconds,
        })
    }
}

/// Body on the queues of [`crate::names::events`]: something happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// What happened: the queue's name.
    pub topic: String,
    /// When it happened.
    pub time: Timestamp,
    /// What belongs to it, such as `job` and `owner`. Never a secret.
    pub data: serde_json::Value,
}

impl Event {
    /// An event about a job: its id, its owner, its file's name, its status and why it failed.
    #[must_use]
    pub fn about(topic: &str, time: Timestamp, job: &Job) -> Self {
        let data = serde_json::json!({
            "job": job.id,
            "owner": job.owner.id,
            "fileName": job.file_name,
            "status": job.status,
            "reason": job.reason,
            "videoBytes": job.video_bytes,
            "mp3Bytes": job.mp3_bytes,
            "durationSeconds": job.duration_seconds,
        });
        Self { topic: topic.into(), time, data }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Owner, names};

    fn job() -> Job {
        let owner = Owner { id: "o".into(), email: "o@example.org".into() };
        Job::queued(JobId::new(3, [1; 10]), owner, "a.mp4".into(), "video/mp4".into(), 5, 10)
    }

    #[test]
    fn only_a_final_job_is_told() {
        let mut job = job();
        assert_eq!(JobFinished::of(&job), None);
        job.fail(11, "no sound".into());
        let told = JobFinished::of(&job).map(|told| (told.outcome, told.reason));
        assert_eq!(told, Some((Outcome::Failed, Some("no sound".into()))));
    }

    #[test]
    fn messages_survive_json_and_unknown_fields() -> serde_json::Result<()> {
        let id = JobId::new(3, [1; 10]);
        assert_eq!(crate::to_json(&ConvertVideo { job: id })?, format!(r#"{{"job":"{id}"}}"#).into_bytes());
        let newer = format!(r#"{{"job":"{id}","priority":3}}"#);
        assert_eq!(crate::from_json::<ConvertVideo>(newer.as_bytes())?, ConvertVideo { job: id });
        assert!(crate::from_json::<ConvertVideo>(br#"{"job":"../x"}"#).is_err());
        Ok(())
    }

    #[test]
    fn events_do_not_carry_the_address() -> serde_json::Result<()> {
        let event = Event::about(names::events::UPLOADED, 12, &job());
        let text = serde_json::to_string(&event)?;
        assert!(text.contains(r#""status":"queued""#) && !text.contains("example.org"), "{text}");
        Ok(())
    }
}
