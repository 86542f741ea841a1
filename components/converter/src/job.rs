//! What to do with a delivery, and what is told at a job's end. Decisions only.

use messages::{Event, Job, JobFinished, Status, Timestamp, names};

use crate::reason::Reason;

/// On this attempt and later ones nothing is tried any more: whatever ended the earlier ones left no word, so the
/// owner gets one before the message goes to the dead letters unseen. `spin.toml` allows as many attempts.
pub const LAST_ATTEMPT: u32 = 5;

/// What to do with a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// The job is final; this message was seen before.
    Nothing,
    /// Convert.
    Convert,
    /// Fail the job.
    Fail(Reason),
}

/// Decides by the record and by the delivery's attempt, counted from 1.
#[must_use]
pub fn task(job: &Job, attempt: u32) -> Task {
    match job.status {
        Status::Done | Status::Failed => Task::Nothing,
        _ if attempt >= LAST_ATTEMPT => Task::Fail(Reason::GivenUp),
        Status::Queued | Status::Converting => Task::Convert,
    }
}

/// A message to be published with the record's last change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// The queue.
    pub queue: &'static str,
    /// JSON.
    pub body: Vec<u8>,
}

/// What is published when a job becomes final; nothing while it is not.
///
/// # Errors
/// None that a record can cause.
pub fn announcements(job: &Job, now: Timestamp) -> serde_json::Result<Vec<Announcement>> {
    let topic = match job.status {
        Status::Done => names::events::CONVERTED,
        Status::Failed => names::events::FAILED,
        Status::Queued | Status::Converting => return Ok(Vec::new()),
    };
    Ok(vec![
        Announcement { queue: names::MP3, body: messages::to_json(&JobFinished::of(job))? },
        Announcement { queue: topic, body: messages::to_json(&Event::about(topic, now, job))? },
    ])
}

#[cfg(test)]
mod tests {
    use messages::{JobId, Outcome, Owner};

    use super::*;

    fn job() -> Job {
        let owner = Owner { id: "o".into(), email: "o@example.org".into() };
        Job::queued(JobId::new(3, [1; 10]), owner, "a.mp4".into(), "video/mp4".into(), 5, 10)
    }

    #[test]
    fn a_final_job_is_left_alone_whatever_the_attempt() {
        let mut done = job();
        done.start(11);
        done.finish(12, 100, 1.5, None);
        let mut failed = job();
        failed.fail(12, "no sound".into());
        for attempt in [1, 2, LAST_ATTEMPT, 99] {
            assert_eq!(task(&done, attempt), Task::Nothing);
            assert_eq!(task(&failed, attempt), Task::Nothing);
        }
    }

    #[test]
    fn interrupted_jobs_are_taken_up_again_but_not_for_ever() {
        let mut job = job();
        assert_eq!(task(&job, 1), Task::Convert);
        job.start(11);
        assert_eq!(task(&job, LAST_ATTEMPT - 1), Task::Convert);
        assert_eq!(task(&job, LAST_ATTEMPT), Task::Fail(Reason::GivenUp));
    }

    #[test]
    fn the_end_is_told_to_the_notifier_and_as_an_event() -> serde_json::Result<()> {
        let mut job = job();
        assert_eq!(announcements(&job, 20)?, []);
        job.fail(12, "no sound".into());
        let told = announcements(&job, 20)?;
        assert_eq!(told.iter().map(|told| told.queue).collect::<Vec<_>>(), ["mp3", "events.failed"]);
        let finished: JobFinished = messages::from_json(&told[0].body)?;
        assert_eq!((finished.outcome, finished.reason.as_deref()), (Outcome::Failed, Some("no sound")));
        let event: Event = messages::from_json(&told[1].body)?;
        assert_eq!((event.topic.as_str(), event.time), ("events.failed", 20));
        Ok(())
    }
}
