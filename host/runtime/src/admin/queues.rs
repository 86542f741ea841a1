//! What queues hold, and what an operator does about it.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use tessera_capability::queue::{self, Group, MessageId, Purge, Waits};
use tessera_capability::time::{Clock as _, SystemClock, Timestamp};
use utoipa::{IntoParams, ToSchema};

use super::Context;
use super::http::{Json, Problem, Query, number, present};

/// Longer bodies of messages are shown up to here.
const SHOWN: usize = 16 << 10;

/// The most messages in one answer.
const MAX_PAGE: u32 = 100;

/// All groups of consumers.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct Queues {
    /// By name.
    pub(crate) groups: Vec<QueueGroup>,
}

/// A group of consumers and what it holds.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct QueueGroup {
    /// Its name: the id of the component that consumes, unless the manifest says otherwise.
    pub(crate) group: String,
    /// The queues that it receives, as patterns; empty if nothing consumes for it any more.
    pub(crate) queues: Vec<String>,
    /// Whether deliveries are stopped.
    pub(crate) paused: bool,
    /// Messages that can be delivered now.
    pub(crate) ready: u64,
    /// Messages that wait for their time, or behind another of their ordering key.
    pub(crate) delayed: u64,
    /// Messages that are being handled.
    pub(crate) in_flight: u64,
    /// Dead letters.
    pub(crate) dead: u64,
    /// The most messages that it may hold, dead letters aside.
    pub(crate) max_depth: Option<u64>,
    /// How long ago the oldest message that is not dead was accepted.
    pub(crate) oldest_age_ms: Option<u64>,
    /// Messages handled a second, over the last minute, by this process.
    pub(crate) handled_per_second: f64,
    /// Attempts failed a second, over the last minute, by this process.
    pub(crate) failed_per_second: f64,
}

/// What queues hold
///
/// Every group of consumers: how much it holds, how old, and how fast it works.
#[utoipa::path(
    get,
    path = "/v1/queues",
    tag = "queues",
    responses(
        (status = 200, body = Queues),
        (status = "default", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(State(context): State<Context>) -> Result<Json<Queues>, Problem> {
    let now = SystemClock.now();
    let groups = context.engines.broker().await.groups().await?;
    let groups = groups.into_iter().map(|status| {
        let subscription = status.subscription.as_ref();
        let rates = context.rates.of(status.group.as_str());
        QueueGroup {
            group: status.group.to_string(),
            queues: subscription.map_or_else(Vec::new, |subscription| {
                subscription.patterns.iter().map(|pattern| pattern.as_str().to_owned()).collect()
            }),
            paused: status.paused,
            ready: status.depth.ready,
            delayed: status.depth.delayed,
            in_flight: status.depth.in_flight,
            dead: status.depth.dead,
            max_depth: subscription.map(|subscription| subscription.max_depth),
            oldest_age_ms: status.depth.oldest.map(|oldest| now.0.saturating_sub(oldest.0)),
            handled_per_second: rates.handled,
            failed_per_second: rates.failed,
        }
    });
    Ok(Json(Queues { groups: groups.collect() }))
}

/// Which of a group's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Part {
    /// Deliverable now.
    Ready,
    /// Waiting for their time, or behind another of their ordering key.
    Delayed,
    /// Being handled.
    InFlight,
    /// Given up.
    Dead,
}

/// Which page of which messages.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Peek {
    /// Which messages; ready ones if absent.
    #[serde(default, deserialize_with = "present")]
    part: Option<Part>,
    /// Where the page before ended.
    #[serde(default, deserialize_with = "present")]
    cursor: Option<String>,
    /// How many at most: 1 to 100, 20 if absent.
    #[serde(default, deserialize_with = "number")]
    limit: Option<u32>,
}

/// A page of messages.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct Messages {
    /// Earliest published first; dead letters by death.
    pub(crate) messages: Vec<Message>,
    /// Set when there may be more.
    pub(crate) cursor: Option<String>,
}

/// A message that a group holds.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct Message {
    /// Its id.
    pub(crate) id: String,
    /// The queue it was published to.
    pub(crate) queue: String,
    /// When it was accepted, as RFC 3339 in UTC.
    pub(crate) published: String,
    /// How many attempts began.
    pub(crate) attempts: u32,
    /// What it waits for, or why it was given up.
    pub(crate) state: String,
    /// A media type.
    pub(crate) content_type: Option<String>,
    /// Name and value pairs.
    pub(crate) headers: Vec<(String, String)>,
    /// Its ordering key.
    pub(crate) ordering_key: Option<String>,
    /// Bytes of its body.
    pub(crate) size: usize,
    /// Its body's first 16 KiB, as text if it is UTF-8 and in Base64 if not.
    pub(crate) body: String,
    /// Whether `body` is Base64.
    pub(crate) base64: bool,
    /// A dead letter's failures, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) failures: Vec<String>,
}

pub(super) fn time(at: Timestamp) -> String {
    let at = std::time::UNIX_EPOCH.checked_add(std::time::Duration::from_millis(at.0));
    at.map_or_else(String::new, |at| humantime::format_rfc3339_millis(at).to_string())
}

impl Message {
    fn new(id: &MessageId, queue: &queue::QueueName, message: queue::Message, published: Timestamp) -> Self {
        let size = message.body.len();
        let shown = message.body.get(..size.min(SHOWN)).unwrap_or_default();
        let text = match std::str::from_utf8(shown) {
            Ok(text) => Some(text),
            // The cut may be within a character.
            Err(error) if size > SHOWN && error.error_len().is_none() => {
                shown.get(..error.valid_up_to()).and_then(|shown| std::str::from_utf8(shown).ok())
            }
            Err(_) => None,
        };
        Self {
            id: id.to_string(),
            queue: queue.as_str().to_owned(),
            published: time(published),
            attempts: 0,
            state: String::new(),
            content_type: message.content_type,
            headers: message.headers,
            ordering_key: message.ordering_key,
            size,
            body: text.map_or_else(|| STANDARD.encode(shown), str::to_owned),
            base64: text.is_none(),
            failures: Vec::new(),
        }
    }
}

impl From<queue::Held> for Message {
    fn from(held: queue::Held) -> Self {
        let state = match held.waits {
            Waits::Ready => "ready".to_owned(),
            Waits::NotBefore(at) => format!("not before {}", time(at)),
            Waits::Retry(at) => format!("tried again at {}", time(at)),
            Waits::Behind => "behind another of its ordering key".to_owned(),
            Waits::Leased(until) => format!("leased until {}", time(until)),
        };
        let message = Self::new(&held.id, &held.queue, held.message, held.first_published);
        Self { attempts: held.attempts, state, ..message }
    }
}

impl From<queue::DeadLetter> for Message {
    fn from(letter: queue::DeadLetter) -> Self {
        let failures = letter.history.iter();
        let failures =
            failures.map(|failure| format!("{} attempt {}: {}", time(failure.at), failure.attempt, failure.reason));
        let failures = failures.collect();
        let state = format!("given up at {}: {}", time(letter.died), letter.reason);
        let message = Self::new(&letter.id, &letter.queue, letter.message, letter.first_published);
        Self { attempts: letter.attempts, state, failures, ..message }
    }
}

fn group(name: &str) -> Result<Group, Problem> {
    name.parse().map_err(|error| Problem::new(StatusCode::BAD_REQUEST, format!("`{name}` is not a group: {error}")))
}

/// For a group that is not there.
fn missing(name: &str) -> impl Fn(tessera_capability::Error) -> Problem {
    move |error| match error {
        tessera_capability::Error::NotFound(_) => {
            Problem::not_found(format!("there is no group `{name}`; `tessera queues` lists them"))
        }
        other => other.into(),
    }
}

/// Messages of a group
///
/// Looks at them without receiving them: no attempt begins.
#[utoipa::path(
    get,
    path = "/v1/queues/{group}/messages",
    tag = "queues",
    params(("group" = String, Path, description = "The group."), Peek),
    responses(
        (status = 200, body = Messages),
        (status = "default", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn peek(
    State(context): State<Context>,
    Path(name): Path<String>,
    Query(wanted): Query<Peek>,
) -> Result<Json<Messages>, Problem> {
    let group = group(&name)?;
    let limit = usize::try_from(wanted.limit.unwrap_or(20).clamp(1, MAX_PAGE)).unwrap_or(1);
    let (broker, cursor) = (context.engines.broker().await, wanted.cursor.as_deref());
    let part = match wanted.part.unwrap_or(Part::Ready) {
        Part::Ready => queue::Part::Ready,
        Part::Delayed => queue::Part::Delayed,
        Part::InFlight => queue::Part::InFlight,
        Part::Dead => {
            let page = broker.dead_letters(&group, cursor, limit).await.map_err(missing(&name))?;
            let messages = page.letters.into_iter().map(Message::from).collect();
            return Ok(Json(Messages { messages, cursor: page.cursor }));
        }
    };
    let page = broker.peek(&group, part, cursor, limit).await.map_err(missing(&name))?;
    Ok(Json(Messages { messages: page.messages.into_iter().map(Message::from).collect(), cursor: page.cursor }))
}

/// Which dead letters to deliver again.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Replay {
    /// The dead letter; all of the group if absent.
    pub(crate) id: Option<String>,
}

/// What to delete.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(crate) struct Delete {
    /// Ready and delayed messages.
    #[serde(default)]
    pub(crate) messages: bool,
    /// Dead letters.
    #[serde(default)]
    pub(crate) dead_letters: bool,
    /// This dead letter alone.
    #[serde(default)]
    pub(crate) id: Option<String>,
}

/// How many messages something was done to.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct Count {
    /// How many.
    pub(crate) count: u64,
}

/// Deliver dead letters again
///
/// Their attempts begin anew.
#[utoipa::path(
    post,
    path = "/v1/queues/{group}/replay",
    tag = "queues",
    params(("group" = String, Path, description = "The group.")),
    request_body = Replay,
    responses(
        (status = 200, body = Count),
        (status = "default", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn replay(
    State(context): State<Context>,
    Path(name): Path<String>,
    Json(wanted): Json<Replay>,
) -> Result<Json<Count>, Problem> {
    let group = group(&name)?;
    let broker = context.engines.broker().await;
    let count = match wanted.id {
        Some(id) => {
            broker.replay(&group, &MessageId(id.clone())).await.map_err(no_letter(&name, &id))?;
            1
        }
        None => broker.replay_all(&group).await.map_err(missing(&name))?,
    };
    tracing::info!(group = name, count, "dead letters are delivered again, as an operator asked");
    Ok(Json(Count { count }))
}

fn no_letter(group: &str, id: &str) -> impl Fn(tessera_capability::Error) -> Problem {
    move |error| match error {
        tessera_capability::Error::NotFound(_) => Problem::not_found(format!(
            "group `{group}` has no dead letter `{id}`; `tessera queues peek {group} --part dead` lists them"
        )),
        other => other.into(),
    }
}

/// Delete messages
///
/// Those in flight stay. What is deleted is gone.
#[utoipa::path(
    post,
    path = "/v1/queues/{group}/purge",
    tag = "queues",
    params(("group" = String, Path, description = "The group.")),
    request_body = Delete,
    responses(
        (status = 200, body = Count),
        (status = "default", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn purge(
    State(context): State<Context>,
    Path(name): Path<String>,
    Json(wanted): Json<Delete>,
) -> Result<Json<Count>, Problem> {
    let group = group(&name)?;
    let broker = context.engines.broker().await;
    let what = match (wanted.messages, wanted.dead_letters, &wanted.id) {
        (true, true, None) => Purge::All,
        (true, false, None) => Purge::Messages,
        (false, true, None) => Purge::DeadLetters,
        (false, false, Some(id)) => {
            broker.delete_dead_letter(&group, &MessageId(id.clone())).await.map_err(no_letter(&name, id))?;
            tracing::info!(group = name, id, "deleted a dead letter, as an operator asked");
            return Ok(Json(Count { count: 1 }));
        }
        _ => {
            let what = "say what to delete: `messages`, `dead_letters`, both, or one dead letter by its `id`";
            return Err(Problem::new(StatusCode::BAD_REQUEST, what));
        }
    };
    let count = broker.purge(&group, what).await.map_err(missing(&name))?;
    tracing::info!(group = name, count, "deleted messages, as an operator asked");
    Ok(Json(Count { count }))
}

/// Stop deliveries
///
/// To a group, in every process on its engine, until it is resumed. What is in flight ends.
#[utoipa::path(
    post,
    path = "/v1/queues/{group}/pause",
    tag = "queues",
    params(("group" = String, Path, description = "The group.")),
    responses(
        (status = 204),
        (status = "default", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn pause(State(context): State<Context>, Path(name): Path<String>) -> Result<StatusCode, Problem> {
    context.engines.broker().await.pause(&group(&name)?).await.map_err(missing(&name))?;
    tracing::info!(group = name, "deliveries are stopped, as an operator asked");
    Ok(StatusCode::NO_CONTENT)
}

/// Go on with deliveries
#[utoipa::path(
    post,
    path = "/v1/queues/{group}/resume",
    tag = "queues",
    params(("group" = String, Path, description = "The group.")),
    responses(
        (status = 204),
        (status = "default", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn resume(State(context): State<Context>, Path(name): Path<String>) -> Result<StatusCode, Problem> {
    context.engines.broker().await.resume(&group(&name)?).await.map_err(missing(&name))?;
    tracing::info!(group = name, "deliveries go on, as an operator asked");
    Ok(StatusCode::NO_CONTENT)
}
