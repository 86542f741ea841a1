//! Taking the process out of work, and back in.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Context;
use super::http::{Json, Problem};
use crate::stats::Work;

/// Whether the process takes new work, and what it still has.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct Drain {
    /// True if it takes no new work.
    pub(crate) draining: bool,
    /// HTTP requests in flight, those whose answer's body is still sent included.
    pub(crate) requests: u64,
    /// Deliveries of messages in flight.
    pub(crate) deliveries: u64,
    /// Calls between components in flight.
    pub(crate) calls: u64,
}

impl Drain {
    /// Whether nothing runs.
    pub(crate) fn is_idle(&self) -> bool {
        self.requests == 0 && self.deliveries == 0 && self.calls == 0
    }

    fn of(context: &Context) -> Self {
        let sum = |work: fn(&crate::stats::Stats) -> &Work| {
            context
                .app
                .versions()
                .iter()
                .map(|component| work(&component.stats).in_flight.get())
                .fold(0, u64::saturating_add)
        };
        Self {
            draining: context.app.drain().is_on(),
            requests: sum(|stats| &stats.http),
            deliveries: sum(|stats| &stats.deliveries),
            calls: sum(|stats| &stats.calls),
        }
    }
}

/// Whether it takes new work
#[utoipa::path(get, path = "/v1/drain", tag = "application", responses((status = 200, body = Drain), (status = 401, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn status(State(context): State<Context>) -> Json<Drain> {
    Json(Drain::of(&context))
}

/// Take no new work
///
/// New requests get 503, so that a load balancer goes elsewhere; messages stay in their queues, for
/// other processes or for later. What runs, runs to its end.
#[utoipa::path(post, path = "/v1/drain", tag = "application", responses((status = 200, body = Drain), (status = 401, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn start(State(context): State<Context>) -> Json<Drain> {
    if context.app.drain().set(true) {
        tracing::info!("no new work is taken, as an operator asked");
    }
    Json(Drain::of(&context))
}

/// Take new work again
#[utoipa::path(delete, path = "/v1/drain", tag = "application", responses((status = 200, body = Drain), (status = 401, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn end(State(context): State<Context>) -> Json<Drain> {
    if context.app.drain().set(false) {
        tracing::info!("new work is taken again, as an operator asked");
    }
    Json(Drain::of(&context))
}
