//! What an operator reads of the mail that a back-end keeps. Cases pass where it keeps none.

use super::*;
use crate::mail::{MAX_RAW, Summary};

/// Every kept message, in the order of the pages.
async fn listed(outbox: &dyn Outbox, limit: usize) -> Vec<Summary> {
    let (mut all, mut cursor) = (Vec::new(), None);
    let start = Instant::now();
    loop {
        assert!(start.elapsed() < DEADLINE, "the listing does not end");
        let page = outbox.list(cursor.as_deref(), limit).await.unwrap();
        assert!(page.messages.len() <= limit);
        all.extend(page.messages);
        cursor = page.cursor;
        if cursor.is_none() {
            return all;
        }
    }
}

/// The summary of the message with a subject that no other has.
async fn with_only_subject(outbox: &dyn Outbox, subject: &str) -> Summary {
    let mut all = listed(outbox, 100).await;
    all.retain(|summary| summary.subject == subject);
    assert_eq!(all.len(), 1, "messages with the subject {subject}");
    all.remove(0)
}

/// The listing has every message once, latest first, with the time it was taken over.
pub async fn the_outbox_lists_the_latest_first(service: Shared) {
    let Some(outbox) = service.outbox() else { return };
    let mut subjects = Vec::new();
    for _ in 0..5 {
        let message = message();
        subjects.insert(0, message.subject.clone());
        send(&service, message).await.unwrap();
        // Times are milliseconds.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut all = listed(&*outbox, 100).await;
    assert!(all.is_sorted_by_key(|summary| std::cmp::Reverse(summary.sent)));
    all.retain(|summary| subjects.contains(&summary.subject));
    assert_eq!(all.iter().map(|summary| summary.subject.clone()).collect::<Vec<_>>(), subjects);
}

/// Pages have at most `limit` messages and miss none, also of those taken over at the same time;
/// what comes meanwhile is not on later pages.
pub async fn the_outbox_comes_in_pages(service: Shared) {
    let Some(outbox) = service.outbox() else { return };
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..23 {
        let service = Arc::clone(&service);
        tasks.spawn(async move { send(&service, message()).await.unwrap() });
    }
    tasks.join_all().await;
    let whole = listed(&*outbox, 500).await;
    assert!(whole.len() >= 23);
    for limit in [1, 5, 23] {
        assert_eq!(listed(&*outbox, limit).await, whole, "pages of {limit}");
    }
    let first = outbox.list(None, 3).await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    send(&service, message()).await.unwrap();
    let second = outbox.list(first.cursor.as_deref(), 3).await.unwrap();
    assert_eq!([first.messages, second.messages].concat(), whole[..6]);
}

/// A summary names everyone the message is for, and so does the message itself, in
/// `X-Envelope-To`.
pub async fn the_outbox_names_every_recipient(service: Shared) {
    let Some(outbox) = service.outbox() else { return };
    let written = Message {
        to: vec!["A <a@example.net>".into()],
        cc: vec!["c@example.net".into()],
        bcc: vec!["d@example.net".into()],
        ..message()
    };
    send(&service, written.clone()).await.unwrap();
    let summary = with_only_subject(&*outbox, &written.subject).await;
    assert_eq!(summary.to, ["a@example.net", "c@example.net", "d@example.net"]);
    let raw = String::from_utf8(outbox.read(&summary.id).await.unwrap().into()).unwrap();
    let unfolded = raw.replace("\r\n ", " ");
    assert!(unfolded.starts_with("X-Envelope-To: a@example.net, c@example.net, d@example.net\r\n"), "{raw}");
}

/// Subject and sender are readable, whatever characters they have.
pub async fn the_outbox_decodes_subject_and_sender(service: Shared) {
    let Some(outbox) = service.outbox() else { return };
    let subject = format!("Größe ändern — {}", unique());
    let from = Some("Zoë Müller <zoe@example.org>".into());
    send(&service, Message { from, subject: subject.clone(), ..message() }).await.unwrap();
    let summary = with_only_subject(&*outbox, &subject).await;
    assert_eq!(summary.from, "Zoë Müller <zoe@example.org>");
    let plain = message();
    send(&service, plain.clone()).await.unwrap();
    assert_eq!(with_only_subject(&*outbox, &plain.subject).await.from, "Application <app@example.org>");
}

/// What is read is what would be sent: its headers, its parts, lines that end in CR LF.
pub async fn a_kept_message_is_read_as_it_was_sent(service: Shared) {
    let Some(outbox) = service.outbox() else { return };
    let content = Bytes::from((0..=255).cycle().take(5_000).collect::<Vec<u8>>());
    let file = Attachment { name: "f.bin".into(), content_type: "application/octet-stream".into(), content };
    let written = Message { text: Some("One.\nTwo.\n".into()), attachments: vec![file.clone()], ..message() };
    let receipt = send(&service, written.clone()).await.unwrap();
    let summary = with_only_subject(&*outbox, &written.subject).await;
    let raw = outbox.read(&summary.id).await.unwrap();
    let lines: Vec<&[u8]> = raw.split_inclusive(|byte| *byte == b'\n').collect();
    assert!(lines.iter().all(|line| line.ends_with(b"\r\n")), "a line does not end in CR LF");
    let found = parse(&raw);
    assert_eq!(found.message_id(), Some(receipt.message_id.as_str()));
    assert_eq!(found.body_text(0).unwrap().replace("\r\n", "\n").trim_end(), "One.\nTwo.");
    assert_eq!(found.attachment(0).unwrap().contents(), &file.content[..]);
    assert!(summary.size > 5_000 && summary.size <= raw.len() as u64);
}

/// A message of the largest size can be read, whatever encoding makes of it.
pub async fn the_largest_message_can_be_read(service: Shared) {
    let Some(outbox) = service.outbox() else { return };
    let content = Bytes::from(vec![7; MAX_MESSAGE - 10]);
    let file = Attachment { name: "f".into(), content_type: "a/b".into(), content };
    let binary = Message { attachments: vec![file], ..message() };
    let text = Message { text: Some("aé\n".repeat(MAX_MESSAGE / 4)), ..message() };
    let html = Message { text: None, html: Some("é".repeat(MAX_MESSAGE / 2)), ..message() };
    for written in [binary, text, html] {
        send(&service, written.clone()).await.unwrap();
        let summary = with_only_subject(&*outbox, &written.subject).await;
        let raw = outbox.read(&summary.id).await.unwrap();
        assert!(raw.len() > MAX_MESSAGE && summary.size <= MAX_RAW, "{} bytes", summary.size);
    }
}

/// An id that no listing gave is not found, whatever it says.
pub async fn an_unknown_message_is_not_found(service: Shared) {
    let Some(outbox) = service.outbox() else { return };
    for id in ["", "0", "..", "../../etc/passwd", "a\0b", &"x".repeat(10_000), &unique()] {
        let result = outbox.read(id).await;
        assert!(matches!(result, Err(Error::NotFound(_))), "{id:?}: {result:?}");
    }
}

/// A cursor that no page gave is invalid.
pub async fn the_outboxs_foreign_cursor_is_invalid(service: Shared) {
    let Some(outbox) = service.outbox() else { return };
    for cursor in ["", "not a cursor é", "../x"] {
        let result = outbox.list(Some(cursor), 10).await;
        assert!(matches!(result, Err(Error::Invalid(_))), "{cursor:?}: {result:?}");
    }
}
