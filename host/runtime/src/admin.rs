//! The administration of a running application: an HTTP API on a listener of its own.
//!
//! It looks at the snapshot and at counters, and steers queues and the application; the CLI's verbs
//! are its clients. What its clients do cannot harm the application: it runs on a thread of its
//! own, so that a flood of requests costs at most that thread, with few connections, short
//! timeouts and small bodies; and it answers even while components keep all other threads busy.
//! What a route does to the application itself belongs on the application's runtime: see
//! [`Context::on_app`].

mod components;
mod drain;
mod http;
mod listener;
mod logs;
mod mail;
mod metrics;
mod process;
mod queues;
mod rates;
mod token;

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use tessera_capability::mail::Outbox;
use tessera_capability::queue::Broker;
use tokio_util::sync::CancellationToken;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Components, InfoBuilder, OpenApi, OpenApiBuilder};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) use self::components::Status;
pub(crate) use self::drain::Drain;
pub(crate) use self::http::{Json, Problem, Query};
pub(crate) use self::listener::{Bound, Error, bind, read, serve};
pub(crate) use self::logs::{Line, Logs};
pub(crate) use self::mail::{Letter, Mails};
pub(crate) use self::queues::{Count, Delete, Message, Messages, Part, Queues, Replay};
use self::rates::Rates;
pub(crate) use self::token::Token;
use crate::app::App;

/// The file of the state directory that says where the API is: an address in JSON.
pub(crate) const ADDRESS_FILE: &str = "admin.json";

/// The file of the state directory that holds the token.
pub(crate) const TOKEN_FILE: &str = "admin.token";

/// The engines that an operator looks into. Which they are may change while the application runs.
#[async_trait]
pub(crate) trait Engines: Send + Sync {
    /// The queues'.
    async fn broker(&self) -> Arc<dyn Broker>;

    /// That of mail, if it keeps any.
    async fn outbox(&self) -> Option<Arc<dyn Outbox>>;
}

/// What routes work on.
#[derive(Clone)]
pub(crate) struct Context {
    application: Arc<str>,
    app: Arc<App>,
    engines: Arc<dyn Engines>,
    logs: Logs,
    rates: Rates,
    started: Instant,
    /// Ends what would not end by itself.
    shutdown: CancellationToken,
    runtime: tokio::runtime::Handle,
}

impl Context {
    /// For an application that runs on the current runtime.
    pub(crate) fn new(
        application: &str,
        app: Arc<App>,
        engines: Arc<dyn Engines>,
        logs: Logs,
        shutdown: CancellationToken,
    ) -> Self {
        let rates = Rates::default();
        let runtime = tokio::runtime::Handle::current();
        tokio::spawn(shutdown.clone().run_until_cancelled_owned(rates.clone().run(Arc::clone(&app))));
        Self { application: application.into(), app, engines, logs, rates, started: Instant::now(), shutdown, runtime }
    }

    /// Does something on the application's runtime instead of the administration's thread: whatever
    /// computes, instantiates components, or spawns tasks that outlive the request. It goes on if
    /// the client goes away.
    ///
    /// # Errors
    /// If it panics.
    pub(crate) async fn on_app<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Problem> {
        self.runtime.spawn(work).await.map_err(|error| {
            tracing::error!(%error, "an administrative task failed");
            Problem::internal()
        })
    }
}

/// All routes that look at the application, and steer its queues.
pub(crate) fn routes(context: Context) -> OpenApiRouter {
    OpenApiRouter::with_openapi(description())
        .routes(routes!(components::list))
        .routes(routes!(drain::status, drain::start, drain::end))
        .routes(routes!(logs::read))
        .routes(routes!(mail::list))
        .routes(routes!(mail::show))
        .routes(routes!(mail::raw))
        .routes(routes!(metrics::read))
        .routes(routes!(queues::list))
        .routes(routes!(queues::peek))
        .routes(routes!(queues::replay))
        .routes(routes!(queues::purge))
        .routes(routes!(queues::pause))
        .routes(routes!(queues::resume))
        .with_state(context)
}

/// What the OpenAPI document says besides its routes.
fn description() -> OpenApi {
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("The text of `admin.token` in the state directory."))
        .build();
    let mut components = Components::new();
    components.add_security_scheme("token", SecurityScheme::Http(bearer));
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Tessera's administration")
                .description(Some("What the command line's verbs use. Errors are problem details of RFC 9457."))
                .version("1")
                .build(),
        )
        .components(Some(components))
        .security(Some([SecurityRequirement::new("token", Vec::<String>::new())]))
        .build()
}
