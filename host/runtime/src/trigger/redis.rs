//! The Redis trigger: subscribes to channels, and calls the components that want their messages.
//!
//! A channel of Redis keeps nothing: what is published while nobody listens, or while this host
//! reconnects, is gone. Whoever cannot lose messages consumes a queue.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use secrecy::{ExposeSecret as _, SecretString};
use tessera_capability::redis::{Client, Message};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wasmtime::PoolConcurrencyLimitError;

use crate::app::App;
use crate::cpu::aside;
use crate::stats::Running;
use crate::trace::{self, Context, Kind, Span};

/// How many messages of one server are handled at the same time; the others wait at the server.
const AT_A_TIME: usize = 256;

/// A message for which there was no room for an instance is tried again after this.
const ROOM: Duration = Duration::from_secs(1);

/// A subscription that lasted this long was a good one: the next attempt comes soon again.
const GOOD: Duration = Duration::from_secs(30);

/// Listens to one server.
pub(crate) struct Listener {
    /// The way to it.
    pub(crate) client: Arc<dyn Client>,
    /// Its URL.
    pub(crate) address: SecretString,
    /// The components that get the messages of each channel.
    pub(crate) channels: BTreeMap<String, Vec<Arc<str>>>,
}

impl Listener {
    /// Listens until `stop`, connecting again whenever the connection breaks, then lets what has
    /// begun end, after `shutdown` for at most `grace`.
    pub(crate) async fn run(
        self,
        app: Arc<App>,
        stop: CancellationToken,
        shutdown: CancellationToken,
        grace: Duration,
    ) {
        let running = TaskTracker::new();
        let listen = self.listen(&app, &running);
        tokio::select! {
            () = listen => {}
            () = stop.cancelled() => {}
        }
        running.close();
        tokio::select! {
            () = running.wait() => {}
            () = async {
                shutdown.cancelled().await;
                tokio::time::sleep(grace).await;
            } => tracing::warn!("messages from Redis were still being handled after {grace:?}"),
        }
    }

    async fn listen(&self, app: &Arc<App>, running: &TaskTracker) {
        let names: Vec<String> = self.channels.keys().cloned().collect();
        let server = self.server();
        let backoff = || ExponentialBuilder::default().with_jitter().without_max_times().build();
        let mut delays = backoff();
        loop {
            let start = tokio::time::Instant::now();
            match self.client.subscribe(self.address.expose_secret(), &names).await {
                Ok(messages) => {
                    tracing::info!(server, channels = names.join(", "), "subscribed to Redis");
                    self.hand_on(messages, app, running).await;
                    tracing::warn!(server, "the subscription to Redis broke; trying again");
                }
                Err(error) => {
                    tracing::warn!(server, error = &error as &dyn std::error::Error, "cannot subscribe to Redis");
                }
            }
            if start.elapsed() > GOOD {
                delays = backoff();
            }
            tokio::time::sleep(delays.next().unwrap_or(GOOD)).await;
        }
    }

    /// Where it listens, for people: without the password.
    fn server(&self) -> String {
        let address = self.client.address(self.address.expose_secret());
        address.map_or_else(|_| "(malformed)".to_owned(), |address| format!("{}:{}", address.host, address.port))
    }

    async fn hand_on(&self, mut messages: BoxStream<'static, Message>, app: &Arc<App>, running: &TaskTracker) {
        let permits = Arc::new(tokio::sync::Semaphore::new(AT_A_TIME));
        while let Some(message) = messages.next().await {
            for component in self.channels.get(&message.channel).into_iter().flatten() {
                let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
                let (app, component, message) = (Arc::clone(app), Arc::clone(component), message.clone());
                running.spawn(aside(async move {
                    traced(&app, &component, message).await;
                    drop(permit);
                }));
            }
        }
    }
}

/// Handles a message as a piece of work of its own: nothing in it says what it is part of.
async fn traced(app: &App, id: &str, message: Message) {
    let context = Arc::new(Context::incoming(&Vec::new()));
    let mut span = Span::begin(&context, Kind::Consumer, || format!("process {}", message.channel).into());
    if let Some(span) = &mut span {
        span.set("messaging.system", "redis");
        span.set("messaging.operation.type", "process");
        span.set("messaging.destination.name", &*message.channel);
        span.set("tessera.component", id);
    }
    let failed = trace::scope(Some(context), handle(app, id, message)).await.err();
    if let Some(span) = &mut span {
        span.error = failed;
    }
}

/// Calls the component's handler in a fresh instance. Nobody waits for what it returns, so that
/// goes to the log.
///
/// # Errors
/// Why it failed.
async fn handle(app: &App, id: &str, message: Message) -> Result<(), String> {
    let channel = message.channel.clone();
    let Some(component) = app.load().component(id).cloned() else { return Ok(()) };
    let Some(subscriber) = component.redis_subscriber() else { return Ok(()) };
    let Ok(_permit) = component.admission.wait().await else { return Ok(()) };
    let running = Running::delivery(&component.stats);
    let timeout = component.limits.timeout;
    let call = async {
        loop {
            let mut store = component.store()?;
            store.data_mut().tasks.all(trace::current());
            let cpu = Arc::clone(&store.data().cpu);
            cpu.allow(component.limits.cpu_time.unwrap_or(timeout));
            match cpu.measure(subscriber.call(&mut store, message.clone())).await {
                Err(error) if error.is::<PoolConcurrencyLimitError>() => {
                    component.stats.exceeded.instances.increment();
                    tracing::warn!(component = id, channel, "no room for another instance: {error:#}");
                    tokio::time::sleep(ROOM).await;
                }
                result => break result,
            }
        }
    };
    let result = tokio::select! {
        result = tokio::time::timeout(timeout, call) => result,
        () = component.life.cut_off() => return Err("cut off".to_owned()),
    };
    running.ended(matches!(result, Ok(Ok(Ok(())))));
    match result {
        Ok(Ok(Ok(()))) => {
            tracing::debug!(component = id, channel, "handled a message from Redis");
            Ok(())
        }
        Ok(Ok(Err(reason))) => {
            tracing::warn!(component = id, channel, "the Redis handler failed: {reason}");
            Err(reason)
        }
        Ok(Err(trap)) => {
            running.trapped();
            component.grants().note_trap(&trap);
            tracing::error!(component = id, channel, "the Redis handler trapped: {trap:?}");
            Err(format!("trap: {}", trap.root_cause()))
        }
        Err(_) => {
            running.timed_out();
            let reason = format!("no answer within {timeout:?}");
            tracing::warn!(component = id, channel, "the Redis handler gave {reason}");
            Err(reason)
        }
    }
}
