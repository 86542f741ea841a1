//! `tessera:mail` over [`mail::Sender`].

use std::sync::Arc;

use tessera_capability::{Error, Result, mail};
use wasmtime::component::Accessor;

use super::generated::tessera::mail::{sender, types};
use super::{Host, log_cause};
use crate::grants::Grants;
use crate::trace::{Kind, Work};

impl types::Host for &Arc<Grants> {}
impl sender::Host for &Arc<Grants> {}

impl<T: Send + 'static> sender::HostWithStore<T> for Host {
    async fn send(
        accessor: &Accessor<T, Self>,
        message: types::Message,
    ) -> wasmtime::Result<Result<types::Receipt, types::Error>> {
        let grants = accessor.with(|mut access| Arc::clone(access.get()));
        let mut work = Work::begin(Kind::Client, || "send mail".into());
        work.set("tessera.component", &*grants.component);
        let result = work.run(async {
            let mail = grants.mail()?;
            if let Some(from) = &message.from
                && !mail.grant.from.contains(from)
            {
                return Err(grants.denied("the sender", from, "tool.tessera.mail.from"));
            }
            let message = from_guest(message);
            message.validate()?;
            let receipt = mail.sender.send(&grants.component, message).await?;
            tracing::info!(
                component = &*grants.component,
                message_id = receipt.message_id,
                sent = receipt.sent,
                "mail"
            );
            Ok(receipt)
        });
        Ok(result
            .await
            .map(|receipt| types::Receipt { message_id: receipt.message_id, sent: receipt.sent })
            .map_err(|error| refuse(&grants, &error)))
    }
}

fn from_guest(message: types::Message) -> mail::Message {
    let attachments = message.attachments.into_iter().map(|attachment| mail::Attachment {
        name: attachment.name,
        content_type: attachment.content_type,
        content: attachment.content.into(),
    });
    mail::Message {
        from: message.from,
        to: message.to,
        cc: message.cc,
        bcc: message.bcc,
        reply_to: message.reply_to,
        subject: message.subject,
        text: message.text,
        html: message.html,
        attachments: attachments.collect(),
        idempotency_key: message.idempotency_key,
    }
}

fn refuse(grants: &Grants, error: &Error) -> types::Error {
    log_cause(grants, "send", error);
    match error {
        Error::Denied(_) => types::Error::Denied,
        Error::TooLarge(text) => types::Error::TooLarge(text.clone()),
        Error::Invalid(text) => types::Error::Invalid(text.clone()),
        Error::Rejected(text) => types::Error::Rejected(text.clone()),
        Error::Unavailable { message, .. } => types::Error::Unavailable(message.clone()),
        _ => types::Error::Internal,
    }
}
