//! From a message of the contract to one of RFC 5322.

use std::fmt::{self, Write};
use std::time::{Duration, UNIX_EPOCH};

use email_encoding::headers::writer::EmailWriter;
use email_encoding::headers::{quoted_string, rfc2047};
use lettre::address::Envelope;
use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Attachment, Body, Mailbox, Mailboxes, MultiPart, SinglePart};
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
        let [to, cc, bcc] = [&message.to, &message.cc, &message.bcc]
            .map(|list| list.iter().map(|address| mailbox(address)).collect::<Result<Vec<_>>>());
        let (to, cc, bcc) = (to?, cc?, bcc?);
        let recipients = [&to, &cc, &bcc].into_iter().flatten().map(|mailbox| mailbox.email.clone()).collect();
        let envelope = Envelope::new(Some(from.email.clone()), recipients)
            .map_err(|error| Error::Invalid(format!("the message cannot be addressed: {error}")))?;
        let mut builder = lettre::Message::builder()
            .envelope(envelope)
            .message_id(Some(format!("<{message_id}>")))
            .date(UNIX_EPOCH.checked_add(Duration::from_millis(date.0)).unwrap_or(UNIX_EPOCH))
            .from(from)
            .raw_header(subject(&message.subject));
        for (name, list) in [("To", &to), ("Cc", &cc)] {
            if !list.is_empty() {
                let encoded = addresses(name, list).map_err(|error| Error::internal("write addresses", error))?;
                let text = Mailboxes::from(list.clone()).to_string();
                let name = HeaderName::new_from_ascii_str(name);
                builder = builder.raw_header(HeaderValue::dangerous_new_pre_encoded(name, text, encoded));
            }
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

/// Addresses as a header's value, folded between them: a hundred do not fit into the 998 bytes of a
/// line.
fn addresses(header: &str, list: &[Mailbox]) -> Result<String, fmt::Error> {
    let mut encoded = String::new();
    let mut writer = EmailWriter::new(&mut encoded, header.len().saturating_add(2), 0, false);
    for (index, mailbox) in list.iter().enumerate() {
        if index > 0 {
            writer.write_char(',')?;
            writer.space();
        }
        if let Some(name) = &mailbox.name {
            quoted_string::encode(name, &mut writer)?;
            writer.space();
            writer.folding().write_str(&format!("<{}>", mailbox.email))?;
        } else {
            writer.folding().write_str(mailbox.email.as_ref())?;
        }
    }
    drop(writer);
    Ok(encoded)
}

/// A subject as a header. Lines are folded at spaces; a word that would not fit into the 998 bytes
/// of a line is encoded, so that it can be folded anywhere (RFC 2047).
fn subject(text: &str) -> HeaderValue {
    let name = HeaderName::new_from_ascii_str("Subject");
    let mut encoded = String::new();
    let fits = text.split(' ').all(|word| word.len() < 900);
    if fits || rfc2047::encode(text, &mut EmailWriter::new(&mut encoded, "Subject: ".len(), 0, false)).is_err() {
        return HeaderValue::new(name, text.to_owned());
    }
    HeaderValue::dangerous_new_pre_encoded(name, text.to_owned(), encoded)
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

/// A text whose lines end in CR LF. The builder would see to that too, but moves all that follows
/// for each line: minutes for a large text of short lines.
fn lines(text: String) -> String {
    let mut out = String::with_capacity(text.len().saturating_add(text.len() / 32));
    let mut before = '\0';
    for character in text.chars() {
        if character == '\n' && before != '\r' {
            out.push('\r');
        }
        out.push(character);
        before = character;
    }
    out
}

/// The texts, and the attachments behind them.
fn content(message: Message) -> Result<Content> {
    let texts = match (message.text.map(lines), message.html.map(lines)) {
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
    fn no_line_is_longer_than_a_server_takes() {
        let to = (0..100).map(|index| format!("Name {index} <user{index}@example.net>")).collect();
        let name =
            mail::Attachment { name: "é".repeat(127), content_type: "a/b".into(), content: "x".repeat(9999).into() };
        let long = Message {
            to,
            subject: "s".repeat(998),
            attachments: vec![name],
            text: Some("é".repeat(9999)),
            ..message()
        };
        let text = compose(long).unwrap();
        assert!(text.contains("user99@example.net"));
        let longest = text.lines().map(str::len).max().unwrap();
        assert!(longest <= 998, "{longest} bytes");
    }

    #[test]
    fn a_text_of_empty_lines_takes_no_longer_than_another() {
        let start = std::time::Instant::now();
        let text = compose(Message { text: Some("\n".repeat(mail::MAX_MESSAGE)), ..message() }).unwrap();
        assert!(text.ends_with("\r\n\r\n\r\n") && text.len() > 2 * mail::MAX_MESSAGE);
        assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
        let text = compose(Message { text: Some("a\nb\r\n\r\n\n".into()), ..message() }).unwrap();
        // The last line end is the message's own.
        assert!(text.ends_with("\r\n\r\na\r\nb\r\n\r\n\r\n\r\n"), "{text:?}");
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
