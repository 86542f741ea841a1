//! The record of a conversion and how its status may change.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::{Builder, Uuid};

use crate::{Choices, Timestamp};

/// Names a job: a UUID of version 7 (RFC 9562), so ids sort by their creation and carry 74 random
/// bits. Written in the hyphenated lower-case form and in no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobId(Uuid);

impl JobId {
    /// An id from the time and from random bytes, of which 74 bits are used.
    #[must_use]
    pub fn new(now: Timestamp, random: [u8; 10]) -> Self {
        Self(Builder::from_unix_timestamp_millis(now, &random).into_uuid())
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// The text is not a job's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAJobId;

impl fmt::Display for NotAJobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a job id: expected a UUID of version 7 in hyphenated lower case")
    }
}

impl std::error::Error for NotAJobId {}

impl FromStr for JobId {
    type Err = NotAJobId;

    fn from_str(text: &str) -> Result<Self, NotAJobId> {
        let id = Self(Uuid::try_parse(text).map_err(|_| NotAJobId)?);
        if id.0.get_version_num() != 7 || id.to_string() != text {
            return Err(NotAJobId);
        }
        Ok(id)
    }
}

impl TryFrom<String> for JobId {
    type Error = NotAJobId;

    fn try_from(text: String) -> Result<Self, NotAJobId> {
        text.parse()
    }
}

impl From<JobId> for String {
    fn from(id: JobId) -> Self {
        id.to_string()
    }
}

/// How far a job is. `Queued` and `Converting` change; `Done` and `Failed` are final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The video is stored and waits for a converter.
    Queued,
    /// A converter is at work, or was when it was interrupted; then another takes over.
    Converting,
    /// The MP3 is stored.
    Done,
    /// The video cannot be converted; trying again does not help.
    Failed,
}

impl Status {
    /// As in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Converting => "converting",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }

    /// True if it changes no more.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Failed)
    }
}

/// Whose job it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The account's id.
    pub id: String,
    /// Where the owner is mailed.
    pub email: String,
}

/// The record of a job, kept under [`crate::names::job_key`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Also the key of the video's and the MP3's blob.
    pub id: JobId,
    /// Who uploaded the video.
    pub owner: Owner,
    /// The upload's name as the client gave it, without any path; never empty.
    pub file_name: String,
    /// The upload's media type as the client gave it; says nothing sure about the content.
    pub content_type: String,
    /// What the owner wants of the MP3. Records of older versions have none.
    #[serde(default)]
    pub choices: Choices,
    /// How far it is.
    pub status: Status,
    /// Percent, 0 to 100; 100 only when `done`.
    pub progress: u8,
    /// Why it failed, in words for the owner.
    pub reason: Option<String>,
    /// What the owner should know about an MP3 that was made nevertheless.
    pub warning: Option<String>,
    /// With a warning: how much of the sound is not in the MP3, in seconds, if that is known.
    #[serde(default)]
    pub missing_seconds: Option<f64>,
    /// The video's size in bytes.
    pub video_bytes: u64,
    /// The MP3's size in bytes, when `done`.
    pub mp3_bytes: Option<u64>,
    /// The MP3's length in seconds, when `done`.
    pub duration_seconds: Option<f64>,
    /// When the upload was complete.
    pub created: Timestamp,
    /// When a converter first took it.
    pub started: Option<Timestamp>,
    /// When it became `done` or `failed`.
    pub finished: Option<Timestamp>,
    /// What the converter notes for itself while the job is not final.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<serde_json::Value>,
}

impl Job {
    /// A new job, `queued`.
    #[must_use]
    pub fn queued(
        id: JobId,
        owner: Owner,
        file_name: String,
        content_type: String,
        video_bytes: u64,
        created: Timestamp,
    ) -> Self {
        Self {
            id,
            owner,
            file_name,
            content_type,
            choices: Choices::default(),
            status: Status::Queued,
            progress: 0,
            reason: None,
            warning: None,
            missing_seconds: None,
            video_bytes,
            mp3_bytes: None,
            duration_seconds: None,
            created,
            started: None,
            finished: None,
            plan: None,
        }
    }

    /// A converter takes it, maybe not the first one. Without effect on a final job.
    pub fn start(&mut self, now: Timestamp) {
        if !self.status.is_final() {
            self.status = Status::Converting;
            self.started.get_or_insert(now);
        }
    }

    /// Notes the progress, at most 99, never backwards. Without effect on a final job. True if
    /// the record has changed, so is worth writing.
    pub fn advance(&mut self, percent: u8) -> bool {
        let percent = percent.min(99);
        let changed = !self.status.is_final() && percent > self.progress;
        if changed {
            self.progress = percent;
        }
        changed
    }

    /// The MP3 is stored. Without effect on a final job.
    pub fn finish(&mut self, now: Timestamp, mp3_bytes: u64, duration_seconds: f64, warning: Option<String>) {
        if !self.status.is_final() {
            self.status = Status::Done;
            self.progress = 100;
            self.mp3_bytes = Some(mp3_bytes);
            self.duration_seconds = Some(duration_seconds);
            self.warning = warning;
            self.finished = Some(now);
            self.plan = None;
        }
    }

    /// It cannot be converted, for a reason in words for the owner. Without effect on a final job.
    pub fn fail(&mut self, now: Timestamp, reason: String) {
        if !self.status.is_final() {
            self.status = Status::Failed;
            self.reason = Some(reason);
            self.finished = Some(now);
            self.plan = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> Job {
        let owner = Owner { id: "o".into(), email: "o@example.org".into() };
        Job::queued(JobId::new(1_700_000_000_000, [1; 10]), owner, "a.mp4".into(), "video/mp4".into(), 5, 10)
    }

    #[test]
    fn ids_sort_by_time_and_parse_in_one_form_only() {
        let early = JobId::new(1, [255; 10]);
        let late = JobId::new(2, [0; 10]);
        assert!(early.to_string() < late.to_string());
        assert_eq!(late.to_string().parse(), Ok(late));
        assert_eq!(late.to_string().replace('-', "").parse::<JobId>(), Err(NotAJobId));
        assert_eq!(JobId::new(1, [255; 10]).to_string().to_uppercase().parse::<JobId>(), Err(NotAJobId));
        assert_eq!("67e55044-10b1-426f-9247-bb680e5fe0c8".parse::<JobId>(), Err(NotAJobId), "version 4");
    }

    #[test]
    fn ids_carry_their_randomness() {
        assert_ne!(JobId::new(1, [1; 10]), JobId::new(1, [2; 10]));
    }

    #[test]
    fn the_record_survives_json() -> serde_json::Result<()> {
        let mut job = job();
        job.start(11);
        job.advance(40);
        let bytes = crate::to_json(&job)?;
        assert_eq!(crate::from_json::<Job>(&bytes)?, job);
        let value: serde_json::Value = crate::from_json(&bytes)?;
        assert_eq!(value["status"], "converting");
        assert_eq!(value["id"], job.id.to_string());
        Ok(())
    }

    #[test]
    fn progress_only_grows_and_reaches_100_when_done() {
        let mut job = job();
        job.start(11);
        assert!(job.advance(50));
        assert!(!job.advance(20));
        assert!(job.advance(100));
        assert_eq!(job.progress, 99);
        job.start(12);
        assert_eq!(job.started, Some(11));
        job.finish(13, 7, 1.5, None);
        assert_eq!((job.status, job.progress, job.finished), (Status::Done, 100, Some(13)));
    }

    #[test]
    fn a_final_job_changes_no_more() {
        let mut failed = job();
        failed.fail(20, "no sound".into());
        let before = failed.clone();
        failed.start(21);
        failed.finish(22, 1, 1.0, None);
        failed.fail(23, "again".into());
        assert!(!failed.advance(50));
        assert_eq!(failed, before);
    }
}
