//! `/metrics` for Prometheus, in the OpenMetrics text format. docs/administration.md lists the
//! names; they are stable.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use tessera_capability::queue::GroupStatus;
use tessera_capability::time::{Clock as _, SystemClock};

use super::http::Problem;
use super::{Context, process};
use crate::app::component::Component;
use crate::stats::{BOUNDS, Stats, Work};

/// The engines may be out of reach; then the rest is answered without them.
const PATIENCE: Duration = Duration::from_secs(5);

/// Metrics
///
/// Counters, gauges and histograms for Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "metrics",
    responses(
        (status = 200, body = String, content_type = "application/openmetrics-text"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn read(State(context): State<Context>) -> Response {
    let groups = match tokio::time::timeout(PATIENCE, async { context.engines.broker().await.groups().await }).await {
        Ok(Ok(groups)) => groups,
        Ok(Err(error)) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "metrics are without those of the queues");
            Vec::new()
        }
        Err(_) => {
            tracing::warn!("metrics are without those of the queues, which do not answer");
            Vec::new()
        }
    };
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Seen {
        components: context.app.versions(),
        unrouted: context.app.unrouted.get(),
        deployments: context.app.deployments.get(),
        changes: context.app.changes.counts().collect(),
        draining: context.app.drain().is_on(),
        uptime: context.started.elapsed(),
        groups,
    }));
    let mut text = String::new();
    match text::encode(&mut text, &registry) {
        Ok(()) => {
            ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "cannot write metrics");
            Problem::internal().into_response()
        }
    }
}

/// What is told, as it was at one moment.
struct Seen {
    components: Vec<Arc<Component>>,
    unrouted: u64,
    deployments: u64,
    changes: Vec<(&'static str, &'static str, u64)>,
    draining: bool,
    uptime: Duration,
    groups: Vec<GroupStatus>,
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seen").finish_non_exhaustive()
    }
}

type Labels<'a> = [(&'a str, &'a str)];

fn counter(encoder: &mut MetricEncoder<'_>, labels: &Labels<'_>, value: u64) -> fmt::Result {
    encoder.encode_family(&labels)?.encode_counter::<NoLabelSet, u64, f64>(&value, None)
}

fn gauge(encoder: &mut MetricEncoder<'_>, labels: &Labels<'_>, value: f64) -> fmt::Result {
    encoder.encode_family(&labels)?.encode_gauge(&value)
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
fn float(value: u64) -> f64 {
    value as f64
}

/// How a number of a component is read.
type Read = fn(&Stats) -> u64;

/// How one kind of work is read.
type Kind = fn(&Stats) -> &Work;

const COUNTERS: &[(&str, &str, Read)] = &[
    ("tessera_traps", "Requests, deliveries and calls that ended in a trap", |stats| stats.traps.get()),
    ("tessera_timeouts", "Requests, deliveries and calls that took too long", |stats| stats.timeouts.get()),
    ("tessera_rejected", "Requests and calls refused because too much was in flight", |stats| stats.rejected.get()),
    ("tessera_cpu_time_exceeded", "Instances ended at limits.cpu_time", |stats| stats.exceeded.cpu_time.get()),
    ("tessera_memory_exceeded", "Instances ended at limits.memory", |stats| stats.exceeded.memory.get()),
    ("tessera_instances_exceeded", "Work refused or put off for want of room for an instance", |stats| {
        stats.exceeded.instances.get()
    }),
    ("tessera_request_body_exceeded", "Requests refused at limits.request_body", |stats| {
        stats.exceeded.request_body.get()
    }),
    ("tessera_response_body_exceeded", "Responses refused or cut off at limits.response_body", |stats| {
        stats.exceeded.response_body.get()
    }),
    ("tessera_resources_exceeded", "Instances ended and blobs not opened at limits.resources", |stats| {
        stats.exceeded.resources.get()
    }),
    ("tessera_connections_exceeded", "Outgoing connections refused at limits.connections", |stats| {
        stats.exceeded.connections.get()
    }),
    ("tessera_log_lines_suppressed", "Lines not logged because of limits.log_rate", |stats| {
        stats.exceeded.log_lines.get()
    }),
    ("tessera_dead_letters", "Messages given up by this process", |stats| stats.dead_letters.get()),
    ("tessera_instances_created", "Instances made", |stats| stats.instantiated.get()),
];

const GAUGES: &[(&str, &str, Read)] = &[
    ("tessera_instances", "Instances alive", |stats| stats.instances.get()),
    ("tessera_instances_memory_bytes", "Linear memory of the instances alive", |stats| stats.memory.get()),
    ("tessera_http_requests_in_flight", "HTTP requests in flight", |stats| stats.http.in_flight.get()),
    ("tessera_deliveries_in_flight", "Deliveries of messages in flight", |stats| stats.deliveries.in_flight.get()),
    ("tessera_calls_in_flight", "Calls from other components in flight", |stats| stats.calls.in_flight.get()),
];

const HISTOGRAMS: &[(&str, &str, Kind)] = &[
    ("tessera_http_request_duration_seconds", "Time to the header of the answer", |stats| &stats.http),
    ("tessera_delivery_duration_seconds", "Time to handle a message, well or not", |stats| &stats.deliveries),
    ("tessera_call_duration_seconds", "Time of calls from other components", |stats| &stats.calls),
];

const OUTCOMES: &[(&str, &str, Kind)] = &[
    ("tessera_deliveries", "Deliveries of messages that ended", |stats| &stats.deliveries),
    ("tessera_calls", "Calls from other components that ended", |stats| &stats.calls),
];

impl Seen {
    fn each(&self, mut act: impl FnMut(&str, &str, &Stats) -> fmt::Result) -> fmt::Result {
        self.components.iter().try_for_each(|component| {
            let version = component.version.hash.get(..12).unwrap_or(&component.version.hash);
            act(&component.id, version, &component.stats)
        })
    }

    fn components(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Answers to HTTP requests by the first digit of their status";
        let mut metric = encoder.encode_descriptor("tessera_http_requests", help, None, MetricType::Counter)?;
        self.each(|component, version, stats| {
            [(1, "1xx"), (2, "2xx"), (3, "3xx"), (4, "4xx"), (5, "5xx")].iter().try_for_each(|(class, status)| {
                let labels = [("component", component), ("version", version), ("status", status)];
                counter(&mut metric, &labels, stats.answers(*class))
            })
        })?;
        for (name, help, kind) in OUTCOMES {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            self.each(|component, version, stats| {
                let work = kind(stats);
                let errors = work.errors.get();
                let labels = |outcome| [("component", component), ("version", version), ("outcome", outcome)];
                counter(&mut metric, &labels("ok"), work.ended.get().saturating_sub(errors))?;
                counter(&mut metric, &labels("failed"), errors)
            })?;
        }
        for (name, help, read) in COUNTERS {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            self.each(|component, version, stats| {
                counter(&mut metric, &[("component", component), ("version", version)], read(stats))
            })?;
        }
        for (name, help, read) in GAUGES {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            self.each(|component, version, stats| {
                gauge(&mut metric, &[("component", component), ("version", version)], float(read(stats)))
            })?;
        }
        let bounds = BOUNDS.map(Duration::from_millis);
        for (name, help, kind) in HISTOGRAMS {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
            self.each(|component, version, stats| {
                let latencies = kind(stats).latency.load();
                let cumulative = latencies.cumulative(&bounds);
                let mut before = 0;
                // The encoder wants each bucket's own count, and adds them up itself.
                let mut buckets: Vec<(f64, u64)> = bounds
                    .iter()
                    .zip(cumulative)
                    .map(|(bound, count)| {
                        let own = count.saturating_sub(before);
                        before = count;
                        (bound.as_secs_f64(), own)
                    })
                    .collect();
                let count = latencies.count();
                buckets.push((f64::INFINITY, count.saturating_sub(before)));
                let labels: &Labels<'_> = &[("component", component), ("version", version)];
                let sum = latencies.sum().as_secs_f64();
                metric.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
            })?;
        }
        Ok(())
    }

    fn operations(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Operations on stores, by how they came out";
        let mut metric = encoder.encode_descriptor("tessera_store_operations", help, None, MetricType::Counter)?;
        for component in &self.components {
            let version = component.version.hash.get(..12).unwrap_or(&component.version.hash);
            for store in &component.grants().operations {
                for (operation, outcome, count) in store.counts() {
                    let own = [("component", &*component.id), ("version", version), ("kind", store.kind)];
                    let labels = [("store", store.label.as_str()), ("operation", operation), ("outcome", outcome)];
                    counter(&mut metric, &[&own[..], &labels].concat(), count)?;
                }
            }
        }
        let help = "What operators did, by what became of it";
        let mut metric = encoder.encode_descriptor("tessera_changes", help, None, MetricType::Counter)?;
        self.changes.iter().try_for_each(|(action, result, count)| {
            counter(&mut metric, &[("action", action), ("result", result)], *count)
        })
    }

    fn queues(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Messages that groups of consumers hold";
        let mut metric = encoder.encode_descriptor("tessera_queue_messages", help, None, MetricType::Gauge)?;
        for status in &self.groups {
            let depth = &status.depth;
            for (state, count) in [
                ("ready", depth.ready),
                ("delayed", depth.delayed),
                ("in_flight", depth.in_flight),
                ("dead", depth.dead),
            ] {
                gauge(&mut metric, &[("group", status.group.as_str()), ("state", state)], float(count))?;
            }
        }
        let help = "Age of the oldest message that is not dead";
        let mut metric =
            encoder.encode_descriptor("tessera_queue_oldest_age_seconds", help, None, MetricType::Gauge)?;
        let now = SystemClock.now();
        for status in &self.groups {
            let age = status.depth.oldest.map_or(0, |oldest| now.0.saturating_sub(oldest.0));
            gauge(&mut metric, &[("group", status.group.as_str())], float(age) / 1000.0)?;
        }
        let help = "Whether deliveries are stopped";
        let mut metric = encoder.encode_descriptor("tessera_queue_paused", help, None, MetricType::Gauge)?;
        for status in &self.groups {
            gauge(&mut metric, &[("group", status.group.as_str())], float(status.paused.into()))?;
        }
        Ok(())
    }

    fn process(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let one = |encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, kind, value: u64| {
            let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
            match kind {
                MetricType::Counter => metric.encode_counter::<NoLabelSet, u64, f64>(&value, None),
                _ => metric.encode_gauge(&float(value)),
            }
        };
        let mut metric = encoder.encode_descriptor("tessera_build", "What runs here", None, MetricType::Info)?;
        let labels: &Labels<'_> = &[("version", env!("CARGO_PKG_VERSION"))];
        metric.encode_info(&labels)?;
        let help = "HTTP requests that no route was for";
        one(encoder, "tessera_http_unrouted_requests", help, MetricType::Counter, self.unrouted)?;
        let help = "Snapshots put in place: starts, swaps, rollbacks, reloads";
        one(encoder, "tessera_deployments", help, MetricType::Counter, self.deployments)?;
        let help = "Whether new work is refused";
        one(encoder, "tessera_draining", help, MetricType::Gauge, self.draining.into())?;
        let help = "How long the process runs";
        one(encoder, "tessera_uptime_seconds", help, MetricType::Gauge, self.uptime.as_secs())?;
        let usage = process::usage();
        let help = "Memory that the process occupies";
        one(encoder, "process_resident_memory_bytes", help, MetricType::Gauge, usage.resident)?;
        let help = "Open file descriptors of the process";
        one(encoder, "process_open_fds", help, MetricType::Gauge, usage.files)
    }
}

impl Collector for Seen {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.components(&mut encoder)?;
        self.operations(&mut encoder)?;
        self.queues(&mut encoder)?;
        self.process(&mut encoder)
    }
}
