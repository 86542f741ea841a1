//! The names of stores, queues and keys, each in one place.
//!
//! `spin.toml` grants them under the same names.

use crate::JobId;

/// Key-value store of the job records and of the index by owner.
pub const JOBS: &str = "jobs";
/// Key-value store of the accounts; the component `auth` alone has it.
pub const ACCOUNTS: &str = "accounts";
/// Key-value store of the token signing keys; the component `auth` alone has it.
pub const KEYS: &str = "keys";
/// Key-value store of the events; the component `reporter` alone has it.
pub const EVENTS: &str = "events";

/// Blob store of the uploads, by job id.
pub const VIDEOS: &str = "videos";
/// Blob store of the MP3s, by job id.
pub const MP3S: &str = "mp3s";

/// Queue of [`crate::ConvertVideo`]: a video is stored and its job is `queued`.
pub const VIDEO: &str = "video";
/// Queue of [`crate::ConvertPart`]: a long video is to be converted in parts.
pub const PART: &str = "part";
/// Queue of [`crate::JobFinished`]: a job is `done` or `failed`.
pub const MP3: &str = "mp3";

/// Queues of [`crate::Event`]s, which the queue's name calls by what happened.
pub mod events {
    /// An account was made.
    pub const REGISTERED: &str = "events.registered";
    /// A video was stored and its job queued.
    pub const UPLOADED: &str = "events.uploaded";
    /// A job is done.
    pub const CONVERTED: &str = "events.converted";
    /// A job failed for good.
    pub const FAILED: &str = "events.failed";
    /// A job, its video and its MP3 were deleted.
    pub const DELETED: &str = "events.deleted";
    /// The owner's mail was handed over.
    pub const MAILED: &str = "events.mailed";
    /// The owner cannot be mailed.
    pub const MAIL_FAILED: &str = "events.mail-failed";
}

/// The prefix of all job records; in byte order, they are in order of creation.
pub const JOB_PREFIX: &str = "job/";

/// The key of a job's record in [`JOBS`].
#[must_use]
pub fn job_key(id: JobId) -> Vec<u8> {
    format!("{JOB_PREFIX}{id}").into_bytes()
}

/// The key of a job in its owner's index in [`JOBS`]; the entry's value is empty.
#[must_use]
pub fn owner_key(owner_id: &str, id: JobId) -> Vec<u8> {
    let mut key = owner_prefix(owner_id);
    key.extend_from_slice(id.to_string().as_bytes());
    key
}

/// The prefix of an owner's index in [`JOBS`]; what follows it is a job id, so the newest job is
/// the first in reverse order.
#[must_use]
pub fn owner_prefix(owner_id: &str) -> Vec<u8> {
    format!("owner/{owner_id}/").into_bytes()
}

/// The key in [`JOBS`] under which it is remembered that a job's owner was told how it ended.
#[must_use]
pub fn told_key(id: JobId) -> Vec<u8> {
    format!("told/{id}").into_bytes()
}

/// What the keys of [`shared_key`] begin with.
pub const SHARED_PREFIX: &str = "shared/";

/// The key in [`JOBS`] that exists while a job's MP3 is made in parts: converters count them. Its value is empty.
#[must_use]
pub fn shared_key(id: JobId) -> Vec<u8> {
    format!("{SHARED_PREFIX}{id}").into_bytes()
}

/// The job a key belongs to, of any of these kinds.
#[must_use]
pub fn job_of_key(key: &[u8]) -> Option<JobId> {
    std::str::from_utf8(key).ok()?.rsplit('/').next()?.parse().ok()
}

/// The key of a job's video in [`VIDEOS`] and of its MP3 in [`MP3S`].
#[must_use]
pub fn blob_key(id: JobId) -> String {
    id.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_name_their_job() {
        let id = JobId::new(1_700_000_000_000, [7; 10]);
        assert_eq!(job_key(id), b"job/018bcfe5-6800-7707-8707-070707070707");
        assert_eq!(job_of_key(&job_key(id)), Some(id));
        assert_eq!(job_of_key(&owner_key("o-1", id)), Some(id));
        assert_eq!(job_of_key(&shared_key(id)), Some(id));
        assert!(owner_key("o-1", id).starts_with(&owner_prefix("o-1")));
        assert_eq!(job_of_key(b"job/../../etc/passwd"), None);
        assert_eq!(job_of_key(b"\xff"), None);
    }

    #[test]
    fn one_owners_prefix_is_not_anothers() {
        assert!(!owner_key("ab", JobId::new(1, [0; 10])).starts_with(&owner_prefix("a")));
    }
}
