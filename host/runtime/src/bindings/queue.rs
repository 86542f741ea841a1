//! `tessera:queue` over [`tessera_capability::queue::Broker`]: publishing, and a delivery's way to
//! a consumer and back.

use std::sync::Arc;
use std::time::Duration;

use tessera_capability::queue::{Delivery, Message, Publication};
use tessera_capability::time::Timestamp;
use tessera_capability::{Error, Result};
use wasmtime::component::Accessor;

use super::generated::tessera::queue::{producer, types};
use super::{Host, log_cause};
use crate::grants::Grants;
use crate::trace::{self, Kind, Work};

impl types::Host for &Arc<Grants> {}
impl producer::Host for &Arc<Grants> {}

impl<T: Send + 'static> producer::HostWithStore<T> for Host {
    async fn publish(
        accessor: &Accessor<T, Self>,
        queue: String,
        message: types::Message,
    ) -> wasmtime::Result<Result<String, types::Error>> {
        let grants = accessor.with(|mut access| Arc::clone(access.get()));
        let mut work = Work::begin(Kind::Producer, || format!("publish {queue}").into());
        work.set("messaging.system", "tessera");
        work.set("messaging.operation.type", "publish");
        work.set("messaging.destination.name", &*queue);
        let result = work.run(async { grants.broker.publish(publication(&grants, queue, message)?).await }).await;
        Ok(result.map(|id| id.0).map_err(|error| refuse(&grants, "publish", &error)))
    }
}

/// A guest's message, checked: the name, the grant, the limits.
pub(super) fn publication(grants: &Grants, queue: String, message: types::Message) -> Result<Publication> {
    let queue = queue.try_into()?;
    grants.may_publish(&queue)?;
    let message = Message {
        body: message.body.into(),
        content_type: message.content_type,
        headers: message.headers,
        deduplication_id: message.deduplication_id,
        not_before: message.not_before.map(Timestamp),
        ordering_key: message.ordering_key,
    };
    message.validate()?;
    let message = traced(message);
    Ok(Publication { queue, message, id: None })
}

/// The message with the headers by which its consumers continue the trace, if it has room for them.
fn traced(message: Message) -> Message {
    let Some(context) = trace::current() else { return message };
    let mut traced = message.clone();
    traced.headers.extend(context.message_headers(&message.headers));
    if traced.validate().is_ok() { traced } else { message }
}

pub(super) fn refuse(grants: &Grants, call: &str, error: &Error) -> types::Error {
    log_cause(grants, call, error);
    match error {
        Error::NotFound(_) => types::Error::NotFound,
        Error::Full(_) => types::Error::Full,
        Error::TooLarge(text) => types::Error::TooLarge(text.clone()),
        Error::Denied(_) => types::Error::Denied,
        Error::Invalid(text) => types::Error::Invalid(text.clone()),
        Error::Unavailable { message, .. } => types::Error::Unavailable(message.clone()),
        _ => types::Error::Internal,
    }
}

impl From<Delivery> for types::Delivery {
    fn from(delivery: Delivery) -> Self {
        let message = delivery.message;
        Self {
            id: delivery.id.0,
            queue: delivery.queue.into(),
            message: types::Message {
                body: message.body.into(),
                content_type: message.content_type,
                headers: message.headers,
                deduplication_id: message.deduplication_id,
                not_before: message.not_before.map(|time| time.0),
                ordering_key: message.ordering_key,
            },
            attempt: delivery.attempt,
            first_published: delivery.first_published.0,
        }
    }
}

/// Why a consumer did not handle a delivery.
pub(crate) enum Rejection {
    /// Try again: when it asked to, and why.
    Retry(Option<Duration>, String),
    /// Never try again.
    Discard(String),
}

impl From<types::Rejection> for Rejection {
    fn from(rejection: types::Rejection) -> Self {
        match rejection {
            types::Rejection::Retry(retry) => Self::Retry(retry.after.map(Duration::from_millis), retry.reason),
            types::Rejection::Discard(reason) => Self::Discard(reason),
        }
    }
}
