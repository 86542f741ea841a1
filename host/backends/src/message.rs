//! From a message of the contract to one of RFC 5322.

use std::time::{Duration, UNIX_EPOCH};

use lettre::message::header::{ContentTransferEncoding, ContentType};
use lettre::message::{Attachment, Body, Mailbox, MultiPart, SinglePart};
use sha2::{Digest, Sha256};
use tessera_capability::mail::{self, Message};
use tessera_capability::time::Timestamp;
use tessera_capability::{Error, Result};

/// Writes messages on behalf of a configured sender.
pub(crate) struct Composer {
    from: Mailbox,
}

/// A message ready to be handed over.
pub(crate) struct Composed {
    /// The `Message-ID` without its angle brackets.
    pub(crate) message_id: String,
    /// With its envelope, and without `Bcc` in its headers.
    pub(crate) message: lettre::Message,
}

/// What stands for an idempotency key: the same text for the same scope and key, another one for
/// any other, safe as a file name and in a header.
pub(crate) fn fingerprint(scope: &str, key: &str) -> String {
    let mut hash = Sha256::new();
    // The length keeps scope and key apart, whatever is in them.
    hash.update(scope.len().to_be_bytes());
    hash.update(scope);
    hash.update(key);
    let mut text = hex::encode(hash.finalize());
    text.truncate(32);
    text
}

impl Composer {
    /// Writes in the name of `from` where a message names no other sender.
    ///
    /// # Errors
    /// `Invalid` if it is not an address.
    pub(crate) fn new(from: &str) -> Result<Self> {
        Ok(Self { from: mailbox(from)? })
    }

    /// Writes a message; `local` is the local part of its `Message-ID`.
    ///
    /// # Errors
    /// `Invalid` or `TooLarge`, saying what.
    pub(crate) fn compose(&self, local: &str, date: Timestamp, message: Message) -> Result<Composed> {
        message.validate()?;
        // The configured domain, so that the id does not depend on the message.
        let message_id = format!("{local}@{}", self.from.email.domain());
        let from = message.from.as_deref().map_or_else(|| Ok(self.from.clone()), mailbox)?;
        let mut builder = lettre::Message::builder()
            .message_id(Some(format!("<{message_id}>")))
            .date(UNIX_EPOCH.checked_add(Duration::from_millis(date.0)).unwrap_or(UNIX_EPOCH))
            .from(from)
            .subject(&message.subject);
        for address in &message.to {
            builder = builder.to(mailbox(address)?);
        }
        for address in &message.cc {
            builder = builder.cc(mailbox(address)?);
        }
        for address in &message.bcc {
            builder = builder.bcc(mailbox(address)?);
        }
        if let Some(address) = &message.reply_to {
            builder = builder.reply_to(mailbox(address)?);
        }
        let message = match content(message)? {
            Content::Single(part) => builder.singlepart(part),
            Content::Multi(part) => builder.multipart(part),
        };
        let message = message.map_err(|error| Error::Invalid(format!("the message cannot be written: {error}")))?;
        Ok(Composed { message_id, message })
    }
}

/// An address, with a name or without.
fn mailbox(address: &str) -> Result<Mailbox> {
    address.parse().map_err(|error| {
        Error::Invalid(format!("`{}` is not an address like `Name <local@domain>`: {error}", address.escape_debug()))
    })
}

enum Content {
    Single(SinglePart),
    Multi(MultiPart),
}

/// The texts, and the attachments behind them.
fn content(message: Message) -> Result<Content> {
    let texts = match (message.text, message.html) {
        (Some(text), Some(html)) => Content::Multi(MultiPart::alternative_plain_html(text, html)),
        (None, Some(html)) => Content::Single(SinglePart::html(html)),
        (text, None) => Content::Single(SinglePart::plain(text.unwrap_or_default())),
    };
    if message.attachments.is_empty() {
        return Ok(texts);
    }
    let mixed = MultiPart::mixed();
    let mixed = match texts {
        Content::Single(part) => mixed.singlepart(part),
        Content::Multi(part) => mixed.multipart(part),
    };
    message
        .attachments
        .into_iter()
        .try_fold(mixed, |mixed, file| Ok(mixed.singlepart(attachment(file)?)))
        .map(Content::Multi)
}

fn attachment(file: mail::Attachment) -> Result<SinglePart> {
    let kind = &file.content_type;
    let invalid = || Error::Invalid(format!("`{}` is not an attachment's media type", kind.escape_debug()));
    let content_type = ContentType::parse(kind).map_err(|_| invalid())?;
    if kind.trim_start().get(..10).is_some_and(|start| start.eq_ignore_ascii_case("multipart/")) {
        return Err(invalid());
    }
    // Base64 keeps every byte, line ends included.
    let body = Body::new_with_encoding(file.content.to_vec(), ContentTransferEncoding::Base64)
        .map_err(|_| Error::Invalid("an attachment cannot be encoded".into()))?;
    Ok(Attachment::new(file.name).body(body, content_type))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        Message { to: vec!["a@example.net".into()], text: Some("hello".into()), ..Message::default() }
    }

    fn compose(message: Message) -> Result<String> {
        let composed = Composer::new("App <app@example.org>")?.compose("id", Timestamp(0), message)?;
        Ok(String::from_utf8(composed.message.formatted()).unwrap())
    }

    #[test]
    fn a_name_cannot_add_a_header() {
        let hostile = "\"x\r\nX-Evil: 1\" <a@example.net>";
        let text = compose(Message { to: vec![hostile.into()], ..message() });
        assert!(text.is_err() || !text.unwrap().contains("\nX-Evil"));
        for address in ["a@example.net\r\nX-Evil: 1", "a@example.net>\r\nX-Evil: 1", "", "a", "a@", "<>"] {
            let result = compose(Message { to: vec![address.into()], ..message() });
            assert!(matches!(result, Err(Error::Invalid(_))), "{address:?}: {result:?}");
        }
    }

    #[test]
    fn an_attachment_is_no_multipart() {
        for kind in ["multipart/mixed", " Multipart/mixed", "text/plain\r\nX-Evil: 1", ""] {
            let file = mail::Attachment { name: "f".into(), content_type: kind.into(), content: "x".into() };
            let result = compose(Message { attachments: vec![file], ..message() });
            assert!(matches!(result, Err(Error::Invalid(_))), "{kind:?}");
        }
    }

    #[test]
    fn scope_and_key_do_not_run_together() {
        assert_eq!(fingerprint("a", "b"), fingerprint("a", "b"));
        assert_ne!(fingerprint("a", "bc"), fingerprint("ab", "c"));
        assert_eq!(fingerprint("../", "/\n").len(), 32);
    }
}
