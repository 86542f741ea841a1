//! A job's course as server-sent events (WHATWG HTML, section 9.2).

use messages::{Job, Status};

use crate::view::JobView;

/// The media type of the stream.
pub const CONTENT_TYPE: &str = "text/event-stream";
/// What the stream begins with: how long a client waits before it comes back, in milliseconds.
pub const PREAMBLE: &str = "retry: 2000\n\n";
/// Keeps the connection alive while there is nothing to tell; clients ignore it.
pub const HEARTBEAT: &str = ": heartbeat\n\n";

/// The event that shows a job as it is: `progress`, or its end, `done` or `failed`. Its id is the record's version.
///
/// # Errors
/// None that a record can cause.
pub fn event(job: &Job, version: u64) -> serde_json::Result<String> {
    let name = match job.status {
        Status::Queued | Status::Converting => "progress",
        Status::Done => "done",
        Status::Failed => "failed",
    };
    // JSON of serde has no line breaks, which would end the field.
    Ok(format!("id: {version}\nevent: {name}\ndata: {}\n\n", serde_json::to_string(&JobView::from(job))?))
}

/// The event that ends the stream of a job that was deleted.
#[must_use]
pub fn deleted(id: messages::JobId) -> String {
    format!("event: deleted\ndata: {{\"id\":\"{id}\"}}\n\n")
}

#[cfg(test)]
mod tests {
    use messages::{JobId, Owner};

    use super::*;

    #[test]
    fn events_are_named_by_the_status_and_stay_on_their_lines() -> serde_json::Result<()> {
        let owner = Owner { id: "o".into(), email: "o@example.org".into() };
        let name = "a\nevent: done\r.mp4".to_owned();
        let mut job = Job::queued(JobId::new(1, [1; 10]), owner, name, "video/mp4".into(), 5, 10);
        for (version, name) in [(7, "progress"), (8, "failed")] {
            let text = event(&job, version)?;
            let lines: Vec<&str> = text.split(['\n', '\r']).collect();
            assert_eq!(lines.len(), 5, "{text}");
            assert_eq!((lines[0], lines[1]), (format!("id: {version}").as_str(), format!("event: {name}").as_str()));
            assert!(lines[2].starts_with("data: {") && lines[2].ends_with('}'), "{text}");
            assert_eq!((lines[3], lines[4]), ("", ""));
            job.fail(11, "no sound".into());
        }
        Ok(())
    }
}
