//! The routes of the administration that change the application.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use futures::StreamExt as _;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::deployment::{Deployment, Order, Refusal, Switch};
use super::trial::Trial;
use super::versions::{Entry, Received};
use crate::admin::{Context, Json, Problem, Query};
use crate::app::slot::Share;

/// The largest binary.
const MAX_BINARY: usize = 256 << 20;

/// How long a canary is tried unless somebody says otherwise.
const WINDOW: Duration = Duration::from_secs(60);

/// The longest name of who asks.
const MAX_BY: usize = 100;

/// What the routes work on.
#[derive(Clone)]
struct Routes {
    context: Context,
    deployment: Arc<Deployment>,
}

/// The routes that change the application.
pub(crate) fn routes(context: Context, deployment: Arc<Deployment>) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(swap))
        .routes(routes!(rollback))
        .routes(routes!(reload))
        .routes(routes!(history))
        .with_state(Routes { context, deployment })
}

/// A component's versions after a swap or a rollback.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct Changed {
    /// The component.
    pub(crate) component: String,
    /// The version that takes new work now, or its share: SHA-256 of its file, in hexadecimal.
    pub(crate) hash: String,
    /// The version that took it before; the same if nothing has changed.
    pub(crate) previous: String,
}

/// A version on trial.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct Canaried {
    /// Its share of new work, in percent.
    pub(crate) percent: u8,
    /// How long it is tried, in seconds.
    pub(crate) window_seconds: u64,
}

/// What came of a swap.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct Swapped {
    /// The versions.
    #[serde(flatten)]
    pub(crate) changed: Changed,
    /// Set if the version is tried first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) canary: Option<Canaried>,
}

/// What came of a reload.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct Reloaded {
    /// One sentence for each change; empty if there was none.
    pub(crate) changes: Vec<String>,
    /// What in the files is probably not meant.
    pub(crate) warnings: Vec<String>,
}

/// What was done.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct History {
    /// Oldest first.
    pub(crate) entries: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SwapQuery {
    #[serde(default, deserialize_with = "some")]
    by: Option<String>,
    #[serde(default, deserialize_with = "some")]
    drain: Option<String>,
    #[serde(default, deserialize_with = "some")]
    canary: Option<String>,
    #[serde(default, deserialize_with = "some")]
    window: Option<String>,
}

/// What is there in a query is some text.
fn some<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    String::deserialize(deserializer).map(Some)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ByQuery {
    #[serde(default, deserialize_with = "some")]
    by: Option<String>,
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let status = match &refusal {
            Refusal::NotFound(_) => StatusCode::NOT_FOUND,
            Refusal::Conflict(_) => StatusCode::CONFLICT,
            Refusal::Unfit(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Refusal::Failed(error) => {
                tracing::error!("a change of the application failed: {error:?}");
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        Self::new(status, refusal.to_string())
    }
}

fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, detail)
}

fn duration(name: &str, text: &str) -> Result<Duration, Problem> {
    humantime::parse_duration(text).map_err(|error| bad(format!("`{name}` is no duration such as `30s`: {error}")))
}

/// Who asks, as they say: the token tells nobody apart.
fn by(given: Option<String>) -> String {
    let name: String = given.unwrap_or_default().chars().filter(|c| !c.is_control()).take(MAX_BY).collect();
    if name.is_empty() { "somebody with the token".to_owned() } else { name }
}

fn share(text: &str) -> Result<Share, Problem> {
    let percent = text.trim_end_matches('%').trim().parse().ok().and_then(Share::percent);
    percent.ok_or_else(|| bad(format!("`{text}` is no share such as `10%`: whole percent from 1 to 99")))
}

impl SwapQuery {
    fn order(self) -> Result<Order, Problem> {
        let drain = self.drain.map(|text| duration("drain", &text)).transpose()?;
        let trial = match (self.canary, self.window) {
            (None, None) => None,
            (None, Some(_)) => return Err(bad("`window` is for a canary: give `canary` too, such as `10%`")),
            (Some(percent), window) => {
                let window = window.map(|text| duration("window", &text)).transpose()?.unwrap_or(WINDOW);
                Some(Trial { share: share(&percent)?, window })
            }
        };
        Ok(Order { by: by(self.by), drain, trial })
    }
}

fn changed(component: String, switch: Switch) -> Changed {
    Changed { component, hash: switch.hash, previous: switch.previous }
}

/// Swap a component
///
/// The body is the new Wasm file. It is compiled and checked; then all new work goes to it, or with
/// `canary` a share, and work in flight ends on the old version. If anything is wrong with it the old
/// version serves on, and the answer says what.
#[utoipa::path(
    post,
    path = "/v1/components/{id}/versions",
    tag = "versions",
    params(
        ("id" = String, Path, description = "The component."),
        ("by" = Option<String>, Query, description = "Who asks for it, for the history."),
        ("drain" = Option<String>, Query, description = "How long work in flight may take to end on the old version, such as `5m`."),
        ("canary" = Option<String>, Query, description = "The share of new work to try the version with, such as `10%`."),
        ("window" = Option<String>, Query, description = "How long to try it, such as `60s`."),
    ),
    request_body(content = Vec<u8>, content_type = "application/wasm"),
    responses(
        (status = 200, body = Swapped),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn swap(
    State(Routes { context, deployment }): State<Routes>,
    Path(id): Path<String>,
    Query(query): Query<SwapQuery>,
    body: Body,
) -> Result<Json<Swapped>, Problem> {
    let order = query.order()?;
    let canary =
        order.trial.map(|trial| Canaried { percent: trial.share.get(), window_seconds: trial.window.as_secs() });
    let received = receive(&deployment, body).await?;
    let component = id.clone();
    let switch = context.on_app(async move { deployment.swap(&id, received, &order).await }).await??;
    let canary = canary.filter(|_| switch.hash != switch.previous);
    Ok(Json(Swapped { changed: changed(component, switch), canary }))
}

/// Writes the body to a file as it comes.
async fn receive(deployment: &Deployment, body: Body) -> Result<Received, Problem> {
    let failed = |error: &dyn std::fmt::Display| {
        tracing::error!(%error, "cannot take in a component");
        Problem::internal()
    };
    let mut incoming = deployment.receive().map_err(|error| failed(&error))?;
    let mut stream = body.into_data_stream();
    let mut left = MAX_BINARY;
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| bad(format!("the file came only in part: {error}")))?;
        left = left.checked_sub(chunk.len()).ok_or_else(|| {
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("a component has at most {} MiB", MAX_BINARY >> 20))
        })?;
        let written = tokio::task::spawn_blocking(move || incoming.write(&chunk).map(|()| incoming)).await;
        incoming = written.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
    }
    incoming.finish().map_err(|error| bad(error.to_string()))
}

/// Go back to a component's version before
///
/// Ends a canary, if there is one; otherwise all new work goes to the version that ran before.
#[utoipa::path(
    post,
    path = "/v1/components/{id}/rollback",
    tag = "versions",
    params(
        ("id" = String, Path, description = "The component."),
        ("by" = Option<String>, Query, description = "Who asks for it, for the history."),
    ),
    responses(
        (status = 200, body = Changed),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn rollback(
    State(Routes { context, deployment }): State<Routes>,
    Path(id): Path<String>,
    Query(query): Query<ByQuery>,
) -> Result<Json<Changed>, Problem> {
    let order = Order { by: by(query.by), drain: None, trial: None };
    let component = id.clone();
    let switch = context.on_app(async move { deployment.rollback(&id, &order).await }).await??;
    Ok(Json(changed(component, switch)))
}

/// Apply changed files
///
/// Reads the manifest, the runtime configuration and the components' files again, and applies what
/// has changed at once. If anything is wrong everything stays as it is.
#[utoipa::path(
    post,
    path = "/v1/reload",
    tag = "versions",
    params(("by" = Option<String>, Query, description = "Who asks for it, for the history.")),
    responses(
        (status = 200, body = Reloaded),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn reload(
    State(Routes { context, deployment }): State<Routes>,
    Query(query): Query<ByQuery>,
) -> Result<Json<Reloaded>, Problem> {
    let by = by(query.by);
    let applied = context.on_app(async move { deployment.reload(&by).await }).await??;
    Ok(Json(Reloaded { changes: applied.changes, warnings: applied.warnings }))
}

/// What was done
///
/// Starts, swaps, canaries and what became of them, rollbacks and reloads: the latest thousand.
#[utoipa::path(get, path = "/v1/history", tag = "versions", responses((status = 200, body = History)))]
async fn history(State(Routes { deployment, .. }): State<Routes>) -> Json<History> {
    Json(History { entries: deployment.history().await })
}
