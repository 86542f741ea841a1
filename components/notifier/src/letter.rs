//! What the mail says.

use html_escape::{encode_double_quoted_attribute, encode_text};
use messages::{JobFinished, Outcome};

/// The longest part of a file's name in a subject, in characters.
const MAX_NAME: usize = 80;
/// The longest reason or warning, in characters.
const MAX_REASON: usize = 1000;

/// A mail's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// One line.
    pub subject: String,
    /// The plain text.
    pub text: String,
    /// The same in HTML.
    pub html: String,
}

/// Writes the mail about a job's end. `public_url` is where users reach the API.
#[must_use]
pub fn write(finished: &JobFinished, public_url: &str) -> Letter {
    let name = one_line(&finished.file_name, MAX_NAME);
    match finished.outcome {
        Outcome::Done => done(finished, &name, public_url.trim_end_matches('/')),
        Outcome::Failed => failed(finished, &name),
    }
}

fn done(finished: &JobFinished, name: &str, public_url: &str) -> Letter {
    let id = finished.job;
    let link = format!("{public_url}/download?fid={id}");
    let facts = facts(finished);
    let warning = finished.warning.as_deref().map(|warning| one_line(warning, MAX_REASON));
    let note = warning.as_deref().map(|warning| format!("Please note: {warning}\n\n")).unwrap_or_default();
    let text = format!(
        "Your MP3 of \"{name}\"{facts} is ready.\n\n{note}Its id is {id}.\n\nDownload it with your token:\n\n    \
         curl -OJ -H \"Authorization: Bearer $TOKEN\" \"{link}\"\n"
    );
    let note = warning.map(|warning| format!("<p>Please note: {}</p>", encode_text(&warning))).unwrap_or_default();
    let html = format!(
        "<p>Your MP3 of <b>{}</b>{} is ready.</p>{note}<p>Its id is <code>{id}</code>.</p>\
         <p>Download it with your token: <a href=\"{}\">{}</a></p>",
        encode_text(name),
        encode_text(&facts),
        encode_double_quoted_attribute(&link),
        encode_text(&link),
    );
    Letter { subject: format!("Your MP3 is ready: {name}"), text, html }
}

fn failed(finished: &JobFinished, name: &str) -> Letter {
    let id = finished.job;
    let reason = one_line(finished.reason.as_deref().unwrap_or("the video cannot be converted"), MAX_REASON);
    let text = format!(
        "No MP3 could be made of \"{name}\".\n\nReason: {reason}\n\nIts id is {id}. Trying the same file again will \
         not help.\n"
    );
    let html = format!(
        "<p>No MP3 could be made of <b>{}</b>.</p><p>Reason: {}</p><p>Its id is <code>{id}</code>. Trying the same \
         file again will not help.</p>",
        encode_text(name),
        encode_text(&reason),
    );
    Letter { subject: format!("No MP3 could be made: {name}"), text, html }
}

/// Length and size, as far as they are known, in parentheses.
fn facts(finished: &JobFinished) -> String {
    let length = finished.duration_seconds.filter(|seconds| seconds.is_finite() && *seconds >= 0.0).map(|seconds| {
        // Saturates, and a job has no 584 billion years.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let seconds = seconds.round() as u64;
        format!("{}:{:02} minutes", seconds / 60, seconds % 60)
    });
    let size = finished.mp3_bytes.map(|bytes| match bytes {
        0..1_000 => format!("{bytes} bytes"),
        1_000..1_000_000 => format!("{} kB", bytes / 1_000),
        _ => format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10),
    });
    let facts: Vec<String> = length.into_iter().chain(size).collect();
    if facts.is_empty() { String::new() } else { format!(" ({})", facts.join(", ")) }
}

/// Text that stays on its line, cut after `most` characters.
fn one_line(text: &str, most: usize) -> String {
    let flat = text.chars().map(|character| if character.is_control() { ' ' } else { character });
    let mut line: String = flat.clone().take(most).collect();
    if flat.count() > most {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use messages::JobId;

    use super::*;

    fn finished(outcome: Outcome) -> JobFinished {
        JobFinished {
            job: JobId::new(1, [1; 10]),
            outcome,
            reason: None,
            warning: None,
            owner_email: "ada@example.org".into(),
            file_name: "talk.mp4".into(),
            mp3_bytes: Some(1_250_000),
            duration_seconds: Some(78.4),
        }
    }

    #[test]
    fn a_done_job_is_told_with_its_link() {
        let letter = write(&finished(Outcome::Done), "https://example.org/");
        let id = JobId::new(1, [1; 10]);
        assert_eq!(letter.subject, "Your MP3 is ready: talk.mp4");
        for part in ["talk.mp4", "1:18 minutes, 1.2 MB", &format!("https://example.org/download?fid={id}")] {
            assert!(letter.text.contains(part) && letter.html.contains(part), "{part} in {letter:?}");
        }
        assert!(!letter.text.contains("Please note"));
    }

    #[test]
    fn a_warning_is_told() {
        let letter = write(&JobFinished { warning: Some("cut short".into()), ..finished(Outcome::Done) }, "http://x");
        assert!(letter.text.contains("Please note: cut short") && letter.html.contains("Please note: cut short"));
    }

    #[test]
    fn a_reason_is_told_whole() {
        let reason = "Because of this. ".repeat(20);
        let letter = write(&JobFinished { reason: Some(reason.clone()), ..finished(Outcome::Failed) }, "http://x");
        assert!(letter.text.contains(&reason), "{}", letter.text);
    }

    #[test]
    fn a_failed_job_is_told_with_its_reason() {
        let letter = write(&JobFinished { reason: Some("no sound".into()), ..finished(Outcome::Failed) }, "http://x");
        assert_eq!(letter.subject, "No MP3 could be made: talk.mp4");
        assert!(letter.text.contains("Reason: no sound") && letter.html.contains("Reason: no sound"));
        assert!(!letter.text.contains("download"));
    }

    #[test]
    fn names_cannot_break_out() {
        let name = format!("<script>\r\nBcc: x{}", "y".repeat(300));
        let letter = write(&JobFinished { file_name: name, ..finished(Outcome::Done) }, "http://x");
        assert!(!letter.subject.contains(['\r', '\n']) && letter.subject.chars().count() < 120, "{}", letter.subject);
        assert!(!letter.html.contains("<script>") && letter.html.contains("&lt;script&gt;"));
    }

    #[test]
    fn unknown_facts_are_left_out() {
        let bare = JobFinished { mp3_bytes: None, duration_seconds: None, ..finished(Outcome::Done) };
        assert!(write(&bare, "http://x").text.contains("\"talk.mp4\" is ready"));
    }
}
