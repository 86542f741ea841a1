//! Mail that the embedded outbox keeps.

use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use mail_parser::{MessageParser, MimeHeaders as _};
use serde::{Deserialize, Serialize};
use tessera_capability::Error;
use utoipa::{IntoParams, ToSchema};

use super::Context;
use super::http::{Json, Problem, Query, number, present};

/// A page of kept mail.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct Mails {
    /// Latest first.
    pub(crate) messages: Vec<Mail>,
    /// Set when there may be more.
    pub(crate) cursor: Option<String>,
}

/// A kept message in a listing.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct Mail {
    /// Its name in the outbox.
    pub(crate) id: String,
    /// When it was taken over, as RFC 3339 in UTC.
    pub(crate) sent: String,
    /// The sender.
    pub(crate) from: String,
    /// Everyone it is for.
    pub(crate) to: Vec<String>,
    /// The subject.
    pub(crate) subject: String,
    /// Bytes that are kept.
    pub(crate) size: u64,
}

/// A kept message.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct Letter {
    /// Its name in the outbox.
    pub(crate) id: String,
    /// Its headers in their order, decoded.
    pub(crate) headers: Vec<(String, String)>,
    /// Its text.
    pub(crate) text: Option<String>,
    /// Its HTML.
    pub(crate) html: Option<String>,
    /// Its files.
    pub(crate) attachments: Vec<Attachment>,
}

/// A file of a message.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct Attachment {
    /// Its name.
    pub(crate) name: String,
    /// Its media type.
    pub(crate) content_type: String,
    /// Its bytes.
    pub(crate) size: usize,
}

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Page {
    /// Where the page before ended.
    #[serde(default, deserialize_with = "present")]
    cursor: Option<String>,
    /// How many at most: 1 to 100, 20 if absent.
    #[serde(default, deserialize_with = "number")]
    limit: Option<u32>,
}

async fn outbox(context: &Context) -> Result<std::sync::Arc<dyn tessera_capability::mail::Outbox>, Problem> {
    context.engines.outbox().await.ok_or_else(|| {
        Problem::not_found("mail is handed to a mail server, which keeps it; only the embedded outbox can be looked at")
    })
}

fn missing(id: &str) -> impl Fn(Error) -> Problem {
    move |error| match error {
        Error::NotFound(_) => {
            Problem::not_found(format!("the outbox has no message `{id}`; `tessera mail ls` lists them"))
        }
        other => other.into(),
    }
}

/// Kept mail
///
/// The messages in the embedded outbox, latest first.
#[utoipa::path(
    get,
    path = "/v1/mail",
    tag = "mail",
    params(Page),
    responses(
        (status = 200, body = Mails),
        (status = "default", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(State(context): State<Context>, Query(page): Query<Page>) -> Result<Json<Mails>, Problem> {
    let limit = usize::try_from(page.limit.unwrap_or(20).clamp(1, 100)).unwrap_or(1);
    let page = outbox(&context).await?.list(page.cursor.as_deref(), limit).await?;
    let messages = page.messages.into_iter().map(|summary| Mail {
        id: summary.id,
        sent: super::queues::time(summary.sent),
        from: summary.from,
        to: summary.to,
        subject: summary.subject,
        size: summary.size,
    });
    Ok(Json(Mails { messages: messages.collect(), cursor: page.cursor }))
}

/// A kept message
#[utoipa::path(
    get,
    path = "/v1/mail/{id}",
    tag = "mail",
    params(("id" = String, Path, description = "Its name in the outbox.")),
    responses(
        (status = 200, body = Letter),
        (status = "default", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn show(State(context): State<Context>, Path(id): Path<String>) -> Result<Json<Letter>, Problem> {
    let raw = outbox(&context).await?.read(&id).await.map_err(missing(&id))?;
    let message = MessageParser::default().parse(&raw[..]).ok_or_else(|| {
        tracing::warn!(id, "a message in the outbox cannot be read");
        Problem::internal()
    })?;
    let attachments = message.attachments().map(|part| Attachment {
        name: part.attachment_name().unwrap_or_default().to_owned(),
        content_type: part
            .content_type()
            .map_or_else(String::new, |kind| format!("{}/{}", kind.ctype(), kind.subtype().unwrap_or_default())),
        size: part.contents().len(),
    });
    let headers = message.headers_raw().map(|(name, value)| (name.to_owned(), unfolded(value)));
    Ok(Json(Letter {
        headers: headers.collect(),
        text: message.body_text(0).map(std::borrow::Cow::into_owned),
        html: message.html_part(0).and_then(|_| message.body_html(0)).map(std::borrow::Cow::into_owned),
        attachments: attachments.collect(),
        id,
    }))
}

/// A header's value in one line.
fn unfolded(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A kept message as it would go to the next server
#[utoipa::path(
    get,
    path = "/v1/mail/{id}/raw",
    tag = "mail",
    params(("id" = String, Path, description = "Its name in the outbox.")),
    responses(
        (status = 200, body = String, content_type = "message/rfc822"),
        (status = "default", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn raw(State(context): State<Context>, Path(id): Path<String>) -> Result<Response, Problem> {
    let raw = outbox(&context).await?.read(&id).await.map_err(missing(&id))?;
    Ok(([(CONTENT_TYPE, "message/rfc822")], raw).into_response())
}
