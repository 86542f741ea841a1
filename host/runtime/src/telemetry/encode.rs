//! OTLP's messages as JSON (ids in hexadecimal, 64-bit numbers as text).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::app::App;
use crate::stats::{BOUNDS, Latencies};
use crate::trace::{self, Kind, Span};

/// Who sends.
pub(super) struct Resource(Value);

impl Resource {
    pub(super) fn new(service: &str) -> Self {
        Self(json!({"attributes": [
            attribute("service.name", &service.into()),
            attribute("service.version", &env!("CARGO_PKG_VERSION").into()),
            attribute("process.pid", &std::process::id().into()),
        ]}))
    }

    pub(super) fn spans(&self, spans: Vec<Value>) -> Value {
        json!({"resourceSpans": [{
            "resource": self.0,
            "scopeSpans": [{"scope": {"name": "tessera"}, "spans": spans}],
        }]})
    }

    /// What the components have done since `start`, and do now.
    pub(super) fn metrics(&self, app: &App, dropped: u64, start: SystemTime, now: SystemTime) -> Value {
        let (start, now) = (nanoseconds(start), nanoseconds(now));
        let snapshot = app.load();
        let point = |attributes: Value, value: u64| json!({"attributes": attributes, "startTimeUnixNano": start, "timeUnixNano": now, "asInt": value.to_string()});
        let mut points: Vec<Vec<Value>> = vec![Vec::new(); METRICS.len()];
        for (id, slot) in &snapshot.components {
            let stats = &slot.stable.component.stats;
            let component = attribute("tessera.component", &(**id).into());
            let mut values: Vec<Vec<(Value, u64)>> = Vec::new();
            let works = ["http", "delivery", "call"].into_iter().zip([&stats.http, &stats.deliveries, &stats.calls]);
            let kinds: Vec<_> =
                works.map(|(kind, work)| (json!([component, attribute("tessera.work", &kind.into())]), work)).collect();
            values.push(kinds.iter().map(|(attributes, work)| (attributes.clone(), work.ended.get())).collect());
            values.push(kinds.iter().map(|(attributes, work)| (attributes.clone(), work.errors.get())).collect());
            values.push(kinds.iter().map(|(attributes, work)| (attributes.clone(), work.in_flight.get())).collect());
            for value in [
                stats.traps.get(),
                stats.timeouts.get(),
                stats.rejected.get(),
                stats.dead_letters.get(),
                stats.instances.get(),
                stats.memory.get(),
            ] {
                values.push(vec![(json!([component]), value)]);
            }
            for (points, values) in points.iter_mut().zip(values) {
                points.extend(values.into_iter().map(|(attributes, value)| point(attributes, value)));
            }
        }
        let mut metrics: Vec<_> = METRICS.iter().zip(points).map(|(metric, points)| metric.with(&points)).collect();
        let durations = snapshot.components.iter().flat_map(|(id, slot)| {
            let stats = &slot.stable.component.stats;
            let works = [("http", &stats.http), ("delivery", &stats.deliveries), ("call", &stats.calls)];
            works.map(|(kind, work)| {
                let attributes =
                    json!([attribute("tessera.component", &(**id).into()), attribute("tessera.work", &kind.into())]);
                histogram(attributes, &work.latency.load(), &start, &now)
            })
        });
        metrics.push(json!({
            "name": "tessera.work.duration",
            "unit": "s",
            // 2: cumulative.
            "histogram": {"dataPoints": durations.collect::<Vec<_>>(), "aggregationTemporality": 2},
        }));
        metrics.push(DROPPED.with(&[point(json!([]), dropped)]));
        json!({"resourceMetrics": [{
            "resource": self.0,
            "scopeMetrics": [{"scope": {"name": "tessera"}, "metrics": metrics}],
        }]})
    }
}

/// A point of a histogram: buckets by [`BOUNDS`], each with its own count.
fn histogram(attributes: Value, latencies: &Latencies, start: &str, now: &str) -> Value {
    let count = latencies.count();
    let mut before = 0;
    let cumulative = latencies.cumulative(&BOUNDS.map(Duration::from_millis));
    let buckets: Vec<_> = cumulative
        .into_iter()
        .chain([count])
        .map(|until| {
            let own = until.saturating_sub(before);
            before = until;
            own.to_string()
        })
        .collect();
    json!({
        "attributes": attributes,
        "startTimeUnixNano": start,
        "timeUnixNano": now,
        "count": count.to_string(),
        "sum": latencies.sum().as_secs_f64(),
        "explicitBounds": BOUNDS.map(|bound| Duration::from_millis(bound).as_secs_f64()),
        "bucketCounts": buckets,
    })
}

struct Metric {
    name: &'static str,
    unit: &'static str,
    /// Only grows.
    counter: bool,
}

const fn metric(name: &'static str, unit: &'static str, counter: bool) -> Metric {
    Metric { name, unit, counter }
}

/// In the order in which the values are read.
const METRICS: &[Metric] = &[
    metric("tessera.work.ended", "1", true),
    metric("tessera.work.errors", "1", true),
    metric("tessera.work.in_flight", "1", false),
    metric("tessera.component.traps", "1", true),
    metric("tessera.component.timeouts", "1", true),
    metric("tessera.component.rejected", "1", true),
    metric("tessera.component.dead_letters", "1", true),
    metric("tessera.component.instances", "1", false),
    metric("tessera.component.memory", "By", false),
];

const DROPPED: Metric = metric("tessera.telemetry.dropped_spans", "1", true);

impl Metric {
    fn with(&self, points: &[Value]) -> Value {
        let Self { name, unit, counter } = self;
        // 2: cumulative.
        let kind = if *counter { "sum" } else { "gauge" };
        let mut data = json!({"dataPoints": points});
        if *counter {
            data = json!({"dataPoints": points, "aggregationTemporality": 2, "isMonotonic": true});
        }
        json!({"name": name, "unit": unit, kind: data})
    }
}

/// A span that ends now.
pub(super) fn span(span: &Span, end: SystemTime) -> Value {
    let (trace, id, parent) = span.ids();
    let kind = match span.kind {
        Kind::Internal => 1,
        Kind::Server => 2,
        Kind::Client => 3,
        Kind::Producer => 4,
        Kind::Consumer => 5,
    };
    let attributes: Vec<_> = span
        .attributes
        .iter()
        .map(|(name, value)| match value {
            trace::Value::Text(text) => attribute(name, &text.as_str().into()),
            trace::Value::Number(number) => attribute(name, &(*number).into()),
        })
        .collect();
    // 2: an error.
    let status = span.error.as_ref().map_or(json!({}), |error| json!({"code": 2, "message": error}));
    json!({
        "traceId": format!("{trace:032x}"),
        "spanId": format!("{id:016x}"),
        "parentSpanId": parent.map_or_else(String::new, |parent| format!("{parent:016x}")),
        "name": span.name,
        "kind": kind,
        "startTimeUnixNano": nanoseconds(span.start),
        "endTimeUnixNano": nanoseconds(end),
        "attributes": attributes,
        "status": status,
    })
}

fn attribute(key: &str, value: &Value) -> Value {
    let value = match value {
        Value::Number(number) => json!({"intValue": number.to_string()}),
        other => json!({"stringValue": other}),
    };
    json!({"key": key, "value": value})
}

fn nanoseconds(time: SystemTime) -> String {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos().to_string()
}
