//! The mail suite: what every [`Sender`] does, seen from what arrives behind it, and what an
//! [`Outbox`] shows of it.

mod cases;
mod outbox;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use mail_parser::{Address, Message as Parsed, MessageParser};

pub use cases::*;
pub use outbox::*;

use super::{DEADLINE, unique};
use crate::mail::{
    Attachment, MAX_IDEMPOTENCY_KEY, MAX_MESSAGE, MAX_RECIPIENTS, MAX_SUBJECT, Message, Outbox, Receipt, Sender,
};
use crate::{Error, Result};

/// A sender under test, and what is behind it.
#[async_trait]
pub trait Service: Send + Sync {
    /// What is tested. Its configured sender is `Application <app@example.org>`.
    fn sender(&self) -> Arc<dyn Sender>;

    /// Every message taken over until now, in any order.
    async fn delivered(&self) -> Vec<Delivered>;

    /// A sender over the same state, as after a restart of the process.
    async fn restarted(&self) -> Arc<dyn Sender>;

    /// What the server behind it refuses; `None` if there is no server.
    fn refuses(&self) -> Option<Refuses>;

    /// Where the sender's messages can be read; `None` if it keeps none.
    fn outbox(&self) -> Option<Arc<dyn Outbox>>;
}

/// A message as it arrived.
#[derive(Debug, Clone)]
pub struct Delivered {
    /// Whom it is for, as the envelope says it.
    pub recipients: Vec<String>,
    /// Header and body (RFC 5322).
    pub raw: Vec<u8>,
}

/// Addresses that a server refuses.
#[derive(Debug, Clone)]
pub struct Refuses {
    /// For good (5yz).
    pub permanently: String,
    /// For now (4yz).
    pub temporarily: String,
}

/// The tests of a mail back-end: one for each case of this suite.
///
/// `$make` is an `async fn() -> Option<(Arc<dyn Service>, G)>`; `G` is kept until the case ended,
/// and `None` skips the case because a service is missing.
#[macro_export]
macro_rules! mail_suite {
    ($make:expr) => {
        $crate::mail_suite! { @cases $make;
            a_message_arrives_as_it_was_written
            every_recipient_is_in_the_envelope
            blind_recipients_are_not_in_the_message
            a_message_may_be_plain_or_html_or_both
            text_beyond_ascii_arrives
            attachments_arrive_byte_for_byte
            the_sender_is_the_configured_one
            a_message_may_name_its_sender
            the_receipt_names_the_message
            messages_without_a_key_have_ids_of_their_own
            the_same_key_is_sent_once
            a_key_outlives_a_restart
            the_same_key_gives_the_same_message_id
            keys_of_different_scopes_do_not_meet
            a_scope_and_a_key_do_not_run_together
            concurrent_calls_with_the_same_key_send_once
            concurrent_messages_all_arrive
            malformed_addresses_are_invalid
            a_field_cannot_add_a_header
            messages_beyond_the_limits_are_refused
            a_message_of_the_limits_arrives
            an_invalid_message_does_not_use_its_key
            refused_for_good_is_rejected
            refused_for_now_is_unavailable
            a_refused_recipient_refuses_the_message_for_all
            a_refused_message_does_not_use_its_key
            // the outbox
            the_outbox_lists_the_latest_first
            the_outbox_comes_in_pages
            the_outbox_names_every_recipient
            the_outbox_decodes_subject_and_sender
            a_kept_message_is_read_as_it_was_sent
            the_largest_message_can_be_read
            an_unknown_message_is_not_found
            the_outboxs_foreign_cursor_is_invalid
        }
    };
    (@cases $make:expr; $($case:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            let Some((service, _guard)) = $make().await else { return };
            $crate::conformance::mail::$case(service).await;
        }
    )*};
}

type Shared = Arc<dyn Service>;

/// A message that no other case sends.
fn message() -> Message {
    Message {
        to: vec!["user@example.net".into()],
        subject: format!("Subject {}", unique()),
        text: Some("Hello.".into()),
        ..Message::default()
    }
}

fn keyed(key: &str) -> Message {
    Message { idempotency_key: Some(key.to_owned()), ..message() }
}

async fn send(service: &Shared, message: Message) -> Result<Receipt> {
    service.sender().send("component", message).await
}

/// Sends a message and finds it where it arrived.
async fn arrive(service: &Shared, message: Message) -> Delivered {
    let receipt = send(service, message).await.unwrap();
    assert!(receipt.sent);
    one(service, &receipt.message_id).await
}

/// The messages with this `Message-ID`.
async fn with_id(service: &Shared, message_id: &str) -> Vec<Delivered> {
    let mut all = service.delivered().await;
    all.retain(|delivered| parse(&delivered.raw).message_id() == Some(message_id));
    all
}

/// The only message with this `Message-ID`. It has been taken over, so it is there.
async fn one(service: &Shared, message_id: &str) -> Delivered {
    let mut found = with_id(service, message_id).await;
    assert_eq!(found.len(), 1, "messages with the id {message_id}");
    found.remove(0)
}

async fn with_subject(service: &Shared, subject: &str) -> usize {
    let all = service.delivered().await;
    all.iter().filter(|delivered| parse(&delivered.raw).subject() == Some(subject)).count()
}

fn parse(raw: &[u8]) -> Parsed<'_> {
    MessageParser::default().parse(raw).expect("a message of RFC 5322")
}

/// The addresses of a header.
fn addresses(list: Option<&Address<'_>>) -> Vec<String> {
    list.into_iter().flat_map(Address::iter).filter_map(|mailbox| mailbox.address()).map(str::to_owned).collect()
}

fn assert_invalid<T: std::fmt::Debug>(result: Result<T>, what: &str) {
    assert!(matches!(result, Err(Error::Invalid(_))), "{what} is not invalid: {result:?}");
}
