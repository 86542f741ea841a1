//! The mail contract: handing messages over for delivery.
//!
//! The sentences of `wit/deps/tessera-mail` hold for every [`Sender`]; the suite in
//! `conformance::mail` has a test for each, and for those of [`Outbox`], through which an operator
//! reads mail that a back-end keeps.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::time::Timestamp;
use crate::{Error, Result};

/// The most recipients of one message.
pub const MAX_RECIPIENTS: usize = 100;
/// The longest subject, in bytes (RFC 5322, section 2.1.1).
pub const MAX_SUBJECT: usize = 998;
/// The most bytes of texts and attachments of one message.
pub const MAX_MESSAGE: usize = 10 << 20;
/// The longest idempotency key, in bytes.
pub const MAX_IDEMPOTENCY_KEY: usize = 128;
/// The most bytes of a kept message: what the least favourable encoding makes of [`MAX_MESSAGE`],
/// and headers.
pub const MAX_RAW: u64 = 32 << 20;
/// For how long idempotency keys are remembered at least.
pub const IDEMPOTENCY_WINDOW: Duration = Duration::from_secs(7 * 24 * 3600);

/// A file that goes with a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// As the recipient sees it.
    pub name: String,
    /// A media type.
    pub content_type: String,
    /// The file.
    pub content: Bytes,
}

/// What to send. Addresses are `local@domain` or `Name <local@domain>`; back-ends parse them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// The sender; `None`: the configured one.
    pub from: Option<String>,
    /// Recipients.
    pub to: Vec<String>,
    /// Recipients of a copy.
    pub cc: Vec<String>,
    /// Recipients whom the message does not name.
    pub bcc: Vec<String>,
    /// Where answers go.
    pub reply_to: Option<String>,
    /// One line.
    pub subject: String,
    /// Plain text; at least one of `text` and `html` is needed.
    pub text: Option<String>,
    /// HTML.
    pub html: Option<String>,
    /// Files.
    pub attachments: Vec<Attachment>,
    /// The same key of the same scope is sent once.
    pub idempotency_key: Option<String>,
}

impl Message {
    /// Refuses a message beyond the contract's limits. Addresses are checked by the back-end.
    ///
    /// # Errors
    /// `TooLarge` or `Invalid`, saying what.
    pub fn validate(&self) -> Result<()> {
        let recipients = self.to.len().saturating_add(self.cc.len()).saturating_add(self.bcc.len());
        if recipients == 0 || recipients > MAX_RECIPIENTS {
            return Err(Error::Invalid(format!("a message has 1 to {MAX_RECIPIENTS} recipients, not {recipients}")));
        }
        if self.text.is_none() && self.html.is_none() {
            return Err(Error::Invalid("a message needs a text or an html body".into()));
        }
        if self.subject.len() > MAX_SUBJECT || self.subject.chars().any(char::is_control) {
            return Err(Error::Invalid(format!("a subject is one line of at most {MAX_SUBJECT} bytes")));
        }
        for attachment in &self.attachments {
            let name = &attachment.name;
            if name.is_empty() || name.len() > 255 || name.chars().any(|c| c.is_control() || c == '/' || c == '\\') {
                return Err(Error::Invalid("an attachment's name has 1 to 255 bytes without path separators".into()));
            }
        }
        if self.idempotency_key.as_ref().is_some_and(|key| key.is_empty() || key.len() > MAX_IDEMPOTENCY_KEY) {
            return Err(Error::Invalid(format!("an idempotency key has 1 to {MAX_IDEMPOTENCY_KEY} bytes")));
        }
        let texts = [&self.text, &self.html].into_iter().flatten().map(String::len);
        let size = texts.chain(self.attachments.iter().map(|a| a.content.len())).fold(0_usize, usize::saturating_add);
        if size > MAX_MESSAGE {
            return Err(Error::TooLarge(format!("a message has at most {MAX_MESSAGE} bytes, not {size}")));
        }
        Ok(())
    }
}

/// Proof that the message was taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The Message-ID without its angle brackets. The same scope and idempotency key give the
    /// same one.
    pub message_id: String,
    /// False if it had been sent before and was not sent now.
    pub sent: bool,
}

/// Takes messages over for delivery.
#[async_trait]
pub trait Sender: Send + Sync {
    /// Hands a message over for all its recipients or for none. `scope` is the sending component:
    /// idempotency keys of different scopes do not meet.
    ///
    /// # Errors
    /// `Invalid` for a bad address or field, `Rejected` when refused for good, `Unavailable` when
    /// refused for now or out of reach, `Internal`.
    async fn send(&self, scope: &str, message: Message) -> Result<Receipt>;
}

/// A kept message in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Names it in its outbox; printable ASCII without spaces.
    pub id: String,
    /// When it was taken over.
    pub sent: Timestamp,
    /// The sender, as `local@domain` or `Name <local@domain>`.
    pub from: String,
    /// Everyone it is for, those of `bcc` included, as `local@domain`.
    pub to: Vec<String>,
    /// The subject, decoded; empty if it has none.
    pub subject: String,
    /// Bytes that are kept.
    pub size: u64,
}

/// Part of a listing of kept messages.
#[derive(Debug, Clone, Default)]
pub struct Summaries {
    /// Latest first.
    pub messages: Vec<Summary>,
    /// Set when there may be more; opaque.
    pub cursor: Option<String>,
}

/// Mail that a back-end keeps for people to look at.
#[async_trait]
pub trait Outbox: Send + Sync {
    /// One page of what is kept. A message that comes meanwhile is not on later pages, one that
    /// goes may be missing.
    ///
    /// # Errors
    /// `Invalid` for a foreign cursor, `Unavailable`, `Internal`.
    async fn list(&self, cursor: Option<&str>, limit: usize) -> Result<Summaries>;

    /// A message as it would go to the next server (RFC 5322, lines end in CR LF), with everyone it
    /// is for in an `X-Envelope-To` header before all others.
    ///
    /// # Errors
    /// `NotFound`, `TooLarge` for what has more than [`MAX_RAW`] bytes and so is none of ours,
    /// `Unavailable`, `Internal`.
    async fn read(&self, id: &str) -> Result<Bytes>;
}
