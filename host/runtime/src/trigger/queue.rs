//! The queue trigger: leases a group's messages, calls the component's consumer, and settles each
//! delivery by what it returned. The guest never acknowledges; a guest that traps, stalls or is
//! killed has not acknowledged either.

use std::sync::Arc;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use tessera_capability::queue::{Broker, Delivery, Receipt, Verdict};
use tessera_capability::{Error, Result};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use wasmtime::PoolConcurrencyLimitError;

use crate::app::App;
use crate::bindings::Rejection;
use crate::cpu::aside;
use crate::manifest::Consume;
use crate::stats::{self, Running};
use crate::trace::{self, Context, Kind, Span};

/// How long a lease lasts; it is renewed at a third of it. After a crash of the process a message
/// waits at most this long on an engine that other processes share.
const LEASE: Duration = Duration::from_secs(30);

/// A delivery for which there was no room is given back after this.
const ROOM: Duration = Duration::from_secs(1);

/// How long one call waits for messages.
const WAIT: Duration = Duration::from_secs(20);

/// A group that the instances of one component are.
pub(crate) struct Consumer {
    /// The component's id.
    pub(crate) component: Arc<str>,
    /// What it consumes, and how.
    pub(crate) consume: Consume,
}

/// The most messages asked for at once.
const BATCH: usize = 64;

impl Consumer {
    /// Consumes until `stop`, then lets deliveries in flight end, after `shutdown` for at most
    /// `grace`; what is not done by then is given back to the queue.
    pub(crate) async fn run(
        self,
        app: Arc<App>,
        broker: Arc<dyn Broker>,
        stop: CancellationToken,
        shutdown: CancellationToken,
        grace: Duration,
    ) {
        let permits = Arc::new(Semaphore::new(self.consume.concurrency));
        let running = TaskTracker::new();
        let cut_off = CancellationToken::new();
        let done = app.group(self.consume.group.as_str());
        let work = Arc::new(Work { app, broker, done, serve: Handle::current(), consumer: self });
        let group = &work.consumer.consume.group;
        loop {
            let receive = async {
                work.app.drain().until(false).await;
                let first = Arc::clone(&permits).acquire_owned().await.ok();
                let max = permits.available_permits().saturating_add(1).min(BATCH);
                (first, work.broker.receive(group, max, LEASE, WAIT).await)
            };
            let (mut first, received) = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = drained(&work.app) => continue,
                received = receive => received,
            };
            match received {
                Ok(deliveries) => {
                    for delivery in deliveries {
                        // Free ones: nobody else takes permits of this group.
                        let permit = first.take().or_else(|| Arc::clone(&permits).try_acquire_owned().ok());
                        running.spawn(aside(Arc::clone(&work).handle(delivery, permit, cut_off.clone())));
                    }
                }
                Err(error) => {
                    tracing::warn!(%group, error = &error as &dyn std::error::Error, "cannot receive messages");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
        running.close();
        let over = async {
            shutdown.cancelled().await;
            tokio::time::sleep(grace).await;
        };
        tokio::select! {
            () = running.wait() => {}
            () = over => {
                tracing::warn!(%group, "deliveries were still running after {grace:?} and are given back");
                cut_off.cancel();
                running.wait().await;
            }
        }
    }
}

/// Ends when an operator wants no new work to begin, while there is some to wait for.
async fn drained(app: &App) {
    if app.drain().is_on() {
        // The next message waits for the end of it.
        return std::future::pending().await;
    }
    app.drain().until(true).await;
}

/// What became of a delivery.
enum Outcome {
    Handled,
    Failed(Option<Duration>, String),
    Hopeless(String),
    /// Not handled through no fault of its own.
    Returned,
    /// Somebody else has it by now.
    Lost,
}

struct Work {
    app: Arc<App>,
    broker: Arc<dyn Broker>,
    /// Where it counts what it did.
    done: Arc<stats::Group>,
    /// The threads that serve.
    serve: Handle,
    consumer: Consumer,
}

impl Work {
    async fn handle(
        self: Arc<Self>,
        delivery: Delivery,
        permit: Option<OwnedSemaphorePermit>,
        cut_off: CancellationToken,
    ) {
        let context = Arc::new(Context::incoming(&delivery.message.headers));
        let mut span = Span::begin(&context, Kind::Consumer, || format!("process {}", delivery.queue).into());
        if let Some(span) = &mut span {
            span.set("messaging.system", "tessera");
            span.set("messaging.operation.type", "process");
            span.set("messaging.destination.name", delivery.queue.as_str());
            span.set("messaging.consumer.group.name", self.consumer.consume.group.as_str());
            span.set("messaging.message.id", &*delivery.id.0);
            span.set("tessera.component", &*self.consumer.component);
            span.set("tessera.attempt", delivery.attempt);
        }
        let outcome = trace::scope(Some(context), self.work(delivery, cut_off)).await;
        if let (Some(span), Outcome::Failed(_, reason) | Outcome::Hopeless(reason)) = (&mut span, &outcome) {
            span.error = Some(reason.clone());
        }
        drop(permit);
    }

    /// Calls the consumer and tells the engine what came of it.
    async fn work(self: &Arc<Self>, delivery: Delivery, cut_off: CancellationToken) -> Outcome {
        let Delivery { receipt, id, queue, attempt, .. } = delivery.clone();
        let Consume { timeout, policy, .. } = &self.consumer.consume;
        let outcome = if attempt > policy.max_attempts {
            Outcome::Hopeless(format!("none of {} attempts came to an end", policy.max_attempts))
        } else {
            // Where others want all cores, a delivery that computes may wait for its turn for longer than its lease lasts.
            let (work, kept) = (Arc::clone(self), receipt.clone());
            let lost = AbortOnDropHandle::new(self.serve.spawn(async move { work.keep(&kept).await }));
            tokio::select! {
                outcome = self.call(*timeout, delivery) => outcome,
                Ok(()) = lost => Outcome::Lost,
                () = cut_off.cancelled() => Outcome::Returned,
            }
        };
        match &outcome {
            Outcome::Handled => self.done.handled.increment(),
            Outcome::Failed(..) | Outcome::Hopeless(_) => self.done.failed.increment(),
            Outcome::Returned | Outcome::Lost => {}
        }
        let component = &*self.consumer.component;
        match &outcome {
            Outcome::Handled => tracing::debug!(component, %queue, %id, attempt, "handled"),
            Outcome::Failed(_, reason) => tracing::warn!(component, %queue, %id, attempt, "attempt failed: {reason}"),
            Outcome::Hopeless(reason) => tracing::warn!(component, %queue, %id, attempt, "given up: {reason}"),
            Outcome::Returned => tracing::info!(component, %queue, %id, attempt, "given back to the queue"),
            Outcome::Lost => tracing::warn!(component, %queue, %id, attempt, "the lease ran out"),
        }
        self.settle(&receipt, &outcome, attempt).await;
        outcome
    }

    /// Calls the consumer in a fresh instance.
    async fn call(&self, timeout: Duration, delivery: Delivery) -> Outcome {
        let component = self.app.load().component(&self.consumer.component).cloned();
        let Some(component) = component else { return Outcome::Returned };
        let Some(consumer) = component.consumer() else { return Outcome::Returned };
        // Deliveries are as many at a time as `consume` says, so they wait here and nowhere else.
        let Ok(_permit) = component.admission.wait().await else { return Outcome::Returned };
        let running = Running::delivery(&component.stats);
        let call = async {
            let mut store = component.store()?;
            store.data_mut().tasks.all(trace::current());
            let cpu = Arc::clone(&store.data().cpu);
            cpu.allow(component.limits.cpu_time.unwrap_or(timeout));
            let compute = async {
                let instance = consumer.instantiate_async(&mut store).await?;
                let consumer = instance.tessera_queue_consumer();
                store.run_concurrent(async |accessor| consumer.call_consume(accessor, delivery.into()).await).await?
            };
            cpu.measure(compute).await
        };
        let result = tokio::select! {
            result = tokio::time::timeout(timeout, call) => result,
            () = component.life.cut_off() => return Outcome::Returned,
        };
        if let Ok(Err(error)) = &result
            && error.is::<PoolConcurrencyLimitError>()
        {
            component.stats.exceeded.instances.increment();
            tracing::warn!(component = &*component.id, "no room for another instance: {error:#}");
            tokio::time::sleep(ROOM).await;
            return Outcome::Returned;
        }
        running.ended(matches!(result, Ok(Ok(Ok(())))));
        match result {
            Ok(Ok(Ok(()))) => Outcome::Handled,
            Ok(Ok(Err(rejection))) => match rejection.into() {
                Rejection::Retry(after, reason) => Outcome::Failed(after, reason),
                Rejection::Discard(reason) => Outcome::Hopeless(reason),
            },
            Ok(Err(trap)) => {
                running.trapped();
                component.grants().note_trap(&trap);
                tracing::error!(component = &*self.consumer.component, "the consumer trapped: {trap:?}");
                Outcome::Failed(None, format!("trap: {}", trap.root_cause()))
            }
            Err(_) => {
                running.timed_out();
                Outcome::Failed(None, format!("no answer within {timeout:?}"))
            }
        }
    }

    /// Renews the lease until it is lost.
    async fn keep(&self, receipt: &Receipt) {
        loop {
            tokio::time::sleep(LEASE / 3).await;
            let renew = || self.broker.renew(&self.consumer.consume.group, receipt, LEASE);
            match renew.retry(patience()).when(is_passing).await {
                Ok(()) => {}
                Err(error) => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "cannot renew a lease");
                    return;
                }
            }
        }
    }

    /// Tells the engine. If that fails for good the lease runs out, and the message comes again.
    async fn settle(&self, receipt: &Receipt, outcome: &Outcome, attempt: u32) {
        let Consume { group, policy, .. } = &self.consumer.consume;
        let broker = &self.broker;
        let verdict = match outcome {
            Outcome::Failed(after, _) => policy.verdict(attempt, *after, &mut rand::rng()),
            _ => Verdict::Bury,
        };
        let buries = matches!((outcome, verdict), (Outcome::Failed(..) | Outcome::Hopeless(_), Verdict::Bury));
        let settle = || async {
            match (outcome, verdict) {
                (Outcome::Handled, _) => broker.acknowledge(group, receipt).await,
                (Outcome::Failed(_, reason), Verdict::Retry(delay)) => {
                    broker.retry(group, receipt, delay, reason).await
                }
                (Outcome::Failed(_, reason) | Outcome::Hopeless(reason), _) => {
                    broker.bury(group, receipt, reason).await
                }
                (Outcome::Returned, _) => broker.release(group, receipt).await,
                (Outcome::Lost, _) => Ok(()),
            }
        };
        let result: Result<()> = settle.retry(patience()).when(is_passing).await;
        if let Err(error) = result {
            tracing::warn!(%group, error = &error as &dyn std::error::Error, "cannot settle a delivery; it will come again");
        } else if buries && let Some(slot) = self.app.load().components.get(&self.consumer.component) {
            slot.stable.component.stats.dead_letters.increment();
        }
    }
}

/// How an engine that is out of reach is tried again: within a lease.
fn patience() -> ExponentialBuilder {
    ExponentialBuilder::default().with_jitter().with_max_times(8).with_total_delay(Some(LEASE / 2))
}

fn is_passing(error: &Error) -> bool {
    matches!(error, Error::Unavailable { .. })
}
