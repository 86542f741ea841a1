//! What a collector of OTLP takes: the messages of opentelemetry-proto 1.x in their JSON encoding, checked more
//! strictly than any collector does, which passes over what it does not know.

#![allow(non_snake_case, reason = "the names of the protocol")]

use serde::{Deserialize, Deserializer, de::Error};

/// `ExportTraceServiceRequest`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Traces {
    resourceSpans: Vec<ResourceSpans>,
}

/// `ExportMetricsServiceRequest`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Metrics {
    resourceMetrics: Vec<ResourceMetrics>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResourceSpans {
    resource: Resource,
    scopeSpans: Vec<ScopeSpans>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResourceMetrics {
    resource: Resource,
    scopeMetrics: Vec<ScopeMetrics>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Resource {
    attributes: Vec<Attribute>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scope {
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScopeSpans {
    scope: Scope,
    spans: Vec<Span>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScopeMetrics {
    scope: Scope,
    metrics: Vec<Metric>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Attribute {
    key: String,
    #[serde(rename = "value")]
    _value: AnyValue,
}

/// One of the kinds of values, each by its own name.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum AnyValue {
    StringValue(#[expect(dead_code, reason = "its type is what is checked")] String),
    IntValue(#[expect(dead_code, reason = "its type is what is checked")] Int),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Span {
    traceId: Id<16>,
    spanId: Id<8>,
    /// Empty for a root.
    parentSpanId: String,
    name: String,
    kind: u8,
    startTimeUnixNano: Int,
    endTimeUnixNano: Int,
    attributes: Vec<Attribute>,
    status: Status,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Status {
    #[serde(default)]
    code: u8,
    message: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Metric {
    name: String,
    unit: String,
    #[serde(flatten)]
    data: Data,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Data {
    Gauge(Gauge),
    Sum(Sum),
    Histogram(Histogram),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Gauge {
    dataPoints: Vec<NumberPoint>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sum {
    dataPoints: Vec<NumberPoint>,
    aggregationTemporality: u8,
    isMonotonic: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Histogram {
    dataPoints: Vec<HistogramPoint>,
    aggregationTemporality: u8,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NumberPoint {
    attributes: Vec<Attribute>,
    startTimeUnixNano: Int,
    timeUnixNano: Int,
    #[serde(rename = "asInt")]
    _value: Int,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HistogramPoint {
    attributes: Vec<Attribute>,
    startTimeUnixNano: Int,
    timeUnixNano: Int,
    count: Int,
    sum: f64,
    explicitBounds: Vec<f64>,
    bucketCounts: Vec<Int>,
}

/// A 64-bit number, which is a text in JSON.
struct Int(i64);

impl<'de> Deserialize<'de> for Int {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map(Self).map_err(D::Error::custom)
    }
}

/// So many bytes in hexadecimal, not all of them zero.
struct Id<const BYTES: usize>;

impl<'de, const BYTES: usize> Deserialize<'de> for Id<BYTES> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let valid = text.len() == BYTES * 2 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if valid && text.bytes().any(|byte| byte != b'0') { Ok(Self) } else { Err(D::Error::custom("no id")) }
    }
}

/// Panics unless `message` is what a collector takes at `path`.
pub(crate) fn check(path: &str, message: &[u8]) {
    match path {
        "/v1/traces" => check_traces(serde_json::from_slice(message).expect("traces")),
        "/v1/metrics" => check_metrics(serde_json::from_slice(message).expect("metrics")),
        other => panic!("a collector has no {other}"),
    }
}

fn check_traces(traces: Traces) {
    for ResourceSpans { resource, scopeSpans } in traces.resourceSpans {
        resource.check();
        for ScopeSpans { scope, spans } in scopeSpans {
            assert_eq!(scope.name, "tessera");
            for Span {
                traceId: Id,
                spanId: Id,
                parentSpanId,
                name,
                kind,
                startTimeUnixNano,
                endTimeUnixNano,
                attributes,
                status,
            } in spans
            {
                assert!(matches!(parentSpanId.len(), 0 | 16), "{parentSpanId}");
                assert!(!name.is_empty() && (1..=5).contains(&kind), "{name} {kind}");
                assert!(0 < startTimeUnixNano.0 && startTimeUnixNano.0 <= endTimeUnixNano.0, "{name}");
                check_attributes(&attributes);
                assert!(status.code == 0 || (status.code == 2 && status.message.is_some()), "{name}");
            }
        }
    }
}

fn check_metrics(metrics: Metrics) {
    for ResourceMetrics { resource, scopeMetrics } in metrics.resourceMetrics {
        resource.check();
        for ScopeMetrics { scope, metrics } in scopeMetrics {
            assert_eq!(scope.name, "tessera");
            for Metric { name, unit, data } in metrics {
                assert!(name.starts_with("tessera.") && ["1", "s", "By"].contains(&unit.as_str()), "{name} {unit}");
                match data {
                    Data::Gauge(gauge) => gauge.dataPoints.iter().for_each(NumberPoint::check),
                    Data::Sum(sum) => {
                        assert!(sum.isMonotonic && sum.aggregationTemporality == 2, "{name}");
                        sum.dataPoints.iter().for_each(NumberPoint::check);
                    }
                    Data::Histogram(histogram) => {
                        assert_eq!(histogram.aggregationTemporality, 2, "{name}");
                        histogram.dataPoints.iter().for_each(HistogramPoint::check);
                    }
                }
            }
        }
    }
}

impl Resource {
    fn check(&self) {
        check_attributes(&self.attributes);
        assert!(self.attributes.iter().any(|attribute| attribute.key == "service.name"));
    }
}

impl NumberPoint {
    fn check(&self) {
        check_attributes(&self.attributes);
        assert!(0 < self.startTimeUnixNano.0 && self.startTimeUnixNano.0 <= self.timeUnixNano.0);
    }
}

impl HistogramPoint {
    fn check(&self) {
        check_attributes(&self.attributes);
        assert!(0 < self.startTimeUnixNano.0 && self.startTimeUnixNano.0 <= self.timeUnixNano.0);
        assert_eq!(self.bucketCounts.len(), self.explicitBounds.len() + 1);
        assert!(self.explicitBounds.is_sorted() && self.sum >= 0.0);
        assert_eq!(self.bucketCounts.iter().map(|count| count.0).sum::<i64>(), self.count.0);
    }
}

/// Keys are there and unique.
fn check_attributes(attributes: &[Attribute]) {
    let mut keys: Vec<_> = attributes.iter().map(|attribute| &attribute.key).collect();
    keys.sort();
    keys.dedup();
    assert!(keys.len() == attributes.len() && keys.iter().all(|key| !key.is_empty()), "{keys:?}");
}
