//! What runs: the components, their versions and instances, and how they do.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Context;
use super::http::{Json, Problem};
use crate::app::slot::Version;
use crate::app::{Snapshot, component};
use crate::stats::{Latencies, Work};

/// What runs.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct Status {
    /// The application's name.
    pub(crate) application: String,
    /// The version of Tessera.
    pub(crate) version: String,
    /// The process.
    pub(crate) pid: u32,
    /// For how many seconds it runs.
    pub(crate) uptime_seconds: u64,
    /// Whether it takes no new work.
    pub(crate) draining: bool,
    /// The components by id.
    pub(crate) components: Vec<Component>,
}

/// A version of a component. Its counts begin with it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct Component {
    /// Its id in the manifest; with a `/`, a dependency that is a file.
    pub(crate) id: String,
    /// The SHA-256 of its file, in hexadecimal.
    pub(crate) digest: String,
    /// Whether it takes new work.
    pub(crate) role: Role,
    /// Instances alive.
    pub(crate) instances: u64,
    /// Bytes of their linear memories.
    pub(crate) memory: u64,
    /// HTTP requests, deliveries of messages, and calls from other components that came to an end.
    pub(crate) requests: u64,
    /// How many of them failed.
    pub(crate) errors: u64,
    /// How many are in flight.
    pub(crate) in_flight: u64,
    /// Milliseconds that half of them took at most; absent without any.
    pub(crate) p50_ms: Option<f64>,
    /// Milliseconds that 99 of 100 took at most; absent without any.
    pub(crate) p99_ms: Option<f64>,
    /// How many ended in a trap.
    pub(crate) traps: u64,
    /// How many were ended because they took too long.
    pub(crate) timeouts: u64,
    /// How many were refused because too much was in flight.
    pub(crate) rejected: u64,
    /// HTTP requests.
    pub(crate) http: Counts,
    /// Deliveries of messages.
    pub(crate) deliveries: Counts,
    /// Calls from other components.
    pub(crate) calls: Counts,
}

/// What a version of a component is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Role {
    /// It takes new work.
    Serving,
    /// It takes a share of new work, on trial.
    Canary,
    /// It was replaced, and ends what it began.
    Ending,
}

impl Role {
    fn of(component: &component::Component, snapshot: &Snapshot) -> Self {
        let is = |version: &Version| std::ptr::eq(Arc::as_ptr(&version.component), component);
        match snapshot.components.get(&component.id) {
            Some(slot) if is(&slot.stable) => Self::Serving,
            Some(slot) if slot.versions().any(|version| is(version)) => Self::Canary,
            _ => Self::Ending,
        }
    }

    /// As people read it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Canary => "canary",
            Self::Ending => "ending",
        }
    }
}

/// Work of one kind.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct Counts {
    /// That came to an end.
    pub(crate) ended: u64,
    /// That failed.
    pub(crate) errors: u64,
    /// In flight.
    pub(crate) in_flight: u64,
}

impl Counts {
    fn of(work: &Work) -> Self {
        Self { ended: work.ended.get(), errors: work.errors.get(), in_flight: work.in_flight.get() }
    }
}

impl Component {
    fn of(component: &component::Component, role: Role) -> Self {
        let stats = &component.stats;
        let work = stats.work();
        let sum = |count: fn(&Work) -> u64| work.iter().map(|work| count(work)).fold(0, u64::saturating_add);
        let latencies = work.iter().fold(Latencies::default(), |sum, work| sum.with(&work.latency.load()));
        let millis = |quantile| latencies.quantile(quantile).map(|duration| duration.as_secs_f64() * 1000.0);
        Self {
            id: component.id.to_string(),
            digest: component.version.hash.to_string(),
            role,
            instances: stats.instances.get(),
            memory: stats.memory.get(),
            requests: sum(|work| work.ended.get()),
            errors: sum(|work| work.errors.get()),
            in_flight: sum(|work| work.in_flight.get()),
            p50_ms: millis(0.5),
            p99_ms: millis(0.99),
            traps: stats.traps.get(),
            timeouts: stats.timeouts.get(),
            rejected: stats.rejected.get(),
            http: Counts::of(&stats.http),
            deliveries: Counts::of(&stats.deliveries),
            calls: Counts::of(&stats.calls),
        }
    }
}

/// What runs
///
/// Every component, its version, and what it did since that version began.
#[utoipa::path(
    get,
    path = "/v1/components",
    tag = "application",
    responses((status = 200, body = Status), (status = 401, body = Problem, content_type = "application/problem+json")),
)]
pub(super) async fn list(State(context): State<Context>) -> Json<Status> {
    let snapshot = context.app.snapshot();
    let components = context.app.versions();
    let components = components.iter().map(|component| Component::of(component, Role::of(component, &snapshot)));
    let components = components.collect();
    Json(Status {
        application: context.application.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        uptime_seconds: context.started.elapsed().as_secs(),
        draining: context.app.drain().is_on(),
        components,
    })
}
