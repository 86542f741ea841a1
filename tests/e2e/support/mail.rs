//! The embedded outbox, read as any mail program reads a maildir.

use std::fs;
use std::path::Path;

use mail_parser::MessageParser;

use super::eventually;

/// A mail in the outbox.
#[derive(Debug, Clone)]
pub(crate) struct Mail {
    pub(crate) to: String,
    pub(crate) from: String,
    pub(crate) subject: String,
    pub(crate) text: String,
    pub(crate) message_id: String,
}

impl Mail {
    /// Parses a message (RFC 5322).
    pub(crate) fn parse(raw: &[u8]) -> Self {
        let message = MessageParser::default().parse(raw).expect("a message");
        let address = |address: Option<&mail_parser::Address<'_>>| {
            address.and_then(|list| list.first()?.address.as_deref().map(str::to_owned)).unwrap_or_default()
        };
        Self {
            to: address(message.to()),
            from: address(message.from()),
            subject: message.subject().unwrap_or_default().to_owned(),
            text: message.body_text(0).unwrap_or_default().into_owned(),
            message_id: message.message_id().unwrap_or_default().to_owned(),
        }
    }
}

/// Every mail in the outbox of a state directory.
pub(crate) fn outbox(state: &Path) -> Vec<Mail> {
    let Ok(entries) = fs::read_dir(state.join("mail/new")) else { return Vec::new() };
    entries.map(|entry| Mail::parse(&fs::read(entry.expect("an entry").path()).expect("a mail"))).collect()
}

/// The mails about a job.
pub(crate) fn about(state: &Path, job: &str) -> Vec<Mail> {
    outbox(state).into_iter().filter(|mail| mail.text.contains(job) || mail.subject.contains(job)).collect()
}

/// Waits for the mail about a job.
pub(crate) async fn arrived(state: &Path, job: &str) -> Mail {
    eventually("the mail arrives", async || about(state, job).pop()).await
}
