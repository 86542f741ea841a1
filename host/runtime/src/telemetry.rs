//! Spans and metrics to an OpenTelemetry collector: OTLP over HTTP as JSON.
//!
//! A thread of its own sends what it has every other second; what it cannot keep up with is
//! dropped and counted, never waited for. JSON is one of OTLP's two HTTP encodings, and needs no
//! protobuf.

mod encode;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant, SystemTime};

use secrecy::ExposeSecret as _;
use serde_json::Value;

use self::encode::Resource;
use crate::app::App;
use crate::config::Telemetry as Settings;
use crate::trace::{self, Recorder};

/// Spans that wait to be sent.
const WAITING: usize = 8192;
/// Spans in one message.
const BATCH: usize = 512;
/// How long a span waits at most.
const DELAY: Duration = Duration::from_secs(2);
/// How long the collector may take for a message.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long the last message may take when the process ends.
const FAREWELL: Duration = Duration::from_secs(3);

enum Order {
    Span(Value),
    End(SyncSender<()>),
}

/// Sends until it is told that the process ends.
pub(crate) struct Exporter(SyncSender<Order>);

impl Exporter {
    /// Records from now on.
    ///
    /// # Errors
    /// If there is no room for a thread.
    pub(crate) fn start(settings: &Settings, app: Arc<App>) -> std::io::Result<Self> {
        let (sender, orders) = sync_channel(WAITING);
        let dropped = Arc::new(AtomicU64::new(0));
        let (spans, lost) = (sender.clone(), Arc::clone(&dropped));
        let sending = Sending {
            agent: agent(TIMEOUT),
            settings: settings.clone(),
            resource: Resource::new(&settings.service),
            app,
            start: SystemTime::now(),
            dropped,
            failing: false,
        };
        std::thread::Builder::new().name("telemetry".into()).spawn(move || sending.run(&orders))?;
        trace::record(Recorder {
            share: settings.sample,
            take: Box::new(move |span| {
                if spans.try_send(Order::Span(encode::span(span, SystemTime::now()))).is_err() {
                    lost.fetch_add(1, Relaxed);
                }
            }),
        });
        Ok(Self(sender))
    }

    /// Sends what is left.
    pub(crate) fn end(self) {
        let (done, waiting) = sync_channel(1);
        if self.0.try_send(Order::End(done)).is_ok() {
            _ = waiting.recv_timeout(FAREWELL);
        }
    }
}

struct Sending {
    agent: ureq::Agent,
    settings: Settings,
    resource: Resource,
    app: Arc<App>,
    start: SystemTime,
    dropped: Arc<AtomicU64>,
    failing: bool,
}

impl Sending {
    fn run(mut self, orders: &Receiver<Order>) {
        let mut spans = Vec::new();
        let mut flush = Instant::now() + DELAY;
        let mut measure = Instant::now() + self.settings.interval;
        loop {
            let end = match orders.recv_timeout(flush.min(measure).saturating_duration_since(Instant::now())) {
                Ok(Order::Span(span)) => {
                    spans.push(span);
                    None
                }
                Ok(Order::End(done)) => Some(done),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let now = Instant::now();
            if end.is_some() || spans.len() >= BATCH || flush <= now {
                if !spans.is_empty() {
                    let message = self.resource.spans(std::mem::take(&mut spans));
                    self.send("v1/traces", &message);
                }
                flush = now + DELAY;
            }
            if end.is_some() || measure <= now {
                let dropped = self.dropped.load(Relaxed);
                let message = self.resource.metrics(&self.app, dropped, self.start, SystemTime::now());
                self.send("v1/metrics", &message);
                measure = now + self.settings.interval;
            }
            if let Some(done) = end {
                _ = done.try_send(());
                return;
            }
        }
    }

    fn send(&mut self, path: &str, message: &Value) {
        match post(&self.agent, &self.settings, path, message) {
            Ok(()) => self.failing = false,
            // Once for each outage: a log that repeats it helps nobody.
            Err(error) if !self.failing => {
                self.failing = true;
                let endpoint = &self.settings.endpoint;
                tracing::warn!(%error, endpoint, path, "the telemetry collector does not take what is recorded");
            }
            Err(_) => {}
        }
    }
}

/// Whether the collector takes messages: sends one without spans. Blocks for no longer than `patience`.
///
/// # Errors
/// Why it does not.
pub(crate) fn check(settings: &Settings, patience: Duration) -> Result<(), String> {
    let nothing = serde_json::json!({ "resourceSpans": [] });
    post(&agent(patience), settings, "v1/traces", &nothing).map_err(|error| error.to_string())
}

fn agent(timeout: Duration) -> ureq::Agent {
    ureq::Agent::config_builder().timeout_global(Some(timeout)).build().new_agent()
}

fn post(agent: &ureq::Agent, settings: &Settings, path: &str, message: &Value) -> Result<(), ureq::Error> {
    let url = format!("{}/{path}", settings.endpoint.trim_end_matches('/'));
    let mut request = agent.post(&url).content_type("application/json");
    for (name, value) in &settings.headers {
        request = request.header(name, value.expose_secret());
    }
    request.send(message.to_string()).map(drop)
}
