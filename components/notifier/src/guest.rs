//! The component's export: one message of `mp3` is one mail.

use messages::{Event, JSON, JobFinished, names};
use spin_sdk::variables;

use self::bindings::exports::tessera::queue::consumer::Guest;
use self::bindings::tessera::keyvalue::store;
use self::bindings::tessera::keyvalue::types::{Check, Error as StoreError, Operation, Publication, Set};
use self::bindings::tessera::mail::sender;
use self::bindings::tessera::mail::types::{Error as MailError, Message as Mail};
use self::bindings::tessera::queue::types::{Delivery, Message, Rejection, Retry};
use crate::letter;

mod bindings {
    #![allow(unsafe_code, missing_docs, unreachable_pub, clippy::all)]
    spin_sdk::wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package tessera:notifier-component;
            world component {
                import tessera:keyvalue/store@0.1.0;
                import tessera:mail/sender@0.1.0;
                export tessera:queue/consumer@0.1.0;
            }
        ",
        world: "tessera:notifier-component/component",
        runtime_path: "spin_sdk::wit_bindgen::rt",
        generate_all,
    });
    export!(Notifier);
    use super::Notifier;
}

struct Notifier;

/// Where users reach the API when the variable `public_url` is not set.
const DEFAULT_URL: &str = "http://127.0.0.1:3000";
/// How long it is remembered that a job's owner was told, in milliseconds: 30 days.
const REMEMBERED: u64 = 30 * 24 * 60 * 60 * 1000;

impl Guest for Notifier {
    async fn consume(delivery: Delivery) -> Result<(), Rejection> {
        let finished: JobFinished = messages::from_json(&delivery.message.body)
            .map_err(|error| Rejection::Discard(format!("not a message about a finished job: {error}")))?;
        let url = variables::get("public_url").await.unwrap_or_else(|_| DEFAULT_URL.into());
        match sender::send(mail(&finished, &url)).await {
            Ok(receipt) => {
                let data = serde_json::json!({ "job": finished.job, "messageId": receipt.message_id });
                record(&finished, names::events::MAILED, data).await
            }
            Err(MailError::Unavailable(why)) => Err(retry(format!("mail is unavailable: {why}"))),
            Err(MailError::Internal) => Err(retry("mail failed on the host; its log has the cause".into())),
            Err(
                error @ (MailError::Denied | MailError::TooLarge(_) | MailError::Invalid(_) | MailError::Rejected(_)),
            ) => {
                let reason = describe(&error);
                let data = serde_json::json!({ "job": finished.job, "reason": reason });
                record(&finished, names::events::MAIL_FAILED, data).await?;
                Err(Rejection::Discard(reason))
            }
        }
    }
}

fn mail(finished: &JobFinished, url: &str) -> Mail {
    let letter = letter::write(finished, url);
    Mail {
        from: None,
        to: vec![finished.owner_email.clone()],
        cc: Vec::new(),
        bcc: Vec::new(),
        reply_to: None,
        subject: letter.subject,
        text: Some(letter.text),
        html: Some(letter.html),
        attachments: Vec::new(),
        idempotency_key: Some(finished.job.to_string()),
    }
}

/// Publishes an event about a job's mail once, however often its message is delivered.
async fn record(finished: &JobFinished, topic: &str, data: serde_json::Value) -> Result<(), Rejection> {
    let elapsed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let event = Event { topic: topic.into(), time: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX), data };
    let body = messages::to_json(&event).map_err(|error| Rejection::Discard(format!("cannot write JSON: {error}")))?;
    let key = names::told_key(finished.job);
    let checks = vec![Check { key: key.clone(), version: None }];
    let operations = vec![
        Operation::Set(Set { key, value: topic.into(), time_to_live: Some(REMEMBERED) }),
        Operation::Publish(Publication {
            queue: topic.into(),
            message: Message {
                body,
                content_type: Some(JSON.into()),
                headers: Vec::new(),
                deduplication_id: None,
                not_before: None,
                ordering_key: None,
            },
        }),
    ];
    match store::commit(names::JOBS.into(), checks, operations).await {
        Ok(_) | Err(StoreError::Conflict) => Ok(()),
        Err(error) => Err(retry(format!("the mail's event cannot be recorded: {error}"))),
    }
}

fn retry(reason: String) -> Rejection {
    Rejection::Retry(Retry { after: None, reason })
}

fn describe(error: &MailError) -> String {
    match error {
        MailError::Denied => "the manifest does not grant mail: add `mail = true` to the component's table".into(),
        MailError::TooLarge(why) => format!("the mail is too large: {why}"),
        MailError::Invalid(why) => format!("the mail is malformed: {why}"),
        MailError::Rejected(why) => format!("the mail server refused: {why}"),
        MailError::Unavailable(why) => format!("mail is unavailable: {why}"),
        MailError::Internal => "mail failed on the host".into(),
    }
}
