//! The cases, in the order of the contract.

use mail_parser::MimeHeaders;

use super::*;

/// Subject, text and headers arrive as they were written.
pub async fn a_message_arrives_as_it_was_written(service: Shared) {
    let written = Message {
        to: vec!["User <user@example.net>".into(), "second@example.net".into()],
        cc: vec!["copy@example.net".into()],
        reply_to: Some("Help <help@example.org>".into()),
        text: Some("First line.\nSecond line.\n\n.\n..\nFrom here on\n".into()),
        ..message()
    };
    let delivered = arrive(&service, written.clone()).await;
    let found = parse(&delivered.raw);
    assert_eq!(found.subject(), Some(written.subject.as_str()));
    assert_eq!(addresses(found.to()), ["user@example.net", "second@example.net"]);
    assert_eq!(found.to().unwrap().first().unwrap().name(), Some("User"));
    assert_eq!(addresses(found.cc()), ["copy@example.net"]);
    assert_eq!(addresses(found.reply_to()), ["help@example.org"]);
    let text = found.body_text(0).unwrap().replace("\r\n", "\n");
    assert_eq!(text.trim_end(), "First line.\nSecond line.\n\n.\n..\nFrom here on");
    assert!(found.date().is_some(), "no date");
}

/// The envelope has everyone of `to`, `cc` and `bcc`.
pub async fn every_recipient_is_in_the_envelope(service: Shared) {
    let delivered = arrive(
        &service,
        Message {
            to: vec!["a@example.net".into(), "B <b@example.net>".into()],
            cc: vec!["c@example.net".into()],
            bcc: vec!["d@example.net".into(), "e@example.net".into()],
            ..message()
        },
    )
    .await;
    let mut recipients = delivered.recipients;
    recipients.sort_unstable();
    assert_eq!(recipients, ["a", "b", "c", "d", "e"].map(|name| format!("{name}@example.net")));
    let only_blind = Message { to: vec![], bcc: vec!["d@example.net".into()], ..message() };
    assert_eq!(arrive(&service, only_blind).await.recipients, ["d@example.net"]);
}

/// The message does not name those of `bcc`: its headers, but for what the outbox says of the
/// envelope, and its body have no word of them.
pub async fn blind_recipients_are_not_in_the_message(service: Shared) {
    let delivered = arrive(&service, Message { bcc: vec!["hidden@example.net".into()], ..message() }).await;
    assert!(parse(&delivered.raw).bcc().is_none());
    assert!(!String::from_utf8_lossy(&delivered.raw).contains("hidden"));
}

/// One of the two texts is enough; both are alternatives.
pub async fn a_message_may_be_plain_or_html_or_both(service: Shared) {
    let html = Some("<p>Hello <b>you</b>.</p>".to_owned());
    for (text, html) in [(Some("Hello you.".to_owned()), None), (None, html.clone()), (Some("Plain.".to_owned()), html)]
    {
        let delivered = arrive(&service, Message { text: text.clone(), html: html.clone(), ..message() }).await;
        let found = parse(&delivered.raw);
        if let Some(text) = text {
            assert_eq!(found.body_text(0).unwrap().trim_end(), text);
        }
        if let Some(html) = html {
            assert_eq!(found.body_html(0).unwrap().trim_end(), html);
        }
        assert_eq!(found.attachment_count(), 0);
    }
}

/// Subjects, names and texts are Unicode; lines may be long.
pub async fn text_beyond_ascii_arrives(service: Shared) {
    let written = Message {
        to: vec!["Zoë 🎵 <user@example.net>".into()],
        subject: format!("Grüße, 世界 🎵 {}", unique()),
        text: Some(format!("Ünïcode 世界 🎵 {}", "lang ".repeat(500).trim_end())),
        ..message()
    };
    let delivered = arrive(&service, written.clone()).await;
    let found = parse(&delivered.raw);
    assert_eq!(found.subject(), Some(written.subject.as_str()));
    assert_eq!(found.to().unwrap().first().unwrap().name(), Some("Zoë 🎵"));
    assert_eq!(found.body_text(0).unwrap().trim_end(), written.text.unwrap());
    assert!(delivered.raw.split(|byte| *byte == b'\n').all(|line| line.len() <= 1000), "a line is too long");
}

/// Attachments are the bytes that were attached, with their names and types.
pub async fn attachments_arrive_byte_for_byte(service: Shared) {
    let binary: Vec<u8> = (0..50_000_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let attach = |name: &str, content_type: &str, content: Bytes| Attachment {
        name: name.into(),
        content_type: content_type.into(),
        content,
    };
    let attachments = vec![
        attach("song.mp3", "audio/mpeg", binary.into()),
        attach("lines \"é\".txt", "text/plain; charset=utf-8", "a\nb\r\nc\rd\n.\n".into()),
        attach("empty", "application/octet-stream", Bytes::new()),
    ];
    let written = Message { html: Some("<p>Hello.</p>".into()), attachments: attachments.clone(), ..message() };
    let delivered = arrive(&service, written).await;
    let found = parse(&delivered.raw);
    assert_eq!(found.body_text(0).unwrap().trim_end(), "Hello.");
    assert_eq!(found.attachment_count(), attachments.len());
    for (found, attached) in found.attachments().zip(&attachments) {
        assert_eq!(found.attachment_name(), Some(attached.name.as_str()));
        let kind = found.content_type().unwrap();
        let kind = format!("{}/{}", kind.ctype(), kind.subtype().unwrap());
        assert!(attached.content_type.starts_with(&kind), "{kind} is not {}", attached.content_type);
        assert!(found.contents() == &attached.content[..], "{} differs", attached.name);
    }
}

/// Without a sender of its own a message comes from the configured one.
pub async fn the_sender_is_the_configured_one(service: Shared) {
    let delivered = arrive(&service, message()).await;
    let found = parse(&delivered.raw);
    assert_eq!(addresses(found.from()), ["app@example.org"]);
    assert_eq!(found.from().unwrap().first().unwrap().name(), Some("Application"));
}

/// A message may name another sender.
pub async fn a_message_may_name_its_sender(service: Shared) {
    let delivered = arrive(&service, Message { from: Some("Other <other@example.org>".into()), ..message() }).await;
    assert_eq!(addresses(parse(&delivered.raw).from()), ["other@example.org"]);
}

/// The receipt has the `Message-ID` without angle brackets.
pub async fn the_receipt_names_the_message(service: Shared) {
    let receipt = send(&service, message()).await.unwrap();
    assert!(receipt.message_id.contains('@') && !receipt.message_id.contains(['<', '>', ' ']), "{receipt:?}");
    one(&service, &receipt.message_id).await;
}

/// Without a key every call sends.
pub async fn messages_without_a_key_have_ids_of_their_own(service: Shared) {
    let message = message();
    let first = send(&service, message.clone()).await.unwrap();
    let second = send(&service, message.clone()).await.unwrap();
    assert!(first.sent && second.sent);
    assert_ne!(first.message_id, second.message_id);
    assert_eq!(with_subject(&service, &message.subject).await, 2);
}

/// A key that was sent is not sent again; the first receipt is answered, whatever the message.
pub async fn the_same_key_is_sent_once(service: Shared) {
    let key = unique();
    let first = send(&service, keyed(&key)).await.unwrap();
    assert!(first.sent);
    let other = keyed(&key);
    let second = send(&service, other.clone()).await.unwrap();
    assert_eq!(second, Receipt { message_id: first.message_id.clone(), sent: false });
    assert_eq!(with_subject(&service, &other.subject).await, 0);
    one(&service, &first.message_id).await;
}

/// Keys are remembered by what is on disk.
pub async fn a_key_outlives_a_restart(service: Shared) {
    let key = unique();
    let first = send(&service, keyed(&key)).await.unwrap();
    let again = service.restarted().await.send("component", keyed(&key)).await.unwrap();
    assert_eq!(again, Receipt { message_id: first.message_id.clone(), sent: false });
    one(&service, &first.message_id).await;
}

/// The `Message-ID` follows from scope and key, so that a duplicate is known as one.
pub async fn the_same_key_gives_the_same_message_id(service: Shared) {
    let key = unique();
    let first = send(&service, keyed(&key)).await.unwrap();
    let from = Message { from: Some("other@elsewhere.example".into()), ..keyed(&key) };
    assert_eq!(send(&service, from).await.unwrap().message_id, first.message_id);
    assert_ne!(send(&service, keyed(&unique())).await.unwrap().message_id, first.message_id);
}

/// Another component's key is another key.
pub async fn keys_of_different_scopes_do_not_meet(service: Shared) {
    let key = unique();
    let sender = service.sender();
    let first = sender.send("one", keyed(&key)).await.unwrap();
    let second = sender.send("two", keyed(&key)).await.unwrap();
    assert!(first.sent && second.sent);
    assert_ne!(first.message_id, second.message_id);
    one(&service, &first.message_id).await;
    one(&service, &second.message_id).await;
}

/// Nor do a scope and a key that are written alike one after the other.
pub async fn a_scope_and_a_key_do_not_run_together(service: Shared) {
    let word = unique();
    let sender = service.sender();
    let first = sender.send("a", keyed(&format!("b{word}"))).await.unwrap();
    let second = sender.send("ab", keyed(&word)).await.unwrap();
    assert!(first.sent && second.sent);
    assert_ne!(first.message_id, second.message_id);
    // Keys are any text: no path, no header, no glob.
    for key in ["../../x", "a/b", "\r\nX: y", "*", " ", "\u{0}", &"é".repeat(MAX_IDEMPOTENCY_KEY / 2)] {
        let receipt = sender.send(&word, keyed(key)).await.unwrap();
        assert!(receipt.sent);
        one(&service, &receipt.message_id).await;
    }
}

/// Of calls at the same time exactly one sends, and all have the receipt.
pub async fn concurrent_calls_with_the_same_key_send_once(service: Shared) {
    let key = unique();
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let (sender, message) = (service.sender(), keyed(&key));
            tokio::spawn(async move { sender.send("component", message).await })
        })
        .collect();
    let mut receipts = Vec::new();
    for call in calls {
        receipts.push(call.await.unwrap().unwrap());
    }
    assert_eq!(receipts.iter().filter(|receipt| receipt.sent).count(), 1);
    assert!(receipts.iter().all(|receipt| receipt.message_id == receipts[0].message_id));
    one(&service, &receipts[0].message_id).await;
}

/// Messages at the same time do not get into each other's way.
pub async fn concurrent_messages_all_arrive(service: Shared) {
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let (sender, message) = (service.sender(), message());
            tokio::spawn(async move { (message.subject.clone(), sender.send("component", message).await) })
        })
        .collect();
    for call in calls {
        let (subject, receipt) = call.await.unwrap();
        assert!(receipt.unwrap().sent);
        assert_eq!(with_subject(&service, &subject).await, 1);
    }
}

/// An address that is none is `Invalid`, wherever it stands.
pub async fn malformed_addresses_are_invalid(service: Shared) {
    for address in ["", "user", "@example.net", "user@", "a b@example.net", "<user@example.net", "user@exa mple.net"] {
        let one = || vec![address.to_owned()];
        assert_invalid(send(&service, Message { to: one(), ..message() }).await, address);
        assert_invalid(send(&service, Message { cc: one(), ..message() }).await, address);
        assert_invalid(send(&service, Message { bcc: one(), ..message() }).await, address);
        assert_invalid(send(&service, Message { reply_to: one().pop(), ..message() }).await, address);
        assert_invalid(send(&service, Message { from: one().pop(), ..message() }).await, address);
    }
}

/// Line ends in a field add no header.
pub async fn a_field_cannot_add_a_header(service: Shared) {
    let subject = "x\r\nX-Evil: 1".to_owned();
    assert_invalid(send(&service, Message { subject, ..message() }).await, "a subject of two lines");
    let to = vec!["user@example.net\r\nX-Evil: 1".to_owned()];
    assert_invalid(send(&service, Message { to, ..message() }).await, "an address of two lines");
    let file = |name: &str, kind: &str| {
        let file = Attachment { name: name.into(), content_type: kind.into(), content: "x".into() };
        Message { attachments: vec![file], ..message() }
    };
    assert_invalid(send(&service, file("a\r\nX-Evil: 1", "text/plain")).await, "a name of two lines");
    assert_invalid(send(&service, file("a", "text/plain\r\nX-Evil: 1")).await, "a media type of two lines");
    assert_invalid(send(&service, file("../a", "text/plain")).await, "a path");
    assert_invalid(send(&service, file("a", "nonsense")).await, "a media type without a slash");
    let name = Message { to: vec!["\"x\r\nX-Evil: 1\" <user@example.net>".into()], ..message() };
    if let Ok(receipt) = send(&service, name).await {
        let delivered = one(&service, &receipt.message_id).await;
        assert!(parse(&delivered.raw).header("X-Evil").is_none());
    }
}

/// The limits of the contract.
pub async fn messages_beyond_the_limits_are_refused(service: Shared) {
    assert_invalid(send(&service, Message { to: vec![], ..message() }).await, "no recipient");
    let many = vec!["user@example.net".to_owned(); MAX_RECIPIENTS];
    assert_invalid(send(&service, Message { cc: many, ..message() }).await, "a recipient too many");
    assert_invalid(send(&service, Message { text: None, ..message() }).await, "no text");
    assert_invalid(
        send(&service, Message { subject: "x".repeat(MAX_SUBJECT + 1), ..message() }).await,
        "a long subject",
    );
    assert_invalid(send(&service, keyed("")).await, "an empty key");
    assert_invalid(send(&service, keyed(&"x".repeat(MAX_IDEMPOTENCY_KEY + 1))).await, "a long key");
    let result = send(&service, Message { text: Some("x".repeat(MAX_MESSAGE + 1)), ..message() }).await;
    assert!(matches!(result, Err(Error::TooLarge(_))), "{result:?}");
}

/// What is just within the limits is sent.
pub async fn a_message_of_the_limits_arrives(service: Shared) {
    let file = Attachment {
        name: "n".repeat(255),
        content_type: "application/octet-stream".into(),
        content: vec![7; MAX_MESSAGE - 2].into(),
    };
    let delivered = arrive(
        &service,
        Message {
            to: (0..MAX_RECIPIENTS).map(|index| format!("user{index}@example.net")).collect(),
            subject: "s".repeat(MAX_SUBJECT),
            text: Some("ab".into()),
            attachments: vec![file],
            idempotency_key: Some(format!("{:x<MAX_IDEMPOTENCY_KEY$}", unique())),
            ..message()
        },
    )
    .await;
    assert_eq!(delivered.recipients.len(), MAX_RECIPIENTS);
    let found = parse(&delivered.raw);
    assert_eq!(found.subject().map(str::len), Some(MAX_SUBJECT));
    assert_eq!(found.attachments().next().unwrap().contents().len(), MAX_MESSAGE - 2);
}

/// A refusal does not count as sent.
pub async fn an_invalid_message_does_not_use_its_key(service: Shared) {
    let key = unique();
    assert_invalid(send(&service, Message { to: vec!["nobody".into()], ..keyed(&key) }).await, "an address");
    assert!(send(&service, keyed(&key)).await.unwrap().sent);
}

/// A server's 5yz is `Rejected`.
pub async fn refused_for_good_is_rejected(service: Shared) {
    let Some(refuses) = service.refuses() else { return };
    let result = send(&service, Message { to: vec![refuses.permanently], ..message() }).await;
    assert!(matches!(result, Err(Error::Rejected(_))), "{result:?}");
}

/// A server's 4yz is `Unavailable`.
pub async fn refused_for_now_is_unavailable(service: Shared) {
    let Some(refuses) = service.refuses() else { return };
    let result = send(&service, Message { to: vec![refuses.temporarily], ..message() }).await;
    assert!(matches!(result, Err(Error::Unavailable { .. })), "{result:?}");
}

/// A message goes to all its recipients or to none.
pub async fn a_refused_recipient_refuses_the_message_for_all(service: Shared) {
    let Some(refuses) = service.refuses() else { return };
    let message = message();
    for refused in [refuses.permanently, refuses.temporarily] {
        let to = vec!["user@example.net".into(), refused, "other@example.net".into()];
        send(&service, Message { to, ..message.clone() }).await.unwrap_err();
    }
    assert_eq!(with_subject(&service, &message.subject).await, 0);
    // And leaves the connection usable.
    arrive(&service, message).await;
}

/// A refused message may be sent again with its key.
pub async fn a_refused_message_does_not_use_its_key(service: Shared) {
    let Some(refuses) = service.refuses() else { return };
    for refused in [refuses.permanently, refuses.temporarily] {
        let key = unique();
        send(&service, Message { to: vec![refused], ..keyed(&key) }).await.unwrap_err();
        let started = Instant::now();
        let receipt = send(&service, keyed(&key)).await.unwrap();
        assert!(receipt.sent);
        assert!(started.elapsed() < DEADLINE - Duration::from_secs(5), "it had to wait for the key");
        one(&service, &receipt.message_id).await;
    }
}
